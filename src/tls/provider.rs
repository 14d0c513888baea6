//! The library that does the cryptography. Nothing else names it.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;

/// The library that speaks TLS and the one that does the cryptography, with their versions, for
/// reports. Neither tells its version to programs; a test compares these with `Cargo.lock`.
pub const LIBRARY: &str = "rustls 0.23.46, aws-lc-rs 1.19.0";

static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();

/// The provider of algorithms for rustls.
pub fn provider() -> &'static Arc<CryptoProvider> {
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// The SHA-256 digest (FIPS 180-4) of bytes.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::LIBRARY;

    #[test]
    fn the_versions_are_those_that_are_locked() {
        let lock = include_str!("../../Cargo.lock");
        let version = |name: &str| {
            let package = format!("name = \"{name}\"\nversion = \"");
            let (_, rest) = lock.split_once(&package).unwrap();
            rest.split_once('"').unwrap().0
        };
        let (rustls, aws_lc) = (version("rustls"), version("aws-lc-rs"));
        assert_eq!(LIBRARY, format!("rustls {rustls}, aws-lc-rs {aws_lc}"));
    }
}
