//! HTTP/1.x (RFC 9112): request heads, request bodies, responses, and the session of a connection.
//!
//! [`head::parse`] parses a request head; [`body::Discard`] finds the end of a request body, whose
//! content is not used. Both obey the *chunking law*: the result does not depend on how the network
//! split the bytes. [`site`](super::site) makes the response.

pub mod body;
mod framing;
pub mod head;
mod response;
mod session;

use framing::Framing;

pub use session::Http;
