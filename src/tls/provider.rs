//! The library that does the cryptography. Nothing else names it.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;

static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();

/// The provider of algorithms for rustls.
pub fn provider() -> &'static Arc<CryptoProvider> {
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// The SHA-256 digest (FIPS 180-4) of bytes.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}
