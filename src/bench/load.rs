//! The load: many connections that ask for one file again and again, from one thread.
//!
//! The client is built on a driver, like the server. Each of its connections has one exchange in
//! hand at a time (a *closed loop*): the next request follows the answer, so the server decides
//! the pace. What is measured is whatever ends between two marks; between the beginning and the
//! first mark, the server warms up.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use super::answers::Answers;
use super::plan::Shape;
use crate::driver::{
    Chain, Completion, Driver, DriverKind, Limits, Op, Outcome, Sock, Token, Visitor,
};

/// How long the server may leave all connections without an answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long a connection may take to be made.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The longest latency that is told apart, in nanoseconds; longer ones count as this.
const LATENCY_MAX: u64 = 60_000_000_000;

/// Connections that may end before their answer, for each thousand requests: above that, the
/// figures mean little.
const BROKEN_PER_THOUSAND: u64 = 1;

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    /// One request, as it is sent.
    pub(super) request: Vec<u8>,
    /// Bytes of the body of each answer.
    pub(super) length: u64,
    pub(super) shape: Shape,
    pub(super) connections: u32,
    /// Before the first mark.
    pub(super) warm_up: Duration,
    /// From the first mark to the second.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// Nanoseconds from a request to the end of its answer.
    pub(super) latency: Histogram<u64>,
    /// The share of one CPU that this process took.
    pub(super) client_busy: f64,
}

/// Why a load came to nothing.
#[derive(Debug)]
pub(super) struct LoadError(String);

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for LoadError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Load {
    /// Loads the server from a client on a driver of this kind; `mark` is called twice.
    ///
    /// # Errors
    ///
    /// When the driver does not open, no connection is made, or an answer is wrong.
    pub(super) fn run(
        &self,
        kind: DriverKind,
        mark: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<Outcomes, LoadError> {
        kind.visit(Run { load: self, mark })
    }

    /// Bounds for as many connections, with buffers that a large body fills in few pieces.
    fn limits(&self) -> Limits {
        let sockets_max = self.connections.saturating_mul(2).saturating_add(16);
        Limits { sockets_max, buffers: 256, buffer_bytes: 64 * 1024, ..Limits::default() }
    }
}

/// A load that waits for its driver.
struct Run<'a> {
    load: &'a Load,
    mark: &'a mut dyn FnMut() -> io::Result<()>,
}

impl Visitor for Run<'_> {
    type Out = Result<Outcomes, LoadError>;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> Self::Out {
        let Run { load, mark } = self;
        let driver = open(&load.limits())
            .map_err(|error| format!("the client has no driver: {error}; see --client-driver"))?;
        let mut client = Client::begin(load, driver)?;
        let marked = |error: io::Error| format!("the server does not report: {error}");
        client.run(load.warm_up)?;
        mark().map_err(marked)?;
        client.forget();
        let (begun, cpu) = (Instant::now(), cpu_time());
        client.run(load.time)?;
        let (elapsed, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        mark().map_err(marked)?;
        let Client { requests, broken, latency, .. } = client;
        if requests == 0 {
            return Err(LoadError(format!("no answer came within {:?}; give --time", load.time)));
        }
        if broken > requests * BROKEN_PER_THOUSAND / 1000 {
            return Err(LoadError(format!(
                "{broken} of {requests} connections ended before their answer"
            )));
        }
        let client_busy = cpu.as_secs_f64() / elapsed.as_secs_f64();
        Ok(Outcomes { requests, elapsed, latency, client_busy })
    }
}

/// The CPU time of this process, which loads and does nothing else.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// Connections on a driver, and what they have counted.
struct Client<'a, D> {
    load: &'a Load,
    driver: D,
    requests_at_once: Vec<u8>,
    peers: Vec<Peer>,
    batch: Vec<Completion>,
    requests: u64,
    broken: u64,
    latency: Histogram<u64>,
}

/// One connection after the other, of which each takes the place of the one before.
struct Peer {
    sock: Sock,
    answers: Answers,
    /// When the requests in hand were sent; the first one's connection belongs to it.
    since: Instant,
    /// Answers that are still to come.
    waiting: u32,
    /// `None` while it is being sent.
    chain: Option<Box<Chain>>,
    /// Whether the close was submitted.
    closing: bool,
}

