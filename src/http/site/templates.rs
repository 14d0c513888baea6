//! Responses that the server generates: errors, redirects and OPTIONS.

use std::rc::Rc;

use percent_encoding::percent_encode;

use super::response::Response;
use super::target::QUERY;
use crate::http::semantics::fields::{Fields, PreparedFields};
use crate::http::semantics::status::Status;

/// The supported methods (RFC 9110 section 10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// How many bodies of errors are kept. The program has hardly more.
const ERRORS_MAX: usize = 32;

const HTML: &str = "text/html; charset=utf-8";

/// The style sheet, of the same look as that of listings.
const STYLE: &str = include_str!("error.css");

/// An error, in the terms of RFC 9457.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Problem {
    /// The status code.
    pub(in crate::http) status: Status,
    /// A sentence of explanation, in ASCII without `<`, `&`, `"` and `\`, because it is not
    /// escaped.
    pub(in crate::http) detail: &'static str,
}

/// The client may not have anything of the site.
pub(super) const DENIED: Problem =
    Problem { status: Status::Forbidden, detail: "This site is not for clients at your address." };

/// Prepared fields and bodies of errors.
#[derive(Debug, Default)]
pub(super) struct ResponseTemplates {
    /// By problem, and whether the body is JSON.
    errors: Vec<(Problem, bool, Rc<PreparedFields>)>,
    /// Of redirects to another server.
    elsewhere: Option<Rc<PreparedFields>>,
}

impl ResponseTemplates {
    /// An error with a small body in HTML or JSON. `own` are fields by rules, `extra` are fields
    /// that the problem needs.
    pub(super) fn error(
        &mut self,
        mut own: Fields,
        problem: Problem,
        extra: &Fields,
        json: bool,
    ) -> Response {
        own.append(extra);
        let known = self.errors.iter().find(|known| (known.0, known.1) == (problem, json));
        if let Some((.., prepared)) = known {
            return Response::prepared(problem.status, own, Rc::clone(prepared));
        }
        let prepared = Rc::new(error_text(problem, json));
        if self.errors.len() < ERRORS_MAX {
            self.errors.push((problem, json, Rc::clone(&prepared)));
        }
        Response::prepared(problem.status, own, prepared)
    }

    /// A redirect with 308 to a full address. Browsers may keep it for an hour, and not for ever,
    /// as they do without `Cache-Control`: a wrong port would stay wrong for those who have seen
    /// it. Sites that are served with HTTPS for good say so with `Strict-Transport-Security`.
    pub(super) fn elsewhere(&mut self, location: &str) -> Response {
        let status = Status::PermanentRedirect;
        let prepared = self.elsewhere.get_or_insert_with(|| {
            let mut fields = Fields::new();
            fields.push("Cache-Control", "max-age=3600");
            Rc::new(with_body(fields, HTML, html(status, "This is under another address.")))
        });
        let prepared = Rc::clone(prepared);
        let mut own = Fields::new();
        own.push("Location", location);
        Response::prepared(status, own, prepared)
    }
}

/// The prepared fields and the body of an error.
fn error_text(problem: Problem, json: bool) -> PreparedFields {
    let Problem { status, detail } = problem;
    let (code, title) = (status.code(), status.reason());
    let mut fields = Fields::new();
    push_required(&mut fields, status);
    fields.push("Vary", "Accept");
    if json {
        let body = format!("{{\"status\":{code},\"title\":\"{title}\",\"detail\":\"{detail}\"}}\n");
        with_body(fields, "application/json", &body)
    } else {
        with_body(fields, HTML, html(status, detail))
    }
}

/// Prepares fields and a body in one buffer.
pub(super) fn with_body(
    mut fields: Fields,
    content_type: &str,
    body: impl AsRef<[u8]>,
) -> PreparedFields {
    let body = body.as_ref();
    fields.push("Content-Type", content_type);
    fields.push("Content-Length", body.len());
    fields.push("X-Content-Type-Options", "nosniff");
    let (mut bytes, table) = fields.into_buffer(body.len());
    bytes.extend_from_slice(body);
    PreparedFields::new(&bytes, table)
}

/// Adds the fields that a response with this status must or should have.
pub(super) fn push_required(fields: &mut Fields, status: Status) {
    match status {
        Status::MethodNotAllowed => fields.push("Allow", ALLOW),
        Status::ServiceUnavailable => fields.push("Retry-After", 1),
        // Caches must not store a 404, because the file may be added soon.
        Status::NotFound => fields.push("Cache-Control", "no-store"),
        _ => {}
    }
}

/// A redirect with 308, which preserves the method. The location has neither scheme nor host, since
/// only a proxy in front of this server may know them. Caches must revalidate, because browsers
/// keep a permanent redirect forever, and a file may be added at this path.
pub(super) fn moved(own: Fields, location: &str, query: Option<&[u8]>) -> Response {
    let query =
        query.map_or_else(String::new, |query| format!("?{}", percent_encode(query, QUERY)));
    let status = Status::PermanentRedirect;
    let mut fields = Fields::new();
    fields.push("Location", format_args!("{location}{query}"));
    fields.push("Cache-Control", "no-cache");
    let body = html(status, "This is under another address.");
    Response::prepared(status, own, Rc::new(with_body(fields, HTML, &body)))
}

