//! Runs the command that the command line names.

use std::io::{self, Write};
use std::iter::repeat;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use super::console::Console;
use super::controller::Controller;
use super::reloader::Reloader;
use super::serve::ListenerNumbers;
use super::signals::{self, CaughtSignals, SignalReceivers, Statistics};
use super::{
    Command, CommandError, Config, EchoArgs, EchoPlan, Flags, ObserveArgs, ServePlan, check,
    health, reload, show, usage,
};
use crate::admin::{
    Admin, AdminListeners, CertificateList, ConfigState, Reload, Source, TlsSource,
};
use crate::driver::DriverSelection;
use crate::events::EventKind;
use crate::http::ListenerRole;
use crate::http::records::log::AccessLog;
use crate::serve::{self, CacheMonitor};
use crate::server::{Endpoint, Server, StartError};
use crate::{connect, doctor};

/// How long the end of the process waits for the last lines of the access log.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

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
            let observe = config.options.observe.clone();
            return with_console(&observe, |console| serve(config, flags, console));
        }
        Command::Check(args) => return Ok(check::run(args.path(), &Flags::default())),
        Command::Reload(args) => return reload::run(args),
        Command::Health(args) => return health::run(args),
        Command::Config(args) => return show::run(args, flags),
        Command::Echo(args) => {
            return with_console(&ObserveArgs::default(), |console| echo(args, console));
        }
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
    observe: &ObserveArgs,
    command: impl FnOnce(&Console) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    signals::ignore_until_handled();
    let console = Console::open(observe)?;
    console.report_panics();
    let result = command(&console);
    let code = match &result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.fail(error);
            ExitCode::FAILURE
        }
    };
    console.flush();
    Ok(code)
}

fn serve(config: Config, flags: &Flags, console: &Console) -> Result<(), CommandError> {
    let ServePlan { server, http, tls, selection, mut chosen, content, notes } =
        ServePlan::make(&config, console.events())?;
    config.notes.iter().chain(&notes).for_each(|note| console.note(note));
    let signals = CaughtSignals::catch()?;
    let admin = AdminListeners::bind(&config.options.observe.admin_places());
    let admin = admin.map_err(CommandError)?;
    let sites = http.sites.sites().to_vec();
    let is_delayed = !server.timeouts.drain_delay.is_zero();
    let connections_max = server.connections_max;
    let (access_log, metrics) = (http.access_log.clone(), http.metrics.clone());
    let roles = http.sites.roles().clone();
    let started = match &tls {
        None => serve::http(&server, http, selection),
        Some(tls) => serve::https(&server, http, &tls.config, selection),
    };
    let started = started.map_err(|error| not_started(error, &config))?;
    let serve::HttpServer { server, caches, tls: handshakes, updater } = started;
    // It may have been replaced by another one.
    chosen.driver = chosen.driver.map(|_| server.selection().kind);
    let (state, is_stopping) = (Arc::<ConfigState>::default(), Arc::<AtomicBool>::default());
    let numbers: Vec<u32> = (0..).take(config.options.server.listen.len()).collect();
    let has_reloads = config.path.is_some() || tls.is_some();
    let certificates = CertificateList::default();
    let source_tls = has_reloads.then(|| TlsSource::new(handshakes, certificates.clone()));
    let reloader = has_reloads.then(|| Reloader {
        path: config.path.clone(),
        flags: flags.clone(),
        sites_max: config.sites_max(),
        numbers: ListenerNumbers::default().with(&config, &numbers),
        config,
        sites,
        tls,
        certificates,
        updater,
        chosen,
        is_stopping: Arc::clone(&is_stopping),
        state: Arc::clone(&state),
    });
    let start = |reloader| Controller::start(reloader, console.clone());
    let controller = reloader.map(start).transpose()?;
    let admin_places = admin.endpoints();
    // Their files are removed when the server has ended.
    let _files = metrics.map(|metrics| {
        let source = Source {
            selection: server.selection().clone(),
            monitor: server.monitor(),
            caches: caches.clone(),
            tls: source_tls,
            metrics,
            access_log: access_log.clone(),
            events: console.events().clone(),
            connections_max,
            config: state,
            is_stopping: Arc::clone(&is_stopping),
            started: (Instant::now(), SystemTime::now()),
        };
        let served = admin.serve(Admin::new(source, controller.clone().map(reload_by)));
        served.map_err(|error| CommandError::no_thread("the administration", &error))
    });
    let _files = _files.transpose()?;
    let is_secure = |number: &u32| roles.get(*number) == ListenerRole::Secure;
    let secure = server.listener_numbers().iter().map(is_secure);
    let activity = format!("serving {content} at{}", urls(server.addresses(), secure));
    let roles = Roles { signals, caches, controller, access_log, is_stopping, is_delayed };
    run_server(server, roles, (&activity, &admin_places), console)
}

