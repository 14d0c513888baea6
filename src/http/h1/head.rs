//! The request head: from bytes to a [`Request`] that cannot be misread.
//!
//! [`parse`] looks at the front of a connection's buffer. It answers `Ok(None)` until the head is
//! complete, then `Ok(Some((request, used)))`, or a [`Refusal`] after which the connection must
//! be closed, because the end of the message can no longer be trusted. It never allocates.
//!
//! **The chunking law.** For any input, every prefix gets either "incomplete" or the answer that
//! the whole input gets. The answer belongs to the first byte that decides it: a byte that breaks
//! the grammar, a byte past a limit, or the last byte of the head. Whatever is wrong with the
//! *meaning* of the fields (two lengths, no host) is said at that last byte and not before.
//!
//! The grammar is httparse's, made strict: no bare LF, no other leniency. Where two readings of a
//! message are possible somewhere on the way (RFC 9112 §11.2), it is refused and not repaired.
//!
//! No state is kept between calls: an incomplete head is scanned from its beginning every time. The
//! caller sees to it that a client that sends byte by byte does not cause a scan per byte.

use fields::Fields;

use crate::http::semantics::authority;
use crate::http::semantics::condition::Conditions;
use crate::http::semantics::field::Field;
use crate::http::semantics::status::Status;

mod fields;
mod scan;
#[cfg(test)]
mod tests;

/// The most header fields a request may have. One more is refused with 431.
pub const FIELDS_MAX: usize = 100;

/// How much of a head is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, counting blank lines before it and the one that ends it.
    pub head_bytes_max: usize,
    /// Bytes of the request target, and of the method as well.
    pub target_bytes_max: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, target_bytes_max: 8 * 1024 }
    }
}

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

/// Parses the request head at the front of `input`.
///
/// On success also returns the number of bytes used, including blank lines before the head
/// (RFC 9112 §2.2). At most `head_bytes_max` bytes of the input are looked at.
///
/// # Errors
///
/// With the refusal to send before the connection is closed.
pub fn parse<'a>(
    input: &'a [u8],
    limits: &HeadLimits,
) -> Result<Option<(Request<'a>, usize)>, Refusal> {
    let window = &input[..input.len().min(limits.head_bytes_max)];
    let scanned = scan::scan(window);
    let head = match scanned {
        scan::Scan::Complete { length, .. } => &window[..length],
        scan::Scan::Partial | scan::Scan::Fault(_) => window,
    };
    if let Some((end, breach)) = scan::first_breach(head, limits.target_bytes_max) {
        // A fault before the breach came first on the wire, and a shorter input has already
        // been answered with it.
        return match scan::scan(&head[..end]) {
            scan::Scan::Fault(earlier) => Err(earlier),
            scan::Scan::Partial | scan::Scan::Complete { .. } => Err(breach),
        };
    }
    match scanned {
        scan::Scan::Complete { length, request } => Ok(Some((request?, length))),
        scan::Scan::Fault(fault) => Err(fault),
        scan::Scan::Partial if window.len() == limits.head_bytes_max => Err(HEAD_TOO_LARGE),
        scan::Scan::Partial => Ok(None),
    }
}

const HEAD_TOO_LARGE: Refusal = Refusal {
    status: Status::HeaderFieldsTooLarge,
    reason: "The request head is larger than this server accepts.",
};

