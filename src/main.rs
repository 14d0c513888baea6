//! The `ringd` command: parse, start, say so, stop when told.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::Parser;
use ringd::bench;
use ringd::cli::{BenchArgs, Cli, Command, EchoPlan, ServePlan};
use ringd::connect;
use ringd::doctor;
use ringd::driver::Choice;
use ringd::echo::Echo;
use ringd::http::{Http, Site};
use ringd::server::{self, Server, Settings, StartError, Stopper};
use ringd::session::Session;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    // A write beyond the limit of file sizes then fails, and does not end the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
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
            let ServePlan { server, http, choice, root, notes } = ServePlan::make(args)?;
            notes.iter().for_each(|note| tell(io::stderr(), &format!("ringd: {note}")));
            let does = format!("serving {root} at");
            serve::<Http>(
                &server,
                choice,
                move || Site::new(http.clone()),
                |server| {
                    let urls =
                        server.addresses().iter().map(|address| format!(" http://{address}/"));
                    does + &urls.collect::<String>()
                },
            )?;
        }
        Command::Echo(args) => {
            let EchoPlan { server, choice } = EchoPlan::make(args)?;
            serve::<Echo>(
                &server,
                choice,
                || (),
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
            bench::child::serve(ServePlan::make(&args.serve)?)?;
        }
        Command::Connect(args) => connect::run(&args.peer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a server until it is told to stop. `does` says what it does, and where.
fn serve<S: Session + 'static>(
    settings: &Settings,
    choice: Choice,
    shared: impl Fn() -> S::Shared + Clone + Send + 'static,
    does: impl FnOnce(&Server) -> String,
) -> Result<(), StartError> {
    // Before the first worker starts, so that no signal finds its default action.
    let signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| {
        format!("cannot watch for signals: {error}; `ulimit -n` raises the limit of descriptors")
    })?;
    let server = server::start::<S>(settings, choice, shared)?;
    stop_on_signal(signals, server.stopper()).map_err(|error| {
        format!("a thread cannot be started: {error}; `ulimit -u` raises the limit of processes")
    })?;
    let Choice { kind, why, .. } = server.choice();
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

/// The first signal drains the server, the second ends the process.
fn stop_on_signal(mut signals: Signals, stopper: Stopper) -> io::Result<()> {
    let watch = move || {
        let mut asked = false;
        for signal in signals.forever() {
            if asked {
                std::process::exit(128 + signal);
            }
            asked = true;
            // Aside: a reader that stands still must not keep the second signal waiting.
            let message = "ringd: finishing open connections; a second signal ends at once";
            let _ = thread::Builder::new().spawn(move || tell(io::stderr(), message));
            stopper.stop();
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}
