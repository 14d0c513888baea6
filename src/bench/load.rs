//! The load: many connections that repeatedly request one file, from one thread.
//!
//! The client uses a driver, like the server. It is a *closed loop*: each connection sends its next
//! request, or batch of pipelined requests, after the last answer has arrived, so the server
//! determines the rate. With HTTP/2, each connection has a number of requests in progress, and each
//! answer that ends is followed by the next request. Answers that arrive between two marks are
//! measured. Before the first mark, the server warms up.
//!
//! A client that stays awake asks its driver again and again for what has arrived. The server then
//! never pays for waking it, which is an interrupt to another core and dear in a virtual machine.
//! The time of the waits that find nothing is left out of the CPU time of the client.

mod error;
mod idle;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use super::answers::{AnswerError, Answers};
use super::http2_client::Http2Client;
use super::plan::{BenchProtocol, ClientWait, Shape, TlsHandshake};
use super::tls_client::{AgreedTls, TlsGroups, TlsSlot};
use crate::driver::{
    Chain, Completion, Driver, DriverKind, Limits, Op, Outcome, SendEnd, Sock, Token, Visitor,
};
pub use error::LoadError;
use error::{CONNECT_WAIT, SILENCE_MAX};
use idle::IdleConnections;

/// The longest time of a wait that found nothing. If it takes longer, another thread had the core,
/// and the time is not CPU time of this process.
const IN_VAIN_MAX: Duration = Duration::from_micros(20);

/// The longest latency that the histogram records, in nanoseconds; longer ones count as this.
const LATENCY_MAX: u64 = 60_000_000_000;

/// Maximum number of connections that may end before their answer, per thousand requests. With
/// more, the measurements are not meaningful.
const BROKEN_PER_THOUSAND: u64 = 1;

/// The requests of one trial.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) protocol: BenchProtocol,
    /// The bytes of one request; with HTTP/2, those of its header block.
    pub(super) request: Vec<u8>,
    /// The expected length of each body.
    pub(super) length: u64,
    /// [`Shape::KeepAlive`] with HTTP/2.
    pub(super) shape: Shape,
    /// The expected handshakes; `None` without TLS.
    pub(super) tls: Option<TlsHandshake>,
    pub(super) groups: TlsGroups,
    pub(super) connections: u32,
    /// Connections that are opened first and have one answer each. They have no TLS.
    pub(super) idle: u32,
    pub(super) client: ClientWait,
    /// The time before the first mark. With TLS more, until each connection has an answer: first
    /// handshakes are full, and those of persistent connections are not measured.
    pub(super) warm_up: Duration,
    /// The time between the two marks; more if there is no answer in this time.
    pub(super) time: Duration,
}

/// The measurements of the client.
#[derive(Debug)]
pub(super) struct LoadResult {
    pub(super) requests: u64,
    pub(super) elapsed: Duration,
    /// Nanoseconds from a request to the end of its answer.
    pub(super) latency: Histogram<u64>,
    /// CPU time of this process, without that of waits that found nothing.
    pub(super) client_cpu: Duration,
    /// What handshakes have agreed on; `None` without TLS.
    pub(super) agreed: Option<AgreedTls>,
}

impl Load {
    /// Runs the load on a driver of this kind. Calls `mark` at the beginning and at the end of the
    /// measured time.
    ///
    /// # Errors
    ///
    /// When the driver does not open, a connection cannot be established, or an answer is wrong.
    pub(super) fn run(
        &self,
        kind: DriverKind,
        mark: &mut dyn FnMut() -> io::Result<()>,
    ) -> Result<LoadResult, LoadError> {
        kind.visit(LoadRun { load: self, mark })
    }

    /// The limits of the client's driver. Its buffers are large, so a large body takes few
    /// receives.
    fn limits(&self) -> Limits {
        let sockets_max = self.connections.saturating_mul(2).saturating_add(16);
        Limits { sockets_max, buffers: 256, buffer_bytes: 64 * 1024, ..Limits::default() }
    }
}

/// Runs a load on the driver that it is given; see [`Load::run`].
struct LoadRun<'a> {
    load: &'a Load,
    mark: &'a mut dyn FnMut() -> io::Result<()>,
}

