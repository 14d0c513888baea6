//! The tour as a picture: a timeline of each step, with a row for each driver.
//!
//! The steps are cells of one size, each with the names of the drivers, so that a page can cut the
//! picture into cells and set them one below the other on a phone. The last cell is the legend.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use svg::node::element::{Group, Line, Rectangle, Title};

use super::exchange::{Observed, STEPS, StepSeen};
use crate::drawing::{picture, text, text_before};
use crate::driver::{Caller, MadeCall};

/// The layout, in units of the SVG: cells in rows of [`COLUMNS`], below the title.
const COLUMNS: usize = 3;
const CELL: f64 = 300.0;
const TOP: f64 = 48.0;
/// In a cell: the title of the step and its scale, then the rows, then some space.
const HEAD: f64 = 50.0;
const LEFT: f64 = 74.0;
const PANEL: f64 = 212.0;
const ROW: f64 = 44.0;
const BAR: f64 = 13.0;
const BOTTOM: f64 = 16.0;
const WIDTH: f64 = CELL * COLUMNS as f64;
/// The height of the legend: few drivers need less.
const LEGEND: f64 = 320.0;

const TITLE: &str = "One exchange on every driver: which system calls, and when";

/// Bars of calls that are shorter than a unit are still visible.
const BAR_MIN: f64 = 1.6;

/// Room that a letter of a label needs.
const LETTER: f64 = 5.7;

/// The shortest span of a step.
const SPAN_MIN: Duration = Duration::from_micros(50);

/// A span this many times the usual one is cut.
const OUTLIER: u32 = 4;

/// What the legend says below the colours.
const NOTES: [&str; 6] = [
    "Each step has its own scale.",
    "Upper bars are calls of the worker,",
    "lower bars those of its helper threads.",
    "Strokes are operations that are",
    "submitted to the ring.",
    "A bar that touches 0 began before the step.",
];

/// Short titles for the steps.
const TITLES: [&str; STEPS.len()] =
    ["connect", "page, not yet cached", "page, cached", "256 KiB file", "close"];

/// The kinds of calls: their class, what the legend says, and the calls.
const KINDS: [(&str, &str, &[&str]); 4] = [
    (
        "wait",
        "waits, or asks who is ready",
        &["epoll_pwait", "futex", "io_uring_enter", "poll", "ppoll", "pselect6", "sched_yield"],
    ),
    ("take", "accepts or receives", &["accept4", "recvfrom"]),
    ("send", "sends", &["sendfile", "sendmsg", "sendto"]),
    ("file", "opens or reads a file", &["fcntl", "openat2", "pread64", "preadv2", "statx"]),
];

