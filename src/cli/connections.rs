//! How many connections a server accepts at a time, and how many files it keeps open, given
//! `--max-connections` and the limit of descriptors.

use super::{CommandError, ServerArgs};
use crate::descriptors::{CONNECTIONS_DEFAULT, Descriptors, Reserved};
use crate::driver::DriverKind;

/// What the descriptors suffice for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shares {
    /// Connections at a time, of all workers together.
    pub(super) connections: u32,
    /// Files that each worker may have open, cached or in a response in flight.
    pub(super) files: u64,
}

/// Divides the descriptors if each worker has at least `files` files open.
///
/// # Errors
///
/// When the limit of descriptors leaves none, or fewer than `--max-connections`.
pub(super) fn shares(
    descriptors: Descriptors,
    args: &ServerArgs,
    kind: DriverKind,
    files: u64,
    reserved: Reserved,
) -> Result<Shares, CommandError> {
    let limit = descriptors.limit();
    let taken = descriptors.taken(reserved, files);
    let left = limit.saturating_sub(taken);
    let or_cache = if files > 0 { " or --cache-entries" } else { "" };
    let connections = match args.max_connections.map(u64::from) {
        Some(wanted) if wanted > left => {
            return Err(CommandError(format!(
                "--max-connections {wanted} needs {} descriptors, but the limit is {limit}; raise \
                 it with `ulimit -n`, or lower --max-connections{or_cache}",
                wanted + taken
            )));
        }
        None if left == 0 => {
            let or_sites = if reserved.more_sites > 0 { ", or have fewer sites" } else { "" };
            return Err(CommandError(format!(
                "the limit of {limit} descriptors leaves none for connections, as {taken} are \
                 needed besides; raise it with `ulimit -n`, or lower --workers{or_cache}{or_sites}"
            )));
        }
        Some(wanted) => wanted,
        None if files == 0 => left.min(CONNECTIONS_DEFAULT),
        None => descriptors.connections(left),
    };
    let files = files + descriptors.files_in_flight(left, connections, kind);
    // The option's parser accepts no more than a u32 holds.
    Ok(Shares { connections: connections as u32, files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::driver::DriverKind;
    use clap::Parser;

    /// Connections, files of each worker, and names in the cache of each worker.
    fn divide(arguments: &[&str], limit: u64) -> Result<(u32, u64, u64), CommandError> {
        divide_on(DriverKind::Uring, arguments, limit)
    }

    fn divide_on(
        kind: DriverKind,
        arguments: &[&str],
        limit: u64,
    ) -> Result<(u32, u64, u64), CommandError> {
        let command = Cli::parse_from(std::iter::once(&"ringd").chain(arguments)).into_command();
        let Command::Serve(args) = command else { panic!("{arguments:?}") };
        let descriptors = Descriptors::new(limit, 2);
        let entries = descriptors.cache_entries(args.http.cache_entries, kind);
        let shares = shares(
            descriptors,
            &args.server,
            kind,
            descriptors.files_min(entries),
            Reserved::default(),
        )?;
        Ok((shares.connections, shares.files, entries))
    }

    #[test]
    fn descriptors_are_divided_between_connections_and_files() {
        assert_eq!(divide(&[], 20_000).unwrap(), (10_106, 4582, 2048));
        assert_eq!(divide_on(DriverKind::Select, &[], 20_000).unwrap(), (12_666, 136, 128));
        assert_eq!(divide(&[], 256).unwrap(), (26, 46, 32));
        assert_eq!(divide(&[], 1 << 30).unwrap(), (65_536, 264_200, 2048));
        let many = ["--max-connections", "100000"];
        assert_eq!(divide(&many, 1 << 30).unwrap(), (100_000, 402_056, 2048));
        let error = divide(&many, 20_000).unwrap_err().to_string();
        assert!(error.contains("the limit is 20000") && error.contains("ulimit -n"), "{error}");
        assert!(divide(&[], 64).is_err());
    }

    /// Whatever the limit and the options, the shares together fit into the limit.
    #[test]
    fn the_shares_never_exceed_the_limit() {
        for limit in (100..3000).step_by(7).chain([20_000, 1 << 20, 1 << 30]) {
            for arguments in [&[][..], &["--max-connections", "60"], &["--cache-entries", "0"]] {
                let Ok((connections, files, _)) = divide(arguments, limit) else { continue };
                let descriptors = Descriptors::new(limit, 2);
                let used = descriptors.taken(Reserved::default(), files) + u64::from(connections);
                assert!(used <= limit, "{arguments:?}: {used} of {limit}");
            }
        }
    }
}
