//! Files that change while they are sent, and between two requests.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ringd::driver::DriverKind;

use crate::common::eventually;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::root::{content, wait_until_settled};

/// More than the kernel buffers for a client that does not read.
const LENGTH: usize = 24 << 20;

/// Requests a file that is too long to be sent at once.
fn begin(fixture: &Fixture) -> Client {
    fs::write(fixture.path("long.bin"), content(LENGTH)).unwrap();
    let mut client = fixture.connect_narrow();
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = client.read_head();
    assert_eq!(head.field("content-length"), Some(&*LENGTH.to_string()));
    client
}

/// The announced length cannot be sent any more: the client must see a failure, not a padded or
/// shortened file that looks complete.
pub(crate) fn a_file_that_shrinks_ends_the_connection(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let client = begin(&fixture);
    let file = fs::File::options().write(true).open(fixture.path("long.bin")).unwrap();
    file.set_len(LENGTH as u64 / 2).unwrap();
    let (bytes, end) = client.read_to_end();
    // A Unix socket is not reset, so its client sees the length alone.
    if !fixture.is_unix() {
        assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    }
    assert!(bytes.len() <= LENGTH / 2, "{} bytes of {}", bytes.len(), LENGTH / 2);
    assert!(bytes == content(LENGTH)[..bytes.len()], "the bytes differ from those of the file");
    fixture.finish();
}

pub(crate) fn a_replaced_file_is_sent_to_its_end(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = begin(&fixture);
    fs::write(fixture.path("new.bin"), "new").unwrap();
    fs::rename(fixture.path("new.bin"), fixture.path("long.bin")).unwrap();
    assert!(client.read_exact(LENGTH) == content(LENGTH), "the old file, all of it");
    eventually("the new file is served", || fixture.get("/long.bin").body == b"new");
    drop(client);
    fixture.finish();
}

pub(crate) fn a_deleted_file_is_sent_to_its_end(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = begin(&fixture);
    fs::remove_file(fixture.path("long.bin")).unwrap();
    assert!(client.read_exact(LENGTH) == content(LENGTH), "the old file, all of it");
    eventually("the file is gone", || fixture.get("/long.bin").status == 404);
    drop(client);
    fixture.finish();
}

/// The longest tick of a kernel (`CONFIG_HZ_100`), and a little more.
const TICK_MAX: Duration = Duration::from_millis(15);

/// On one connection, so that the same session has to notice each change.
pub(crate) fn a_changed_file_is_served_anew(kind: DriverKind) {
    let revalidate = Duration::from_millis(200);
    let fixture = Fixture::start_with(kind, |setup| setup.http.revalidate_after = revalidate);
    let mut client = fixture.connect();
    let mut get = || {
        client.send("GET /page.txt HTTP/1.1\r\nHost: h\r\n\r\n");
        client.read_response()
    };
    let mut tags = Vec::new();
    // In place with the same length; by rename; larger than what is kept in memory; smaller.
    let large = "large".repeat(10_000);
    for (round, body) in ["one", "two", "three", &large, "small"].into_iter().enumerate() {
        let name = if round < 2 { "page.txt" } else { "page.new" };
        // Before Linux 6.13, two changes in one tick of the kernel have the same time.
        std::thread::sleep(TICK_MAX);
        fs::write(fixture.path(name), body).unwrap();
        if round >= 2 {
            fs::rename(fixture.path("page.new"), fixture.path("page.txt")).unwrap();
        }
        let written = Instant::now();
        loop {
            let begun = Instant::now();
            let response = get();
            if response.status == 200 && response.body == body.as_bytes() {
                tags.push(response.field("etag").unwrap().to_owned());
                break;
            }
            // A cached answer may be used while it is valid, and not longer.
            assert!(begun - written <= revalidate, "{round}: {}", response.head);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 5, "two contents have the same tag");
    drop(client);
    fixture.finish();
}

pub(crate) fn a_file_that_appears_is_found(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    assert_eq!(fixture.get("/soon.txt").status, 404);
    fs::write(fixture.path("soon.txt"), "here").unwrap();
    eventually("the file is found", || fixture.get("/soon.txt").body == b"here");
    fixture.finish();
}

/// A revalidated page waits behind another answer. Before it is sent, the cache needs the room.
pub(crate) fn a_page_may_be_evicted_while_its_answer_waits(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.http.revalidate_after = Duration::ZERO;
        // Room for one page of 8 KiB and little else.
        setup.http.cache_bytes = 8_700;
    });
    drop(begin(&fixture));
    wait_until_settled(&fixture.path("long.bin"));
    for name in ["long.bin", "small.txt", "long.bin", "small.txt"] {
        assert_eq!(fixture.get(&format!("/{name}")).status, 200);
    }
    let mut client = fixture.connect_narrow();
    let small = "GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";
    client.send("GET /long.bin HTTP/1.1\r\nHost: h\r\n\r\n".to_owned() + small);
    client.read_head();
    fixture.get("/under.bin").expect_ok(&content(8191));
    assert!(client.read_exact(LENGTH) == content(LENGTH));
    client.read_response().expect_ok(&content(20));
    drop(client);
    fixture.finish();
}
