//! `ringd precompress`: its options, its progress on a terminal, and its report.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use clap::{Args, ValueEnum, value_parser};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::CommandError;
use super::value::size;
use crate::http::semantics::negotiate::Coding;
use crate::precompress::{
    CompressionLevel, FileFilter, PrecompressMode, PrecompressProgress, PrecompressReport,
    PrecompressSettings, precompress,
};

const AFTER_HELP: &str = "\
Beside app.js, this writes app.js.br, app.js.zst and app.js.gz, where they are smaller. `ringd`
sends them to clients that accept them. A compressed file has the owner, the mode and the time of
its plain file. It is current as long as the times are equal, so a second run compresses only what
has changed.

By default, files of types that compress well are compressed: text, JavaScript, JSON, XML, SVG,
WebAssembly, fonts that are not WOFF. Hidden names, _headers and _redirects are left alone, and
symbolic links are not followed. Globs are those of --cache-control: one that does not begin with a
slash matches at any depth.

--prune removes a compressed file if its plain file does not exist, or if it saves nothing. A .gz
or .zst without a plain file may be a download; it is removed only if its header is one that `ringd
precompress` writes.

Sizes are written like 512, 16K or 1M. A run may be interrupted: what is done is kept, and the next
run goes on. SIGINT, SIGTERM and SIGHUP end it soon, a second one at once.

Exit codes: 0 if nothing is wrong; 1 if a file could not be read or written, if the run was
interrupted, or if --check found something; 2 for a wrong command line.";

/// How many problems are printed; --json has more.
const LINES_MAX: usize = 50;

/// A coding, by its name in `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CodingName {
    /// Brotli
    Br,
    /// Zstandard
    Zstd,
    /// Gzip
    Gzip,
}

impl CodingName {
    fn coding(self) -> Coding {
        match self {
            Self::Br => Coding::Brotli,
            Self::Zstd => Coding::Zstd,
            Self::Gzip => Coding::Gzip,
        }
    }
}

/// The value of `--level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompressionLevelName {
    /// Smaller than `brotli`, `zstd -19` and `gzip -9`, or within 1 %
    Default,
    /// A smaller gzip by less than 1 %, for several times the time
    Best,
}

/// The command line of `ringd precompress`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct PrecompressArgs {
    /// The directory of the site
    #[arg(value_name = "DIR")]
    pub root: PathBuf,

    /// Codings to write
    #[arg(
        long,
        value_name = "CODING,...",
        value_delimiter = ',',
        default_values = ["br", "zstd", "gzip"]
    )]
    pub codings: Vec<CodingName>,

    /// Leave smaller files alone
    #[arg(long, value_name = "BYTES", default_value = "1K", value_parser = size)]
    pub min_size: u64,

    /// Leave larger files alone
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = size)]
    pub max_size: u64,

    /// How much smaller than the plain file a compressed file has to be
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    pub min_saving: u8,

    /// Compress matching files instead of those of certain types; repeatable
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,

    /// Leave matching files alone; repeatable
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// How hard to compress
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    pub level: CompressionLevelName,

    /// Number of threads [default: one per usable CPU]
    #[arg(short, long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Also compress files whose compressed files are current
    #[arg(long)]
    pub force: bool,

    /// Remove compressed files that have no plain file or save nothing
    #[arg(long)]
    pub prune: bool,

    /// Only check that compressed files exist and decode to their plain files
    #[arg(long, conflicts_with_all = ["dry_run", "force", "prune", "level"])]
    pub check: bool,

    /// Only list what would be written or removed
    #[arg(long)]
    pub dry_run: bool,

    /// Write one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

impl PrecompressArgs {
    fn settings(&self) -> Result<PrecompressSettings, CommandError> {
        let filter = FileFilter::new(&self.include, &self.exclude);
        if self.min_size > self.max_size {
            return Err(CommandError(
                "--min-size is larger than --max-size, so no file has such a size; change one"
                    .to_owned(),
            ));
        }
        let cpus = || thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(PrecompressSettings {
            root: self.root.clone(),
            codings: self.codings.iter().map(|name| name.coding()).collect(),
            bytes_min: self.min_size,
            bytes_max: self.max_size,
            saving_min: self.min_saving,
            filter: filter.map_err(|error| CommandError(error.to_string()))?,
            level: match self.level {
                CompressionLevelName::Default => CompressionLevel::Default,
                CompressionLevelName::Best => CompressionLevel::Best,
            },
            jobs: self.jobs.map_or_else(cpus, usize::from),
            force: self.force,
            prune: self.prune,
            mode: match (self.check, self.dry_run) {
                (true, _) => PrecompressMode::Check,
                (false, true) => PrecompressMode::DryRun,
                (false, false) => PrecompressMode::Write,
            },
        })
    }
}

/// Parses `--min-saving`: a whole number of percent, below 100.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    number
        .filter(|number| *number < 100)
        .ok_or_else(|| "it is a whole number of percent, from 0% to 99%".into())
}

