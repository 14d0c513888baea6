//! The load: many connections that repeatedly request one file, from one thread.
//!
//! The client uses a driver, like the server. It is a *closed loop*: each connection sends its next
//! request, or batch of pipelined requests, after the last answer has arrived, so the server
//! determines the rate. Answers that arrive between two marks are measured. Before the first mark,
//! the server warms up.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use super::answers::{AnswerError, Answers};
use super::plan::{Shape, TlsHandshake};
use super::tls_client::{AgreedTls, ClientTlsError, TlsSlot};
use crate::driver::{
    Chain, Completion, Driver, DriverKind, Limits, Op, Outcome, SendEnd, Sock, Token, Visitor,
};

/// After this time without any answer, the load fails.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Timeout for establishing a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The longest latency that the histogram records, in nanoseconds; longer ones count as this.
const LATENCY_MAX: u64 = 60_000_000_000;

/// Maximum number of connections that may end before their answer, per thousand requests. With
/// more, the measurements are not meaningful.
const BROKEN_PER_THOUSAND: u64 = 1;

/// The requests of one trial.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    /// The bytes of one request.
    pub(super) request: Vec<u8>,
    /// The expected length of each body.
    pub(super) length: u64,
    pub(super) shape: Shape,
    /// The expected handshakes; `None` without TLS.
    pub(super) tls: Option<TlsHandshake>,
    pub(super) connections: u32,
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
    /// CPU time of this process as a share of one core.
    pub(super) client_busy: f64,
    /// What handshakes have agreed on; `None` without TLS.
    pub(super) agreed: Option<AgreedTls>,
}

/// Why a load failed.
#[derive(Debug)]
pub enum LoadError {
    /// The driver of the client does not open.
    Driver(io::Error),
    /// The driver of the client failed.
    Wait(io::Error),
    /// The histogram of latencies cannot be created.
    Histogram(hdrhistogram::CreationError),
    /// A connection cannot be established.
    Connect(SocketAddr, io::Error),
    /// The driver cannot take another connection.
    Adopt(io::Error),
    /// The server does not report what it has used.
    Report(io::Error),
    /// An answer is not the expected one.
    Answer(AnswerError),
    /// TLS failed, or a handshake is not the expected one.
    Tls(Box<ClientTlsError>),
    /// More answers than requests arrived.
    SurplusAnswer,
    /// No answer arrived on any connection for a long time.
    Silence,
    /// This many connections got no first answer for a long time.
    Unanswered(u32),
    /// Too many connections ended before their answer.
    Broken {
        /// Connections that ended before their answer.
        broken: u64,
        /// Answers that arrived.
        requests: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => write!(
                f,
                "the driver of the client does not open: {error}; choose another one with \
                 --client-driver"
            ),
            Self::Wait(error) => write!(f, "the driver of the client failed: {error}"),
            Self::Histogram(error) => {
                write!(f, "cannot create the histogram of latencies: {error}")
            }
            Self::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::Adopt(error) => write!(
                f,
                "the client cannot take another connection: {error}; use fewer --connections"
            ),
            Self::Report(error) => write!(f, "the server does not report its CPU time: {error}"),
            Self::Answer(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::SurplusAnswer => f.write_str("the server sent more answers than requested"),
            Self::Silence => write!(f, "no answer arrived within {SILENCE_MAX:?}"),
            Self::Unanswered(count) => write!(
                f,
                "{count} connections got no first answer within {SILENCE_MAX:?}; use fewer \
                 --connections"
            ),
            Self::Broken { broken, requests } => {
                write!(
                    f,
                    "{broken} connections ended before their answer, after {requests} answers"
                )
            }
        }
    }
}

impl From<AnswerError> for LoadError {
    fn from(error: AnswerError) -> Self {
        Self::Answer(error)
    }
}

impl From<ClientTlsError> for LoadError {
    fn from(error: ClientTlsError) -> Self {
        match error {
            ClientTlsError::Answer(error) => Self::Answer(error),
            error => Self::Tls(Box::new(error)),
        }
    }
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
        let driver = open(&load.limits()).map_err(LoadError::Driver)?;
        let mut client = Client::begin(load, driver)?;
        client.run(load.warm_up)?;
        mark().map_err(LoadError::Report)?;
        client.reset_counters();
        let (begun, cpu) = (Instant::now(), cpu_time());
        client.run(load.time)?;
        let (elapsed, cpu) = (begun.elapsed(), cpu_time().saturating_sub(cpu));
        mark().map_err(LoadError::Report)?;
        let Client { requests, broken, latency, agreed, .. } = client;
        if broken > requests * BROKEN_PER_THOUSAND / 1000 {
            return Err(LoadError::Broken { broken, requests });
        }
        let client_busy = cpu.as_secs_f64() / elapsed.as_secs_f64();
        Ok(LoadResult { requests, elapsed, latency, client_busy, agreed })
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
    agreed: Option<AgreedTls>,
}