impl<'a, D: Driver> Client<'a, D> {
    /// Makes all connections, and sends the first requests.
    fn begin(load: &'a Load, driver: D) -> Result<Self, LoadError> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX, 3)
            .map_err(|error| format!("the client has no histogram: {error}"))?;
        let mut client = Self {
            load,
            driver,
            requests_at_once: load.request.repeat(load.shape.depth() as usize),
            peers: Vec::new(),
            batch: Vec::new(),
            requests: 0,
            broken: 0,
            latency,
        };
        for number in 0..load.connections as usize {
            let (since, sock) = client.connect()?;
            client.peers.push(Peer {
                sock,
                answers: Answers::new(load.length),
                since,
                waiting: 0,
                chain: Some(Box::default()),
                closing: false,
            });
            client.ask_first(number, since);
        }
        Ok(client)
    }

    /// Forgets what was counted.
    fn forget(&mut self) {
        (self.requests, self.broken) = (0, 0);
        self.latency.reset();
    }

    /// A new connection, and when it was begun.
    fn connect(&mut self) -> Result<(Instant, Sock), LoadError> {
        let since = Instant::now();
        let address = self.load.address;
        let stream = TcpStream::connect_timeout(&address, CONNECT_WAIT)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| format!("no connection to {address}: {error}"))?;
        let sock = self
            .driver
            .adopt(stream.into())
            .map_err(|error| format!("the client has no room for a connection: {error}"))?;
        Ok((since, sock))
    }

    /// Goes on for this long.
    fn run(&mut self, time: Duration) -> Result<(), LoadError> {
        let mut now = Instant::now();
        let (end, mut heard) = (now + time, now);
        let mut batch = std::mem::take(&mut self.batch);
        while now < end {
            let broken = |error: io::Error| format!("the client's driver is broken: {error}");
            self.driver.wait(Some(end - now), &mut batch).map_err(broken)?;
            let before = self.requests;
            for completion in batch.drain(..) {
                self.complete(completion)?;
            }
            now = Instant::now();
            if self.requests > before {
                heard = now;
            } else if now - heard > SILENCE_MAX {
                return Err(LoadError(format!("no answer came in {SILENCE_MAX:?}")));
            }
        }
        self.batch = batch;
        Ok(())
    }

    fn complete(&mut self, completion: Completion) -> Result<(), LoadError> {
        let number = completion.token.0 as usize;
        let Some(peer) = self.peers.get_mut(number) else { return Ok(()) };
        match completion.outcome {
            Outcome::Received(Ok(Some(bytes))) => {
                let complete = peer.answers.feed(&bytes)?;
                if complete == 0 {
                    return Ok(());
                }
                peer.waiting = peer
                    .waiting
                    .checked_sub(complete)
                    .ok_or_else(|| "an answer came that nobody had asked for".to_owned())?;
                let now = Instant::now();
                let nanoseconds = (now - peer.since).as_nanos() as u64;
                self.latency.saturating_record_n(nanoseconds, complete.into());
                self.requests += u64::from(complete);
                self.ask(number, now);
            }
            Outcome::Received(_) => self.close(number),
            Outcome::Sent(sent, chain) => {
                peer.chain = Some(chain);
                match sent {
                    Ok(()) => self.ask(number, Instant::now()),
                    Err(_) => self.close(number),
                }
            }
            Outcome::Closed => {
                let (since, sock) = self.connect()?;
                let peer = &mut self.peers[number];
                (peer.sock, peer.closing) = (sock, false);
                peer.answers.restart();
                self.ask_first(number, since);
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks on a new connection.
    fn ask_first(&mut self, number: usize, since: Instant) {
        let op = Op::RecvMany { sock: self.peers[number].sock };
        self.driver.submit(Token(number as u64), op);
        self.send(number, since);
    }

    /// Asks again, if all answers are there and the connection is one that goes on.
    fn ask(&mut self, number: usize, now: Instant) {
        let peer = &self.peers[number];
        // What closes is closed by the server first, which the client waits for.
        if peer.waiting == 0 && !peer.closing && self.load.shape != Shape::Close {
            self.send(number, now);
        }
    }

    fn send(&mut self, number: usize, since: Instant) {
        let peer = &mut self.peers[number];
        // An answer may be there before it is told that its request has been sent.
        let Some(mut chain) = peer.chain.take() else { return };
        chain.clear();
        chain.copy(&self.requests_at_once);
        (peer.since, peer.waiting) = (since, self.load.shape.depth());
        let op = Op::Send { sock: peer.sock, chain, fin: false };
        self.driver.submit(Token(number as u64), op);
    }

    /// Ends a connection; another one follows.
    fn close(&mut self, number: usize) {
        let peer = &mut self.peers[number];
        if !std::mem::replace(&mut peer.closing, true) {
            self.broken += u64::from(peer.waiting > 0);
            let op = Op::Close { sock: peer.sock, reset: false };
            self.driver.submit(Token(number as u64), op);
        }
    }
}
