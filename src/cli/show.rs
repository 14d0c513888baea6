//! `ringd config`: the effective configuration, and the schema of the file.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::config::{Flags, schema};
use super::{CommandError, ServeArgs, check};

const AFTER_HELP: &str = "\
The output is a configuration file that means the same as the options, and the file if there is one.
`ringd config [ROOT] [OPTIONS] > ringd.toml` turns a command line into a file.";

/// The command line of `ringd config`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ShowArgs {
    /// Print the JSON schema of configuration files instead, for editors
    #[arg(long)]
    pub schema: bool,

    /// The options of `ringd serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Prints the effective configuration, or the schema.
pub(super) fn run(args: &ShowArgs, flags: &Flags) -> Result<ExitCode, CommandError> {
    let text = if args.schema {
        schema()
    } else {
        match check::load_or_explain(args.serve.file.config.as_deref(), flags) {
            Ok(config) => config.to_toml()?,
            Err(code) => return Ok(code),
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // A reader such as `head` may close the pipe before the end.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CommandError(format!(
            "cannot write standard output: {error}; check where it is redirected to"
        ))),
        _ => Ok(ExitCode::SUCCESS),
    }
}