/// All colours have a contrast of at least 4.5 to the text on them, and to the paper of 3.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #222 } .title { font-size: 17px; font-weight: 600 } \
.note { fill: #595959 } .name { font-weight: 600 } .paper { fill: #fff } \
.panel { fill: #f3f4f6 } .wait { fill: #c3cad3 } .take { fill: #7db8e8 } .send { fill: #6cc596 } \
.file { fill: #f0b95c } .other { fill: #c9a7d8 } .ring { stroke: #222; stroke-width: 1.5 } \
.call { fill: #111; font-size: 10px } \
@media (prefers-color-scheme: dark) { text { fill: #ddd } .note { fill: #a6a6a6 } \
.paper { fill: #111 } .panel { fill: #1e2126 } .ring { stroke: #ddd } .wait { fill: #9aa5b1 } \
.call { fill: #111 } }";

/// Draws what the drivers did as SVG.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn write_svg(seen: &[Observed], out: &mut impl Write) -> io::Result<()> {
    let works = |seen: &Observed| seen.result.is_ok();
    let rows = seen.iter().filter(|seen| works(seen)).count();
    let cell = (HEAD + ROW * rows as f64 + BOTTOM).max(LEGEND);
    let height = TOP + cell * (STEPS.len() + 1).div_ceil(COLUMNS) as f64;
    let corner =
        |place: usize| (CELL * (place % COLUMNS) as f64, TOP + cell * (place / COLUMNS) as f64);
    let mut document = picture(TITLE, STYLE, (WIDTH, height))
        .add(text(16.0, 28.0, "title", TITLE))
        .add(legend(corner(STEPS.len())));
    let drivers: Vec<_> = seen
        .iter()
        .filter_map(|seen| Some((seen.kind.name(), seen.result.as_ref().ok()?)))
        .collect();
    for (number, title) in TITLES.iter().enumerate() {
        document = document.add(step(number, title, &drivers, corner(number)));
    }
    svg::write(out, &document)
}

/// What the colours mean, and what the rows are.
fn legend((left, top): (f64, f64)) -> Group {
    let mut group = Group::new().add(text(left + 16.0, top + 18.0, "name", "Legend"));
    let mut y = top + HEAD;
    let kinds = KINDS.iter().map(|(class, meaning, _)| (*class, *meaning));
    for (class, meaning) in kinds.chain([("other", "anything else")]) {
        let sample = Rectangle::new().set("class", class).set("x", left + 16.0).set("y", y);
        let meaning = text(left + 40.0, y + 11.0, "", meaning);
        group = group.add(sample.set("width", 16.0).set("height", BAR)).add(meaning);
        y += 24.0;
    }
    for (number, note) in NOTES.iter().enumerate() {
        group = group.add(text(left + 16.0, y + 24.0 + 19.0 * number as f64, "note", note));
    }
    group
}

/// A step of all drivers.
fn step(
    number: usize,
    title: &str,
    drivers: &[(&'static str, &Vec<StepSeen>)],
    (corner, top): (f64, f64),
) -> Group {
    let left = corner + LEFT;
    let mut spans: Vec<_> = drivers.iter().map(|(_, steps)| steps[number].busy()).collect();
    spans.sort();
    // A thread that lost its CPU for a while must not squeeze all others.
    let usual = spans.get(spans.len() / 2).copied().unwrap_or_default() * OUTLIER;
    let span = spans.last().copied().unwrap_or_default().min(usual);
    let span = span.max(SPAN_MIN).mul_f64(1.12);
    let scale = format!("{} µs", span.as_micros());
    let mut group = Group::new()
        .add(text(left, top + 18.0, "name", &format!("{}. {title}", number + 1)))
        .add(text(left, top + 40.0, "note", "0"))
        .add(text_before(left + PANEL, top + 40.0, "note", &scale));
    for (row, (name, steps)) in drivers.iter().enumerate() {
        let top = top + HEAD + ROW * row as f64;
        let name = text_before(left - 8.0, top + ROW / 2.0, "name", name);
        let paper = Rectangle::new().set("class", "panel").set("x", left).set("y", top);
        group = group.add(name).add(paper.set("width", PANEL).set("height", ROW - 6.0));
        let place = Place { left, top, begun: steps[number].begun, span };
        // Short calls are drawn over long ones: helpers share a line.
        let mut calls: Vec<_> = steps.iter().flat_map(|step| &step.calls).collect();
        calls.sort_by_key(|call| Reverse(call.ended.saturating_duration_since(call.began)));
        for (number, call) in calls.iter().enumerate() {
            if let Some(drawn) = place.draw(call, &calls[number + 1..]) {
                group = group.add(drawn);
            }
        }
    }
    group
}

/// Where the calls of a driver in a step are drawn.
struct Place {
    left: f64,
    top: f64,
    begun: Instant,
    span: Duration,
}

impl Place {
    fn x(&self, at: Instant) -> f64 {
        let since = at.saturating_duration_since(self.begun).min(self.span);
        self.left + PANEL * since.as_secs_f64() / self.span.as_secs_f64()
    }

    fn has(&self, call: &MadeCall) -> bool {
        call.ended >= self.begun && call.began <= self.begun + self.span
    }

    /// `None` if the call is not in this step. `above` are the calls that are drawn later: a name
    /// that one of them would cover is left out.
    fn draw(&self, call: &MadeCall, above: &[&MadeCall]) -> Option<Group> {
        if !self.has(call) {
            return None;
        }
        let (from, to) = (self.x(call.began), self.x(call.ended));
        let title = Title::new(describe(call));
        if call.by == Caller::Ring {
            let stroke = Line::new().set("class", "ring").set("x1", from).set("x2", from);
            let (y1, y2) = (self.top + 21.0, self.top + 33.0);
            return Some(Group::new().add(stroke.set("y1", y1).set("y2", y2)).add(title));
        }
        let y = self.top + if call.by == Caller::Worker { 4.0 } else { 20.0 };
        let width = (to - from).max(BAR_MIN).min(self.left + PANEL - from);
        let bar = Rectangle::new().set("class", class_of(call.name)).set("x", from).set("y", y);
        let group = Group::new().add(title).add(bar.set("width", width).set("height", BAR));
        let end = from + call.name.len() as f64 * LETTER + 4.0;
        let covers = |other: &&MadeCall| {
            let (first, last) = (self.x(other.began), self.x(other.ended));
            other.by == call.by && self.has(other) && first < end && last + BAR_MIN > from
        };
        let fits = end < from + width && !above.iter().any(covers);
        let label = || text(from + 3.0, y + 10.0, "call", call.name);
        Some(if fits { group.add(label()) } else { group })
    }
}

fn describe(call: &MadeCall) -> String {
    let took = call.ended.saturating_duration_since(call.began).as_micros();
    match (call.by, call.would_block) {
        (Caller::Ring, _) => format!("{} is submitted to the ring", call.name),
        (_, true) => format!("{}: EAGAIN, after {took} µs", call.name),
        (_, false) => format!("{}: {took} µs", call.name),
    }
}

fn class_of(name: &str) -> &'static str {
    KINDS.iter().find(|(_, _, names)| names.contains(&name)).map_or("other", |(class, ..)| class)
}

#[cfg(test)]
mod tests {
    use super::super::exchange;
    use super::*;
    use crate::driver::DriverKind;

    /// The legend is not cut off below a single driver.
    #[test]
    fn all_texts_are_inside_the_picture() {
        let site = exchange::Site::make().unwrap();
        let mut out = Vec::new();
        write_svg(&[exchange::observe(DriverKind::Poll, &site, 1)], &mut out).unwrap();
        let picture = String::from_utf8(out).unwrap();
        let numbers = |name: &str| -> Vec<f64> {
            let begin = format!(" {name}=\"");
            let values = picture.split(&begin).skip(1);
            values.filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
        };
        let (height, lowest) = (numbers("height")[0], numbers("y").into_iter().fold(0.0, f64::max));
        assert!(lowest + 4.0 < height, "{lowest} of {height}");
    }
}
