//! Answers: status lines, fields, and the small bodies of errors.
//!
//! Everything is appended to a chain. `Server` and `Date` stand in every answer (RFC 9110 section
//! 6.6.1); the text of the date is made once a second, and that of an error once.

use std::fmt::Arguments;
use std::io::Write;
use std::ops::Range;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::driver::Chain;
use crate::http::semantics::multipart::{Boundary, Multipart};
use crate::http::semantics::range::ContentRange;
use crate::http::semantics::status::Status;
use crate::http::site::resource::Variant;

/// The methods that are served (RFC 9110 section 10.2.1).
const ALLOW: &str = "Allow: GET, HEAD, OPTIONS\r\n";

/// How an answer has to look, as far as the request decides it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Manner {
    /// Whether the body stays away: the answer to HEAD.
    pub(in crate::http) head_only: bool,
    /// Whether the connection goes on.
    pub(in crate::http) keep_alive: bool,
    /// Whether the client takes a connection to end unless told otherwise (HTTP/1.0).
    pub(in crate::http) says_keep_alive: bool,
}

impl Manner {
    /// Of the last answer on a connection.
    pub(in crate::http) const LAST: Self =
        Self { head_only: false, keep_alive: false, says_keep_alive: false };

    fn connection_field(self) -> &'static str {
        match (self.keep_alive, self.says_keep_alive) {
            (false, _) => "Connection: close\r\n",
            (true, true) => "Connection: keep-alive\r\n",
            (true, false) => "",
        }
    }
}

/// Texts that many answers have in common.
#[derive(Debug)]
pub(in crate::http) struct Texts {
    /// Of `ok`.
    second: Option<u64>,
    /// Status line, `Server` and `Date` of an answer with status 200.
    ok: String,
    errors: Vec<(Plain, Rc<Error>)>,
}

/// An error that its status and a sentence explain, and whether it is for programs.
type Plain = (Status, &'static str, bool);

/// The text of an error, but for what stands in every answer.
#[derive(Debug)]
struct Error {
    /// Fields and the empty line.
    head: String,
    body: String,
}

/// Texts of errors that are kept. There are not many more in the program.
const ERRORS_MAX: usize = 32;

/// What stands before `Server` in [`Texts::ok`].
const OK_LINE: &str = "HTTP/1.1 200 OK\r\n";

impl Texts {
    pub(in crate::http) fn new() -> Self {
        Self { second: None, ok: String::new(), errors: Vec::new() }
    }

    fn error(&mut self, complaint: Complaint<'_>, json: bool) -> Rc<Error> {
        let Complaint { status, reason, more } = complaint;
        let plain = (status, reason, json);
        let known = self.errors.iter().find(|(known, _)| *known == plain);
        if let (Some((_, text)), true) = (known, more.is_empty()) {
            return Rc::clone(text);
        }
        let text = Rc::new(Error::new(complaint, json));
        if more.is_empty() && self.errors.len() < ERRORS_MAX {
            self.errors.push((plain, Rc::clone(&text)));
        }
        text
    }

    fn ok(&mut self, now: SystemTime) -> &str {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second != Some(second) {
            self.second = Some(second);
            let date = httpdate::fmt_http_date(now);
            self.ok = format!("{OK_LINE}Server: ringd\r\nDate: {date}\r\n");
        }
        &self.ok
    }

    fn fields(&mut self, now: SystemTime) -> &str {
        &self.ok(now)[OK_LINE.len()..]
    }
}

/// What an error is told with.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Complaint<'a> {
    pub(in crate::http) status: Status,
    /// A sentence that explains it, in plain ASCII without `<`, `&`, `"` and `\`.
    pub(in crate::http) reason: &'static str,
    /// Lines that this one needs.
    pub(in crate::http) more: &'a str,
}

impl Error {
    fn new(complaint: Complaint<'_>, json: bool) -> Self {
        let Complaint { status, reason, more } = complaint;
        let (code, title) = (status.code(), status.reason());
        let (content_type, body) = if json {
            let body =
                format!("{{\"status\":{code},\"title\":\"{title}\",\"detail\":\"{reason}\"}}\n");
            ("application/json", body)
        } else {
            (HTML, html(status, reason))
        };
        let more = format!("{}{more}Vary: Accept\r\n", required(status));
        Self { head: head_of_body(&more, content_type, &body), body }
    }
}

