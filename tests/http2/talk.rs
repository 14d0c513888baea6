//! A conversation of a [`Peer`] with a session.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ringd::driver::File;
use ringd::http::HttpSettings;
use ringd::http::harness::{AdvanceResult, Harness};
use ringd::session::{Now, Step, Timer};

use crate::h2::{Frame, Peer, opening};

/// What a session may keep, in bytes: requests that wait (192 KiB at most), a header block and the
/// head that comes of it, the table of the decoder, and the records of 100 streams.
pub(crate) const MEMORY_MAX: usize = 256 * 1024;

/// A fixed time of the calendar, because responses contain the date.
pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), system: UNIX_EPOCH + Duration::from_secs(1 << 32) }
}

/// A client and its session. Lookups are answered at once, unless it is told to keep them open.
pub(crate) struct Talk {
    pub(crate) harness: Harness,
    pub(crate) session: usize,
    pub(crate) peer: Peer,
    pub(crate) now: Now,
    /// Whether lookups are answered.
    pub(crate) settles: bool,
    /// What the session has not taken.
    inbox: Vec<u8>,
    ended: bool,
    /// The last step of the session.
    pub(crate) step: Step,
    /// How often the session was called.
    pub(crate) calls: usize,
    /// The most memory that the session has kept after a call, in bytes.
    pub(crate) memory_max: usize,
}

impl Talk {
    pub(crate) fn new(root: &Arc<File>) -> Self {
        Self::with(HttpSettings::of_root(Arc::clone(root)))
    }

    pub(crate) fn with(settings: HttpSettings) -> Self {
        let mut harness = Harness::new(settings);
        let session = harness.begin_h2();
        let step = Step::Flush;
        Self {
            harness,
            session,
            peer: Peer::new(),
            now: now(),
            settles: true,
            inbox: Vec::new(),
            ended: false,
            step,
            calls: 0,
            memory_max: 0,
        }
    }

    /// The same, after both openings.
    pub(crate) fn open(root: &Arc<File>) -> Self {
        let mut talk = Self::new(root);
        talk.send(&opening(&[]));
        talk
    }

    /// Whether the session has ended the connection.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.step, Step::Finish { .. } | Step::Abort)
    }

    /// The client sends bytes. Returns the frames that the server sends then.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.peer.sends(bytes);
        self.inbox.extend_from_slice(bytes);
        self.run()
    }

    /// The client sends bytes, and then nothing more. The session gets both at once.
    pub(crate) fn end_with(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.ended = true;
        self.send(bytes)
    }

    /// Calls the session until it waits for input, or for lookups that are kept open.
    pub(crate) fn run(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let said = self.harness.advance(self.session, self.now, &self.inbox, self.ended);
            frames.extend(self.note(said));
            let was_waiting = self.harness.asks(self.now) > 0;
            if self.settles {
                self.harness.settle(self.now);
            }
            match self.step {
                Step::Finish { .. } | Step::Abort => {
                    self.peer.ends();
                    return frames;
                }
                Step::Flush => {}
                Step::Receive(_) | Step::Wait if was_waiting && self.settles => {}
                Step::Receive(_) | Step::Wait => return frames,
            }
        }
    }

    /// Moves the time to the session's deadline, and says so.
    pub(crate) fn expire(&mut self) -> Vec<Frame> {
        self.now.instant = self.harness.deadline(self.session).expect("a deadline");
        let said = self.harness.expire(self.session, self.now, Timer::Deadline);
        let mut frames = self.note(said);
        if !self.is_over() {
            frames.extend(self.run());
        }
        frames
    }

    /// The server's timeout for input is over.
    pub(crate) fn time_out(&mut self) -> Vec<Frame> {
        let said = self.harness.expire(self.session, self.now, Timer::Receive);
        self.note(said)
    }

    fn note(&mut self, said: AdvanceResult) -> Vec<Frame> {
        self.calls += 1;
        assert!(self.calls < 10_000_000, "the session does not come to an end");
        self.inbox.drain(..said.taken);
        self.step = said.step;
        let memory = self.harness.memory_in_use(self.session).expect("a session of HTTP/2");
        self.memory_max = self.memory_max.max(memory);
        if self.step == Step::Flush {
            assert!(!said.output.is_empty(), "there is nothing to flush");
        }
        self.peer.takes(&said.output)
    }
}
