//! Scans the lines of a head: with httparse, and by rules that httparse does not enforce.
//!
//! [`scan`] finds the end of the head, or the first fault by httparse's grammar. [`first_breach`]
//! finds the first violation of the other rules. The caller uses the one that comes first. Both
//! read forwards, so more input never changes a result.

use std::mem::MaybeUninit;

use super::interpret::interpret;
use super::parsed::Head;
use crate::http::semantics::request::{FIELDS_MAX, Refusal, TOO_MANY_FIELDS, bad_request};
use crate::http::semantics::status::Status;

/// What the input so far contains.
pub(super) enum Scan {
    /// The beginning of a head, without a fault.
    Partial,
    /// A violation of the grammar.
    Fault(Refusal),
    /// A well-formed head of `length` bytes, and why it is refused all the same, if it is. Its
    /// method and its target have at most `word_bytes`.
    Complete { length: usize, word_bytes: usize, meaning: Result<(), Refusal> },
}

const BAD_REQUEST_LINE: Refusal = bad_request(
    "The request line must be a method, a target and a version, with one space between them.",
);

const BARE_LINE_FEED: Refusal =
    bad_request("A line of the request head ends with LF instead of CR LF.");

const TARGET_TOO_LONG: Refusal = Refusal {
    status: Status::UriTooLong,
    reason: "The request line is longer than this server accepts.",
};

/// Scans the lines of a head, and interprets them into `head` if they are complete.
#[inline]
pub(super) fn scan<'a>(head: &mut Head<'a>, view: &'a [u8]) -> Scan {
    // Uninitialised, because clearing 100 slots would cost more than parsing a small GET.
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut lines = httparse::Request::new(&mut []);
    let outcome = lines.parse_with_uninit_headers(view, &mut slots);
    match (outcome, lines.method, lines.path, lines.version) {
        (Ok(httparse::Status::Partial), ..) => Scan::Partial,
        (Ok(httparse::Status::Complete(length)), Some(method), Some(target), Some(minor)) => {
            let word_bytes = method.len().max(target.len());
            let target = target.as_bytes();
            let meaning = interpret(head, method, target, minor, lines.headers, view);
            Scan::Complete { length, word_bytes, meaning }
        }
        (Ok(httparse::Status::Complete(_)), ..) => {
            unreachable!("a complete head has a request line")
        }
        (Err(httparse::Error::Version), Some(method), Some(target), _) => {
            scan_version(head, view, method, target.as_bytes())
        }
        (Err(httparse::Error::Token), Some(method), None, _) => scan_target(head, view, method),
        (Err(_), None, ..) if view.first() == Some(&TLS_HANDSHAKE) => Scan::Fault(bad_request(
            "This looks like a TLS handshake, and this port speaks plain HTTP.",
        )),
        (Err(error), ..) => Scan::Fault(fault(error)),
    }
}

/// The first byte of a TLS connection: a record of type "handshake" (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// Continues at a target that httparse rejects, perhaps only because it is not UTF-8. A target may
/// have any bytes above ASCII, because names of files do.
#[cold]
fn scan_target<'a>(head: &mut Head<'a>, view: &'a [u8], method: &str) -> Scan {
    let rest = &view[line_start(view) + method.len() + 1..];
    let end = rest.iter().position(|byte| !matches!(byte, b'!'..=b'~' | 0x80..));
    match end.map(|end| (&rest[..end], rest[end])) {
        Some((target, b' ')) if !target.is_empty() => scan_version(head, view, method, target),
        _ => Scan::Fault(BAD_REQUEST_LINE),
    }
}

/// Continues at a version that httparse has not read, or rejects because it is neither HTTP/1.0 nor
/// HTTP/1.1.
///
/// A higher minor version is read as 1.1 (RFC 9110 §2.5). httparse rejects some versions before all
/// their eight bytes have arrived, so an incomplete version is not a fault.
fn scan_version<'a>(head: &mut Head<'a>, view: &'a [u8], method: &str, target: &'a [u8]) -> Scan {
    let version_at = line_start(view) + method.len() + 1 + target.len() + 1;
    let version = &view[version_at..];
    match *version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9', ref rest @ ..] => {
            scan_fields(head, view, rest, method, target, minor - b'0')
        }
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9', ..] => {
            Scan::Fault(Refusal {
                status: Status::VersionNotSupported,
                reason: "This server speaks HTTP/1.1 and HTTP/1.0.",
            })
        }
        _ if is_part_of_version(version) => Scan::Partial,
        _ => Scan::Fault(fault(httparse::Error::Version)),
    }
}

