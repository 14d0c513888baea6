//! Echo through jobs: every echoed byte went through a job, whatever the faults.

use std::io;

use ringd::ask::{Ask, AskId, Reply};
use ringd::driver::{Chain, Job};
use ringd::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Session, Step, Timer};

/// Bytes that one job takes.
const PIECE: usize = 16 * 1024;

/// A session whose answers are made by jobs.
#[derive(Debug, Default)]
pub(crate) struct Scribe {
    /// The bytes of the job in flight; they are asked again if the job was refused.
    held: Vec<u8>,
    answer: Vec<u8>,
    /// Whether a job is in flight.
    asked: bool,
}

impl Scribe {
    fn ask(&mut self, cx: &mut Context<'_, ()>) -> Step {
        if !std::mem::replace(&mut self.asked, true) {
            let text = self.held.clone();
            cx.ask(AskId(7), Ask::Run { job: Job::new(move || Ok(text)) });
        }
        Step::Wait
    }
}

impl Session for Scribe {
    type Shared = ();

    fn new((): &mut (), _: &ConnectionInfo<'_>) -> Self {
        Self::default()
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, ()>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        out.copy(&std::mem::take(&mut self.answer));
        if !self.held.is_empty() {
            return self.ask(cx);
        }
        let piece = &inbox.bytes()[..inbox.bytes().len().min(PIECE)];
        if !piece.is_empty() {
            self.held.extend_from_slice(piece);
            inbox.take(piece.len());
            return self.ask(cx);
        }
        if inbox.ended() {
            return Step::Finish { linger: false };
        }
        Step::Receive(ReceiveTimeout::KeepAlive)
    }

    fn resume(&mut self, _: &mut Context<'_, ()>, id: AskId, reply: Reply) {
        assert!(std::mem::take(&mut self.asked) && id == AskId(7), "{id:?}");
        match reply {
            Reply::Ran(Ok(answer)) => {
                self.held.clear();
                self.answer = answer;
            }
            Reply::Ran(Err(error)) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
            other => panic!("{other:?} is no reply to a job"),
        }
    }

    fn expire(&mut self, _: &mut Context<'_, ()>, _: Timer, _: &mut Chain) -> Step {
        Step::Finish { linger: false }
    }

    fn drain(&mut self) {}
}
