//! Which options take effect only at a start, and which a reload changes.

use super::options::{Config, ServerOptions};
use crate::driver::DriverKind;
use crate::server::{ListenSpec, ServerTimeouts};

/// How an option of a configuration is compared: two values that mean the same are equal.
pub(super) enum Compared {
    /// By a text, which is the same for all that is written for a value.
    Option(fn(&ServerOptions) -> String),
    /// The socket of the administration, by its absolute path.
    Admin,
}

/// The keys that need a restart, and why a worker cannot change them: its driver, its tables and
/// its cache are sized when it starts, and so are the shares of descriptors.
pub(super) const RESTART: [(&str, Compared); 11] = [
    ("driver", Compared::Option(|it| format!("{:?}", it.server.driver))),
    ("workers", Compared::Option(|it| format!("{:?}", it.server.worker_count()))),
    ("max-connections", Compared::Option(|it| format!("{:?}", it.server.max_connections))),
    ("cache-entries", Compared::Option(|it| format!("{:?}", it.http.cache_entries))),
    ("cache-idle", Compared::Option(|it| format!("{:?}", it.http.cache_idle))),
    ("cache-bytes", Compared::Option(|it| format!("{:?}", it.http.cache_bytes))),
    ("memory-file-max", Compared::Option(|it| format!("{:?}", it.http.memory_file_max))),
    ("revalidate", Compared::Option(|it| format!("{:?}", it.http.revalidate))),
    ("watch", Compared::Option(|it| format!("{:?}", it.http.no_watch))),
    ("health-path", Compared::Option(|it| format!("{:?}", it.http.health_path))),
    ("admin", Compared::Admin),
];

/// What the server chooses at its start for options that are not set. A file that sets an option to
/// the value that was chosen changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chosen {
    /// The driver that `auto` stands for; `None` if a driver was named, since `auto` was not tried.
    pub driver: Option<DriverKind>,
    /// `max-connections`.
    pub connections: u32,
    /// `cache-entries`.
    pub cache_entries: u32,
}

impl Chosen {
    /// The options, with the choices for those that are not set.
    fn complete(self, options: &ServerOptions) -> ServerOptions {
        let mut options = options.clone();
        let ServerOptions { server, http } = &mut options;
        server.driver.0 = server.driver.0.or(self.driver);
        server.max_connections = server.max_connections.or(Some(self.connections));
        http.cache_entries = http.cache_entries.or(Some(self.cache_entries));
        options
    }
}

/// The options of the process that a reload changes; [`RESTART`] has the others.
pub(in crate::cli) fn reloadable(options: &ServerOptions) -> (&[ListenSpec], ServerTimeouts) {
    let args = &options.server;
    (&args.listen, args.timeouts(options.http.header_timeout))
}

/// The keys whose values differ and that need a restart, for a server that has made these choices.
pub fn needs_restart(old: &Config, new: &Config, chosen: Chosen) -> Vec<&'static str> {
    let (old_options, new_options) = (chosen.complete(&old.options), chosen.complete(&new.options));
    let differs = |compared: &Compared| match compared {
        Compared::Option(text) => text(&old_options) != text(&new_options),
        Compared::Admin => old.admin_path() != new.admin_path(),
    };
    let keys = RESTART.iter().filter(|(_, compared)| differs(compared));
    keys.map(|(key, _)| *key).collect()
}
