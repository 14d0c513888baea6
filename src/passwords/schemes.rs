//! Bcrypt, and Argon2id (RFC 9106).

use std::fmt;
use std::io;

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

use super::hash_error::HashError;

/// The parameters of new hashes: memory in KiB, passes, lanes. OWASP's password storage cheat
/// sheet recommends them for Argon2id.
const NEW: (u32, u32, u32) = (19 * 1024, 2, 1);

/// The most that a hash of a file may take: memory in KiB, passes, lanes. The memory is what one
/// guess of a stranger costs each worker.
const ARGON2_MAX: (u32, u32, u32) = (256 * 1024, 32, 16);

/// The most rounds of bcrypt, as a power of two: about four seconds.
const BCRYPT_COST_MAX: u32 = 16;

/// Bytes of the salt of a new hash (RFC 9106 section 3.1).
const SALT_BYTES: usize = 16;

/// How long a round of bcrypt takes, in passes of Argon2id over a KiB: about 60 µs and 0.8 µs.
const BCRYPT_ROUND: u64 = 80;

/// A new hash by Argon2id, and what it costs.
pub(super) fn make(password: &[u8]) -> io::Result<(String, u64)> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
    let (memory, passes, lanes) = NEW;
    let failed = |error: &dyn fmt::Display| io::Error::other(error.to_string());
    let params = Params::new(memory, passes, lanes, None).map_err(|error| failed(&error))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(password, &salt);
    let text = hash.map_err(|error| failed(&error))?.to_string();
    Ok((text, u64::from(memory) * u64::from(passes)))
}

pub(super) fn fits_bcrypt(password: &[u8], hash: &str) -> bool {
    bcrypt::verify(password, hash).unwrap_or(false)
}

pub(super) fn fits_argon2(password: &[u8], hash: &str) -> bool {
    match phc::PasswordHash::new(hash) {
        Ok(hash) => Argon2::default().verify_password(password, &hash).is_ok(),
        Err(_) => false,
    }
}

pub(super) fn cost_of_bcrypt(hash: &str) -> Result<u64, HashError> {
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| HashError::Malformed)?;
    match parts.get_cost() {
        cost @ 4..=BCRYPT_COST_MAX => Ok(BCRYPT_ROUND << cost),
        0..4 => Err(HashError::Malformed),
        _ => Err(HashError::TooCostly),
    }
}

pub(super) fn cost_of_argon2(hash: &str) -> Result<u64, HashError> {
    let hash = phc::PasswordHash::new(hash).map_err(|_| HashError::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() || hash.version.is_some_and(|it| it != 19) {
        return Err(HashError::Malformed);
    }
    let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    let (memory, passes, lanes) = ARGON2_MAX;
    let fits = params.m_cost() <= memory && params.t_cost() <= passes && params.p_cost() <= lanes;
    // Lanes share the memory, and are filled one after the other.
    let cost = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if fits { Ok(cost) } else { Err(HashError::TooCostly) }
}
