//! `ringd echo`: its options and their conversion into a plan.

use clap::Args;

use super::connections::shares;
use super::{CommandError, ServerArgs};
use crate::descriptors::{Descriptors, Reserved};
use crate::driver::DriverSelection;
use crate::events::Events;
use crate::server;

/// The command line of `ringd echo`.
#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:7891")))]
pub struct EchoArgs {
    /// Options of all servers.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Everything that a run of `ringd echo` needs.
#[derive(Debug)]
pub struct EchoPlan {
    /// The settings of the server.
    pub server: server::ServerSettings,
    /// The driver.
    pub selection: DriverSelection,
}

impl EchoPlan {
    /// Turns a command line into a plan. Tests the driver, and raises the soft limit of descriptors
    /// to the hard limit.
    ///
    /// # Errors
    ///
    /// When descriptors do not suffice, or the driver does not work.
    pub fn make(args: &EchoArgs, events: &Events) -> Result<Self, CommandError> {
        let args = &args.server;
        let descriptors = Descriptors::raise_limit(args.worker_count());
        let selection = args.selection()?;
        let addresses = args.listeners_max() as u64;
        let reserved = Reserved { addresses, ..Reserved::default() };
        let connections_max = shares(descriptors, args, selection.kind, 0, reserved)?.connections;
        // An echo connection is idle before its first byte, so the first timeout is the idle one.
        let mut server = args.settings(connections_max, args.idle_timeout);
        server.trace = args.tracer()?;
        server.events = events.clone();
        Ok(Self { server, selection })
    }
}
