//! Echo on every driver that works on this machine: the echoed bytes, their order, and the end.
//!
//! The server runs in this process, so the tests can see what it holds.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ringd::driver::{DriverKind, DriverSelection};
use ringd::serve;
use ringd::server::{Server, ServerSettings, WorkerStats};
use socket2::{Domain, SockRef, Socket, Type};

use crate::common::{WAIT_MAX, settings};

/// Expands to one module per driver, each with every test.
macro_rules! drivers {
    ($($name:ident => $kind:ident,)*) => { $(
        mod $name {
            each_test!($kind: a_mebibyte_in_random_pieces, many_clients_get_their_own_bytes,
                a_half_closed_peer_gets_everything, a_peer_that_sends_before_it_reads,
                a_slow_reader_loses_nothing, a_reset_in_the_middle_leaves_nothing,
                a_silent_peer_is_closed, activity_keeps_a_connection_open,
                a_drain_ends_a_flood, a_drain_gives_idle_peers_time);
        }
    )*
        #[test]
        fn every_driver_is_tested() {
            let tested = [$(DriverKind::$kind),*];
            DriverKind::ALL.iter().for_each(|kind| assert!(tested.contains(kind), "{kind}"));
        }
    };
}

macro_rules! each_test {
    ($kind:ident: $($test:ident),*) => { $(
        #[test]
        fn $test() {
            let kind = ringd::driver::DriverKind::$kind;
            if crate::common::runs_here(kind) {
                crate::common::alone::with_descriptors(kind, || crate::echo::$test(kind));
            }
        }
    )* };
}

with_each_driver!(drivers);

/// A server with one worker and long timeouts, unless `change` says otherwise.
fn start(kind: DriverKind, change: impl FnOnce(&mut ServerSettings)) -> Server {
    let mut settings = settings();
    change(&mut settings);
    serve::echo(&settings, DriverSelection::make(Some(kind)).unwrap()).unwrap()
}

fn connect(server: &Server) -> TcpStream {
    connect_to(address_of(server))
}

fn address_of(server: &Server) -> SocketAddr {
    server.addresses()[0].socket_addr().unwrap()
}

fn connect_to(address: SocketAddr) -> TcpStream {
    ready(TcpStream::connect(address).unwrap())
}

/// A client whose kernel buffers little, in both directions.
fn connect_narrow(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before the handshake, because it announces the window.
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    socket.connect(&address_of(server).into()).unwrap();
    ready(socket.into())
}

fn ready(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
    stream.set_write_timeout(Some(WAIT_MAX)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn random_bytes(random: &mut Rng, count: usize) -> Vec<u8> {
    (0..count).map(|_| random.u8(..)).collect()
}

/// Sends in random pieces, ends the output, and returns all that comes back until the end.
fn exchange(stream: &TcpStream, bytes: &[u8], random: &mut Rng) -> Vec<u8> {
    let mut got = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).read_to_end(&mut got).unwrap());
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = [1, 100, 10_000, 100_000][random.usize(..4)];
            let (piece, tail) = rest.split_at(random.usize(1..=most).min(rest.len()));
            (&mut &*stream).write_all(piece).unwrap();
            rest = tail;
        }
        stream.shutdown(Shutdown::Write).unwrap();
    });
    got
}

/// Waits until nothing is open but the listener.
fn come_to_rest(server: &Server) {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let WorkerStats { connections, leased, in_flight } = server.worker_stats();
        if (connections, leased) == (0, 0) && in_flight <= 1 {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the server still holds something: {:?}",
            server.worker_stats()
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// The end of a test: the server echoes as before, holds nothing, and stops without an error.
fn finish(server: Server) {
    assert_eq!(exchange(&connect(&server), b"still here", &mut Rng::with_seed(0)), b"still here");
    come_to_rest(&server);
    server.stop().unwrap();
}

fn a_mebibyte_in_random_pieces(kind: DriverKind) {
    let server = start(kind, |_| {});
    let mut random = Rng::with_seed(1);
    let bytes = random_bytes(&mut random, 1 << 20);
    assert!(exchange(&connect(&server), &bytes, &mut random) == bytes);
    finish(server);
}

fn many_clients_get_their_own_bytes(kind: DriverKind) {
    let server = start(kind, |settings| settings.workers = 2);
    let address = address_of(&server);
    thread::scope(|scope| {
        for seed in 0..50 {
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed);
                let length = random.usize(..100_000);
                let bytes = random_bytes(&mut random, length);
                assert!(exchange(&connect_to(address), &bytes, &mut random) == bytes, "{seed}");
            });
        }
    });
    let deadline = Instant::now() + WAIT_MAX;
    while server.worker_stats().connections > 0 {
        assert!(Instant::now() < deadline, "{:?}", server.worker_stats());
        thread::sleep(Duration::from_millis(5));
    }
    server.stop().unwrap();
}

