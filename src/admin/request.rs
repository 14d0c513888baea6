//! A request to the administration, and its answer.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::report::Report;
use super::snapshot::Snapshot;
use super::{Admin, TakeOver, metrics, page, text};
use crate::http::h1::head::Refusal;
use crate::http::records::field;
use crate::http::semantics::request::RequestLimits;

/// The longest request, in bytes.
pub(super) const REQUEST_MAX: usize = 8192;

/// The limits of a request.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    head_bytes_max: REQUEST_MAX,
    target_bytes_max: REQUEST_MAX,
    // A body is discarded, whatever its length is.
    body_bytes_max: 0,
};

/// The field with the file that the command has checked, so that no server takes it for its own.
pub(crate) const CONFIG: &str = "Ringd-Config";

/// The target of a take-over.
pub(crate) const TAKE_OVER: &str = "/take-over";

/// The answer of a server that is healthy, which `ringd health` tells from those of other programs,
/// and how the other answer ends.
pub(crate) const HEALTHY: &str = "all workers respond";
pub(crate) const UNHEALTHY_ENDS: &str = "not respond";

/// How long all workers together may take to respond.
const HEALTH_WAIT: Duration = Duration::from_secs(1);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What a client gets.
#[derive(Debug)]
pub(crate) struct Answer {
    status: Cow<'static, str>,
    media_type: &'static str,
    /// Fields of the head besides those that every answer has, each with its line end.
    fields: String,
    body: String,
}

/// A request whose head is well formed.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdminRequest<'a> {
    /// The target, without a scheme and a host.
    pub(super) target: &'a [u8],
    /// The host that the client asks for.
    pub(super) host: &'a [u8],
    /// The head.
    pub(super) head: &'a [u8],
    /// Whether the client has come by a Unix socket, whose rights say who may change something.
    pub(super) is_local: bool,
    /// Whether the client has come by an address of this machine.
    pub(super) is_loopback: bool,
}

impl Answer {
    pub(crate) fn text(status: impl Into<Cow<'static, str>>, body: impl Into<String>) -> Self {
        let body = body.into() + "\n";
        let status = status.into();
        Self { status, media_type: PLAIN, fields: String::new(), body }
    }

    fn not_allowed(allowed: &str) -> Self {
        // RFC 9110, section 15.5.6, demands the field.
        let fields = format!("Allow: {allowed}\r\n");
        Self { fields, ..Self::text("405 Method Not Allowed", format!("use {allowed}")) }
    }

    pub(crate) fn ok(media_type: &'static str, body: String) -> Self {
        Self { status: "200 OK".into(), media_type, fields: String::new(), body }
    }

    /// The answer to a head that is malformed or too long.
    pub(super) fn refusal(refusal: &Refusal) -> Self {
        let Refusal { status, reason } = refusal;
        Self::text(format!("{} {}", status.code(), status.reason()), *reason)
    }

    /// The message; without its body in answer to HEAD.
    pub(crate) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let Self { status, media_type, fields, body } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{fields}\
             Connection: close\r\n\r\n",
            body.len()
        );
        let body = if head_only { "" } else { body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

impl<'a> AdminRequest<'a> {
    /// The method.
    pub(super) fn method(&self) -> &'a [u8] {
        let line = self.head.trim_ascii_start();
        line.split(|byte| *byte == b' ').next().unwrap_or(line)
    }

    /// What hands the sockets of the server over, if that is asked for and possible.
    pub(super) fn take_over<'b>(&self, admin: &'b Admin) -> Option<&'b TakeOver> {
        let is_asked = self.is_local && self.target == TAKE_OVER.as_bytes();
        admin.take_over.as_ref().filter(|_| is_asked && self.method() == b"POST")
    }

    /// Whether a web page may have made a browser ask, under a name that leads to this machine (DNS
    /// rebinding). Names of this machine itself lead nowhere else.
    fn may_be_foreign(&self) -> bool {
        let host = String::from_utf8_lossy(self.host);
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
        let is_own = name.is_empty() || name == "localhost" || name.ends_with(".localhost");
        self.is_loopback && !is_own && name.parse::<IpAddr>().is_err()
    }

    /// Whether `Accept` names a media type.
    fn accepts(&self, media_type: &str) -> bool {
        let accepted = field(self.head, b"accept").unwrap_or_default();
        accepted.split(|byte| *byte == b',').any(|range| {
            let name = range.split(|byte| *byte == b';').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
        })
    }
}

/// Answers a request.
pub(super) fn respond(admin: &Admin, request: &AdminRequest<'_>) -> Answer {
    if request.may_be_foreign() {
        let remedy = "ask for this address as 127.0.0.1 or localhost, not by another name";
        return Answer::text("403 Forbidden", remedy);
    }
    let path = request.target.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path == b"/reload" {
        return reload(admin, request);
    }
    let make: fn(&Admin, &AdminRequest<'_>) -> Answer = match path {
        b"/" => status,
        b"/status.json" => status_json,
        b"/metrics" => metrics,
        b"/healthz" => health,
        b"/readyz" => ready,
        _ => {
            let paths = "there are /, /status.json, /metrics, /healthz and /readyz, and by a Unix \
                         socket POST /reload";
            return Answer::text("404 Not Found", paths);
        }
    };
    match request.method() {
        b"GET" | b"HEAD" => make(admin, request),
        _ => Answer::not_allowed("GET, HEAD"),
    }
}

