//! Signal handling of a server: the first SIGINT or SIGTERM drains it, the second ends the process,
//! SIGUSR1 prints statistics.

use std::fmt;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator;

use super::CommandError;
use super::stderr::StderrWriter;
use crate::serve::CacheMonitor;
use crate::server::{Monitor, Stopper};

/// The signals of this process; they wait here until [`CaughtSignals::handle`] is called.
pub(super) struct CaughtSignals(iterator::Signals);

impl CaughtSignals {
    /// Catches the signals. Call this before the first worker starts: the default action of a
    /// signal that comes earlier ends the process.
    pub(super) fn catch() -> Result<Self, CommandError> {
        let signals = iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1]);
        signals.map(Self).map_err(|error| {
            let remedy = "raise the limit of descriptors with `ulimit -n`";
            CommandError(format!("cannot handle signals: {error}; {remedy}"))
        })
    }

    /// Handles the signals in a separate thread.
    pub(super) fn handle(
        mut self,
        stopper: Stopper,
        statistics: Statistics,
    ) -> Result<(), CommandError> {
        let handle_all = move || {
            let mut draining = false;
            let stderr = StderrWriter::default();
            for signal in self.0.forever() {
                if signal == SIGUSR1 {
                    stderr.write(statistics.to_string());
                    continue;
                }
                if draining {
                    std::process::exit(128 + signal);
                }
                draining = true;
                let message = "ringd: finishing open connections; a second signal ends the process \
                               at once";
                stderr.write(message.to_owned());
                stopper.stop();
            }
        };
        let started = thread::Builder::new().name("signals".into()).spawn(handle_all);
        started.map(drop).map_err(|error| {
            let remedy = "raise the limit of processes with `ulimit -u`";
            CommandError(format!("cannot start a thread for signals: {error}; {remedy}"))
        })
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
            "ringd: connections {}; driver: system calls {}, submissions {}, completions {}; \
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
