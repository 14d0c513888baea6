//! HTTPS: TLS 1.3 and 1.2 (RFC 8446, RFC 5246), by rustls.
//!
//! ```text
//! CertificateWatch --change--> Certificate::load --> Certificates --> TlsConfig --> Tls
//! ```
//!
//! | file | content |
//! | --- | --- |
//! | `layer.rs` | TLS as a [`Layer`](crate::secured::Layer) around a session |
//! | `config.rs` | settings, and what the connections of a worker share |
//! | `client_verifier.rs` | bounds what verifying the certificate of a client may cost |
//! | `stats.rs` | counters |
//! | `key_log.rs` | the log of secrets, to look into recorded packets |
//! | `certificate.rs`, `self_signed.rs` | a certificate with its key: loaded and checked, or made |
//! | `pem.rs`, `leaf.rs`, `chain.rs` | what is in its files |
//! | `certificates.rs` | all certificates, and the choice by the name that a client asks for |
//! | `watch.rs` | says when files of certificates change |
//! | `provider.rs` | the library that does the cryptography |

mod certificate;
mod certificate_error;
mod certificates;
mod chain;
mod client_verifier;
mod config;
mod key_log;
mod layer;
mod leaf;
#[cfg(test)]
mod made;
mod pem;
mod provider;
mod self_signed;
mod stats;
mod watch;

pub use certificate::{Certificate, NAMES_SHOWN_MAX};
pub use certificate_error::{CertificateError, FILE_BYTES_MAX, PemContent};
pub use certificates::{Certificates, SiteCertificates};
pub use config::{TlsConfig, TlsError, TlsSettings, TlsShared};
pub use key_log::KeyLogFile;
pub use layer::{Tls, cipher_name};
pub use provider::{LIBRARY, provider};
pub use stats::{TlsCounts, TlsFailure, TlsStats};
pub use watch::CertificateWatch;
