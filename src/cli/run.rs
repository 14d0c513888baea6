//! Running a command: parse, start, say so, stop when told.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use signal_hook::consts::{SIGUSR1, SIGXFSZ};

use super::signals::{Signals, Statistics};
use super::tell::tell;
use super::{Cli, Command, EchoArgs, EchoPlan, Failure, ServeArgs, ServePlan};
use crate::driver::DriverSelection;
use crate::serve::{self, CacheMonitor};
use crate::server::Server;
use crate::{connect, doctor};

/// Does what the command line of this process says.
pub fn run() -> ExitCode {
    // A write beyond the limit of file sizes then fails, and does not end the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    // The default action of SIGUSR1 would end the process before there are statistics to show.
    let _ = signal_hook::flag::register(SIGUSR1, Arc::default());
    match dispatch(&Cli::parse().into_command()) {
        Ok(code) => code,
        Err(error) => {
            tell(io::stderr(), &format!("ringd: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<ExitCode, Failure> {
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

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let ServePlan { server, http, selection, root, notes } = ServePlan::make(args)?;
    notes.iter().for_each(|note| tell(io::stderr(), &format!("ringd: {note}")));
    let signals = Signals::watch()?;
    let serve::HttpServer { server, caches } = serve::http(&server, http, selection)?;
    let urls = server.addresses().iter().map(|address| format!(" http://{address}/"));
    let does = format!("serving {root} at") + &urls.collect::<String>();
    run_server(server, signals, caches, &does)
}

fn echo(args: &EchoArgs) -> Result<(), Failure> {
    let EchoPlan { server, selection } = EchoPlan::make(args)?;
    let signals = Signals::watch()?;
    let server = serve::echo(&server, selection)?;
    let addresses = server.addresses().iter().map(|address| format!(" {address}"));
    let does = "echoing at".to_owned() + &addresses.collect::<String>();
    run_server(server, signals, CacheMonitor::default(), &does)
}

/// Says what the server does, and waits until a signal has ended it.
fn run_server(
    server: Server,
    signals: Signals,
    caches: CacheMonitor,
    does: &str,
) -> Result<(), Failure> {
    let statistics = Statistics { monitor: server.monitor(), caches };
    signals.obey(server.stopper(), statistics)?;
    let DriverSelection { kind, why, .. } = server.selection();
    let workers = server.workers();
    tell(io::stdout(), &format!("ringd: {does}; driver: {kind} ({why}); workers: {workers}"));
    server.join().map_err(|error| Failure(error.to_string()))
}
