//! `ringd bench`: drivers compared on this machine, or ringd with another server.
//!
//! Each trial is one server, one cell of the grid, one round: a server is started on one core and
//! loaded from another one. Rounds go over all cells, and within a cell all servers take their
//! turn one after the other, so that what drifts on the machine meets all of them alike.
//!
//! | file | holds |
//! | --- | --- |
//! | `plan.rs` | the grid, and how the time is shared out |
//! | `files.rs` | the files that are asked for |
//! | `child.rs` | a server of ours, in a process of its own |
//! | `peer.rs` | a server that somebody else has started |
//! | `load.rs` | the client |
//! | `answers.rs` | what it makes of the bytes that arrive |
//! | `figures.rs` | from trials to figures |
//! | `machine.rs` | what they were taken on |
//! | `report.rs` | all of it, which is also the shape of `--json` |
//! | `table.rs`, `plot.rs` | the report for a person, in text and as a picture |

mod answers;
pub mod child;
mod figures;
mod files;
mod load;
mod machine;
mod peer;
mod plan;
mod plot;
mod report;
mod table;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::driver::{DriverKind, DriverSelection};
use child::{Child, Spent};
pub use figures::{BenchTrial, Comparison, Figures};
use files::Files;
use load::{Load, LoadError, Outcomes};
pub use machine::Machine;
use peer::Peer;
pub use plan::{Bytes, Cell, Pace, Shape, grid};
pub use plot::write_svg;
pub use report::{BenchReport, CellResult, Row, write_json};
pub use table::write_table;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// Drivers of ringd; what is compared with the first server of all.
    pub drivers: Vec<DriverKind>,
    /// Addresses of other servers.
    pub against: Vec<String>,
    /// What is asked for.
    pub cells: Vec<Cell>,
    /// Threads of each server of ours; at least one.
    pub workers: usize,
    /// How often each cell is tried with each server; at least once.
    pub rounds: u32,
    /// How long all of it may take.
    pub time: Duration,
    /// The client's driver, if it is not to be chosen.
    pub client: Option<DriverKind>,
    /// Where the files are made and kept, if anywhere.
    pub files: Option<PathBuf>,
    /// Further options of `ringd serve`.
    pub server_options: Vec<OsString>,
}

/// Why there is no report: the cause and the remedy.
#[derive(Debug)]
pub struct BenchError(String);

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BenchError {}

impl From<String> for BenchError {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Compares. Progress is shown on standard error, if that is a terminal; `stop` ends the run
/// after the trial that it finds.
///
/// # Errors
///
/// When a server does not start or answers something else than it was asked for, or the time does
/// not suffice.
pub fn run(settings: &BenchSettings, stop: &Arc<AtomicBool>) -> Result<BenchReport, BenchError> {
    let machine = Machine::read();
    let sizes: Vec<u64> = settings.cells.iter().map(|cell| cell.bytes).collect();
    let files = Files::make(settings.files.as_deref(), &sizes)?;
    let drivers = settings.drivers.iter().map(|kind| Server::Driver(*kind));
    let peers = settings.against.iter().map(|url| Peer::find(url).map(Server::Peer));
    let servers = drivers.map(Ok).chain(peers).collect::<Result<Vec<_>, _>>()?;
    let pace = Pace::new(settings.time, settings.rounds, settings.cells.len(), servers.len())?;
    let client = DriverSelection::make(settings.client).map_err(|error| {
        format!("the client's driver does not work here: {error}; see --client-driver")
    })?;
    // The client has the last core, the workers the first ones, if there are several.
    let (cores, own) = match &machine.cores[..] {
        [workers @ .., client] if !workers.is_empty() => {
            (&workers[..settings.workers.min(workers.len())], std::slice::from_ref(client))
        }
        _ => (&[][..], &[][..]),
    };
    child::pin(own).map_err(|error| format!("the client cannot stay on a core: {error}"))?;
    let bench = Bench { settings, files, pace, client: client.kind, cores: cores.to_vec(), stop };
    let trials = bench.all_rounds(&servers)?;
    Ok(report(settings, machine, &bench, &servers, trials))
}

/// A server to be compared.
#[derive(Clone, Debug)]
enum Server {
    Driver(DriverKind),
    Peer(Peer),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(kind) => kind.fmt(f),
            Self::Peer(peer) => f.write_str(&peer.url),
        }
    }
}

/// A run.
struct Bench<'a> {
    settings: &'a BenchSettings,
    files: Files,
    pace: Pace,
    client: DriverKind,
    /// Those of the servers; with none, all are used by all.
    cores: Vec<usize>,
    stop: &'a AtomicBool,
}

