//! `ringd bench`: its options and their conversion into settings.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum, value_parser};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::value::{DriverName, positive_time, size};
use super::{CommandError, Config, ServeArgs, ServePlan};
use crate::bench::{
    self, BenchSettings, Cell, ClientWait, Shape, child, grid, http2_grid, idle_grid, tls_grid,
    with_clients,
};
use crate::driver::{DriverKind, DriverSelection};
use crate::events::Events;

const AFTER_HELP: &str = "\
Sizes are written like 0, 512, 16K or 1M, times like 500ms, 90s or 2min.

Each trial starts a server on its own cores; the client has the last core. With --against, the other
server must already be running and serve the same files:
    ringd bench --files /tmp/files --against http://127.0.0.1:8080/

--driver all compares all drivers, with fewer sizes and connections, with rows over TLS and HTTP/2,
and with a busy connection beside idle ones. A driver is left out of the rows with more connections
than it holds.

The client stays awake: it never sleeps while it waits for an answer, because the server would pay
for waking it. `--client-wait asleep` lets it sleep, and `--client-wait awake,asleep` shows what the
difference is.

With --tls, the servers of ringd also have rows over TLS, for each of --connections: a full
handshake, 1 KiB and a close; a resumed handshake, 1 KiB and a close; 1 KiB on persistent
connections; and the largest of --size on them.

With --h2, there are rows over HTTP/2: 1 KiB and the largest of --size with one stream for each of
--connections, and with many streams on an eighth of the most connections. They are over TLS if
--tls is given. Other servers are measured in the rows of their URL: http:// without TLS, h2c:// in
HTTP/2 without TLS, https:// over TLS.

Exit codes: 0 after a complete run, 1 after an error, 2 for a wrong command line.";

/// Sizes, connections and idle connections that are measured if the command line names none; with
/// all drivers, the second ones.
const SIZES: [&[u64]; 2] = [&[1 << 10, 16 << 10, 256 << 10], &[1 << 10, 256 << 10]];
const CONNECTIONS: [&[u32]; 2] = [&[1, 64], &[64]];
const IDLE: [&[u32]; 2] = [&[], &[1, 10, 100, 1000, 10_000]];

/// Descriptors of the client besides idle connections.
const DESCRIPTORS: u64 = 256;

/// A value of `--driver`: a driver, or all that work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BenchDriver {
    /// All that work.
    All,
    /// This one.
    One(DriverName),
}

impl BenchDriver {
    const VALUES: [Self; DriverKind::ALL.len() + 2] = {
        let mut values = [Self::All; DriverKind::ALL.len() + 2];
        values[1] = Self::One(DriverName(None));
        let mut at = 0;
        while at < DriverKind::ALL.len() {
            values[at + 2] = Self::One(DriverName(Some(DriverKind::ALL[at])));
            at += 1;
        }
        values
    };
}

impl ValueEnum for BenchDriver {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::VALUES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::All => Some(PossibleValue::new("all").help("All drivers that work here")),
            Self::One(name) => name.to_possible_value(),
        }
    }
}

/// The drivers that are compared without `--driver`, if they work.
const DEFAULT: [DriverKind; 2] = [DriverKind::Uring, DriverKind::Epoll];

