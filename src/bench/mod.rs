//! `ringd bench`: compares drivers on this machine, or ringd with another server.
//!
//! A trial measures one server in one cell of the grid: it starts the server on its own cores and
//! loads it from another core. Each round visits all cells, and within a cell the trials of all
//! servers follow each other directly, so changes of the machine over time affect them equally.
//!
//! | file | holds |
//! | --- | --- |
//! | `plan.rs` | the grid, and the time of each trial |
//! | `files.rs` | the files that the client requests |
//! | `child.rs` | a server of ringd, as a child process |
//! | `other_server.rs` | a server to compare with, which is already running |
//! | `load.rs` | the client |
//! | `tls_client.rs` | TLS of the client |
//! | `answers.rs` | reads and checks the answers |
//! | `stats.rs` | statistics of the trials |
//! | `machine.rs` | the machine, and reasons to doubt the measurements |
//! | `report.rs` | the report, whose fields are those of `--json` |
//! | `table.rs`, `plot.rs` | the report as text and as a plot |
//! | `error.rs` | the errors of a run |

mod answers;
pub mod child;
mod error;
mod files;
mod load;
mod machine;
mod other_server;
mod plan;
mod plot;
mod report;
mod stats;
mod table;
mod tls_client;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::driver::{DriverKind, DriverSelection};
use crate::tls::LIBRARY;
pub use answers::AnswerError;
use child::{Child, ServerUsage};
pub use error::{BenchError, FailedTrial};
use files::BenchFiles;
pub use files::FilesError;
pub use load::LoadError;
use load::{Load, LoadResult};
pub use machine::Machine;
use other_server::OtherServer;
pub use other_server::UrlError;
pub use plan::{Bytes, Cell, Pace, Shape, TimeError, TlsHandshake, grid, tls_grid};
pub use plot::write_svg;
pub use report::{BenchReport, CellReport, CellResult, TlsReport, write_json};
pub use stats::{BenchStats, BenchTrial, Comparison};
pub use table::write_table;
pub use tls_client::{AgreedTls, ClientTlsError};

/// What `ringd serve` makes for `--tls-self-signed`.
const CERTIFICATE: &str = "self-signed, ECDSA on P-256";

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// Drivers of ringd. All servers are compared with the first one.
    pub drivers: Vec<DriverKind>,
    /// URLs of other servers.
    pub against: Vec<String>,
    /// The cells of the grid.
    pub cells: Vec<Cell>,
    /// Worker threads of each server of ringd; at least one.
    pub workers: usize,
    /// Trials of each cell with each server; at least one.
    pub rounds: u32,
    /// The time for all trials.
    pub time: Duration,
    /// The driver of the client; `None` chooses one.
    pub client: Option<DriverKind>,
    /// The directory in which the files are created and kept; `None` for a temporary one.
    pub files: Option<PathBuf>,
    /// Further options of `ringd serve` for the servers of ringd.
    pub server_options: Vec<OsString>,
}

/// Runs all trials and makes the report. Shows its progress on standard error if that is a
/// terminal. When `stop` is set, the run ends after the current trial.
///
/// # Errors
///
/// When a server does not start or sends an unexpected answer, when the time does not suffice, or
/// when `stop` is set.
pub fn run(settings: &BenchSettings, stop: &Arc<AtomicBool>) -> Result<BenchReport, BenchError> {
    let machine = Machine::read();
    let sizes: Vec<u64> = settings.cells.iter().map(|cell| cell.bytes).collect();
    let files = BenchFiles::make(settings.files.as_deref(), &sizes)?;
    let drivers = settings.drivers.iter().map(|kind| TestedServer::Driver(*kind));
    let others = settings.against.iter().map(|url| OtherServer::find(url).map(TestedServer::Other));
    let servers = drivers.map(Ok).chain(others).collect::<Result<Vec<_>, _>>()?;
    let round = servers_of_cells(settings, &servers).iter().sum();
    let pace = Pace::new(settings.time, settings.rounds, round)?;
    let client = DriverSelection::make(settings.client).map_err(BenchError::ClientDriver)?;
    // The client gets the last core, the workers the first ones. With one core, all share it.
    let (cores, own) = match &machine.cores[..] {
        [workers @ .., client] if !workers.is_empty() => {
            (&workers[..settings.workers.min(workers.len())], std::slice::from_ref(client))
        }
        _ => (&[][..], &[][..]),
    };
    child::pin(own).map_err(BenchError::Pin)?;
    let bench = Bench { settings, files, pace, client: client.kind, cores: cores.to_vec(), stop };
    let trials = bench.all_rounds(&servers)?;
    Ok(report(settings, machine, &bench, &servers, trials))
}

