//! The report as text: a block for each cell, a line for each server.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::figures::{Comparison, Figures};
use super::report::{BenchReport, CellResult};

/// The longest name of a server that is written out.
const NAME_MAX: usize = 40;

const LEGEND: &str = "\
CPU: the server's CPU time for each answer, and half of its range over the rounds. Latencies are
those of a closed loop: how long an answer takes when every connection asks again at once.
Calls, subm.: system calls of the server, and submissions to io_uring, for each answer.
A ratio is of CPU time, over the rounds in pairs; where the rounds do not agree, it is a tie.";

/// Writes a report for a person, with colour as ANSI escape codes, which `out` may strip.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_table(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let names = report.servers.iter().map(|name| name.chars().count().min(NAME_MAX));
    let width = names.max().unwrap_or_default().max("server".len());
    for row in &report.rows {
        writeln!(out, "{bold}{}{bold:#}", row.cell)?;
        writeln!(
            out,
            "  {:width$}  {:>10}  {:>9} {:>5}  {:>9}  {:>9}  {:>9}  {:>6}  {:>6}",
            "server", "answers/s", "CPU µs", "±", "p50 µs", "p99 µs", "p99.9 µs", "calls", "subm."
        )?;
        for result in &row.results {
            write_result(result, &report.servers, width, out)?;
        }
        writeln!(out)?;
    }
    if report.rows.iter().any(|row| row.results.iter().any(|it| it.figures.client_bound)) {
        writeln!(
            out,
            "* The client was at its limit and the server was not: the rate is the client's, the \
             CPU time is right."
        )?;
    }
    writeln!(out, "{LEGEND}\n")?;
    writeln!(out, "{}", report.machine.describe())?;
    let pace = &report.pace;
    let plural = if pace.rounds == 1 { "" } else { "s" };
    writeln!(
        out,
        "{} round{plural} of {:.2} s for each cell and server; workers: {}; client on {}",
        pace.rounds,
        pace.time.as_secs_f64(),
        report.workers,
        report.client,
    )?;
    let yellow = AnsiColor::Yellow.on_default();
    for doubt in &report.doubts {
        writeln!(out, "{yellow}Doubt:{yellow:#} {doubt}")?;
    }
    out.flush()
}

fn write_result(
    result: &CellResult,
    servers: &[String],
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let CellResult { server, figures, comparison } = result;
    let median = &figures.median;
    let name: String = server.chars().take(NAME_MAX).collect();
    let mark = if figures.client_bound { "*" } else { " " };
    writeln!(
        out,
        "  {name:width$}  {:>9.0}{mark}  {:>9} {:>5}  {:>9.0}  {:>9.0}  {:>9.0}  {:>6}  {:>6}  {}",
        median.requests_per_second,
        number(median.cpu_microseconds),
        spread(figures),
        median.p50_microseconds,
        median.p99_microseconds,
        median.p999_microseconds,
        number(median.system_calls),
        number(median.submissions),
        comparison.map_or_else(String::new, |it| verdict(&it, servers)),
    )
}

fn spread(figures: &Figures) -> String {
    figures.spread().map_or_else(|| "-".into(), |spread| format!("{:.0} %", spread * 100.0))
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.2}"))
}

fn verdict(comparison: &Comparison, servers: &[String]) -> String {
    let first = servers.first().map_or("", String::as_str);
    let Comparison { ratio, tie, .. } = comparison;
    if *tie {
        return format!("tie ({ratio:.2})");
    }
    let colour = if *ratio > 1.0 { AnsiColor::Red } else { AnsiColor::Green }.on_default();
    format!("{colour}{ratio:.2} × {first}{colour:#}")
}