impl Visitor for LoadRun<'_> {
    type Out = Result<LoadResult, LoadError>;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> Self::Out {
        let LoadRun { load, mark } = self;
        let idle = IdleConnections::open(load.address, load.idle, &load.request, load.length)?;
        let driver = open(&load.limits()).map_err(LoadError::Driver)?;
        let mut client = Client::begin(load, driver)?;
        client.run(load.warm_up)?;
        mark().map_err(LoadError::Report)?;
        client.reset_counters();
        let (begun, cpu) = (Instant::now(), cpu_time());
        client.run(load.time)?;
        let (elapsed, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        mark().map_err(LoadError::Report)?;
        let Client { requests, broken, latency, agreed, in_vain, .. } = client;
        drop(idle);
        if broken > requests * BROKEN_PER_THOUSAND / 1000 {
            return Err(LoadError::Broken { broken, requests });
        }
        let client_cpu = cpu.saturating_sub(in_vain);
        Ok(LoadResult { requests, elapsed, latency, client_cpu, agreed })
    }
}

/// The CPU time of this process, whose only work is the load.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// The connections of a load, and the counters of all of them.
struct Client<'a, D> {
    load: &'a Load,
    driver: D,
    requests_at_once: Vec<u8>,
    connections: Vec<ClientConnection>,
    batch: Vec<Completion>,
    requests: u64,
    broken: u64,
    /// Connections with TLS that have not had an answer yet.
    unanswered: u32,
    latency: Histogram<u64>,
    /// The time of waits that found nothing, of a client that stays awake.
    in_vain: Duration,
    agreed: Option<AgreedTls>,
}

/// One of the concurrent connections. When it closes, a new connection replaces it.
struct ClientConnection {
    sock: Sock,
    /// `None` without TLS. It stays when a new connection replaces this one.
    tls: Option<Box<TlsSlot>>,
    /// Whether there has been an answer, on this connection or one before.
    is_answered: bool,
    conversation: Conversation,
    /// When the current requests were sent. For the first ones on a connection, when it was begun:
    /// the time to connect counts as latency. With HTTP/2, each request has a time of its own.
    since: Instant,
    /// The number of answers that have not arrived yet.
    waiting: u32,
    /// `None` while it is in flight.
    chain: Option<Box<Chain>>,
    /// Whether a close has been submitted.
    closing: bool,
}

/// What reads the answers.
enum Conversation {
    Http1(Answers),
    Http2(Box<Http2Client>),
}

impl Conversation {
    fn new(load: &Load) -> Self {
        match load.protocol {
            BenchProtocol::Http1 => Self::Http1(Answers::new(load.length)),
            BenchProtocol::Http2 { streams } => {
                let request = load.request.clone();
                Self::Http2(Box::new(Http2Client::new(request, streams, load.length)))
            }
        }
    }

    /// Takes bytes that have arrived, and returns how many answers they complete.
    fn feed(&mut self, bytes: &[u8]) -> Result<u32, AnswerError> {
        match self {
            Self::Http1(answers) => answers.feed(bytes),
            Self::Http2(client) => client.feed(bytes).map_err(AnswerError::Http2),
        }
    }
}

impl ClientConnection {
    /// Counts answers that have arrived, with their latencies.
    fn record(
        &mut self,
        complete: u32,
        now: Instant,
        latency: &mut Histogram<u64>,
    ) -> Result<(), LoadError> {
        let mut record = |since: Instant, count| {
            let nanoseconds = now.saturating_duration_since(since).as_nanos() as u64;
            latency.saturating_record_n(nanoseconds, count);
        };
        match &mut self.conversation {
            Conversation::Http1(_) => {
                let waiting = self.waiting.checked_sub(complete);
                self.waiting = waiting.ok_or(LoadError::SurplusAnswer)?;
                record(self.since, complete.into());
            }
            Conversation::Http2(client) => {
                client.finished().for_each(|since| record(since, 1));
                self.waiting = client.in_progress() as u32;
            }
        }
        Ok(())
    }

    /// Whether TLS or HTTP/2 has something to send by itself.
    fn has_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_output())
            || matches!(&self.conversation, Conversation::Http2(client) if client.has_output())
    }

    /// Moves it into a chain.
    fn take_output(&mut self, chain: &mut Chain) -> Result<(), LoadError> {
        let mut none = Vec::new();
        let frames = match &mut self.conversation {
            Conversation::Http1(_) => &mut none,
            Conversation::Http2(client) => client.output(),
        };
        match &mut self.tls {
            None => chain.copy(frames),
            Some(tls) => tls.send(frames, chain)?,
        }
        frames.clear();
        Ok(())
    }
}

