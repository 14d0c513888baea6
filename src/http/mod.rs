//! HTTP: what requests mean, how messages are framed, and how this server responds.
//!
//! ```text
//! front --> h1 --> site --> records --> semantics
//! ```
//!
//! - [`semantics`] is RFC 9110 and 9111 as pure functions: methods, status codes, fields,
//!   validators, conditions, ranges, negotiation. It knows neither framing nor files.
//! - [`site`] decides which file a request gets and makes the response. It does not know framing
//!   either, so the responses are the same for every version of HTTP.
//! - [`records`] is what is known of each response: the access log and the metrics.
//! - [`h1`] is RFC 9112: it parses HTTP/1 requests, writes HTTP/1 responses, and has the session of
//!   a connection.
//! - [`front`] puts that session into a security layer, on the listeners that have one.
//!
//! Imports follow the arrows only; `tests/tidy.rs` enforces this.

pub mod front;
pub mod h1;
pub mod records;
pub mod semantics;
pub mod site;

pub use front::Front;
pub use h1::Http;
pub use semantics::status::Status;
pub use site::{
    Content, HttpSettings, ListenerRole, ListenerRoles, RootDirectory, RootPath, SiteSettings,
    SiteTable, Sites,
};
