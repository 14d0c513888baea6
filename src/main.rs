//! The `ringd` command, which is implemented in [`ringd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ringd::cli::run()
}