/// One of the concurrent connections. When it closes, a new connection replaces it.
struct ClientConnection {
    sock: Sock,
    /// `None` without TLS. It stays when a new connection replaces this one.
    tls: Option<Box<TlsSlot>>,
    /// Whether there has been an answer, on this connection or one before.
    is_answered: bool,
    answers: Answers,
    /// When the current requests were sent. For the first ones on a connection, when it was begun:
    /// the time to connect counts as latency.
    since: Instant,
    /// The number of answers that have not arrived yet.
    waiting: u32,
    /// `None` while it is in flight.
    chain: Option<Box<Chain>>,
    /// Whether a close has been submitted.
    closing: bool,
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
            agreed: None,
        };
        for number in 0..load.connections as usize {
            let (since, sock) = client.connect()?;
            let tls = load.tls.map(|kind| TlsSlot::new(kind, load.address.ip())).transpose()?;
            client.connections.push(ClientConnection {
                sock,
                tls: tls.map(Box::new),
                is_answered: false,
                answers: Answers::new(load.length),
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
        (self.requests, self.broken) = (0, 0);
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
            let left = if now < end { end - now } else { SILENCE_MAX };
            self.driver.wait(Some(left), &mut batch).map_err(LoadError::Wait)?;
            let (before, unanswered) = (self.requests, self.unanswered);
            for completion in batch.drain(..) {
                self.complete(completion)?;
            }
            now = Instant::now();
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
                let complete = match &mut connection.tls {
                    None => connection.answers.feed(&bytes)?,
                    Some(tls) => tls.receive(&bytes, &mut connection.answers)?,
                };
                self.flush(number)?;
                self.answered(number, complete)?;
            }
            Outcome::Received(_) => self.close(number),
            Outcome::Sent(sent, chain) => {
                connection.chain = Some(chain);
                if sent.is_err() {
                    self.close(number);
                    return Ok(());
                }
                self.flush(number)?;
                self.request_again(number, Instant::now())?;
            }
            Outcome::Closed => {
                let (since, sock) = self.connect()?;
                let connection = &mut self.connections[number];
                (connection.sock, connection.closing) = (sock, false);
                connection.answers.restart();
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
        self.send(number, since)
    }

    /// Counts answers that have arrived on a connection, and sends its next requests.
    fn answered(&mut self, number: usize, complete: u32) -> Result<(), LoadError> {
        if complete == 0 {
            return Ok(());
        }
        let connection = &mut self.connections[number];
        connection.waiting =
            connection.waiting.checked_sub(complete).ok_or(LoadError::SurplusAnswer)?;
        if !std::mem::replace(&mut connection.is_answered, true) {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
        if self.agreed.is_none() {
            self.agreed = connection.tls.as_ref().and_then(|tls| tls.agreed());
        }
        let now = Instant::now();
        let nanoseconds = (now - connection.since).as_nanos() as u64;
        self.latency.saturating_record_n(nanoseconds, complete.into());
        self.requests += u64::from(complete);
        self.request_again(number, now)
    }

    /// Sends the next requests if all answers have arrived and the connection persists.
    fn request_again(&mut self, number: usize, now: Instant) -> Result<(), LoadError> {
        let connection = &self.connections[number];
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

    /// Sends what TLS has to say by itself: the end of a handshake, and the requests that waited
    /// for it.
    fn flush(&mut self, number: usize) -> Result<(), LoadError> {
        let connection = &mut self.connections[number];
        let is_closing = connection.closing;
        let tls = connection.tls.as_mut().filter(|tls| !is_closing && tls.has_output());
        let Some(tls) = tls else { return Ok(()) };
        // The completion of the send that is in flight calls this again.
        let Some(mut chain) = connection.chain.take() else { return Ok(()) };
        chain.clear();
        tls.take_output(&mut chain)?;
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
