//! The error of a server that does not start.

use std::fmt;
use std::io;

use super::listener::ListenError;

/// Why a server does not start. The text names the cause and the remedy.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be listened on.
    Listen(ListenError),
    /// The driver of a worker does not open, and there is no other one to fall back to.
    Driver(io::Error),
    /// The thread of a worker cannot be started.
    Thread(io::Error),
    /// A worker panicked before it had opened its driver.
    Worker,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Driver(error) => error.fmt(f),
            Self::Thread(error) => write!(
                f,
                "cannot start a thread: {error}; raise the limit of processes with `ulimit -u`"
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
