//! Questions that need I/O, and the replies to them.
//!
//! A session or a service performs no I/O; it asks a question instead. The asker gives each
//! question an [`AskId`], may have several questions open, up to its limit, and gets the replies in
//! any order. The connection (for a session) or the worker (for a service) turns questions into
//! ops, and the worker turns completions into replies.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::driver::{File, Job, Op, Outcome};

/// Identifies an open question among those of its asker, who chooses it. It may be used again after
/// the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u32);

/// A question.
#[derive(Debug)]
pub enum Ask {
    /// Open a file beneath `root` for reading.
    Open {
        /// A directory.
        root: Arc<File>,
        /// The path, relative to `root`.
        path: CString,
    },
    /// Read from a file, at most as much as the spare capacity of `buffer`.
    Read {
        /// The file.
        file: Arc<File>,
        /// The position in the file, in bytes.
        offset: u64,
        /// The content is appended to it; [`Reply::Read`] returns it.
        buffer: Vec<u8>,
    },
    /// Run a function that may take long, on another thread.
    Run {
        /// The function.
        job: Job,
    },
}

/// The reply to an [`Ask`]. Each question gets exactly one reply, unless its asker is gone.
#[derive(Debug)]
pub enum Reply {
    /// The reply to [`Ask::Open`].
    Opened(io::Result<Arc<File>>),
    /// The reply to [`Ask::Read`]: the number of bytes read, and the buffer.
    Read(io::Result<usize>, Vec<u8>),
    /// The reply to [`Ask::Run`]: the result of the job. The error `ResourceBusy` means that too
    /// many jobs are waiting.
    Ran(io::Result<Vec<u8>>),
}

impl Ask {
    /// The op that answers the question.
    pub fn into_op(self) -> Op {
        match self {
            Self::Open { root, path } => Op::OpenFile { root, path },
            Self::Read { file, offset, buffer } => Op::ReadFile { file, offset, buffer },
            Self::Run { job } => Op::Run { job },
        }
    }
}

impl Reply {
    /// Turns the outcome of the op of a question into the reply.
    ///
    /// # Panics
    ///
    /// If [`Ask::into_op`] does not make ops with this outcome.
    pub fn from_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Opened(opened) => Self::Opened(opened),
            Outcome::FileRead(read, buffer) => Self::Read(read, buffer),
            Outcome::Ran(ran) => Self::Ran(ran),
            outcome => panic!("{outcome:?} is not the reply to a question"),
        }
    }
}
