//! Hostile or broken clients: they gain nothing, and other clients are not affected.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::{DriverKind, Limits};

use crate::common::eventually;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::process::Process;
use crate::support::root::{self, content};
use crate::support::{many_descriptors, streams};

const GET: &str = "GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";

/// Creates a file that is one hole.
pub(crate) fn sparse(path: &Path, length: u64) {
    File::create(path).unwrap().set_len(length).unwrap();
}

pub(crate) fn one_byte_at_a_time(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    let post =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in (GET.to_owned() + post + "GET /over.bin HTTP/1.1\r\nHost: h\r\n\r\n").bytes() {
        client.send([byte]);
    }
    client.read_response().expect_ok(&content(20));
    assert_eq!(client.read_response().status, 405);
    client.read_response().expect_ok(&content(8193));
    drop(client);
    fixture.finish();
}

pub(crate) fn a_client_that_never_reads_is_cut_off(kind: DriverKind) {
    const LENGTH: u64 = 64 << 20;
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.send = Duration::from_millis(600);
    });
    sparse(&fixture.path("sparse.bin"), LENGTH);
    let mut stuck: Vec<_> = (0..4).map(|_| fixture.connect_narrow()).collect();
    for client in &mut stuck {
        client.send("GET /sparse.bin HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.read_head().status, 200);
    }
    fixture.get("/large.bin").expect_ok(&content(1 << 20));
    eventually("stuck clients are cut off", || fixture.stats().connections == 0);
    for client in stuck {
        let (count, end) = client.count_to_end();
        // A Unix socket is not reset.
        assert!(count < LENGTH && (end.is_err() || fixture.is_unix()), "{count} bytes, {end:?}");
    }
    fixture.finish();
}

pub(crate) fn silent_connections_are_closed(kind: DriverKind) {
    let _descriptors = many_descriptors();
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::from_secs(1);
    });
    let clients: Vec<_> = (0..300).map(|_| fixture.connect()).collect();
    fixture.get("/small.txt").expect_ok(&content(20));
    for client in clients {
        client.expect_close();
    }
    fixture.finish();
}

/// The client resets the connection at every moment of an exchange.
pub(crate) fn resets_in_the_middle(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    sparse(&fixture.path("sparse.bin"), 64 << 20);
    for round in 0..60 {
        let mut client = fixture.connect_narrow();
        match round % 6 {
            0 => {}
            1 => client.send("GET /sma"),
            2 => client.send("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc"),
            3 => {
                client.send("GET /sparse.bin HTTP/1.1\r\nHost: h\r\n\r\n");
                client.read_head();
                client.read_exact(100_000);
            }
            4 => client.send(GET.repeat(3000)),
            _ => client.send(format!("GET /never-asked-for-{round} HTTP/1.1\r\nHost: h\r\n\r\n")),
        }
        client.reset();
    }
    fixture.finish();
}

/// Valid and broken requests, pipelined at random: each stream is answered and comes to an end.
pub(crate) fn many_generated_requests(kind: DriverKind) {
    let requests = match std::env::var("RINGD_TEST_REQUESTS") {
        Ok(text) => text.parse().expect("RINGD_TEST_REQUESTS is a number"),
        Err(_) => 5_000,
    };
    let fixture = Fixture::start_with(kind, |setup| setup.server.workers = 2);
    let mut random = Rng::with_seed(31);
    let mut sent = 0;
    while sent < requests {
        let stream = streams::stream(&mut random, 20);
        sent += stream.windows(4).filter(|window| window == b"\r\n\r\n").count();
        let mut client = fixture.connect();
        let whole = client.try_send(&stream);
        if random.u8(..20) == 0 {
            client.reset();
            continue;
        }
        client.half_close();
        let (answers, end) = client.read_to_end();
        let text = || String::from_utf8_lossy(&stream).into_owned();
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1.1 "), "{}", text());
        assert!(
            whole && end.is_ok() || !answers.is_empty(),
            "{end:?} without an answer: {}",
            text()
        );
    }
    fixture.finish();
}

pub(crate) fn a_slow_reader_does_not_slow_others(kind: DriverKind) {
    const LENGTH: usize = 8 << 20;
    let fixture = Fixture::start(kind);
    sparse(&fixture.path("sparse.bin"), LENGTH as u64);
    let mut slow = fixture.connect_narrow();
    slow.send("GET /sparse.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    slow.read_head();
    let mut fast = fixture.connect();
    for _ in 0..64 {
        slow.read_exact(LENGTH / 64);
        for _ in 0..10 {
            fast.send(GET);
            fast.read_response().expect_ok(&content(20));
        }
    }
    drop((slow, fast));
    fixture.finish();
}

/// Descriptors and memory of the process, before and after the attacks.
pub(crate) fn the_process_releases_everything(kind: DriverKind) {
    let root = root::make();
    sparse(&root.path().join("sparse.bin"), 64 << 20);
    let process = Process::start(
        kind,
        root.path(),
        &["--header-timeout", "2s", "--send-timeout", "1s", "--cache-entries", "0"],
    );
    let answers = |target: &str| {
        let mut client = Client::connect(process.address());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        client.read_response().status
    };
    let treat_badly = || {
        let clients: Vec<_> = (0..100).map(|_| Client::connect(process.address())).collect();
        for round in 0..100 {
            let mut client = Client::connect(process.address());
            client.send("GET /sparse.bin HTTP/1.1\r\nHost: h\r\n\r\n");
            match round % 3 {
                0 => client.reset(),
                1 => drop(client),
                _ => drop(client.read_head()),
            }
            assert_eq!(answers("/large.bin"), 200);
            assert_eq!(answers("/missing"), 404);
        }
        drop(clients);
    };
    // The first requests allocate threads that are kept, and touch each of the receive buffers.
    assert_eq!(answers("/small.txt"), 200);
    let descriptors = process.descriptors();
    let mut client = Client::connect(process.address());
    for _ in 0..Limits::default().buffers {
        client.send("GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n");
        client.read_response();
    }
    drop(client);
    treat_badly();
    eventually("descriptors are closed", || process.descriptors() <= descriptors);
    let resident = process.resident_kib();
    for _ in 0..3 {
        treat_badly();
    }
    eventually("descriptors are closed", || process.descriptors() <= descriptors);
    let grown = process.resident_kib().saturating_sub(resident);
    assert!(grown < 4 * 1024, "{grown} KiB more than {resident}");
    process.stop();
}
