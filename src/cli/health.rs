//! `ringd health`: asks the server that runs whether all its workers respond. For images without a
//! shell and without curl.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::value::admin_place;
use super::{CommandError, Flags, admin_client, check};
use crate::server::ListenSpec;

const AFTER_HELP: &str = "\
The server needs an administration: --admin ADDRESS, or [admin] in its configuration file. For
example, `ringd health 127.0.0.1:7899` or `ringd health -c ringd.toml`.

Exit codes: 0 if all workers respond, 1 if one does not or nobody answers, 2 for a wrong command
line.";

/// The command line of `ringd health`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct HealthArgs {
    /// Where the administration of the server listens, as of --admin
    #[arg(
        value_parser = admin_place,
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    pub address: Option<ListenSpec>,

    /// Take the address from the configuration file of the server
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &HealthArgs) -> Result<ExitCode, CommandError> {
    let place = match (&args.address, &args.config) {
        (Some(address), _) => address.clone(),
        (None, path) => {
            let config = match check::load_or_explain(path.as_deref(), &Flags::default()) {
                Ok(config) => config,
                Err(code) => return Ok(code),
            };
            let Some(place) = config.options.observe.admin_places().into_iter().next() else {
                return Err(CommandError(format!(
                    "{} has no [admin]; add [admin] with listen = \"127.0.0.1:7899\" and restart \
                     ringd",
                    path.as_deref().unwrap_or("it".as_ref()).display()
                )));
            };
            place
        }
    };
    let reply = admin_client::ask_for_health(&place)?;
    if !reply.is_ok {
        return Err(CommandError(reply.text));
    }
    let _ = writeln!(io::stdout(), "ringd: {}", reply.text);
    Ok(ExitCode::SUCCESS)
}
