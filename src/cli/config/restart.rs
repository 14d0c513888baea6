//! Which options take effect only at a start, and which a reload changes.

use super::options::{Config, ServerOptions};
use crate::server::{ListenSpec, ServerTimeouts};

/// How an option of a configuration is compared: two values that mean the same are equal.
type Compared = fn(&Config) -> String;

/// The keys that need a restart, and why a worker cannot change them: its driver, its tables and
/// its cache are sized when it starts, and so are the shares of descriptors.
pub(super) const RESTART: [(&str, Compared); 11] = [
    ("driver", |config| format!("{:?}", config.options.server.driver)),
    ("workers", |config| format!("{:?}", config.options.server.worker_count())),
    ("max-connections", |config| format!("{:?}", config.options.server.max_connections)),
    ("cache-entries", |config| format!("{:?}", config.options.http.cache_entries)),
    ("cache-idle", |config| format!("{:?}", config.options.http.cache_idle)),
    ("cache-bytes", |config| format!("{:?}", config.options.http.cache_bytes)),
    ("memory-file-max", |config| format!("{:?}", config.options.http.memory_file_max)),
    ("revalidate", |config| format!("{:?}", config.options.http.revalidate)),
    ("watch", |config| format!("{:?}", config.options.http.no_watch)),
    ("health-path", |config| format!("{:?}", config.options.http.health_path)),
    ("admin", |config| format!("{:?}", config.admin)),
];

/// The options of the process that a reload changes; [`RESTART`] has the others.
pub(in crate::cli) fn reloadable(options: &ServerOptions) -> (&[ListenSpec], ServerTimeouts) {
    let args = &options.server;
    (&args.listen, args.timeouts(options.http.header_timeout))
}

/// The keys whose values differ and that need a restart.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let differs = |compared: &Compared| compared(old) != compared(new);
    let keys = RESTART.iter().filter(|(_, compared)| differs(compared));
    keys.map(|(key, _)| *key).collect()
}
