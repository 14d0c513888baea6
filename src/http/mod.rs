//! HTTP: what requests mean, how messages are framed, and how this server responds.
//!
//! ```text
//! front --> stack --> web --> h1, h2 --> site --> records, compress --> semantics
//! ```
//!
//! - [`semantics`] is RFC 9110 and 9111 as pure functions: methods, status codes, fields,
//!   validators, conditions, ranges, negotiation. It knows neither framing nor files.
//! - [`site`] decides which file a request gets and makes the response. It does not know framing
//!   either, so the responses are the same for every version of HTTP.
//! - [`records`] is what is known of each response: the access log and the metrics.
//! - [`compress`] compresses files on the fly, on a thread of its own, and keeps the results.
//! - [`h1`] is RFC 9112: it parses HTTP/1 requests, writes HTTP/1 responses, and has the session of
//!   a connection.
//! - [`h2`] is RFC 9113 and 7541: the same for HTTP/2.
//! - [`Web`] is the session of a connection in the version that the client speaks.
//! - [`stack`] puts that session into a security layer, on the listeners that have one.
//! - [`front`] puts it behind the header of a proxy, on the listeners that have one.
//!
//! Imports follow the arrows only; `tests/tidy.rs` enforces this.

pub mod compress;
pub mod front;
pub mod h1;
pub mod h2;
#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub mod harness;
pub mod records;
pub mod semantics;
pub mod site;
pub mod stack;
mod web;

pub use front::Front;
pub use h1::Http;
pub use h2::Http2;
pub use semantics::status::Status;
pub use site::{
    Content, FallbackRoot, FileGlobs, HttpSettings, ListenerRole, ListenerRoles, OwnAnswers,
    OwnReply, OwnRequest, RootDirectory, RootPath, SiteSettings, SiteTable, Sites, TagSource,
};
pub use web::Web;
