//! What a bench has found out, and its shape as JSON.

use std::io;

use serde::Serialize;

use super::figures::{Comparison, Figures};
use super::machine::Machine;
use super::plan::{Cell, Pace};

/// All that was found out.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// What it was found out on.
    pub machine: Machine,
    /// What makes it doubtful.
    pub doubts: Vec<String>,
    /// How often and how long.
    pub pace: Pace,
    /// The client's driver.
    pub client: String,
    /// Threads of each server of ours.
    pub workers: usize,
    /// The servers; all others are compared with the first one.
    pub servers: Vec<String>,
    /// Cell by cell.
    pub rows: Vec<Row>,
}

/// What was found out in one cell.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The cell.
    pub cell: Cell,
    /// In the order of the servers.
    pub results: Vec<CellResult>,
}

/// One server in one cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellResult {
    /// The server.
    pub server: String,
    /// Its figures.
    pub figures: Figures,
    /// How it compares with the first server; `None` for that one.
    pub comparison: Option<Comparison>,
}

/// Writes a report as one JSON object.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_json(report: &BenchReport, out: &mut impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}
