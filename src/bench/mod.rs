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
//! | `answers.rs` | reads and checks the answers of HTTP/1.1 |
//! | `http2_client.rs`, `http2_client/` | the same for HTTP/2, and makes its requests |
//! | `stats.rs` | statistics of the trials |
//! | `machine.rs` | the machine, and reasons to doubt the measurements |
//! | `report.rs` | the report, whose fields are those of `--json` |
//! | `remarks.rs` | what the numbers do not say by themselves, in words |
//! | `table.rs` | the report as text |
//! | `dots.rs`, `idle_chart.rs` | what the pictures show, in units |
//! | `plot.rs`, `page.rs` | the pictures as SVG, and as a page of HTML |
//! | `error.rs` | the errors of a run |

mod answers;
pub mod child;
mod dots;
mod error;
mod files;
mod http2_client;
mod idle_chart;
mod load;
mod machine;
#[cfg(test)]
mod made_report;
mod other_server;
mod page;
mod plan;
mod plot;
mod remarks;
mod report;
mod stats;
mod table;
mod tls_client;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::iter;
use std::net::SocketAddr;
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
pub use http2_client::Http2ClientError;
use http2_client::request_block;
pub use load::LoadError;
use load::{Load, LoadResult};
pub use machine::Machine;
use other_server::OtherServer;
pub use other_server::UrlError;
pub use page::write_page;
pub use plan::{
    BenchProtocol, Bytes, Cell, ClientWait, Pace, Shape, TimeError, TlsHandshake, grid, http2_grid,
    idle_grid, tls_grid, with_clients,
};
pub use plot::write_svg;
pub use report::{BenchReport, CellReport, CellResult, Remark, TlsReport, WakeCost, write_json};
pub use stats::{BenchStats, BenchTrial, BenchVerdict, Comparison, Comparisons};
pub use table::write_table;
use tls_client::TlsGroups;
pub use tls_client::{AgreedTls, ClientTlsError};

/// What `ringd serve` makes for `--tls-self-signed`.
const CERTIFICATE: &str = "self-signed, ECDSA on P-256";

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// Drivers of ringd. All servers are compared with the first one.
    pub drivers: Vec<DriverKind>,
    /// Other builds of ringd, which run on the same drivers.
    pub programs: Vec<PathBuf>,
    /// URLs of other servers.
    pub against: Vec<String>,
    /// The cells of the grid.
    pub cells: Vec<Cell>,
    /// Worker threads of each server of ringd; at least one.
    pub workers: usize,
    /// Trials of each cell with each server, at least one; `None` for as many as fit.
    pub rounds: Option<u32>,
    /// The time for all trials; `None` for one that suffices.
    pub time: Option<Duration>,
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
    let builds = iter::once(None).chain(settings.programs.iter().cloned().map(Some));
    let drivers = builds.flat_map(|program| {
        settings.drivers.iter().map(move |kind| TestedServer::Driver(*kind, program.clone()))
    });
    let others = settings.against.iter().map(|url| OtherServer::find(url).map(TestedServer::Other));
    let servers = drivers.map(Ok).chain(others).collect::<Result<Vec<_>, _>>()?;
    let client = DriverSelection::make(settings.client).map_err(BenchError::ClientDriver)?;
    // The client gets the last core, the workers the first ones. With one core, all share it.
    let (cores, own) = match &machine.cores[..] {
        [workers @ .., client] if !workers.is_empty() => {
            (&workers[..settings.workers.min(workers.len())], std::slice::from_ref(client))
        }
        _ => (&[][..], &[][..]),
    };
    child::pin(own).map_err(BenchError::Pin)?;
    let bench = Bench { settings, files, client: client.kind, cores: cores.to_vec(), stop };
    let holds = bench.capacities(&servers)?;
    let cast = servers_of_cells(settings, &servers, &holds)?;
    let counts: Vec<usize> = cast.iter().map(Vec::len).collect();
    let pace = Pace::new(settings.time, settings.rounds, &settings.cells, &counts)?;
    let trials = bench.all_rounds(pace, &servers, &cast)?;
    let rows = rows(&bench, &servers, &cast, trials.trials);
    let servers = servers.iter().map(TestedServer::to_string).collect();
    Ok(report(machine, &bench, pace, (servers, holds), rows, trials.agreed))
}

