//! What the connection makes of a response: whether it goes on after it, and how that is said
//! (RFC 9112 section 9).

use super::head::{Head, RequestBody, Version};

/// See the module documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Framing {
    /// Whether the connection goes on.
    pub(super) keep_alive: bool,
    /// Whether the client takes a connection to end unless told otherwise (HTTP/1.0).
    pub(super) says_keep_alive: bool,
}

impl Framing {
    /// Of the last response on a connection.
    pub(super) const LAST: Self = Self { keep_alive: false, says_keep_alive: false };

    /// Of the response to a request. `body_bytes_max` is how much of a body is read past.
    pub(super) fn of(head: &Head<'_>, draining: bool, body_bytes_max: u64) -> Self {
        let body_ends = match head.body {
            RequestBody::None => true,
            RequestBody::Length(bytes) => bytes <= body_bytes_max,
            // How long it is shows when it is read.
            RequestBody::Chunked => true,
        };
        // A client that waits for 100 gets the final answer instead, and may or may not send its
        // body afterwards: only closing tells them apart (RFC 9110 section 10.1.1).
        let waits = head.expects_continue && !matches!(head.body, RequestBody::None);
        Self {
            keep_alive: head.keep_alive && !draining && body_ends && !waits,
            says_keep_alive: head.version == Version::Http10,
        }
    }

    /// The field line that says it, with its end.
    pub(super) fn connection_field(self) -> &'static [u8] {
        match (self.keep_alive, self.says_keep_alive) {
            (false, _) => b"Connection: close\r\n",
            (true, true) => b"Connection: keep-alive\r\n",
            (true, false) => b"",
        }
    }
}
