//! The memory that a client can keep in use by sending without reading.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::sim::{Faults, Sim};
use ringd::driver::{Driver, Limits};
use ringd::http::{Http, HttpSettings, Sites};
use ringd::server::mailbox::Mailbox;
use ringd::server::worker::{Worker, WorkerSettings};
use ringd::server::{INBOX_MAX, INBOX_MEMORY_MAX, ServerTimeouts};

use crate::world::CHAIN_MEMORY_MAX;

/// Files of the site. Each is requested again after all others.
const FILES: usize = 12;

/// The largest memory that a client keeps in use which requests files of this length, all of them
/// in memory, and reads nothing.
fn memory_of_a_client_that_does_not_read(len: usize) -> usize {
    let limits = Limits { sockets_max: 8, ..Limits::default() };
    let mut sim = Sim::seeded(&limits, 0, Faults::NONE);
    for name in 0..FILES {
        sim.files().write(name.to_string(), &vec![b'x'; len]);
    }
    let (listener, dialer) = sim.listen().unwrap();
    let long = Duration::from_secs(600);
    let settings = WorkerSettings {
        connections_max: 4,
        listeners_max: 1,
        timeouts: ServerTimeouts {
            header: long,
            idle: long,
            send: long,
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(1),
        },
    };
    let root = sim.files().root();
    let site = HttpSettings {
        memory_file_max: 1 << 20,
        revalidate_after: long,
        ..HttpSettings::of_root(root)
    };
    let (mailbox, published) = (Arc::new(Mailbox::default()), Arc::default());
    let sites = Sites::new(site, sim.now(), None);
    let mut worker: Worker<Sim, Http> =
        Worker::new(sim, vec![(0, listener)], sites, settings, mailbox, published);
    // The files are in the cache, so one chain takes as many answers as fit.
    let mut warm = dialer.dial().unwrap();
    warm.set_nonblocking(true);
    for name in 0..FILES {
        write!(warm, "GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let mut left = len;
        while left > 0 {
            worker.driver_mut().set_alarm(Some(Duration::ZERO));
            worker.turn().unwrap();
            let mut piece = [0; 4096];
            while let Ok(count) = warm.read(&mut piece) {
                left = left.saturating_sub(count);
            }
        }
    }
    let mut peer = dialer.dial().unwrap();
    peer.set_nonblocking(true);
    let mut requests = (0..FILES).cycle();
    let (mut unsent, mut most) = (Vec::new(), 0);
    for _ in 0..2000 {
        if unsent.is_empty() {
            for name in requests.by_ref().take(1000) {
                unsent.extend_from_slice(
                    format!("GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(),
                );
            }
        }
        match peer.write(&unsent) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        let alarm = worker.driver_mut().elapsed() + Duration::from_millis(1);
        worker.driver_mut().set_alarm(Some(alarm));
        worker.turn().unwrap();
        most = most.max(worker.connection_memory_max());
    }
    assert!(worker.driver_mut().in_flight() > 0, "the connection is still there");
    most
}

/// The README states this bound.
#[test]
fn a_client_that_does_not_read_uses_bounded_memory() {
    for len in [100, 8 * 1024, 100_000, 1 << 20] {
        let memory = memory_of_a_client_that_does_not_read(len);
        let most = INBOX_MEMORY_MAX + CHAIN_MEMORY_MAX + len;
        println!("files of {len} bytes: {memory} bytes of at most {most}");
        assert!(memory <= most, "files of {len} bytes: {memory} bytes");
        // The bound is not much larger than what a client can reach.
        let reached = INBOX_MAX + len.max(60 * 1024);
        assert!(memory >= reached, "files of {len} bytes: only {memory} bytes");
    }
}