/// The servers of each cell, by their numbers: those of ringd that hold its connections, and of the
/// others those whose URL is for such cells.
///
/// # Errors
///
/// When there is no cell for another server, or no server for a cell.
fn servers_of_cells(
    settings: &BenchSettings,
    servers: &[TestedServer],
    holds: &[Option<u32>],
) -> Result<Vec<Vec<usize>>, BenchError> {
    let has = |server: &TestedServer, cell: &Cell| match server {
        TestedServer::Driver(..) => true,
        TestedServer::Other(server) => server.scheme.is_measured_in(*cell),
    };
    let fits = |number: usize, cell: &Cell| {
        holds[number].is_none_or(|holds| cell.all_connections() <= u64::from(holds))
    };
    for server in servers {
        if let TestedServer::Other(other) = server
            && !settings.cells.iter().any(|cell| has(server, cell))
        {
            return Err(BenchError::NoCell(other.url.clone(), other.scheme.options()));
        }
    }
    let of = |cell: &Cell| -> Result<Vec<usize>, BenchError> {
        let numbers = (0..servers.len()).filter(|number| has(&servers[*number], cell));
        let fitting: Vec<usize> = numbers.filter(|number| fits(*number, cell)).collect();
        if fitting.is_empty() {
            let most = holds.iter().flatten().copied().max().unwrap_or_default();
            return Err(BenchError::TooManyConnections(*cell, most));
        }
        Ok(fitting)
    };
    settings.cells.iter().map(of).collect()
}

/// The measurements of all trials.
struct AllTrials {
    /// By cell, server and round.
    trials: Vec<Vec<Vec<BenchTrial>>>,
    agreed: BTreeSet<AgreedTls>,
}

/// A server under test: a driver of this program or of another build of it, or another server.
#[derive(Clone, Debug)]
enum TestedServer {
    Driver(DriverKind, Option<PathBuf>),
    Other(OtherServer),
}

impl fmt::Display for TestedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(kind, None) => kind.fmt(f),
            Self::Driver(kind, Some(program)) => write!(f, "{kind} ({})", program.display()),
            Self::Other(server) => f.write_str(&server.url),
        }
    }
}

/// The state of a run.
struct Bench<'a> {
    settings: &'a BenchSettings,
    files: BenchFiles,
    client: DriverKind,
    /// The cores of the servers; if empty, nothing is bound to a core.
    cores: Vec<usize>,
    stop: &'a AtomicBool,
}

