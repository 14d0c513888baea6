//! The report as a plot in SVG: the rows of [`dots`](super::dots), and the chart of idle
//! connections if there is one.

use std::io::{self, Write};

use svg::node::element::{Circle, Group, Line, Polygon, Polyline, Rectangle, Text, Title};

use super::dots::{Dot, DotRow, dot_rows, heading, short_name, tick};
use super::idle_chart::{IdleChart, IdleLine, idle_chart};
use super::report::BenchReport;
use super::stats::BenchVerdict;
use crate::drawing::{picture, text, text_before};

/// The layout, in units of the SVG.
const LEFT: f64 = 150.0;
const PLOT: f64 = 520.0;
const RIGHT: f64 = 190.0;
/// The first note below the title, the distance of notes, and the space below the last one.
const NOTES_TOP: f64 = 50.0;
const NOTE: f64 = 17.0;
const NOTES_BELOW: f64 = 16.0;
const LINE: f64 = 18.0;
/// The title above the lines of a row, and the axis below them.
const TITLE: f64 = 30.0;
const AXIS: f64 = 20.0;
const CHART: f64 = 360.0;
const CHART_BELOW: f64 = 76.0;

/// Longer names of servers are cut to this number of characters.
const NAME_MAX: usize = 18;

/// The same for a name at the end of a line, with what the server holds.
const LABEL_MAX: usize = 25;

/// The least distance of two numbers of idle connections, as a part of the chart.
const COLUMN_GAP: f64 = 0.09;

