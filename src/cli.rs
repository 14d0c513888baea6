//! The command line: what a person types, turned into settings that cannot be wrong.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::{Parser, ValueEnum, value_parser};

use crate::driver::{ACCEPTS_PER_WAIT, Choice, File, FileKind, Kind, Limits};
use crate::{http, server};

/// Descriptors that belong to the process: standard streams, the root, signals.
const DESCRIPTORS_RESERVED: u64 = 32;

/// Descriptors of a worker's driver: a ring or a poller, events, files being opened.
const DESCRIPTORS_PER_WORKER: u64 = 16;

/// Connections at a time, when the limit of descriptors allows it and nothing else is said.
const CONNECTIONS_DEFAULT: u64 = 65_536;

/// Cached names per worker, likewise.
const CACHE_ENTRIES_DEFAULT: u64 = 2048;

/// No timeout is longer, so that no sum of times overflows.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const AFTER_HELP: &str = "\
Times are written like 500ms, 10s, 2min.

When io_uring is blocked (EPERM): containers deny it by default, and so can the sysctl
kernel.io_uring_disabled (0 allows it, 1 only for privileged users, 2 for nobody). Allow the
calls io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile,
or stay with epoll, which serves the same.

Signals: SIGINT and SIGTERM let connections finish (--drain-timeout); a second one ends at once.
Exit codes: 0 after a drain, 1 when serving is not possible, 2 for a wrong command line, 128 plus
the signal's number after a second signal.";

/// Serves the files of a directory over HTTP.
#[derive(Debug, Parser)]
#[command(name = "ringd", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// The directory to serve
    #[arg(default_value = "./html")]
    pub root: PathBuf,

    /// Address and port to listen on; may be given several times. Port 0 takes a free one
    #[arg(
        short,
        long,
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:7890",
        value_parser = address
    )]
    pub listen: Vec<SocketAddr>,

    /// How I/O is done; auto takes uring where it works and epoll where it does not
    #[arg(short, long, value_name = "DRIVER", default_value = "auto")]
    pub driver: DriverName,

    /// Threads that serve; by default one for each CPU that this process may use
    #[arg(short, long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Connections at a time, in all; more wait in the kernel's backlog. By default as many as
    /// the limit of descriptors allows, at most 65536
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=16_000_000))]
    pub max_connections: Option<u32>,

    /// How long a request may take to arrive
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive_time)]
    pub header_timeout: Duration,

    /// How long a connection may rest between two requests
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = positive_time)]
    pub idle_timeout: Duration,

    /// How long a client may leave what is sent unacknowledged
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = positive_time)]
    pub send_timeout: Duration,

    /// How long connections may take to finish when the server is told to stop
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub drain_timeout: Duration,

    /// Names that are remembered, for each worker; each may hold a file open [default: 2048, or
    /// fewer where descriptors are short]
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(..=1_000_000))]
    pub cache_entries: Option<u32>,

    /// Bytes of small files and heads that are remembered, for each worker
    #[arg(long, value_name = "BYTES", default_value_t = 32 * 1024 * 1024)]
    pub cache_bytes: usize,

    /// Files up to this size are sent from memory, larger ones by sendfile(2)
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 8192,
        value_parser = value_parser!(u64).range(..=1024 * 1024)
    )]
    pub memory_file_max: u64,

    /// How long a remembered file is served before the file system is asked whether it changed
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub revalidate: Duration,
}

/// The values of `--driver`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum DriverName {
    /// uring where it works, else epoll
    Auto,
    /// The proactor on io_uring (Linux 6.1)
    Uring,
    /// The reactor on epoll, edge-triggered
    Epoll,
    /// The reactor on epoll, level-triggered
    EpollLt,
}

impl DriverName {
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Auto => None,
            Self::Uring => Some(Kind::Uring),
            Self::Epoll => Some(Kind::Epoll),
            Self::EpollLt => Some(Kind::EpollLevel),
        }
    }
}

/// Why serving is not possible: the cause and the remedy, in one line.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// All that a run needs.
#[derive(Debug)]
pub struct Plan {
    /// For the server.
    pub server: server::Settings,
    /// For its sessions.
    pub http: http::Settings,
    /// The driver.
    pub choice: Choice,
    /// The root, as it is called when it is told to a person.
    pub root: PathBuf,
}

impl Plan {
    /// Turns a command line into settings, looking at the machine where it must.
    ///
    /// Raises the soft limit of descriptors to the hard one.
    ///
    /// # Errors
    ///
    /// When the root cannot be served, the limits do not suffice, or the driver does not work.
    pub fn make(cli: &Cli) -> Result<Self, Failure> {
        let root = open_root(&cli.root)?;
        let workers = cli.workers.map_or_else(
            || thread::available_parallelism().map_or(1, std::num::NonZero::get),
            usize::from,
        );
        let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
        let (connections_max, cache_entries) = share_out(cli, descriptors, workers as u64)?;
        let choice = Choice::make(cli.driver.kind()).map_err(|error| {
            let remedy = "run with --driver auto to take what works";
            Failure(format!("the driver {} does not work here: {error}; {remedy}", name(cli)))
        })?;
        Ok(Self {
            server: server::Settings {
                listen: cli.listen.clone(),
                workers,
                connections_max,
                header_timeout: cli.header_timeout,
                idle_timeout: cli.idle_timeout,
                send_timeout: cli.send_timeout,
                drain_timeout: cli.drain_timeout,
                limits: Limits::default(),
            },
            http: http::Settings {
                memory_file_max: cli.memory_file_max,
                cache_entries,
                cache_bytes: cli.cache_bytes,
                revalidate_after: cli.revalidate,
                ..http::Settings::new(root)
            },
            choice,
            root: cli.root.canonicalize().unwrap_or_else(|_| cli.root.clone()),
        })
    }
}

