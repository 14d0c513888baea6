//! What a request asks for, whatever its framing. Every version of HTTP fills the same record.

use super::condition::Conditions;
use super::field::Field;

/// A request that passed every check of its framing.
///
/// Fields are present only where an answer depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What the client wants done.
    pub method: Method,
    /// Path and query as sent, beginning with `/`.
    ///
    /// Three exceptions: an absolute-form without a path leaves `?query`; OPTIONS may have `*`;
    /// CONNECT has `host:port`. There is no fragment.
    pub target: &'a [u8],
    /// Host and optional port, valid but not normalised; empty if the client named none.
    pub host: &'a [u8],
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
    /// CONNECT: gets 405.
    Connect,
    /// Any other registered method: gets 405.
    Refused,
    /// A method nobody registered: gets 501.
    Unknown,
}

impl Method {
    /// Method names are case-sensitive (RFC 9110 section 9.1).
    pub fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "CONNECT" => Self::Connect,
            // The rest of IANA's method registry, save `PRI`, which is no method of a request.
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

/// How much of a request is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of the whole head; in HTTP/1 counting blank lines before it and the one that ends it.
    pub head_bytes_max: usize,
    /// Bytes of the request target, and of the method as well.
    pub target_bytes_max: usize,
    /// Bytes of a body that are read and thrown away; a longer one ends the connection.
    pub body_bytes_max: u64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, target_bytes_max: 8 * 1024, body_bytes_max: 64 * 1024 }
    }
}
