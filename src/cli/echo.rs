//! `ringd echo`: its options, and the plan that they make.

use clap::Args;

use super::connections::connections;
use super::{Failure, ServerArgs};
use crate::descriptors::Descriptors;
use crate::driver::DriverSelection;
use crate::server;

/// The command line of `ringd echo`.
#[derive(Debug, Args)]
#[command(mut_arg("listen", |listen| listen.default_value("127.0.0.1:7891")))]
pub struct EchoArgs {
    /// Options of all servers.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// All that a run needs.
#[derive(Debug)]
pub struct EchoPlan {
    /// For the server.
    pub server: server::ServerSettings,
    /// The driver.
    pub selection: DriverSelection,
}

impl EchoPlan {
    /// Turns a command line into settings, looking at the machine where it must.
    ///
    /// Raises the soft limit of descriptors to the hard one.
    ///
    /// # Errors
    ///
    /// When the limits do not suffice, or the driver does not work.
    pub fn make(args: &EchoArgs) -> Result<Self, Failure> {
        let args = &args.server;
        let descriptors = Descriptors::raise_limit(args.worker_count());
        let connections_max = connections(descriptors, args, 0)?;
        let selection = args.selection()?;
        // Before its first byte, an echo's connection is as idle as between any two.
        let server = args.settings(connections_max, args.idle_timeout)?;
        Ok(Self { server, selection })
    }
}
