//! HTTP/2 (RFC 9113): frames, header compression, streams, and the session of a connection.
//!
//! ```text
//! session --> stream, body --> request, hpack, priority, window, calm, frame
//!                                             priority --> dictionary
//! ```
//!
//! | file | content |
//! | --- | --- |
//! | `session.rs`, `session/` | the conversation: frames, requests, responses, ends |
//! | `stream.rs` | the exchanges that are not complete, and whose turn it is to send |
//! | `body.rs` | the content of a response on its way into frames |
//! | `request.rs` | from the fields of a header block to a request |
//! | `hpack/` | header compression (RFC 7541) |
//! | `frame.rs` | how frames are read and written |
//! | `window.rs`, `priority.rs` | flow control; priorities (RFC 9218) |
//! | `dictionary.rs` | the syntax of priorities (RFC 8941) |
//! | `calm.rs` | the budget against floods |
//!
//! [`site`](super::site) makes the responses, as for HTTP/1.1. Server push, the upgrade from
//! HTTP/1.1 and the priorities of RFC 7540 are not supported: browsers have given up the first, and
//! RFC 9113 the others.

mod body;
mod calm;
mod dictionary;
pub mod frame;
pub mod hpack;
mod priority;
mod request;
mod session;
mod stream;
mod window;

pub use session::Http2;
