//! What a server is to do, and within which bounds.

use std::net::SocketAddr;
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
    /// Whom every driver's ops and waits are told, if anybody.
    pub trace: Option<Tracer>,
}