fn not_started(error: StartError, config: &Config) -> CommandError {
    match (&config.path, &error) {
        // The flag that is otherwise suggested would replace all listeners of the file.
        (Some(path), StartError::Listen(_)) => {
            CommandError(format!("{error}, in {}", path.display()))
        }
        _ => error.into(),
    }
}

/// Lets clients of the administration reload.
fn reload_by(controller: Controller) -> Reload {
    Box::new(move |config| controller.reload(config))
}

/// Addresses as a browser takes them, and whether each is secure.
fn urls(endpoints: &[Endpoint], secure: impl IntoIterator<Item = bool>) -> String {
    let url = |(endpoint, is_secure): (&Endpoint, bool)| match endpoint {
        Endpoint::Unix(address) => format!(" {address}"),
        tcp if is_secure => format!(" https://{tcp}/"),
        tcp => format!(" http://{tcp}/"),
    };
    endpoints.iter().zip(secure).map(url).collect()
}

fn echo(args: &EchoArgs, console: &Console) -> Result<(), CommandError> {
    let EchoPlan { server, selection } = EchoPlan::make(args, console.events())?;
    let signals = CaughtSignals::catch()?;
    let is_delayed = !server.timeouts.drain_delay.is_zero();
    let server = serve::echo(&server, selection)?;
    let addresses = server.addresses().iter().map(|address| format!(" {address}"));
    let activity = "echoing at".to_owned() + &addresses.collect::<String>();
    let roles = Roles {
        signals,
        caches: CacheMonitor::default(),
        controller: None,
        access_log: None,
        is_stopping: Arc::default(),
        is_delayed,
    };
    run_server(server, roles, (&activity, &[]), console)
}

/// What runs beside the workers of a server.
struct Roles {
    signals: CaughtSignals,
    caches: CacheMonitor,
    controller: Option<Controller>,
    access_log: Option<Arc<AccessLog>>,
    is_stopping: Arc<AtomicBool>,
    /// Whether there is a delay between the first signal to stop and the drain.
    is_delayed: bool,
}

/// Handles signals, prints the start line, and waits until the server has ended. Says how many
/// connections a drain has cut off.
fn run_server(
    server: Server,
    roles: Roles,
    (activity, admin): (&str, &[Endpoint]),
    console: &Console,
) -> Result<(), CommandError> {
    let Roles { signals, caches, controller, access_log, is_stopping, is_delayed } = roles;
    let monitor = server.monitor();
    signals.handle(SignalReceivers {
        stopper: server.stopper(),
        statistics: Statistics { monitor: monitor.clone(), caches },
        controller,
        console: console.clone(),
        access_log: access_log.clone(),
        is_stopping,
        is_delayed,
    })?;
    let DriverSelection { kind, why, .. } = server.selection();
    let workers = server.workers();
    let admin = if admin.is_empty() {
        String::new()
    } else {
        format!("; admin:{}", urls(admin, repeat(false)))
    };
    let line = format_args!("{activity}; driver: {kind} ({why}); workers: {workers}{admin}");
    console.say_started(line);
    let ended = server.join();
    match monitor.counts().cut_off {
        0 => {}
        1 => {
            console.tell(EventKind::Stopping, "--drain-timeout is over: 1 connection was cut off");
        }
        many => {
            let line = format_args!("--drain-timeout is over: {many} connections were cut off");
            console.tell(EventKind::Stopping, line);
        }
    }
    if access_log.is_some_and(|log| !log.flush(LAST_LINES_WAIT)) {
        let line = "the last lines of the access log are lost: they could not be written in time";
        console.tell(EventKind::AccessLog, line);
    }
    ended.map_err(|error| {
        let remedy = "the other workers have finished their requests; start ringd again, and run \
                      `ringd doctor` if this repeats";
        CommandError(format!("serving has ended: {error}; {remedy}"))
    })
}