/// The number of servers of each cell. They are the first ones: cells with TLS have only those of
/// ringd, because another server would need a certificate and the same settings of TLS.
fn servers_of_cells(settings: &BenchSettings, servers: &[TestedServer]) -> Vec<usize> {
    let count = |cell: &Cell| match cell.tls {
        None => servers.len(),
        Some(_) => settings.drivers.len(),
    };
    settings.cells.iter().map(count).collect()
}

/// The measurements of all trials.
struct AllTrials {
    /// By cell, server and round.
    trials: Vec<Vec<Vec<BenchTrial>>>,
    agreed: BTreeSet<AgreedTls>,
}

/// A server under test.
#[derive(Clone, Debug)]
enum TestedServer {
    Driver(DriverKind),
    Other(OtherServer),
}

impl fmt::Display for TestedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(kind) => kind.fmt(f),
            Self::Other(server) => f.write_str(&server.url),
        }
    }
}

/// The state of a run.
struct Bench<'a> {
    settings: &'a BenchSettings,
    files: BenchFiles,
    pace: Pace,
    client: DriverKind,
    /// The cores of the servers; if empty, nothing is bound to a core.
    cores: Vec<usize>,
    stop: &'a AtomicBool,
}

impl Bench<'_> {
    /// Runs all trials.
    fn all_rounds(&self, servers: &[TestedServer]) -> Result<AllTrials, BenchError> {
        let cells = &self.settings.cells;
        let counts = servers_of_cells(self.settings, servers);
        let progress = progress(u64::from(self.pace.rounds) * counts.iter().sum::<usize>() as u64);
        let mut agreed = BTreeSet::new();
        let run = |cell: usize, server: usize| {
            let (cell, server) = (cells[cell], &servers[server]);
            progress.set_message(format!("{server}: {cell}"));
            if self.stop.load(Ordering::Relaxed) {
                return Err(BenchError::Interrupted);
            }
            let trial = self.trial(server, cell);
            progress.inc(1);
            let (trial, tls) = trial.map_err(|error| BenchError::Trial {
                server: server.to_string(),
                cell,
                error,
            })?;
            agreed.extend(tls);
            Ok(trial)
        };
        let trials = plan::in_rounds(self.pace.rounds, &counts, run)?;
        progress.finish_and_clear();
        Ok(AllTrials { trials, agreed })
    }

    /// Runs a trial; also returns what its handshakes have agreed on.
    fn trial(
        &self,
        server: &TestedServer,
        cell: Cell,
    ) -> Result<(BenchTrial, Option<AgreedTls>), FailedTrial> {
        let mut marks: Vec<Option<ServerUsage>> = Vec::new();
        match server {
            TestedServer::Driver(kind) => {
                let mut child = Child::start(&self.arguments(*kind, cell), &self.cores)
                    .map_err(FailedTrial::Start)?;
                if child.driver() != kind.name() {
                    return Err(FailedTrial::OtherDriver(child.driver().to_owned()));
                }
                let load = self.load(cell, child.address(), &child.address().to_string(), "/");
                let result = load.run(self.client, &mut || {
                    marks.push(Some(child.usage()?));
                    Ok(())
                });
                let result = result.map_err(FailedTrial::Load)?;
                Ok((trial(&result, &marks), result.agreed))
            }
            TestedServer::Other(server) => {
                let load = self.load(cell, server.address, &server.authority, &server.prefix);
                let result = load.run(self.client, &mut || {
                    marks.push(server.usage());
                    Ok(())
                });
                let result = result
                    .map_err(|error| FailedTrial::OtherServer(error, self.settings.files.clone()));
                Ok((trial(&result?, &marks), None))
            }
        }
    }

    fn load(&self, cell: Cell, address: std::net::SocketAddr, host: &str, prefix: &str) -> Load {
        let name = BenchFiles::name(cell.bytes);
        let close = if cell.shape == Shape::Close { "Connection: close\r\n" } else { "" };
        let request = format!("GET {prefix}{name} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n");
        Load {
            address,
            request: request.into_bytes(),
            length: cell.bytes,
            shape: cell.shape,
            tls: cell.tls,
            connections: cell.connections,
            warm_up: self.pace.warm_up,
            time: self.pace.time,
        }
    }

    /// The arguments of a server under test.
    fn arguments(&self, kind: DriverKind, cell: Cell) -> Vec<OsString> {
        let fixed = ["--listen", "127.0.0.1:0", "--driver", kind.name(), "--drain-timeout", "0s"];
        let mut arguments = vec![self.files.path().as_os_str().to_owned()];
        arguments.extend(fixed.map(OsString::from));
        arguments.extend(["--workers".into(), self.settings.workers.to_string().into()]);
        arguments.extend(cell.tls.map(|_| "--tls-self-signed".into()));
        arguments.extend(self.settings.server_options.iter().cloned());
        arguments
    }
}

