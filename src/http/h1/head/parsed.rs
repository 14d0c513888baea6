//! The result of parsing a head: the request and its framing.

use crate::http::semantics::request::Request;

/// A valid request head: the request, and the framing of the message. Texts are slices of the
/// input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The request. Its host is that of an absolute-form target, if there is one, else that of the
    /// `Host` field (RFC 9112 §3.2.2).
    pub request: Request<'a>,
    /// The framing of the body.
    pub body: RequestBody,
    /// The version that the client speaks.
    pub version: Version,
    /// Whether another request may follow on the connection (RFC 9112 §9.3). False for CONNECT,
    /// because the bytes after it may belong to another protocol.
    pub keep_alive: bool,
    /// Whether the client waits for 100 or a final status before it sends the body.
    pub expects_continue: bool,
    /// `Referer`, for the log.
    pub referer: Option<&'a [u8]>,
    /// `User-Agent`, for the log.
    pub user_agent: Option<&'a [u8]>,
}

impl Head<'_> {
    /// A head of which nothing is known yet.
    pub const EMPTY: Self = Self {
        request: Request::EMPTY,
        body: RequestBody::None,
        version: Version::Http11,
        keep_alive: false,
        expects_continue: false,
        referer: None,
        user_agent: None,
    };
}

/// The versions of HTTP/1 that the server distinguishes. It treats 1.2 to 1.9 as 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no interim responses, and connections close by default.
    Http10,
    /// HTTP/1.1: connections persist by default.
    Http11,
}

/// How the request body is framed (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is no body.
    None,
    /// The body has the length of `Content-Length`, which may be zero.
    Length(u64),
    /// The body ends with a chunk of size zero.
    Chunked,
}