/// Gives a complete head its meaning. The last step, so that it sees well-formed lines only.
fn interpret<'a>(
    method: &str,
    raw_target: &'a [u8],
    minor: u8,
    headers: &[httparse::Header<'a>],
    head: &'a [u8],
) -> Result<Request<'a>, Refusal> {
    let method = Method::from_token(method);
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let fields = Fields::collect(headers, head)?;
    let (authority, target) = split_target(method, raw_target)?;
    let host = fields.host(version)?;
    let body = fields.body(version)?;
    // In HTTP/1.0 the field has no meaning and must be ignored (RFC 9110 §10.1.1).
    let expects = version == Version::Http11;
    if expects && fields.expects_unknown {
        return Err(Refusal {
            status: Status::ExpectationFailed,
            reason: "The only expectation this server can meet is 100-continue.",
        });
    }
    Ok(Request {
        target,
        host: authority.unwrap_or(host),
        body,
        method,
        version,
        keep_alive: fields.keep_alive(version) && method != Method::Connect,
        expects_continue: expects && fields.expects_continue,
        accept: fields.accept,
        accept_encoding: fields.accept_encoding,
        conditions: fields.conditions,
        range: fields.range,
        if_range: fields.if_range,
        is_preflight: method == Method::Options && fields.asks_for_method,
    })
}

impl Method {
    /// Method names are case-sensitive (RFC 9110 §9.1).
    fn from_token(token: &str) -> Self {
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

/// Splits a request target into its authority, if it has one, and its path and query.
///
/// Accepts the four forms of RFC 9112 §3.2, each only where that section allows it.
fn split_target(method: Method, raw: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Refusal> {
    if memchr::memchr(b'#', raw).is_some() {
        return Err(bad_request("A request target cannot have a fragment."));
    }
    match (method, raw) {
        (Method::Connect, _) => {
            let names_a_port =
                authority::is_valid(raw) && authority::has_host(raw) && authority::has_port(raw);
            let refusal = bad_request("The target of CONNECT must be a host and a port.");
            names_a_port.then_some((Some(raw), raw)).ok_or(refusal)
        }
        (_, [b'/', ..]) | (Method::Options, b"*") => Ok((None, raw)),
        _ => split_absolute_form(raw),
    }
}

/// `http://authority/path?query`, which every server must accept (RFC 9112 §3.2.2).
fn split_absolute_form(raw: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Refusal> {
    let Some(rest) = strip_scheme(raw, b"http://").or_else(|| strip_scheme(raw, b"https://"))
    else {
        return Err(bad_request("The request target is neither a path nor an http URI."));
    };
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    // Unlike the Host field, an http URI must name a host (RFC 9110 §4.2.1).
    if !authority::is_valid(authority) || !authority::has_host(authority) {
        return Err(bad_request("The request target does not have a valid host and port."));
    }
    Ok((Some(authority), if target.is_empty() { b"/" } else { target }))
}

/// Schemes are case-insensitive (RFC 3986 §3.1).
fn strip_scheme<'a>(raw: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = raw.split_at_checked(scheme.len())?;
    front.eq_ignore_ascii_case(scheme).then_some(rest)
}

const fn bad_request(reason: &'static str) -> Refusal {
    Refusal { status: Status::BadRequest, reason }
}

/// Fuzz entry: the chunking law, and that what is returned lies within the input.
///
/// # Panics
///
/// If an invariant of [`parse`] does not hold.
#[doc(hidden)]
pub fn fuzz_head(data: &[u8]) {
    // The small limits let short inputs reach every refusal.
    let small = HeadLimits { head_bytes_max: 96, target_bytes_max: 24 };
    for limits in [HeadLimits::default(), small] {
        let whole = parse(data, &limits);
        if let Ok(Some((request, used))) = whole {
            assert!(used <= data.len() && used <= limits.head_bytes_max);
            assert!(request.target.len() <= limits.target_bytes_max);
            assert!(data[..used].ends_with(b"\r\n\r\n"));
            assert!(!request.target.is_empty());
            assert!(request.target.iter().all(|byte| *byte > b' ' && *byte != b'#'));
            assert!(authority::is_valid(request.host));
        }
        // Long inputs are cut at a sample of their positions, to keep the work linear.
        for end in (0..data.len()).step_by(1 + data.len() / 512) {
            let part = parse(&data[..end], &limits);
            assert!(part == Ok(None) || part == whole, "cut at {end}: {part:?}, whole: {whole:?}");
        }
    }
}
