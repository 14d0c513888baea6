//! The plan of a run: a grid of cells, in which every server has a trial in every round.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// The number of pipelined requests that are sent at once.
const PIPELINED: u32 = 16;

/// The size of small answers in cells with TLS or HTTP/2, in bytes.
const SMALL: u64 = 1024;

/// Cells with many streams have one of so many connections, because each carries more requests.
const CONNECTIONS_PART: u32 = 8;

/// The most streams of a connection for large answers, which take turns on it.
const LARGE_STREAMS_MAX: u32 = 8;

/// The shortest time of a trial that gives a meaningful result.
const TIME_MIN: Duration = Duration::from_millis(50);

/// The part of a trial that starting and ending the server takes.
const START: Duration = Duration::from_millis(60);

/// The time that opening an idle connection takes.
const OPENING: Duration = Duration::from_micros(60);

/// The time of a trial and the number of rounds, if they are not given, and the longest such run.
const TIME_WANTED: Duration = Duration::from_millis(160);
const ROUNDS_WANTED: u32 = 60;
const RUN_MAX: Duration = Duration::from_secs(600);

/// The bounds of the rounds, if they are not given.
const ROUNDS: std::ops::RangeInclusive<u32> = 6..=100;

/// The warm-up is this fraction (one nth) of the remaining time.
const WARM_UP_PART: u32 = 5;

/// A request pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// One request at a time on persistent connections
    KeepAlive,
    /// A new connection for each request
    Close,
    /// 16 pipelined requests at a time on persistent connections
    Pipelined,
}

impl Shape {
    /// The number of requests that are sent at once.
    pub(super) fn depth(self) -> u32 {
        match self {
            Self::KeepAlive | Self::Close => 1,
            Self::Pipelined => PIPELINED,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepAlive => f.write_str("keep-alive"),
            Self::Close => f.write_str("close"),
            Self::Pipelined => write!(f, "{PIPELINED} pipelined"),
        }
    }
}

/// The kind of the TLS handshakes of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsHandshake {
    /// With a key exchange and a signature.
    Full,
    /// With the session ticket of the connection before, except for the first connections.
    Resumed,
}

impl fmt::Display for TlsHandshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
        })
    }
}

/// The version of HTTP of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "protocol")]
pub enum BenchProtocol {
    /// HTTP/1.1.
    #[serde(rename = "HTTP/1.1")]
    Http1,
    /// HTTP/2 on persistent connections.
    #[serde(rename = "HTTP/2")]
    Http2 {
        /// The number of requests in progress on each connection, from 1 to 100.
        streams: u32,
    },
}

/// What the client does while no answer has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ClientWait {
    /// It asks again and again, so the server never pays for waking it
    Awake,
    /// It sleeps, and what the server sends wakes it
    Asleep,
}

/// One cell of the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Cell {
    /// The size of the body.
    pub bytes: u64,
    /// The number of concurrent connections.
    pub connections: u32,
    /// The version of HTTP; with HTTP/2, the shape is [`Shape::KeepAlive`].
    #[serde(flatten)]
    pub protocol: BenchProtocol,
    /// The request pattern.
    pub shape: Shape,
    /// The TLS handshakes; `None` without TLS.
    pub tls: Option<TlsHandshake>,
    /// Connections that have had an answer each and are idle during the trial.
    pub idle: u32,
    /// What the client does while no answer has arrived.
    pub client: ClientWait,
}

impl Cell {
    /// A cell of HTTP/1.1 without TLS and idle connections, whose client stays awake.
    fn plain(bytes: u64, connections: u32, shape: Shape) -> Self {
        let (protocol, client) = (BenchProtocol::Http1, ClientWait::Awake);
        Self { bytes, connections, protocol, shape, tls: None, idle: 0, client }
    }

    /// All connections of a trial.
    pub(super) fn all_connections(&self) -> u64 {
        u64::from(self.connections) + u64::from(self.idle)
    }

