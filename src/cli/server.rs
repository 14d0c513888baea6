//! The options that `ringd serve` and `ringd echo` share.

use std::thread;
use std::time::Duration;

use clap::{Args, value_parser};

use super::CommandError;
use super::value::{DriverName, positive_time, time};
use crate::driver::{DriverSelection, Limits, Tracer};
use crate::events::Events;
use crate::limits::ClientConnections;
use crate::server::{
    CONNECTIONS_MAX, ListenSpec, PassedSockets, ServerSettings, ServerTimeouts, WORKERS_MAX,
};

/// The heading of the limits and timeouts in the help.
pub(super) const BOUNDS: &str = "Bounds";

/// The heading of these options in the help.
pub(super) const CONTENT: &str = "Content";

/// The heading of the drain, and of what tells load balancers of it, in the help.
pub(super) const STOP: &str = "Stopping and load balancers";

/// Options of every command that serves.
///
/// The first paragraph of an option is its line in `-h`, `--help` has the others too.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    #[allow(rustdoc::broken_intra_doc_links, reason = "the text is the help of the option")]
    /// Where to listen; may be given several times
    ///
    /// 127.0.0.1:8080, 8080 (the same), [::1]:8080, :8080 (all addresses), localhost:8080 (a name
    /// that is looked up once), unix:/run/site.sock (a Unix socket, for its owner and group),
    /// unix:@site (an abstract name), or fd:web and fd:3 (sockets of a systemd unit, by name or
    /// number). With port 0, the kernel picks a free port
    #[arg(short, long, alias = "port", short_alias = 'p', value_name = "ADDRESS")]
    pub listen: Vec<ListenSpec>,

    /// I/O driver
    #[arg(short, long, value_name = "DRIVER", default_value = "auto")]
    pub driver: DriverName,

    /// Number of worker threads [default: one per usable CPU]
    #[arg(
        short,
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u16).range(1..=WORKERS_MAX as i64)
    )]
    pub workers: Option<u16>,

    /// Log each operation of the driver and its result on standard error
    #[arg(long)]
    pub trace: bool,

    /// Maximum number of concurrent connections
    ///
    /// More wait in the kernel's backlog [default: as the limit of descriptors allows, at most
    /// 65536]. The drivers select (descriptors below 1024) and threads (2048 sockets per worker)
    /// close connections beyond their own limits
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)),
        help_heading = BOUNDS
    )]
    pub max_connections: Option<u32>,

    /// How long a connection may be idle between requests
    #[arg(
        long,
        value_name = "TIME",
        default_value = "75s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub idle_timeout: Duration,

    /// How long a client may acknowledge no data at all
    ///
    /// The time begins again whenever it acknowledges something of what is sent
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub send_timeout: Duration,

    /// How long to accept connections after a signal to stop
    ///
    /// Meanwhile, the server tells its clients not to use their connections again, so that a load
    /// balancer can take it out first
    #[arg(
        long,
        value_name = "TIME",
        default_value = "0s",
        value_parser = time,
        help_heading = STOP
    )]
    pub drain_delay: Duration,

    /// How long connections may take to finish
    ///
    /// The time begins after a signal to stop, and after --drain-delay. Connections that take
    /// longer are cut off, and a line says how many
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = time,
        help_heading = STOP
    )]
    pub drain_timeout: Duration,
}

impl ServerArgs {
    /// The most addresses that the places to listen have.
    pub(super) fn listeners_max(&self) -> usize {
        self.listen.iter().map(ListenSpec::endpoints_max).sum()
    }

    /// The timeouts of the server.
    pub(super) fn timeouts(&self, header_timeout: Duration) -> ServerTimeouts {
        ServerTimeouts {
            header: header_timeout,
            idle: self.idle_timeout,
            send: self.send_timeout,
            drain_delay: self.drain_delay,
            drain: self.drain_timeout,
        }
    }

    /// The number of worker threads.
    pub(super) fn worker_count(&self) -> usize {
        let available = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.workers.map_or_else(available, usize::from)
    }

    /// Chooses and tests the driver.
    ///
    /// # Errors
    ///
    /// When the named driver does not work here; with `auto`, when none does.
    pub(super) fn selection(&self) -> Result<DriverSelection, CommandError> {
        self.selection_for(false)
    }

    /// The same for a server whose rings are `restricted` or not.
    ///
    /// # Errors
    ///
    /// As for [`ServerArgs::selection`].
    pub(super) fn selection_for(&self, restricted: bool) -> Result<DriverSelection, CommandError> {
        DriverSelection::make_for(self.driver.0, restricted).map_err(|error| {
            let name = self.driver.name();
            let remedy = match self.driver.0 {
                Some(_) => "use --driver auto to take one that works",
                None => "run `ringd doctor` for the cause",
            };
            CommandError(format!("the driver {name} does not work here: {error}; {remedy}"))
        })
    }

    /// With `--trace`, starts the trace, which writes its legend.
    ///
    /// # Errors
    ///
    /// When the thread of the trace cannot be started.
    pub(super) fn tracer(&self) -> Result<Option<Tracer>, CommandError> {
        let trace = self.trace.then(|| Tracer::to(std::io::stderr())).transpose();
        trace.map_err(|error| {
            let CommandError(text) = CommandError::no_thread("the trace", &error);
            CommandError(text + ", or run without --trace")
        })
    }

    /// The settings of the server, without a trace.
    pub(super) fn settings(
        &self,
        connections_max: u32,
        header_timeout: Duration,
    ) -> ServerSettings {
        ServerSettings {
            listen: self.listen.clone(),
            workers: self.worker_count(),
            connections_max,
            timeouts: self.timeouts(header_timeout),
            spare_listeners: 0,
            passed: PassedSockets::default(),
            limits: Limits::default(),
            trace: None,
            clients: ClientConnections::default(),
            events: Events::default(),
        }
    }
}