/// An answer that is about to be written: the chain it goes to, and what all answers need.
#[derive(Debug)]
pub(in crate::http) struct Answer<'a> {
    pub(in crate::http) out: &'a mut Chain,
    pub(in crate::http) texts: &'a mut Texts,
    pub(in crate::http) now: SystemTime,
    pub(in crate::http) manner: Manner,
    /// Lines that the operator's rules add, where the content does not bring them.
    pub(in crate::http) fields: &'a str,
}

impl Answer<'_> {
    /// All of the content.
    pub(in crate::http) fn page(self, variant: &Variant) {
        self.out.copy(self.texts.ok(self.now).as_bytes());
        self.out.copy(self.manner.connection_field().as_bytes());
        self.out.copy(self.fields.as_bytes());
        if self.manner.head_only {
            self.out.copy(variant.head());
            return;
        }
        self.out.share(variant.wire());
        if let Some(file) = variant.file() {
            self.out.file(file, 0..variant.len());
        }
    }

    /// The client's copy is still good (RFC 9110 section 15.4.5).
    pub(in crate::http) fn not_modified(mut self, variant: &Variant) {
        self.begin(Status::NotModified, format_args!(""));
        self.out.copy(variant.head_from_tag());
    }

    /// One range of the content.
    pub(in crate::http) fn range(mut self, variant: &Variant, range: Range<u64>) {
        let bytes = range.end - range.start;
        let of = ContentRange::Satisfied(range.clone(), variant.len());
        self.begin(
            Status::PartialContent,
            format_args!("Content-Range: {of}\r\nContent-Length: {bytes}\r\n"),
        );
        self.out.copy(variant.head_from_type());
        self.part(variant, range);
    }

    /// Several ranges of the content, each with a head of its own (RFC 9110 section 14.6).
    pub(in crate::http) fn ranges(
        mut self,
        variant: &Variant,
        ranges: &[Range<u64>],
        boundary: Boundary,
    ) {
        let content_type = variant.content_type();
        let parts = Multipart { ranges, len: variant.len(), content_type, boundary };
        self.begin(
            Status::PartialContent,
            format_args!(
                "Content-Length: {}\r\nContent-Type: {}\r\n",
                parts.body_len(),
                boundary.content_type()
            ),
        );
        self.out.copy(variant.head_from_coding());
        for (at, range) in ranges.iter().enumerate() {
            self.out.copy_with(|buffer| parts.write_head(at, buffer));
            self.part(variant, range.clone());
        }
        self.out.copy_with(|buffer| parts.write_end(buffer));
    }

    fn part(&mut self, variant: &Variant, range: Range<u64>) {
        match variant.file() {
            Some(file) => self.out.file(file, range),
            None => self.out.copy(&variant.body()[range.start as usize..range.end as usize]),
        }
    }

    /// An error, with a page of the operator's as its body.
    pub(in crate::http) fn error_page(mut self, complaint: Complaint<'_>, variant: &Variant) {
        let Complaint { status, more, .. } = complaint;
        self.begin(status, format_args!("{}{more}", required(status)));
        self.out.copy(variant.length_type_and_coding());
        self.out.copy(variant.head_from_rest());
        if !self.manner.head_only {
            self.part(variant, 0..variant.len());
        }
    }

    /// An error with a small body, for people or for programs.
    pub(in crate::http) fn error(self, complaint: Complaint<'_>, json: bool) {
        let text = self.texts.error(complaint, json);
        self.with_body(complaint.status, &text.head, &text.body);
    }

    /// The content is under another path (308: the method stays). The location has neither scheme
    /// nor host, so that it holds behind any proxy. It must be asked for again, because browsers
    /// keep a permanent redirect for good, and there may be a file tomorrow.
    pub(in crate::http) fn moved(self, location: &str, query: Option<&[u8]>) {
        let query = query.map_or_else(String::new, |query| {
            // A target holds no control bytes and no spaces; what is not ASCII is encoded.
            format!("?{}", percent_encode(query, QUERY))
        });
        let status = Status::PermanentRedirect;
        let body = html(status, "This is under another address.");
        let more = format!("Location: {location}{query}\r\nCache-Control: no-cache\r\n");
        self.with_body(status, &head_of_body(&more, HTML, &body), &body);
    }

    /// What may be asked for (RFC 9110 section 9.3.7).
    pub(in crate::http) fn options(mut self) {
        self.begin(Status::NoContent, format_args!("{ALLOW}"));
        self.out.copy(b"\r\n");
    }

    /// The head of content that is not made for HEAD: its length is not known (RFC 9110 section
    /// 9.3.2 allows to leave it out).
    pub(in crate::http) fn unmade(mut self, content_type: &str, more: &str) {
        self.begin(
            Status::Ok,
            format_args!(
                "Content-Type: {content_type}\r\n{more}X-Content-Type-Options: nosniff\r\n\r\n"
            ),
        );
    }

    fn with_body(mut self, status: Status, head: &str, body: &str) {
        self.begin(status, format_args!(""));
        self.out.copy(head.as_bytes());
        if !self.manner.head_only {
            self.out.copy(body.as_bytes());
        }
    }

    /// The status line, what stands in every answer, and `more`.
    fn begin(&mut self, status: Status, more: Arguments<'_>) {
        let preface = self.texts.fields(self.now);
        let (connection, fields) = (self.manner.connection_field(), self.fields);
        let (code, reason) = (status.digits(), status.reason());
        self.out.copy_with(|buffer| {
            buffer.extend_from_slice(b"HTTP/1.1 ");
            buffer.extend_from_slice(&code);
            for part in [" ", reason, "\r\n", preface, connection, fields] {
                buffer.extend_from_slice(part.as_bytes());
            }
            // To a vector of bytes it cannot fail.
            let _ = buffer.write_fmt(more);
        });
    }
}

