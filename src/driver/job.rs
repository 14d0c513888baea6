//! Jobs: functions that run on another thread.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The work of an [`Op::Run`](super::Op::Run): a function that may take long, and returns bytes.
pub struct Job(Box<JobFn>);

type JobFn = dyn FnOnce() -> io::Result<Vec<u8>> + Send;

impl Job {
    /// A job that another thread runs once.
    pub fn new(work: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Runs the job on this thread.
    ///
    /// # Errors
    ///
    /// The error of the work, or one for a panic in it.
    pub fn perform(self) -> io::Result<Vec<u8>> {
        // The work owns all that it uses, so nothing can observe what a panic left half done.
        let done = catch_unwind(AssertUnwindSafe(self.0));
        done.unwrap_or_else(|_| Err(io::Error::other("a job panicked")))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}
