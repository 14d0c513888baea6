//! `ringd bench`: its options and their conversion into settings.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, value_parser};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::value::{DriverName, positive_time, size};
use super::{CommandError, Config, ServeArgs, ServePlan};
use crate::bench::{self, BenchSettings, Shape, child, grid, tls_grid};
use crate::driver::{DriverKind, DriverSelection};
use crate::events::Events;

const AFTER_HELP: &str = "\
Sizes are written like 0, 512, 16K or 1M, times like 500ms, 90s or 2min.

Each trial starts a server on its own cores; the client has the last core. With --against, the other
server must already be running and serve the same files:
    ringd bench --files /tmp/files --against http://127.0.0.1:8080/

With --tls, the servers of ringd also have rows over TLS, for each of --connections: a full
handshake, 1 KiB and a close; a resumed handshake, 1 KiB and a close; 1 KiB on persistent
connections; and the largest of --size on them.

Exit codes: 0 after a complete run, 1 after an error, 2 for a wrong command line.";

/// The drivers that are compared without `--driver`, if they work.
const DEFAULT: [DriverKind; 2] = [DriverKind::Uring, DriverKind::Epoll];

/// The command line of `ringd bench`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct BenchArgs {
    /// Drivers to compare; ratios are to the first one [default: uring and epoll, if they work]
    #[arg(short, long, value_name = "DRIVER,...", value_delimiter = ',')]
    pub driver: Vec<DriverName>,

    /// Another server to compare with; may be given several times
    #[arg(long, value_name = "URL")]
    pub against: Vec<String>,

    /// Body sizes in bytes
    #[arg(
        long,
        value_name = "BYTES,...",
        value_delimiter = ',',
        default_values = ["1K", "16K", "256K"],
        value_parser = size
    )]
    pub size: Vec<u64>,

    /// Numbers of concurrent connections
    #[arg(
        long,
        value_name = "COUNT,...",
        value_delimiter = ',',
        default_values = ["1", "64"],
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    pub connections: Vec<u32>,

    /// Request patterns
    #[arg(
        long,
        value_name = "SHAPE,...",
        value_delimiter = ',',
        default_values = ["keep-alive", "pipelined", "close"]
    )]
    pub shape: Vec<Shape>,

    /// Also measure HTTPS, with a self-signed certificate in memory
    #[arg(long)]
    pub tls: bool,

    /// Worker threads of a server; each gets its own core if there are enough
    #[arg(
        short,
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = value_parser!(u16).range(1..=1024)
    )]
    pub workers: u16,

    /// Total duration; the default grid with two servers needs at least 29s, with --tls 42s
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = positive_time)]
    pub time: Duration,

    /// Trials of each grid cell with each server
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 5,
        value_parser = value_parser!(u32).range(1..=1000)
    )]
    pub rounds: u32,

    /// Write one JSON object instead of a table
    #[arg(long)]
    pub json: bool,

    /// Also draw a plot into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Directory to create the files in and keep them; without it, they are temporary
    #[arg(long, value_name = "DIRECTORY")]
    pub files: Option<PathBuf>,

    /// Driver of the client
    #[arg(long, value_name = "DRIVER", default_value = "auto")]
    pub client_driver: DriverName,

    /// Options of `ringd serve` for the servers under test, after `--`
    #[arg(last = true, value_name = "SERVER OPTIONS")]
    pub server_options: Vec<OsString>,
}

impl BenchArgs {
    /// Turns a command line into settings.
    ///
    /// # Errors
    ///
    /// When `--against` comes without `--files`, or a driver that was named does not work.
    pub fn settings(&self) -> Result<BenchSettings, CommandError> {
        if !self.against.is_empty() && self.files.is_none() {
            return Err(CommandError(
                "--against needs files that both servers serve; name a directory with --files, \
                 and configure the other server to serve it"
                    .to_owned(),
            ));
        }
        let mut cells = grid(&self.size, &self.connections, &self.shape);
        if self.tls {
            cells.extend(tls_grid(&self.size, &self.connections));
        }
        Ok(BenchSettings {
            drivers: self.drivers()?,
            against: self.against.clone(),
            cells,
            workers: usize::from(self.workers),
            rounds: self.rounds,
            time: self.time,
            client: self.client_driver.0,
            files: self.files.clone(),
            server_options: self.server_options.clone(),
        })
    }

    /// The drivers without duplicates; `auto` is replaced by its choice.
    fn drivers(&self) -> Result<Vec<DriverKind>, CommandError> {
        let works = |kind: &DriverKind| DriverSelection::make(Some(*kind)).is_ok();
        if self.driver.is_empty() {
            return Ok(DEFAULT.into_iter().filter(works).collect());
        }
        let mut drivers = Vec::new();
        for name in &self.driver {
            let selection = DriverSelection::make(name.0).map_err(|error| {
                CommandError(format!(
                    "the driver {} does not work here: {error}; choose others with --driver",
                    name.name()
                ))
            })?;
            if !drivers.contains(&selection.kind) {
                drivers.push(selection.kind);
            }
        }
        Ok(drivers)
    }
}

/// The command line of the servers that `ringd bench` starts.
#[derive(Debug, Args)]
pub struct BenchServerArgs {
    /// Core that the server may use; without it, all
    #[arg(long)]
    pub core: Vec<usize>,

    /// The options of `ringd serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Compares servers and writes the report.
///
/// # Errors
///
/// When a trial fails, the run is interrupted, or the report cannot be written.
pub(super) fn run(args: &BenchArgs) -> Result<(), CommandError> {
    let stop = Arc::new(AtomicBool::new(false));
    let unwatched = |error| {
        CommandError(format!("cannot handle SIGINT: {error}; raise the limit with `ulimit -n`"))
    };
    // The first SIGINT stops the run after the current trial, the second ends the process.
    flag::register_conditional_default(SIGINT, Arc::clone(&stop)).map_err(unwatched)?;
    flag::register(SIGINT, Arc::clone(&stop)).map_err(unwatched)?;
    let report = bench::run(&args.settings()?, &stop).map_err(command_error)?;
    if let Some(path) = &args.svg {
        let mut svg = Vec::new();
        let drawn = bench::write_svg(&report, &mut svg);
        drawn.and_then(|()| std::fs::write(path, svg)).map_err(|error| {
            CommandError(format!("cannot write {}: {error}; check --svg", path.display()))
        })?;
    }
    let mut out = anstream::stdout().lock();
    let written = match args.json {
        true => bench::write_json(&report, &mut out),
        false => bench::write_table(&report, &mut out),
    };
    match written {
        // A reader such as `head` may close the pipe before the end.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| {
            CommandError(format!(
                "cannot write standard output: {error}; check where it is redirected to"
            ))
        }),
    }
}

/// Runs a server as a child process of `ringd bench`.
///
/// # Errors
///
/// When the server does not start, or ends before its standard input does.
pub(super) fn serve(args: &BenchServerArgs) -> Result<(), CommandError> {
    // A terminal sends SIGINT to this process too. The run ends after the current trial, so that
    // trial needs its server; it ends when the run closes its input.
    let _ = flag::register(SIGINT, Arc::default());
    // Threads inherit the affinity, so it is set before the first one starts.
    child::pin(&args.core).map_err(command_error)?;
    let ServePlan { server, http, tls, selection, .. } =
        ServePlan::make(&Config::from(args.serve.clone()), &Events::default())?;
    let tls = tls.as_ref().map(|tls| &tls.config);
    child::serve(&server, http, tls, selection).map_err(command_error)
}

fn command_error(error: impl ToString) -> CommandError {
    CommandError(error.to_string())
}