fn name(cli: &Cli) -> String {
    cli.driver.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Opens the root, and makes sure that files beneath it can be opened the safe way.
fn open_root(path: &Path) -> Result<Arc<File>, Failure> {
    let failed = |reason: &str| {
        let path = path.display();
        Failure(format!("cannot serve {path}: {reason}"))
    };
    let root = File::open_root(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            failed("there is no such directory; name the one to serve, as in `ringd DIRECTORY`")
        }
        io::ErrorKind::PermissionDenied => {
            failed("permission denied; the directory must be readable for the user of ringd")
        }
        _ => failed(&error.to_string()),
    })?;
    if root.metadata().kind != FileKind::Directory {
        return Err(failed("it is not a directory; name the directory that the file is in"));
    }
    match File::open_beneath(&root, c".") {
        Ok(_) => Ok(Arc::new(root)),
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            Err(failed("the kernel lacks openat2(2); Linux 5.6 or newer is needed"))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            Err(failed("openat2(2) is denied; allow it in the seccomp profile"))
        }
        Err(error) => Err(failed(&error.to_string())),
    }
}

/// Divides the descriptors between connections and, per worker, cached files.
fn share_out(cli: &Cli, descriptors: u64, workers: u64) -> Result<(u32, usize), Failure> {
    let entries = cli
        .cache_entries
        .map_or_else(|| CACHE_ENTRIES_DEFAULT.min(descriptors / 4 / workers), u64::from);
    let listeners = cli.listen.len() as u64 * workers;
    // Connections that come before an accept can be stopped; where descriptors are short, rather
    // a pause in accepting than no room at all.
    let slack = (listeners * u64::from(ACCEPTS_PER_WAIT)).min(descriptors / 8);
    let per_worker = entries + DESCRIPTORS_PER_WORKER;
    let taken = DESCRIPTORS_RESERVED + workers * per_worker + listeners + slack;
    let left = descriptors.saturating_sub(taken);
    let wanted = cli.max_connections.map(u64::from);
    match wanted {
        Some(wanted) if wanted > left => Err(Failure(format!(
            "--max-connections {wanted} needs {} descriptors, the limit is {descriptors}; \
             raise it with `ulimit -n`, or lower --max-connections or --cache-entries",
            wanted + taken
        ))),
        None if left == 0 => Err(Failure(format!(
            "the limit of {descriptors} descriptors leaves none for connections; raise it with \
             `ulimit -n`, or lower --cache-entries or --workers"
        ))),
        _ => {
            let connections =
                wanted.unwrap_or(left).min(CONNECTIONS_DEFAULT.max(wanted.unwrap_or(0)));
            Ok((connections as u32, entries as usize))
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "it must be an IP address and a port, as in 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080"
            .to_owned()
    })
}

fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time > TIME_MAX => Err("it must be at most 365 days".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; a time is written like 500ms, 10s or 2min")),
    }
}

fn positive_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("it must be longer than nothing".into()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Cli {
        Cli::parse_from(std::iter::once(&"ringd").chain(arguments))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_arguments_it_serves_html_locally() {
        let cli = parse(&[]);
        assert_eq!(cli.root, Path::new("./html"));
        assert_eq!(cli.listen, ["127.0.0.1:7890".parse().unwrap()]);
        assert_eq!(cli.driver, DriverName::Auto);
    }

    #[test]
    fn descriptors_are_shared_between_connections_and_files() {
        assert_eq!(share_out(&parse(&[]), 20_000, 2).unwrap(), (15_710, 2048));
        assert_eq!(share_out(&parse(&[]), 256, 2).unwrap(), (94, 32));
        assert_eq!(share_out(&parse(&[]), 1 << 30, 2).unwrap(), (65_536, 2048));
        let many = parse(&["--max-connections", "100000"]);
        assert_eq!(share_out(&many, 1 << 30, 2).unwrap(), (100_000, 2048));
        let error = share_out(&many, 20_000, 2).unwrap_err().to_string();
        assert!(error.contains("the limit is 20000") && error.contains("ulimit -n"), "{error}");
        assert!(share_out(&parse(&[]), 64, 2).is_err());
    }

    #[test]
    fn an_unusable_root_names_cause_and_remedy() {
        let missing = open_root(Path::new("/no/such/directory")).unwrap_err().to_string();
        assert!(missing.contains("no such directory") && missing.contains("ringd DIRECTORY"));
        let file = open_root(Path::new("Cargo.toml")).unwrap_err().to_string();
        assert!(file.contains("not a directory"), "{file}");
    }
}