/// A redirect by a rule. Browsers keep a permanent one for ever unless they are told otherwise, so
/// a mistake would stay with those who have seen it: if it `may_be_kept`, it is kept for an hour.
/// Others must be revalidated: those that apply only while there is no file, and those of a site
/// with passwords.
pub(super) fn redirect(own: Fields, status: Status, location: &str, may_be_kept: bool) -> Response {
    let mut fields = Fields::new();
    fields.push("Location", location);
    match status {
        Status::MovedPermanently | Status::PermanentRedirect if may_be_kept => {
            fields.push("Cache-Control", "max-age=3600");
        }
        _ => fields.push("Cache-Control", "no-cache"),
    }
    let body = html(status, "This is under another address.");
    Response::prepared(status, own, Rc::new(with_body(fields, HTML, &body)))
}

/// The response to a load balancer that asks whether this server takes further requests.
pub(super) fn health(draining: bool) -> Response {
    let (status, body) = match draining {
        false => (Status::Ok, "ok\n"),
        true => (Status::ServiceUnavailable, "the server is stopping\n"),
    };
    let mut fields = Fields::new();
    fields.push("Cache-Control", "no-store");
    let body = Rc::new(with_body(fields, "text/plain; charset=utf-8", body));
    Response::prepared(status, Fields::new(), body)
}

/// The response to OPTIONS (RFC 9110 section 9.3.7).
pub(super) fn options(mut own: Fields) -> Response {
    own.push("Allow", ALLOW);
    Response::new(Status::NoContent, own)
}

/// The response to HEAD for content that is not generated. Its length is not known, so there is no
/// `Content-Length`, as RFC 9110 section 9.3.2 allows.
pub(super) fn unmade(
    mut own: Fields,
    content_type: &str,
    extra: impl FnOnce(&mut Fields),
) -> Response {
    own.push("Content-Type", content_type);
    extra(&mut own);
    own.push("X-Content-Type-Options", "nosniff");
    Response::new(Status::Ok, own)
}

/// A page without external resources, in the reader's preferred color scheme.
fn html(status: Status, reason: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>\n{STYLE}</style>\n\
         <title>{status}</title>\n<main>\n<h1>{status}</h1>\n<p>{reason}</p>\n</main>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(response: &Response) -> String {
        let prepared = response.fields.prepared().unwrap();
        String::from_utf8(prepared.body().to_vec()).unwrap()
    }

    fn field<'r>(response: &'r Response, name: &str) -> Option<&'r [u8]> {
        let mut fields = response.fields.iter();
        fields.find(|(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    }

    /// By default, caches may store a permanent redirect (RFC 9110 section 15.4.9).
    #[test]
    fn a_redirect_must_be_revalidated() {
        let response = moved(Fields::new(), "/a/", Some(b"b=c"));
        assert_eq!(response.status, Status::PermanentRedirect);
        let length = body(&response).len().to_string();
        for (name, value) in
            [("Location", "/a/?b=c"), ("Cache-Control", "no-cache"), ("Content-Length", &length)]
        {
            assert_eq!(field(&response, name), Some(value.as_bytes()), "{name}");
        }
    }

    #[test]
    fn each_error_is_formatted_once() {
        let mut templates = ResponseTemplates::default();
        let missing = Problem { status: Status::NotFound, detail: "Missing." };
        let mut make = |problem, json| {
            let response = templates.error(Fields::new(), problem, &Fields::new(), json);
            Rc::clone(response.fields.prepared().unwrap().bytes())
        };
        let text = make(missing, false);
        assert!(Rc::ptr_eq(&text, &make(missing, false)));
        for (other, json) in [
            (missing, true),
            (Problem { detail: "Gone.", ..missing }, false),
            (Problem { status: Status::Forbidden, ..missing }, false),
        ] {
            assert_ne!(make(other, json), text);
        }
        assert!(Rc::ptr_eq(&text, &make(missing, false)));
        const LONGEST: [u8; 2 * ERRORS_MAX] = [b'x'; 2 * ERRORS_MAX];
        for len in 0..LONGEST.len() {
            let detail = std::str::from_utf8(&LONGEST[..len]).unwrap();
            let other = Problem { detail, ..missing };
            let response = templates.error(Fields::new(), other, &Fields::new(), false);
            assert!(body(&response).contains(detail));
            assert!(templates.errors.len() <= ERRORS_MAX);
        }
    }

    #[test]
    fn a_generated_page_supports_both_color_schemes_and_fetches_nothing() {
        for status in [Status::NotFound, Status::RangeNotSatisfiable, Status::PermanentRedirect] {
            let page = html(status, "A reason.");
            assert!(page.contains("<meta name=\"color-scheme\" content=\"light dark\">"), "{page}");
            let end = format!("<main>\n<h1>{status}</h1>\n<p>A reason.</p>\n</main>\n</html>\n");
            assert!(page.ends_with(&end), "{page}");
            assert!(!page.contains("url(") && !page.contains("src="), "needs more: {page}");
        }
    }
}
