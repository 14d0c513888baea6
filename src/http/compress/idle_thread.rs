//! The thread that makes bodies. It runs when no other thread wants to.
//!
//! On a machine that is busy, the kernel may stop such a thread for seconds, also while it holds a
//! lock. So this one takes no lock that a worker takes: it gets jobs and gives results by channels,
//! and the thread of the [`Compressor`](super::Compressor), which does not compute, has their other
//! ends.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::job::{BodyLimits, CompressJob, JobResult};
use crate::driver::run_when_idle;
use crate::signal_mask::block_signals;

/// The name of the thread, for `top` and the like.
pub(super) const NAME: &str = "compressor";

/// How much lower the priority of the thread is than that of the workers (`nice(2)`), if the system
/// denies the other way.
const NICE: i32 = 10;

/// The thread; see the module documentation. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct IdleThread {
    jobs: Sender<(CompressJob, BodyLimits)>,
    results: Receiver<JobResult>,
}

impl IdleThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the system has no room for another thread.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = channel::<(CompressJob, BodyLimits)>();
        let (made, results) = channel();
        let work = move || {
            block_signals();
            if run_when_idle().is_err() {
                // On Linux, each thread has its own priority (`setpriority(2)`). If this is denied
                // too, the thread takes more from the workers, and that is all.
                let _ = rustix::process::nice(NICE);
            }
            for (job, limits) in waiting {
                let result = catch_unwind(AssertUnwindSafe(|| job.perform(limits)));
                if made.send(result.unwrap_or(JobResult::Failed)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name(NAME.into()).spawn(work)?;
        Ok(Self { jobs, results })
    }

    /// Performs a job, and waits for its result.
    pub(super) fn perform(&self, job: CompressJob, limits: BodyLimits) -> JobResult {
        let is_sent = self.jobs.send((job, limits)).is_ok();
        let result = is_sent.then(|| self.results.recv().ok()).flatten();
        result.unwrap_or(JobResult::Failed)
    }
}
