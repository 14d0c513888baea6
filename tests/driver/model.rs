//! Random ops from a seed, checked against a model of the contract.
//!
//! The model knows which ops are in flight, which leases are held, and which bytes each side of
//! each connection may see. Streams are checked by position, so a byte that is lost, repeated or
//! sent to the wrong connection is found where it happens. A failure prints the command that
//! replays it; `RINGD_TEST_SEEDS=1000` runs more seeds.

use std::collections::{HashMap, HashSet};
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ringd::driver::{
    Chain, Completion, File, Lease, Limits, Op, OpId, Outcome, SendEnd, Sock, Token, is_cancelled,
};

use crate::harness::*;
use crate::subject::{Dial, Files, Peer, Subject};

/// Seeds per subject, and steps per seed.
const SEEDS: u64 = 6;
const DRAWS: usize = 250;
const CONNECTIONS_MAX: usize = 6;

pub(crate) fn random_ops_follow_the_model<S: Subject>() {
    let variable = |name| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
    };
    let first = variable("RINGD_TEST_SEED");
    let count = variable("RINGD_TEST_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    for seed in first..first + count {
        let printer = SeedPrinter(seed);
        World::<S>::new(seed).run();
        std::mem::forget(printer);
    }
}

/// Prints the seed when a test panics.
struct SeedPrinter(u64);

impl Drop for SeedPrinter {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        let seed = self.0;
        println!("replay with: RINGD_TEST_SEED={seed} cargo test --test driver -- --exact {name}");
    }
}

/// The kind of an op in flight, which decides its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OpKind {
    Accept,
    Receive(usize),
    /// The connection, and the length of its stream before this send.
    Send(usize, usize),
    Read {
        offset: usize,
        room: usize,
    },
    Open,
    Close(usize),
}

/// One connection: both ends, and what they may see.
struct Connection<P> {
    sock: Option<Sock>,
    peer: Option<P>,
    receiving: Option<OpId>,
    sending: Option<OpId>,
    /// Bytes submitted for sending, without those that a failed send left over.
    down: Vec<u8>,
    /// How many of them the peer has read.
    down_seen: usize,
    /// Bytes that the peer has written, and how many of them were received.
    up: Vec<u8>,
    up_seen: usize,
    /// The driver has ended its output; the peer has ended its own.
    fin: bool,
    half_closed: bool,
    /// A send failed, the peer reset the connection, or the socket was closed: bytes may be lost.
    torn: bool,
}

impl<P> Connection<P> {
    /// If the test holds no peer, the connection counts as torn.
    fn new(sock: Option<Sock>, peer: Option<P>) -> Self {
        let torn = peer.is_none();
        Self {
            sock,
            peer,
            receiving: None,
            sending: None,
            down: Vec::new(),
            down_seen: 0,
            up: Vec::new(),
            up_seen: 0,
            fin: false,
            half_closed: false,
            torn,
        }
    }

    fn is_unfinished(&self) -> bool {
        !self.torn
            && (self.sending.is_some()
                || self.down_seen < self.down.len()
                || self.up_seen < self.up.len())
    }
}

struct World<S: Subject> {
    random: Rng,
    driver: S,
    listener: Sock,
    accepting: Option<OpId>,
    dialer: S::Dialer,
    /// Peers whose connection is not accepted yet.
    waiting: usize,
    connections: Vec<Connection<S::Peer>>,
    files: S::Files,
    file: Arc<File>,
    content: Vec<u8>,
    ops: HashMap<Token, OpKind>,
    /// All ops so far, because a cancel may name any of them.
    names: Vec<(OpId, Token)>,
    /// Ops that were cancelled: no other op may end as cancelled.
    cancelled: HashSet<Token>,
    leases: Vec<Lease>,
    /// Leases in the chains of sends, by token.
    lent: HashMap<Token, usize>,
    tokens: u64,
    wakes: usize,
}