impl<'a, D: Driver> Client<'a, D> {
    /// Establishes all connections and sends the first requests.
    fn begin(load: &'a Load, driver: D) -> Result<Self, LoadError> {
        let latency =
            Histogram::new_with_bounds(1, LATENCY_MAX, 3).map_err(LoadError::Histogram)?;
        let mut client = Self {
            load,
            driver,
            requests_at_once: load.request.repeat(load.shape.depth() as usize),
            connections: Vec::new(),
            batch: Vec::new(),
            requests: 0,
            broken: 0,
            unanswered: if load.tls.is_some() { load.connections } else { 0 },
            latency,
            in_vain: Duration::ZERO,
            agreed: None,
        };
        for number in 0..load.connections as usize {
            let (since, sock) = client.connect()?;
            let slot = |kind| TlsSlot::new(kind, load.protocol, load.groups, load.address.ip());
            let tls = load.tls.map(slot).transpose()?;
            client.connections.push(ClientConnection {
                sock,
                tls: tls.map(Box::new),
                is_answered: false,
                conversation: Conversation::new(load),
                since,
                waiting: 0,
                chain: Some(Box::default()),
                closing: false,
            });
            client.begin_connection(number, since)?;
        }
        Ok(client)
    }

    fn reset_counters(&mut self) {
        (self.requests, self.broken, self.in_vain) = (0, 0, Duration::ZERO);
        self.latency.reset();
    }

