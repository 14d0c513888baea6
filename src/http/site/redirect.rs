//! Redirects to HTTPS, for listeners that serve nothing else.
//!
//! The redirect names the host of the request, because the address of the same page has this host.
//! It is written in full, with scheme and host, so a target that begins with two slashes or with a
//! backslash stays a path.

use percent_encoding::percent_encode;

use super::response::{Body, Response};
use super::target::QUERY;
use super::templates::{Problem, ResponseTemplates};
use crate::http::semantics::authority;
use crate::http::semantics::fields::Fields;
use crate::http::semantics::request::{Method, Request};
use crate::http::semantics::status::Status;

/// The port that an address with `https` has if it names none (RFC 9110 section 4.2.2).
const HTTPS_PORT: u16 = 443;

/// Where a certificate authority asks for a proof that this server has the host (RFC 8555 section
/// 8.3). It asks without TLS, because there may be no certificate yet.
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// Whether a target is a challenge. Tokens have the alphabet of base64url, and nothing else is
/// exempt from the redirect: no path that leads out of the folder, and no listing of it.
pub(super) fn is_challenge(target: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let token = target.strip_prefix(CHALLENGES);
    token.is_some_and(|token| !token.is_empty() && token.iter().all(is_token))
}

/// The same address with `https`, at this port. `None` if the request names no host.
fn secure_address(request: &Request<'_>, port: u16) -> Option<String> {
    // The authority is valid, so it is ASCII without a line end.
    let host = authority::without_port(request.host);
    let host = str::from_utf8(host).ok().filter(|host| !host.is_empty())?;
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    // The target of a request for the whole server is no path (RFC 9112 section 3.2.4).
    let target = if request.target == b"*" { b"" } else { request.target };
    let slash = if target.starts_with(b"?") { "/" } else { "" };
    Some(format!("https://{host}{port}{slash}{}", percent_encode(target, QUERY)))
}

/// The response of a listener that only redirects to HTTPS at this port. All methods are
/// redirected: 308 preserves the method (RFC 9110 section 15.4.9), and a client that sends a form
/// learns that it should use the other address. CONNECT has no such address.
pub(super) fn respond(
    templates: &mut ResponseTemplates,
    request: &Request<'_>,
    port: u16,
) -> Response {
    let mut refuse = |status, detail| {
        templates.error(Fields::new(), Problem { status, detail }, &Fields::new(), false)
    };
    let mut response = match (request.method, secure_address(request, port)) {
        (Method::Connect, _) => {
            let detail = "This server supports only GET, HEAD and OPTIONS.";
            refuse(Status::MethodNotAllowed, detail)
        }
        (_, None) => {
            let detail = "The request names no host that could be asked with HTTPS.";
            refuse(Status::BadRequest, detail)
        }
        (_, Some(location)) => templates.elsewhere(&location),
    };
    if request.method == Method::Head {
        // A response to HEAD has no content (RFC 9110 section 9.3.2).
        response.body = Body::None;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_are_challenges() {
        for target in ["/.well-known/acme-challenge/aZ09-_", "/.well-known/acme-challenge/a"] {
            assert!(is_challenge(target.as_bytes()), "{target}");
        }
        for target in [
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/../../index.html",
            "/.well-known/acme-challenge/%2e%2e/security.txt",
            "/.well-known/acme-challenge/a/b",
            "/.well-known/acme-challenge/a?b",
            "//.well-known/acme-challenge/a",
            "/.well-known/security.txt",
        ] {
            assert!(!is_challenge(target.as_bytes()), "{target}");
        }
    }
}