fn a_half_closed_peer_gets_everything(kind: DriverKind) {
    let server = start(kind, |_| {});
    for length in [0, 1, 4096, 300_000] {
        let mut stream = connect(&server);
        let bytes = random_bytes(&mut Rng::with_seed(length), length as usize);
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{length} bytes");
    }
    finish(server);
}

/// All buffers in between fill up: the peer is blocked until it is read from.
fn a_peer_that_sends_before_it_reads(kind: DriverKind) {
    let server = start(kind, |_| {});
    let stream = connect_narrow(&server);
    let bytes = random_bytes(&mut Rng::with_seed(2), 16 << 20);
    thread::scope(|scope| {
        let mut sender = stream.try_clone().unwrap();
        let sent = scope.spawn({
            let bytes = &bytes;
            move || {
                sender.write_all(bytes).unwrap();
                sender.shutdown(Shutdown::Write).unwrap();
            }
        });
        // Many times as long as it takes to fill all bounded buffers.
        thread::sleep(Duration::from_millis(300));
        assert!(!sent.is_finished(), "16 MiB were sent, so the server holds them");
        let mut got = Vec::new();
        (&mut &stream).read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{} bytes came", got.len());
    });
    finish(server);
}

fn a_slow_reader_loses_nothing(kind: DriverKind) {
    let server = start(kind, |_| {});
    let mut stream = connect_narrow(&server);
    let mut random = Rng::with_seed(4);
    let bytes = random_bytes(&mut random, 1 << 20);
    let mut sender = stream.try_clone().unwrap();
    let sent = bytes.clone();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let (mut got, mut buffer) = (Vec::new(), vec![0; 20_000]);
    loop {
        let most = random.usize(1..buffer.len());
        match stream.read(&mut buffer[..most]).unwrap() {
            0 => break,
            count => got.extend_from_slice(&buffer[..count]),
        }
        thread::sleep(Duration::from_millis(u64::from(random.u8(..5) == 0)));
    }
    sending.join().unwrap();
    assert!(got == bytes, "{} bytes came", got.len());
    finish(server);
}

fn a_reset_in_the_middle_leaves_nothing(kind: DriverKind) {
    let server = start(kind, |_| {});
    for round in 0..20 {
        let mut stream = connect_narrow(&server);
        stream.set_nonblocking(true).unwrap();
        // As much as fits; the client does not read, so some of it is stuck in either direction.
        let sent = stream.write_all(&vec![b'x'; round << 16]);
        assert!(sent.is_ok() || sent.unwrap_err().kind() == io::ErrorKind::WouldBlock);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    finish(server);
}

fn a_silent_peer_is_closed(kind: DriverKind) {
    let timeout = Duration::from_millis(500);
    let server = start(kind, |settings| {
        (settings.timeouts.idle, settings.timeouts.header) = (timeout, timeout);
    });
    for says in [&b""[..], b"only this"] {
        let mut stream = connect(&server);
        let begun = Instant::now();
        stream.write_all(says).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got, says);
        assert!(begun.elapsed() >= timeout, "after {:?}", begun.elapsed());
    }
    finish(server);
}

fn activity_keeps_a_connection_open(kind: DriverKind) {
    let timeout = Duration::from_secs(1);
    let server = start(kind, |settings| {
        (settings.timeouts.idle, settings.timeouts.header) = (timeout, timeout);
    });
    let mut stream = connect(&server);
    let begun = Instant::now();
    while begun.elapsed() < 2 * timeout {
        stream.write_all(b".").unwrap();
        let mut dot = [0];
        stream.read_exact(&mut dot).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    drop(stream);
    finish(server);
}

/// The server echoes a prefix of what was sent. How the connection ends is not fixed: a peer that
/// sends more than the server is willing to discard may get a reset.
fn a_drain_ends_a_flood(kind: DriverKind) {
    let server = start(kind, |_| {});
    let mut stream = connect(&server);
    let mut sender = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let piece: Vec<u8> = (0..=250).collect();
        while sender.write_all(&piece).is_ok() {}
    });
    let mut got = vec![0; 100_000];
    stream.read_exact(&mut got).unwrap();
    server.stopper().stop();
    if let Err(error) = stream.read_to_end(&mut got) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    let wrong = got.iter().enumerate().find(|(at, byte)| usize::from(**byte) != at % 251);
    assert_eq!(wrong, None);
    server.join().unwrap();
    // Without a reset, the sender would wait for room until its kernel gives up.
    let _ = stream.shutdown(Shutdown::Both);
    sending.join().unwrap();
}

fn a_drain_gives_idle_peers_time(kind: DriverKind) {
    let server = start(kind, |_| {});
    let (mut idle, mut late) = (connect(&server), connect(&server));
    for stream in [&mut idle, &mut late] {
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
    }
    server.stopper().stop();
    late.write_all(b"one more").unwrap();
    let (mut last, mut nothing) = (Vec::new(), Vec::new());
    late.read_to_end(&mut last).unwrap();
    assert_eq!(last, b"one more");
    idle.read_to_end(&mut nothing).unwrap();
    assert_eq!(nothing, b"");
    drop(late);
    server.join().unwrap();
}
