//! Whether a connection persists after a response, and the field that says so (RFC 9112 section 9).

use super::head::{Head, RequestBody, Version};

/// What a response says about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Framing {
    /// Whether the connection persists.
    pub(super) keep_alive: bool,
    /// Whether persistence must be announced, because the client speaks HTTP/1.0.
    pub(super) says_keep_alive: bool,
}

impl Framing {
    /// For the last response of a connection.
    pub(super) const LAST: Self = Self { keep_alive: false, says_keep_alive: false };

    /// For the response to a request, of whose body at most `body_bytes_max` bytes are discarded.
    pub(super) fn of(head: &Head<'_>, draining: bool, body_bytes_max: u64) -> Self {
        let body_ends = match head.body {
            RequestBody::None => true,
            RequestBody::Length(bytes) => bytes <= body_bytes_max,
            // The length is not known yet. If the body is too long, discarding it will fail.
            RequestBody::Chunked => true,
        };
        // A client that waits for 100 gets the final response instead. Afterwards it may send the
        // body or omit it, so the next bytes would be ambiguous (RFC 9110 section 10.1.1).
        let waits = head.expects_continue && !matches!(head.body, RequestBody::None);
        Self {
            keep_alive: head.keep_alive && !draining && body_ends && !waits,
            says_keep_alive: head.version == Version::Http10,
        }
    }

    /// The `Connection` field line including its line end, or nothing if none is needed.
    pub(super) fn connection_field(self) -> &'static [u8] {
        match (self.keep_alive, self.says_keep_alive) {
            (false, _) => b"Connection: close\r\n",
            (true, true) => b"Connection: keep-alive\r\n",
            (true, false) => b"",
        }
    }
}
