//! Interprets a head whose lines are well formed.

use super::message;
use super::parsed::{Head, Version};
use crate::http::semantics::authority;
use crate::http::semantics::request::{
    Method, Refusal, UNKNOWN_EXPECTATION, bad_request, check_connect_target, check_no_fragment,
    is_path_or_asterisk,
};
use crate::http::semantics::request_fields::RequestFields;

/// Interprets a complete head whose lines are well formed; it is at the front of `view`.
#[inline]
pub(super) fn interpret<'a>(
    head: &mut Head<'a>,
    method: &str,
    raw_target: &'a [u8],
    minor: u8,
    headers: &[httparse::Header<'a>],
    view: &'a [u8],
) -> Result<(), Refusal> {
    let method = Method::from_token(method);
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let lines = headers.iter().map(|header| (header.name.as_bytes(), header.value));
    let mut fields = RequestFields::default();
    fields.collect(&mut head.request, lines, view)?;
    let (authority, target) = split_target(method, raw_target)?;
    let host = message::host(&fields, version)?;
    let body = message::body(&fields, version)?;
    // HTTP/1.0 has no `Expect`, so it must be ignored (RFC 9110 §10.1.1).
    let expects = version == Version::Http11;
    if expects && fields.expects_unknown {
        return Err(UNKNOWN_EXPECTATION);
    }
    fields.complete(&mut head.request, method, target, authority.unwrap_or(host));
    (head.body, head.version) = (body, version);
    head.keep_alive = message::keep_alive(&fields, version) && method != Method::Connect;
    head.expects_continue = expects && fields.expects_continue;
    (head.referer, head.user_agent) = (fields.referer, fields.user_agent);
    Ok(())
}

/// Splits a request target into its authority, if it has one, and its path and query.
///
/// Accepts each of the four forms of RFC 9112 §3.2 only for the methods that may use it.
fn split_target(method: Method, raw: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Refusal> {
    check_no_fragment(raw)?;
    match method {
        Method::Connect => {
            check_connect_target(raw)?;
            Ok((Some(raw), raw))
        }
        _ if is_path_or_asterisk(method, raw) => Ok((None, raw)),
        _ => split_absolute_form(raw),
    }
}

/// Splits `http://authority/path?query`, which every server must accept (RFC 9112 §3.2.2).
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

/// Removes a scheme, which is case-insensitive (RFC 3986 §3.1).
fn strip_scheme<'a>(raw: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = raw.split_at_checked(scheme.len())?;
    front.eq_ignore_ascii_case(scheme).then_some(rest)
}
