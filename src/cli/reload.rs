//! `ringd reload`: asks the server that runs with a configuration file to read it again.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{CommandError, Flags, admin_client, check};

const AFTER_HELP: &str = "\
The file is checked first, and then again by the server, which finds out about addresses in use. The
server is found by the socket that the file names: [admin] listen = \"unix:/run/ringd/admin.sock\".
Without it, send SIGHUP to the server, which prints the result.

Exit codes: 0 when all workers serve the new configuration, 1 if it was refused and nothing has
changed, or if a worker did not take it in time (then the line begins with \"reloaded, but\"), 2 for
a wrong command line.";

/// The command line of `ringd reload`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReloadArgs {
    /// The configuration file of the server
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub file: Option<PathBuf>,

    /// The same as FILE
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &ReloadArgs) -> Result<ExitCode, CommandError> {
    // Clap sees to it that there is one.
    let path = args.file.as_deref().or(args.config.as_deref());
    let config = match check::load_or_explain(path, &Flags::default()) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let Some(socket) = config.options.observe.admin_socket() else {
        return Err(CommandError(format!(
            "{} has no Unix socket in [admin]; add [admin] with listen = \
             \"unix:/run/ringd/admin.sock\" and restart ringd, or send SIGHUP to it",
            path.unwrap_or(Path::new("")).display()
        )));
    };
    let line = admin_client::ask_to_reload(&socket, path.unwrap_or(Path::new("")))?;
    let _ = writeln!(io::stdout(), "ringd: {line}");
    Ok(ExitCode::SUCCESS)
}
