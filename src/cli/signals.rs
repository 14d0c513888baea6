//! What signals do to a server: the first SIGINT or SIGTERM drains it, the second ends the process,
//! SIGUSR1 prints statistics.

use std::fmt;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator;

use super::Failure;
use super::tell::Teller;
use crate::serve::CacheMonitor;
use crate::server::{Monitor, Stopper};

/// The signals of this process, caught.
pub(super) struct Signals(iterator::Signals);

impl Signals {
    /// Catches signals from now on. Call it before the first worker starts, so that no signal
    /// meets its default action.
    pub(super) fn watch() -> Result<Self, Failure> {
        let signals = iterator::Signals::new([SIGINT, SIGTERM, SIGUSR1]);
        signals.map(Self).map_err(|error| {
            let remedy = "`ulimit -n` raises the limit of descriptors";
            Failure(format!("cannot watch for signals: {error}; {remedy}"))
        })
    }

    /// Does what each signal asks for, from a thread of its own.
    pub(super) fn obey(mut self, stopper: Stopper, statistics: Statistics) -> Result<(), Failure> {
        let watch = move || {
            let mut draining = false;
            let teller = Teller::default();
            for signal in self.0.forever() {
                if signal == SIGUSR1 {
                    teller.tell(statistics.to_string());
                    continue;
                }
                if draining {
                    std::process::exit(128 + signal);
                }
                draining = true;
                let message = "ringd: finishing open connections; a second signal ends at once";
                teller.tell(message.to_owned());
                stopper.stop();
            }
        };
        let started = thread::Builder::new().name("signals".into()).spawn(watch);
        started.map(drop).map_err(|error| {
            let remedy = "`ulimit -u` raises the limit of processes";
            Failure(format!("a thread cannot be started: {error}; {remedy}"))
        })
    }
}

/// What a server has open and has done; shown as one line.
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
             asked again {}, changed {}, evicted {}",
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
