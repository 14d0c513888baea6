//! Answers: status lines, fields, and the small bodies of errors.
//!
//! Everything is appended to a chain. `Server` and `Date` stand in every answer (RFC 9110 section
//! 6.6.1); the text of the date is made once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Status;
use super::resource::Page;
use super::target::encode_path;
use crate::driver::Chain;

/// The methods that are served (RFC 9110 section 10.2.1).
const ALLOW: &str = "Allow: GET, HEAD, OPTIONS\r\n";

/// How an answer has to look, as far as the request decides it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Manner {
    /// Whether the body stays away: the answer to HEAD.
    pub(super) head_only: bool,
    /// Whether the connection goes on.
    pub(super) keep_alive: bool,
    /// Whether the client takes a connection to end unless told otherwise (HTTP/1.0).
    pub(super) says_keep_alive: bool,
}

impl Manner {
    /// Of the last answer on a connection.
    pub(super) const LAST: Self =
        Self { head_only: false, keep_alive: false, says_keep_alive: false };

    fn connection_field(self) -> &'static str {
        match (self.keep_alive, self.says_keep_alive) {
            (false, _) => "Connection: close\r\n",
            (true, true) => "Connection: keep-alive\r\n",
            (true, false) => "",
        }
    }
}

/// The text of the current second.
#[derive(Debug)]
pub(super) struct Preface {
    second: Option<u64>,
    /// Status line, `Server` and `Date` of an answer with status 200.
    ok: String,
}

/// What stands before `Server` in [`Preface::ok`].
const OK_LINE: &str = "HTTP/1.1 200 OK\r\n";

impl Preface {
    pub(super) fn new() -> Self {
        Self { second: None, ok: String::new() }
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

/// Answers with a page.
pub(super) fn page(
    out: &mut Chain,
    preface: &mut Preface,
    now: SystemTime,
    manner: Manner,
    page: &Page,
) {
    out.copy(preface.ok(now).as_bytes());
    out.copy(manner.connection_field().as_bytes());
    if manner.head_only {
        out.copy(page.head());
        return;
    }
    out.share(page.wire());
    if let Some((file, len)) = page.file() {
        out.file(file, 0..len);
    }
}

/// Answers with an error and a sentence that explains it. `reason` is HTML already.
pub(super) fn error(
    out: &mut Chain,
    preface: &mut Preface,
    now: SystemTime,
    manner: Manner,
    status: Status,
    reason: &str,
) {
    let more = match status {
        Status::MethodNotAllowed => ALLOW,
        Status::ServiceUnavailable => "Retry-After: 1\r\n",
        // A client may not remember that something is missing: it may be there soon.
        Status::NotFound => "Cache-Control: no-store\r\n",
        _ => "",
    };
    with_body(out, preface, now, manner, status, more, reason);
}

/// Answers a directory that was asked for without its slash (308: the method stays). The
/// location has neither scheme nor host, so that it holds behind any proxy.
pub(super) fn slash_redirect(
    out: &mut Chain,
    preface: &mut Preface,
    now: SystemTime,
    manner: Manner,
    path: &[u8],
    query: Option<&[u8]>,
) {
    let mut more = format!("Location: {}/", encode_path(path));
    if let Some(query) = query {
        more.push('?');
        // A target holds no control bytes and no spaces; what is not ASCII is encoded.
        more.push_str(&percent_encoding::percent_encode(query, QUERY).to_string());
    }
    more.push_str("\r\n");
    let reason = "The address of a directory ends in a slash.";
    with_body(out, preface, now, manner, Status::PermanentRedirect, &more, reason);
}

/// Nothing but what is not ASCII: the query goes back as it came.
const QUERY: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ');

/// Answers OPTIONS.
pub(super) fn options(out: &mut Chain, preface: &mut Preface, now: SystemTime, manner: Manner) {
    let fields = preface.fields(now);
    let connection = manner.connection_field();
    append(out, format_args!("HTTP/1.1 204 No Content\r\n{fields}{connection}{ALLOW}\r\n"));
}

fn with_body(
    out: &mut Chain,
    preface: &mut Preface,
    now: SystemTime,
    manner: Manner,
    status: Status,
    more: &str,
    reason: &str,
) {
    let (code, title) = (status.code(), status.reason());
    let fields = preface.fields(now);
    let connection = manner.connection_field();
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{code} {title}</title>\n<h1>{code} {title}</h1>\n<p>{reason}</p>\n</html>\n"
    );
    append(
        out,
        format_args!(
            "HTTP/1.1 {code} {title}\r\n{fields}{connection}{more}\
             Content-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
             X-Content-Type-Options: nosniff\r\n\r\n{}",
            body.len(),
            if manner.head_only { "" } else { &body },
        ),
    );
}

fn append(out: &mut Chain, text: std::fmt::Arguments<'_>) {
    out.copy_with(|buffer| {
        // `write!` to a vector of bytes cannot fail.
        let _ = std::io::Write::write_fmt(buffer, text);
    });
}
