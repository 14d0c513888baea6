//! Tells the service manager how the server is (`sd_notify(3)`). Without `NOTIFY_SOCKET`, nothing
//! of this happens.
//!
//! There is one socket, which is connected before the server gives up its user and enters a
//! sandbox: later it could not connect any more.
//!
//! | when | what |
//! | --- | --- |
//! | all workers accept | `READY=1` |
//! | each [`STATUS_EVERY`] | `STATUS=` |
//! | a reload begins and ends | `RELOADING=1` with `MONOTONIC_USEC=`, `READY=1` |
//! | a drain begins, and goes on | `STOPPING=1`, `EXTEND_TIMEOUT_USEC=` |
//! | half of `WATCHDOG_USEC` is over, and every worker responds | `WATCHDOG=1` |

use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::CommandError;
use crate::driver::DriverKind;
use crate::server::{Monitor, Server};
use crate::signal_mask::block_signals;

/// The variable with the address of the service manager.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// How long a message may wait while the service manager does not read.
const SEND_MAX: Duration = Duration::from_secs(1);

/// How often the status is told.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// How often more time is asked for while the server drains, and how much.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTEND_BY: Duration = Duration::from_secs(15);

/// How long the workers may take to respond, at most half of the time of a watchdog.
const RESPONSE_MAX: Duration = Duration::from_secs(1);

/// Tells the service manager; see the module documentation. Clones tell the same one.
#[derive(Clone, Default, Debug)]
pub(super) struct Notify {
    /// `None` if nobody is to be told.
    manager: Option<Arc<Manager>>,
    /// Wakes the thread. Empty before it is started, and if nobody is to be told.
    wake: Arc<OnceLock<Sender<()>>>,
}

/// What the thread looks at.
pub(super) struct Watched {
    monitor: Monitor,
    driver: DriverKind,
    is_stopping: Arc<AtomicBool>,
}

impl Notify {
    /// Connects to the service manager, if there is one.
    ///
    /// # Errors
    ///
    /// A note, when it cannot be reached. The server can do without it.
    pub(super) fn connect() -> Result<Self, String> {
        let Some(address) = std::env::var_os(NOTIFY_SOCKET).filter(|it| !it.is_empty()) else {
            return Ok(Self::default());
        };
        let manager = Manager::connect(&address).map_err(|error| not_told(&error))?;
        Ok(Self { manager: Some(Arc::new(manager)), wake: Arc::default() })
    }

    /// Starts the thread that says something from time to time.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(&self, watched: Watched) -> Result<(), CommandError> {
        let Some(manager) = self.manager.clone() else { return Ok(()) };
        let (wake, woken) = mpsc::channel();
        let run = move || {
            block_signals();
            let mut due = Due::new(sd_notify::watchdog_enabled());
            loop {
                let now = Instant::now();
                due.tell(&watched, &manager, now);
                let wait = due.next(now).saturating_duration_since(Instant::now());
                // Whoever could wake it is gone at the end of the process only.
                if woken.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    thread::sleep(wait);
                }
            }
        };
        let started = thread::Builder::new().name("notify".into()).spawn(run);
        started.map_err(|error| CommandError::no_thread("sd_notify", &error))?;
        // This is called once.
        let _ = self.wake.set(wake);
        Ok(())
    }

    /// Says that the server is ready.
    ///
    /// # Errors
    ///
    /// A note, when this cannot be said.
    pub(super) fn ready(&self, watched: &Watched) -> Result<(), String> {
        let Some(manager) = self.running() else { return Ok(()) };
        let told = manager.send(&[NotifyState::Ready, NotifyState::Status(&watched.status())]);
        told.map_err(|error| not_told(&error))
    }

    /// The service manager, when the thread runs.
    fn running(&self) -> Option<&Manager> {
        self.wake.get().and(self.manager.as_deref())
    }

    /// Says that a reload has begun. Without the time, systemd takes the next `READY=1` for an old
    /// one, and ends the service after a while (`Type=notify-reload`).
    pub(super) fn reloading(&self) {
        if let Some(manager) = self.running() {
            // The clock of this process can be read.
            let time = NotifyState::monotonic_usec_now().ok();
            let both: Vec<_> = [NotifyState::Reloading].into_iter().chain(time).collect();
            manager.tell(&both);
        }
    }

    /// Says that a reload has ended, whatever the result.
    pub(super) fn reloaded(&self, line: &str) {
        if let Some(manager) = self.running() {
            let first = line.lines().next().unwrap_or_default();
            manager.tell(&[NotifyState::Ready, NotifyState::Status(first)]);
        }
    }

    /// Says that the server stops, and from now on that it takes time.
    pub(super) fn stopping(&self) {
        if let (Some(manager), Some(wake)) = (&self.manager, self.wake.get()) {
            manager.tell(&[NotifyState::Stopping, extension()]);
            // The thread lives as long as the process.
            let _ = wake.send(());
        }
    }
}

