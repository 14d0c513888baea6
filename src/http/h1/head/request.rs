//! What a head says, once it is understood; or why it is refused.

use crate::http::semantics::condition::Conditions;
use crate::http::semantics::field::Field;
use crate::http::semantics::status::Status;

/// A request head that passed every check.
///
/// Fields of the head are present only where the server checks them or acts on them; what is not a
/// number or a choice is a slice of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Path and query as sent, beginning with `/`.
    ///
    /// Three exceptions: an absolute-form without a path leaves `?query`; OPTIONS may have `*`;
    /// CONNECT has `host:port`. There is no fragment.
    pub target: &'a [u8],
    /// Host and optional port, valid but not normalised; empty if the client named none.
    ///
    /// Taken from an absolute-form target where there is one, else from `Host` (RFC 9112 §3.2.2).
    pub host: &'a [u8],
    /// What follows the head on the connection.
    pub body: Body,
    /// What the client wants done.
    pub method: Method,
    /// How the client wants to be spoken to.
    pub version: Version,
    /// Whether the connection may carry another request after this one (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the client waits for a 100 or a final status before it sends the body.
    pub expects_continue: bool,
    /// `Accept`: media types that the client likes.
    pub accept: Field<'a>,
    /// `Accept-Encoding`: content codings that it can undo.
    pub accept_encoding: Field<'a>,
    /// The fields that make the answer depend on the version of the file.
    pub conditions: Conditions<'a>,
    /// `Range`: the parts that it wants.
    pub range: Field<'a>,
    /// `If-Range`: the version that it has parts of.
    pub if_range: Field<'a>,
    /// Whether a browser asks what a script of another site may do: OPTIONS with
    /// `Access-Control-Request-Method`, the CORS-preflight request of the Fetch standard.
    pub is_preflight: bool,
}

/// What the client wants done, as far as the server tells methods apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// CONNECT: gets 405. What follows would be a foreign protocol, so `keep_alive` is false.
    Connect,
    /// Any other registered method: gets 405.
    Refused,
    /// A method nobody registered: gets 501.
    Unknown,
}

impl Method {
    /// Method names are case-sensitive (RFC 9110 §9.1).
    pub(super) fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "CONNECT" => Self::Connect,
            // The rest of IANA's method registry, save `PRI`, which is no method of HTTP/1.
            "ACL" | "BASELINE-CONTROL" | "BIND" | "CHECKIN" | "CHECKOUT" | "COPY" | "DELETE"
            | "LABEL" | "LINK" | "LOCK" | "MERGE" | "MKACTIVITY" | "MKCALENDAR" | "MKCOL"
            | "MKREDIRECTREF" | "MKWORKSPACE" | "MOVE" | "ORDERPATCH" | "PATCH" | "POST"
            | "PROPFIND" | "PROPPATCH" | "PUT" | "QUERY" | "REBIND" | "REPORT" | "SEARCH"
            | "TRACE" | "UNBIND" | "UNCHECKOUT" | "UNLINK" | "UNLOCK" | "UPDATE"
            | "UPDATEREDIRECTREF" | "VERSION-CONTROL" => Self::Refused,
            _ => Self::Unknown,
        }
    }
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
pub enum Body {
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
