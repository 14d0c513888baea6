//! How many connections a server accepts at a time, given `--max-connections` and the limit of
//! descriptors.

use super::{CommandError, ServerArgs};
use crate::descriptors::{CONNECTIONS_DEFAULT, Descriptors};

/// The maximum number of connections if each worker also holds `files` files open.
///
/// # Errors
///
/// When the limit of descriptors leaves none, or fewer than `--max-connections`.
pub(super) fn connections(
    descriptors: Descriptors,
    args: &ServerArgs,
    files: u64,
) -> Result<u32, CommandError> {
    let limit = descriptors.limit();
    let taken = descriptors.taken(args.listen.len() as u64, files);
    let left = limit.saturating_sub(taken);
    let or_cache = if files > 0 { " or --cache-entries" } else { "" };
    match args.max_connections.map(u64::from) {
        Some(wanted) if wanted > left => Err(CommandError(format!(
            "--max-connections {wanted} needs {} descriptors, but the limit is {limit}; raise it \
             with `ulimit -n`, or lower --max-connections{or_cache}",
            wanted + taken
        ))),
        None if left == 0 => Err(CommandError(format!(
            "the limit of {limit} descriptors leaves none for connections; raise it with \
             `ulimit -n`, or lower --workers{or_cache}"
        ))),
        // The option's parser accepts no more than a u32 holds.
        Some(wanted) => Ok(wanted as u32),
        None => Ok(left.min(CONNECTIONS_DEFAULT) as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::driver::DriverKind;
    use clap::Parser;

    fn divide(arguments: &[&str], limit: u64) -> Result<(u32, u64), CommandError> {
        divide_on(DriverKind::Uring, arguments, limit)
    }

    fn divide_on(
        kind: DriverKind,
        arguments: &[&str],
        limit: u64,
    ) -> Result<(u32, u64), CommandError> {
        let command = Cli::parse_from(std::iter::once(&"ringd").chain(arguments)).into_command();
        let Command::Serve(args) = command else { panic!("{arguments:?}") };
        let descriptors = Descriptors::new(limit, 2);
        let entries = descriptors.cache_entries(args.cache_entries, kind);
        Ok((connections(descriptors, &args.server, entries)?, entries))
    }

    #[test]
    fn descriptors_are_divided_between_connections_and_files() {
        assert_eq!(divide(&[], 20_000).unwrap(), (15_198, 2048));
        assert_eq!(divide_on(DriverKind::Select, &[], 20_000).unwrap().1, 128);
        assert_eq!(divide(&[], 256).unwrap(), (78, 32));
        assert_eq!(divide(&[], 1 << 30).unwrap(), (65_536, 2048));
        let many = ["--max-connections", "100000"];
        assert_eq!(divide(&many, 1 << 30).unwrap(), (100_000, 2048));
        let error = divide(&many, 20_000).unwrap_err().to_string();
        assert!(error.contains("the limit is 20000") && error.contains("ulimit -n"), "{error}");
        assert!(divide(&[], 64).is_err());
    }
}
