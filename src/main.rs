//! The `ringd` command; [`ringd::cli`] has all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringd::cli::run()
}