fn extension() -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(EXTEND_BY.as_micros() as u32)
}

/// A note.
fn not_told(error: &io::Error) -> String {
    format!(
        "{NOTIFY_SOCKET}: the service manager cannot be told how the server is: {error}; with \
         Type=notify it ends the server after a while, so let ringd reach this socket, or use \
         Type=exec"
    )
}

/// A socket that is connected to the service manager.
#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    fn connect(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(Path::new(address))?,
            _ => return Err(io::Error::other("the address is neither a path nor @NAME")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        socket.connect_addr(&address)?;
        Ok(Self { socket, address })
    }

    /// Nobody can be told if this fails.
    fn tell(&self, states: &[NotifyState<'_>]) {
        let _ = self.send(states);
    }

    fn send(&self, states: &[NotifyState<'_>]) -> io::Result<()> {
        let mut message = String::new();
        for state in states {
            writeln!(message, "{state}").map_err(io::Error::other)?;
        }
        let mut has_connected = false;
        loop {
            match self.socket.send(message.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The manager has made its socket anew. Within a sandbox, this fails.
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused && !has_connected =>
                {
                    self.socket.connect_addr(&self.address)?;
                    has_connected = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Watched {
    /// Looks at this server.
    pub(super) fn of(server: &Server, is_stopping: &Arc<AtomicBool>) -> Self {
        let (monitor, driver) = (server.monitor(), server.selection().kind);
        Self { monitor, driver, is_stopping: Arc::clone(is_stopping) }
    }

    fn status(&self) -> String {
        let connections = self.monitor.worker_stats().connections;
        let noun = if connections == 1 { "connection" } else { "connections" };
        format!("serving; {}; {connections} {noun}", self.driver)
    }
}

/// When something is told next.
struct Due {
    status: Instant,
    extension: Instant,
    /// Half of the time of the watchdog, and when it is told next.
    watchdog: Option<(Duration, Instant)>,
}

impl Due {
    fn new(watchdog: Option<Duration>) -> Self {
        let now = Instant::now();
        let half = watchdog.map(|whole| whole / 2).filter(|half| !half.is_zero());
        Self { status: now + STATUS_EVERY, extension: now, watchdog: half.map(|half| (half, now)) }
    }

    fn tell(&mut self, watched: &Watched, manager: &Manager, now: Instant) {
        let is_stopping = watched.is_stopping.load(Ordering::Relaxed);
        if self.status <= now && !is_stopping {
            manager.tell(&[NotifyState::Status(&watched.status())]);
            self.status = now + STATUS_EVERY;
        }
        if is_stopping && self.extension <= now {
            manager.tell(&[extension()]);
            self.extension = now + EXTEND_EVERY;
        }
        if let Some((half, at)) = &mut self.watchdog
            && *at <= now
        {
            // A worker that hangs keeps the watchdog from being told, so the manager acts.
            if watched.monitor.unresponsive(RESPONSE_MAX.min(*half)).is_empty() {
                manager.tell(&[NotifyState::Watchdog]);
            }
            *at = now + *half;
        }
    }

    fn next(&self, now: Instant) -> Instant {
        let watchdog = self.watchdog.map(|(_, at)| at);
        let first = [self.status, self.extension].into_iter().chain(watchdog);
        // The extension matters in a drain only, and a drain wakes the thread.
        first.filter(|at| *at > now).min().unwrap_or(now + EXTEND_EVERY)
    }
}
