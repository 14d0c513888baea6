//! The report as text: a table for each cell, with a line for each server.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::dots::{microseconds, short_name};
use super::plan::BenchProtocol;
use super::report::{BenchReport, CellResult};
use super::stats::{BenchVerdict, Comparison};

/// Longer names of servers are cut to this number of characters.
const NAME_MAX: usize = 40;

const LEGEND: &str = "\
CPU, both: CPU time per answer of the server, and of server and client together. p50, p99, p99.9:
latencies of a closed loop, in which every connection sends its next request as soon as it has its
answer. calls, subm.: system calls and submissions to io_uring per answer. All numbers are medians
over the rounds, with one exception: CPU, both and answers/s of a further server are those of the
first one times the median of the ratios. ratio: that median for CPU, with its interval (at least
95 %). It is a tie if the interval contains 1, or the ratio is 0.99 to 1.01.";

/// What only marked rows have.
const SIDES_LEGEND: &str = "\
† The kernel charges a transfer over loopback now to one side, now to the other: here the server's
CPU time shows an order that both sides together do not show. Do not judge by the server's alone.";

/// What only rows with HTTP/2 have.
const HTTP2_LEGEND: &str = "\
HTTP/2: 8 × 32 streams are 8 connections with 32 requests in progress on each; the next request on a
connection follows each answer. Rows that do not name a protocol are those of HTTP/1.1.";

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
    let ratio = if report.servers.len() > 1 { "  ratio of CPU" } else { "" };
    for (number, row) in report.rows.iter().enumerate() {
        writeln!(out, "{bold}{}{bold:#}", row.cell)?;
        writeln!(
            out,
            "  {:width$}  {:>9}   {:>8} {:>9}  {:>8}  {:>8}  {:>8}  {:>6}  {:>5}{ratio}",
            "server",
            "answers/s",
            "CPU µs",
            "both µs",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "calls",
            "subm."
        )?;
        for result in &row.results {
            let is_marked = report.is_marked(number, &result.server);
            write_result(result, is_marked, width, out)?;
        }
        for (server, holds) in report.too_small(row) {
            let name = short_name(server, NAME_MAX);
            writeln!(out, "  {name:width$}  holds {holds} connections")?;
        }
        writeln!(out)?;
    }
    write_words(report, out)?;
    write_legend(report, out)?;
    writeln!(out)?;
    write_circumstances(report, out)?;
    out.flush()
}

/// Writes the remarks, and what a sleeping client adds.
fn write_words(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    for remark in &report.remarks {
        writeln!(out, "{}{}.", if remark.is_of_sides { "† " } else { "" }, remark.text)?;
    }
    if !report.remarks.is_empty() {
        writeln!(out)?;
    }
    if !report.wakes.is_empty() {
        writeln!(out, "CPU µs of the server while the client stays awake, and while it sleeps:")?;
    }
    for wake in &report.wakes {
        writeln!(
            out,
            "  {}, {}: {} and {}, {}",
            wake.cell,
            wake.server,
            microseconds(wake.awake_microseconds),
            microseconds(wake.asleep_microseconds),
            verdict(&wake.comparison)
        )?;
    }
    if report.wakes.is_empty() { Ok(()) } else { writeln!(out) }
}

fn write_legend(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    if report.rows.iter().any(|row| row.results.iter().any(|it| it.stats.client_bound)) {
        writeln!(
            out,
            "* The client was fully busy and the server was not: the client limits the rate. The \
             CPU time is valid."
        )?;
    }
    if report.remarks.iter().any(|remark| remark.is_of_sides) {
        writeln!(out, "{SIDES_LEGEND}")?;
    }
    writeln!(out, "{LEGEND}")?;
    if report.rows.iter().any(|row| row.cell.protocol != BenchProtocol::Http1) {
        writeln!(out, "{HTTP2_LEGEND}")?;
    }
    if report.tls.is_some() {
        writeln!(out, "{TLS_LEGEND}")?;
    }
    Ok(())
}

fn write_circumstances(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", report.machine.describe())?;
    writeln!(out, "{}", report.circumstances())?;
    if let Some(tls) = &report.tls {
        writeln!(out, "{}", tls.describe())?;
    }
    let yellow = AnsiColor::Yellow.on_default();
    for doubt in &report.doubts {
        writeln!(out, "{yellow}Warning:{yellow:#} {doubt}")?;
    }
    Ok(())
}

fn write_result(
    result: &CellResult,
    is_marked: bool,
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let CellResult { server, stats, comparison } = result;
    let typical = &stats.typical;
    let name = short_name(server, NAME_MAX);
    let star = if stats.client_bound { "*" } else { " " };
    let mark = if is_marked { "†" } else { " " };
    writeln!(
        out,
        "  {name:width$}  {:>9.0}{star}  {:>8} {:>9}{mark} {:>8.0}  {:>8.0}  {:>8.0}  {:>6}  \
         {:>5}  {}",
        typical.requests_per_second,
        typical.cpu_microseconds.map_or_else(|| "-".to_owned(), microseconds),
        typical.both_cpu_microseconds.map_or_else(|| "-".to_owned(), microseconds),
        typical.p50_microseconds,
        typical.p99_microseconds,
        typical.p999_microseconds,
        number(typical.system_calls),
        number(typical.submissions),
        comparison.map_or_else(String::new, |it| match it.cpu {
            Some(cpu) => verdict(&cpu),
            None => format!("{} of the rate", verdict(&it.rate)),
        }),
    )
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.2}"))
}

/// A ratio with its interval and what they say.
fn verdict(comparison: &Comparison) -> String {
    let Comparison { ratio, interval, verdict } = comparison;
    let Some((low, high)) = interval else { return format!("{ratio:.2}, too few rounds") };
    let (colour, word) = match verdict {
        BenchVerdict::Less => (AnsiColor::Green.on_default(), "less"),
        BenchVerdict::More => (AnsiColor::Red.on_default(), "more"),
        BenchVerdict::Tie | BenchVerdict::Unknown => (Style::new(), "tie"),
    };
    format!("{colour}{ratio:.2} [{low:.2}..{high:.2}] {word}{colour:#}")
}
