//! The types that pass between a driver and its caller: ops go in, completions come out.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use super::chain::Chain;
use super::file::File;
use super::job::Job;
use super::pool::Lease;
use super::slot_map::Handle;

/// The caller's name for whatever an op belongs to. The driver only returns it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

impl Token {
    /// The token of [`Outcome::Woken`], which belongs to no op.
    pub const WAKE: Self = Self(u64::MAX);
}

/// A socket that a driver owns. After [`Outcome::Closed`], all copies are stale; using one is a
/// bug, and panics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sock(pub(super) Handle<Self>);

impl Sock {
    /// Names no socket, for tests of the code above.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self(Handle::NOBODY)
    }

    /// Panics, because the socket is gone.
    pub(super) fn stale(self) -> ! {
        panic!("{self:?} is stale: the socket was closed")
    }
}

/// Names an op in flight, to cancel it. Once the op has ended, the name is stale, and cancelling it
/// does nothing. It cannot be confused with the next 4,095 ops on the same side of the socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpId(pub(super) u64);

/// What follows a send on its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendEnd {
    /// More may follow.
    Open,
    /// The end of output: the driver half-closes the socket (`shutdown(2)` with `SHUT_WR`).
    HalfClose,
    /// A close, which the caller submits as soon as the send has completed. The driver may end the
    /// output, and may leave the last bytes to the close.
    Close,
}

impl SendEnd {
    /// Whether the last segment of memory can wait for the end of output, which follows within this
    /// turn or the next: then the peer gets one packet instead of two (`MSG_MORE` of `send(2)`).
    pub(super) fn follows(self) -> bool {
        self != Self::Open
    }

    /// Whether a driver that closes without a `shutdown(2)` needs one after this chain. Before a
    /// close, it is for the bytes that were held back: a close that finds unread input discards
    /// them.
    pub(super) fn needs_shutdown(self, chain: &Chain) -> bool {
        match self {
            Self::Open => false,
            Self::HalfClose => true,
            Self::Close => !chain.ends_with_file(),
        }
    }
}

/// A request to a driver. Everything in it belongs to the driver until the op's last completion,
/// which returns or drops it.
#[derive(Debug)]
pub enum Op {
    /// Accepts connections until cancelled. Each completion has a new [`Sock`].
    AcceptMany {
        /// A listening socket.
        listener: Sock,
    },
    /// Receives until the end of input, an error or a cancel. Each completion has a piece of the
    /// input.
    RecvMany {
        /// A connected socket.
        sock: Sock,
    },
    /// Sends a whole chain, and then what [`SendEnd`] says.
    Send {
        /// A connected socket.
        sock: Sock,
        /// What to send.
        chain: Box<Chain>,
        /// What follows on this connection.
        end: SendEnd,
    },
    /// Reads into the spare capacity of the buffer: as much as fits, or less at the end of the
    /// file.
    ReadFile {
        /// The file.
        file: Arc<File>,
        /// Where to begin, in bytes.
        offset: u64,
        /// Returned with the bytes appended.
        buffer: Vec<u8>,
    },
    /// Opens a path beneath a directory for reading (`openat2(2)`), according to the directory's
    /// [`Links`](super::Links). Does not wait for FIFOs or devices.
    OpenFile {
        /// The directory.
        root: Arc<File>,
        /// Relative to `root`; `.` is the directory itself.
        path: CString,
    },
    /// Runs a job, which may wait or compute for long, on another thread. Jobs run one after the
    /// other.
    Run {
        /// The job.
        job: Job,
    },
    /// Ends a socket: shuts it down, waits for the last completions of its other ops, closes it.
    Close {
        /// A listening or connected socket.
        sock: Sock,
        /// Whether to reset the connection, which discards unsent data.
        reset: bool,
    },
}

/// A result of an op.
#[derive(Debug)]
pub struct Completion {
    /// The token the op was submitted with.
    pub token: Token,
    /// Whether the op continues: more completions follow.
    pub more: bool,
    /// The result.
    pub outcome: Outcome,
}

/// The result in a [`Completion`], by kind of op.
#[derive(Debug)]
pub enum Outcome {
    /// A new connection, owned by the driver; or the reason why the accept ended.
    Accepted(io::Result<Sock>),
    /// Received bytes; `None` is the orderly end of input.
    Received(io::Result<Option<Lease>>),
    /// Whether the kernel has taken the whole chain. The chain is returned, not yet cleared.
    Sent(io::Result<()>, Box<Chain>),
    /// The number of bytes read, and the buffer with these bytes appended.
    FileRead(io::Result<usize>, Vec<u8>),
    /// The open file, to which nothing else refers yet. A directory has the [`Links`](super::Links)
    /// of the one beneath which it was opened.
    Opened(io::Result<Arc<File>>),
    /// The result of a job: its bytes or its error; an error for a panic; or the reason why it did
    /// not run: `ResourceBusy` if too many jobs wait, `ECANCELED`, or the reason why no thread
    /// could start.
    Ran(io::Result<Vec<u8>>),
    /// The socket is closed.
    Closed,
    /// [`Waker::wake`](super::Waker::wake) was called.
    Woken,
}

const _: () = assert!(size_of::<Op>() <= 48);
const _: () = assert!(size_of::<Completion>() <= 56);

/// The error of an op that ended because it was cancelled or its socket was closed.
pub(super) fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

/// Whether an error means that the op was cancelled or its socket was closed.
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}
