//! HTTP/2 over sockets: the same answers as HTTP/1.1, drains, reloads, and the access log.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ringd::driver::DriverKind;
use ringd::http::records::metrics::HttpMetrics;
use ringd::metrics::Counter;
use serde_json::Value;

use crate::access_log::Logged;
use crate::common::eventually;
use crate::common::http2_exchange::code;
use crate::differential::OPTIONS;
use crate::hostile::sparse;
use crate::reload;
use crate::support::client::{Client, Response};
use crate::support::fixture::{Fixture, Setup};
use crate::support::http2::Http2Connection;
use crate::support::root::content;
use crate::support::{root, streams};

/// Requests for each driver and each set of options.
const REQUESTS: usize = 150;

/// Requests on one connection of HTTP/2.
const TOGETHER: usize = 25;

const LENGTH: usize = 24 << 20;

/// A server that speaks HTTP/2 without TLS too.
fn start(kind: DriverKind, change: impl FnOnce(&mut Setup)) -> Fixture {
    Fixture::start_with(kind, |setup| {
        setup.http.h2c = true;
        change(setup);
    })
}

fn connect(fixture: &Fixture) -> Http2Connection {
    Http2Connection::connect(fixture.address())
}

/// A request as HTTP/2 has it.
#[derive(Debug)]
struct Translated {
    method: String,
    path: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Translated {
    /// `None` for a request that HTTP/1.1 refuses, or treats in its own way, for how it is framed.
    fn of(request: &[u8]) -> Option<Self> {
        let end = request.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = str::from_utf8(&request[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let mut line = lines.next()?.split(' ');
        let (method, target) = (line.next()?.to_owned(), line.next()?);
        // HTTP/2 has no versions.
        if line.next() != Some("HTTP/1.1") {
            return None;
        }
        let mut fields = Vec::new();
        let mut is_chunked = false;
        for line in lines {
            // A line that is no field, or continues one.
            let (name, value) = line.split_once(':').filter(|_| !line.starts_with(' '))?;
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            // Only HTTP/1.1 has a grammar that could be read in two ways.
            if name.ends_with(' ') || value.contains('\0') {
                return None;
            }
            match (&*name, value) {
                ("connection", _) => {}
                ("transfer-encoding", "chunked") => is_chunked = true,
                // Framing that HTTP/1.1 refuses; HTTP/2 has none.
                ("transfer-encoding", _) => return None,
                ("content-length", value) if value.parse::<u64>().is_err() => return None,
                ("content-length", _) if value.starts_with('+') => return None,
                _ => fields.push((name, value.to_owned())),
            }
        }
        let lengths = fields.iter().filter(|field| field.0 == "content-length").count();
        // Two framings contradict each other.
        if lengths > 1 || (lengths == 1 && is_chunked) {
            return None;
        }
        let content = &request[end + 4..];
        let body = match (is_chunked, lengths) {
            // The chunks themselves serve as content: a server discards it.
            (true, _) | (_, 1) => Some(content.to_vec()),
            _ => None,
        };
        // The absolute form is for proxies; its authority is the host (RFC 9113 section 8.3.1).
        let path = match target.strip_prefix("http://host:80") {
            Some(path) => {
                fields.iter_mut().filter(|field| field.0 == "host").for_each(|field| {
                    "host:80".clone_into(&mut field.1);
                });
                path
            }
            None => target,
        };
        Some(Self { method, path: path.to_owned(), fields, body })
    }

    fn ask(&self, connection: &mut Http2Connection) -> Answer {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        let id = connection.begin(&self.method, &self.path, &fields, self.body.as_deref());
        let exchange = connection.finish(id);
        let fields = exchange.fields.iter().cloned();
        Answer::new(exchange.status, fields, exchange.body.clone())
    }
}

/// What both versions have to agree in.
#[derive(PartialEq, Eq, Debug)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, fields: impl Iterator<Item = (String, String)>, body: Vec<u8>) -> Self {
        // Fields of the connection, and one that depends on the time.
        let is_left_out = |name: &str| ["connection", "keep-alive", "date"].contains(&name);
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value));
        let mut fields: Vec<_> = fields.filter(|(name, _)| !is_left_out(name)).collect();
        fields.sort();
        Self { status, fields, body }
    }

    fn of_http1(response: &Response) -> Self {
        let fields = response.fields().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::new(response.status, fields, response.body.clone())
    }
}

fn ask_http1(fixture: &Fixture, request: &[u8]) -> Answer {
    let mut client = fixture.connect();
    client.send(request);
    let response = match request.starts_with(b"HEAD ") {
        true => client.read_head(),
        false => client.read_response(),
    };
    Answer::of_http1(&response)
}

