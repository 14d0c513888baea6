//! Divides the descriptors of the process: connections get what files and drivers leave. The
//! command line and `ringd doctor` share this computation.

use crate::driver::{ACCEPTS_PER_WAIT, DriverKind};

/// Descriptors of the process itself: standard streams, the root, signals.
const RESERVED: u64 = 32;

/// Descriptors of each worker: a ring or a poller, eventfds, inotify; and the directories of eight
/// readings that are kept and four listings that are made.
const PER_WORKER: u64 = 28;

/// The maximum and the minimum of files that a worker opens at a time for lookups.
const OPENING_MAX: u64 = 256;
const OPENING_MIN: u64 = 4;

/// The default of `--max-connections`, if the limit of descriptors allows it.
pub(crate) const CONNECTIONS_DEFAULT: u64 = 65_536;

/// The default of `--cache-entries`, if the limit of descriptors allows it.
const CACHE_ENTRIES_DEFAULT: u64 = 2048;

/// The limit of descriptors of the process, and the number of workers that share it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    workers: u64,
}

impl Descriptors {
    pub(crate) fn new(limit: u64, workers: u64) -> Self {
        Self { limit, workers }
    }

    /// Raises the soft limit of descriptors to the hard limit.
    pub(crate) fn raise_limit(workers: usize) -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        Self::new(limit, workers as u64)
    }

    /// The number of names in the cache of a worker: `wanted`, or a default. The default follows
    /// from the smaller of the process's limit and the driver's own (1024 for select), because
    /// cached files use the same low descriptor numbers as sockets.
    pub(crate) fn cache_entries(self, wanted: Option<u32>, kind: DriverKind) -> u64 {
        let limit = kind.descriptors_max().map_or(self.limit, |max| max.min(self.limit));
        let default = CACHE_ENTRIES_DEFAULT.min(limit / 4 / self.workers);
        wanted.map_or(default, u64::from)
    }

    /// The maximum number of files that a worker opens at a time for lookups.
    pub(crate) fn opening(self) -> u64 {
        (self.limit / 16 / self.workers).clamp(OPENING_MIN, OPENING_MAX)
    }

    /// The limit of descriptors of the process.
    pub(crate) fn limit(self) -> u64 {
        self.limit
    }

    /// The number of descriptors that are not available for connections, if the server listens on
    /// `addresses` addresses and each worker caches `files` open files.
    pub(crate) fn taken(self, addresses: u64, files: u64) -> u64 {
        let listeners = addresses * self.workers;
        // Connections that may be accepted before an accept can be stopped. With few descriptors,
        // less is reserved: accepting may then pause, but there is room for connections.
        let slack = (listeners * u64::from(ACCEPTS_PER_WAIT)).min(self.limit / 8);
        RESERVED + self.workers * (files + self.opening() + PER_WORKER) + listeners + slack
    }

    /// The number of descriptors left for connections with the default options.
    pub(crate) fn left_by_default(limit: u64, workers: u64) -> u64 {
        let descriptors = Self::new(limit, workers);
        limit.saturating_sub(
            descriptors.taken(1, descriptors.cache_entries(None, DriverKind::Epoll)),
        )
    }
}
