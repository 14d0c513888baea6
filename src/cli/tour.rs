//! `ringd tour`: the same exchange on every driver, side by side.
//!
//! [`exchange`] serves two files with a driver, is their client, and keeps what the driver did in
//! each step; [`table`] prints it, [`picture`] draws it.

mod exchange;
mod picture;
mod table;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, value_parser};

use super::CommandError;
use crate::driver::DriverKind;
use exchange::Observed;

const AFTER_HELP: &str = "\
The tour serves a page and a large file to itself over loopback, once with each driver, and counts
the system calls that the driver makes, by name. Nothing outside of a temporary directory is read or
written, but for --svg. It takes a few seconds.

To follow one driver through each of its operations: ringd --driver epoll --trace
What the drivers are, and what they cost: docs/drivers.md";

/// How often the exchange is made for a picture.
const PICTURE_TIMES: usize = 3;

/// The command line of `ringd tour`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TourArgs {
    /// Draw the exchange as a timeline, into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Columns of the output [default: those of the terminal, else 80]
    #[arg(long, value_name = "COLUMNS", value_parser = value_parser!(u16).range(80..=300))]
    width: Option<u16>,
}

/// Runs the exchange on each driver, and prints what they did.
///
/// # Errors
///
/// When the files to serve cannot be written, no driver works, or the output cannot be written.
pub(super) fn run(args: &TourArgs) -> Result<(), CommandError> {
    let site = exchange::Site::make().map_err(|error| {
        CommandError(format!(
            "cannot write the files to serve into a temporary directory: {error}; check TMPDIR"
        ))
    })?;
    let lineage = [
        DriverKind::Threads,
        DriverKind::Spin,
        DriverKind::Select,
        DriverKind::Poll,
        DriverKind::Sigio,
        DriverKind::EpollLevel,
        DriverKind::Epoll,
        DriverKind::Uring,
    ];
    // In a picture, one long call hides all short ones.
    let times = if args.svg.is_some() { PICTURE_TIMES } else { 1 };
    let seen: Vec<Observed> =
        lineage.into_iter().map(|kind| exchange::observe(kind, &site, times)).collect();
    if let Some(Observed { kind, result: Err(error) }) =
        seen.iter().find(|seen| seen.result.is_err())
        && seen.iter().all(|seen| seen.result.is_err())
    {
        return Err(CommandError(format!(
            "no driver works here: {kind}: {error}; run `ringd doctor` for the cause"
        )));
    }
    // The output may go to a pipe that is closed early.
    let printed =
        table::print(&seen, usize::from(args.width.unwrap_or_else(columns)), io::stdout());
    printed.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(CommandError(format!("cannot write to standard output: {error}"))),
    })?;
    let Some(path) = &args.svg else { return Ok(()) };
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        picture::write_svg(&seen, &mut file)?;
        file.flush()
    });
    written.map_err(|error| CommandError(format!("cannot write {}: {error}", path.display())))
}

/// The columns of the terminal.
fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(80, |size| size.ws_col).clamp(80, 300)
}
