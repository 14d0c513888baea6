//! Names that other servers have for what `ringd` calls otherwise, or does not have.

/// Directives of nginx, and words that most servers share: with hyphens, as keys are compared.
#[rustfmt::skip]
pub(super) const FOREIGN: [(&str, &str); 32] = [
    ("access-log", "write `access`, a path, into [log]"),
    ("add-header", "write `header` into a [[site]] or into [site-defaults]"),
    ("alias", "write `root` into a [[site]]"),
    ("autoindex", "write `listing = true` into a [[site]] or into [site-defaults]"),
    ("client-header-timeout", "write `header-timeout` into [server]"),
    ("daemon", "ringd stays in the foreground; a supervisor such as systemd starts it"),
    ("disable-symlinks", "write `symlinks = \"never\"` into a [[site]] or into [site-defaults]"),
    ("document-root", "write `root` into a [[site]]"),
    ("error-log", "write `error`, a path, into [log]"),
    ("expires", "write `cache-control` into a [[site]] or into [site-defaults]"),
    ("gzip", COMPRESSION),
    ("gzip-static", COMPRESSION),
    ("http", "options of the process stand in [server]"),
    ("keepalive-timeout", "write `idle-timeout` into [server]"),
    ("location", "there are no locations; rules of `header` and `cache-control` have globs"),
    ("log-format", "write `format` into [log]"),
    ("open-file-cache", "write `cache-entries` and `cache-idle` into [server]"),
    ("port", "write `listen`, an address with a port, into [server]"),
    ("proxy-pass", "ringd serves files, and is no proxy"),
    ("return", "write a `redirect` into a [[site]] or, for https, `protocol` into a [[listen]]"),
    ("server-name", "write `hosts` into a [[site]]"),
    ("ssl", TLS),
    ("ssl-certificate", TLS),
    ("ssl-certificate-key", TLS),
    ("ssl-client-certificate", "write `tls-client-ca` into [server]"),
    ("ssl-protocols", "write `tls-min`, \"1.2\" or \"1.3\", into [server]"),
    ("stub-status", "write `listen` into [admin] for a status page and metrics"),
    ("tls", TLS),
    ("try-files", "write `spa` or `clean-urls` into a [[site]] or into [site-defaults]"),
    ("types", "write `mime` into a [[site]] or into [site-defaults]"),
    ("worker-connections", "write `max-connections` into [server]"),
    ("worker-processes", "write `workers` into [server]"),
];

const COMPRESSION: &str = "write `compress = true` into a [[site]] or into [site-defaults]";

const TLS: &str = "write `tls-cert` and `tls-key` into a [[site]] or into [site-defaults]";

/// What to write in place of the name that another server has. `name` has hyphens.
pub(super) fn explain(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, remedy)| *remedy)
}
