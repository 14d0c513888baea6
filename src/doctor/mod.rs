//! `ringd doctor`: whether and how ringd can serve on this machine, and what would mend the rest.
//!
//! Facts are gathered first, by doing wherever that is possible, and judged afterwards, by
//! functions that touch nothing. What cannot be found out, in a sandbox or without `/proc`, is a
//! finding like any other.
//!
//! | file | holds |
//! | --- | --- |
//! | `facts.rs` | what is found out, and how |
//! | `judge.rs` | what that means: the checks, one by one |
//! | `explain.rs` | what is behind an error, and the line that mends it |
//! | `limits.rs` | the same for the limits of the process and the machine |
//! | `remedies.rs` | the lines that raise a limit |
//! | `report.rs` | the result, which is also the shape of `--json` |
//! | `render.rs` | the result for a person |

mod explain;
mod facts;
mod judge;
mod limits;
mod remedies;
mod render;
mod report;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

use facts::Facts;
pub use report::{Area, Auto, Check, CheckStatus, DoctorReport, Remedy};

const AFTER_HELP: &str = "\
Exit codes: 0 when serving is possible with some driver, 1 when it is not, 2 for a wrong command
line. NO_COLOR in the environment means no colour.";

/// Tells whether and how ringd can serve on this machine, and what would mend the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Writes one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Looks at the machine and reports to `out`: in JSON, or for a person, with colour as ANSI
/// escape codes, which `out` may strip.
///
/// It takes part of a second, and two seconds more for each call that a sandbox leaves without an
/// answer.
pub fn run(args: &Args, mut out: impl Write) -> ExitCode {
    let report = examine();
    match write(&report, args.json, &mut out) {
        // A reader that is gone does not change the answer, which is the exit code.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "ringd: the report cannot be written: {error}");
            ExitCode::FAILURE
        }
        _ if report.serving => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Looks at the machine.
pub fn examine() -> DoctorReport {
    judge::judge(&Facts::gather())
}

fn write(report: &DoctorReport, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, report)?;
        writeln!(out)?;
    } else {
        render::render(report, out)?;
    }
    out.flush()
}
