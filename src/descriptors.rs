//! Divides the descriptors of the process among connections, cached files, and files that only
//! responses in flight keep open. The command line and `ringd doctor` share this computation.
//!
//! Each share is enforced, so none can use up the descriptors of another: as long as there are
//! fewer connections than the maximum, there is a descriptor for the next one.

use crate::driver::chain::FILES_MAX;
use crate::driver::{ACCEPTS_PER_WAIT, DriverKind};

/// The number of descriptors that the process itself needs: standard streams, the root, signals.
const RESERVED: u64 = 32;

/// The number of descriptors that each worker needs: a ring or a poller, eventfds, inotify; and the
/// directories of eight readings that are kept and four listings that are made.
const PER_WORKER: u64 = 28;

/// The maximum and the minimum of files that a worker opens at a time for lookups.
const OPENING_MAX: u64 = 256;
const OPENING_MIN: u64 = 4;

/// The minimum of files that the responses of a worker may keep open besides the cached ones.
const IN_FLIGHT_MIN: u64 = 8;

/// One descriptor of this many is for a file of a response, the others are for connections.
const IN_FLIGHT_SHARE: u64 = 3;

/// The default of `--max-connections`, if the limit of descriptors allows it.
pub(crate) const CONNECTIONS_DEFAULT: u64 = 65_536;

/// The default of `--cache-entries`, if the limit of descriptors allows it.
const CACHE_ENTRIES_DEFAULT: u64 = 2048;

/// The most files in memory that are compressed on the fly, and how many of them are kept if it is
/// not on yet.
const COMPRESSED_FILES_MAX: u64 = 1024;
const COMPRESSED_FILES_SPARE: u64 = 64;

/// The limit of descriptors of the process, and the number of workers that share it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    workers: u64,
}

/// What a server may have, besides connections and files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserved {
    /// Addresses that it listens on.
    pub(crate) addresses: u64,
    /// Sites besides the first one.
    pub(crate) more_sites: u64,
    /// Descriptors of the administration.
    pub(crate) administration: u64,
    /// Files in memory that are compressed on the fly.
    pub(crate) compressed_files: u64,
}

impl Default for Reserved {
    /// One address and one site.
    fn default() -> Self {
        Self { addresses: 1, more_sites: 0, administration: 0, compressed_files: 0 }
    }
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

    /// The number of files that each worker has open at least: the cached ones, and some of
    /// responses in flight.
    pub(crate) fn files_min(self, cache_entries: u64) -> u64 {
        cache_entries + IN_FLIGHT_MIN
    }

    /// The number of connections by default, if `left` descriptors are left for connections and for
    /// files of responses in flight.
    pub(crate) fn connections(self, left: u64) -> u64 {
        (left - left / IN_FLIGHT_SHARE).min(CONNECTIONS_DEFAULT)
    }

    /// The number of files of responses in flight for which each worker has descriptors besides
    /// [`Descriptors::files_min`]. A connection keeps at most [`FILES_MAX`] open.
    ///
    /// If the driver can use only low descriptors for sockets, there are none, because they would
    /// take numbers from the same range.
    pub(crate) fn files_in_flight(self, left: u64, connections: u64, kind: DriverKind) -> u64 {
        if kind.descriptors_max().is_some() {
            return 0;
        }
        (left.saturating_sub(connections) / self.workers).min(connections * FILES_MAX)
    }

    /// The number of files in memory that are compressed on the fly, if it is on. `None` if a
    /// reload may turn it on: a few are kept for that.
    pub(crate) fn compressed_files(self, is_on: Option<bool>) -> u64 {
        match is_on {
            Some(false) => 0,
            Some(true) => COMPRESSED_FILES_MAX.min(self.limit / 16),
            None => COMPRESSED_FILES_SPARE.min(self.limit / 64),
        }
    }

    /// The number of descriptors that are not available for connections and files of responses in
    /// flight, if each worker has `files` open.
    pub(crate) fn taken(self, reserved: Reserved, files: u64) -> u64 {
        let listeners = reserved.addresses * self.workers;
        // A reload opens the root of a site again, and each worker may have another one open.
        let roots = reserved.more_sites * (2 + self.workers);
        // Connections that may be accepted before an accept can be stopped. With few descriptors,
        // less is reserved: accepting may then pause, but there is room for connections.
        let slack = (listeners * u64::from(ACCEPTS_PER_WAIT)).min(self.limit / 8);
        let of_workers = self.workers * (files + self.opening() + PER_WORKER);
        let aside = reserved.administration + reserved.compressed_files;
        RESERVED + of_workers + listeners + slack + roots + aside
    }

    /// The number of connections with the default options.
    pub(crate) fn left_by_default(limit: u64, workers: u64) -> u64 {
        let descriptors = Self::new(limit, workers);
        let files = descriptors.files_min(descriptors.cache_entries(None, DriverKind::Epoll));
        descriptors.connections(limit.saturating_sub(descriptors.taken(Reserved::default(), files)))
    }
}