/// The colours of the servers in the light and in the dark mode, as on the page.
pub(super) const COLOURS: [(&str, &str); 8] = [
    ("#0060a8", "#6db6f2"),
    ("#b05a00", "#f0a04b"),
    ("#00785a", "#4fc9a0"),
    ("#a8478a", "#e58fc9"),
    ("#227394", "#8fd6e8"),
    ("#c4371c", "#ff8a66"),
    ("#786800", "#d9cc4a"),
    ("#5f6368", "#b4b8bd"),
];

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1d2126 } .title { font-size: 17px; \
font-weight: 600 } .row { font-weight: 600 } .note { fill: #5a616b; font-size: 11px } \
.grid { stroke: #d9d4c7 } .band { fill: #1d2126; opacity: .16 } \
.paper { fill: #fbfaf6 } .interval { stroke-width: 2 } \
.dot { stroke-width: 2 } .tie { fill: #fbfaf6 } .line { fill: none; stroke-width: 2 } ";

const DARK: &str = "\
text { fill: #e7e4dc } .note { fill: #a1a8b0 } .grid { stroke: #353b41 } .band { fill: #e7e4dc } \
.paper, .tie { fill: #14171a } ";

/// Draws a report as SVG.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_svg(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    let chart = idle_chart(report);
    let rows = dot_rows(report, chart.as_ref());
    let of_rows: f64 = rows.iter().map(height).sum();
    let of_chart = if chart.is_some() { TITLE + CHART + CHART_BELOW } else { 0.0 };
    let machine = report.machine.describe();
    let mut notes = vec![&*machine];
    if !rows.is_empty() {
        notes.extend(HOW_TO_READ);
    }
    notes.extend(rows.iter().any(DotRow::has_cut).then_some(CUT));
    let below = |number: usize| NOTES_TOP + NOTE * number as f64;
    let mut top = below(notes.len() - 1) + NOTES_BELOW;
    let (width, height) = (LEFT + PLOT + RIGHT, top + of_rows + of_chart + 12.0);
    let mut document = picture(heading(&rows), &style(), (width, height)).add(text(
        20.0,
        30.0,
        "title",
        heading(&rows),
    ));
    for (number, note) in notes.iter().enumerate() {
        document = document.add(text(20.0, below(number), "note", note));
    }
    for row in &rows {
        document = document.add(draw_row(row, top));
        top += self::height(row);
    }
    if let Some(chart) = &chart {
        document = document.add(draw_chart(chart, top));
    }
    svg::write(out, &document)
}

const HOW_TO_READ: [&str; 2] = [
    "A line is the interval of a difference to the first server. If it reaches that one, or the",
    "dot is in the band around it, it is a tie, and the dot is hollow.",
];

/// What follows if there are such lines.
const CUT: &str = "A line that ends in an arrow goes on beyond the picture.";

fn style() -> String {
    let mut style = STYLE.to_owned();
    let colours = |dark: bool| {
        let rule = move |(number, (light, other)): (usize, &(&str, &str))| {
            let colour = if dark { other } else { light };
            format!(".s{number} {{ stroke: {colour} }} .f{number} {{ fill: {colour} }} ")
        };
        COLOURS.iter().enumerate().map(rule).collect::<String>()
    };
    style.push_str(&colours(false));
    // A hollow dot has the colour of the paper, whatever its server is.
    style.push_str("@media (prefers-color-scheme: dark) { ");
    style.push_str(&colours(true));
    style.push_str(DARK);
    style.push('}');
    style
}

fn height(row: &DotRow) -> f64 {
    TITLE + LINE * (row.dots.len() + row.too_small.len()) as f64 + AXIS
}

fn draw_row(row: &DotRow, top: f64) -> Group {
    let x = |value: f64| LEFT + PLOT * (value / row.max).min(1.0);
    let (above, lines) = (top + TITLE, LINE * row.dots.len() as f64);
    let below = above + lines;
    let mut group = Group::new().add(text(20.0, top + 20.0, "row", &row.title));
    for value in &row.ticks {
        group = group.add(line((x(*value), above), (x(*value), below), "grid")).add(centred(
            x(*value),
            below + 13.0,
            &tick(*value),
        ));
    }
    group = group.add(text(LEFT + PLOT + 14.0, below + 13.0, "note", row.measure.unit()));
    if let Some((low, high)) = row.band {
        let band = Rectangle::new().set("class", "band").set("x", x(low)).set("y", above);
        group = group.add(band.set("width", (x(high) - x(low)).max(2.0)).set("height", lines));
    }
    for (number, dot) in row.dots.iter().enumerate() {
        let y = above + LINE * (number as f64 + 0.5);
        group = group.add(draw_dot(dot, y, x));
        if row.is_cut(dot) {
            group = group.add(arrow(dot, y));
        }
    }
    for (number, (name, holds)) in row.too_small.iter().enumerate() {
        let y = below + AXIS + LINE * number as f64 + 10.0;
        group = group.add(text(20.0, y, "note", &format!("{name} holds {holds} connections")));
    }
    group
}

fn draw_dot(dot: &Dot, y: f64, x: impl Fn(f64) -> f64) -> Group {
    let colour = dot.server % COLOURS.len();
    let mark = if dot.is_marked { " †" } else { "" };
    let name = short_name(&dot.name, NAME_MAX) + mark;
    let mut group = Group::new()
        .add(text(20.0, y + 4.0, "", &name).add(Title::new(dot.name.clone())))
        .add(text(LEFT + PLOT + 14.0, y + 4.0, "", &dot.label));
    if let Some((low, high)) = dot.interval {
        group = group.add(line((x(low), y), (x(high), y), &format!("interval s{colour}")));
    }
    let fill =
        if dot.verdict == Some(BenchVerdict::Tie) { "tie".into() } else { format!("f{colour}") };
    let circle = Circle::new().set("cx", x(dot.value)).set("cy", y).set("r", 5.0);
    group.add(circle.set("class", format!("dot s{colour} {fill}")))
}

/// The end of an interval that does not fit on the axis.
fn arrow(dot: &Dot, y: f64) -> Polygon {
    let (end, tip) = (LEFT + PLOT, LEFT + PLOT + 6.0);
    let points = format!("{end},{} {tip},{y} {end},{}", y - 5.0, y + 5.0);
    let colour = dot.server % COLOURS.len();
    Polygon::new().set("points", points).set("class", format!("f{colour}"))
}

fn draw_chart(chart: &IdleChart, top: f64) -> Group {
    let (above, below) = (top + TITLE, top + TITLE + CHART);
    let title = "A busy connection beside idle ones: µs of CPU per answer";
    let mut group = Group::new().add(text(20.0, top + 16.0, "row", title));
    let at = |(x, y): (f64, f64)| (LEFT + PLOT * x, below - CHART * y);
    for (level, y) in &chart.levels {
        let (left, y) = at((0.0, *y));
        let name = text_before(left - 8.0, y + 4.0, "note", &format!("{} µs", tick(*level)));
        group = group.add(line((left, y), (LEFT + PLOT, y), "grid")).add(name);
    }
    for (_, x) in &chart.columns {
        let (x, _) = at((*x, 0.0));
        group = group.add(line((x, above), (x, below), "grid"));
    }
    for (count, x) in chart.written_columns(COLUMN_GAP) {
        let (x, _) = at((x, 0.0));
        group = group.add(centred(x, below + 16.0, &count.to_string()));
    }
    for line in &chart.lines {
        group = group.add(draw_line(line, at));
    }
    group.add(centred(LEFT + PLOT / 2.0, below + 36.0, "idle connections"))
}

fn draw_line(idle: &IdleLine, at: impl Fn((f64, f64)) -> (f64, f64)) -> Group {
    let colour = idle.server % COLOURS.len();
    let places: Vec<(f64, f64)> = idle.points.iter().map(|(x, y, _)| at((*x, *y))).collect();
    let points: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let polyline = Polyline::new().set("points", points.join(" "));
    let mut group = Group::new().add(polyline.set("class", format!("line s{colour}")));
    for (x, y) in &places {
        let circle = Circle::new().set("cx", *x).set("cy", *y).set("r", 3.5);
        group = group.add(circle.set("class", format!("f{colour}")));
    }
    let holds = idle.holds.map_or_else(String::new, |holds| format!(", holds {holds}"));
    let (x, y) = at((1.0, idle.label_at));
    let most = NAME_MAX.min(LABEL_MAX.saturating_sub(holds.chars().count()).max(2));
    let label = format!("{}{holds}", short_name(&idle.name, most));
    group.add(text(x + 14.0, y + 4.0, &format!("f{colour}"), &label))
}

fn line(from: (f64, f64), to: (f64, f64), class: &str) -> Line {
    Line::new()
        .set("x1", from.0)
        .set("y1", from.1)
        .set("x2", to.0)
        .set("y2", to.1)
        .set("class", class)
}

fn centred(x: f64, y: f64, content: &str) -> Text {
    text(x, y, "note", content).set("text-anchor", "middle")
}
