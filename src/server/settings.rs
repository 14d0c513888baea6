//! What a server is to do, and within which bounds.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::driver::{Limits, Tracer};

/// What a server is to do.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve; at least one.
    pub workers: usize,
    /// Connections at a time, in all.
    pub connections_max: u32,
    /// How long a request may take to arrive, from its first byte (the first one: from the
    /// beginning of the connection).
    pub header_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// How long a peer may leave what is sent unacknowledged.
    pub send_timeout: Duration,
    /// How long a drain waits for connections to finish.
    pub drain_timeout: Duration,
    /// The bounds of every driver. The number of sockets follows from `connections_max`.
    pub limits: Limits,
    /// Where the ops and waits of every driver are written, if anywhere.
    pub trace: Option<Tracer>,
}

/// A worker for each CPU that this process may use, on port 7890 of this machine alone.
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
