//! Runs the command that the command line names.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use signal_hook::consts::{SIGUSR1, SIGXFSZ};

use super::signals::{CaughtSignals, Statistics};
use super::stderr::print_line;
use super::{Cli, Command, CommandError, EchoArgs, EchoPlan, ServeArgs, ServePlan};
use crate::driver::DriverSelection;
use crate::serve::{self, CacheMonitor};
use crate::server::Server;
use crate::{connect, doctor};

/// Parses the command line of this process and runs its command.
pub fn run() -> ExitCode {
    // Handle SIGXFSZ, so that a write beyond the limit of file sizes fails instead of ending the
    // process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    // Ignore SIGUSR1 until statistics exist; its default action would end the process.
    let _ = signal_hook::flag::register(SIGUSR1, Arc::default());
    match dispatch(&Cli::parse().into_command()) {
        Ok(code) => code,
        Err(error) => {
            print_line(io::stderr(), &format!("ringd: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Doctor(args) => return Ok(doctor::run(args, anstream::stdout())),
        Command::Serve(args) => serve(args)?,
        Command::Echo(args) => echo(args)?,
        #[cfg(feature = "bench")]
        Command::Bench(args) => super::bench::run(args)?,
        #[cfg(feature = "bench")]
        Command::BenchServer(args) => super::bench::serve(args)?,
        Command::Connect(args) => connect::run(&args.peer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(args: &ServeArgs) -> Result<(), CommandError> {
    let ServePlan { server, http, selection, root, notes } = ServePlan::make(args)?;
    notes.iter().for_each(|note| print_line(io::stderr(), &format!("ringd: {note}")));
    let signals = CaughtSignals::catch()?;
    let serve::HttpServer { server, caches } = serve::http(&server, http, selection)?;
    let urls = server.addresses().iter().map(|address| format!(" http://{address}/"));
    let activity = format!("serving {root} at") + &urls.collect::<String>();
    run_server(server, signals, caches, &activity)
}

fn echo(args: &EchoArgs) -> Result<(), CommandError> {
    let EchoPlan { server, selection } = EchoPlan::make(args)?;
    let signals = CaughtSignals::catch()?;
    let server = serve::echo(&server, selection)?;
    let addresses = server.addresses().iter().map(|address| format!(" {address}"));
    let activity = "echoing at".to_owned() + &addresses.collect::<String>();
    run_server(server, signals, CacheMonitor::default(), &activity)
}

/// Handles signals, prints the start line, and waits until the server has ended.
fn run_server(
    server: Server,
    signals: CaughtSignals,
    caches: CacheMonitor,
    activity: &str,
) -> Result<(), CommandError> {
    let statistics = Statistics { monitor: server.monitor(), caches };
    signals.handle(server.stopper(), statistics)?;
    let DriverSelection { kind, why, .. } = server.selection();
    let workers = server.workers();
    print_line(
        io::stdout(),
        &format!("ringd: {activity}; driver: {kind} ({why}); workers: {workers}"),
    );
    server.join().map_err(|error| CommandError(format!("serving has ended: {error}")))
}
