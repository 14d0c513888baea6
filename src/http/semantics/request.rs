//! A request, independent of framing: every version of HTTP parses to the same struct, and refuses
//! with the same words what no version may accept.

use super::authority;
use super::condition::Conditions;
use super::field::Field;
use super::status::Status;

/// A request whose framing is valid. Only those header fields are kept that affect the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Path and query as sent, beginning with `/`.
    ///
    /// There are three exceptions: `?query` if an absolute-form has no path, `*` for OPTIONS, and
    /// `host:port` for CONNECT. There is no fragment.
    pub target: &'a [u8],
    /// Host and optional port, valid but not normalised. Empty if the request has none.
    pub host: &'a [u8],
    /// `Accept`: the media types that the client accepts.
    pub accept: Field<'a>,
    /// `Accept-Encoding`: the content codings that the client can decode.
    pub accept_encoding: Field<'a>,
    /// `Authorization`: the credentials of the user.
    pub authorization: Field<'a>,
    /// The fields that make the request conditional, except `If-Range`.
    pub conditions: Conditions<'a>,
    /// `Range`: the parts that the client requests.
    pub range: Field<'a>,
    /// `If-Range`: the validator of the parts that the client has.
    pub if_range: Field<'a>,
    /// Whether this is a CORS-preflight request of the Fetch standard: OPTIONS with
    /// `Access-Control-Request-Method`.
    pub is_preflight: bool,
}

impl Request<'_> {
    /// A request of which nothing is known yet.
    pub const EMPTY: Self = Self {
        method: Method::Unknown,
        target: b"",
        host: b"",
        accept: Field::ABSENT,
        accept_encoding: Field::ABSENT,
        authorization: Field::ABSENT,
        conditions: Conditions::ABSENT,
        range: Field::ABSENT,
        if_range: Field::ABSENT,
        is_preflight: false,
    };
}

/// A method, as far as the server distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// CONNECT; gets 405.
    Connect,
    /// Another registered method; gets 405.
    Refused,
    /// A method that is not registered; gets 501.
    Unknown,
}

impl Method {
    /// Parses a method name, which is case-sensitive (RFC 9110 section 9.1).
    pub fn from_token(token: &str) -> Self {
        match token {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "CONNECT" => Self::Connect,
            // The rest of IANA's method registry, except `PRI`, which occurs in no request.
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

/// The most header fields that a request may have. More are refused with 431.
pub const FIELDS_MAX: usize = 100;

/// Size limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of the head, at most 32 KiB. In HTTP/1 this includes blank lines before it, and the
    /// line that ends it. In HTTP/2, each field counts as its name, its value, and 32 (RFC 9113
    /// section 6.5.2).
    pub head_bytes_max: usize,
    /// Bytes of the request target. The method has the same limit.
    pub target_bytes_max: usize,
    /// Bytes of a body that are read and discarded. A longer body ends the connection.
    pub body_bytes_max: u64,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, target_bytes_max: 8 * 1024, body_bytes_max: 64 * 1024 }
    }
}

/// Why a request is refused before it is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the response.
    pub status: Status,
    /// A sentence for the body of the response.
    pub reason: &'static str,
}

/// Refuses a request that violates the grammar.
pub(in crate::http) const fn bad_request(reason: &'static str) -> Refusal {
    Refusal { status: Status::BadRequest, reason }
}

/// The request has more than [`FIELDS_MAX`] fields.
pub(in crate::http) const TOO_MANY_FIELDS: Refusal = Refusal {
    status: Status::HeaderFieldsTooLarge,
    reason: "The request has more header fields than this server accepts.",
};

/// The head is longer than [`RequestLimits::head_bytes_max`].
pub(in crate::http) const HEAD_TOO_LARGE: Refusal = Refusal {
    status: Status::HeaderFieldsTooLarge,
    reason: "The request head is larger than this server accepts.",
};

/// The request has another expectation than 100-continue (RFC 9110 section 10.1.1).
pub(in crate::http) const UNKNOWN_EXPECTATION: Refusal = Refusal {
    status: Status::ExpectationFailed,
    reason: "The only expectation this server can meet is 100-continue.",
};

/// Checks that a target has no fragment (RFC 9110 section 7.1).
pub(in crate::http) fn check_no_fragment(target: &[u8]) -> Result<(), Refusal> {
    match memchr::memchr(b'#', target) {
        Some(_) => Err(bad_request("A request target cannot have a fragment.")),
        None => Ok(()),
    }
}

/// Whether a target is a path, perhaps with a query, or `*` for OPTIONS (RFC 9112 section 3.2).
pub(in crate::http) fn is_path_or_asterisk(method: Method, target: &[u8]) -> bool {
    target.first() == Some(&b'/') || (method == Method::Options && target == b"*")
}

/// Checks the target of CONNECT (RFC 9110 section 9.3.6).
pub(in crate::http) fn check_connect_target(target: &[u8]) -> Result<(), Refusal> {
    let names_a_port =
        authority::is_valid(target) && authority::has_host(target) && authority::has_port(target);
    let refusal = bad_request("The target of CONNECT must be a host and a port.");
    if names_a_port { Ok(()) } else { Err(refusal) }
}