/// Combines the measurements of the client with what the server has used between the two marks.
fn trial(result: &LoadResult, marks: &[Option<ServerUsage>]) -> BenchTrial {
    let LoadResult { requests, elapsed, latency, client_busy, agreed: _ } = result;
    let (requests, seconds) = (*requests as f64, elapsed.as_secs_f64());
    let between = |count: fn(&ServerUsage) -> Option<u64>| {
        let count = |mark: &Option<ServerUsage>| mark.as_ref().and_then(count);
        let (before, after) = (marks.first().and_then(count)?, marks.get(1).and_then(count)?);
        Some(after.saturating_sub(before) as f64)
    };
    let cpu = between(|usage| Some(usage.cpu_nanoseconds));
    let microseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    BenchTrial {
        requests_per_second: requests / seconds,
        cpu_microseconds: cpu.map(|nanoseconds| nanoseconds / 1e3 / requests),
        server_busy: cpu.map(|nanoseconds| nanoseconds / 1e9 / seconds),
        client_busy: *client_busy,
        p50_microseconds: microseconds(0.5),
        p99_microseconds: microseconds(0.99),
        p999_microseconds: microseconds(0.999),
        system_calls: between(|usage| usage.system_calls).map(|calls| calls / requests),
        submissions: between(|usage| usage.submissions).map(|count| count / requests),
    }
}

fn progress(trials: u64) -> ProgressBar {
    let bar = ProgressBar::new(trials);
    // The template is a valid constant, so this never fails.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3}%  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn report(
    settings: &BenchSettings,
    machine: Machine,
    bench: &Bench<'_>,
    servers: &[TestedServer],
    all: AllTrials,
) -> BenchReport {
    let AllTrials { trials, agreed } = all;
    let rows = settings.cells.iter().zip(trials).map(|(cell, trials)| {
        let all: Vec<BenchStats> = trials.into_iter().map(BenchStats::new).collect();
        let first = all.first().cloned();
        let results = servers.iter().zip(all).enumerate().map(|(number, (server, stats))| {
            let first = first.as_ref().filter(|_| number > 0);
            let comparison = first.map(|first| stats.against(first));
            CellResult { server: server.to_string(), stats, comparison }
        });
        CellReport { cell: *cell, results: results.collect() }
    });
    let has_tls = settings.cells.iter().any(|cell| cell.tls.is_some());
    BenchReport {
        doubts: machine.doubts(),
        machine,
        pace: bench.pace,
        client: bench.client.to_string(),
        workers: settings.workers,
        servers: servers.iter().map(TestedServer::to_string).collect(),
        tls: has_tls.then(|| TlsReport {
            libraries: LIBRARY,
            certificate: CERTIFICATE,
            agreed: agreed.into_iter().collect(),
        }),
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;

    /// What a server has used before the first mark is that of its start and of the warm-up.
    #[test]
    fn a_trial_counts_what_lies_between_the_marks() {
        let mut latency = Histogram::new(3).unwrap();
        (1..=1000).for_each(|microseconds| latency.record(microseconds * 1000).unwrap());
        let elapsed = Duration::from_secs(2);
        let result =
            LoadResult { requests: 1000, elapsed, latency, client_busy: 0.5, agreed: None };
        let usage = |cpu_nanoseconds, calls| {
            let (system_calls, submissions) = (Some(calls), Some(2 * calls));
            Some(ServerUsage { cpu_nanoseconds, system_calls, submissions })
        };
        let trial = trial(&result, &[usage(5_000_000_000, 70), usage(6_000_000_000, 3070)]);
        let close = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.001;
        assert!(close(trial.requests_per_second, 500.0), "{trial:?}");
        assert!(close(trial.cpu_microseconds.unwrap(), 1000.0), "{trial:?}");
        assert!(close(trial.server_busy.unwrap(), 0.5), "{trial:?}");
        assert!(close(trial.system_calls.unwrap(), 3.0), "{trial:?}");
        assert!(close(trial.submissions.unwrap(), 6.0), "{trial:?}");
        for (found, quantile) in [
            (trial.p50_microseconds, 500.0),
            (trial.p99_microseconds, 990.0),
            (trial.p999_microseconds, 999.0),
        ] {
            assert!((found - quantile).abs() < 1.0, "{quantile}: {trial:?}");
        }
    }
}