impl Bench<'_> {
    /// All trials, by cell, server and round.
    fn all_rounds(&self, servers: &[Server]) -> Result<Vec<Vec<Vec<BenchTrial>>>, BenchError> {
        let cells = &self.settings.cells;
        let mut trials = vec![vec![Vec::new(); servers.len()]; cells.len()];
        let progress = progress(u64::from(self.pace.rounds) * (cells.len() * servers.len()) as u64);
        for round in 0..self.pace.rounds as usize {
            for (cell, trials) in cells.iter().zip(&mut trials) {
                // Each is the first one as often as the others are.
                for turn in 0..servers.len() {
                    let number = (turn + round) % servers.len();
                    let server = &servers[number];
                    progress.set_message(format!("{server}: {cell}"));
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(BenchError("interrupted; nothing is reported".into()));
                    }
                    let trial = self.trial(server, *cell);
                    let trial = trial.map_err(|error| format!("{server}, {cell}: {error}"))?;
                    trials[number].push(trial);
                    progress.inc(1);
                }
            }
        }
        progress.finish_and_clear();
        Ok(trials)
    }

    fn trial(&self, server: &Server, cell: Cell) -> Result<BenchTrial, BenchError> {
        let mut marks: Vec<Option<Spent>> = Vec::new();
        match server {
            Server::Driver(kind) => {
                let mut child = Child::start(&self.arguments(*kind), &self.cores)
                    .map_err(|error| format!("{error}; `ringd doctor` may tell why"))?;
                if child.driver() != kind.name() {
                    return Err(BenchError(format!("the server runs on {}", child.driver())));
                }
                let load = self.load(cell, child.address(), &child.address().to_string(), "/");
                let outcomes = load.run(self.client, &mut || {
                    marks.push(Some(child.spent()?));
                    Ok(())
                });
                Ok(trial(&outcomes.map_err(in_words)?, &marks))
            }
            Server::Peer(peer) => {
                let load = self.load(cell, peer.address, &peer.authority, &peer.prefix);
                let outcomes = load.run(self.client, &mut || {
                    marks.push(peer.spent());
                    Ok(())
                });
                let outcomes = outcomes.map_err(|error| match self.settings.files {
                    Some(ref files) => format!("{error}; does it serve {}?", files.display()),
                    None => format!(
                        "{error}; name a folder with --files, and let the other server serve it"
                    ),
                });
                Ok(trial(&outcomes?, &marks))
            }
        }
    }

    fn load(&self, cell: Cell, address: std::net::SocketAddr, host: &str, prefix: &str) -> Load {
        let name = Files::name(cell.bytes);
        let close = if cell.shape == Shape::Close { "Connection: close\r\n" } else { "" };
        let request = format!("GET {prefix}{name} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n");
        Load {
            address,
            request: request.into_bytes(),
            length: cell.bytes,
            shape: cell.shape,
            connections: cell.connections,
            warm_up: self.pace.warm_up,
            time: self.pace.time,
        }
    }

    /// The command line of a server.
    fn arguments(&self, kind: DriverKind) -> Vec<OsString> {
        let fixed = ["--listen", "127.0.0.1:0", "--driver", kind.name(), "--drain-timeout", "0s"];
        let mut arguments = vec![self.files.path().as_os_str().to_owned()];
        arguments.extend(fixed.map(OsString::from));
        arguments.extend(["--workers".into(), self.settings.workers.to_string().into()]);
        arguments.extend(self.settings.server_options.iter().cloned());
        arguments
    }
}

fn in_words(error: LoadError) -> BenchError {
    BenchError(error.to_string())
}

/// The figures of one trial: what the client has counted, and what the server has spent between
/// the two marks.
fn trial(outcomes: &Outcomes, marks: &[Option<Spent>]) -> BenchTrial {
    let Outcomes { requests, elapsed, latency, client_busy } = outcomes;
    let (requests, seconds) = (*requests as f64, elapsed.as_secs_f64());
    let between = |count: fn(&Spent) -> Option<u64>| {
        let count = |mark: &Option<Spent>| mark.as_ref().and_then(count);
        let (before, after) = (marks.first().and_then(count)?, marks.get(1).and_then(count)?);
        Some(after.saturating_sub(before) as f64)
    };
    let cpu = between(|spent| Some(spent.cpu_nanoseconds));
    let microseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    BenchTrial {
        requests_per_second: requests / seconds,
        cpu_microseconds: cpu.map(|nanoseconds| nanoseconds / 1e3 / requests),
        server_busy: cpu.map(|nanoseconds| nanoseconds / 1e9 / seconds),
        client_busy: *client_busy,
        p50_microseconds: microseconds(0.5),
        p99_microseconds: microseconds(0.99),
        p999_microseconds: microseconds(0.999),
        system_calls: between(|spent| spent.system_calls).map(|calls| calls / requests),
        submissions: between(|spent| spent.submissions).map(|count| count / requests),
    }
}

fn progress(trials: u64) -> ProgressBar {
    let bar = ProgressBar::new(trials);
    // The template is constant, and right.
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
    servers: &[Server],
    trials: Vec<Vec<Vec<BenchTrial>>>,
) -> BenchReport {
    let rows = settings.cells.iter().zip(trials).map(|(cell, trials)| {
        let figures: Vec<Figures> = trials.into_iter().map(Figures::new).collect();
        let first = figures.first().cloned();
        let results = servers.iter().zip(figures).enumerate().map(|(number, (server, figures))| {
            let first = first.as_ref().filter(|_| number > 0);
            let comparison = first.map(|first| figures.against(first));
            CellResult { server: server.to_string(), figures, comparison }
        });
        Row { cell: *cell, results: results.collect() }
    });
    BenchReport {
        doubts: machine.doubts(),
        machine,
        pace: bench.pace,
        client: bench.client.to_string(),
        workers: settings.workers,
        servers: servers.iter().map(Server::to_string).collect(),
        rows: rows.collect(),
    }
}
