//! Why a server does not start.

use std::fmt;
use std::io;

use super::listener::ListenError;

/// A start that failed. Its text names the cause and the remedy.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen(ListenError),
    /// A worker has no driver: the one that was asked for does not open, or none does.
    Driver(io::Error),
    /// A worker has no thread.
    Thread(io::Error),
    /// A worker panicked before it had its driver.
    Worker,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Driver(error) => error.fmt(f),
            Self::Thread(error) => write!(
                f,
                "a thread cannot be started: {error}; raise the limit of processes with \
                 `ulimit -u`"
            ),
            Self::Worker => {
                f.write_str("a worker panicked while it was starting; please report it")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Driver(error) | Self::Thread(error) => Some(error),
            Self::Worker => None,
        }
    }
}

impl From<ListenError> for StartError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}
