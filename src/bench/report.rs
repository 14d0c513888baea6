//! The report of a run. Its fields are those of `--json`.

use std::io;

use serde::Serialize;

use super::machine::Machine;
use super::plan::{Cell, Pace};
use super::stats::{BenchStats, Comparison};
use super::tls_client::AgreedTls;

/// The results of all trials.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The machine.
    pub machine: Machine,
    /// Reasons to doubt the measurements.
    pub doubts: Vec<String>,
    /// The number of rounds, and the time of each trial.
    pub pace: Pace,
    /// The driver of the client.
    pub client: String,
    /// Worker threads of each server of ringd.
    pub workers: usize,
    /// The servers; the others are compared with the first one.
    pub servers: Vec<String>,
    /// How the cells with TLS were measured; `None` if there are none.
    pub tls: Option<TlsReport>,
    /// The results, cell by cell.
    pub rows: Vec<CellReport>,
}

/// How the cells with TLS were measured.
#[derive(Clone, Debug, Serialize)]
pub struct TlsReport {
    /// The libraries of server and client, with their versions.
    pub libraries: &'static str,
    /// The certificate of the servers.
    pub certificate: &'static str,
    /// What handshakes have agreed on: one entry if all agree on the same.
    pub agreed: Vec<AgreedTls>,
}

/// The results of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellReport {
    /// The cell.
    pub cell: Cell,
    /// The results, in the order of the servers. Cells with TLS have only those of ringd.
    pub results: Vec<CellResult>,
}

/// The results of one server in one cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellResult {
    /// The server.
    pub server: String,
    /// The statistics of its trials. Scripts read them under their older name in JSON.
    #[serde(rename = "figures")]
    pub stats: BenchStats,
    /// The comparison with the first server; `None` for the first server itself.
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
