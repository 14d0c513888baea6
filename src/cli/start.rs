//! Starts a file server or an echo server, and waits for its end.
//!
//! The order of the steps of a file server:
//!
//! 1. Everything is opened and bound ([`open()`]), and privileges are given up. No thread runs yet.
//! 2. The workers start, and accept.
//! 3. What runs beside them starts ([`Parts::start`]). If that fails, the server drains: clients
//!    may be connected.
//! 4. A server that takes over tells the old one, which drains then. From here on nothing fails.

use std::iter::repeat;
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
use super::signals::{CaughtSignals, SignalReceivers, Statistics, Stopping};
use super::take_over::{self, Giver, Taker};
use super::{CommandError, Config, EchoArgs, EchoPlan, Flags, ReachArgs, ServePlan};
use crate::admin::{
    Admin, AdminSockets, CertificateList, ConfigState, Reload, Source, TakeOver, TlsSource,
};
use crate::driver::DriverSelection;
use crate::events::EventKind;
use crate::http::ListenerRole;
use crate::http::compress::Compressor;
use crate::http::records::log::AccessLog;
use crate::sandbox::Sandbox;
use crate::serve::{self, CacheMonitor, HttpServer, HttpUpdater, TlsMonitor};
use crate::server::{BoundServer, Server, StartError};

/// How long the end of the process waits for the last lines of the access log.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// What a server has opened before its threads start.
struct Opened {
    plan: ServePlan,
    signals: CaughtSignals,
    taker: Option<Taker>,
    admin: Option<Arc<AdminSockets>>,
    bound: BoundServer,
    notify: Notify,
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
    let notify = Notify::connect().unwrap_or_else(|note| {
        plan.notes.push(note);
        Notify::default()
    });
    let (plan, sandbox) = confinement.apply(plan, config)?;
    console.start()?;
    config.notes.iter().chain(&plan.notes).for_each(|note| console.note(note));
    let log = plan.http.access_log.iter().try_for_each(|log| log.start());
    log.map_err(|error| CommandError::no_thread("the access log", &error))?;
    Ok(Opened { plan, signals, taker, admin: admin.map(Arc::new), bound, notify, sandbox })
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

/// Serves files until a signal ends it. `wanted` is what a start shows of its addresses.
///
/// # Errors
///
/// When the server cannot be started, and when a worker has failed.
pub(super) fn serve(
    config: Config,
    flags: &Flags,
    (wanted, takes_over): (ReachArgs, bool),
    console: &Console,
) -> Result<(), CommandError> {
    let Opened { mut plan, signals, taker, admin, bound, notify, sandbox } =
        open(&config, takes_over, console)?;
    let roles = plan.http.sites.roles().clone();
    let content = std::mem::take(&mut plan.content);
    let (http, selection) = (plan.http.clone(), plan.selection.clone());
    let tls = plan.tls.as_ref().map(|tls| &tls.config);
    let started = serve::on(bound, &plan.server, http, tls, selection);
    let HttpServer { server, caches, compressor, tls, updater } =
        started.map_err(|error| not_started(error, &config))?;
    // From here on, clients may be connected.
    let parts = Parts { config, plan, signals, sandbox, admin, notify, flags, console };
    let handles = Handles { caches, compressor, tls, updater };
    let ready = parts.start(&server, handles).and_then(|beside| {
        take_over::confirm(taker, &server, beside.admin.as_deref(), console)?;
        Ok(beside)
    });
    let beside = match ready {
        Ok(beside) => beside,
        Err(error) => {
            // Its result is of no interest beside this.
            let _ = server.stop();
            return Err(error);
        }
    };
    let told = beside.notify.ready(&Watched::of(&server, &beside.is_stopping));
    told.unwrap_or_else(|note| console.note(note));
    let is_secure = |number: &u32| roles.get(*number) == ListenerRole::Secure;
    let numbers = server.listener_numbers().iter();
    let reach = Reach::of(server.addresses(), numbers.map(is_secure), wanted);
    let mut line = start_line(&format!("serving {content} at{}", reach.list()), &server);
    if let Some(admin) = &beside.admin {
        let endpoints = admin.endpoints();
        let admin = Reach::of(&endpoints, repeat(false), ReachArgs::default());
        line += &format!("; admin:{}", admin.list());
    }
    line.extend(beside.sandbox.iter().flat_map(|holds| ["; sandbox: ", holds]));
    console.say_started(line);
    reach.show(console);
    wait(server, beside.access_log.as_deref(), console)
}

/// What a file server has beside its workers, before it runs.
struct Parts<'a> {
    config: Config,
    plan: ServePlan,
    signals: CaughtSignals,
    sandbox: Sandbox,
    admin: Option<Arc<AdminSockets>>,
    notify: Notify,
    flags: &'a Flags,
    console: &'a Console,
}

/// The same, when it runs. The files of the administration are removed when this is dropped.
struct Beside {
    admin: Option<Arc<AdminSockets>>,
    access_log: Option<Arc<AccessLog>>,
    is_stopping: Arc<AtomicBool>,
    notify: Notify,
    /// What the sandbox holds, for the start line.
    sandbox: Option<String>,
}

/// What reads the state of a file server, and changes it.
struct Handles {
    caches: CacheMonitor,
    compressor: Arc<Compressor>,
    tls: TlsMonitor,
    updater: HttpUpdater,
}

