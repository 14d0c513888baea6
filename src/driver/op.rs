//! The vocabulary between a driver and its caller: ops go in, completions come out.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use super::chain::Chain;
use super::file::File;
use super::job::Job;
use super::pool::Lease;
use super::slot_map::Handle;

/// The caller's name for whatever an op belongs to. The driver only carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

impl Token {
    /// The token of [`Outcome::Woken`], which answers no op.
    pub const WAKE: Self = Self(u64::MAX);
}

/// A socket that a driver owns. A copy kept beyond the socket's [`Outcome::Closed`] is stale;
/// using it is a bug that panics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sock(pub(super) Handle<Self>);

impl Sock {
    /// Ends the use of a socket that is gone.
    pub(super) fn stale(self) -> ! {
        panic!("{self:?} is stale: the socket was closed")
    }
}

/// Names one op in flight, to cancel it. Once the op is over the name is stale, and cancelling
/// it does nothing; of the ops that follow on the same side of a socket, the next 4,095 are told
/// apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OpId(pub(super) u64);

/// Something for the driver to do. What it holds belongs to the driver until the op's last
/// completion, and comes back in it or is dropped there.
#[derive(Debug)]
pub enum Op {
    /// Accepts connections until cancelled; each is a completion with a new [`Sock`].
    AcceptMany {
        /// A listening socket.
        listener: Sock,
    },
    /// Receives until the end of input, an error or a cancel; each piece is a completion.
    RecvMany {
        /// A connected socket.
        sock: Sock,
    },
    /// Sends a chain, all of it, then half-closes the socket when `fin` is set (`shutdown(2)`
    /// with `SHUT_WR`).
    Send {
        /// A connected socket.
        sock: Sock,
        /// What to send.
        chain: Box<Chain>,
        /// Whether this is the last thing that the peer gets.
        fin: bool,
    },
    /// Reads into the buffer's spare capacity: as much as fits, less only at the end of file.
    ReadFile {
        /// The file.
        file: Arc<File>,
        /// Where to begin, in bytes.
        offset: u64,
        /// Comes back with the bytes appended.
        buffer: Vec<u8>,
    },
    /// Opens a path beneath a directory for reading (`openat2(2)`), by the directory's
    /// [`Links`](super::Links), never waiting for a FIFO or a device.
    OpenFile {
        /// The directory.
        root: Arc<File>,
        /// Relative to `root`; `.` is the directory itself.
        path: CString,
    },
    /// Does work that may wait or compute for long, on another thread. One job is done after the
    /// other.
    Run {
        /// The work.
        job: Job,
    },
    /// Ends a socket: shuts it down, waits for its other ops' last completions, closes it.
    Close {
        /// A listening or connected socket.
        sock: Sock,
        /// Whether the peer is told by a reset, and what is not yet sent is thrown away.
        reset: bool,
    },
}

/// What became of an op.
#[derive(Debug)]
pub struct Completion {
    /// The token the op was submitted with.
    pub token: Token,
    /// Whether the op goes on: more completions follow.
    pub more: bool,
    /// The result.
    pub outcome: Outcome,
}

/// The result in a [`Completion`], by kind of op.
#[derive(Debug)]
pub enum Outcome {
    /// A new connection, owned by the driver; or why accepting ended.
    Accepted(io::Result<Sock>),
    /// Bytes; or `None`, the orderly end of input.
    Received(io::Result<Option<Lease>>),
    /// Whether all of the chain went to the kernel. The chain comes back, not yet cleared.
    Sent(io::Result<()>, Box<Chain>),
    /// The bytes read, appended to the buffer: their number.
    FileRead(io::Result<usize>, Vec<u8>),
    /// The open file, which nobody else has yet. A directory has the [`Links`](super::Links) of
    /// the one that it was opened beneath.
    Opened(io::Result<Arc<File>>),
    /// What a job gave; or its error, that it panicked, or why it was not begun: `ResourceBusy`
    /// when too many wait, `ECANCELED`, or what no thread could be had for.
    Ran(io::Result<Vec<u8>>),
    /// The socket is gone.
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

/// Whether an error says that the op was cancelled or its socket was closed under it.
pub fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECANCELED)
}
