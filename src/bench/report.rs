//! The report of a run. Its fields are those of `--json`.

use std::io;

use serde::Serialize;

use super::machine::Machine;
use super::plan::{Cell, Pace};
use super::stats::{BenchStats, Comparison, Comparisons};
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
    /// The most connections of each server; `None` for those that are not ringd.
    pub holds: Vec<Option<u32>>,
    /// How the cells with TLS were measured; `None` if there are none.
    pub tls: Option<TlsReport>,
    /// The results, cell by cell.
    pub rows: Vec<CellReport>,
    /// What the numbers alone do not say.
    pub remarks: Vec<Remark>,
    /// What a client that sleeps adds, if the run has clients of both kinds.
    pub wakes: Vec<WakeCost>,
}

impl BenchReport {
    /// Whether there is a remark about the order of a server in a row: the two sides disagree.
    pub fn is_marked(&self, row: usize, server: &str) -> bool {
        let concerns =
            |it: &Remark| it.is_of_sides && it.rows.contains(&row) && it.server == server;
        self.remarks.iter().any(concerns)
    }

    /// How the run was made, in one line.
    pub(super) fn circumstances(&self) -> String {
        let Pace { rounds, time, .. } = self.pace;
        let plural = if rounds == 1 { "" } else { "s" };
        format!(
            "{rounds} round{plural} of {:.2} s per cell and server; workers: {}; driver of the \
             client: {}",
            time.as_secs_f64(),
            self.workers,
            self.client
        )
    }

    /// The servers that are not in a row because they hold too few connections, with the number
    /// that they hold.
    pub(super) fn too_small(&self, row: &CellReport) -> Vec<(&str, u32)> {
        let all = self.servers.iter().zip(&self.holds);
        let small = all.filter_map(|(server, holds)| {
            let holds = holds.filter(|holds| u64::from(*holds) < row.cell.all_connections())?;
            Some((server.as_str(), holds))
        });
        small.collect()
    }
}

/// A sentence about servers in rows of the report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Remark {
    /// The numbers of the rows, from 0.
    pub rows: Vec<usize>,
    /// The server.
    pub server: String,
    /// Whether it says that the CPU time of the server alone and that of both sides disagree.
    pub is_of_sides: bool,
    /// The sentence.
    pub text: String,
}

/// What a server pays for waking a client that sleeps.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WakeCost {
    /// The cell with a client that stays awake.
    pub cell: Cell,
    /// The server.
    pub server: String,
    /// CPU time of the server per answer if the client stays awake, in microseconds.
    pub awake_microseconds: f64,
    /// The same if the client sleeps.
    pub asleep_microseconds: f64,
    /// The second one compared with the first one.
    pub comparison: Comparison,
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

impl TlsReport {
    /// The libraries, what was agreed on, and the certificate, in one line.
    pub(super) fn describe(&self) -> String {
        let agreed: Vec<String> = self.agreed.iter().map(ToString::to_string).collect();
        format!("{}: {}; certificate: {}", self.libraries, agreed.join("; "), self.certificate)
    }
}

/// The results of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct CellReport {
    /// The cell.
    pub cell: Cell,
    /// The results, in the order of the servers: those of ringd that hold the connections, and of
    /// the others those whose URL has the scheme of the cell.
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
    /// The comparison with the first server; `None` for the first server itself, and in a cell
    /// without it.
    pub comparison: Option<Comparisons>,
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
