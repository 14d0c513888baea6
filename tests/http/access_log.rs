//! The access log: a line for each response, also for those that refuse a head, and for those that
//! are cut off.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringd::driver::DriverKind;
use ringd::http::records::log::{AccessLog, LogFormat};
use ringd::http::records::metrics::HttpMetrics;
use ringd::log_output::LogTarget;
use ringd::metrics::Counter;
use serde_json::Value;

use crate::common::{WAIT_MAX, eventually};
use crate::hostile::sparse;
use crate::support::client::Client;
use crate::support::fixture::{Fixture, Setup};

const LENGTH: u64 = 24 << 20;

/// A server that logs in this format, and its log.
pub(crate) struct Logged {
    pub(crate) fixture: Fixture,
    pub(crate) log: Arc<AccessLog>,
    folder: tempfile::TempDir,
}

impl Logged {
    pub(crate) fn start(kind: DriverKind, format: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = LogTarget::File(folder.path().join("access.log"));
        let format = LogFormat::parse(format).unwrap();
        let log = AccessLog::open(target, format, 1, |trouble| panic!("{trouble}")).unwrap();
        let log = Arc::new(log);
        let fixture = Fixture::start_with(kind, |setup| {
            setup.http.access_log = Some(Arc::clone(&log));
            change(setup);
        });
        Self { fixture, log, folder }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("access.log")
    }

    /// The lines of these clients, who have read their responses, in order.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        eventually("the lines are written", || lines(&self.path()).len() >= count);
        let lines = lines(&self.path());
        assert_eq!(lines.len(), count, "{lines:#?}");
        // A line is counted after it was written.
        eventually("the lines are counted", || self.log.written() == count as u64);
        assert_eq!(self.log.dropped(), 0);
        let text = fs::read_to_string(self.path()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "lines are written whole");
        lines
    }

    pub(crate) fn finish(self) {
        self.fixture.finish();
        assert!(self.log.flush(WAIT_MAX));
    }
}

/// The lines that are whole: a read beside a write may see the beginning of one.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// The line without its time.
fn timeless(line: &str) -> String {
    let (before, after) = line.split_once('[').expect("a time");
    let (time, after) = after.split_once(']').expect("the end of the time");
    assert_eq!(time.len(), "29/Nov/2026:13:04:05 +0100".len(), "{time}");
    format!("{before}[]{after}")
}

