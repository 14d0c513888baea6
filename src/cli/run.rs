//! Runs the command that the command line names.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use super::admin::AdminSocket;
use super::console::Console;
use super::controller::Controller;
use super::reloader::Reloader;
use super::serve::ListenerNumbers;
use super::signals::{self, CaughtSignals, SignalReceivers, Statistics};
use super::{
    Command, CommandError, Config, EchoArgs, EchoPlan, Flags, ServePlan, check, reload, show, usage,
};
use crate::driver::DriverSelection;
use crate::serve::{self, CacheMonitor};
use crate::server::{Endpoint, Server, StartError};
use crate::{connect, doctor};

/// Parses the command line of this process and runs its command.
pub fn run() -> ExitCode {
    signals::survive_file_limit();
    let (command, flags) = match usage::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => return error.print(),
    };
    match dispatch(&command, &flags) {
        Ok(code) => code,
        Err(error) => {
            // Not `eprintln`, which panics if standard error is closed.
            let _ = writeln!(io::stderr(), "ringd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command, flags: &Flags) -> Result<ExitCode, CommandError> {
    match command {
        Command::Serve(args) if args.file.test => {
            return Ok(check::run(args.file.config.as_deref(), flags));
        }
        Command::Serve(args) => {
            // Before a large file is read, since who sends SIGHUP may be early.
            signals::ignore_until_handled();
            let mut config = match &args.file.config {
                Some(path) => match check::load_or_explain(Some(path), flags) {
                    Ok(config) => config,
                    Err(code) => return Ok(code),
                },
                None => Config::from((**args).clone()),
            };
            config.drop_texts();
            return with_console(|console| serve(config, flags, console));
        }
        Command::Check(args) => return Ok(check::run(args.path(), &Flags::default())),
        Command::Reload(args) => return reload::run(args),
        Command::Config(args) => return show::run(args, flags),
        Command::Echo(args) => return with_console(|console| echo(args, console)),
        Command::Doctor(args) => return Ok(doctor::run(args, anstream::stdout())),
        #[cfg(feature = "bench")]
        Command::Bench(args) => super::bench::run(args)?,
        #[cfg(feature = "bench")]
        Command::BenchServer(args) => super::bench::serve(args)?,
        Command::Connect(args) => connect::run(&args.peer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that serves. Unlike other commands, it does not wait for the readers of its
/// lines, because its clients would wait with it.
fn with_console(
    command: impl FnOnce(&Console) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    signals::ignore_until_handled();
    let console = Console::open()?;
    console.report_panics();
    let result = command(&console);
    let code = match &result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.note(error);
            ExitCode::FAILURE
        }
    };
    console.flush();
    Ok(code)
}

fn serve(config: Config, flags: &Flags, console: &Console) -> Result<(), CommandError> {
    let ServePlan { server, http, selection, mut chosen, content, notes } =
        ServePlan::make(&config)?;
    config.notes.iter().chain(&notes).for_each(|note| console.note(note));
    let signals = CaughtSignals::catch()?;
    let admin = config.admin.as_deref().map(AdminSocket::bind).transpose()?;
    let sites = http.sites.sites().to_vec();
    let is_delayed = !server.timeouts.drain_delay.is_zero();
    let started = serve::http(&server, http, selection);
    let serve::HttpServer { server, caches, updater } = started.map_err(|error| {
        match (&config.path, &error) {
            // The flag that is otherwise suggested would replace all listeners of the file.
            (Some(path), StartError::Listen(_)) => {
                CommandError(format!("{error}, in {}", path.display()))
            }
            _ => error.into(),
        }
    })?;
    // It may have been replaced by another one.
    chosen.driver = chosen.driver.map(|_| server.selection().kind);
    let sites_max = config.sites_max();
    let controller = match config.path.clone() {
        None => None,
        Some(path) => {
            let flags = flags.clone();
            let first: Vec<u32> = (0..).take(config.options.server.listen.len()).collect();
            let numbers = ListenerNumbers::default().with(&config, &first);
            let is_stopping = Arc::default();
            let reloader = Reloader {
                path,
                flags,
                config,
                sites,
                numbers,
                sites_max,
                updater,
                chosen,
                is_stopping,
            };
            Some(Controller::start(reloader, console.clone())?)
        }
    };
    // Its file is removed when the server has ended.
    let _admin = match (admin, &controller) {
        (Some(admin), Some(controller)) => Some(admin.serve(controller.clone())?),
        _ => None,
    };
    let url = |endpoint: &Endpoint| match endpoint {
        Endpoint::Unix(address) => format!(" {address}"),
        tcp => format!(" http://{tcp}/"),
    };
    let urls = server.addresses().iter().map(url);
    let activity = format!("serving {content} at") + &urls.collect::<String>();
    let roles = Roles { signals, caches, controller, is_delayed };
    run_server(server, roles, &activity, console)
}

fn echo(args: &EchoArgs, console: &Console) -> Result<(), CommandError> {
    let EchoPlan { server, selection } = EchoPlan::make(args)?;
    let signals = CaughtSignals::catch()?;
    let is_delayed = !server.timeouts.drain_delay.is_zero();
    let server = serve::echo(&server, selection)?;
    let addresses = server.addresses().iter().map(|address| format!(" {address}"));
    let activity = "echoing at".to_owned() + &addresses.collect::<String>();
    let roles = Roles { signals, caches: CacheMonitor::default(), controller: None, is_delayed };
    run_server(server, roles, &activity, console)
}

/// What runs beside the workers of a server.
struct Roles {
    signals: CaughtSignals,
    caches: CacheMonitor,
    controller: Option<Controller>,
    /// Whether there is a delay between the first signal to stop and the drain.
    is_delayed: bool,
}

/// Handles signals, prints the start line, and waits until the server has ended. Says how many
/// connections a drain has cut off.
fn run_server(
    server: Server,
    roles: Roles,
    activity: &str,
    console: &Console,
) -> Result<(), CommandError> {
    let Roles { signals, caches, controller, is_delayed } = roles;
    let monitor = server.monitor();
    let statistics = Statistics { monitor: monitor.clone(), caches };
    let stopper = server.stopper();
    let console_of_signals = console.clone();
    signals.handle(SignalReceivers {
        stopper,
        statistics,
        controller,
        console: console_of_signals,
        is_delayed,
    })?;
    let DriverSelection { kind, why, .. } = server.selection();
    let workers = server.workers();
    console.say(format_args!("{activity}; driver: {kind} ({why}); workers: {workers}"));
    let ended = server.join();
    match monitor.cut_off() {
        0 => {}
        1 => console.note("--drain-timeout is over: 1 connection was cut off"),
        many => {
            let line = format_args!("--drain-timeout is over: {many} connections were cut off");
            console.note(line);
        }
    }
    ended.map_err(|error| {
        let remedy = "the other workers have finished their requests; start ringd again, and run \
                      `ringd doctor` if this repeats";
        CommandError(format!("serving has ended: {error}; {remedy}"))
    })
}
