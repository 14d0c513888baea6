//! Stands for the hashes in a build without them. No hash can be read, so there are no users.

use std::io;

use super::hash_error::HashError;

pub(super) fn make(_: &[u8]) -> io::Result<(String, u64)> {
    Err(io::Error::other(format!("the password {}", HashError::NotBuilt)))
}

pub(super) fn fits_bcrypt(_: &[u8], _: &str) -> bool {
    false
}

pub(super) fn fits_argon2(_: &[u8], _: &str) -> bool {
    false
}

pub(super) fn cost_of_bcrypt(_: &str) -> Result<u64, HashError> {
    Err(HashError::NotBuilt)
}

pub(super) fn cost_of_argon2(_: &str) -> Result<u64, HashError> {
    Err(HashError::NotBuilt)
}