/// The expectations are lines that nginx 1.22 has written for the same requests.
pub(crate) fn every_response_has_a_line(kind: DriverKind) {
    let logged = Logged::start(kind, "combined", |_| {});
    let mut client = logged.fixture.connect();
    let tag = client.ask("GET", "/small.txt", "").field("ETag").unwrap().to_owned();
    for (method, target, fields) in [
        ("GET", "/small.txt?a=\"b\"", "User-Agent: tool/1 \\\"x\\\"\r\nReferer: http://a/\r\n"),
        ("HEAD", "/small.txt", ""),
        ("GET", "/missing", "Referer: \r\nUser-Agent: \u{fc}\r\n"),
        ("GET", "/small.txt", &format!("If-None-Match: {tag}\r\n")),
        ("GET", "/small.txt", "Range: bytes=1-3\r\n"),
        ("OPTIONS", "*", ""),
    ] {
        client.ask(method, target, fields);
    }
    // Two responses in one chain.
    client.send("GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let [_, page] = [client.read_response(), client.read_response()];
    let address = if logged.fixture.is_unix() { "unix:" } else { "127.0.0.1" };
    // The order of lines of several connections is not certain.
    logged.lines(9);
    let missing = logged.fixture.get("/missing").body.len();
    let lines: Vec<String> = logged.lines(10).iter().map(|line| timeless(line)).collect();
    for (line, expected) in lines.iter().zip([
        r#""GET /small.txt HTTP/1.1" 200 20 "-" "-""#.to_owned(),
        r#""GET /small.txt?a=\x22b\x22 HTTP/1.1" 200 20 "http://a/" "tool/1 \x5C\x22x\x5C\x22""#
            .to_owned(),
        r#""HEAD /small.txt HTTP/1.1" 200 0 "-" "-""#.to_owned(),
        format!(r#""GET /missing HTTP/1.1" 404 {missing} "" "\xC3\xBC""#),
        r#""GET /small.txt HTTP/1.1" 304 0 "-" "-""#.to_owned(),
        r#""GET /small.txt HTTP/1.1" 206 3 "-" "-""#.to_owned(),
        r#""OPTIONS * HTTP/1.1" 204 0 "-" "-""#.to_owned(),
        r#""GET /small.txt HTTP/1.1" 200 20 "-" "-""#.to_owned(),
        format!(r#""GET / HTTP/1.1" {} {} "-" "-""#, page.status, page.body.len()),
    ]) {
        assert_eq!(*line, format!("{address} - - [] {expected}"));
    }
    drop(client);
    logged.finish();
}

pub(crate) fn refused_heads_have_lines(kind: DriverKind) {
    let format = "{status} {method} {target} {protocol} {host} {request}";
    let logged = Logged::start(kind, format, |_| {});
    let long = "x".repeat(9000);
    for (request, line) in [
        (
            "\r\nGET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400 GET /a HTTP/1.1 - GET /a HTTP/1.1",
        ),
        ("GET /b\x01 HTTP/1.1\r\n\r\n", r"400 GET /b\x01 HTTP/1.1 - GET /b\x01 HTTP/1.1"),
        ("\x16\x03\x01\x02", r"400 - \x16\x03\x01\x02 - - \x16\x03\x01\x02"),
        (&format!("GET /{long} HTTP/1.1\r\n"), "414"),
        (
            &format!("GET /c HTTP/1.1\r\nX: {long}{long}\r\n\r\n"),
            "431 GET /c HTTP/1.1 - GET /c HTTP/1.1",
        ),
        ("POST /d HTTP/1.1\r\nHost: x:1\r\n\r\n", "405 POST /d HTTP/1.1 x:1 POST /d HTTP/1.1"),
    ] {
        let before = lines(&logged.path()).len();
        let mut client = logged.fixture.connect();
        client.send(request);
        let status = client.read_response().status.to_string();
        assert!(line.starts_with(&status), "{request:?}: {status}");
        eventually("the line is written", || lines(&logged.path()).len() > before);
        let written = lines(&logged.path()).pop().unwrap();
        if line.len() > 3 {
            assert_eq!(written, line);
        } else {
            // The target is cut, and the line says so.
            assert!(written.starts_with("414 GET /xxx") && written.contains("x…"), "{written}");
        }
    }
    logged.finish();
}

/// The timeout is long enough for the bytes that are sent, and those of the last request, to arrive
/// on a busy machine.
pub(crate) fn a_head_that_does_not_end_has_a_line(kind: DriverKind) {
    let logged = Logged::start(kind, "{status} {method} {target} {protocol} {host}", |setup| {
        setup.server.timeouts.header = Duration::from_secs(2);
    });
    let mut client = logged.fixture.connect();
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n");
    assert_eq!(client.read_response().status, 408);
    assert_eq!(logged.lines(1), ["408 GET /late HTTP/1.1 -"]);
    logged.finish();
}

/// A client that goes away in the middle of a long response.
pub(crate) fn a_response_that_is_cut_off_says_so(kind: DriverKind) {
    let logged = Logged::start(kind, "json", |_| {});
    sparse(&logged.fixture.path("long.bin"), LENGTH);
    let mut client = logged.fixture.connect_narrow();
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_exact(100_000);
    client.reset();
    let [line] = &logged.lines(1)[..] else { unreachable!("there is one line") };
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["status"], &line["aborted"]), (&200.into(), &true.into()), "{line}");
    let (sent, body) = (line["sent"].as_u64().unwrap(), line["body_bytes"].as_u64().unwrap());
    assert!((100_000..LENGTH).contains(&sent) && body < sent && sent < body + 1000, "{line}");
    logged.finish();
}

/// The values that need a real connection.
pub(crate) fn json_lines_have_all_values(kind: DriverKind) {
    let logged = Logged::start(kind, "json", |_| {});
    let mut client = logged.fixture.connect();
    client.ask("GET", "/small.txt", "Referer: \"\t\u{fc}\r\n");
    client.ask("GET", "/small.txt", "User-Agent: t\r\n");
    let lines = logged.lines(2);
    let [first, second] = &lines[..] else { unreachable!("there are two lines") };
    let [first, second]: [Value; 2] =
        [first, second].map(|line| serde_json::from_str(line).unwrap());
    for (name, value) in [
        ("method", Value::from("GET")),
        ("target", "/small.txt".into()),
        ("protocol", "HTTP/1.1".into()),
        ("host", "h".into()),
        ("site", "default".into()),
        ("status", 200.into()),
        ("body_bytes", 20.into()),
        ("listener", 0.into()),
    ] {
        assert_eq!([&first[name], &second[name]], [&value, &value], "{name}");
    }
    assert_eq!((&first["cache"], &second["cache"]), (&"miss".into(), &"hit".into()));
    assert_eq!(first["referer"], Value::from("\"\t\u{fc}"));
    assert_eq!((&first["agent"], &second["agent"]), (&Value::Null, &"t".into()));
    assert_eq!(first["connection"], second["connection"]);
    let number = |line: &Value| line["connection_requests"].as_u64();
    assert_eq!((number(&first), number(&second)), (Some(1), Some(2)));
    assert!(first["duration_us"].as_u64().is_some() && first.get("aborted").is_none());
    let time = first["ts"].as_str().unwrap();
    let is_recent = |time: SystemTime| time.elapsed().is_ok_and(|it| it < WAIT_MAX);
    assert!(time.len() == "2026-11-29T14:30:32.910Z".len() && time.ends_with('Z'), "{time}");
    assert!(humantime::parse_rfc3339(time).is_ok_and(is_recent), "{time}");
    drop(client);
    logged.finish();
}

/// Its end is counted, so no request stays in progress for ever.
pub(crate) fn a_request_whose_client_leaves_is_abandoned(kind: DriverKind) {
    let metrics = Arc::new(HttpMetrics::new(1));
    let logged = Logged::start(kind, "{target} {status}", |setup| {
        setup.http.metrics = Some(Arc::clone(&metrics));
    });
    for number in 0..200 {
        let mut client = logged.fixture.connect();
        // Whether its lookup has begun, or has ended, when the client leaves is a matter of luck.
        client.try_send(format!("GET /new-{number} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.reset();
    }
    // Some clients may not be accepted yet.
    eventually("each request ends, and each answer has a line", || {
        let worker = &metrics.workers()[0];
        let by_status = worker.sites().iter().flat_map(|site| &site.by_status);
        let answered: u64 = by_status.map(Counter::get).sum();
        let ended = answered + worker.abandoned.get();
        let written = lines(&logged.path()).len() as u64;
        logged.fixture.is_at_rest() && worker.requests_begun.get() == ended && written == answered
    });
    logged.finish();
}

/// Load balancers ask all the time.
pub(crate) fn probes_have_no_line(kind: DriverKind) {
    let logged = Logged::start(kind, "{target}", |setup| {
        setup.http.health_path = Some("/healthz".into());
    });
    let mut client = logged.fixture.connect();
    for target in ["/healthz", "/small.txt", "/healthz", "/missing"] {
        client.ask("GET", target, "");
    }
    assert_eq!(logged.lines(2), ["/small.txt", "/missing"]);
    drop(client);
    logged.finish();
}

/// Each part of a line has its own bound, and shows that it was cut.
pub(crate) fn long_values_show_that_they_are_cut(kind: DriverKind) {
    let logged = Logged::start(kind, "json", |_| {});
    let mut client = logged.fixture.connect();
    let whole = format!("/{}", "a".repeat(8187));
    let cut = format!("/{}", "a".repeat(8200));
    for target in [&whole, &cut] {
        client.ask("GET", target, "");
    }
    let lines: Vec<Value> =
        logged.lines(2).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["target"], &lines[0]["protocol"]), (&whole.into(), &"HTTP/1.1".into()));
    let target = lines[1]["target"].as_str().unwrap();
    assert!(target.ends_with("a…") && target.len() == 8192 + "…".len(), "{}", target.len());
    drop(client);
    logged.finish();
}

/// A log is rotated by renaming it: each line is in the old file or in the new one.
pub(crate) fn a_log_that_is_renamed_is_made_anew(kind: DriverKind) {
    let logged = Logged::start(kind, "{target}", |_| {});
    let mut client: Client = logged.fixture.connect();
    let old = logged.folder.path().join("access.log.1");
    client.ask("GET", "/1", "");
    logged.lines(1);
    fs::rename(logged.path(), &old).unwrap();
    eventually("the log is made anew", || logged.path().exists());
    client.ask("GET", "/2", "");
    eventually("the line is written", || lines(&logged.path()) == ["/2"]);
    fs::remove_file(logged.path()).unwrap();
    logged.log.reopen();
    eventually("the log is made anew", || logged.path().exists());
    client.ask("GET", "/3", "");
    eventually("the line is written", || lines(&logged.path()) == ["/3"]);
    assert_eq!(lines(&old), ["/1"]);
    drop(client);
    logged.finish();
}
