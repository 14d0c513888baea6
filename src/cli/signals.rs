//! Signal handling of a server. No signal that can be caught cuts an answer off, except a second
//! one to stop.
//!
//! | signals | what they do |
//! | --- | --- |
//! | [`STOP`] | drain; a second one ends the process |
//! | [`ANNOUNCE`] | drain, however often they come |
//! | `SIGUSR1` | opens the logs again, and prints statistics |
//! | `SIGHUP` | opens the logs again, and reloads the configuration file |
//! | `SIGUSR2` | prints that it does nothing, and the command that does |
//! | [`UNUSED`] and real-time signals | nothing |
//!
//! Signals that report a bug, such as `SIGSEGV` and `SIGABRT`, keep their default action, and so do
//! those that stop and continue a process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libc::c_int;
use signal_hook::{flag, iterator};

use super::CommandError;
use super::console::Console;
use super::controller::Controller;
use super::notify::Notify;
use crate::events::EventKind;
use crate::http::records::log::AccessLog;
use crate::serve::CacheMonitor;
use crate::server::{Monitor, Stopper};

/// An operator stops the server.
const STOP: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT];

/// The system will soon end the process: its CPU time is used up (`RLIMIT_CPU`, reported every
/// second until the hard limit ends the process), or the power fails.
const ANNOUNCE: [c_int; 2] = [libc::SIGXCPU, libc::SIGPWR];

/// Signals with other meanings. Other servers upgrade on `SIGUSR2`: who sends it expects something
/// to happen, so the server says that nothing does.
const OTHERS: [c_int; 3] = [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Signals that the server does not use and that would end the process by default: those of timers
/// that nobody in this process has set, and those that report I/O to a process that asked for it.
/// A driver that uses some of them blocks them in its threads, so they do not get here.
const UNUSED: [c_int; 6] = [
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGSTKFLT,
    // Ignored from the start by the runtime of Rust; a write to a closed pipe fails instead.
    libc::SIGPIPE,
];

/// Lets a write beyond the limit of file sizes (`RLIMIT_FSIZE`) fail instead of ending the process.
pub(super) fn survive_file_limit() {
    ignore(libc::SIGXFSZ);
}

/// Ignores signals until [`CaughtSignals::handle`] gives them a meaning, and those that never get
/// one. Signals to stop are not among them: before there are connections, their default action is
/// right.
pub(super) fn ignore_until_handled() {
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    OTHERS.into_iter().chain(UNUSED).chain(real_time).for_each(ignore);
}

/// Installs a handler without an effect. Unlike `SIG_IGN`, it keeps a handler that a profiler has
/// installed, which is called first, and is not inherited by programs that this one executes.
fn ignore(signal: c_int) {
    // Fails for signals that cannot be caught only.
    let _ = flag::register(signal, Arc::default());
}

/// The signals of this process; they wait here until [`CaughtSignals::handle`] is called.
pub(super) struct CaughtSignals(iterator::Signals);

impl CaughtSignals {
    /// Catches the signals. Call this before the first worker starts: the default action of a
    /// signal that comes earlier ends the process.
    pub(super) fn catch() -> Result<Self, CommandError> {
        let caught = STOP.iter().chain(&ANNOUNCE).chain(&OTHERS);
        let signals = iterator::Signals::new(caught);
        signals.map(Self).map_err(|error| {
            let remedy = "raise the limit of descriptors with `ulimit -n`";
            CommandError(format!("cannot handle signals: {error}; {remedy}"))
        })
    }

    /// Handles the signals in a separate thread.
    pub(super) fn handle(self, receivers: SignalReceivers) -> Result<(), CommandError> {
        let started =
            thread::Builder::new().name("signals".into()).spawn(move || receivers.serve(self));
        started.map(drop).map_err(|error| CommandError::no_thread("signals", &error))
    }
}

/// What the first signal to stop does, besides the drain.
pub(super) struct Stopping {
    /// Set by the first signal to stop, before anything else happens.
    pub(super) is_stopping: Arc<AtomicBool>,
    /// Whether there is a delay between the first signal to stop and the drain.
    pub(super) is_delayed: bool,
    /// Whom to tell.
    pub(super) notify: Notify,
}

/// What the signals are for.
pub(super) struct SignalReceivers {
    pub(super) stopper: Stopper,
    pub(super) statistics: Statistics,
    /// Reloads; `None` if there is no configuration file.
    pub(super) controller: Option<Controller>,
    pub(super) console: Console,
    pub(super) access_log: Option<Arc<AccessLog>>,
    pub(super) stop: Stopping,
}

impl SignalReceivers {
    fn serve(self, CaughtSignals(mut signals): CaughtSignals) {
        // A server that was taken over drains already. A supervisor that stops it then should not
        // cut its clients off, so that signal is the first one, too.
        let mut draining = false;
        for signal in signals.forever() {
            match signal {
                libc::SIGUSR1 => {
                    self.reopen_logs();
                    self.console.tell(EventKind::Signal, &self.statistics);
                }
                libc::SIGUSR2 => self.console.tell(
                    EventKind::Signal,
                    "SIGUSR2 does nothing; to change the program while it serves, start the new \
                     one with `ringd --take-over -c FILE`",
                ),
                libc::SIGHUP => {
                    self.reopen_logs();
                    self.reload();
                }
                _ if !draining => {
                    draining = true;
                    // Whoever asks learns of it before a connection ends.
                    self.stop.is_stopping.store(true, Ordering::Relaxed);
                    self.stop.notify.stopping();
                    let line = if self.stop.is_delayed {
                        "accepting connections for --drain-delay, then finishing open connections; \
                         a second signal ends the process at once"
                    } else {
                        "finishing open connections; a second signal ends the process at once"
                    };
                    self.console.tell(EventKind::Stopping, line);
                    self.stopper.stop();
                }
                _ if STOP.contains(&signal) => std::process::exit(128 + signal),
                _ => {}
            }
        }
    }

    /// Opens the files of the logs again, because they may have been renamed.
    fn reopen_logs(&self) {
        self.access_log.iter().for_each(|log| log.reopen());
        self.console.events().reopen();
    }

    fn reload(&self) {
        let line = match &self.controller {
            _ if self.stop.is_stopping.load(Ordering::Relaxed) => {
                "SIGHUP: the server is stopping, and reloads nothing"
            }
            Some(controller) => return controller.request(),
            None => {
                "SIGHUP: logs are reopened; there is no configuration file (-c) to read again, so \
                 to change options, start ringd again"
            }
        };
        self.console.tell(EventKind::Signal, line);
    }
}

/// The statistics of a server; their `Display` form is the line that SIGUSR1 prints.
pub(super) struct Statistics {
    pub(super) monitor: Monitor,
    pub(super) caches: CacheMonitor,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (worker, driver) = (self.monitor.worker_stats(), self.monitor.stats());
        let cache = self.caches.stats();
        write!(
            f,
            "connections {}; driver: system calls {}, submissions {}, completions {}; \
             cache: entries {}, bytes {}, files {}, watched directories {}, hits {}, misses {}, \
             revalidated {}, changed {}, evicted {}",
            worker.connections,
            driver.system_calls,
            driver.submissions,
            driver.completions,
            cache.entries,
            cache.bytes,
            cache.files,
            cache.watched,
            cache.hits,
            cache.misses,
            cache.revalidations,
            cache.expirations,
            cache.evictions,
        )
    }
}
