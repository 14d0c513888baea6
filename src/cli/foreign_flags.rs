//! Options of other servers, and what `ringd serve` has in their place.
//!
//! The spellings are those of nginx, Caddy, h2o, miniserve, static-web-server, http-server (npm),
//! serve (npm), `python3 -m http.server` and BusyBox's httpd. An option that `ringd` has, too, is
//! never listed, even if it means something else there.

use super::value::time;
use crate::server::ListenSpec;

/// Examples that stand for numbers and for times: only such values take their place.
const COUNT: &str = "COUNT";
const TIME: &str = "10s";

/// The port that remedies name if the command line has none: the default one.
const PORT: u16 = 7890;

/// Options for an address that has its port in another option.
const ADDRESS: &[&str] = &[
    "--bind",
    "-b",
    "--host",
    "--hostname",
    "--address",
    "--addr",
    "-a",
    "-i",
    "--interface",
    "--interfaces",
];

/// Options of `ringd` that may have the port alone.
const PORTS: [&str; 4] = ["--port", "-p", "--listen", "-l"];

/// What nginx is told with `-s`.
const SIGNALS: [&str; 4] = ["reload", "stop", "quit", "reopen"];

/// What to write in place of an option. `{}` stands for the value that was given, or for an
/// example.
#[derive(Debug)]
pub(super) struct ForeignFlag {
    /// How other servers write it.
    spellings: &'static [&'static str],
    /// The remedy, to stand after a semicolon.
    remedy: &'static str,
    /// The value for the remedy if none was given.
    example: &'static str,
}

const fn flag(
    spellings: &'static [&'static str],
    remedy: &'static str,
    example: &'static str,
) -> ForeignFlag {
    ForeignFlag { spellings, remedy, example }
}