    /// The time that opening the idle connections takes, beside that of each trial.
    fn opening(&self) -> Duration {
        OPENING * self.idle
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, connections, protocol, shape, tls, idle, client } = self;
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(f, "{}, {connections} ", Bytes(*bytes))?;
        match *protocol {
            BenchProtocol::Http1 => write!(f, "connection{}, {shape}", plural(*connections))?,
            BenchProtocol::Http2 { streams } => {
                write!(f, "× {streams} stream{}, HTTP/2", plural(streams))?;
            }
        }
        match tls {
            None => {}
            // Handshakes of persistent connections are over before the measured time.
            Some(_) if *shape != Shape::Close => f.write_str(", TLS")?,
            Some(handshake) => write!(f, ", TLS {handshake}")?,
        }
        if *idle > 0 {
            write!(f, ", beside {idle} idle")?;
        }
        match client {
            ClientWait::Awake => Ok(()),
            ClientWait::Asleep => f.write_str(", sleeping client"),
        }
    }
}

/// A number of bytes that is displayed with the largest unit that divides it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let bytes = self.0;
        match UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", bytes / unit),
            None => write!(f, "{bytes} B"),
        }
    }
}

/// The number of rounds, and the time of each trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Pace {
    /// The number of rounds; each has a trial of every cell with every server.
    pub rounds: u32,
    /// The warm-up of a trial, in seconds in JSON.
    #[serde(rename = "warm_up_seconds", serialize_with = "seconds")]
    pub warm_up: Duration,
    /// The measured time of a trial, in seconds in JSON.
    #[serde(rename = "trial_seconds", serialize_with = "seconds")]
    pub time: Duration,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// The error of a total time that does not suffice for all trials.
#[derive(Clone, Debug)]
pub struct TimeError {
    total: Duration,
    rounds: u32,
    /// The trials of each round.
    round: usize,
    /// A time that suffices.
    needed: Duration,
}

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, rounds, round, needed } = self;
        let trials = u64::from(*rounds).saturating_mul(*round as u64);
        let seconds = needed.as_secs();
        write!(
            f,
            "{total:?} is too short for {trials} trials (rounds: {rounds}, of {round} trials); use \
             --time {seconds}s, or fewer sizes, connections, shapes or rounds"
        )
    }
}

impl Pace {
    /// Divides a time among the trials of all rounds. `cast` has the number of servers of each
    /// cell. Without a time, there is one for enough rounds, but at most ten minutes. Without
    /// rounds, there are as many as fit.
    ///
    /// # Errors
    ///
    /// When the time is too short.
    pub fn new(
        time: Option<Duration>,
        rounds: Option<u32>,
        cells: &[Cell],
        cast: &[usize],
    ) -> Result<Self, TimeError> {
        let round: usize = cast.iter().sum();
        let trials_of = |rounds: u32| rounds.saturating_mul(round as u32).max(1);
        let opening: Duration =
            cells.iter().zip(cast).map(|(cell, servers)| cell.opening() * *servers as u32).sum();
        let wanted = TIME_WANTED * trials_of(1) + opening;
        let total = time.unwrap_or_else(|| RUN_MAX.min(wanted * rounds.unwrap_or(ROUNDS_WANTED)));
        let fitting = (total.as_nanos() / wanted.as_nanos().max(1)).min(1000) as u32;
        let rounds = rounds.unwrap_or(fitting.clamp(*ROUNDS.start(), *ROUNDS.end()));
        let each = total.saturating_sub(opening * rounds) / trials_of(rounds);
        let left = each.saturating_sub(START);
        let warm_up = left / WARM_UP_PART;
        let time = left - warm_up;
        if time < TIME_MIN {
            let needed = (TIME_MIN * 2 + START) * trials_of(rounds) + opening * rounds;
            let needed = Duration::from_secs(needed.as_secs() + 1);
            return Err(TimeError { total, rounds, round, needed });
        }
        Ok(Self { rounds, warm_up, time })
    }
}

