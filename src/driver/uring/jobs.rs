//! Jobs for another thread. The ring reads their notifier, an eventfd, as it reads the waker.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::types::Fd;

use super::super::job_thread::{Answer, Job, JobThread};
use super::super::op::{OpId, Outcome, Token, cancelled};
use super::super::slot_map::Handle;
use super::super::waker::EventFd;
use super::Uring;
use super::kind::SubmissionKind;

/// The thread, and what tells of its answers.
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
        let given = self.jobs().map(|jobs| jobs.thread.submit(token, job));
        let (name, given) = match given {
            Ok((handle, given)) => (OpId(handle.pack(SubmissionKind::Run.tag(0))), given),
            Err(error) => (OpId(SubmissionKind::NOBODY), Err(error)),
        };
        if let Err(error) = given {
            self.finish(token, Outcome::Ran(Err(error)));
        }
        name
    }

    /// What does jobs, made and watched from now on if this is the first.
    fn jobs(&mut self) -> io::Result<&mut Jobs> {
        if self.jobs.is_none() {
            self.jobs = Some(Jobs::new()?);
            self.arm_notifier();
        }
        Ok(self.jobs.as_mut().expect("they were made if there were none"))
    }

    fn arm_notifier(&mut self) {
        if let Some(jobs) = &self.jobs {
            self.arm_eventfd(Fd(jobs.notifier.as_fd().as_raw_fd()), SubmissionKind::Run);
        }
    }

    pub(super) fn cancel_run(&mut self, handle: Handle) {
        let withdrawn = self.jobs.as_mut().and_then(|jobs| jobs.thread.cancel(handle));
        if let Some(token) = withdrawn {
            self.finish(token, Outcome::Ran(Err(cancelled())));
        }
    }

    /// The notifier tells of answers: of several, or of one that was taken before.
    pub(super) fn complete_notifier(&mut self) {
        self.arm_notifier();
        while let Some((token, result)) = self.next_answer() {
            self.finish(token, Outcome::Ran(result));
        }
    }

    fn next_answer(&mut self) -> Option<Answer> {
        self.jobs.as_mut().and_then(|jobs| jobs.thread.next_answer())
    }
}
