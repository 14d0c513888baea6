//! Many connections, all open at once, each answered in turn; connections beyond a driver's limit
//! are refused, and the others are still served.
//!
//! By default there are a few more than `select` can hold. For more, and to see the memory of
//! each driver: `RINGD_TEST_CONNECTIONS=10000 cargo test --release --test command scale --
//! --nocapture`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::process::{Server, kinds, ringd, site};
use ringd::driver::DriverKind;
use ringd::driver::threads::SOCKETS_MAX;

const CONNECTIONS: usize = 1200;

/// The number of descriptors that `select(2)` supports; the server needs some for itself.
const SELECT_MAX: usize = 1024;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Requests the page and reads the whole answer; returns false if the connection is closed
/// instead.
fn is_answered(client: &mut TcpStream) -> bool {
    if client.write_all(REQUEST).is_err() {
        return false;
    }
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no answer: {error}"),
        }
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() == length.expect("a length").parse::<usize>().unwrap() {
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                return true;
            }
        }
    }
    assert!(answer.is_empty(), "an answer was cut off");
    false
}

/// How many connections a driver can hold, if that does not depend on the settings.
fn limit_of(kind: DriverKind) -> Option<usize> {
    match kind {
        DriverKind::Select => Some(SELECT_MAX),
        DriverKind::Threads => Some(SOCKETS_MAX as usize),
        _ => None,
    }
}

#[test]
fn all_are_answered_in_turn() {
    let count = std::env::var("RINGD_TEST_CONNECTIONS");
    let count = count.map_or(CONNECTIONS, |count| count.parse().expect("a number"));
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    if descriptors < count as u64 + 100 {
        return println!("skipped: {count} connections need more than {descriptors} descriptors");
    }
    let site = site();
    for kind in kinds() {
        many(kind, count, site.path());
    }
}

fn many(kind: DriverKind, count: usize, root: &std::path::Path) {
    let mut command = ringd();
    command.arg(root).args(["--listen", "127.0.0.1:0", "--workers", "1", "--driver", kind.name()]);
    command.args(["--header-timeout", "10min", "--idle-timeout", "10min"]);
    let server = Server::start(&mut command);
    let begun = Instant::now();
    let connect = |_| {
        let client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client
    };
    let mut clients: Vec<TcpStream> = (0..count).map(connect).collect();
    // All connections are open; then each gets a request.
    clients.retain_mut(is_answered);
    let served = clients.len();
    // Again, after the refused connections are gone.
    assert!(
        clients.iter_mut().all(is_answered),
        "{kind}: the server does not serve the others any more"
    );
    println!(
        "{kind}: {served} of {count} answered twice, {} refused; {:.1?}, {:.2} s of CPU, {}",
        count - served,
        begun.elapsed(),
        server.cpu_ticks() as f64 / 100.0,
        server.memory(),
    );
    match limit_of(kind).filter(|limit| *limit <= count) {
        None => assert_eq!(served, count, "{kind}"),
        Some(limit) => {
            assert!(served > limit * 9 / 10 && served <= limit, "{kind}: {served}");
            // Closed connections make room, once the server has noticed.
            drop(clients);
            let until = Instant::now() + Duration::from_secs(20);
            while !is_answered(&mut connect(0)) {
                assert!(Instant::now() < until, "{kind}: a new client is not served");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
