//! The error of a command.

use std::fmt;
use std::io;

use crate::connect::ConnectError;
use crate::server::{ListenSpec, StartError};

/// Why a command failed: one line with the cause and the remedy.
#[derive(Debug)]
pub struct CommandError(pub(super) String);

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}

impl CommandError {
    /// The thread for `purpose` cannot be started.
    pub(super) fn no_thread(purpose: &str, error: &io::Error) -> Self {
        Self(format!(
            "cannot start a thread for {purpose}: {error}; raise the limit of processes (`ulimit \
             -u`, pids.max of the control group)"
        ))
    }
}

impl From<StartError> for CommandError {
    /// Adds the option that helps, because the server does not know the options.
    fn from(error: StartError) -> Self {
        let alternative = match &error {
            StartError::Listen(error) => error.alternative(),
            _ => None,
        };
        Self(match alternative {
            Some(endpoint) => {
                let place = ListenSpec::from(endpoint);
                format!("{error} with `--listen {place}` (port 0: any free one)")
            }
            None => error.to_string(),
        })
    }
}

impl From<ConnectError> for CommandError {
    fn from(error: ConnectError) -> Self {
        Self(error.to_string())
    }
}
