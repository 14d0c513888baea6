//! Jobs for another thread. Their notifier is an eventfd, which the ring reads like the waker.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::types::Fd;

use super::super::job::Job;
use super::super::job_thread::JobThread;
use super::super::op::{OpId, Outcome, Token};
use super::super::slot_map::Handle;
use super::super::waker::EventFd;
use super::Uring;
use super::kind::SubmissionKind;

/// The thread, and the eventfd that reports its results.
pub(super) struct Jobs {
    thread: JobThread,
    notifier: EventFd,
}

impl Jobs {
    fn new() -> io::Result<Self> {
        let notifier = EventFd::new()?;
        Ok(Self { thread: JobThread::new(Arc::new(notifier.clone())), notifier })
    }
}

impl Uring {
    pub(super) fn submit_run(&mut self, token: Token, job: Job) -> OpId {
        if let Err(error) = self.make_jobs() {
            self.done.finish(token, Outcome::Ran(Err(error)));
            return OpId(SubmissionKind::NOBODY);
        }
        let jobs = self.jobs.as_mut().expect("the jobs are prepared");
        let handle = jobs.thread.start(token, job, &mut self.done);
        OpId(SubmissionKind::Run.name_only(handle))
    }

    /// If this is the first job, prepares the thread and arms its notifier.
    fn make_jobs(&mut self) -> io::Result<()> {
        if self.jobs.is_none() {
            self.jobs = Some(Jobs::new()?);
            self.arm_notifier();
        }
        Ok(())
    }

    fn arm_notifier(&mut self) {
        if let Some(jobs) = &self.jobs {
            self.arm_eventfd(Fd(jobs.notifier.as_fd().as_raw_fd()), SubmissionKind::Run);
        }
    }

    pub(super) fn cancel_run(&mut self, handle: Handle<Job>) {
        if let Some(jobs) = &mut self.jobs {
            jobs.thread.stop(handle, &mut self.done);
        }
    }

    /// Collects results: a notification may stand for several, or for one that was collected
    /// before.
    pub(super) fn complete_notifier(&mut self) {
        self.arm_notifier();
        if let Some(jobs) = &mut self.jobs {
            jobs.thread.collect(&mut self.done);
        }
    }
}
