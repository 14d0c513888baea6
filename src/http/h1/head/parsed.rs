//! What a head says, once it is understood; or why it is refused.

use crate::http::semantics::request::Request;
use crate::http::semantics::status::Status;

/// A request head that passed every check: what is asked, and how the message is framed.
///
/// What is not a number or a choice is a slice of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// What is asked for. Its host is that of an absolute-form target where there is one, else
    /// that of the `Host` field (RFC 9112 §3.2.2).
    pub request: Request<'a>,
    /// What follows the head on the connection.
    pub body: RequestBody,
    /// How the client wants to be spoken to.
    pub version: Version,
    /// Whether the connection may carry another request after this one (RFC 9112 §9.3). Never
    /// after CONNECT: what follows would be a foreign protocol.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 or a final status before it sends the body.
    pub expects_continue: bool,
}

/// The minor versions of HTTP/1 that make a difference; 1.2 to 1.9 are spoken to as 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, closes by default.
    Http10,
    /// HTTP/1.1: stays open by default.
    Http11,
}

/// How the request body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// The head is the whole request.
    None,
    /// As many bytes as `Content-Length` says, which may be zero.
    Length(u64),
    /// Chunks up to the one of size zero.
    Chunked,
}

/// A request that is not answered in its own terms. The connection closes after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the response.
    pub status: Status,
    /// One plain sentence for the body of the response.
    pub reason: &'static str,
}

/// A head that breaks the rules of RFC 9112.
pub(super) const fn bad_request(reason: &'static str) -> Refusal {
    Refusal { status: Status::BadRequest, reason }
}