fn status(admin: &Admin, request: &AdminRequest<'_>) -> Answer {
    let report = Report::new(&Snapshot::take(&admin.source, &admin.last_look));
    // Browsers name it, and tools such as curl take anything.
    if request.accepts("text/html") {
        let fields = format!("Content-Security-Policy: {}\r\n", page::POLICY);
        return Answer { fields, ..Answer::ok("text/html; charset=utf-8", page::write(&report)) };
    }
    Answer::ok(PLAIN, text::write(&report))
}

fn status_json(admin: &Admin, _: &AdminRequest<'_>) -> Answer {
    let snapshot = Snapshot::take(&admin.source, &admin.last_look);
    match serde_json::to_string_pretty(&snapshot) {
        Ok(json) => Answer::ok("application/json", json + "\n"),
        Err(error) => Answer::text("500 Internal Server Error", error.to_string()),
    }
}

fn metrics(admin: &Admin, request: &AdminRequest<'_>) -> Answer {
    let is_open_metrics = request.accepts("application/openmetrics-text");
    let (media_type, text) = metrics::write(&admin.source, is_open_metrics);
    Answer::ok(media_type, text)
}

fn health(admin: &Admin, _: &AdminRequest<'_>) -> Answer {
    let silent = admin.source.monitor.unresponsive(HEALTH_WAIT);
    if silent.is_empty() {
        return Answer::text("200 OK", HEALTHY);
    }
    let numbers: Vec<String> = silent.iter().map(ToString::to_string).collect();
    let text = match &numbers[..] {
        [number] => format!("worker {number} does {UNHEALTHY_ENDS}"),
        several => format!("workers {} do {UNHEALTHY_ENDS}", several.join(", ")),
    };
    Answer::text("503 Service Unavailable", text)
}

fn ready(admin: &Admin, _: &AdminRequest<'_>) -> Answer {
    match admin.source.is_ready() {
        true => Answer::text("200 OK", "ready"),
        false => Answer::text("503 Service Unavailable", "stopping"),
    }
}

fn reload(admin: &Admin, request: &AdminRequest<'_>) -> Answer {
    if request.method() != b"POST" {
        return Answer::not_allowed("POST");
    }
    if !request.is_local {
        let remedy = "this is only for the Unix socket of the administration, such as --admin \
                      unix:/run/ringd/admin.sock";
        return Answer::text("403 Forbidden", remedy);
    }
    let Some(reload) = &admin.reload else {
        let remedy = "the server runs without a configuration file (-c); start ringd again to \
                      change its options";
        return Answer::text("409 Conflict", remedy);
    };
    let config = field(request.head, CONFIG.to_ascii_lowercase().as_bytes())
        .map(|value| PathBuf::from(OsStr::from_bytes(value)));
    match reload(config) {
        Ok(line) => Answer::text("200 OK", line),
        Err(reason) => Answer::text("409 Conflict", reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &[u8]) -> AdminRequest<'_> {
        AdminRequest { target: b"/", host: b"a", head, is_local: false, is_loopback: true }
    }

    #[test]
    fn media_types_are_accepted_by_name() {
        let prometheus =
            b"GET /metrics HTTP/1.1\r\nHost: a\r\naccept: application/openmetrics-text\
            ;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n\r\n";
        assert!(request(prometheus).accepts("application/openmetrics-text"));
        assert!(!request(prometheus).accepts("text/html"));
        let curl = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        assert!(!request(curl).accepts("text/html"));
        let browser =
            b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html,application/xhtml+xml\r\n\r\n";
        assert!(request(browser).accepts("text/html"));
        assert_eq!(request(browser).method(), b"GET");
    }

    #[test]
    fn a_foreign_name_of_this_machine_is_refused() {
        let of_host = |host| AdminRequest { host, ..request(b"GET / HTTP/1.1\r\n\r\n") };
        for own in
            ["localhost:7899", "127.0.0.1:7899", "[::1]:7899", "LOCALHOST", "a.localhost", ""]
        {
            assert!(!of_host(own.as_bytes()).may_be_foreign(), "{own}");
        }
        for foreign in ["rebind.example:7899", "localhost.example", "1.2.3.4.example"] {
            assert!(of_host(foreign.as_bytes()).may_be_foreign(), "{foreign}");
            let elsewhere = AdminRequest { is_loopback: false, ..of_host(foreign.as_bytes()) };
            assert!(!elsewhere.may_be_foreign(), "{foreign}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let answer = Answer::text("200 OK", "ready");
        let text = |head_only| String::from_utf8(answer.bytes(head_only)).unwrap();
        assert!(text(false).ends_with("\r\n\r\nready\n"));
        assert!(text(true).ends_with("\r\n\r\n") && text(true).contains("Content-Length: 6\r\n"));
    }
}
