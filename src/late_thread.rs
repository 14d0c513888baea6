//! A thread whose work is known before it may start: a server opens its logs, gives up its
//! privileges, and only then starts threads, because a sandbox holds for the thread that enters it
//! and for those that it starts from then on.

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

type Work = Box<dyn FnOnce() + Send>;

/// A thread that starts on request, once.
pub(crate) struct LateThread(Mutex<Option<(Builder, Work)>>);

impl LateThread {
    /// A thread with this name and this stack, in bytes.
    pub(crate) fn new(
        name: &str,
        stack_bytes: usize,
        work: impl FnOnce() + Send + 'static,
    ) -> Self {
        let builder = Builder::new().name(name.into()).stack_size(stack_bytes);
        Self(Mutex::new(Some((builder, Box::new(work)))))
    }

    /// Starts the thread, unless it was started before.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started. Its work is lost then.
    pub(crate) fn start(&self) -> io::Result<()> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some((builder, work)) => builder.spawn(work).map(drop),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for LateThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LateThread")
    }
}