/// The command line of `ringd bench`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct BenchArgs {
    /// Drivers to compare; ratios are to the first one [default: uring and epoll, if they work]
    #[arg(short, long, value_name = "DRIVER,...", value_delimiter = ',')]
    pub driver: Vec<BenchDriver>,

    /// Another build of ringd to compare with, on the same drivers; may be given several times
    #[arg(long, value_name = "FILE")]
    pub program: Vec<PathBuf>,

    /// Another server to compare with; may be given several times
    #[arg(long, value_name = "URL")]
    pub against: Vec<String>,

    /// Body sizes in bytes [default: 1K,16K,256K; 1K,256K with --driver all]
    #[arg(long, value_name = "BYTES,...", value_delimiter = ',', value_parser = size)]
    pub size: Vec<u64>,

    /// Numbers of concurrent connections [default: 1,64; 64 with --driver all]
    #[arg(
        long,
        value_name = "COUNT,...",
        value_delimiter = ',',
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    pub connections: Vec<u32>,

    /// Also measure a busy connection beside idle ones [default: none; 1 to 10000 with `all`]
    #[arg(
        long,
        value_name = "COUNT,...",
        value_delimiter = ',',
        value_parser = value_parser!(u32).range(1..=100_000)
    )]
    pub idle: Vec<u32>,

    /// Request patterns [default: all]
    #[arg(long, value_name = "SHAPE,...", value_delimiter = ',')]
    pub shape: Vec<Shape>,

    /// Also measure HTTPS, with a self-signed certificate in memory
    #[arg(long)]
    pub tls: bool,

    /// Also measure HTTP/2: over TLS with --tls, else in cleartext
    #[arg(long)]
    pub h2: bool,

    /// Requests in progress on each connection, in the rows with many streams
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 32,
        requires = "h2",
        value_parser = value_parser!(u32).range(1..=100)
    )]
    pub streams: u32,

    /// Worker threads of a server; each gets its own core if there are enough
    #[arg(
        short,
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = value_parser!(u16).range(1..=1024)
    )]
    pub workers: u16,

    /// Total duration [default: 5 minutes with two servers, at most 10]
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    pub time: Option<Duration>,

    /// Trials of each grid cell with each server [default: 60, or 6 to 100 with --time]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,

    /// Write one JSON object instead of a table
    #[arg(long)]
    pub json: bool,

    /// Also draw a plot into this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,

    /// Also write the report as a page of HTML, which needs no other file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Directory to create the files in and keep them; without it, they are temporary
    #[arg(long, value_name = "DIRECTORY")]
    pub files: Option<PathBuf>,

    /// Driver of the client
    #[arg(long, value_name = "DRIVER", default_value = "auto")]
    pub client_driver: DriverName,

    /// What the client does while no answer has arrived [default: awake; asleep with one core]
    #[arg(long, value_name = "WAIT,...", value_delimiter = ',')]
    pub client_wait: Vec<ClientWait>,

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
        Ok(BenchSettings {
            drivers: self.drivers()?,
            programs: self.program.clone(),
            against: self.against.clone(),
            cells: self.cells(),
            workers: usize::from(self.workers),
            rounds: self.rounds,
            time: self.time,
            client: self.client_driver.0,
            files: self.files.clone(),
            server_options: self.server_options.clone(),
        })
    }

    fn is_all(&self) -> bool {
        self.driver.contains(&BenchDriver::All)
    }

    /// The rows of the report.
    fn cells(&self) -> Vec<Cell> {
        let is_all = self.is_all();
        let sizes = values(&self.size, SIZES, is_all);
        let connections = values(&self.connections, CONNECTIONS, is_all);
        let has_tls = self.tls || is_all;
        let mut cells = grid(sizes, connections, &self.shapes());
        if has_tls {
            cells.extend(tls_grid(sizes, connections));
        }
        if self.h2 || is_all {
            cells.extend(http2_grid(sizes, connections, self.streams, has_tls));
        }
        // What the client cannot open is left out, unless the command line asks for it.
        let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        let fits = |idle: &u32| !self.idle.is_empty() || u64::from(*idle) + DESCRIPTORS <= limit;
        let idle = values(&self.idle, IDLE, is_all);
        cells.extend(idle_grid(&idle.iter().copied().filter(fits).collect::<Vec<_>>()));
        with_clients(&cells, &self.clients())
    }

    fn shapes(&self) -> Vec<Shape> {
        match &self.shape[..] {
            [] => vec![Shape::KeepAlive, Shape::Pipelined, Shape::Close],
            shapes => shapes.to_vec(),
        }
    }

    /// How the client waits. On one core, a client that stays awake would keep the server from
    /// running.
    fn clients(&self) -> Vec<ClientWait> {
        let has_cores = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        match &self.client_wait[..] {
            [] if has_cores => vec![ClientWait::Awake],
            [] => vec![ClientWait::Asleep],
            // The same twice would only take longer.
            [first, others @ ..] if others.contains(first) => vec![*first],
            clients => clients.to_vec(),
        }
    }

    /// The drivers without duplicates; `auto` is replaced by its choice.
    fn drivers(&self) -> Result<Vec<DriverKind>, CommandError> {
        let works = |kind: &DriverKind| DriverSelection::make(Some(*kind)).is_ok();
        if self.driver.is_empty() {
            return Ok(DEFAULT.into_iter().filter(works).collect());
        }
        let mut drivers = Vec::new();
        for named in &self.driver {
            let named = match named {
                BenchDriver::All => DriverKind::ALL.into_iter().filter(works).collect(),
                BenchDriver::One(name) => vec![driver(*name)?],
            };
            for kind in named {
                if !drivers.contains(&kind) {
                    drivers.push(kind);
                }
            }
        }
        Ok(drivers)
    }
}

/// The values of an option; if there are none, its default values for two drivers or for all.
fn values<'a, T>(given: &'a [T], defaults: [&'a [T]; 2], is_all: bool) -> &'a [T] {
    if given.is_empty() { defaults[usize::from(is_all)] } else { given }
}

fn driver(name: DriverName) -> Result<DriverKind, CommandError> {
    let selection = DriverSelection::make(name.0).map_err(|error| {
        CommandError(format!(
            "the driver {} does not work here: {error}; choose others with --driver",
            name.name()
        ))
    })?;
    Ok(selection.kind)
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
        write_file(path, "--svg", |out| bench::write_svg(&report, out))?;
    }
    if let Some(path) = &args.html {
        write_file(path, "--html", |out| bench::write_page(&report, out))?;
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

/// Writes a picture or a page into the file that this option names.
fn write_file(
    path: &Path,
    option: &str,
    write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> Result<(), CommandError> {
    let mut content = Vec::new();
    write(&mut content).and_then(|()| std::fs::write(path, content)).map_err(|error| {
        CommandError(format!("cannot write {}: {error}; check {option}", path.display()))
    })
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
    let log = http.access_log.iter().try_for_each(|log| log.start());
    log.map_err(|error| CommandError::no_thread("the access log", &error))?;
    let tls = tls.as_ref().map(|tls| &tls.config);
    child::serve(&server, http, tls, selection).map_err(command_error)
}

fn command_error(error: impl ToString) -> CommandError {
    CommandError(error.to_string())
}
