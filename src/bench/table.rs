//! The report as text: a table for each cell, with a line for each server.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::report::{BenchReport, CellResult};
use super::stats::{BenchStats, Comparison};

/// Longer names of servers are cut to this number of characters.
const NAME_MAX: usize = 40;

const LEGEND: &str = "\
CPU: CPU time of the server per answer; ±: half of its range over the rounds, relative to it.
p50, p99, p99.9: latencies of a closed loop, in which every connection sends its next request as
soon as it has its answer. calls, subm.: system calls and submissions to io_uring per answer.
CPU ratio: the CPU time divided by that of the first server, as the median of the ratios of the
single rounds. If the rounds do not agree on which is better, or if the ratio is within 2 % of 1, it
is a tie.";

/// What only rows with TLS have.
const TLS_LEGEND: &str = "\
TLS full, TLS resumed: every handshake is of this kind, and its time is a part of the latency.";

/// Writes a report as text. It contains ANSI escape codes for colours, which `out` may strip.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_table(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let names = report.servers.iter().map(|name| name.chars().count().min(NAME_MAX));
    let width = names.max().unwrap_or_default().max("server".len());
    // With one server, there is nothing to divide.
    let ratio = if report.servers.len() > 1 { "  CPU ratio" } else { "" };
    for row in &report.rows {
        writeln!(out, "{bold}{}{bold:#}", row.cell)?;
        writeln!(
            out,
            "  {:width$}  {:>10}  {:>9} {:>5}  {:>9}  {:>9}  {:>9}  {:>6}  {:>6}{ratio}",
            "server", "answers/s", "CPU µs", "±", "p50 µs", "p99 µs", "p99.9 µs", "calls", "subm."
        )?;
        for result in &row.results {
            write_result(result, &report.servers, width, out)?;
        }
        writeln!(out)?;
    }
    if report.rows.iter().any(|row| row.results.iter().any(|it| it.stats.client_bound)) {
        writeln!(
            out,
            "* The client was fully busy and the server was not: the client limits the rate. The \
             CPU time is valid."
        )?;
    }
    writeln!(out, "{LEGEND}")?;
    if report.tls.is_some() {
        writeln!(out, "{TLS_LEGEND}")?;
    }
    writeln!(out)?;
    writeln!(out, "{}", report.machine.describe())?;
    let pace = &report.pace;
    let plural = if pace.rounds == 1 { "" } else { "s" };
    writeln!(
        out,
        "{} round{plural} of {:.2} s per cell and server; workers: {}; driver of the client: {}",
        pace.rounds,
        pace.time.as_secs_f64(),
        report.workers,
        report.client,
    )?;
    if let Some(tls) = &report.tls {
        let agreed: Vec<String> = tls.agreed.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "{}: {}; certificate: {}",
            tls.libraries,
            agreed.join("; "),
            tls.certificate
        )?;
    }
    let yellow = AnsiColor::Yellow.on_default();
    for doubt in &report.doubts {
        writeln!(out, "{yellow}Warning:{yellow:#} {doubt}")?;
    }
    out.flush()
}

fn write_result(
    result: &CellResult,
    servers: &[String],
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let CellResult { server, stats, comparison } = result;
    let median = &stats.median;
    let name: String = server.chars().take(NAME_MAX).collect();
    let mark = if stats.client_bound { "*" } else { " " };
    writeln!(
        out,
        "  {name:width$}  {:>9.0}{mark}  {:>9} {:>5}  {:>9.0}  {:>9.0}  {:>9.0}  {:>6}  {:>6}  {}",
        median.requests_per_second,
        number(median.cpu_microseconds),
        spread(stats),
        median.p50_microseconds,
        median.p99_microseconds,
        median.p999_microseconds,
        number(median.system_calls),
        number(median.submissions),
        comparison.map_or_else(String::new, |it| verdict(&it, servers)),
    )
}

fn spread(stats: &BenchStats) -> String {
    stats.spread().map_or_else(|| "-".into(), |spread| format!("{:.0} %", spread * 100.0))
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