impl<S: Subject> World<S> {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let limits = Limits {
            buffers: 1 << random.u8(1..6),
            buffer_bytes: [64, 1000, 4096][random.usize(..3)],
            turn_bytes_max: [5000, 1 << 20][random.usize(..2)],
            ..limits()
        };
        let mut driver = S::open(&limits).unwrap();
        let (listener, dialer) = driver.listen();
        let content = pattern(100_000);
        let files = driver.files();
        files.write("file", &content);
        let file = files.open("file");
        Self {
            random,
            driver,
            listener,
            accepting: None,
            dialer,
            waiting: 0,
            connections: Vec::new(),
            files,
            file,
            content,
            ops: HashMap::new(),
            names: Vec::new(),
            cancelled: HashSet::new(),
            leases: Vec::new(),
            lent: HashMap::new(),
            tokens: 0,
            wakes: 0,
        }
    }

    fn run(mut self) {
        for _ in 0..DRAWS {
            self.draw();
            self.assert_counts();
        }
        self.finish();
    }

    fn draw(&mut self) {
        let number = self.random.usize(..CONNECTIONS_MAX);
        match self.random.u8(..30) {
            0 | 1 if self.connections.len() < CONNECTIONS_MAX => {
                let (sock, peer) = connect(&mut self.driver);
                self.adopt(sock, peer);
            }
            2 if self.accepting.is_none() => {
                let op = Op::AcceptMany { listener: self.listener };
                self.accepting = Some(self.submit(OpKind::Accept, op));
            }
            // The peer is dropped, because an accepted socket does not show whose it is.
            3 if self.waiting < 3 => {
                self.waiting += 1;
                drop(self.dialer.dial().unwrap());
            }
            4..=7 => self.receive(number),
            8..=10 => self.send(number),
            11..=14 => self.peer_writes(number),
            15..=18 => self.peer_reads(number),
            19 if self.random.u8(..4) == 0 => self.peer_leaves(number),
            20 if self.random.u8(..3) == 0 => self.close(number),
            21 => self.read(),
            22 => {
                let op = Op::OpenFile { root: self.files.root(), path: c"file".into() };
                self.submit(OpKind::Open, op);
            }
            23 if !self.names.is_empty() => {
                let any = self.random.usize(..self.names.len());
                self.cancel(any);
            }
            24 if !self.names.is_empty() => self.cancel(self.names.len() - 1),
            25 => {
                self.wakes = 1;
                self.driver.waker().wake();
            }
            _ => {
                let timeout = [0, 100, 1000][self.random.usize(..3)];
                self.wait(Duration::from_micros(timeout));
            }
        }
    }

    fn cancel(&mut self, number: usize) {
        let (name, token) = self.names[number];
        self.driver.cancel(name);
        self.cancelled.insert(token);
    }

    fn adopt(&mut self, sock: Sock, mut peer: S::Peer) {
        peer.set_nonblocking(true);
        self.connections.push(Connection::new(Some(sock), Some(peer)));
    }

    fn submit(&mut self, kind: OpKind, op: Op) -> OpId {
        self.tokens += 1;
        let token = Token(self.tokens);
        let name = self.driver.submit(token, op);
        self.ops.insert(token, kind);
        self.names.push((name, token));
        name
    }

    fn receive(&mut self, number: usize) {
        let Some(connection) = self.connections.get(number) else { return };
        if let (Some(sock), None) = (connection.sock, connection.receiving) {
            let name = self.submit(OpKind::Receive(number), Op::RecvMany { sock });
            self.connections[number].receiving = Some(name);
        }
    }

    fn send(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let (Some(sock), None, false) = (connection.sock, connection.sending, connection.fin)
        else {
            return;
        };
        let mut chain = Box::new(Chain::new());
        let (before, mut lent) = (connection.down.len(), 0);
        for _ in 0..self.random.usize(..4) {
            let start = self.random.usize(..self.content.len());
            let end = self.content.len().min(start + self.random.usize(..60_000));
            let bytes = &self.content[start..end];
            match self.random.u8(..4) {
                0 => chain.copy(bytes),
                1 => chain.share(&std::rc::Rc::from(bytes)),
                2 => chain.file(&self.file, start as u64..end as u64),
                _ => {
                    let Some(lease) = self.leases.pop() else { continue };
                    connection.down.extend_from_slice(&lease);
                    chain.lend(lease);
                    lent += 1;
                    continue;
                }
            }
            connection.down.extend_from_slice(bytes);
        }
        let end = if self.random.u8(..10) == 0 { SendEnd::HalfClose } else { SendEnd::Open };
        connection.fin |= end == SendEnd::HalfClose;
        let name = self.submit(OpKind::Send(number, before), Op::Send { sock, chain, end });
        self.connections[number].sending = Some(name);
        self.lent.insert(Token(self.tokens), lent);
    }

    fn read(&mut self) {
        let offset = self.random.usize(..self.content.len() + 100);
        let buffer = Vec::with_capacity(self.random.usize(..50_000));
        let kind = OpKind::Read { offset, room: buffer.capacity() };
        let file = Arc::clone(&self.file);
        self.submit(kind, Op::ReadFile { file, offset: offset as u64, buffer });
    }

    fn close(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let Some(sock) = connection.sock.take() else { return };
        connection.torn = true;
        let reset = self.random.bool();
        self.submit(OpKind::Close(number), Op::Close { sock, reset });
    }

    fn peer_writes(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let (Some(peer), false) = (&mut connection.peer, connection.half_closed) else { return };
        let start = self.random.usize(..self.content.len());
        let end = self.content.len().min(start + self.random.usize(1..20_000));
        match peer.write(&self.content[start..end]) {
            Ok(count) => connection.up.extend_from_slice(&self.content[start..start + count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => assert!(connection.torn, "the connection is intact: {error}"),
        }
    }

    fn peer_reads(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let Some(peer) = &mut connection.peer else { return };
        let mut buffer = vec![0; self.random.usize(1..100_000)];
        match peer.read(&mut buffer) {
            Ok(0) => assert!(connection.fin || connection.torn, "an end without a cause"),
            Ok(count) => {
                let end = connection.down_seen + count;
                // A failed send reports how much it sent, so the bound is exact.
                assert!(end <= connection.down.len(), "more than was sent");
                assert!(connection.down[connection.down_seen..end] == buffer[..count]);
                connection.down_seen = end;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => assert!(connection.torn, "the connection is intact: {error}"),
        }
    }

    fn peer_leaves(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let Some(peer) = connection.peer.take() else { return };
        if self.random.bool() {
            peer.half_close();
            connection.half_closed = true;
            connection.peer = Some(peer);
            return;
        }
        connection.torn = true;
        if self.random.bool() { peer.reset() } else { drop(peer) }
    }

    fn wait(&mut self, timeout: Duration) {
        let mut all = Vec::new();
        self.driver.wait(Some(timeout), &mut all).unwrap();
        for completion in all {
            self.complete(completion);
        }
        // Some leases are returned at once, some later.
        while !self.leases.is_empty() && self.random.bool() {
            let any = self.random.usize(..self.leases.len());
            self.leases.swap_remove(any);
        }
    }

    fn complete(&mut self, Completion { token, more, outcome }: Completion) {
        if token == Token::WAKE {
            assert!(matches!(outcome, Outcome::Woken) && !more);
            assert_eq!(std::mem::take(&mut self.wakes), 1, "a wake without a cause");
            return;
        }
        let kind = *self.ops.get(&token).expect("the op is not in flight");
        if !more {
            self.ops.remove(&token);
            self.lent.remove(&token);
        }
        let was_cancelled = self.cancelled.contains(&token);
        let may_fail = |error: &std::io::Error| was_cancelled && is_cancelled(error);
        match (kind, outcome) {
            (OpKind::Accept, Outcome::Accepted(result)) => {
                assert!(result.as_ref().err().is_none_or(may_fail), "{result:?}");
                self.accepted(result, more);
            }
            (OpKind::Receive(number), Outcome::Received(result)) => {
                let is_well = result.as_ref().err().is_none_or(may_fail);
                assert!(is_well || self.connections[number].torn, "{result:?}");
                self.received(number, result, more);
            }
            (OpKind::Send(number, before), Outcome::Sent(result, chain)) if !more => {
                let is_well = result.as_ref().err().is_none_or(may_fail);
                assert!(is_well || self.connections[number].torn, "{result:?}");
                self.sent(number, before, result, &chain);
            }
            (OpKind::Read { offset, room }, Outcome::FileRead(result, buffer)) if !more => {
                let start = offset.min(self.content.len());
                let end = self.content.len().min(start + room);
                match result {
                    Ok(count) => {
                        assert_eq!(count, buffer.len());
                        assert!(buffer == self.content[start..end]);
                    }
                    Err(error) => assert!(may_fail(&error), "{error}"),
                }
            }
            (OpKind::Open, Outcome::Opened(result)) if !more => match result {
                Ok(file) => assert_eq!(file.metadata().len, self.content.len() as u64),
                Err(error) => assert!(may_fail(&error), "{error}"),
            },
            (OpKind::Close(number), Outcome::Closed) if !more => {
                let connection = &self.connections[number];
                let others = (connection.receiving, connection.sending);
                assert_eq!(others, (None, None), "closed before its other ops were over");
            }
            (kind, outcome) => panic!("{kind:?} completed with {outcome:?}"),
        }
    }

    fn accepted(&mut self, result: std::io::Result<Sock>, more: bool) {
        match result {
            Ok(sock) => {
                assert!(more && self.waiting > 0, "accepted without a client");
                self.waiting -= 1;
                self.connections.push(Connection::new(Some(sock), None));
            }
            Err(error) => {
                assert!(!more, "the accept continues after {error}");
                self.accepting = None;
            }
        }
    }

    fn received(&mut self, number: usize, result: std::io::Result<Option<Lease>>, more: bool) {
        let connection = &mut self.connections[number];
        if !more {
            connection.receiving = None;
        }
        match result {
            Ok(Some(lease)) => {
                assert!(more && !lease.is_empty());
                let end = connection.up_seen + lease.len();
                assert!(end <= connection.up.len(), "more than the peer has written");
                assert!(connection.up[connection.up_seen..end] == *lease);
                connection.up_seen = end;
                self.leases.push(lease);
            }
            Ok(None) => {
                assert!(!more && (connection.half_closed || connection.torn));
                assert!(connection.torn || connection.up_seen == connection.up.len());
            }
            Err(error) => assert!(!more, "the receive continues after {error}"),
        }
    }

    fn sent(&mut self, number: usize, before: usize, result: std::io::Result<()>, chain: &Chain) {
        let connection = &mut self.connections[number];
        connection.sending = None;
        let left = chain.remaining() as usize;
        match result {
            Ok(()) => assert_eq!(left, 0),
            Err(_) => {
                let length = connection.down.len() - left;
                assert!(length >= before && length >= connection.down_seen);
                connection.down.truncate(length);
                // A send that failed did not send its end.
                connection.fin = false;
            }
        }
    }

    fn assert_counts(&mut self) {
        assert_eq!(self.driver.in_flight(), self.ops.len());
        let lent: usize = self.lent.values().sum();
        assert_eq!(self.driver.leased(), self.leases.len() + lent);
    }

    /// Waits for everything that can still arrive, then closes everything.
    fn finish(mut self) {
        let deadline = Instant::now() + WAIT_MAX;
        for number in 0..self.connections.len() {
            while self.connections[number].is_unfinished() {
                assert!(Instant::now() < deadline, "connection {number} is stuck");
                self.leases.clear();
                self.receive(number);
                self.peer_reads(number);
                self.wait(Duration::from_millis(1));
            }
        }
        for number in 0..self.connections.len() {
            self.close(number);
        }
        let accepts = self.ops.iter().filter(|(_, kind)| **kind == OpKind::Accept);
        self.cancelled.extend(accepts.map(|(token, _)| *token));
        let op = Op::Close { sock: self.listener, reset: false };
        self.connections.push(Connection::new(None, None));
        self.submit(OpKind::Close(self.connections.len() - 1), op);
        while !self.ops.is_empty() {
            assert!(Instant::now() < deadline, "stuck with {:?}", self.ops);
            self.wait(Duration::from_millis(1));
        }
        self.leases.clear();
        assert_home(&self.driver);
        assert_eq!(Arc::strong_count(&self.file), 1);
    }
}
