//! HTTPS: TLS 1.3 and 1.2 (RFC 8446, RFC 5246), by rustls.
//!
//! | file | content |
//! | --- | --- |
//! | `layer.rs` | TLS as a [`Layer`](crate::secured::Layer) around a session |
//! | `config.rs` | settings, and what the connections of a worker share |
//! | `stats.rs` | counters |

mod config;
mod layer;
mod stats;

pub use config::{TlsConfig, TlsError, TlsSettings, TlsShared};
pub use layer::Tls;
pub use stats::{TlsCounts, TlsFailure, TlsStats};
