//! Answering a request for a cached file allocates nothing, with the access log and the metrics
//! too.
//!
//! A program has one allocator, so these tests are a program of their own.

#[path = "../common/mod.rs"]
mod common;
mod counter;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{DriverKind, DriverSelection, File, Links};
use ringd::http::records::log::{AccessLog, LogFormat};
use ringd::http::records::metrics::HttpMetrics;
use ringd::http::{HttpSettings, SiteSettings};
use ringd::log_output::LogTarget;
use ringd::serve;

use common::settings;
use counter::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const REQUESTS: u64 = 20_000;

/// Allocations that have nothing to do with the number of requests: the cache, watches and time
/// zones are looked at from time to time.
const PASSING_MAX: u64 = 100;

/// Requests a file as often as that, and reads the answers, without an allocation.
fn request(client: &mut TcpStream, count: u64, answer: &mut [u8]) {
    for _ in 0..count {
        let head = b"GET /file HTTP/1.1\r\nHost: h\r\nUser-Agent: test\r\nReferer: /\r\n\r\n";
        client.write_all(head).unwrap();
        client.read_exact(answer).unwrap();
    }
}

/// Counts the allocations of a server for [`REQUESTS`] requests.
fn allocations(kind: DriverKind, format: Option<&str>) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x".repeat(1000)).unwrap();
    let root = File::open_root(folder.path(), Links::Beneath).unwrap();
    let mut http = HttpSettings::new(SiteSettings::new(root.into()));
    // Revalidating a file looks it up again, which allocates.
    http.revalidate_after = Duration::from_secs(3600);
    let log = format.map(|format| {
        let target = LogTarget::File(folder.path().join("log"));
        let format = LogFormat::parse(format).unwrap();
        let tell = |trouble| panic!("{trouble}");
        Arc::new(AccessLog::open(target, format, 1, tell).unwrap())
    });
    http.access_log.clone_from(&log);
    http.metrics = format.map(|_| Arc::new(HttpMetrics::new(1)));
    let selection = DriverSelection::make(Some(kind)).unwrap();
    let server = serve::http(&settings(), http, selection).unwrap().server;
    let mut client = TcpStream::connect(&server.addresses()[0]).unwrap();
    client.write_all(b"GET /file HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut first = vec![0; 4096];
    let mut length = 0;
    while !first[..length].ends_with(b"xxxx") || length < 1000 {
        length += client.read(&mut first[length..]).unwrap();
    }
    let answer = &mut first[..length];
    request(&mut client, 2_000, answer);
    let before = counter::calls();
    request(&mut client, REQUESTS, answer);
    let allocations = counter::calls() - before;
    drop(client);
    server.stop().unwrap();
    if let Some(log) = log {
        assert!(log.flush(Duration::from_secs(60)));
        assert_eq!((log.written(), log.dropped()), (REQUESTS + 2_001, 0));
    }
    allocations
}

/// The fewest allocations in 30 rounds in which many clients ask at once. On a loaded machine, more
/// requests than ever before may wait for the worker at any time, and memory grows once for them.
fn allocations_of_many(kind: DriverKind) -> u64 {
    const CLIENTS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let root = File::open_root(folder.path(), Links::Beneath).unwrap();
    let mut http = HttpSettings::new(SiteSettings::new(root.into()));
    http.revalidate_after = Duration::from_secs(3600);
    let target = LogTarget::File("/dev/null".into());
    let tell = |trouble| panic!("{trouble}");
    let log = AccessLog::open(target, LogFormat::combined(), 1, tell).unwrap();
    http.access_log = Some(Arc::new(log));
    let selection = DriverSelection::make(Some(kind)).unwrap();
    let server = serve::http(&settings(), http, selection).unwrap().server;
    let connect = |_| TcpStream::connect(&server.addresses()[0]).unwrap();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    let mut ask = |rounds: u32| {
        let before = counter::calls();
        for _ in 0..rounds {
            for client in &mut clients {
                client.write_all(b"GET /file HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            }
            for client in &mut clients {
                let mut answer = [0; 1024];
                assert!(client.read(&mut answer).unwrap() > 100);
            }
        }
        counter::calls() - before
    };
    ask(10);
    let fewest = (0..5).map(|_| ask(30)).min().unwrap();
    drop(clients);
    server.stop().unwrap();
    fewest
}

/// One test, because another one that runs at the same time would be counted too.
#[test]
fn a_request_allocates_nothing() {
    counter::exempt();
    let template = "{client} {time_iso} {method} {path} {status} {duration} {>User-Agent}";
    for kind in [DriverKind::Uring, DriverKind::Epoll] {
        if DriverSelection::make(Some(kind)).is_err() {
            println!("skipped: {kind} does not work here");
            continue;
        }
        for format in [None, Some("combined"), Some("json"), Some(template)] {
            let count = allocations(kind, format);
            assert!(count < PASSING_MAX, "{kind}, {format:?}: {count} for {REQUESTS} requests");
        }
        let count = allocations_of_many(kind);
        assert!(count < 3 * PASSING_MAX, "{kind}, many clients: {count} for 9,000 requests");
    }
}
