//! What is common to every server's command line.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use clap::{Args, value_parser};

use super::Failure;
use super::value::{DriverName, address, positive_time, time};
use crate::driver::{DriverSelection, Limits, Tracer};
use crate::server::ServerSettings;

/// Where help lists what bounds a server.
pub(super) const BOUNDS: &str = "Bounds";

/// Options of every command that serves.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Address and port to listen on; may be given several times. Port 0 takes a free one
    #[arg(short, long, value_name = "ADDR:PORT", value_parser = address)]
    pub listen: Vec<SocketAddr>,

    /// How I/O is done
    #[arg(short, long, value_name = "DRIVER", default_value = "auto")]
    pub driver: DriverName,

    /// Threads that serve; by default one for each CPU that this process may use
    #[arg(short, long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Tell on standard error what the driver is asked to do, and what becomes of it
    #[arg(long)]
    pub trace: bool,

    /// Connections at a time, in all; more wait in the kernel's backlog. By default as many as
    /// the limit of descriptors allows, at most 65536. Beyond what they can hold themselves,
    /// select (descriptors below 1024) and threads (2048 for each worker) close connections
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = value_parser!(u32).range(1..=16_000_000),
        help_heading = BOUNDS
    )]
    pub max_connections: Option<u32>,

    /// How long a connection may stay silent between two exchanges
    #[arg(
        long,
        value_name = "TIME",
        default_value = "75s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub idle_timeout: Duration,

    /// How long a client may leave what is sent unacknowledged
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = positive_time,
        help_heading = BOUNDS
    )]
    pub send_timeout: Duration,

    /// How long connections may take to finish when the server is told to stop
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = time,
        help_heading = BOUNDS
    )]
    pub drain_timeout: Duration,
}

impl ServerArgs {
    /// Threads that serve.
    pub(super) fn worker_count(&self) -> usize {
        let available = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.workers.map_or_else(available, usize::from)
    }

    /// The driver, tried out.
    ///
    /// # Errors
    ///
    /// When the one that is asked for does not work here.
    pub(super) fn selection(&self) -> Result<DriverSelection, Failure> {
        DriverSelection::make(self.driver.0).map_err(|error| {
            let name = self.driver.name();
            let remedy = match self.driver.0 {
                Some(_) => "run with --driver auto to take what works",
                None => "ringd doctor tells more",
            };
            Failure(format!("the driver {name} does not work here: {error}; {remedy}"))
        })
    }

    /// For the server. With `--trace`, the legend is written.
    ///
    /// # Errors
    ///
    /// When there is no thread for the trace.
    pub(super) fn settings(
        &self,
        connections_max: u32,
        header_timeout: Duration,
    ) -> Result<ServerSettings, Failure> {
        let trace = self.trace.then(|| Tracer::to(std::io::stderr())).transpose();
        let trace = trace.map_err(|error| {
            let remedy = "raise the limit (ulimit -u, pids.max of the control group), \
                          or run without --trace";
            Failure(format!("there is no thread for the trace: {error}; {remedy}"))
        })?;
        Ok(ServerSettings {
            listen: self.listen.clone(),
            workers: self.worker_count(),
            connections_max,
            header_timeout,
            idle_timeout: self.idle_timeout,
            send_timeout: self.send_timeout,
            drain_timeout: self.drain_timeout,
            limits: Limits::default(),
            trace,
        })
    }
}
