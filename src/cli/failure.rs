//! What is said when a command is not possible.

use std::fmt;

use crate::connect::ConnectError;
use crate::server::StartError;

/// Why a command is not possible: the cause and the remedy, in one line.
#[derive(Debug)]
pub struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<StartError> for Failure {
    /// Adds the option that would mend it; the server knows of no options.
    fn from(error: StartError) -> Self {
        let alternative = match &error {
            StartError::Listen(error) => error.alternative(),
            _ => None,
        };
        Self(match alternative {
            Some(address) => format!("{error} with `--listen {address}`"),
            None => error.to_string(),
        })
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self(error.to_string())
    }
}