/// Options for which `ringd` has none say what to do instead.
const FLAGS: &[ForeignFlag] = &[
    flag(
        &["--directory", "--dir", "--root", "--path", "--document-root", "--docroot", "-r"],
        "the directory stands alone: ringd {}",
        "DIRECTORY",
    ),
    flag(&["--threads", "--threads-multiplier", "-n", "-j"], "use --workers {}", COUNT),
    flag(&["--autoindex", "--browse", "--directory-listing", "--list", "-z"], "use --listing", ""),
    flag(
        &["--tls", "--ssl", "--https", "-S"],
        "use --tls-cert FILE with --tls-key FILE, or --tls-self-signed to try it out",
        "",
    ),
    flag(&["--self-signed"], "use --tls-self-signed", ""),
    flag(
        &["--cert", "-C", "--ssl-cert", "--certificate", "--http2-tls-cert"],
        "use --tls-cert {}",
        "FILE",
    ),
    flag(&["--key", "-K", "--ssl-key", "--http2-tls-key"], "use --tls-key {}", "FILE"),
    flag(
        &["--acme", "--letsencrypt", "--auto-https"],
        "ringd obtains no certificates; use --tls-cert and --tls-key with those of another program",
        "",
    ),
    flag(
        &["--https-redirect", "--redirect-http", "--redirect-https"],
        "use --listen-redirect :80, which sends browsers to the port with TLS",
        "",
    ),
    flag(&["--http3", "--h3", "--quic"], "ringd speaks HTTP/2 and HTTP/1.1", ""),
    flag(&["--http2", "-2", "--h2"], "HTTP/2 is on with TLS; without TLS, use --h2c", ""),
    flag(&["-o"], "use --open, which opens the site in a browser", ""),
    flag(&["--qrcode"], "use --qr, which shows the address as a code", ""),
    flag(
        &["--access-log", "--log-file", "--logfile", "--log-requests", "--log-path"],
        "use --log {}, with --log-format for its form",
        "stdout",
    ),
    flag(
        &["--verbose", "--debug", "--log-level", "--debug-log"],
        "use --log stdout for a line per answer, --error-log-level for messages, --trace for each \
         operation",
        "",
    ),
    // These letters have two meanings each.
    flag(&["-v"], "use --version for the version, or --log stdout for a line per answer", ""),
    flag(&["-q"], "use --qr for a code of the address; without --log, no answers are logged", ""),
    flag(
        &["-s"],
        "use --spa for a single-page application; for fewer messages, use \
         --error-log-level warn",
        "",
    ),
    flag(
        &["-g"],
        "ringd stays in the foreground; for fewer messages, use --error-log-level warn",
        "",
    ),
    flag(
        &["--quiet", "--silent", "--no-request-logging", "-L"],
        "answers are not logged unless --log is given; for fewer messages, use --error-log-level \
         warn",
        "",
    ),
    flag(
        &["-u", "--uid", "--gid"],
        "use --user and --group, with names or numbers, if root starts ringd",
        "",
    ),
    flag(
        &[
            "--daemon",
            "--background",
            "--fork",
            "--detach",
            "-f",
            "--pid",
            "--pidfile",
            "--pid-file",
        ],
        "ringd stays in the foreground; a supervisor such as systemd starts and stops it",
        "",
    ),
    flag(&["--chroot"], "symbolic links and `..` cannot leave the root; see --symlinks", ""),
    flag(
        &[
            "--gzip",
            "--brotli",
            "--zstd",
            "--compression",
            "--compression-level",
            "--gzip-static",
            "--compression-static",
            "--precompressed",
        ],
        "use --compress, or `ringd precompress DIRECTORY` once, whose files are sent by default",
        "",
    ),
    flag(
        &["--no-gzip", "--no-compress", "--no-compression"],
        "ringd compresses only with --compress; with --no-precompressed, it sends no compressed \
         files either",
        "",
    ),
    flag(
        &[
            "--auth",
            "--auth-file",
            "--basic-auth",
            "--basic-auth-file",
            "--htpasswd",
            "--username",
            "--password",
        ],
        "use --users FILE, which `ringd passwd` writes",
        "",
    ),
    flag(
        &[
            "--single",
            "--page-fallback",
            "--index-fallback",
            "--fallback",
            "--spa-index",
            "--try-files",
        ],
        "use --spa, which sends /index.html for pages without a file",
        "",
    ),
    flag(
        &["--page404", "--page-404", "--404", "--page50x", "--error-document"],
        "use --error-page 404=/404.html",
        "",
    ),
    flag(&["--cors-allow-origins", "--cors-origin", "--access-control"], "use --cors", ""),
    flag(
        &["--cache", "--cache-time", "--cache-control-headers", "--max-age", "--expires"],
        "use --cache-control '**=max-age=3600'",
        "",
    ),
    flag(&["--no-cache"], "use --cache-control '**=no-cache'", ""),
    flag(
        &["--domain", "--domains", "--server-name", "--vhost"],
        "a site answers all host names; for several, write sites with hosts into a configuration \
         file",
        "",
    ),
    flag(
        &["--hidden", "-H", "--dotfiles", "--no-dotfiles", "--ignore-hidden-files"],
        "names that begin with a dot are never served, except /.well-known/",
        "",
    ),
    flag(&["--health", "--health-check", "--healthz"], "use --health-path /healthz", ""),
    flag(
        &["--proxy", "-P", "--reverse-proxy", "--upstream", "--to"],
        "ringd serves files and is no proxy; put one before it",
        "",
    ),
    flag(
        &["--follow-symlinks", "--disable-symlinks", "--no-symlinks"],
        "use --symlinks, which is beneath, never or follow",
        "",
    ),
    flag(
        &[
            "--upload",
            "--upload-files",
            "--upload-dir",
            "--mkdir",
            "-U",
            "--webdav",
            "--enable-webdav",
        ],
        "ringd only reads files and takes no uploads",
        "",
    ),
    flag(&["--cgi", "--php", "--fastcgi"], "ringd serves files and starts no programs", ""),
    flag(
        &["--timeout", "--keep-alive", "--keepalive", "--keepalive-timeout", "--read-timeout"],
        "use --idle-timeout for idle connections, --header-timeout and --send-timeout for slow \
         ones",
        "",
    ),
    flag(
        &["--grace-period", "--graceful-timeout", "--shutdown-timeout"],
        "use --drain-timeout {}",
        TIME,
    ),
    flag(&["--signal"], "use `ringd reload`, or kill(1)", ""),
    flag(
        &["--metrics", "--status", "--stats", "--experimental-metrics"],
        "use --admin 127.0.0.1:7899, which has a status page and /metrics",
        "",
    ),
    flag(
        &["--mime-type", "--mime-types", "--mimetypes", "--content-type", "--media-types"],
        "use --mime EXT=TYPE",
        "",
    ),
    flag(&["--ext", "-e", "--pretty-urls", "--html-extension"], "use --clean-urls", ""),
    flag(
        &["--title", "--color", "--color-scheme", "--theme"],
        "ringd has no option for its looks; --error-page replaces the pages of errors",
        "",
    ),
    flag(
        &["--max-conns", "--worker-connections", "--connections", "-m"],
        "use --max-connections {}",
        COUNT,
    ),
    flag(&["--rate-limit", "--limit-req"], "use --rate, as in --rate 50/s", ""),
    flag(
        &["--headers", "--add-header", "--response-header", "--security-headers"],
        "use --header '**=NAME: VALUE'",
        "",
    ),
    flag(&["--indexes", "--index-file", "--index-files"], "use --index {}", "index.html"),
    flag(&["--conf", "--config-file", "--conffile"], "use --config {}", "FILE"),
];

