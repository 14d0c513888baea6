//! Work for another thread.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Work for [`Op::Run`](super::Op::Run): a function that may take its time, and gives bytes.
pub struct Job(Box<JobFn>);

type JobFn = dyn FnOnce() -> io::Result<Vec<u8>> + Send;

impl Job {
    /// Work that is to be done once, by another thread.
    pub fn new(work: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    /// Does the work here and now.
    ///
    /// # Errors
    ///
    /// That of the work; a panic in it is one as well.
    pub fn perform(self) -> io::Result<Vec<u8>> {
        // What the work has used is its own, so nobody sees what a panic left half done.
        let done = catch_unwind(AssertUnwindSafe(self.0));
        done.unwrap_or_else(|_| Err(io::Error::other("a job panicked")))
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Job")
    }
}
