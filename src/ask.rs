//! Questions that need I/O, and the replies to them.
//!
//! A session or a service performs no I/O. It *asks*: each question has an [`AskId`] that the asker
//! chooses, several may be open at once, up to the asker's limit, and replies come in any order.
//! The connection (for a session) or the worker (for the service) turns questions into ops; the
//! worker turns completions into replies.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::driver::{File, Job, Op, Outcome};

/// The asker's own name for a question. It may be used again once the reply has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u32);

/// A question.
#[derive(Debug)]
pub enum Ask {
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
    /// Work that may wait or compute for long, done on another thread.
    Run {
        /// The work.
        job: Job,
    },
}

/// The reply to an [`Ask`]. Each question gets exactly one, unless its asker is gone.
#[derive(Debug)]
pub enum Reply {
    /// To [`Ask::Open`].
    Opened(io::Result<Arc<File>>),
    /// To [`Ask::Read`]: the bytes appended to the buffer, and the buffer.
    Read(io::Result<usize>, Vec<u8>),
    /// To [`Ask::Run`]: what the job gave. `ResourceBusy` says that too many wait already.
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
    /// The reply that an outcome is.
    ///
    /// # Panics
    ///
    /// When the outcome is that of an op that [`Ask::into_op`] does not make.
    pub fn from_outcome(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Opened(opened) => Self::Opened(opened),
            Outcome::FileRead(read, buffer) => Self::Read(read, buffer),
            Outcome::Ran(ran) => Self::Ran(ran),
            outcome => panic!("{outcome:?} is no reply to a question"),
        }
    }
}
