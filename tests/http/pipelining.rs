//! Pipelined requests: the answers are complete and in order, for slow clients as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::DriverKind;

use crate::common::eventually;
use crate::hostile::sparse;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::root::{self, content};

/// A request, and the answer that it must get.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Get(&'static str, usize),
    Head(usize),
    Missing(usize),
    Options,
    Moved,
}

impl Wish {
    fn any(random: &mut Rng, number: usize) -> Self {
        match random.u8(..10) {
            0 => Self::Head(random.usize(..root::FILES.len())),
            // Names that were not requested before, so each needs a lookup.
            1..3 => Self::Missing(number),
            3 => Self::Options,
            4 => Self::Moved,
            _ => {
                let (name, length) = root::FILES[random.usize(..root::FILES.len())];
                Self::Get(name, length)
            }
        }
    }

    fn request(self) -> String {
        let (method, target) = match self {
            Self::Get(name, _) => ("GET", format!("/{name}")),
            Self::Head(file) => ("HEAD", format!("/{}", root::FILES[file].0)),
            Self::Missing(number) => ("GET", format!("/missing-{number}")),
            Self::Options => ("OPTIONS", "*".to_owned()),
            Self::Moved => ("GET", "/dir".to_owned()),
        };
        format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n")
    }

    fn check(self, client: &mut Client) {
        match self {
            Self::Get(_, length) => client.read_response().expect_ok(&content(length)),
            Self::Head(file) => {
                let length = root::FILES[file].1.to_string();
                let head = client.read_head();
                assert_eq!((head.status, head.field("content-length")), (200, Some(&*length)));
            }
            Self::Missing(_) => assert_eq!(client.read_response().status, 404),
            Self::Options => assert_eq!(client.read_response().status, 204),
            Self::Moved => assert_eq!(client.read_response().status, 308),
        }
    }
}

fn write(wishes: &[Wish]) -> String {
    wishes.iter().map(|wish| wish.request()).collect()
}

pub(crate) fn answers_come_in_order(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut random = Rng::with_seed(21);
    let mut number = 0;
    for count in (1..=64).chain([64; 4]) {
        let wishes: Vec<_> = (0..count)
            .map(|_| {
                number += 1;
                Wish::any(&mut random, number)
            })
            .collect();
        let mut client = fixture.connect();
        client.send(write(&wishes));
        for wish in &wishes {
            wish.check(&mut client);
        }
        client.half_close();
        client.expect_close();
    }
    fixture.finish();
}

/// The client sends everything at once, and reads little at a time through a small window.
pub(crate) fn answers_to_a_slow_reader_are_complete(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut random = Rng::with_seed(22);
    let wishes: Vec<_> = (0..40).map(|number| Wish::any(&mut random, number)).collect();
    let mut client = fixture.connect_narrow();
    client.send(write(&wishes));
    for (number, wish) in wishes.iter().enumerate() {
        if number % 4 == 0 {
            // Other clients do not have to wait meanwhile.
            fixture.get("/over.bin").expect_ok(&content(8193));
        }
        wish.check(&mut client);
    }
    drop(client);
    fixture.finish();
}

/// The small answers are in the cache, and still come after the large one.
pub(crate) fn requests_behind_a_large_file_wait_for_it(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let large = ["large.bin", "over.bin", "large.bin"];
    let mut client = fixture.connect_narrow();
    for name in large {
        client.send(format!("GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n"));
        client.send("GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100));
    }
    for length in [1024 * 1024, 8193, 1024 * 1024] {
        client.read_response().expect_ok(&content(length));
        for _ in 0..100 {
            client.read_response().expect_ok(&content(20));
        }
    }
    drop(client);
    fixture.finish();
}

pub(crate) fn a_close_among_requests_ends_the_rest(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for last in [
        "GET /small.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /small.txt HTTP/1.0\r\n\r\n",
    ] {
        let mut client = fixture.connect();
        let other = "GET /over.bin HTTP/1.1\r\nHost: h\r\n\r\n";
        client.send(other.to_owned() + last + other + other);
        client.read_response().expect_ok(&content(8193));
        let response = client.read_response();
        response.expect_ok(&content(20));
        assert!(response.says_close());
        client.expect_close();
    }
    fixture.finish();
}

/// A client that does not read its answers is not read either: its requests wait in its own
/// kernel, not in the memory of the server.
pub(crate) fn more_requests_than_the_inbox_holds(kind: DriverKind) {
    const REQUESTS: usize = 8_000;
    // More than the buffers of both sockets hold, so the server waits for the client.
    const LENGTH: usize = 48 << 20;
    let fixture = Fixture::start(kind);
    sparse(&fixture.path("long.bin"), LENGTH as u64);
    let mut client = fixture.connect_narrow();
    let mut twin = client.twin();
    let written = Arc::new(AtomicUsize::new(0));
    let its_written = Arc::clone(&written);
    let writer = std::thread::spawn(move || {
        twin.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
        // In all, several times as much as the buffers of both sockets may grow to.
        let padding = "p".repeat(6000);
        let request = format!("GET /small.txt HTTP/1.1\r\nHost: h\r\nX: {padding}\r\n\r\n");
        for _ in 0..REQUESTS {
            twin.send(&request);
            its_written.fetch_add(1, Ordering::SeqCst);
        }
        twin.half_close();
    });
    let mut before = usize::MAX;
    eventually("the client cannot send more, or has sent everything", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = written.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now
    });
    assert!(before < REQUESTS, "the server has taken all requests");
    assert_eq!(client.read_head().status, 200);
    assert_eq!(client.read_exact(LENGTH).len(), LENGTH);
    for _ in 0..REQUESTS {
        client.read_response().expect_ok(&content(20));
    }
    writer.join().unwrap();
    client.expect_close();
    fixture.finish();
}