/// The versions differ in framing only.
pub(crate) fn both_versions_answer_alike(kind: DriverKind) {
    let root: &Path = root::settled();
    for options in OPTIONS {
        let fixture = Fixture::start_over(kind, root, |setup| {
            setup.content(root, options);
            setup.http.h2c = true;
        });
        let mut random = Rng::with_seed(43);
        let (mut compared, mut connection) = (0, connect(&fixture));
        for number in 0..REQUESTS {
            let request = streams::request(&mut random);
            let Some(translated) = Translated::of(&request) else { continue };
            if number % TOGETHER == 0 {
                connection = connect(&fixture);
            }
            let [old, new] = [ask_http1(&fixture, &request), translated.ask(&mut connection)];
            assert_eq!(old, new, "{options:?}: {:?}", String::from_utf8_lossy(&request));
            compared += 1;
        }
        assert!(compared > REQUESTS / 2, "only {compared} requests were compared");
        drop(connection);
        fixture.finish();
    }
}

/// RFC 9113 section 6.8: the streams that have begun are completed, later ones are ignored.
pub(crate) fn a_drain_completes_streams(kind: DriverKind) {
    let fixture = start(kind, |setup| {
        setup.server.timeouts.drain = crate::common::WAIT_MAX;
    });
    sparse(&fixture.path("long.bin"), LENGTH as u64);
    let mut connection = connect(&fixture);
    connection.opens_windows = false;
    let long = connection.begin("GET", "/long.bin", &[], None);
    connection.read_until("the response begins", |http| http.exchanges[&long].status != 0);
    fixture.stopper().stop();
    connection.read_until("the last stream is announced", |http| http.goaways.len() == 2);
    let lasts = connection.http.goaways.iter().map(|goaway| (goaway.last, goaway.code));
    let no_error = code::NO_ERROR;
    assert_eq!(lasts.collect::<Vec<_>>(), [(0x7fff_ffff, no_error), (long, no_error)]);
    let late = connection.begin("POST", "/small.txt", &[], Some(b"late"));
    connection.opens_windows = true;
    connection.http.ping();
    connection.http.open(0, LENGTH as u32);
    connection.http.open(long, LENGTH as u32);
    assert_eq!(connection.finish(long).body, vec![0; LENGTH]);
    connection.read_to_end();
    assert!(connection.http.exchanges[&late].status == 0 && connection.http.has_all_pings());
    assert_eq!(connection.http.goaways.len(), 2);
    fixture.join().unwrap();
}

/// An idle connection is told, and ends at once.
pub(crate) fn a_drain_ends_idle_connections(kind: DriverKind) {
    let fixture = start(kind, |_| {});
    let mut connection = connect(&fixture);
    assert_eq!(connection.ask("GET", "/small.txt", &[]).body, content(20));
    fixture.stopper().stop();
    connection.read_to_end();
    let lasts: Vec<u32> = connection.http.goaways.iter().map(|goaway| goaway.last).collect();
    assert_eq!(lasts, [0x7fff_ffff, 1]);
    drop(connection);
    fixture.join().unwrap();
}

