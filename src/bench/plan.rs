//! What is compared: a grid of cells, each tried with every server in every round.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// Requests that are sent at once when they are pipelined.
const PIPELINED: u32 = 16;

/// The shortest time that a figure can be taken in.
const TIME_MIN: Duration = Duration::from_millis(50);

/// Of the time of a cell, what starting a server and ending it takes.
const START: Duration = Duration::from_millis(60);

/// Of what is left, the part in which the server warms up: one in this many.
const WARM_UP_PART: u32 = 5;

/// How requests follow each other on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// One request after the other, on connections that stay open
    KeepAlive,
    /// A connection for each request
    Close,
    /// 16 requests at once, then the next 16
    Pipelined,
}

impl Shape {
    /// Requests that are sent at once.
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

/// One row of the grid: what is asked for, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Cell {
    /// Bytes of the body.
    pub bytes: u64,
    /// Connections at a time.
    pub connections: u32,
    /// How requests follow each other.
    pub shape: Shape,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, connections, shape } = self;
        let plural = if *connections == 1 { "" } else { "s" };
        write!(f, "{}, {connections} connection{plural}, {shape}", Bytes(*bytes))
    }
}

/// A number of bytes, for a person.
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

/// How often and how long each cell is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Pace {
    /// Rounds, in each of which every cell is tried with every server.
    pub rounds: u32,
    /// Before a trial is measured, in seconds.
    #[serde(rename = "warm_up_seconds", serialize_with = "seconds")]
    pub warm_up: Duration,
    /// The time of a trial, in seconds.
    #[serde(rename = "trial_seconds", serialize_with = "seconds")]
    pub time: Duration,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Pace {
    /// Shares `total` out.
    ///
    /// # Errors
    ///
    /// In words, when there is too little of it.
    pub fn new(total: Duration, rounds: u32, cells: usize, servers: usize) -> Result<Self, String> {
        let trials = rounds.saturating_mul((cells * servers) as u32);
        let each = total / trials.max(1);
        let left = each.saturating_sub(START);
        let warm_up = left / WARM_UP_PART;
        let time = left - warm_up;
        if time < TIME_MIN {
            let needed = (TIME_MIN * 2 + START) * trials;
            return Err(format!(
                "{total:?} is too short for {trials} trials ({cells} cells of the grid, each with \
                 {servers} servers in {rounds} rounds); give --time {}s, or fewer \
                 sizes, connections or shapes",
                needed.as_secs() + 1
            ));
        }
        Ok(Self { rounds, warm_up, time })
    }
}

/// All combinations, in the order in which they are read.
pub fn grid(sizes: &[u64], connections: &[u32], shapes: &[Shape]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &shape in shapes {
        for &bytes in sizes {
            for &connections in connections {
                cells.push(Cell { bytes, connections, shape });
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
    fn bytes_are_told_in_the_unit_that_fits() {
        for (bytes, told) in [
            (0, "0 B"),
            (1000, "1000 B"),
            (1024, "1 KiB"),
            (1536, "1536 B"),
            (100 << 10, "100 KiB"),
            (3 << 20, "3 MiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), told);
        }
    }

    #[test]
    fn the_time_is_shared_out_or_too_short() {
        let total = Duration::from_secs(90);
        let pace = Pace::new(total, 5, 18, 2).unwrap();
        assert!((pace.time + pace.warm_up + START) * (5 * 18 * 2) <= total);
        assert!(pace.time > pace.warm_up);
        let error = Pace::new(Duration::from_secs(1), 5, 18, 2).unwrap_err();
        let needed = error.split("--time ").nth(1).unwrap().split('s').next().unwrap();
        let needed = Duration::from_secs(needed.parse().unwrap());
        assert!(Pace::new(needed, 5, 18, 2).is_ok(), "{error}");
    }
}
