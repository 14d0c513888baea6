//! Waking a driver from another thread.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::sys;
use crate::driver::call_log::made;

/// Ends the [`wait`](super::Driver::wait) of the driver that it belongs to.
///
/// A wake is never lost: if it comes before the wait, the wait returns at once. Several wakes
/// before one wait count as one.
#[derive(Clone, Debug)]
pub struct Waker {
    notifier: Arc<dyn Notifier>,
}

/// What wakes a driver that sleeps.
pub(super) trait Notifier: Debug + Send + Sync {
    /// Ends the sleep, or prevents the next one.
    fn notify(&self);
}

impl Waker {
    pub(super) fn new(notifier: Arc<dyn Notifier>) -> Self {
        Self { notifier }
    }

    /// Wakes the driver.
    pub fn wake(&self) {
        self.notifier.notify();
    }
}

/// The notifier of drivers that sleep in the kernel: an eventfd, which they watch together with
/// their sockets.
#[derive(Clone, Debug)]
pub(super) struct EventFd(Arc<File>);

impl EventFd {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(File::from(sys::eventfd()?))))
    }

    /// A waker that writes to the eventfd.
    pub(super) fn waker(&self) -> Waker {
        Waker::new(Arc::new(self.clone()))
    }

    /// Clears the eventfd, and returns whether it was set. It must be non-blocking.
    pub(super) fn reset(&self) -> bool {
        made("read", || io::Read::read(&mut &*self.0, &mut [0; 8])).is_ok()
    }

    /// Clears the eventfd, then calls `take` until it finds nothing more to take. In this order,
    /// what arrives after the last call sets the eventfd again, and is not forgotten.
    pub(super) fn take_all(&self, mut take: impl FnMut() -> bool) {
        self.reset();
        while take() {}
    }
}

impl Notifier for EventFd {
    fn notify(&self) {
        // The write fails only if the counter is full, and then the driver is awake already.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_behind_the_last_look_is_reported_again() {
        let eventfd = EventFd::new().unwrap();
        sys::set_nonblocking(&eventfd).unwrap();
        eventfd.notify();
        let mut left = 3;
        eventfd.take_all(|| {
            if left == 0 {
                // Another thread stores a result just after this look.
                eventfd.notify();
                return false;
            }
            left -= 1;
            true
        });
        assert_eq!(left, 0);
        assert!(eventfd.reset(), "nothing reports the last result");
        assert!(!eventfd.reset());
    }
}