/// A client that sends PING again and again is as idle as one that sends nothing.
pub(crate) fn pings_do_not_keep_idle_connections(kind: DriverKind) {
    let fixture = start(kind, |setup| {
        setup.server.timeouts.idle = Duration::from_millis(700);
    });
    let mut connection = connect(&fixture);
    // The server counts from the answer on, which comes later.
    let begun = Instant::now();
    assert_eq!(connection.ask("GET", "/small.txt", &[]).body, content(20));
    while connection.http.goaways.is_empty() {
        connection.http.ping();
        assert!(connection.read_some(), "GOAWAY comes before the end");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    let codes = connection.http.goaways.iter().map(|goaway| goaway.code);
    assert_eq!(codes.collect::<Vec<_>>(), [code::NO_ERROR]);
    connection.read_to_end();
    drop(connection);
    fixture.finish();
}

/// Connections go on, and responses that have begun are completed as they were.
pub(crate) fn a_reload_is_not_noticed(kind: DriverKind) {
    let mut fixture = start(kind, |setup| setup.server.spare_listeners = 4);
    let listen = reload::here(&fixture);
    let mut connection = connect(&fixture);
    for generation in 2..5 {
        let site = reload::site(&fixture, generation);
        reload::update(&mut fixture, &listen, site);
        connection.opens_windows = false;
        let id = connection.begin("GET", "/large.bin", &[], None);
        connection.read_until("it begins", |http| http.exchanges[&id].status != 0);
        let next = reload::site(&fixture, generation + 1);
        reload::update(&mut fixture, &listen, next);
        let exchange = connection.ask("HEAD", "/small.txt", &[]);
        assert_eq!(exchange.field("x-generation"), Some(&*(generation + 1).to_string()));
        connection.opens_windows = true;
        connection.http.open(0, 1 << 24);
        connection.http.open(id, 1 << 24);
        let exchange = connection.finish(id);
        assert_eq!(exchange.field("x-generation"), Some(&*generation.to_string()));
        assert!(exchange.body == content((4 << 20) + generation));
    }
    assert_eq!(connection.http.goaways, []);
    drop(connection);
    fixture.come_to_rest();
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}

/// Also those that are interleaved, and one that its client resets.
pub(crate) fn each_stream_has_its_line(kind: DriverKind) {
    let metrics = Arc::new(HttpMetrics::new(1));
    let logged = Logged::start(kind, "json", |setup| {
        setup.http.h2c = true;
        setup.http.metrics = Some(Arc::clone(&metrics));
    });
    let path = logged.fixture.path("long.bin");
    sparse(&path, LENGTH as u64);
    let half = LENGTH as u64 / 2;
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(half).unwrap();
    let mut connection = connect(&logged.fixture);
    let incremental: &[(&str, &str)] = &[("priority", "u=2, i"), ("user-agent", "a b")];
    let ids = [(); 2].map(|()| connection.begin("GET", "/long.bin", incremental, None));
    let short = connection.begin("GET", "/small.txt?q", &[("priority", "u=0")], None);
    connection.finish(short);
    for id in ids {
        assert_eq!(connection.finish(id).body.len() as u64, half);
    }
    connection.opens_windows = false;
    let reset = connection.begin("GET", "/long.bin", &[], None);
    connection
        .read_until("a window is used up", |http| http.granted(reset) == 0 || http.granted(0) == 0);
    let cut = connection.http.exchanges[&reset].body.len() as u64;
    assert!(cut > 0);
    connection.http.reset(reset, code::CANCEL);
    connection.opens_windows = true;
    connection.ask("HEAD", "/missing", &[]);
    let lines: Vec<Value> =
        logged.lines(5).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut seen: Vec<_> = lines
        .iter()
        .map(|line| {
            assert_eq!(line["protocol"], "HTTP/2.0");
            assert!(line["duration_us"].as_u64().is_some());
            let body = line["body_bytes"].as_u64().unwrap();
            let sent = line["sent"].as_u64().unwrap();
            let aborted = line["aborted"] == true;
            assert!(body < sent && sent < body + 1000, "{line}");
            let method = line["method"].as_str().unwrap();
            (
                method,
                line["target"].as_str().unwrap(),
                line["status"].as_u64().unwrap(),
                body,
                aborted,
            )
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("GET", "/long.bin", 200, cut, true),
            ("GET", "/long.bin", 200, half, false),
            ("GET", "/long.bin", 200, half, false),
            ("GET", "/small.txt?q", 200, 20, false),
            ("HEAD", "/missing", 404, 0, false),
        ]
    );
    // The short response does not wait for the long ones.
    assert_eq!(lines[0]["target"], "/small.txt?q");
    drop(connection);
    eventually("each request ends", || {
        let worker = &metrics.workers()[0];
        let by_status = worker.sites().iter().flat_map(|site| &site.by_status);
        let answered: u64 = by_status.map(Counter::get).sum();
        let begun = worker.requests_begun.get();
        logged.fixture.is_at_rest() && (begun, answered, worker.abandoned.get()) == (5, 5, 0)
    });
    logged.finish();
}

/// The request line is written as nginx writes it.
pub(crate) fn lines_of_http2_are_those_of_nginx(kind: DriverKind) {
    let logged = Logged::start(kind, "combined", |setup| setup.http.h2c = true);
    let mut connection = connect(&logged.fixture);
    connection.ask("GET", "/small.txt", &[("user-agent", "x"), ("referer", "http://a/")]);
    let [line] = &logged.lines(1)[..] else { unreachable!("there is one line") };
    let end = r#"] "GET /small.txt HTTP/2.0" 200 20 "http://a/" "x""#;
    assert!(line.ends_with(end), "{line}");
    drop(connection);
    logged.finish();
}

/// Requests that no response answers are counted: they do not stay in progress for ever.
pub(crate) fn streams_whose_client_leaves_are_abandoned(kind: DriverKind) {
    let metrics = Arc::new(HttpMetrics::new(1));
    let logged = Logged::start(kind, "{target} {status}", |setup| {
        setup.http.h2c = true;
        setup.http.metrics = Some(Arc::clone(&metrics));
    });
    for number in 0..60 {
        let mut connection = connect(&logged.fixture);
        for stream in 0..3 {
            let id = connection.begin("GET", &format!("/new-{number}-{stream}"), &[], None);
            if stream == 1 {
                connection.http.reset(id, code::CANCEL);
            }
        }
        connection.flush();
        Client::reset(connection.into_client());
    }
    eventually("each request ends, and each answer has a line", || {
        let worker = &metrics.workers()[0];
        let by_status = worker.sites().iter().flat_map(|site| &site.by_status);
        let answered: u64 = by_status.map(Counter::get).sum();
        let ended = answered + worker.abandoned.get();
        logged.fixture.is_at_rest()
            && worker.requests_begun.get() == ended
            && logged.log.written() == answered
    });
    logged.finish();
}
