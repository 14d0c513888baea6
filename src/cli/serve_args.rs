//! The options of `ringd serve`, the default command.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Args, value_parser};

use super::server::{BOUNDS, STOP};
use super::value::{positive_time, size, time};
use super::{ContentArgs, LimitArgs, ObserveArgs, ReachArgs, SandboxArgs, ServerArgs, TlsArgs};

/// The heading of the options of the cache in the help.
const CACHE: &str = "Cache (per worker)";

/// The heading of the options about the configuration file in the help.
const FILE: &str = "Configuration file";

/// The directory that is served if none is named: `html` if the current directory has it, else the
/// current directory.
pub(super) fn default_root() -> &'static str {
    if Path::new("./html").is_dir() { "./html" } else { "." }
}

/// Where it is listened if no place is named: at all sockets that the program which starts the
/// server has passed to it (`sd_listen_fds(3)`), or at a port of this machine.
fn default_listen() -> impl Iterator<Item = &'static str> {
    static PLACES: OnceLock<Vec<String>> = OnceLock::new();
    let find = || {
        let passed = sd_notify::listen_fds().map(|all| all.map(|number| format!("fd:{number}")));
        match passed.map(Vec::from_iter) {
            Ok(places) if !places.is_empty() => places,
            _ => vec!["127.0.0.1:7890".to_owned()],
        }
    };
    PLACES.get_or_init(find).iter().map(String::as_str)
}

/// The command line of `ringd serve`.
#[derive(Clone, Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_values(default_listen())))]
pub struct ServeArgs {
    /// Directory to serve [default: ./html if it exists, else the current directory]
    #[arg(default_value = default_root(), hide_default_value = true)]
    pub root: PathBuf,

    /// Options of all servers.
    #[command(flatten)]
    pub server: ServerArgs,

    /// Options about content.
    #[command(flatten)]
    pub content: ContentArgs,

    /// Options of HTTPS.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// Options of the HTTP server.
    #[command(flatten)]
    pub http: HttpArgs,

    /// Options of the logs and of the administration.
    #[command(flatten)]
    pub observe: ObserveArgs,

    /// Options of the user and the sandbox.
    #[command(flatten)]
    pub sandbox: SandboxArgs,

    /// Where further options are read from.
    #[command(flatten)]
    pub file: FileArgs,

    /// What to do with the address once the server runs.
    #[command(flatten)]
    pub reach: ReachArgs,
}

/// Options of the HTTP server that are not about content: its cache, and what it waits for.
#[derive(Clone, Debug, Args)]
pub struct HttpArgs {
    /// How long a request head may take to arrive
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub header_timeout: Duration,

    /// Accept HTTP/2 without TLS, from clients that begin with it
    ///
    /// For proxies that speak HTTP/2 to servers behind them. HTTP/1.1 is spoken too
    #[arg(long, hide_short_help = true)]
    pub h2c: bool,

    /// Tell load balancers at this path whether to send requests
    ///
    /// On all hosts: 200, or 503 from the beginning of a drain (see --drain-delay)
    #[arg(long, value_name = "PATH", value_parser = health_path, help_heading = STOP)]
    pub health_path: Option<String>,

    /// Cached names [default: 2048, fewer if descriptors are scarce]
    ///
    /// Each may hold a file open
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(..=1_000_000),
        help_heading = CACHE
    )]
    pub cache_entries: Option<u32>,

    /// How long an unused name is kept, with its open file
    ///
    /// A name is unused if no request asks for it
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = positive_time,
        help_heading = CACHE
    )]
    pub cache_idle: Duration,

    /// Memory for cached small files and response heads
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "32M",
        value_parser = cache_bytes,
        help_heading = CACHE
    )]
    pub cache_bytes: usize,

    /// Files up to this size are sent from memory
    ///
    /// At most 1M. Larger files are sent with sendfile(2)
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "8K",
        value_parser = memory_file_max,
        help_heading = CACHE
    )]
    pub memory_file_max: u64,

    /// Memory for what is compressed on the fly, over all workers
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64M",
        value_parser = size,
        hide_short_help = true,
        help_heading = CACHE
    )]
    pub compress_cache_bytes: u64,

    /// How long a cached file is served unchecked
    ///
    /// Then the next request makes the server check it for changes
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1s",
        value_parser = time,
        help_heading = CACHE
    )]
    pub revalidate: Duration,

    /// Do not use inotify to notice changes
    ///
    /// They then show after --revalidate
    #[arg(long, hide_short_help = true, help_heading = CACHE)]
    pub no_watch: bool,

    /// Limits of clients.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Options about the configuration file.
#[derive(Clone, Debug, Args)]
pub struct FileArgs {
    /// Read options and sites from this file (TOML)
    ///
    /// Options of the command line win over it. No file is read without this option
    #[arg(short, long, value_name = "FILE", help_heading = FILE)]
    pub config: Option<PathBuf>,

    /// Check the configuration file, and do not serve
    ///
    /// The other options are checked with it. `ringd check` does the same
    #[arg(short, long, requires = "config", help_heading = FILE)]
    pub test: bool,

    #[allow(rustdoc::broken_intra_doc_links, reason = "the text is the help of the option")]
    /// Take over from the server that runs with this file
    ///
    /// The new server gets the listening sockets of the old one, so no client is refused. When the
    /// new one accepts, the old one finishes its connections and ends. The two find each other by
    /// the Unix socket in [admin]
    #[arg(
        long,
        requires = "config",
        conflicts_with = "test",
        hide_short_help = true,
        help_heading = FILE
    )]
    pub take_over: bool,
}

/// Parses `--health-path`.
fn health_path(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    match text {
        text if !text.starts_with('/') => Err("it must begin with a slash, as in /healthz".into()),
        text if !text.bytes().all(fits) => {
            Err("it must be a path as requests have it: no blanks, ? and #; others encoded".into())
        }
        text => Ok(text.to_owned()),
    }
}

/// Parses `--cache-bytes`.
fn cache_bytes(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| "it must fit into the address space".into())
}

/// Parses `--memory-file-max`. The limit is 1 MiB, because copying a larger file would delay the
/// other connections of the worker.
fn memory_file_max(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes > 1 << 20 => Err("it must be at most 1M".into()),
        bytes => Ok(bytes),
    }
}