impl Bench<'_> {
    /// The most connections of each server; `None` for those that are not ringd.
    fn capacities(&self, servers: &[TestedServer]) -> Result<Vec<Option<u32>>, BenchError> {
        let Some(cell) = self.settings.cells.first() else { return Ok(vec![None; servers.len()]) };
        let of = |server: &TestedServer| match server {
            TestedServer::Driver(kind, program) => {
                let arguments = self.arguments(*kind, *cell);
                let child = Child::start(program.as_deref(), &arguments, &self.cores);
                let child = child.map_err(|error| BenchError::Trial {
                    server: server.to_string(),
                    cell: *cell,
                    error: Box::new(FailedTrial::Start(error)),
                })?;
                Ok(child.holds())
            }
            TestedServer::Other(_) => Ok(None),
        };
        servers.iter().map(of).collect()
    }

    /// Runs all trials. `cast` has the servers of each cell.
    fn all_rounds(
        &self,
        pace: Pace,
        servers: &[TestedServer],
        cast: &[Vec<usize>],
    ) -> Result<AllTrials, BenchError> {
        let cells = &self.settings.cells;
        let counts: Vec<usize> = cast.iter().map(Vec::len).collect();
        let progress = progress(u64::from(pace.rounds) * counts.iter().sum::<usize>() as u64);
        let mut agreed = BTreeSet::new();
        let run = |cell: usize, place: usize| {
            let (cell, server) = (cells[cell], &servers[cast[cell][place]]);
            progress.set_message(format!("{server}: {cell}"));
            if self.stop.load(Ordering::Relaxed) {
                return Err(BenchError::Interrupted);
            }
            let trial = self.trial(pace, server, cell);
            progress.inc(1);
            let (trial, tls) = trial.map_err(|error| BenchError::Trial {
                server: server.to_string(),
                cell,
                error: Box::new(error),
            })?;
            agreed.extend(tls);
            Ok(trial)
        };
        let trials = plan::in_rounds(pace.rounds, &counts, run)?;
        progress.finish_and_clear();
        Ok(AllTrials { trials, agreed })
    }

    /// Runs a trial; also returns what its handshakes have agreed on.
    fn trial(
        &self,
        pace: Pace,
        server: &TestedServer,
        cell: Cell,
    ) -> Result<(BenchTrial, Option<AgreedTls>), FailedTrial> {
        let mut marks: Vec<Option<ServerUsage>> = Vec::new();
        match server {
            TestedServer::Driver(kind, program) => {
                let arguments = self.arguments(*kind, cell);
                let mut child = Child::start(program.as_deref(), &arguments, &self.cores)
                    .map_err(FailedTrial::Start)?;
                if child.driver() != kind.name() {
                    return Err(FailedTrial::OtherDriver(child.driver().to_owned()));
                }
                let address = child.address();
                let load = self.load(pace, cell, address, &address.to_string(), "/");
                let result = load.run(self.client, &mut || {
                    marks.push(Some(child.usage()?));
                    Ok(())
                });
                let result = result.map_err(FailedTrial::Load)?;
                Ok((trial(&result, &marks), result.agreed))
            }
            TestedServer::Other(server) => {
                let (host, prefix) = (&server.authority, &server.prefix);
                let load = self.load(pace, cell, server.address, host, prefix);
                let result = load.run(self.client, &mut || {
                    marks.push(server.usage());
                    Ok(())
                });
                let result = result.map_err(|error| {
                    FailedTrial::OtherServer(error, self.settings.files.clone())
                })?;
                Ok((trial(&result, &marks), result.agreed))
            }
        }
    }

    fn load(&self, pace: Pace, cell: Cell, address: SocketAddr, host: &str, prefix: &str) -> Load {
        let path = format!("{prefix}{}", BenchFiles::name(cell.bytes));
        let close = if cell.shape == Shape::Close { "Connection: close\r\n" } else { "" };
        let request = match cell.protocol {
            BenchProtocol::Http1 => {
                format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n").into_bytes()
            }
            BenchProtocol::Http2 { .. } => request_block(host, &path, cell.tls.is_some()),
        };
        Load {
            address,
            protocol: cell.protocol,
            request,
            length: cell.bytes,
            shape: cell.shape,
            tls: cell.tls,
            groups: if self.settings.against.is_empty() {
                TlsGroups::Browser
            } else {
                TlsGroups::Classic
            },
            connections: cell.connections,
            idle: cell.idle,
            client: cell.client,
            warm_up: pace.warm_up,
            time: pace.time,
        }
    }

    /// The arguments of a server under test.
    fn arguments(&self, kind: DriverKind, cell: Cell) -> Vec<OsString> {
        let fixed = ["--listen", "127.0.0.1:0", "--driver", kind.name(), "--drain-timeout", "0s"];
        let mut arguments = vec![self.files.path().as_os_str().to_owned()];
        arguments.extend(fixed.map(OsString::from));
        arguments.extend(["--workers".into(), self.settings.workers.to_string().into()]);
        match (cell.tls, cell.protocol) {
            (Some(_), _) => arguments.push("--tls-self-signed".into()),
            (None, BenchProtocol::Http2 { .. }) => arguments.push("--h2c".into()),
            (None, BenchProtocol::Http1) => {}
        }
        arguments.extend(self.settings.server_options.iter().cloned());
        arguments
    }
}