/// What to write in place of an option that `ringd serve` does not have; `None` if no server that
/// is known here has it either. `words` is the command line.
pub(super) fn explain(option: &str, words: &[&str]) -> Option<String> {
    if ADDRESS.contains(&option) {
        return Some(listen(option, words));
    }
    let value = value_of(option, words);
    let is_signal = option == "-s" && value.is_some_and(|value| SIGNALS.contains(&value));
    let option = if is_signal { "--signal" } else { option };
    let foreign = FLAGS.iter().find(|flag| flag.spellings.contains(&option))?;
    let fits = |value: &&str| match foreign.example {
        COUNT => value.parse::<u32>().is_ok(),
        TIME => time(value).is_ok(),
        _ => true,
    };
    let value = value.filter(fits).unwrap_or(foreign.example);
    Some(foreign.remedy.replace("{}", value))
}

/// `--listen` in place of an option for the address. The port is that of the value, or else that of
/// `--port`.
fn listen(option: &str, words: &[&str]) -> String {
    let value = value_of(option, words).unwrap_or("127.0.0.1");
    if value.parse::<ListenSpec>().is_ok() {
        return format!("use --listen {value}");
    }
    let mut ports = PORTS.iter().filter_map(|option| value_of(option, words)?.parse::<u16>().ok());
    let port = ports.next();
    let with_port = |host: &str| {
        let address = format!("{host}:{}", port.unwrap_or(PORT));
        address.parse::<ListenSpec>().is_ok().then_some(address)
    };
    let address = with_port(value).or_else(|| with_port(&format!("[{value}]")));
    let address = address.unwrap_or_else(|| format!("127.0.0.1:{}", port.unwrap_or(PORT)));
    match port {
        Some(_) => format!("use --listen {address} in place of both"),
        None => format!("use --listen {address}, an address with a port"),
    }
}

