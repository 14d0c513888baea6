//! The CPU time of a busy connection beside idle ones, as lines on two logarithmic axes.

use super::plan::{Cell, ClientWait};
use super::report::BenchReport;

/// The lines of a chart and its axes. Positions are from 0 to 1, from the left and from the bottom.
#[derive(Debug)]
pub(super) struct IdleChart {
    client: ClientWait,
    pub(super) lines: Vec<IdleLine>,
    /// Idle connections, and their positions.
    pub(super) columns: Vec<(u32, f64)>,
    /// Microseconds of CPU time per answer, and their positions.
    pub(super) levels: Vec<(f64, f64)>,
}

impl IdleChart {
    /// Whether a cell is in this chart: one kind of client is.
    pub(super) fn has(&self, cell: &Cell) -> bool {
        is_of(cell, self.client)
    }

    /// The columns whose numbers are written: the last one, and those before it that are at least
    /// `gap` away from the next one that is written.
    pub(super) fn written_columns(&self, gap: f64) -> Vec<(u32, f64)> {
        let mut written = Vec::new();
        let mut next = f64::INFINITY;
        for (count, at) in self.columns.iter().rev() {
            if *at <= next - gap {
                written.push((*count, *at));
                next = *at;
            }
        }
        written
    }
}

fn is_of(cell: &Cell, client: ClientWait) -> bool {
    cell.idle > 0 && cell.client == client
}

/// The line of a server.
#[derive(Debug)]
pub(super) struct IdleLine {
    pub(super) server: usize,
    pub(super) name: String,
    /// Positions and the CPU times in microseconds.
    pub(super) points: Vec<(f64, f64, f64)>,
    /// The height at which the label is not on another one.
    pub(super) label_at: f64,
    /// The most connections, if there are columns with more.
    pub(super) holds: Option<u32>,
}

/// The least distance of two labels.
const LABELS: f64 = 0.062;

/// The chart; `None` if fewer than two numbers of idle connections are measured.
pub(super) fn idle_chart(report: &BenchReport) -> Option<IdleChart> {
    let client = report.rows.iter().find(|row| row.cell.idle > 0).map(|row| row.cell.client);
    let client = client.unwrap_or(ClientWait::Awake);
    let mut rows: Vec<_> = report.rows.iter().filter(|row| is_of(&row.cell, client)).collect();
    rows.sort_by_key(|row| row.cell.idle);
    let (first, last) = (rows.first()?.cell.idle, rows.last()?.cell.idle);
    let of = |row: &&super::report::CellReport, server: &String| {
        let result = row.results.iter().find(|it| it.server == *server)?;
        result.stats.typical.cpu_microseconds
    };
    let values = || rows.iter().flat_map(|row| report.servers.iter().filter_map(|it| of(row, it)));
    let (low, high) = decades(values())?;
    if first == last {
        return None;
    }
    let across = Span::new(f64::from(first), f64::from(last));
    let up = Span::new(low, high);
    let mut lines = Vec::new();
    for (number, server) in report.servers.iter().enumerate() {
        let points: Vec<(f64, f64, f64)> = rows
            .iter()
            .filter_map(|row| {
                let value = of(row, server)?;
                Some((across.at(f64::from(row.cell.idle)), up.at(value), value))
            })
            .collect();
        let Some((_, label_at, _)) = points.last().copied() else { continue };
        let is_small = rows.iter().any(|row| report.too_small(row).iter().any(|it| it.0 == server));
        let holds = report.holds.get(number).copied().flatten().filter(|_| is_small);
        lines.push(IdleLine { server: number, name: server.clone(), points, label_at, holds });
    }
    separate(&mut lines);
    let columns = rows.iter().map(|row| (row.cell.idle, across.at(f64::from(row.cell.idle))));
    let (columns, levels) = (columns.collect(), levels(low, high, &up));
    Some(IdleChart { client, lines, columns, levels })
}

/// A logarithmic axis.
struct Span {
    low: f64,
    high: f64,
}

impl Span {
    fn new(low: f64, high: f64) -> Self {
        Self { low: low.ln(), high: high.ln() }
    }

    fn at(&self, value: f64) -> f64 {
        (value.ln() - self.low) / (self.high - self.low)
    }
}

/// The powers of ten around all values.
fn decades(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (mut low, mut high) = (f64::INFINITY, 0f64);
    for value in values.filter(|value| *value > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    // A value on the edge of the picture would be cut.
    let low = 10f64.powf((low / 1.1).log10().floor());
    let high = 10f64.powf((high * 1.1).log10().ceil());
    (low.is_finite() && high > low).then_some((low, high))
}

fn levels(low: f64, high: f64, up: &Span) -> Vec<(f64, f64)> {
    let count = (high / low).log10().round() as i32;
    (0..=count).map(|number| low * 10f64.powi(number)).map(|level| (level, up.at(level))).collect()
}

/// Moves labels apart, from the bottom to the top, and back if the top is too high.
fn separate(lines: &mut [IdleLine]) {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by(|one, other| lines[*one].label_at.total_cmp(&lines[*other].label_at));
    let mut floor = f64::NEG_INFINITY;
    for number in &order {
        let at = lines[*number].label_at.max(floor);
        (lines[*number].label_at, floor) = (at, at + LABELS);
    }
    let mut ceiling = 1.0;
    for number in order.iter().rev() {
        let at = lines[*number].label_at.min(ceiling);
        (lines[*number].label_at, ceiling) = (at, at - LABELS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(label_at: f64) -> IdleLine {
        IdleLine { server: 0, name: String::new(), points: Vec::new(), label_at, holds: None }
    }

    #[test]
    fn labels_do_not_overlap_and_stay_inside() {
        let mut lines: Vec<_> = [0.99, 0.98, 0.2, 0.21, 0.2, 0.97].into_iter().map(line).collect();
        separate(&mut lines);
        let mut places: Vec<f64> = lines.iter().map(|line| line.label_at).collect();
        assert!(places[0] > places[1] && places[1] > places[5], "the order stays: {places:?}");
        places.sort_by(f64::total_cmp);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] > LABELS - 1e-9), "{places:?}");
        assert!(places.iter().all(|place| (0.0..=1.0).contains(place)), "{places:?}");
    }

    #[test]
    fn numbers_of_near_columns_are_left_out() {
        let columns = vec![(1, 0.0), (10, 0.5), (20, 0.65), (60, 0.9), (100, 1.0)];
        let (lines, levels) = (Vec::new(), Vec::new());
        let chart = IdleChart { client: ClientWait::Awake, lines, columns, levels };
        let written = |gap| -> Vec<u32> {
            chart.written_columns(gap).into_iter().map(|(count, _)| count).collect()
        };
        assert_eq!(written(0.05), [100, 60, 20, 10, 1]);
        assert_eq!(written(0.2), [100, 20, 1]);
    }

    #[test]
    fn an_axis_ends_at_powers_of_ten() {
        let (low, high) = decades([7.5, 2500.0, 0.0].into_iter()).unwrap();
        assert!((low - 1.0).abs() < 1e-9 && (high - 10_000.0).abs() < 1e-6, "{low} {high}");
        let up = Span::new(low, high);
        let levels = levels(low, high, &up);
        assert_eq!(levels.len(), 5);
        assert!((levels[2].1 - 0.5).abs() < 1e-9, "{levels:?}");
        assert_eq!(decades([0.0].into_iter()), None);
    }
}
