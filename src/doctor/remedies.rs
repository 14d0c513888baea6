//! The lines that raise a limit, and where they belong.

use super::report::Remedy;
use crate::descriptors::CONNECTIONS_DEFAULT;

const SHELL: &str = "in the shell that starts ringd; root is needed above the hard limit";
const UNIT: &str = "in the [Service] section of a systemd unit";
pub(super) const ROOT: &str = "as root on the host";

/// A limit of descriptors that suffices for the default maximum of connections, and for the files
/// of up to 64 workers: half as many descriptors as connections for the files of responses, and
/// about 2400 for each worker, most of them for its cache.
pub(super) const DESCRIPTORS_WANTED: u64 = 4 * CONNECTIONS_DEFAULT;

pub(super) fn more_descriptors() -> Vec<Remedy> {
    vec![
        Remedy::new(format!("ulimit -n {DESCRIPTORS_WANTED}"), SHELL),
        Remedy::new(format!("LimitNOFILE={DESCRIPTORS_WANTED}"), UNIT),
    ]
}

pub(super) fn more_locked_memory() -> Vec<Remedy> {
    vec![
        Remedy::new("ulimit -l 65536", SHELL),
        Remedy::new("LimitMEMLOCK=64M", UNIT),
        Remedy::new("docker run --ulimit memlock=67108864", "for a container"),
    ]
}

/// Formats a number of bytes.
pub(super) fn bytes(number: u64) -> String {
    match number {
        _ if number >= i64::MAX as u64 => "unlimited".into(),
        _ if number >= 10 << 20 => format!("{} MiB", number >> 20),
        _ => format!("{} KiB", number >> 10),
    }
}