/// Combines the measurements of the client with what the server has used between the two marks.
fn trial(result: &LoadResult, marks: &[Option<ServerUsage>]) -> BenchTrial {
    let LoadResult { requests, elapsed, latency, client_cpu, agreed: _ } = result;
    let (requests, seconds) = (*requests as f64, elapsed.as_secs_f64());
    let between = |count: fn(&ServerUsage) -> Option<u64>| {
        let count = |mark: &Option<ServerUsage>| mark.as_ref().and_then(count);
        let (before, after) = (marks.first().and_then(count)?, marks.get(1).and_then(count)?);
        Some(after.saturating_sub(before) as f64)
    };
    let cpu = between(|usage| Some(usage.cpu_nanoseconds));
    let microseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    let cpu_microseconds = cpu.map(|nanoseconds| nanoseconds / 1e3 / requests);
    let client_cpu_microseconds = client_cpu.as_secs_f64() * 1e6 / requests;
    BenchTrial {
        requests_per_second: requests / seconds,
        cpu_microseconds,
        client_cpu_microseconds,
        both_cpu_microseconds: cpu_microseconds.map(|cpu| cpu + client_cpu_microseconds),
        server_busy: cpu.map(|nanoseconds| nanoseconds / 1e9 / seconds),
        client_busy: client_cpu.as_secs_f64() / seconds,
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

/// The results of each cell.
fn rows(
    bench: &Bench<'_>,
    servers: &[TestedServer],
    cast: &[Vec<usize>],
    trials: Vec<Vec<Vec<BenchTrial>>>,
) -> Vec<CellReport> {
    let rows = bench.settings.cells.iter().zip(cast).zip(trials).map(|((cell, cast), trials)| {
        let all = BenchStats::of_cell(trials, bench.settings.workers);
        let first = all.first().filter(|_| cast.first() == Some(&0)).cloned();
        let results = cast.iter().zip(all).map(|(number, stats)| {
            let first = first.as_ref().filter(|_| *number > 0);
            let comparison = first.map(|first| stats.against(first));
            CellResult { server: servers[*number].to_string(), stats, comparison }
        });
        CellReport { cell: *cell, results: results.collect() }
    });
    rows.collect()
}

fn report(
    machine: Machine,
    bench: &Bench<'_>,
    pace: Pace,
    (servers, holds): (Vec<String>, Vec<Option<u32>>),
    rows: Vec<CellReport>,
    agreed: BTreeSet<AgreedTls>,
) -> BenchReport {
    let has_tls = rows.iter().any(|row| row.cell.tls.is_some());
    BenchReport {
        doubts: machine.doubts(),
        machine,
        pace,
        client: bench.client.to_string(),
        workers: bench.settings.workers,
        servers,
        holds,
        tls: has_tls.then(|| TlsReport {
            libraries: LIBRARY,
            certificate: CERTIFICATE,
            agreed: agreed.into_iter().collect(),
        }),
        remarks: remarks::remarks(&rows),
        wakes: remarks::wakes(&rows),
        rows,
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
        let client_cpu = Duration::from_secs(1);
        let result = LoadResult { requests: 1000, elapsed, latency, client_cpu, agreed: None };
        let usage = |cpu_nanoseconds, calls| {
            let (system_calls, submissions) = (Some(calls), Some(2 * calls));
            Some(ServerUsage { cpu_nanoseconds, system_calls, submissions })
        };
        let trial = trial(&result, &[usage(5_000_000_000, 70), usage(6_000_000_000, 3070)]);
        let close = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.001;
        assert!(close(trial.requests_per_second, 500.0), "{trial:?}");
        assert!(close(trial.cpu_microseconds.unwrap(), 1000.0), "{trial:?}");
        assert!(close(trial.server_busy.unwrap(), 0.5), "{trial:?}");
        assert!(close(trial.both_cpu_microseconds.unwrap(), 2000.0), "{trial:?}");
        assert!(close(trial.client_busy, 0.5), "{trial:?}");
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
