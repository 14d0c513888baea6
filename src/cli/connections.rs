//! How many connections a server takes: what is asked for, as far as descriptors allow it.

use super::{Failure, ServerArgs};
use crate::descriptors::{CONNECTIONS_DEFAULT, Descriptors};

/// How many connections there may be beside `files` open in each worker.
///
/// # Errors
///
/// When there is room for none, or for fewer than are asked for.
pub(super) fn connections(
    descriptors: Descriptors,
    args: &ServerArgs,
    files: u64,
) -> Result<u32, Failure> {
    let limit = descriptors.limit();
    let taken = descriptors.taken(args.listen.len() as u64, files);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::driver::DriverKind;
    use clap::Parser;

    fn share_out(arguments: &[&str], limit: u64) -> Result<(u32, u64), Failure> {
        share_out_on(DriverKind::Uring, arguments, limit)
    }

    fn share_out_on(
        kind: DriverKind,
        arguments: &[&str],
        limit: u64,
    ) -> Result<(u32, u64), Failure> {
        let command = Cli::parse_from(std::iter::once(&"ringd").chain(arguments)).into_command();
        let Command::Serve(args) = command else { panic!("{arguments:?}") };
        let descriptors = Descriptors::new(limit, 2);
        let entries = descriptors.cache_entries(args.cache_entries, kind);
        Ok((connections(descriptors, &args.server, entries)?, entries))
    }

    #[test]
    fn descriptors_are_shared_between_connections_and_files() {
        assert_eq!(share_out(&[], 20_000).unwrap(), (15_198, 2048));
        assert_eq!(share_out_on(DriverKind::Select, &[], 20_000).unwrap().1, 128);
        assert_eq!(share_out(&[], 256).unwrap(), (78, 32));
        assert_eq!(share_out(&[], 1 << 30).unwrap(), (65_536, 2048));
        let many = ["--max-connections", "100000"];
        assert_eq!(share_out(&many, 1 << 30).unwrap(), (100_000, 2048));
        let error = share_out(&many, 20_000).unwrap_err().to_string();
        assert!(error.contains("the limit is 20000") && error.contains("ulimit -n"), "{error}");
        assert!(share_out(&[], 64).is_err());
    }
}
