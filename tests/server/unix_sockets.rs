//! The workers of a server share the listener of a Unix socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringd::ask::{AskId, Reply};
use ringd::driver::{Chain, DriverKind, DriverSelection};
use ringd::server::{self, Server, ServerSettings, ServerTimeouts, UnixAddress};
use ringd::service::{Service, Task};
use ringd::session::{ConnectionInfo, Context, Inbox, Now, ReceiveTimeout, Session, Step, Timer};

use crate::common::{WAIT_MAX, on_every_driver, settings};

/// The number of connections of each worker, by the name of its thread.
#[derive(Clone, Debug, Default)]
struct Spread(Arc<Mutex<BTreeMap<String, usize>>>);

impl Service for Spread {
    type Answer = ();
    type Message = ();

    fn poll(&mut self, _: Now) -> Option<Task<()>> {
        None
    }

    fn resume(&mut self, _: Now, _: AskId, reply: Reply) {
        unreachable!("{reply:?}")
    }

    fn receive(&mut self, _: Now, (): ()) {}
}

/// Echoes, and counts itself.
#[derive(Debug)]
struct Counted;

impl Session for Counted {
    type Shared = Spread;

    fn new(spread: &mut Spread, _: &ConnectionInfo<'_>) -> Self {
        let worker = std::thread::current().name().unwrap_or("unnamed").to_owned();
        *spread.0.lock().unwrap().entry(worker).or_default() += 1;
        Self
    }

    fn advance(
        &mut self,
        _: &mut Context<'_, Spread>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        out.copy(inbox.bytes());
        let count = inbox.bytes().len();
        inbox.take(count);
        if inbox.ended() {
            Step::Finish { linger: false }
        } else {
            Step::Receive(ReceiveTimeout::KeepAlive)
        }
    }

    fn expire(&mut self, _: &mut Context<'_, Spread>, _: Timer, _: &mut Chain) -> Step {
        Step::Abort
    }

    fn drain(&mut self) {}
}

/// A server that listens on a Unix socket.
fn start(kind: DriverKind, path: &Path, workers: usize, spread: &Spread) -> Server {
    let settings = ServerSettings {
        listen: vec![UnixAddress::Path(path.to_owned()).into()],
        workers,
        // With room for many, a ring would take all connections that wait at once.
        connections_max: 16_384,
        timeouts: ServerTimeouts { drain: Duration::ZERO, ..settings().timeouts },
        ..settings()
    };
    let (shared, selection) = (spread.clone(), DriverSelection::make(Some(kind)).unwrap());
    server::start::<Counted>(&settings, selection, move |_| shared.clone()).unwrap()
}

/// Opens connections in bursts, and keeps them open; returns how many each worker has.
fn connect(kind: DriverKind, workers: usize, burst: usize, count: usize) -> Vec<usize> {
    let folder = tempfile::tempdir().unwrap();
    let (path, spread) = (folder.path().join("socket"), Spread::default());
    let server = start(kind, &path, workers, &spread);
    let mut streams = Vec::new();
    while streams.len() < count {
        let mut new: Vec<_> = (0..burst).map(|_| UnixStream::connect(&path).unwrap()).collect();
        for stream in &mut new {
            stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
            stream.write_all(b"x").unwrap();
        }
        for stream in &mut new {
            stream.read_exact(&mut [0]).unwrap();
        }
        streams.append(&mut new);
    }
    server.stop().unwrap();
    assert!(!path.exists(), "the server removes its socket");
    let mut counts: Vec<_> = spread.0.lock().unwrap().values().copied().collect();
    counts.resize(workers, 0);
    counts
}

/// Every connection is served once. With `--nocapture`, this shows how many each worker has: that
/// depends on the machine and its load.
#[test]
fn workers_share_a_unix_socket() {
    on_every_driver(|kind| {
        for workers in [2, 4] {
            for burst in [1, 8, 64] {
                let counts = connect(kind, workers, burst, 192);
                println!("{kind}: {workers} workers, {burst} connections at once: {counts:?}");
                assert_eq!(counts.iter().sum::<usize>(), 192);
            }
        }
    });
}

/// The first worker that closes the socket ends the accepts of all, and none of them fails.
#[test]
fn workers_close_a_unix_socket_together() {
    on_every_driver(|kind| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        for _ in 0..20 {
            start(kind, &path, 4, &Spread::default()).stop().unwrap();
        }
    });
}

/// A program that drops the server without stopping it keeps it, and so its socket.
#[test]
fn a_server_that_is_dropped_keeps_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let kind = DriverKind::Epoll;
    let server = start(kind, &path, 1, &Spread::default());
    let stopper = server.stopper();
    drop(server);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stopper.stop();
}
