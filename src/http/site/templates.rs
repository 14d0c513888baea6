//! Responses that this server makes itself: errors, redirects, and what may be asked for.
//!
//! The text of an error is made once and shared from then on.

use std::rc::Rc;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::response::Response;
use crate::http::semantics::fields::{Fields, PreparedFields};
use crate::http::semantics::status::Status;

/// The methods that are served (RFC 9110 section 10.2.1).
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// Texts of errors that are kept. There are not many more in the program.
const ERRORS_MAX: usize = 32;

/// How the bodies made here for people are announced.
const HTML: &str = "text/html; charset=utf-8";

/// Nothing but what is not ASCII: the query goes back as it came.
const QUERY: &AsciiSet = &CONTROLS.add(b' ');

/// What an error is told with (the words are those of RFC 9457).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Problem {
    /// The status code.
    pub(in crate::http) status: Status,
    /// A sentence that explains it, in plain ASCII without `<`, `&`, `"` and `\`.
    pub(in crate::http) detail: &'static str,
}

/// Texts that many responses have in common.
#[derive(Debug, Default)]
pub(super) struct ResponseTemplates {
    /// By problem, and whether it is for programs.
    errors: Vec<(Problem, bool, Rc<PreparedFields>)>,
}

impl ResponseTemplates {
    /// An error with a small body, for people or for programs. `own` are the fields of this
    /// response, `extra` those that the problem needs besides.
    pub(super) fn error(
        &mut self,
        mut own: Fields,
        problem: Problem,
        extra: &Fields,
        json: bool,
    ) -> Response {
        push_required(&mut own, problem.status);
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
}

/// The fields and the body of an error, but for what stands before them.
fn error_text(problem: Problem, json: bool) -> PreparedFields {
    let Problem { status, detail } = problem;
    let (code, title) = (status.code(), status.reason());
    let mut fields = Fields::new();
    fields.push("Vary", "Accept");
    if json {
        let body = format!("{{\"status\":{code},\"title\":\"{title}\",\"detail\":\"{detail}\"}}\n");
        with_body(fields, "application/json", &body)
    } else {
        with_body(fields, HTML, &html(status, detail))
    }
}

/// Fields and a body that is made here, in one piece.
fn with_body(mut fields: Fields, content_type: &str, body: &str) -> PreparedFields {
    fields.push("Content-Type", content_type);
    fields.push("Content-Length", body.len());
    fields.push("X-Content-Type-Options", "nosniff");
    let (mut bytes, table) = fields.into_buffer(body.len());
    bytes.extend_from_slice(body.as_bytes());
    PreparedFields::new(&bytes, table)
}

/// Adds what a response of this status has to say, or should.
pub(super) fn push_required(fields: &mut Fields, status: Status) {
    match status {
        Status::MethodNotAllowed => fields.push("Allow", ALLOW),
        Status::ServiceUnavailable => fields.push("Retry-After", 1),
        // A client may not remember that something is missing: it may be there soon.
        Status::NotFound => fields.push("Cache-Control", "no-store"),
        _ => {}
    }
}

/// The content is under another path (308: the method stays). The location has neither scheme
/// nor host, so that it holds behind any proxy. It must be asked for again, because browsers
/// keep a permanent redirect for good, and there may be a file tomorrow.
pub(super) fn moved(own: Fields, location: &str, query: Option<&[u8]>) -> Response {
    let query = query.map_or_else(String::new, |query| {
        // A target holds no control bytes and no spaces; what is not ASCII is encoded.
        format!("?{}", percent_encode(query, QUERY))
    });
    let status = Status::PermanentRedirect;
    let mut fields = Fields::new();
    fields.push("Location", format_args!("{location}{query}"));
    fields.push("Cache-Control", "no-cache");
    let body = html(status, "This is under another address.");
    Response::prepared(status, own, Rc::new(with_body(fields, HTML, &body)))
}

/// What may be asked for (RFC 9110 section 9.3.7).
pub(super) fn options(mut own: Fields) -> Response {
    own.push("Allow", ALLOW);
    Response::new(Status::NoContent, own)
}

/// The head of content that is not made for HEAD: its length is not known (RFC 9110 section
/// 9.3.2 allows to leave it out).
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

/// A page without anything to fetch, in the reader's choice of light and dark.
fn html(status: Status, reason: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>body {{ max-width: 40rem; margin: 3rem auto; padding: 0 1rem; \
         font: 1rem/1.5 system-ui, sans-serif }}</style>\n\
         <title>{status}</title>\n<h1>{status}</h1>\n<p>{reason}</p>\n</html>\n"
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

    /// A cache may keep a permanent redirect unless told otherwise (RFC 9110 section 15.4.9).
    #[test]
    fn a_redirect_is_asked_for_again() {
        let response = moved(Fields::new(), "/a/", Some(b"b=c"));
        assert_eq!(response.status, Status::PermanentRedirect);
        let length = body(&response).len().to_string();
        for (name, value) in
            [("Location", "/a/?b=c"), ("Cache-Control", "no-cache"), ("Content-Length", &length)]
        {
            assert_eq!(field(&response, name), Some(value.as_bytes()), "{name}");
        }
    }

    /// What a text says besides is another one's, and a text for programs is none for people.
    #[test]
    fn the_text_of_an_error_is_made_once() {
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
    fn an_error_page_follows_the_readers_choice_of_light_and_dark() {
        for status in [Status::NotFound, Status::RangeNotSatisfiable, Status::PermanentRedirect] {
            let page = html(status, "A reason.");
            assert!(page.contains("<meta name=\"color-scheme\" content=\"light dark\">"), "{page}");
            let end = format!("<h1>{status}</h1>\n<p>A reason.</p>\n</html>\n");
            assert!(page.ends_with(&end), "{page}");
            assert!(!page.contains("url(") && !page.contains("src="), "needs more: {page}");
        }
    }
}
