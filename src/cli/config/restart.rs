//! Which options take effect only at a start, and which a reload changes.

use super::keys::of_flag;
use super::options::{Config, ServerOptions};
use crate::driver::DriverKind;
use crate::server::{ListenSpec, ServerTimeouts};

/// A text of an option, by which it is compared: the same for all that is written for a value.
type Compared = fn(&ServerOptions) -> String;

/// The flags whose keys need a restart, and why a worker cannot change them: its driver, its tables
/// and its cache are sized when it starts, and so are the shares of descriptors; the files of logs
/// may belong to another user, and who has given up privileges does not get them back.
pub(super) const RESTART: [(&str, Compared); 24] = [
    ("driver", |it| format!("{:?}", it.server.driver)),
    ("workers", |it| format!("{:?}", it.server.worker_count())),
    ("max-connections", |it| format!("{:?}", it.server.max_connections)),
    ("cache-entries", |it| format!("{:?}", it.http.cache_entries)),
    ("cache-idle", |it| format!("{:?}", it.http.cache_idle)),
    ("cache-bytes", |it| format!("{:?}", it.http.cache_bytes)),
    ("compress-cache-bytes", |it| format!("{:?}", it.http.compress_cache_bytes)),
    ("memory-file-max", |it| format!("{:?}", it.http.memory_file_max)),
    ("revalidate", |it| format!("{:?}", it.http.revalidate)),
    ("watch", |it| format!("{:?}", it.http.no_watch)),
    ("health-path", |it| format!("{:?}", it.http.health_path)),
    ("client-prefix-v6", |it| format!("{:?}", it.http.limits.client_prefix_v6)),
    ("limit-table", |it| format!("{:?}", it.http.limits.limit_table)),
    ("h2c", |it| format!("{:?}", it.http.h2c)),
    ("tls-key-log", |it| format!("{:?}", it.tls.tls_key_log)),
    ("admin", |it| format!("{:?}", it.observe.admin_places())),
    ("log", |it| format!("{:?}", it.observe.log)),
    ("log-format", |it| format!("{:?}", it.observe.log_format)),
    ("error-log", |it| format!("{:?}", it.observe.error_log)),
    ("error-log-format", |it| format!("{:?}", it.observe.error_log_format)),
    ("error-log-level", |it| format!("{:?}", it.observe.error_log_level)),
    ("user", |it| format!("{:?}", it.sandbox.user)),
    ("group", |it| format!("{:?}", it.sandbox.group)),
    ("sandbox", |it| format!("{:?}", it.sandbox.sandbox)),
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
        let ServerOptions { server, http, .. } = &mut options;
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
pub fn needs_restart(old: &Config, new: &Config, chosen: Chosen) -> Vec<String> {
    let (old_options, new_options) = (chosen.complete(&old.options), chosen.complete(&new.options));
    let differs = |text: &Compared| text(&old_options) != text(&new_options);
    let flags = RESTART.iter().filter(|(_, compared)| differs(compared));
    flags.map(|(flag, _)| of_flag(flag).full_name()).collect()
}
