//! `ringd reload`: asks the server that runs with a configuration file to read it again.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{CommandError, Flags, admin, check};

const AFTER_HELP: &str = "\
The file is checked first, and then again by the server, which finds out about addresses in use. The
server is found by the socket that the file names: [admin] listen = \"unix:/run/ringd/admin.sock\".
Without it, send SIGHUP to the server, which prints the result.

Exit codes: 0 when all workers serve the new configuration, 1 if it was refused and nothing has
changed, 2 for a wrong command line.";

/// The command line of `ringd reload`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReloadArgs {
    /// The configuration file of the server
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &ReloadArgs) -> Result<ExitCode, CommandError> {
    let config = match check::load_or_explain(Some(&args.config), &Flags::default()) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let Some(socket) = config.admin else {
        return Err(CommandError(format!(
            "{} has no [admin] socket; add [admin] with listen = \"unix:/run/ringd/admin.sock\" \
             and restart ringd, or send SIGHUP to it",
            args.config.display()
        )));
    };
    let line = admin::ask_to_reload(&socket)?;
    let _ = writeln!(io::stdout(), "ringd: {line}");
    Ok(ExitCode::SUCCESS)
}