/// Nothing but what is not ASCII: the query goes back as it came.
const QUERY: &AsciiSet = &CONTROLS.add(b' ');

/// What an answer of this status has to say, or should.
fn required(status: Status) -> &'static str {
    match status {
        Status::MethodNotAllowed => ALLOW,
        Status::ServiceUnavailable => "Retry-After: 1\r\n",
        // A client may not remember that something is missing: it may be there soon.
        Status::NotFound => "Cache-Control: no-store\r\n",
        _ => "",
    }
}

/// How the bodies made here for people are announced.
const HTML: &str = "text/html; charset=utf-8";

/// The fields of an answer with a body that is made here, `more` among them, and the empty line.
fn head_of_body(more: &str, content_type: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "{more}Content-Type: {content_type}\r\nContent-Length: {len}\r\n\
         X-Content-Type-Options: nosniff\r\n\r\n"
    )
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
    use std::rc::Rc;
    use std::time::UNIX_EPOCH;

    use super::{Answer, Complaint, ERRORS_MAX, Manner, Status, Texts, html};
    use crate::driver::Chain;
    use crate::driver::chain::read_all;

    /// A cache may keep a permanent redirect unless told otherwise (RFC 9110 section 15.4.9).
    #[test]
    fn a_redirect_is_asked_for_again() {
        let (mut out, mut texts) = (Chain::new(), Texts::new());
        let (now, manner) = (UNIX_EPOCH, Manner::LAST);
        let answer = Answer { out: &mut out, texts: &mut texts, now, manner, fields: "" };
        answer.moved("/a/", Some(b"b=c"));
        let text = String::from_utf8(read_all(&mut out)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{head}");
        let length = format!("Content-Length: {}", body.len());
        for line in ["Location: /a/?b=c", "Cache-Control: no-cache", &length] {
            assert!(head.split("\r\n").any(|field| field == line), "no {line} in {head}");
        }
    }

    /// What a text says besides is another one's, and a text for programs is none for people.
    #[test]
    fn the_text_of_an_error_is_made_once() {
        let mut texts = Texts::new();
        let (status, more) = (Status::NotFound, "");
        let missing = Complaint { status, reason: "Missing.", more };
        let text = texts.error(missing, false);
        assert!(Rc::ptr_eq(&text, &texts.error(missing, false)));
        for (other, json) in [
            (missing, true),
            (Complaint { reason: "Gone.", ..missing }, false),
            (Complaint { more: "Retry-After: 1\r\n", ..missing }, false),
            (Complaint { status: Status::Forbidden, ..missing }, false),
        ] {
            let other = texts.error(other, json);
            assert!(other.head != text.head || other.body != text.body, "{other:?}");
        }
        assert!(Rc::ptr_eq(&text, &texts.error(missing, false)));
        let reasons: [&'static str; 2 * ERRORS_MAX] =
            std::array::from_fn(|n| &"x".repeat(n).leak()[..]);
        for reason in reasons {
            let other = Complaint { reason, ..missing };
            assert!(texts.error(other, false).body.contains(reason));
            assert!(texts.errors.len() <= ERRORS_MAX);
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
