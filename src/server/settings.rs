//! The settings of a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use super::listen_spec::ListenSpec;
use super::passed::PassedSockets;
use super::start_error::StartError;
use crate::driver::{Limits, Tracer};
use crate::events::Events;
use crate::limits::ClientConnections;

/// The most workers.
pub const WORKERS_MAX: usize = 1024;

/// The most connections. Each has a descriptor and a place in a table, and both have limits.
pub const CONNECTIONS_MAX: u32 = 16_000_000;

/// The most addresses that a server listens on, those that are added later included.
pub const LISTENERS_MAX: usize = 256;

/// The most receive buffers of a driver (`io_uring_register_buf_ring(3)`).
const BUFFERS_MAX: u16 = 32_768;

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where to listen, at least one place. They may have up to [`LISTENERS_MAX`] addresses, which
    /// [`Server::addresses`](super::Server::addresses) lists. A [`SocketAddr`] becomes a place with
    /// `into()`, and a text with `parse()`.
    pub listen: Vec<ListenSpec>,
    /// The number of workers, from 1 to [`WORKERS_MAX`].
    pub workers: usize,
    /// Maximum number of concurrent connections of all workers together, from 1 to
    /// [`CONNECTIONS_MAX`].
    pub connections_max: u32,
    /// How many addresses may be added while the server runs.
    pub spare_listeners: u32,
    /// How long things may take. They can be changed while the server runs.
    pub timeouts: ServerTimeouts,
    /// The limits of each driver. `sockets_max` is replaced by a value derived from
    /// `connections_max`.
    pub limits: Limits,
    /// Sockets that another process has opened, for those places that they belong to.
    pub passed: PassedSockets,
    /// Logs the ops and waits of all drivers; `None` for no trace.
    pub trace: Option<Tracer>,
    /// How many connections each client may have. That can be changed while the server runs.
    pub clients: ClientConnections,
    /// Where the workers tell what the operator should know.
    pub events: Events,
}

/// How long things may take on a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerTimeouts {
    /// How long a request may take to arrive, counted from its first byte; for the first request,
    /// from the start of the connection.
    pub header: Duration,
    /// How long a connection may be idle between requests.
    pub idle: Duration,
    /// How long a peer may acknowledge nothing of what is sent.
    pub send: Duration,
    /// How long a server that drains goes on to accept connections, and tells its clients not to
    /// use theirs again, so that a balancer can notice.
    pub drain_delay: Duration,
    /// How long a drain then waits for connections to finish.
    pub drain: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            send: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(10),
        }
    }
}

/// One worker per usable CPU, listening on port 7890 of the loopback address.
impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 7890)).into()],
            workers: thread::available_parallelism().map_or(1, NonZero::get),
            connections_max: 1024,
            spare_listeners: 0,
            passed: PassedSockets::default(),
            timeouts: ServerTimeouts::default(),
            limits: Limits::default(),
            trace: None,
            clients: ClientConnections::default(),
            events: Events::default(),
        }
    }
}

impl ServerSettings {
    /// Checks the ranges of the settings, before anything is opened.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let limits = &self.limits;
        let ranges = [
            (!self.listen.is_empty(), "a server needs an address to listen on"),
            ((1..=WORKERS_MAX).contains(&self.workers), "a server has from 1 to 1024 workers"),
            (
                (1..=CONNECTIONS_MAX).contains(&self.connections_max),
                "a server has from 1 to 16,000,000 connections",
            ),
            (
                limits.buffers.is_power_of_two() && limits.buffers <= BUFFERS_MAX,
                "the number of receive buffers is a power of two, at most 32,768",
            ),
            (
                self.listen.len() + self.spare_listeners as usize <= LISTENERS_MAX,
                "a server listens on at most 256 addresses",
            ),
            (limits.buffer_bytes > 0, "a receive buffer has at least one byte"),
            (limits.turn_bytes_max > 0, "an op moves at least one byte in a turn"),
        ];
        let wrong = ranges.into_iter().find(|(holds, _)| !holds);
        wrong.map_or(Ok(()), |(_, reason)| Err(StartError::Settings(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused() {
        type Alter = fn(&mut ServerSettings);
        let alterations: [(Alter, &str); 11] = [
            (|settings| settings.listen.clear(), "address"),
            (
                |settings| settings.listen = vec![ListenSpec::Port(0); LISTENERS_MAX + 1],
                "at most 256 addresses",
            ),
            (|settings| settings.workers = 0, "workers"),
            (|settings| settings.workers = WORKERS_MAX + 1, "workers"),
            (|settings| settings.connections_max = 0, "connections"),
            (|settings| settings.connections_max = u32::MAX, "connections"),
            (|settings| settings.spare_listeners = 256, "at most 256 addresses"),
            (|settings| settings.limits.buffers = 1000, "power of two"),
            (|settings| settings.limits.buffers = 0, "power of two"),
            (|settings| settings.limits.buffer_bytes = 0, "buffer"),
            (|settings| settings.limits.turn_bytes_max = 0, "turn"),
        ];
        assert!(ServerSettings::default().check().is_ok());
        for (alter, word) in alterations {
            let mut settings = ServerSettings::default();
            alter(&mut settings);
            let reason = settings.check().unwrap_err().to_string();
            assert!(reason.contains(word), "{reason}");
        }
    }
}
