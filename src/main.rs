//! The `ringd` command: parse, start, say so, stop when told.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::Parser;
use ringd::bench;
use ringd::cli::{self, BenchArgs, Cli, Command, EchoPlan, ServePlan};
use ringd::connect;
use ringd::doctor;
use ringd::driver::DriverSelection;
use ringd::echo::Echo;
use ringd::http::site::{CacheStats, PublishedCacheStats};
use ringd::http::{Http, Sites};
use ringd::server::{self, Monitor, Seat, Server, ServerSettings, StartError, Stopper};
use ringd::session::Session;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Lines that wait for somebody to read standard error. Each has a thread.
const LINES_MAX: usize = 8;

fn main() -> ExitCode {
    // A write beyond the limit of file sizes then fails, and does not end the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    // The default action of SIGUSR1 would end the process before there are statistics to show.
    let _ = signal_hook::flag::register(SIGUSR1, Arc::default());
    match run(&Cli::parse().into_command()) {
        Ok(code) => code,
        Err(error) => {
            tell(io::stderr(), &format!("ringd: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode, StartError> {
    match command {
        Command::Doctor(args) => return Ok(doctor::run(args, anstream::stdout())),
        Command::Serve(args) => {
            let ServePlan { server, http, selection, root, notes } = ServePlan::make(args)?;
            notes.iter().for_each(|note| tell(io::stderr(), &format!("ringd: {note}")));
            let does = format!("serving {root} at");
            let caches: Vec<Arc<PublishedCacheStats>> =
                (0..server.workers).map(|_| Arc::default()).collect();
            let published = caches.clone();
            serve::<Http>(
                &server,
                selection,
                move |seat| {
                    let published = Arc::clone(&published[seat.number]);
                    let post = Box::new(move |reports| seat.postbox.post(reports));
                    Sites::watching(http.clone(), post).publishing(published)
                },
                caches,
                |server| {
                    let urls =
                        server.addresses().iter().map(|address| format!(" http://{address}/"));
                    does + &urls.collect::<String>()
                },
            )?;
        }
        Command::Echo(args) => {
            let EchoPlan { server, selection } = EchoPlan::make(args)?;
            serve::<Echo>(
                &server,
                selection,
                |_| (),
                Vec::new(),
                |server| {
                    let addresses = server.addresses().iter().map(|address| format!(" {address}"));
                    "echoing at".to_owned() + &addresses.collect::<String>()
                },
            )?;
        }
        Command::Bench(args) => compare(args)?,
        Command::BenchServer(args) => {
            // Before the first thread, so that all of them inherit it.
            bench::child::pin(&args.core)?;
            let ServePlan { server, http, selection, .. } = ServePlan::make(&args.serve)?;
            bench::child::serve(&server, http, selection)?;
        }
        Command::Connect(args) => connect::run(&args.peer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a server until it is told to stop. `caches` are what its workers tell of their caches;
/// `does` says what it does, and where.
fn serve<S: Session + 'static>(
    settings: &ServerSettings,
    selection: DriverSelection,
    shared: impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static,
    caches: Vec<Arc<PublishedCacheStats>>,
    does: impl FnOnce(&Server) -> String,
) -> Result<(), StartError> {
    // Before the first worker starts, so that no signal finds its default action.
    let signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]).map_err(|error| {
        format!("cannot watch for signals: {error}; `ulimit -n` raises the limit of descriptors")
    })?;
    let server = server::start::<S>(settings, selection, shared).map_err(cli::name_options)?;
    let figures = Figures { monitor: server.monitor(), caches };
    obey(signals, server.stopper(), figures).map_err(|error| {
        format!("a thread cannot be started: {error}; `ulimit -u` raises the limit of processes")
    })?;
    let DriverSelection { kind, why, .. } = server.selection();
    let (does, workers) = (does(&server), settings.workers);
    tell(io::stdout(), &format!("ringd: {does}; driver: {kind} ({why}); workers: {workers}"));
    Ok(server.join()?)
}

/// Compares drivers and reports.
fn compare(args: &BenchArgs) -> Result<(), StartError> {
    let stop = Arc::new(AtomicBool::new(false));
    // A second signal finds nothing but its default action: the first one may take a while.
    signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&stop))?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
    let report = bench::run(&args.settings()?, &stop)?;
    if let Some(path) = &args.svg {
        let cannot = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let mut picture = Vec::new();
        bench::write_svg(&report, &mut picture)?;
        std::fs::write(path, picture).map_err(cannot)?;
    }
    let mut out = anstream::stdout().lock();
    let written = match args.json {
        true => bench::write_json(&report, &mut out),
        false => bench::write_table(&report, &mut out),
    };
    match written {
        // A reader that has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Writes a line for a person, if anybody listens: a full disk or a reader that is gone is no
/// reason to stop serving.
fn tell(mut to: impl io::Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

/// The first signal to stop drains the server, the second ends the process; before and in between,
/// it tells its figures when asked.
fn obey(mut signals: Signals, stopper: Stopper, figures: Figures) -> io::Result<()> {
    let watch = move || {
        let mut asked = false;
        let lines = Arc::new(());
        for signal in signals.forever() {
            if signal == SIGUSR1 {
                tell_aside(&lines, figures.to_string());
                continue;
            }
            if asked {
                std::process::exit(128 + signal);
            }
            asked = true;
            let message = "ringd: finishing open connections; a second signal ends at once";
            tell_aside(&lines, message.to_owned());
            stopper.stop();
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}

/// Writes a line in another thread: a reader that stands still must not keep the next signal
/// waiting. Who has not read [`LINES_MAX`] of `lines` is told no more.
fn tell_aside(lines: &Arc<()>, line: String) {
    if Arc::strong_count(lines) <= LINES_MAX {
        let told = Arc::clone(lines);
        let tell = move || {
            tell(io::stderr(), &line);
            drop(told);
        };
        let _ = thread::Builder::new().spawn(tell);
    }
}

/// What a server has open and has done, in a line.
struct Figures {
    monitor: Monitor,
    caches: Vec<Arc<PublishedCacheStats>>,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (worker, stats) = (self.monitor.worker_stats(), self.monitor.stats());
        let cache: CacheStats = self.caches.iter().map(|cache| cache.get()).sum();
        write!(
            f,
            "ringd: connections {}; driver: system calls {}, submissions {}, completions {}; \
             cache: entries {}, bytes {}, files {}, watched directories {}, hits {}, misses {}, \
             asked again {}, changed {}, evicted {}",
            worker.connections,
            stats.system_calls,
            stats.submissions,
            stats.completions,
            cache.entries,
            cache.bytes,
            cache.files,
            cache.watched,
            cache.hits,
            cache.misses,
            cache.revalidations,
            cache.expirations,
            cache.evictions,
        )
    }
}
