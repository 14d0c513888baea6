//! The plan of a run: a grid of cells, in which every server has a trial in every round.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// The number of pipelined requests that are sent at once.
const PIPELINED: u32 = 16;

/// The size of small answers in cells with TLS, in bytes.
const SMALL: u64 = 1024;

/// The shortest time of a trial that gives a meaningful result.
const TIME_MIN: Duration = Duration::from_millis(50);

/// The part of a trial that starting and ending the server takes.
const START: Duration = Duration::from_millis(60);

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

/// One cell of the grid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Cell {
    /// The size of the body.
    pub bytes: u64,
    /// The number of concurrent connections.
    pub connections: u32,
    /// The request pattern.
    pub shape: Shape,
    /// The TLS handshakes; `None` without TLS.
    pub tls: Option<TlsHandshake>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, connections, shape, tls } = self;
        let plural = if *connections == 1 { "" } else { "s" };
        write!(f, "{}, {connections} connection{plural}, {shape}", Bytes(*bytes))?;
        match tls {
            None => Ok(()),
            // Handshakes of persistent connections are over before the measured time.
            Some(_) if *shape != Shape::Close => f.write_str(", TLS"),
            Some(handshake) => write!(f, ", TLS {handshake}"),
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
    /// Divides `total` among the rounds, of `round` trials each.
    ///
    /// # Errors
    ///
    /// When `total` is too short.
    pub fn new(total: Duration, rounds: u32, round: usize) -> Result<Self, TimeError> {
        let trials = rounds.saturating_mul(round as u32);
        let each = total / trials.max(1);
        let left = each.saturating_sub(START);
        let warm_up = left / WARM_UP_PART;
        let time = left - warm_up;
        if time < TIME_MIN {
            let needed = (TIME_MIN * 2 + START) * trials;
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
                cells.push(Cell { bytes, connections, shape, tls: None });
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
            let cell = Cell { bytes, connections, shape, tls: Some(tls) };
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_every_combination_once() {
        let cells = grid(&[0, 1024], &[1, 64], &[Shape::KeepAlive, Shape::Close]);
        assert_eq!(cells.len(), 8);
        for (number, cell) in cells.iter().enumerate() {
            assert!(!cells[..number].contains(cell), "{cell}");
        }
        assert_eq!(cells[2].to_string(), "1 KiB, 1 connection, keep-alive");
        assert_eq!(cells[5].to_string(), "0 B, 64 connections, close");
    }

    #[test]
    fn a_grid_with_tls_has_the_largest_file_once() {
        let names = |sizes: &[u64], connections: &[u32]| {
            let cells = tls_grid(sizes, connections);
            cells.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let small = [
            "1 KiB, 2 connections, close, TLS full",
            "1 KiB, 2 connections, close, TLS resumed",
            "1 KiB, 2 connections, keep-alive, TLS",
        ];
        assert_eq!(names(&[1024], &[2]), small);
        let all = [&small[..], &["64 KiB, 2 connections, keep-alive, TLS"]].concat();
        assert_eq!(names(&[0, 64 << 10, 1024], &[2]), all);
        assert_eq!(tls_grid(&[4096], &[1, 64]).len(), 8);
    }

    #[test]
    fn a_trial_is_filed_under_its_server_and_each_server_begins_a_round() {
        let mut order = Vec::new();
        let trials = in_rounds(3, &[3, 3], |cell, server| {
            order.push(server);
            Ok::<_, ()>((cell, server))
        });
        for (cell, trials) in trials.unwrap().iter().enumerate() {
            for (server, trials) in trials.iter().enumerate() {
                assert_eq!(trials, &[(cell, server); 3]);
            }
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2, 1, 2, 0, 1, 2, 0, 2, 0, 1, 2, 0, 1]);
        assert_eq!(in_rounds(1, &[2], |_, server| Err::<(), _>(server)), Err(0));
        let uneven = in_rounds(2, &[2, 1, 0], |_, server| Ok::<_, ()>(server)).unwrap();
        assert_eq!(uneven, [vec![vec![0, 0], vec![1, 1]], vec![vec![0, 0]], vec![]]);
    }

    #[test]
    fn bytes_are_displayed_with_the_largest_unit_that_divides_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1000, "1000 B"),
            (1024, "1 KiB"),
            (1536, "1536 B"),
            (100 << 10, "100 KiB"),
            (3 << 20, "3 MiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn the_time_is_divided_among_the_trials_or_too_short() {
        let total = Duration::from_secs(90);
        let pace = Pace::new(total, 5, 36).unwrap();
        assert!((pace.time + pace.warm_up + START) * (5 * 18 * 2) <= total);
        assert!(pace.time > pace.warm_up);
        let error = Pace::new(Duration::from_secs(1), 5, 36).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("--time {}s", error.needed.as_secs())), "{text}");
        assert!(Pace::new(error.needed, 5, 36).is_ok(), "{text}");
    }
}