    /// Establishes a connection; returns it and the time when it was begun.
    fn connect(&mut self) -> Result<(Instant, Sock), LoadError> {
        let since = Instant::now();
        let address = self.load.address;
        let stream = TcpStream::connect_timeout(&address, CONNECT_WAIT)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| LoadError::Connect(address, error))?;
        let sock = self.driver.adopt(stream.into()).map_err(LoadError::Adopt)?;
        Ok((since, sock))
    }

    /// Runs the loop for this time, and on until the first answer, with TLS the first one of each
    /// connection: on a busy machine, the server may get no CPU time in a short trial.
    fn run(&mut self, time: Duration) -> Result<(), LoadError> {
        let mut now = Instant::now();
        let (end, mut last_answer, mut last_first) = (now + time, now, now);
        let mut batch = std::mem::take(&mut self.batch);
        while now < end || self.requests == 0 || self.unanswered > 0 {
            let left = match self.load.client {
                ClientWait::Awake => Duration::ZERO,
                ClientWait::Asleep if now < end => end - now,
                ClientWait::Asleep => SILENCE_MAX,
            };
            self.driver.wait(Some(left), &mut batch).map_err(LoadError::Wait)?;
            let (before, unanswered) = (self.requests, self.unanswered);
            let is_in_vain = batch.is_empty() && left.is_zero();
            for completion in batch.drain(..) {
                self.complete(completion)?;
            }
            let begun = std::mem::replace(&mut now, Instant::now());
            if is_in_vain {
                self.in_vain += (now - begun).min(IN_VAIN_MAX);
            }
            if self.requests > before {
                last_answer = now;
            } else if now - last_answer > SILENCE_MAX {
                return Err(LoadError::Silence);
            }
            if self.unanswered < unanswered {
                last_first = now;
            } else if self.unanswered > 0 && now - last_first > SILENCE_MAX {
                return Err(LoadError::Unanswered(self.unanswered));
            }
        }
        self.batch = batch;
        Ok(())
    }

    fn complete(&mut self, completion: Completion) -> Result<(), LoadError> {
        let number = completion.token.0 as usize;
        let Some(connection) = self.connections.get_mut(number) else { return Ok(()) };
        match completion.outcome {
            Outcome::Received(Ok(Some(bytes))) => {
                let ClientConnection { tls, conversation, .. } = connection;
                let complete = match tls {
                    None => conversation.feed(&bytes)?,
                    Some(tls) => tls.receive(&bytes, |bytes| conversation.feed(bytes))?,
                };
                self.answered(number, complete)?;
                self.flush(number)?;
            }
            Outcome::Received(_) => self.close(number),
            Outcome::Sent(sent, chain) => {
                connection.chain = Some(chain);
                if sent.is_err() {
                    self.close(number);
                    return Ok(());
                }
                self.request_again(number, Instant::now())?;
                self.flush(number)?;
            }
            Outcome::Closed => {
                let (since, sock) = self.connect()?;
                let connection = &mut self.connections[number];
                (connection.sock, connection.closing) = (sock, false);
                if let Conversation::Http1(answers) = &mut connection.conversation {
                    answers.restart();
                }
                if let Some(tls) = &mut connection.tls {
                    tls.restart(connection.is_answered && connection.waiting == 0)?;
                }
                self.begin_connection(number, since)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Arms the receive of a new connection and sends the first requests.
    fn begin_connection(&mut self, number: usize, since: Instant) -> Result<(), LoadError> {
        let op = Op::RecvMany { sock: self.connections[number].sock };
        self.driver.submit(Token(number as u64), op);
        let connection = &mut self.connections[number];
        if let Conversation::Http2(client) = &mut connection.conversation {
            client.begin(since)?;
            connection.waiting = client.in_progress() as u32;
            return self.flush(number);
        }
        self.send(number, since)
    }

    /// Counts answers that have arrived on a connection, and sends its next requests.
    fn answered(&mut self, number: usize, complete: u32) -> Result<(), LoadError> {
        if complete == 0 {
            return Ok(());
        }
        let (now, connection) = (Instant::now(), &mut self.connections[number]);
        connection.record(complete, now, &mut self.latency)?;
        if !std::mem::replace(&mut connection.is_answered, true) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        if self.agreed.is_none() {
            self.agreed = connection.tls.as_ref().and_then(|tls| tls.agreed());
        }
        self.requests += u64::from(complete);
        self.request_again(number, now)
    }

    /// Sends the next requests if all answers have arrived and the connection persists. With
    /// HTTP/2, makes those for which there is room; [`Self::flush`] sends them.
    fn request_again(&mut self, number: usize, now: Instant) -> Result<(), LoadError> {
        let connection = &mut self.connections[number];
        if let Conversation::Http2(client) = &mut connection.conversation {
            client.request(now)?;
            connection.waiting = client.in_progress() as u32;
            return Ok(());
        }
        // With `Shape::Close` the client waits until the server closes the connection.
        if connection.waiting == 0 && !connection.closing && self.load.shape != Shape::Close {
            self.send(number, now)?;
        }
        Ok(())
    }

    fn send(&mut self, number: usize, since: Instant) -> Result<(), LoadError> {
        let connection = &mut self.connections[number];
        // The answer may complete before the send of its request. The completion of the send then
        // calls this again.
        let Some(mut chain) = connection.chain.take() else { return Ok(()) };
        chain.clear();
        match &mut connection.tls {
            None => chain.copy(&self.requests_at_once),
            Some(tls) => tls.send(&self.requests_at_once, &mut chain)?,
        }
        (connection.since, connection.waiting) = (since, self.load.shape.depth());
        let op = Op::Send { sock: connection.sock, chain, end: SendEnd::Open };
        self.driver.submit(Token(number as u64), op);
        Ok(())
    }

    /// Sends what TLS has to say by itself, such as the end of a handshake with the requests that
    /// waited for it, and the frames of HTTP/2.
    fn flush(&mut self, number: usize) -> Result<(), LoadError> {
        let connection = &mut self.connections[number];
        if connection.closing || !connection.has_output() {
            return Ok(());
        }
        // The completion of the send that is in flight calls this again.
        let Some(mut chain) = connection.chain.take() else { return Ok(()) };
        chain.clear();
        connection.take_output(&mut chain)?;
        if chain.is_empty() {
            // TLS keeps the frames until the end of its handshake.
            connection.chain = Some(chain);
            return Ok(());
        }
        let op = Op::Send { sock: connection.sock, chain, end: SendEnd::Open };
        self.driver.submit(Token(number as u64), op);
        Ok(())
    }

    /// Closes a connection. Its last completion establishes the next one.
    fn close(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if !std::mem::replace(&mut connection.closing, true) {
            self.broken += u64::from(connection.waiting > 0);
            let op = Op::Close { sock: connection.sock, reset: false };
            self.driver.submit(Token(number as u64), op);
        }
    }
}

#[cfg(test)]
mod tests;
