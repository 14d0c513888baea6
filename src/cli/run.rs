//! Runs the command that the command line names.

use std::io::{self, Write};
use std::iter::repeat;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use super::confinement::Confinement;
use super::console::Console;
use super::controller::Controller;
use super::notify::{Notify, Watched};
use super::reach::Reach;
use super::reloader::Reloader;
use super::serve::ListenerNumbers;
use super::signals::{self, CaughtSignals, SignalReceivers, Statistics, Stopping};
use super::take_over::{self, Giver, Taker};
use super::{
    Command, CommandError, Config, EchoArgs, EchoPlan, Flags, ObserveArgs, ReachArgs, ServePlan,
    check, health, passwd, reload, show, usage,
};
use crate::admin::{
    Admin, AdminFiles, AdminListeners, CertificateList, ConfigState, Reload, Source, TakeOver,
    TlsSource,
};
use crate::driver::DriverSelection;
use crate::events::EventKind;
use crate::http::records::log::AccessLog;
use crate::http::{ListenerRole, ListenerRoles};
use crate::sandbox::Sandbox;
use crate::serve::{self, CacheMonitor};
use crate::server::{BoundServer, Endpoint, Server, StartError};
use crate::{connect, doctor};

/// How long the end of the process waits for the last lines of the access log.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// What a command that serves returns.
type CommandResult = Result<(), CommandError>;

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
            let is_confined = config.options.sandbox.is_on();
            let wanted = (args.reach, args.file.take_over);
            let serve = |console: &Console| serve(config, flags, wanted, console);
            return with_console(&observe, is_confined, serve);
        }
        Command::Check(args) => return Ok(check::run(args.path(), &Flags::default())),
        Command::Reload(args) => return reload::run(args),
        Command::Health(args) => return health::run(args),
        Command::Passwd(args) => return passwd::run(args),
        Command::Config(args) => return show::run(args, flags),
        Command::Echo(args) => {
            return with_console(&ObserveArgs::default(), false, |console| echo(args, console));
        }
        Command::Tour(args) => super::tour::run(args)?,
        Command::Doctor(args) => return Ok(doctor::run(args, anstream::stdout())),
        #[cfg(feature = "precompress")]
        Command::Precompress(args) => return super::precompress::run(args),
        #[cfg(feature = "bench")]
        Command::Bench(args) => super::bench::run(args)?,
        #[cfg(feature = "bench")]
        Command::BenchServer(args) => super::bench::serve(args)?,
        Command::Connect(args) => connect::run(&args.peer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that serves. Unlike other commands, it does not wait for the readers of its
/// lines, because its clients would wait with it. If it `gives_up` privileges first, it starts the
/// threads of the console itself.
fn with_console(
    observe: &ObserveArgs,
    gives_up: bool,
    command: impl FnOnce(&Console) -> Result<(), CommandError>,
) -> Result<ExitCode, CommandError> {
    signals::ignore_until_handled();
    let console = Console::open(observe)?;
    console.report_panics();
    if !gives_up {
        console.start()?;
    }
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

/// What a server has opened before its threads start.
struct Opened {
    plan: ServePlan,
    signals: CaughtSignals,
    taker: Option<Taker>,
    admin: AdminListeners,
    bound: BoundServer,
    sandbox: Sandbox,
}

/// Opens and binds everything, and gives up what is not needed any more. Then the threads of the
/// logs may start.
fn open(config: &Config, takes_over: bool, console: &Console) -> Result<Opened, CommandError> {
    let confinement = Confinement::of(config)?;
    let mut plan = ServePlan::make(config, console.events())?;
    let signals = CaughtSignals::catch()?;
    let (taker, admin) = take_over::open_places(config, takes_over, &mut plan.server)?;
    let bound = BoundServer::bind(&plan.server).map_err(|error| not_started(error, config))?;
    let (plan, sandbox) = confinement.apply(plan, config)?;
    console.start()?;
    config.notes.iter().chain(&plan.notes).for_each(|note| console.note(note));
    let log = plan.http.access_log.iter().try_for_each(|log| log.start());
    log.map_err(|error| CommandError::no_thread("the access log", &error))?;
    Ok(Opened { plan, signals, taker, admin, bound, sandbox })
}

/// What a start shows of its addresses, and whether it takes over from another server.
type StartArgs = (ReachArgs, bool);

fn serve(config: Config, flags: &Flags, args: StartArgs, console: &Console) -> CommandResult {
    let (wanted, takes_over) = args;
    let opened = open(&config, takes_over, console)?;
    let Opened { plan, signals, taker, admin, bound, mut sandbox } = opened;
    let ServePlan { server, http, tls, site_files, selection, mut chosen, content, .. } = plan;
    let (sites, roles) = (http.sites.sites().to_vec(), http.sites.roles().clone());
    let (connections_max, delay) = (server.connections_max, server.timeouts.drain_delay);
    let (clients, client_limits) = (server.clients.clone(), Arc::clone(&http.client_limits));
    let (access_log, metrics) = (http.access_log.clone(), http.metrics.clone());
    let started = serve::on(bound, &server, http, tls.as_ref().map(|tls| &tls.config), selection);
    let serve::HttpServer { server, caches, compressor, tls: handshakes, updater } =
        started.map_err(|error| not_started(error, &config))?;
    let holds = finish(&mut sandbox, &server)?;
    // It may have been replaced by another one.
    chosen.driver = chosen.driver.map(|_| server.selection().kind);
    let (state, is_stopping, notify) = <(Arc<ConfigState>, Arc<AtomicBool>, Notify)>::default();
    let has_reloads = config.path.is_some() || tls.is_some() || config.reads_site_files();
    let certificates = CertificateList::default();
    let source_tls = has_reloads.then(|| TlsSource::new(handshakes, certificates.clone()));
    let reloader = has_reloads.then(|| Reloader {
        path: config.path.clone(),
        flags: flags.clone(),
        sites_max: config.sites_max(),
        numbers: ListenerNumbers::at_start(&config),
        config,
        sites,
        site_files,
        tls,
        certificates,
        updater,
        clients: clients.clone(),
        sandbox,
        chosen,
        is_stopping: Arc::clone(&is_stopping),
        state: Arc::clone(&state),
    });
    let control = |reloader| Controller::start(reloader, console.clone(), notify.clone());
    let controller = reloader.map(control).transpose()?;
    let admin_places = admin.endpoints();
    let giver = Giver::new(&server, &admin, (console, &notify), &is_stopping);
    let source = metrics.map(|metrics| Source {
        selection: server.selection().clone(),
        monitor: server.monitor(),
        caches: caches.clone(),
        compressor,
        tls: source_tls,
        metrics,
        access_log: access_log.clone(),
        events: console.events().clone(),
        clients,
        client_limits,
        connections_max,
        config: state,
        is_stopping: Arc::clone(&is_stopping),
        started: (Instant::now(), SystemTime::now()),
    });
    // Their files are removed when the server has ended.
    let mut files = administer(admin, source, controller.clone(), giver)?;
    let server = take_over::confirm(taker, server, files.as_mut(), console)?;
    let reach = reach_of(&server, &roles, wanted);
    notify.set(Watched::of(&server, &is_stopping))?;
    let activity = format!("serving {content} at{}", reach.list());
    let stop = Stopping { is_stopping, is_delayed: !delay.is_zero(), notify };
    let roles = Roles { signals, caches, controller, access_log, stop, reach: Some(reach) };
    run_server(server, roles, (&activity, &admin_places, holds.as_deref()), console)
}

/// Serves the clients of the administration, if there is one.
fn administer(
    admin: AdminListeners,
    source: Option<Source>,
    controller: Option<Controller>,
    giver: Giver,
) -> Result<Option<AdminFiles>, CommandError> {
    let Some(source) = source else { return Ok(None) };
    let take_over: TakeOver = Box::new(move |client| giver.give(client));
    let served = admin.serve(Admin::new(source, controller.map(reload_by), Some(take_over)));
    served.map(Some).map_err(|error| CommandError::no_thread("the administration", &error))
}

/// Gives up what only the start has needed. Returns what the sandbox holds, for the start line.
fn finish(sandbox: &mut Sandbox, server: &Server) -> Result<Option<String>, CommandError> {
    let kind = server.selection().kind;
    sandbox.finish(kind).map_err(|error| CommandError(error.to_string()))?;
    Ok(sandbox.summary(kind))
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

/// The addresses of a server, as a browser takes them.
fn reach_of(server: &Server, roles: &ListenerRoles, wanted: ReachArgs) -> Reach {
    let is_secure = |number: &u32| roles.get(*number) == ListenerRole::Secure;
    Reach::of(server.addresses(), server.listener_numbers().iter().map(is_secure), wanted)
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
        stop: Stopping { is_stopping: Arc::default(), is_delayed, notify: Notify::default() },
        reach: None,
    };
    run_server(server, roles, (&activity, &[], None), console)
}

/// What runs beside the workers of a server.
struct Roles {
    signals: CaughtSignals,
    caches: CacheMonitor,
    controller: Option<Controller>,
    access_log: Option<Arc<AccessLog>>,
    stop: Stopping,
    /// The addresses, for `--open` and `--qr`.
    reach: Option<Reach>,
}

/// Handles signals, prints the start line, and waits until the server has ended. Says how many
/// connections a drain has cut off.
fn run_server(
    server: Server,
    roles: Roles,
    (activity, admin, sandbox): (&str, &[Endpoint], Option<&str>),
    console: &Console,
) -> Result<(), CommandError> {
    let Roles { signals, caches, controller, access_log, stop, reach } = roles;
    let monitor = server.monitor();
    signals.handle(SignalReceivers {
        stopper: server.stopper(),
        statistics: Statistics { monitor: monitor.clone(), caches },
        controller,
        console: console.clone(),
        access_log: access_log.clone(),
        stop,
    })?;
    let DriverSelection { kind, why, .. } = server.selection();
    let workers = server.workers();
    let admin = if admin.is_empty() {
        String::new()
    } else {
        format!("; admin:{}", Reach::of(admin, repeat(false), ReachArgs::default()).list())
    };
    let sandbox = sandbox.map(|holds| format!("; sandbox: {holds}")).unwrap_or_default();
    let line = format!("{activity}; driver: {kind} ({why}); workers: {workers}{admin}{sandbox}");
    console.say_started(line);
    if let Some(reach) = reach {
        reach.show(console);
    }
    let ended = server.join();
    match monitor.counts().cut_off {
        0 => {}
        1 => {
            console.tell(EventKind::Stopping, "--drain-timeout is over: 1 connection was cut off");
        }
        many => {
            let line = format!("--drain-timeout is over: {many} connections were cut off");
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