/// Scans the fields of a head whose request line httparse rejects and this server does not.
fn scan_fields<'a>(
    head: &mut Head<'a>,
    view: &'a [u8],
    rest: &'a [u8],
    method: &str,
    target: &'a [u8],
    minor: u8,
) -> Scan {
    let lines = match rest {
        [] | [b'\r'] => return Scan::Partial,
        [b'\r', b'\n', lines @ ..] => lines,
        _ => return Scan::Fault(fault(httparse::Error::NewLine)),
    };
    let mut slots = [httparse::EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(lines, &mut slots) {
        Ok(httparse::Status::Partial) => Scan::Partial,
        Ok(httparse::Status::Complete((used, headers))) => Scan::Complete {
            length: view.len() - lines.len() + used,
            word_bytes: method.len().max(target.len()),
            meaning: interpret(head, method, target, minor, headers, view),
        },
        Err(error) => Scan::Fault(fault(error)),
    }
}

/// Whether more bytes could turn `bytes` into `HTTP/digit.digit`.
fn is_part_of_version(bytes: &[u8]) -> bool {
    let fits = |(byte, pattern): (&u8, &u8)| match pattern {
        b'0' => byte.is_ascii_digit(),
        _ => byte == pattern,
    };
    bytes.len() < 8 && bytes.iter().zip(b"HTTP/0.0").all(fits)
}

fn fault(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        // This includes white space before the colon and obsolete line folding (RFC 9112 §5.1,
        // §5.2), since a name contains no white space.
        httparse::Error::HeaderName => {
            bad_request("A header line does not begin with a valid name and a colon.")
        }
        httparse::Error::HeaderValue => {
            bad_request("A header value has a control character in it.")
        }
        httparse::Error::Version => {
            bad_request("The request line does not end with a valid HTTP version.")
        }
        httparse::Error::NewLine | httparse::Error::Token | httparse::Error::Status => {
            BAD_REQUEST_LINE
        }
    }
}

/// The position of the first byte that violates a rule which httparse does not enforce.
/// `target_bytes_max` is `None` if the method and the target are known to be short enough.
#[inline]
pub(super) fn first_breach(
    view: &[u8],
    target_bytes_max: Option<usize>,
) -> Option<(usize, Refusal)> {
    let bare_line_feed = first_bare_line_feed(view).map(|at| (at, BARE_LINE_FEED));
    let Some(bytes_max) = target_bytes_max else { return bare_line_feed };
    let long_target = first_excess(view, bytes_max).map(|at| (at, TARGET_TOO_LONG));
    [bare_line_feed, long_target].into_iter().flatten().min_by_key(|&(at, _)| at)
}

/// The position of the first LF without a CR before it.
///
/// RFC 9112 §2.2 allows a recipient to accept it as a line end. But a proxy that does not accept it
/// would see other lines than this server, so it is refused.
fn first_bare_line_feed(view: &[u8]) -> Option<usize> {
    let is_bare = |before: u8, byte: u8| (byte == b'\n') & (before != b'\r');
    // Hardly any head has one. A loop without an early exit is vectorised, which is several times
    // faster than searching line end by line end.
    let pairs = view.iter().zip(view.iter().skip(1));
    let found = pairs.fold(false, |found, (&before, &byte)| found | is_bare(before, byte));
    if !found && view.first() != Some(&b'\n') {
        return None;
    }
    memchr::memchr_iter(b'\n', view).find(|&at| at == 0 || view[at - 1] != b'\r')
}

/// The position of the first byte of the method or the target beyond `bytes_max`.
fn first_excess(view: &[u8], bytes_max: usize) -> Option<usize> {
    let method_at = line_start(view);
    // The end of the word at this position, if the word has at most `bytes_max` bytes.
    let end_of_word = |at: usize| {
        let bytes = &view[at..];
        memchr::memchr(b' ', &bytes[..bytes.len().min(bytes_max.saturating_add(1))])
            .map(|length| at + length)
    };
    let word_at = match end_of_word(method_at) {
        None => method_at,
        Some(method_end) if end_of_word(method_end + 1).is_some() => return None,
        Some(method_end) => method_end + 1,
    };
    (view.len() - word_at > bytes_max).then_some(word_at + bytes_max)
}

/// The start of the request line, after any blank lines (RFC 9112 §2.2).
fn line_start(view: &[u8]) -> usize {
    view.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(view.len())
}
