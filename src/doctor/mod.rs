//! `ringd doctor`: tests what works on this machine, and prints how to fix what does not.
//!
//! It first gathers facts, by trying the system calls themselves where possible. Functions without
//! side effects then turn the facts into checks. A fact that cannot be found out, in a sandbox or
//! without `/proc`, becomes a note.
//!
//! | file | holds |
//! | --- | --- |
//! | `facts.rs` | the facts, and how they are gathered |
//! | `judge.rs` | the checks, made from the facts |
//! | `explain.rs` | the causes of errors, and their remedies |
//! | `limits.rs` | the checks of limits of the process and the machine |
//! | `sandbox.rs` | the facts and checks of `--sandbox` |
//! | `tls.rs` | the facts and checks of HTTPS |
//! | `remedies.rs` | the lines that raise a limit |
//! | `report.rs` | the report, whose fields are those of `--json` |
//! | `render.rs` | the report as text |

mod explain;
mod facts;
mod judge;
mod limits;
mod remedies;
mod render;
mod report;
mod sandbox;
#[cfg(test)]
mod tests;
mod tls;

use std::io::{self, Write};
use std::process::ExitCode;

use facts::Facts;
pub use report::{Area, Auto, Check, CheckStatus, DoctorReport, Remedy};

const AFTER_HELP: &str = "\
Exit codes: 0 if at least one driver works, 1 if none does, 2 for a wrong command line. If the
environment variable NO_COLOR is set, the text has no colour.";

/// The command line of `ringd doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// Tests the machine and writes the report to `out`, as JSON or as text. The text contains ANSI
/// escape codes for colours, which `out` may strip.
///
/// It takes less than a second, plus two seconds for each system call that does not return.
pub fn run(args: &Args, mut out: impl Write) -> ExitCode {
    let report = examine();
    match write(&report, args.json, &mut out) {
        // The exit code does not depend on whether the reader of the pipe has gone.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "ringd: cannot write the report: {error}");
            ExitCode::FAILURE
        }
        _ if report.serving => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Tests the machine.
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
