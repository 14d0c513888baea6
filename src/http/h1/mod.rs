//! HTTP/1.x on the wire (RFC 9112): heads, bodies, responses, and the session of a connection.
//!
//! [`head::parse`] turns the front of an inbox into a [`head::Head`], asks for more, or refuses;
//! [`body::Discard`] walks over the request body that nobody wants, within a bound. Both obey the
//! *chunking law*: how the network cut the bytes into pieces never changes the outcome. What a
//! request is answered with is decided by [`site`](super::site).

pub mod body;
mod framing;
#[doc(hidden)]
pub mod harness;
pub mod head;
mod response;
mod session;

use framing::Framing;

pub use session::Http;