/// The value of an option, attached or in the next word: `--bind=x`, `--bind x`, `-b x` or `-bx`.
fn value_of<'a>(option: &str, words: &[&'a str]) -> Option<&'a str> {
    let is_long = option.starts_with("--");
    let attached = |word: &&'a str| {
        let rest = word.strip_prefix(option)?;
        (!is_long || rest.is_empty() || rest.starts_with('=')).then_some(rest)
    };
    let (at, rest) = words.iter().enumerate().find_map(|(at, word)| Some((at, attached(word)?)))?;
    let attached = rest.trim_start_matches('=');
    let value = if attached.is_empty() { words.get(at + 1)? } else { attached };
    (!value.is_empty() && !value.starts_with('-')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    /// An option that exists is never explained away.
    #[test]
    fn no_option_of_ringd_is_foreign() {
        let mut cli = Cli::command();
        cli.build();
        let serve = cli.find_subcommand("serve").unwrap();
        let mut own: Vec<String> = Vec::new();
        for argument in serve.get_arguments() {
            let long = argument.get_long_and_visible_aliases().unwrap_or_default();
            own.extend(long.iter().map(|long| format!("--{long}")));
            let short = argument.get_short_and_visible_aliases().unwrap_or_default();
            own.extend(short.iter().map(|short| format!("-{short}")));
        }
        assert!(own.len() > 40, "{own:?}");
        for spelling in FLAGS.iter().flat_map(|flag| flag.spellings).chain(ADDRESS) {
            assert!(!own.iter().any(|own| own == spelling), "{spelling} is an option of ringd");
        }
    }

    #[test]
    fn each_spelling_has_one_remedy() {
        let foreign = FLAGS.iter().flat_map(|flag| flag.spellings).chain(ADDRESS);
        let mut all: Vec<&str> = foreign.copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    /// The remedies name options that exist.
    #[test]
    fn remedies_name_options_of_ringd() {
        let mut cli = Cli::command();
        cli.build();
        let serve = cli.find_subcommand("serve").unwrap();
        let own: Vec<&str> = serve
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .chain(["listen", "version"])
            .collect();
        for flag in FLAGS {
            let options = flag.remedy.split("--").skip(1);
            for option in options {
                let end =
                    option.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
                let option = &option[..end.unwrap_or(option.len())];
                assert!(own.contains(&option), "--{option} of {:?}", flag.spellings);
            }
            assert_eq!(flag.remedy.contains("{}"), !flag.example.is_empty(), "{flag:?}");
        }
    }

    #[test]
    fn a_value_becomes_part_of_the_remedy() {
        let explain = |words: &[&str], option: &str| explain(option, words).unwrap();
        let listen = "use --listen 0.0.0.0:7890, an address with a port";
        for words in [&["ringd", "-b", "0.0.0.0"][..], &["ringd", "-b0.0.0.0"]] {
            assert_eq!(explain(words, "-b"), listen);
        }
        assert_eq!(explain(&["ringd", "--bind=0.0.0.0"], "--bind"), listen);
        for (words, listen) in [
            (&["ringd", "-b", "::"][..], "use --listen [::]:7890, an address with a port"),
            (&["ringd", "-b", "[::1]"], "use --listen [::1]:7890, an address with a port"),
            (&["ringd", "-b", "0.0.0.0:8080"], "use --listen 0.0.0.0:8080"),
            (&["ringd", "-b", ":8080"], "use --listen :8080"),
            (&["ringd", "-b", "8080"], "use --listen 8080"),
            (&["ringd", "-b", "site/a b"], "use --listen 127.0.0.1:7890, an address with a port"),
            (&["ringd", "-b"], "use --listen 127.0.0.1:7890, an address with a port"),
            (&["ringd", "-b", "::", "-p", "80"], "use --listen [::]:80 in place of both"),
            (&["ringd", "--port=80", "-b", "host"], "use --listen host:80 in place of both"),
        ] {
            assert_eq!(explain(words, "-b"), listen, "{words:?}");
        }
        let listed = ["ringd", "--directory-listing", "x", "--directory", "public"];
        let alone = "the directory stands alone: ringd public";
        assert_eq!(explain(&listed, "--directory"), alone);
        for (words, option, remedy) in [
            (&["ringd", "--threads", "--cors"][..], "--threads", "use --workers COUNT"),
            (&["ringd", "--threads", "auto"], "--threads", "use --workers COUNT"),
            (&["ringd", "--threads", "4"], "--threads", "use --workers 4"),
            (&["ringd", "--grace-period", "5"], "--grace-period", "use --drain-timeout 10s"),
            (&["ringd", "--grace-period", "5s"], "--grace-period", "use --drain-timeout 5s"),
        ] {
            assert_eq!(explain(words, option), remedy, "{words:?}");
        }
    }
}
