//! Sharing the descriptors of the process out: what is left by files and drivers is for
//! connections.

use super::{Failure, ServerArgs};
use crate::driver::{ACCEPTS_PER_WAIT, Kind};

/// Descriptors that belong to the process: standard streams, the root, signals.
const RESERVED: u64 = 32;

/// Descriptors of a worker: a ring or a poller, events, inotify, files being opened.
const PER_WORKER: u64 = 16;

/// Connections at a time, when the limit of descriptors allows it and nothing else is said.
const CONNECTIONS_DEFAULT: u64 = 65_536;

/// Cached names per worker, likewise.
const CACHE_ENTRIES_DEFAULT: u64 = 2048;

/// The descriptors of the process, and among how many workers they are shared out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    limit: u64,
    workers: u64,
}

impl Descriptors {
    /// Raises the soft limit of descriptors to the hard one.
    pub(super) fn raise_limit(workers: usize) -> Self {
        let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        Self { limit, workers: workers as u64 }
    }

    /// How many names a worker's cache holds, when `wanted` leaves that open. Cached files take
    /// numbers away that a driver may need for its sockets.
    pub(super) fn cache_entries(self, wanted: Option<u32>, kind: Kind) -> u64 {
        let limit = kind.descriptors_max().map_or(self.limit, |max| max.min(self.limit));
        let fair = CACHE_ENTRIES_DEFAULT.min(limit / 4 / self.workers);
        wanted.map_or(fair, u64::from)
    }

    /// How many are taken before the first connection, with so many addresses to listen on and
    /// `files` open in each worker.
    fn taken(self, addresses: u64, files: u64) -> u64 {
        let listeners = addresses * self.workers;
        // Connections that come before an accept can be stopped; where descriptors are short,
        // rather a pause in accepting than no room at all.
        let slack = (listeners * u64::from(ACCEPTS_PER_WAIT)).min(self.limit / 8);
        RESERVED + self.workers * (files + PER_WORKER) + listeners + slack
    }

    /// How many are left for connections when nothing is said about them.
    pub(crate) fn left_by_default(limit: u64, workers: u64) -> u64 {
        let descriptors = Self { limit, workers };
        limit.saturating_sub(descriptors.taken(1, descriptors.cache_entries(None, Kind::Epoll)))
    }

    /// How many connections there may be beside `files` open in each worker.
    ///
    /// # Errors
    ///
    /// When there is room for none, or for fewer than are asked for.
    pub(super) fn connections(self, args: &ServerArgs, files: u64) -> Result<u32, Failure> {
        let limit = self.limit;
        let taken = self.taken(args.listen.len() as u64, files);
        let left = limit.saturating_sub(taken);
        let or_cache = if files > 0 { " or --cache-entries" } else { "" };
        match args.max_connections.map(u64::from) {
            Some(wanted) if wanted > left => Err(Failure(format!(
                "--max-connections {wanted} needs {} descriptors, the limit is {limit}; raise it \
                 with `ulimit -n`, or lower --max-connections{or_cache}",
                wanted + taken
            ))),
            None if left == 0 => Err(Failure(format!(
                "the limit of {limit} descriptors leaves none for connections; raise it with \
                 `ulimit -n`, or lower --workers{or_cache}"
            ))),
            // The option's range ends where u32 does.
            Some(wanted) => Ok(wanted as u32),
            None => Ok(left.min(CONNECTIONS_DEFAULT) as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn share_out(arguments: &[&str], limit: u64) -> Result<(u32, u64), Failure> {
        share_out_on(Kind::Uring, arguments, limit)
    }

    fn share_out_on(kind: Kind, arguments: &[&str], limit: u64) -> Result<(u32, u64), Failure> {
        let command = Cli::parse_from(std::iter::once(&"ringd").chain(arguments)).into_command();
        let Command::Serve(args) = command else { panic!("{arguments:?}") };
        let descriptors = Descriptors { limit, workers: 2 };
        let entries = descriptors.cache_entries(args.cache_entries, kind);
        Ok((descriptors.connections(&args.server, entries)?, entries))
    }

    #[test]
    fn descriptors_are_shared_between_connections_and_files() {
        assert_eq!(share_out(&[], 20_000).unwrap(), (15_710, 2048));
        assert_eq!(share_out_on(Kind::Select, &[], 20_000).unwrap().1, 128);
        assert_eq!(share_out(&[], 256).unwrap(), (94, 32));
        assert_eq!(share_out(&[], 1 << 30).unwrap(), (65_536, 2048));
        let many = ["--max-connections", "100000"];
        assert_eq!(share_out(&many, 1 << 30).unwrap(), (100_000, 2048));
        let error = share_out(&many, 20_000).unwrap_err().to_string();
        assert!(error.contains("the limit is 20000") && error.contains("ulimit -n"), "{error}");
        assert!(share_out(&[], 64).is_err());
    }
}
