//! The settings of a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::driver::{Limits, Tracer};

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// The number of workers; at least one.
    pub workers: usize,
    /// Maximum number of concurrent connections of all workers together.
    pub connections_max: u32,
    /// How long a request may take to arrive, counted from its first byte; for the first request,
    /// from the start of the connection.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long a peer may acknowledge nothing of what is sent.
    pub send_timeout: Duration,
    /// How long a drain waits for connections to finish.
    pub drain_timeout: Duration,
    /// The limits of each driver. `sockets_max` is replaced by a value derived from
    /// `connections_max`.
    pub limits: Limits,
    /// Logs the ops and waits of all drivers; `None` for no trace.
    pub trace: Option<Tracer>,
}

/// One worker per usable CPU, listening on port 7890 of the loopback address.
impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7890))],
            workers: thread::available_parallelism().map_or(1, NonZero::get),
            connections_max: 1024,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            trace: None,
        }
    }
}
