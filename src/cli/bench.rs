//! `ringd bench`: its options, and the settings that they make.

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
use super::{Failure, ServeArgs, ServePlan};
use crate::bench::{self, BenchSettings, Shape, child, grid};
use crate::driver::{DriverKind, DriverSelection};

const AFTER_HELP: &str = "\
Sizes are written like 0, 512, 16K, 1M. Times are written like 500ms, 90s, 2min.

Each trial starts a server on cores of its own and loads it from the last one. With --against, the
other server must serve the same files, and be running already:
    ringd bench --files /tmp/files --against http://127.0.0.1:8080/

Exit codes: 0 after a complete run, 1 after an error, 2 for a wrong command line.";

/// What is compared unless something else is asked for.
const DEFAULT: [DriverKind; 2] = [DriverKind::Uring, DriverKind::Epoll];

/// The command line of `ringd bench`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct BenchArgs {
    /// Drivers to compare; the others are compared with the first one. By default uring and epoll,
    /// as far as they work here
    #[arg(short, long, value_name = "DRIVER,...", value_delimiter = ',')]
    pub driver: Vec<DriverName>,

    /// Another server to compare with; may be given several times
    #[arg(long, value_name = "URL")]
    pub against: Vec<String>,

    /// Bytes of the body
    #[arg(
        long,
        value_name = "BYTES,...",
        value_delimiter = ',',
        default_values = ["1K", "16K", "256K"],
        value_parser = size
    )]
    pub size: Vec<u64>,

    /// Connections at a time
    #[arg(
        long,
        value_name = "COUNT,...",
        value_delimiter = ',',
        default_values = ["1", "64"],
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    pub connections: Vec<u32>,

    /// How requests follow each other on a connection
    #[arg(
        long,
        value_name = "SHAPE,...",
        value_delimiter = ',',
        default_values = ["keep-alive", "pipelined", "close"]
    )]
    pub shape: Vec<Shape>,

    /// Threads that serve; each gets a core of its own, as far as there are enough
    #[arg(
        short,
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = value_parser!(u16).range(1..=1024)
    )]
    pub workers: u16,

    /// How long all of it may take; the default grid, with two servers, needs 29s at least
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = positive_time)]
    pub time: Duration,

    /// How often each cell of the grid is tried with each server
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

    /// Draw a plot into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Where the files are made that are asked for, and stay; without it, they go away again
    #[arg(long, value_name = "DIRECTORY")]
    pub files: Option<PathBuf>,

    /// The driver of the client
    #[arg(long, value_name = "DRIVER", default_value = "auto")]
    pub client_driver: DriverName,

    /// Options of `ringd serve` for all of its servers, behind `--`
    #[arg(last = true, value_name = "SERVER OPTIONS")]
    pub server_options: Vec<OsString>,
}

impl BenchArgs {
    /// Turns a command line into settings.
    ///
    /// # Errors
    ///
    /// When a file of the other server could not be there.
    pub fn settings(&self) -> Result<BenchSettings, Failure> {
        if !self.against.is_empty() && self.files.is_none() {
            let remedy = "name a folder with --files, and let the other server serve it";
            return Err(Failure(format!("--against needs files that both servers have: {remedy}")));
        }
        Ok(BenchSettings {
            drivers: self.drivers()?,
            against: self.against.clone(),
            cells: grid(&self.size, &self.connections, &self.shape),
            workers: usize::from(self.workers),
            rounds: self.rounds,
            time: self.time,
            client: self.client_driver.0,
            files: self.files.clone(),
            server_options: self.server_options.clone(),
        })
    }

    /// The drivers, each once; `auto` is the one that it chooses.
    fn drivers(&self) -> Result<Vec<DriverKind>, Failure> {
        let works = |kind: &DriverKind| DriverSelection::make(Some(*kind)).is_ok();
        if self.driver.is_empty() {
            return Ok(DEFAULT.into_iter().filter(works).collect());
        }
        let mut drivers = Vec::new();
        for name in &self.driver {
            let selection = DriverSelection::make(name.0).map_err(|error| {
                Failure(format!("the driver {} does not work here: {error}", name.name()))
            })?;
            if !drivers.contains(&selection.kind) {
                drivers.push(selection.kind);
            }
        }
        Ok(drivers)
    }
}

/// The command line of the server that a bench starts.
#[derive(Debug, Args)]
pub struct BenchServerArgs {
    /// A core that it may use; by default it uses all
    #[arg(long)]
    pub core: Vec<usize>,

    /// How it serves.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Compares servers, and reports.
///
/// # Errors
///
/// When nothing can be compared, or the report cannot be written.
pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let unwatched = |error| Failure(format!("cannot watch for signals: {error}"));
    // The first SIGINT lets the trial end, which takes a while; the second ends the process.
    flag::register_conditional_default(SIGINT, Arc::clone(&stop)).map_err(unwatched)?;
    flag::register(SIGINT, Arc::clone(&stop)).map_err(unwatched)?;
    let report = bench::run(&args.settings()?, &stop).map_err(told)?;
    if let Some(path) = &args.svg {
        let mut picture = Vec::new();
        let drawn = bench::write_svg(&report, &mut picture);
        drawn.and_then(|()| std::fs::write(path, picture)).map_err(|error| {
            Failure(format!("cannot write {}: {error}; check the path", path.display()))
        })?;
    }
    let mut out = anstream::stdout().lock();
    let written = match args.json {
        true => bench::write_json(&report, &mut out),
        false => bench::write_table(&report, &mut out),
    };
    match written {
        // A reader that has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(told),
    }
}

/// Serves as a child of a bench.
///
/// # Errors
///
/// When the server does not start, or ends on its own.
pub(super) fn serve(args: &BenchServerArgs) -> Result<(), Failure> {
    // Before the first thread, so that all of them inherit it.
    child::pin(&args.core).map_err(told)?;
    let ServePlan { server, http, selection, .. } = ServePlan::make(&args.serve)?;
    child::serve(&server, http, selection).map_err(told)
}

fn told(error: impl ToString) -> Failure {
    Failure(error.to_string())
}
