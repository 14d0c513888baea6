//! Names that other servers have for what `ringd` calls otherwise, or does not have.

/// Directives of nginx, and words that most servers share: with hyphens, as keys are compared.
#[rustfmt::skip]
pub(super) const FOREIGN: [(&str, &str); 34] = [
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
    ("return", "there are no redirects, but to https: `protocol = \"redirect\"` in a [[listen]]"),
    ("rewrite", "there are no redirects; put a proxy before ringd"),
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
    ("user", "start ringd as the user that it is to run as"),
    ("worker-connections", "write `max-connections` into [server]"),
    ("worker-processes", "write `workers` into [server]"),
];

const COMPRESSION: &str = "nothing is compressed; a file.js.gz, file.js.br or file.js.zst beside \
                           file.js is sent in its place";

const TLS: &str = "write `tls-cert` and `tls-key` into a [[site]] or into [site-defaults]";

/// What to write in place of the name that another server has. `name` has hyphens.
pub(super) fn explain(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, remedy)| *remedy)
}
