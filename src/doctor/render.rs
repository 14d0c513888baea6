//! The result for a person: a table by area, then the verdict and what mends the rest.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::report::{Area, CheckStatus, DoctorReport, Remedy};

/// The width of the titles.
const TITLE: usize = 34;

/// What stands before a cause.
const CAUSE: &str = "         ";

/// What stands before the place of a line.
const PLACE: &str = "      ";

/// The width of a page, but for words that are longer.
const WIDTH: usize = 100;

const AREAS: [(Area, &str); 5] = [
    (Area::Kernel, "Kernel"),
    (Area::Calls, "System calls"),
    (Area::IoUring, "io_uring"),
    (Area::Drivers, "Drivers"),
    (Area::Limits, "Limits"),
];

/// Writes a report.
pub(super) fn render(report: &DoctorReport, out: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    for (area, name) in AREAS {
        writeln!(out, "{bold}{name}{bold:#}")?;
        let mut told = None;
        for check in report.checks.iter().filter(|check| check.area == area) {
            let (style, word) = status(check.status);
            let (title, found) = (&check.title, &check.found);
            writeln!(out, "  {style}{word:5}{style:#}  {title:TITLE$}  {found}")?;
            // Once for all that have the same.
            if check.cause.is_some() && check.cause != told {
                told.clone_from(&check.cause);
                for line in lines(told.as_deref().unwrap_or_default(), WIDTH - CAUSE.len()) {
                    writeln!(out, "{CAUSE}{line}")?;
                }
            }
        }
        writeln!(out)?;
    }
    remedies(report, out)?;
    match &report.auto {
        Some(auto) => writeln!(out, "auto would choose {}: {}", auto.driver, auto.why)?,
        None => writeln!(out, "auto would find no driver")?,
    }
    let (style, verdict) = match report.serving {
        true => (status(CheckStatus::Ok).0, "serving is possible"),
        false => (status(CheckStatus::Fatal).0, "serving is not possible"),
    };
    writeln!(out, "{style}{verdict}{style:#}")
}

/// What mends the shortcomings, each set of lines once.
fn remedies(report: &DoctorReport, out: &mut impl Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let mut told: Vec<&[Remedy]> = Vec::new();
    for check in &report.checks {
        let remedies = &check.remedies[..];
        let minor = check.status < CheckStatus::Shortcoming;
        if minor || remedies.is_empty() || told.contains(&remedies) {
            continue;
        }
        if told.is_empty() {
            writeln!(out, "{bold}What mends it{bold:#} (one line of each is enough)")?;
        }
        told.push(remedies);
        writeln!(out, "  {}:", check.title)?;
        for Remedy { line, place } in remedies {
            writeln!(out, "    {bold}{line}{bold:#}")?;
            for line in lines(place, WIDTH - PLACE.len()) {
                writeln!(out, "{PLACE}{line}")?;
            }
        }
    }
    if !told.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

/// Breaks a text into lines of `width` columns.
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
