//! Tells the service manager how the server is (`sd_notify(3)`). Without `NOTIFY_SOCKET`, nothing
//! of this happens.
//!
//! | when | what |
//! | --- | --- |
//! | all workers accept | `READY=1` |
//! | each [`STATUS_EVERY`] | `STATUS=` |
//! | a reload begins and ends | `RELOADING=1` with `MONOTONIC_USEC=`, `READY=1` |
//! | a drain begins, and goes on | `STOPPING=1`, `EXTEND_TIMEOUT_USEC=` |
//! | half of `WATCHDOG_USEC` is over, and every worker responds | `WATCHDOG=1` |

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
    /// Starts the thread that says something from time to time.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(&self, watched: Watched) -> Result<(), CommandError> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(());
        }
        let (wake, woken) = mpsc::channel();
        let run = move || {
            block_signals();
            let mut due = Due::new(sd_notify::watchdog_enabled());
            loop {
                let now = Instant::now();
                due.tell(&watched, now);
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
    pub(super) fn ready(&self, watched: &Watched) {
        if self.wake.get().is_some() {
            tell(&[NotifyState::Ready, NotifyState::Status(&watched.status())]);
        }
    }

    /// Says that a reload has begun. Without the time, systemd takes the next `READY=1` for an old
    /// one, and ends the service after a while (`Type=notify-reload`).
    pub(super) fn reloading(&self) {
        if self.wake.get().is_some() {
            // The clock of this process can be read.
            let time = NotifyState::monotonic_usec_now().ok();
            let both: Vec<_> = [NotifyState::Reloading].into_iter().chain(time).collect();
            tell(&both);
        }
    }

    /// Says that a reload has ended, whatever the result.
    pub(super) fn reloaded(&self, line: &str) {
        if self.wake.get().is_some() {
            let first = line.lines().next().unwrap_or_default();
            tell(&[NotifyState::Ready, NotifyState::Status(first)]);
        }
    }

    /// Says that the server stops, and from now on that it takes time.
    pub(super) fn stopping(&self) {
        if let Some(wake) = self.wake.get() {
            tell(&[NotifyState::Stopping, extension()]);
            // The thread lives as long as the process.
            let _ = wake.send(());
        }
    }
}

fn extension() -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(EXTEND_BY.as_micros() as u32)
}

/// Nobody can be told if this fails.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
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

    fn tell(&mut self, watched: &Watched, now: Instant) {
        let is_stopping = watched.is_stopping.load(Ordering::Relaxed);
        if self.status <= now && !is_stopping {
            tell(&[NotifyState::Status(&watched.status())]);
            self.status = now + STATUS_EVERY;
        }
        if is_stopping && self.extension <= now {
            tell(&[extension()]);
            self.extension = now + EXTEND_EVERY;
        }
        if let Some((half, at)) = &mut self.watchdog
            && *at <= now
        {
            // A worker that hangs keeps the watchdog from being told, so the manager acts.
            if watched.monitor.unresponsive(RESPONSE_MAX.min(*half)).is_empty() {
                tell(&[NotifyState::Watchdog]);
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
