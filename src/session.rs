//! Sessions: conversations as functions of their input, without sockets, drivers or clocks.
//!
//! A [`Session`] is one conversation in one protocol. It is given bytes and the time, writes its
//! answers into a [`Chain`], and says in a [`Step`] what it needs next. Because it performs no
//! I/O, it can be tested, fuzzed and replayed like any function; because it does not block, one
//! thread runs thousands.
//!
//! The rule that makes answers independent of timing, the *chunking law*: however the input is
//! cut into pieces, the bytes written are the same.
//!
//! [`crate::echo`] is the smallest session, and explains the rest on the way.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::driver::{Chain, File, Job};
use crate::files::Figures;

pub use crate::driver::Now;

/// One conversation. All sessions of a worker have one [`Session::Shared`]: settings, caches.
pub trait Session: Sized {
    /// What the sessions of a worker share.
    type Shared;

    /// Begins a conversation.
    fn new(shared: &Self::Shared) -> Self;

    /// Takes what is complete in `inbox`, writes answers to `out`, and says what is next.
    ///
    /// Called with an empty `out`, when the previous one is sent and no open, read or job is
    /// pending. Called again without new input only when the session asked for it
    /// ([`Step::Flush`]), was answered ([`Session::resume`]), or left input that it might take now.
    fn advance(
        &mut self,
        shared: &mut Self::Shared,
        now: Now,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step;

    /// Brings the answer to [`Step::Open`], [`Step::Read`] or [`Step::Run`]; [`Session::advance`]
    /// follows.
    fn resume(&mut self, shared: &mut Self::Shared, now: Now, reply: Reply);

    /// The input that the session waits for did not come in time.
    fn expire(&mut self, shared: &mut Self::Shared, now: Now, out: &mut Chain) -> Step;

    /// The server is about to stop: finish what is in hand, then [`Step::Finish`].
    fn drain(&mut self);

    /// What the cache that sessions share holds and has done, if they have one.
    fn figures(_shared: &Self::Shared) -> Figures {
        Figures::default()
    }
}

/// What a session needs next. Before anything else, what it has written is sent.
#[derive(Debug)]
pub enum Step {
    /// More input.
    Receive(Patience),
    /// Room: the chain is full, and there is more to write.
    Flush,
    /// A file beneath `root`, for reading.
    Open {
        /// A directory.
        root: Arc<File>,
        /// Relative to `root`.
        path: CString,
    },
    /// The content of a file, as much as fits into the spare capacity of `buffer`.
    Read {
        /// The file.
        file: Arc<File>,
        /// Where to begin, in bytes.
        offset: u64,
        /// Comes back in [`Reply::Read`].
        buffer: Vec<u8>,
    },
    /// Work that may wait or compute for long, done aside.
    Run {
        /// The work.
        job: Job,
    },
    /// The end of the conversation. With `linger`, what the peer still sends is read and thrown
    /// away for a while, because closing at once could destroy the answer on its way (RFC 9112
    /// section 9.6).
    Finish {
        /// Whether the peer may still be sending.
        linger: bool,
    },
    /// The end, at once and visible as a failure.
    Abort,
}

/// The answer to a [`Step`].
#[derive(Debug)]
pub enum Reply {
    /// To [`Step::Open`].
    Opened(io::Result<Arc<File>>),
    /// To [`Step::Read`]: the bytes appended to the buffer, and the buffer.
    Read(io::Result<usize>, Vec<u8>),
    /// To [`Step::Run`]: what the job gave. `ResourceBusy` says that too many wait already.
    Ran(io::Result<Vec<u8>>),
}

/// How long a session is willing to wait for input: names one of the server's timeouts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Between two exchanges.
    Idle,
    /// In the middle of something; measured from its beginning, so that trickling does not help.
    Busy,
}

/// Received bytes that the session has not taken yet.
#[derive(Debug)]
pub struct Inbox<'a> {
    bytes: &'a [u8],
    taken: usize,
    ended: bool,
}

impl<'a> Inbox<'a> {
    /// An inbox of `bytes`; with `ended`, nothing will follow them.
    pub fn new(bytes: &'a [u8], ended: bool) -> Self {
        Self { bytes, taken: 0, ended }
    }

    /// What is there.
    pub fn bytes(&self) -> &'a [u8] {
        &self.bytes[self.taken..]
    }

    /// Takes the first `count` bytes out.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        assert!(self.taken <= self.bytes.len(), "a session takes no more than there is");
    }

    /// Whether nothing follows [`Inbox::bytes`].
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// How many bytes were taken out.
    pub fn taken(&self) -> usize {
        self.taken
    }
}