/// Runs a trial of each cell with each of its servers in each round; returns the results by cell,
/// server and round. `servers` has the number of servers of each cell. `run` gets the numbers of a
/// cell and of a server.
///
/// # Errors
///
/// The first error of `run`.
pub(super) fn in_rounds<T: Clone, E>(
    rounds: u32,
    servers: &[usize],
    mut run: impl FnMut(usize, usize) -> Result<T, E>,
) -> Result<Vec<Vec<Vec<T>>>, E> {
    let mut trials: Vec<_> = servers.iter().map(|servers| vec![Vec::new(); *servers]).collect();
    for round in 0..rounds as usize {
        for (cell, trials) in trials.iter_mut().enumerate() {
            let servers = trials.len();
            // Each round begins with another server, so no one is always the first.
            for turn in 0..servers {
                let server = (turn + round) % servers;
                trials[server].push(run(cell, server)?);
            }
        }
    }
    Ok(trials)
}

/// All combinations, in the order of the report.
pub fn grid(sizes: &[u64], connections: &[u32], shapes: &[Shape]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &shape in shapes {
        for &bytes in sizes {
            for &connections in connections {
                cells.push(Cell::plain(bytes, connections, shape));
            }
        }
    }
    cells
}

/// The cells with TLS for these numbers of connections: handshakes of both kinds, small answers,
/// and the largest file of `sizes`.
pub fn tls_grid(sizes: &[u64], connections: &[u32]) -> Vec<Cell> {
    let largest = sizes.iter().copied().max().unwrap_or(SMALL);
    let rows = [
        (SMALL, Shape::Close, TlsHandshake::Full),
        (SMALL, Shape::Close, TlsHandshake::Resumed),
        (SMALL, Shape::KeepAlive, TlsHandshake::Full),
        (largest, Shape::KeepAlive, TlsHandshake::Full),
    ];
    let mut cells = Vec::new();
    for (bytes, shape, tls) in rows {
        for &connections in connections {
            let cell = Cell { tls: Some(tls), ..Cell::plain(bytes, connections, shape) };
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    }
    cells
}

/// The cells with HTTP/2: for these numbers of connections, small answers and the largest file of
/// `sizes` with one stream, which is the work of HTTP/1.1 with [`Shape::KeepAlive`]; and on an
/// eighth of the most connections the same with many streams. That is `streams` for small answers,
/// and at most 8 for the largest file. `has_tls` says whether they are over TLS.
pub fn http2_grid(sizes: &[u64], connections: &[u32], streams: u32, has_tls: bool) -> Vec<Cell> {
    let largest = sizes.iter().copied().max().unwrap_or(SMALL);
    let few = connections.iter().max().map_or(1, |most| (most / CONNECTIONS_PART).max(1));
    let one = [SMALL, largest]
        .into_iter()
        .flat_map(|bytes| connections.iter().map(move |connections| (bytes, *connections, 1)));
    let many = [(SMALL, few, streams), (largest, few, streams.min(LARGE_STREAMS_MAX))];
    let mut cells = Vec::new();
    for (bytes, connections, streams) in one.chain(many) {
        let protocol = BenchProtocol::Http2 { streams };
        let tls = has_tls.then_some(TlsHandshake::Full);
        let cell = Cell { protocol, tls, ..Cell::plain(bytes, connections, Shape::KeepAlive) };
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}

/// The cells that show what idle connections cost: one connection is busy with small answers.
pub fn idle_grid(idle: &[u32]) -> Vec<Cell> {
    let cell = |idle: &u32| Cell { idle: *idle, ..Cell::plain(SMALL, 1, Shape::KeepAlive) };
    idle.iter().map(cell).collect()
}

/// Each cell with a client that waits in each of these ways.
pub fn with_clients(cells: &[Cell], clients: &[ClientWait]) -> Vec<Cell> {
    let with =
        |cell: &Cell| clients.iter().map(|client| Cell { client: *client, ..*cell }).collect();
    cells.iter().flat_map(|cell| -> Vec<Cell> { with(cell) }).collect()
}

#[cfg(test)]
mod tests;
