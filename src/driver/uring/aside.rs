//! Jobs for a thread aside. Their bell is an eventfd, which the ring reads as it does the waker.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::types::Fd;

use super::super::aside::{Answer, Aside, Job};
use super::super::op::{OpId, Outcome, Token, cancelled};
use super::super::slots::Handle;
use super::super::waker::EventFd;
use super::Uring;
use super::kind::Kind;

/// The thread, and what tells of its answers.
pub(super) struct Jobs {
    aside: Aside,
    bell: EventFd,
}

impl Jobs {
    fn new() -> io::Result<Self> {
        let bell = EventFd::new()?;
        Ok(Self { aside: Aside::new(Arc::new(bell.clone())), bell })
    }
}

impl Uring {
    pub(super) fn submit_run(&mut self, token: Token, job: Job) -> OpId {
        let given = self.jobs().map(|jobs| jobs.aside.give(token, job));
        let (name, given) = match given {
            Ok((handle, given)) => (OpId(handle.pack(Kind::Run.tag(0))), given),
            Err(error) => (OpId(Kind::NOBODY), Err(error)),
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
            self.arm_bell();
        }
        Ok(self.jobs.as_mut().expect("they were made if there were none"))
    }

    fn arm_bell(&mut self) {
        if let Some(jobs) = &self.jobs {
            self.arm_eventfd(Fd(jobs.bell.as_fd().as_raw_fd()), Kind::Run);
        }
    }

    pub(super) fn cancel_run(&mut self, handle: Handle) {
        let withdrawn = self.jobs.as_mut().and_then(|jobs| jobs.aside.withdraw(handle));
        if let Some(token) = withdrawn {
            self.finish(token, Outcome::Ran(Err(cancelled())));
        }
    }

    /// The bell has rung: it may be for several answers, or for one that was taken before.
    pub(super) fn complete_bell(&mut self) {
        self.arm_bell();
        while let Some((token, result)) = self.next_answer() {
            self.finish(token, Outcome::Ran(result));
        }
    }

    fn next_answer(&mut self) -> Option<Answer> {
        self.jobs.as_mut().and_then(|jobs| jobs.aside.next_answer())
    }
}
