//! Draining: requests in progress are finished, and stuck clients do not delay the end.

use std::time::{Duration, Instant};

use ringd::driver::DriverKind;

use crate::common::{WAIT_MAX, eventually};
use crate::hostile::sparse;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::root::content;

const GET: &str = "GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";

const LENGTH: usize = 24 << 20;

/// A server that is sending a long answer, and the client that reads it.
fn busy(kind: DriverKind) -> (Fixture, Client) {
    let fixture = Fixture::start_with(kind, |setup| setup.server.timeouts.drain = WAIT_MAX);
    sparse(&fixture.path("long.bin"), LENGTH as u64);
    let mut client = fixture.connect_narrow();
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_head();
    (fixture, client)
}

/// Stops the server, and waits until its listener is closed, which begins the drain.
fn stop(fixture: &Fixture) {
    fixture.stopper().stop();
    eventually("the listener is closed", || !fixture.accepts());
}

/// `Duration::MAX` is how a program says that there is no limit.
pub(crate) fn timeouts_may_be_endless(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::MAX;
        setup.server.timeouts.idle = Duration::MAX;
        setup.server.timeouts.send = Duration::MAX;
        setup.server.timeouts.drain = Duration::MAX;
        setup.http.revalidate_after = Duration::MAX;
    });
    for _ in 0..2 {
        fixture.get("/small.txt").expect_ok(&content(20));
        fixture.get("/over.bin").expect_ok(&content(8193));
    }
    fixture.finish();
}

/// During the delay the server accepts connections and answers as usual, but for the field that
/// tells clients to connect anew.
pub(crate) fn a_drain_is_announced_before_it_begins(kind: DriverKind) {
    let delay = Duration::from_secs(3);
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.drain_delay = delay;
        setup.http.health_path = Some("/healthz".into());
    });
    let health = || fixture.get("/healthz").status;
    assert_eq!(health(), 200);
    let [mut kept, mut silent] = [fixture.connect(), fixture.connect()];
    kept.send(GET);
    assert!(!kept.read_response().says_close());
    fixture.wait_for_connections(2);
    let stopped = Instant::now();
    fixture.stopper().stop();
    eventually("a new connection is told to close", || {
        let mut client = fixture.connect();
        client.send(GET);
        let response = client.read_response();
        response.expect_ok(&content(20));
        response.says_close()
    });
    assert_eq!(health(), 503);
    for mut client in [kept, fixture.connect()] {
        client.send(GET);
        let response = client.read_response();
        response.expect_ok(&content(20));
        assert!(response.says_close());
        client.expect_close();
    }
    // Idle connections stay as long as the delay lasts.
    silent.send(GET);
    assert!(silent.read_response().says_close());
    fixture.join().expect("the server drains");
    assert!(stopped.elapsed() >= delay);
}

pub(crate) fn requests_in_progress_are_finished(kind: DriverKind) {
    let (fixture, mut client) = busy(kind);
    // A second client has sent half of its request.
    let mut half = fixture.connect();
    half.send("GET /small.txt HTTP/1.1\r\n");
    fixture.wait_for_connections(2);
    stop(&fixture);
    half.send("Host: h\r\n\r\n");
    let response = half.read_response();
    response.expect_ok(&content(20));
    assert!(response.says_close());
    half.expect_close();
    assert_eq!(client.read_exact(LENGTH), vec![0; LENGTH]);
    client.expect_close();
    fixture.join().unwrap();
}

pub(crate) fn a_late_request_is_answered_with_close(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    client.send(GET);
    assert!(!client.read_response().says_close());
    stop(&fixture);
    client.send(GET);
    let response = client.read_response();
    response.expect_ok(&content(20));
    assert!(response.says_close());
    client.expect_close();
    fixture.join().unwrap();
}

/// A request may be on its way when the server is stopped.
pub(crate) fn an_idle_connection_is_given_time(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut idle = fixture.connect();
    idle.send(GET);
    idle.read_response().expect_ok(&content(20));
    let fresh = fixture.connect();
    fixture.wait_for_connections(2);
    let begun = Instant::now();
    stop(&fixture);
    idle.expect_close();
    assert!(begun.elapsed() >= Duration::from_millis(800), "after {:?}", begun.elapsed());
    fresh.expect_close_unused();
    fixture.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "after {:?}", begun.elapsed());
}