/// The progress on standard error, which shows nothing unless that is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        // The template is constant.
        let template = "{bar:30} {bytes} of {total_bytes}, {eta} left";
        let style = ProgressStyle::with_template(template);
        Self(ProgressBar::no_length().with_style(style.unwrap_or(ProgressStyle::default_bar())))
    }
}

impl PrecompressProgress for Bar {
    fn begin(&self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

/// Runs the command.
///
/// # Errors
///
/// When the directory cannot be opened or not be written to, or the run was interrupted.
pub(super) fn run(args: &PrecompressArgs) -> Result<ExitCode, CommandError> {
    let settings = args.settings()?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The first signal ends the run soon, the second the process at once.
        flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| {
                CommandError(format!("cannot handle signals: {error}; run it again"))
            })?;
    }
    let bar = Bar::new();
    let result = precompress(&settings, &bar, &stop);
    bar.0.finish_and_clear();
    let report = result.map_err(|error| CommandError(error.to_string()))?;
    let mut out = anstream::stdout().lock();
    let written = match args.json {
        true => write_json(&report, &mut out),
        false => {
            tell_problems(&report);
            write_text(&report, &mut out)
        }
    };
    match written {
        // A reader such as `head` may close the pipe before the end.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(|error| {
            CommandError(format!(
                "cannot write standard output: {error}; check where it is redirected to"
            ))
        })?,
    }
    if report.interrupted {
        let line = "interrupted; what is done is kept: run it again to go on";
        return Err(CommandError(line.to_owned()));
    }
    Ok(if report.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_json(report: &PrecompressReport, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

fn tell_problems(report: &PrecompressReport) {
    // Not `eprintln`, which panics if standard error is closed.
    let mut out = anstream::stderr().lock();
    for problem in report.problems.iter().take(LINES_MAX) {
        let _ = writeln!(out, "ringd: {problem}");
    }
    let more = report.problems.len().saturating_sub(LINES_MAX);
    if more > 0 {
        let _ = writeln!(out, "ringd: and {more} more; --json has up to 1000");
    }
}

fn write_text(report: &PrecompressReport, out: &mut impl Write) -> io::Result<()> {
    if report.mode == "dry-run" {
        for path in &report.planned {
            writeln!(out, "would write {path}")?;
        }
        for path in &report.removed {
            writeln!(out, "would remove {path}")?;
        }
        return writeln!(
            out,
            "{}: {} to write, {} to remove",
            counted(report.files, "file"),
            report.planned.len(),
            report.removed.len()
        );
    }
    for path in &report.removed {
        writeln!(out, "removed {path}")?;
    }
    let is_check = report.mode == "check";
    let written = if is_check { "" } else { "   written" };
    let current = if is_check { "valid" } else { "current" };
    writeln!(out, "coding{written} {current:>9}  not worth it       plain  compressed  of plain")?;
    for totals in &report.codings {
        let written = if is_check { String::new() } else { format!("{:>10}", totals.written) };
        let share = match totals.plain_bytes {
            0 => "-".to_owned(),
            plain => format!("{:.1} %", totals.coded_bytes as f64 * 100.0 / plain as f64),
        };
        writeln!(
            out,
            "{:6}{written} {:>9}  {:>12}  {:>10}  {:>10}  {share:>8}",
            totals.coding,
            totals.current,
            totals.not_worth_it,
            BinaryBytes(totals.plain_bytes).to_string(),
            BinaryBytes(totals.coded_bytes).to_string(),
        )?;
    }
    write!(
        out,
        "{} of {} in {:.1} s",
        counted(report.files, "file"),
        BinaryBytes(report.bytes),
        report.seconds
    )?;
    if report.other_sizes > 0 {
        write!(out, "; {} left alone, by --min-size or --max-size", report.other_sizes)?;
    }
    if report.left_over > 0 {
        write!(out, "; {} of a killed run removed", counted(report.left_over, "temporary file"))?;
    }
    if report.failures > 0 {
        write!(out, "; {}", counted(report.failures, "problem"))?;
    }
    writeln!(out)
}

/// A number with its noun.
fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(arguments: &[&str]) -> PrecompressArgs {
        let words = ["ringd", "precompress"].iter().chain(arguments);
        match Cli::parse_from(words).into_command() {
            Command::Precompress(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_and_the_library_have_the_same_defaults() {
        let command = args(&["site", "--jobs", "1"]).settings().unwrap();
        let library = PrecompressSettings::new("site".into());
        assert_eq!(format!("{command:?}"), format!("{library:?}"));
    }

    #[test]
    fn a_saving_is_a_percentage() {
        assert_eq!((percent("5%"), percent("0"), percent("99%")), (Ok(5), Ok(0), Ok(99)));
        for bad in ["", "%", "100%", "-1", "1.5%", "5%%"] {
            assert!(percent(bad).unwrap_err().contains("99%"), "{bad}");
        }
    }

    #[test]
    fn sizes_that_no_file_has_are_refused() {
        let error = args(&["site", "--min-size", "2K", "--max-size", "1K"]).settings();
        assert!(error.unwrap_err().to_string().contains("--max-size"));
    }
}
