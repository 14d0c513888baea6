//! Which streams of HTTP/2 are reset because they make no progress.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::sim::{Faults, Peer, Sim};
use ringd::driver::{Driver, Limits};
use ringd::http::{HttpSettings, Sites, Web};
use ringd::server::ServerTimeouts;
use ringd::server::mailbox::Mailbox;
use ringd::server::worker::{Worker, WorkerSettings};

use crate::common::hpack::Coding;
use crate::common::http2::{Http2Client, request_block};
use crate::common::http2_exchange::{FRAME_MAX, code, setting};

const STALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A worker with one connection.
struct World {
    worker: Worker<Sim, Web>,
    peer: Peer,
    http: Http2Client,
}

impl World {
    /// The files are named by their lengths.
    fn new(lengths: &[usize]) -> Self {
        let mut sim = Sim::seeded(&Limits { sockets_max: 8, ..Limits::default() }, 0, Faults::NONE);
        for length in lengths {
            sim.files().write(length.to_string(), &vec![b'x'; *length]);
        }
        let (listener, dialer) = sim.listen().unwrap();
        let long = Duration::from_secs(600);
        let timeouts = ServerTimeouts {
            header: long,
            idle: long,
            send: STALL_TIMEOUT,
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(1),
        };
        let settings = WorkerSettings { connections_max: 4, listeners_max: 1, timeouts };
        let site = HttpSettings {
            h2c: true,
            stall_timeout: STALL_TIMEOUT,
            ..HttpSettings::of_root(sim.files().root())
        };
        let sites = Sites::new(site, sim.now(), None);
        let (mailbox, published) = (Arc::new(Mailbox::default()), Arc::default());
        let worker = Worker::new(sim, vec![(0, listener)], sites, settings, mailbox, published);
        let mut peer = dialer.dial().unwrap();
        peer.set_nonblocking(true);
        Self { worker, peer, http: Http2Client::new(&[(setting::INITIAL_WINDOW_SIZE, 1 << 24)]) }
    }

    fn get(&mut self, length: usize) -> u32 {
        let path = format!("/{length}");
        let fields =
            [(":method", "GET"), (":scheme", "http"), (":path", &path), (":authority", "h")];
        let block = request_block(&fields, |_| Coding::Plain);
        self.http.request(&block, FRAME_MAX, true, false)
    }

    /// Lets a tenth of a second pass, and moves what there is.
    fn live(&mut self) {
        let alarm = self.worker.driver_mut().elapsed() + Duration::from_millis(100);
        while self.worker.driver_mut().elapsed() < alarm {
            let out = std::mem::take(&mut self.http.out);
            self.peer.write_all(&out).unwrap();
            self.worker.driver_mut().set_alarm(Some(alarm));
            self.worker.turn().unwrap();
            let mut piece = [0; 64 * 1024];
            while let Ok(count @ 1..) = self.peer.read(&mut piece) {
                self.http.receive(&piece[..count]);
            }
        }
    }
}

/// The connection is slow, and the first response takes longer than a stream may stall.
#[test]
fn a_stream_that_waits_for_its_turn_is_not_reset() {
    let lengths = [1_000_000, 100_000];
    let mut world = World::new(&lengths);
    let ids = lengths.map(|length| world.get(length));
    for tick in 0..300 {
        world.live();
        if tick % 10 == 0 && world.http.granted(0) < 20_000 {
            world.http.open(0, 50_000);
        }
    }
    for (id, length) in ids.into_iter().zip(lengths) {
        let exchange = &world.http.exchanges[&id];
        assert_eq!((exchange.reset, exchange.body.len()), (None, length));
    }
}

/// The client opens the windows of one stream and not of the other.
#[test]
fn a_stream_whose_window_stays_closed_is_reset() {
    let lengths = [1_000_001, 1_000_000];
    let mut world = World::new(&lengths);
    world.http.settings(&[(setting::INITIAL_WINDOW_SIZE, 1000)]);
    world.http.open(0, 1 << 24);
    let ids = lengths.map(|length| world.get(length));
    for _ in 0..100 {
        world.live();
        world.http.open(ids[1], 20_000);
    }
    let [stuck, moving] = ids.map(|id| &world.http.exchanges[&id]);
    assert_eq!((stuck.reset, stuck.body.len()), (Some(code::CANCEL), 1000));
    assert_eq!((moving.reset, moving.body.len()), (None, 1_000_000));
}