pub(crate) fn the_listener_refuses(kind: DriverKind) {
    let (fixture, client) = busy(kind);
    stop(&fixture);
    for _ in 0..10 {
        assert!(!fixture.accepts());
    }
    drop(client);
    fixture.join().unwrap();
}

pub(crate) fn a_stuck_client_does_not_prevent_the_end(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.workers = 2;
        setup.server.timeouts.drain = Duration::from_millis(500);
    });
    sparse(&fixture.path("long.bin"), LENGTH as u64);
    let mut stuck: Vec<_> = (0..4).map(|_| fixture.connect_narrow()).collect();
    for (number, client) in stuck.iter_mut().enumerate() {
        let silent = number == 0;
        client.send(if silent { "GET" } else { "GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n" });
    }
    fixture.wait_for_connections(4);
    let begun = Instant::now();
    stop(&fixture);
    fixture.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "after {:?}", begun.elapsed());
    drop(stuck);
}

/// The client did not know that the server would close, and sent another request. That must not
/// cost it the answer to the first one (RFC 9112 section 9.6).
pub(crate) fn the_last_answer_survives_a_request_behind_it(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let length = 2 << 20;
    sparse(&fixture.path("longer.bin"), length as u64);
    let mut client = fixture.connect_narrow();
    client.send(GET);
    client.read_response().expect_ok(&content(20));
    stop(&fixture);
    client.send("GET /longer.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(client.read_head().says_close());
    let mut left = length;
    // Until the server's kernel has everything, and the client's kernel still lacks much of it.
    while left > 64 * 1024 && fixture.stats().connections > 0 {
        client.read_exact(4096);
        left -= 4096;
    }
    client.send(GET);
    client.read_exact(left);
    fixture.join().unwrap();
}

/// Requests that stall in their head or in their body are over when idle connections are, long
/// before the drain timeout.
pub(crate) fn stalled_requests_do_not_hold_the_drain(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.drain = Duration::from_secs(60);
    });
    let mut head = fixture.connect();
    head.send("GET /small.txt HTTP/1.1\r\nHo");
    let mut body = fixture.connect();
    body.send("GET /small.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
    fixture.wait_for_connections(2);
    let begun = Instant::now();
    stop(&fixture);
    assert_eq!(head.read_response().status, 408);
    head.expect_close();
    body.read_response().expect_ok(&content(20));
    body.expect_close();
    fixture.join().unwrap();
    assert!(begun.elapsed() < WAIT_MAX, "after {:?}", begun.elapsed());
}

/// The kernel of the server has the whole answer, and the client reads it slowly. The client sends
/// its next request before it has read everything: as long as it goes on to read, that must cost it
/// neither answer.
pub(crate) fn an_answer_that_is_still_being_read_is_not_cut(kind: DriverKind) {
    for _ in 0..ATTEMPTS {
        if is_read_slowly(kind) {
            return;
        }
        println!("the client had to wait so long for the processor that the server gave it up");
    }
    panic!("the machine is too slow for this test");
}

const ATTEMPTS: u8 = 8;

/// Reads an answer slowly from a server that drains. Returns false if a pause was so long that the
/// server had to give the client up.
fn is_read_slowly(kind: DriverKind) -> bool {
    let fixture =
        Fixture::start_with(kind, |setup| setup.server.timeouts.drain = Duration::from_secs(60));
    sparse(&fixture.path("longer.bin"), 1 << 20);
    let mut client = fixture.connect_narrow();
    client.send("GET /longer.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.read_head().status, 200);
    // One op accepts, one receives, and none sends.
    eventually("the kernel has the answer", || fixture.stats().in_flight == 2);
    fixture.stopper().stop();
    let mut longest = Duration::ZERO;
    let pieces = 32;
    for piece in 0..pieces {
        let begun = Instant::now();
        std::thread::sleep(Duration::from_millis(100));
        if piece == pieces / 2 + 4 {
            // The second of grace is over.
            assert!(client.try_send(GET));
        }
        let read = client.try_read((1 << 20) / pieces);
        longest = longest.max(begun.elapsed());
        if longest > Duration::from_millis(500) {
            return false;
        }
        read.expect("the answer is complete");
    }
    let response = client.read_response();
    response.expect_ok(&content(20));
    assert!(response.says_close());
    client.expect_close();
    fixture.join().unwrap();
    true
}
