//! Waking a driver from another thread: an eventfd that every driver watches.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use super::sys;

/// Ends the [`wait`](super::Driver::wait) of the driver it came from.
///
/// A wake is never lost: when it comes before the wait, the wait returns at once. Several wakes
/// before one wait count as one.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<File>,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { event: Arc::new(File::from(sys::eventfd()?)) })
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        // The write fails only when the counter is full, and then the driver is awake already.
        let _ = (&*self.event).write(&1u64.to_ne_bytes());
    }

    pub(super) fn event(&self) -> &File {
        &self.event
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }
}
