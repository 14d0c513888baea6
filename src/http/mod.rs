//! HTTP: what requests mean, how they are framed, and what this server answers.
//!
//! ```text
//! h1 --> site --> semantics
//! ```
//!
//! - [`semantics`] is RFC 9110 and 9111 as pure functions: methods, status codes, fields,
//!   validators, conditions, ranges, negotiation. It knows no framing and no file.
//! - [`site`] decides which file answers a request and how. It knows no framing either, so every
//!   version of HTTP gets the same answers from it.
//! - [`h1`] is RFC 9112: how requests and responses of HTTP/1 are written, and the session that
//!   joins a connection to the site.
//!
//! Imports go along the arrows only; `tests/tidy.rs` holds that.

pub mod h1;
pub mod semantics;
pub mod site;

pub use h1::Http;
pub use semantics::status::Status;
pub use site::{Content, RootPath, SiteSettings, Sites};