impl Parts<'_> {
    /// Gives up what only the start has needed, and starts everything that runs beside the workers.
    fn start(self, server: &Server, handles: Handles) -> Result<Beside, CommandError> {
        let Self { config, plan, signals, mut sandbox, admin, notify, flags, console } = self;
        let Handles { caches, compressor, tls: handshakes, updater } = handles;
        let kind = server.selection().kind;
        sandbox.finish(kind).map_err(|error| CommandError(error.to_string()))?;
        let holds = sandbox.summary(kind);
        let ServePlan { server: settings, http, tls, site_files, mut chosen, .. } = plan;
        // It may have been replaced by another one.
        chosen.driver = chosen.driver.map(|_| kind);
        let state = Arc::<ConfigState>::default();
        let is_stopping = Arc::<AtomicBool>::default();
        let has_reloads = config.path.is_some() || tls.is_some() || config.reads_site_files();
        let certificates = CertificateList::default();
        let source_tls = has_reloads.then(|| TlsSource::new(handshakes, certificates.clone()));
        let reloader = has_reloads.then(|| Reloader {
            path: config.path.clone(),
            flags: flags.clone(),
            sites_max: config.sites_max(),
            numbers: ListenerNumbers::at_start(&config),
            config,
            sites: http.sites.sites().to_vec(),
            site_files,
            tls,
            certificates,
            updater,
            clients: settings.clients.clone(),
            sandbox,
            chosen,
            is_stopping: Arc::clone(&is_stopping),
            state: Arc::clone(&state),
        });
        let control = |reloader| Controller::start(reloader, console.clone(), notify.clone());
        let controller = reloader.map(control).transpose()?;
        let source = http.metrics.map(|metrics| Source {
            selection: server.selection().clone(),
            monitor: server.monitor(),
            caches: caches.clone(),
            compressor,
            tls: source_tls,
            metrics,
            access_log: http.access_log.clone(),
            events: console.events().clone(),
            clients: settings.clients.clone(),
            client_limits: Arc::clone(&http.client_limits),
            connections_max: settings.connections_max,
            config: state,
            is_stopping: Arc::clone(&is_stopping),
            started: (Instant::now(), SystemTime::now()),
        });
        if let (Some(admin), Some(source)) = (&admin, source) {
            let giver = Giver::new(server, admin, (console, &notify), &is_stopping);
            let served = admin.serve(administration(source, controller.clone(), giver));
            served.map_err(|error| CommandError::no_thread("the administration", &error))?;
        }
        notify.start(Watched::of(server, &is_stopping))?;
        let access_log = http.access_log;
        let is_delayed = !settings.timeouts.drain_delay.is_zero();
        let stop =
            Stopping { is_stopping: Arc::clone(&is_stopping), is_delayed, notify: notify.clone() };
        signals.handle(receivers(server, console, stop, caches, (controller, &access_log)))?;
        Ok(Beside { admin, access_log, is_stopping, notify, sandbox: holds })
    }
}

/// What clients of the administration may ask for.
fn administration(source: Source, controller: Option<Controller>, giver: Giver) -> Admin {
    let reload =
        |controller: Controller| -> Reload { Box::new(move |config| controller.reload(config)) };
    let take_over: TakeOver = Box::new(move |client| giver.give(client));
    Admin::new(source, controller.map(reload), Some(take_over))
}

/// What the signals of a server are for.
fn receivers(
    server: &Server,
    console: &Console,
    stop: Stopping,
    caches: CacheMonitor,
    (controller, access_log): (Option<Controller>, &Option<Arc<AccessLog>>),
) -> SignalReceivers {
    SignalReceivers {
        stopper: server.stopper(),
        statistics: Statistics { monitor: server.monitor(), caches },
        controller,
        console: console.clone(),
        access_log: access_log.clone(),
        stop,
    }
}

/// Echoes what clients send until a signal ends it.
///
/// # Errors
///
/// As for [`serve()`].
pub(super) fn echo(args: &EchoArgs, console: &Console) -> Result<(), CommandError> {
    let EchoPlan { server, selection } = EchoPlan::make(args, console.events())?;
    let signals = CaughtSignals::catch()?;
    let is_delayed = !server.timeouts.drain_delay.is_zero();
    let server = serve::echo(&server, selection)?;
    let stop = Stopping { is_stopping: Arc::default(), is_delayed, notify: Notify::default() };
    let caches = CacheMonitor::default();
    signals.handle(receivers(&server, console, stop, caches, (None, &None)))?;
    let addresses = server.addresses().iter().map(|address| format!(" {address}"));
    let activity = "echoing at".to_owned() + &addresses.collect::<String>();
    console.say_started(start_line(&activity, &server));
    wait(server, None, console)
}

/// What a server does, with which driver, and with how many workers.
fn start_line(activity: &str, server: &Server) -> String {
    let DriverSelection { kind, why, .. } = server.selection();
    format!("{activity}; driver: {kind} ({why}); workers: {}", server.workers())
}

/// Waits until a server has ended. Says how many connections a drain has cut off.
fn wait(
    server: Server,
    access_log: Option<&AccessLog>,
    console: &Console,
) -> Result<(), CommandError> {
    let monitor = server.monitor();
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
