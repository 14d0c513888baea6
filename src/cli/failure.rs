//! What is said when a command is not possible.

use std::fmt;

use crate::server::StartError;
use crate::server::listener::ListenError;

/// Why a command is not possible: the cause and the remedy, in one line.
#[derive(Debug)]
pub struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Adds to the error of a start which option would mend it; the server knows of no options.
pub fn name_options(error: StartError) -> StartError {
    let alternative = error.downcast_ref::<ListenError>().and_then(ListenError::alternative);
    match alternative {
        Some(address) => format!("{error} with `--listen {address}`").into(),
        None => error,
    }
}
