//! The report as text: a table of checks for each area, then the remedies and the verdict.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::report::{Area, CheckStatus, DoctorReport, Remedy};

/// The width of the column of titles.
const TITLE: usize = 34;

/// The indentation of a cause.
const CAUSE: &str = "         ";

/// The indentation of the text that says where a line belongs.
const PLACE: &str = "      ";

/// The maximum width of a line; only a longer word exceeds it.
const WIDTH: usize = 100;

const AREAS: [(Area, &str); 7] = [
    (Area::Kernel, "Kernel"),
    (Area::Calls, "System calls"),
    (Area::IoUring, "io_uring"),
    (Area::Drivers, "Drivers"),
    (Area::Limits, "Limits"),
    (Area::Tls, "TLS"),
    (Area::Sandbox, "Sandbox"),
];

/// Writes a report.
pub(super) fn render(report: &DoctorReport, out: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    for (area, name) in AREAS {
        writeln!(out, "{bold}{name}{bold:#}")?;
        let mut printed = None;
        for check in report.checks.iter().filter(|check| check.area == area) {
            let (style, word) = status(check.status);
            let (title, found) = (&check.title, &check.found);
            writeln!(out, "  {style}{word:5}{style:#}  {title:TITLE$}  {found}")?;
            // Print a cause once if several checks in a row have it.
            if check.cause.is_some() && check.cause != printed {
                printed.clone_from(&check.cause);
                for line in lines(printed.as_deref().unwrap_or_default(), WIDTH - CAUSE.len()) {
                    writeln!(out, "{CAUSE}{line}")?;
                }
            }
        }
        writeln!(out)?;
    }
    remedies(report, out)?;
    match &report.auto {
        Some(auto) => writeln!(out, "auto would choose {} ({})", auto.driver, auto.why)?,
        None => writeln!(out, "auto would find no driver")?,
    }
    let (style, verdict) = match report.serving {
        true => (status(CheckStatus::Ok).0, "serving is possible"),
        false => (status(CheckStatus::Fatal).0, "serving is not possible"),
    };
    writeln!(out, "{style}{verdict}{style:#}")
}

/// Writes the remedies, each set of lines once.
fn remedies(report: &DoctorReport, out: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let mut printed: Vec<&[Remedy]> = Vec::new();
    for check in &report.checks {
        let remedies = &check.remedies[..];
        let minor = check.status < CheckStatus::Shortcoming;
        if minor || remedies.is_empty() || printed.contains(&remedies) {
            continue;
        }
        if printed.is_empty() {
            writeln!(out, "{bold}How to fix it{bold:#} (one line for each problem is enough)")?;
        }
        printed.push(remedies);
        writeln!(out, "  {}:", check.title)?;
        for Remedy { line, place } in remedies {
            writeln!(out, "    {bold}{line}{bold:#}")?;
            for line in lines(place, WIDTH - PLACE.len()) {
                writeln!(out, "{PLACE}{line}")?;
            }
        }
    }
    if !printed.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

/// Wraps a text into lines of at most `width` columns.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= width => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn status(status: CheckStatus) -> (Style, &'static str) {
    let color = |color: AnsiColor| color.on_default();
    match status {
        CheckStatus::Ok => (color(AnsiColor::Green), "ok"),
        CheckStatus::Note => (color(AnsiColor::Cyan), "note"),
        CheckStatus::Shortcoming => (color(AnsiColor::Yellow), "lacks"),
        CheckStatus::Fatal => (color(AnsiColor::Red).bold(), "fatal"),
    }
}
