//! Sharing the descriptors of the process out: what is left by files and drivers is for
//! connections. The command line and `ringd doctor` share this computation.

use crate::driver::{ACCEPTS_PER_WAIT, DriverKind};

/// Descriptors that belong to the process: standard streams, the root, signals.
const RESERVED: u64 = 32;

/// Descriptors of a worker: a ring or a poller, events, inotify.
const PER_WORKER: u64 = 16;

/// Files that a worker opens at a time, at most and at least.
const OPENING_MAX: u64 = 256;
const OPENING_MIN: u64 = 4;

/// Connections at a time, when the limit of descriptors allows it and nothing else is said.
pub(crate) const CONNECTIONS_DEFAULT: u64 = 65_536;

/// Cached names per worker, likewise.
const CACHE_ENTRIES_DEFAULT: u64 = 2048;

/// The descriptors of the process, and among how many workers they are shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    workers: u64,
}

impl Descriptors {
    pub(crate) fn new(limit: u64, workers: u64) -> Self {
        Self { limit, workers }
    }

    /// Raises the soft limit of descriptors to the hard one.
    pub(crate) fn raise_limit(workers: usize) -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        Self::new(limit, workers as u64)
    }

    /// How many names a worker's cache holds, when `wanted` leaves that open. Cached files take
    /// numbers away that a driver may need for its sockets.
    pub(crate) fn cache_entries(self, wanted: Option<u32>, kind: DriverKind) -> u64 {
        let limit = kind.descriptors_max().map_or(self.limit, |max| max.min(self.limit));
        let fair = CACHE_ENTRIES_DEFAULT.min(limit / 4 / self.workers);
        wanted.map_or(fair, u64::from)
    }

    /// How many files a worker has open at a time to find out what they are.
    pub(crate) fn opening(self) -> u64 {
        (self.limit / 16 / self.workers).clamp(OPENING_MIN, OPENING_MAX)
    }

    /// The limit.
    pub(crate) fn limit(self) -> u64 {
        self.limit
    }

    /// How many are taken before the first connection, with so many addresses to listen on and
    /// `files` open in each worker.
    pub(crate) fn taken(self, addresses: u64, files: u64) -> u64 {
        let listeners = addresses * self.workers;
        // Connections that come before an accept can be stopped; where descriptors are short,
        // rather a pause in accepting than no room at all.
        let slack = (listeners * u64::from(ACCEPTS_PER_WAIT)).min(self.limit / 8);
        RESERVED + self.workers * (files + self.opening() + PER_WORKER) + listeners + slack
    }

    /// How many are left for connections when nothing is said about them.
    pub(crate) fn left_by_default(limit: u64, workers: u64) -> u64 {
        let descriptors = Self::new(limit, workers);
        limit.saturating_sub(
            descriptors.taken(1, descriptors.cache_entries(None, DriverKind::Epoll)),
        )
    }
}
