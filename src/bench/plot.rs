//! The report as a plot: a bar for the CPU time per answer of each server in each cell.
//!
//! CPU times of different cells differ by orders of magnitude, so bars are relative to the first
//! server of their cell, whose bar has the length 1. The text after a bar is the CPU time in
//! microseconds. A thin line spans the smallest and the largest ratio of a round.

use std::io::{self, Write};

use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Style, Text, Title};

use super::report::{BenchReport, CellReport, CellResult};

/// The layout, in units of the SVG.
const LEFT: f64 = 280.0;
const PLOT: f64 = 480.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 92.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
const BOTTOM: f64 = 64.0;

/// The smallest and the largest end of the axis. Longer bars are cut and marked with an arrow.
const RATIO: (f64, f64) = (1.5, 4.0);

/// The axis extends beyond the longest bar by this factor, so the thin line usually fits.
const ROOM: f64 = 1.2;

/// The palette of Okabe and Ito, which people with colour blindness can distinguish.
const COLOURS: [&str; 8] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f"];

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-size: 17px; font-weight: 600 } \
.note { fill: #666; font-size: 11px } .grid { stroke: #ddd } .one { stroke: #222 } \
.spread { stroke: #222 } .paper { fill: #fff } \
@media (prefers-color-scheme: dark) { text { fill: #ddd } .note { fill: #999 } \
.grid { stroke: #333 } .one, .spread { stroke: #ddd } .paper { fill: #111 } }";

/// Draws a report as SVG.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_svg(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    let servers = report.servers.len() as f64;
    let block = servers * BAR + GAP;
    let height = TOP + block * report.rows.len() as f64 + BOTTOM;
    let width = LEFT + PLOT + RIGHT;
    let scale = Scale::of(report);
    let mut document = Document::new()
        .set("viewBox", (0.0, 0.0, width, height))
        .set("width", width)
        .set("height", height)
        .set("role", "img")
        .add(Title::new("CPU time per answer, relative to the first server"))
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("class", "paper").set("width", width).set("height", height))
        .add(text(20.0, 30.0, "title", "CPU time per answer (less is better)"))
        .add(text(20.0, 50.0, "note", &report.machine.describe()))
        .add(legend(report))
        .add(scale.axis(TOP, height - BOTTOM));
    for (number, row) in report.rows.iter().enumerate() {
        document = document.add(draw_row(row, TOP + GAP / 2.0 + block * number as f64, &scale));
    }
    let label = format!("CPU time per answer, relative to {}", first(report));
    let label = text(LEFT + PLOT / 2.0, height - 30.0, "", &label).set("text-anchor", "middle");
    svg::write(out, &document.add(label))
}

fn first(report: &BenchReport) -> &str {
    report.servers.first().map_or("the first server", String::as_str)
}

/// Maps a ratio to a horizontal position.
struct Scale {
    max: f64,
}

impl Scale {
    fn of(report: &BenchReport) -> Self {
        let results = report.rows.iter().flat_map(|row| &row.results);
        let ratios = results.filter_map(|result| result.comparison).map(|it| it.ratio * ROOM);
        Self { max: ratios.fold(RATIO.0, f64::max).min(RATIO.1) }
    }

    fn x(&self, ratio: f64) -> f64 {
        LEFT + PLOT * (ratio.min(self.max) / self.max)
    }

    /// Vertical lines at all multiples of one half, with labels.
    fn axis(&self, top: f64, bottom: f64) -> Group {
        let mut group = Group::new();
        let halves = (self.max * 2.0).floor() as u32;
        for half in 0..=halves {
            let ratio = f64::from(half) / 2.0;
            let x = self.x(ratio);
            let class = if half == 2 { "one" } else { "grid" };
            let name = format!("{ratio}");
            group = group
                .add(line((x, top), (x, bottom), class))
                .add(text(x, bottom + 16.0, "note", &name).set("text-anchor", "middle"));
        }
        group
    }
}

fn legend(report: &BenchReport) -> Group {
    let mut group = Group::new();
    let mut x = 20.0;
    for (number, server) in report.servers.iter().enumerate() {
        group = group.add(rectangle((x, 64.0), (12.0, 12.0), colour(number))).add(text(
            x + 17.0,
            74.0,
            "",
            server,
        ));
        // An estimate of the width of the text.
        x += 40.0 + 7.0 * server.chars().count() as f64;
    }
    group
}

fn draw_row(row: &CellReport, top: f64, scale: &Scale) -> Group {
    let middle = top + BAR * row.results.len() as f64 / 2.0 + 4.0;
    let name = row.cell.to_string();
    let mut group =
        Group::new().add(text(LEFT - 10.0, middle, "", &name).set("text-anchor", "end"));
    for (number, result) in row.results.iter().enumerate() {
        group = group.add(draw_bar(result, number, top + BAR * number as f64, scale));
    }
    group
}

fn draw_bar(result: &CellResult, number: usize, top: f64, scale: &Scale) -> Group {
    let ratio = result.comparison.map_or(1.0, |it| it.ratio);
    let range = result.comparison.map_or((1.0, 1.0), |it| it.range);
    let (end, middle) = (scale.x(ratio), top + BAR / 2.0);
    let cut = if ratio > scale.max { " →" } else { "" };
    let value = match result.stats.median.cpu_microseconds {
        Some(value) => format!("{value:.2} µs{cut}"),
        None => format!("{:.0} answers/s{cut}", result.stats.median.requests_per_second),
    };
    let after = scale.x(range.1.max(ratio)) + 6.0;
    Group::new()
        .add(rectangle((LEFT, top + 1.0), (end - LEFT, BAR - 2.0), colour(number)))
        .add(line((scale.x(range.0), middle), (scale.x(range.1), middle), "spread"))
        .add(text(after, middle + 4.0, "note", &value))
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

fn rectangle(corner: (f64, f64), size: (f64, f64), fill: &str) -> Rectangle {
    Rectangle::new()
        .set("x", corner.0)
        .set("y", corner.1)
        .set("width", size.0)
        .set("height", size.1)
        .set("fill", fill)
}

fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Line {
    Line::new()
        .set("x1", from.0)
        .set("y1", from.1)
        .set("x2", to.0)
        .set("y2", to.1)
        .set("class", class)
}

fn text(x: f64, y: f64, class: &str, content: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("class", class)
}
