//! HTTP/1.x on the wire (RFC 9112): request heads, bodies, and the session of a connection.

pub mod body;
#[doc(hidden)]
pub mod fuzz;
pub mod head;
mod session;

pub use session::Http;
