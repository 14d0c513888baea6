//! Adds to an error of the system where it happened.

use std::io;

/// The same error; its text begins with `place`.
pub(super) fn at(place: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{place}: {error}"))
}
