//! The `ringd` command: parse, start, say so, stop when told.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use ringd::cli::{Cli, Plan};
use ringd::http::{Http, Site};
use ringd::server::{self, Server, StartError, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(io::stderr(), &format!("ringd: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), StartError> {
    let plan = Plan::make(cli)?;
    // Before the first worker starts, so that no signal finds its default action.
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let http = plan.http.clone();
    let server =
        server::start::<Http>(&plan.server, plan.choice.clone(), move || Site::new(http.clone()))?;
    tell(io::stdout(), &banner(&plan, &server));
    stop_on_signal(signals, server.stopper())?;
    Ok(server.join()?)
}

/// Writes a line for a person, if anybody listens: a full disk or a reader that is gone is no
/// reason to stop serving.
fn tell(mut to: impl io::Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

/// What is said once connections are accepted: where, what, how and why.
fn banner(plan: &Plan, server: &Server) -> String {
    let mut text = String::from("ringd: serving ");
    let choice = server.choice();
    // Writing to a string cannot fail.
    let _ = write!(text, "{} at", plan.root.display());
    for address in server.addresses() {
        let _ = write!(text, " http://{address}/");
    }
    let _ = write!(
        text,
        "; driver: {} ({}); workers: {}",
        choice.kind, choice.why, plan.server.workers
    );
    text
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
            stopper.stop();
            let message = "ringd: finishing open connections; a second signal ends at once";
            tell(io::stderr(), message);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(watch).map(drop)
}
