//! What a picture shows of a row: each server as a dot with its interval, in units.
//!
//! All dots of a row are on one axis that begins at 0, so the larger number is always farther to
//! the right. The first server is the reference. The interval of another one is that of its ratio,
//! in the units of the first server: if it reaches the reference, or the dot is in the band around
//! that, it is a tie, and the dot is hollow.

use super::idle_chart::IdleChart;
use super::report::{BenchReport, CellReport, CellResult};
use super::stats::{BAND, BenchVerdict};

/// What the numbers of a row are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measure {
    Cpu,
    /// In rows where the CPU time of a server is not known.
    Rate,
}

impl Measure {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "µs of CPU per answer",
            Self::Rate => "answers per second",
        }
    }
}

/// What the numbers of these rows are, as a heading.
pub(super) fn heading(rows: &[DotRow]) -> &'static str {
    let has = |measure| rows.iter().any(|row| row.measure == measure);
    match (has(Measure::Cpu), has(Measure::Rate)) {
        (_, false) => "CPU time per answer (less is better)",
        (false, true) => "Answers per second (more is better)",
        (true, true) => {
            "CPU time per answer (less is better) or answers per second (more is better)"
        }
    }
}

/// A row of a picture.
#[derive(Debug)]
pub(super) struct DotRow {
    pub(super) title: String,
    /// The end of the axis.
    pub(super) max: f64,
    /// The positions of ticks.
    pub(super) ticks: Vec<f64>,
    pub(super) measure: Measure,
    /// The band of ties around the first server; `None` if that is not in the row.
    pub(super) band: Option<(f64, f64)>,
    pub(super) dots: Vec<Dot>,
    /// The servers that hold too few connections, with the number that they hold.
    pub(super) too_small: Vec<(String, u32)>,
}

/// A server in a row.
#[derive(Debug)]
pub(super) struct Dot {
    /// The number of the server in the report.
    pub(super) server: usize,
    pub(super) name: String,
    pub(super) value: f64,
    /// `None` for the first server, and with too few rounds.
    pub(super) interval: Option<(f64, f64)>,
    /// `None` for the first server.
    pub(super) verdict: Option<BenchVerdict>,
    pub(super) label: String,
    /// Whether the two sides disagree.
    pub(super) is_marked: bool,
}

impl DotRow {
    /// Whether the interval of a server goes on beyond the end of the axis.
    pub(super) fn is_cut(&self, dot: &Dot) -> bool {
        dot.interval.is_some_and(|(_, high)| high > self.max)
    }

    /// Whether any interval does.
    pub(super) fn has_cut(&self) -> bool {
        self.dots.iter().any(|dot| self.is_cut(dot))
    }
}

/// The rows of a picture, except for those that the chart of idle connections has.
pub(super) fn dot_rows(report: &BenchReport, chart: Option<&IdleChart>) -> Vec<DotRow> {
    let is_in_chart = |row: &CellReport| chart.is_some_and(|chart| chart.has(&row.cell));
    let rows = report.rows.iter().enumerate().filter(|(_, row)| !is_in_chart(row));
    rows.map(|(number, row)| dot_row(report, number, row)).collect()
}

fn dot_row(report: &BenchReport, number: usize, row: &CellReport) -> DotRow {
    // Without the CPU time of one server, rates are shown for all.
    let has_cpu = row.results.iter().all(|it| it.stats.typical.cpu_microseconds.is_some());
    let dot = |result: &CellResult| {
        let typical = &result.stats.typical;
        let comparison =
            result.comparison.and_then(|it| if has_cpu { it.cpu } else { Some(it.rate) });
        let value =
            typical.cpu_microseconds.filter(|_| has_cpu).unwrap_or(typical.requests_per_second);
        // The ratio is the quotient of the values.
        let unit = comparison.map(|it| value / it.ratio);
        let interval = comparison.and_then(|it| it.interval).zip(unit);
        let change = comparison.map(|it| match it.verdict {
            BenchVerdict::Tie => " · tie".to_owned(),
            BenchVerdict::Unknown => String::new(),
            BenchVerdict::Less | BenchVerdict::More => format!(" · {}", percent(it.ratio)),
        });
        let shown =
            if has_cpu { format!("{} µs", microseconds(value)) } else { format!("{value:.0}/s") };
        Dot {
            server: report.servers.iter().position(|it| *it == result.server).unwrap_or_default(),
            name: result.server.clone(),
            value,
            interval: interval.map(|((low, high), unit)| (low.max(0.0) * unit, high * unit)),
            verdict: comparison.map(|it| it.verdict),
            label: shown + &change.unwrap_or_default(),
            is_marked: report.is_marked(number, &result.server),
        }
    };
    let dots: Vec<Dot> = row.results.iter().map(dot).collect();
    let ends =
        dots.iter().map(|dot| dot.interval.map_or(dot.value, |(_, high)| high).max(dot.value));
    // An interval of a few rounds may be many times as long as its value.
    let most = dots.iter().map(|dot| dot.value).fold(0.0, f64::max) * 1.5;
    let (max, ticks) = axis(ends.fold(0.0, f64::max).min(most));
    let first = dots.first().filter(|dot| dot.server == 0).map(|dot| dot.value);
    let small = report.too_small(row).into_iter();
    DotRow {
        title: row.cell.to_string(),
        max,
        ticks,
        measure: if has_cpu { Measure::Cpu } else { Measure::Rate },
        band: first.map(|value| (value * (1.0 - BAND), value * (1.0 + BAND))),
        dots,
        too_small: small.map(|(server, holds)| (server.to_owned(), holds)).collect(),
    }
}

/// The change that a ratio is, such as `−14 %`.
fn percent(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    let sign = if percent < 0.0 { '−' } else { '+' };
    format!("{sign}{:.0} %", percent.abs())
}

/// The end of an axis from 0 that has `most` on it, and its ticks: at most 6 round numbers.
fn axis(most: f64) -> (f64, Vec<f64>) {
    let most = if most > 0.0 { most } else { 1.0 };
    let power = 10f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| most / step <= 5.0).unwrap_or(10.0 * power);
    let count = (most / step).floor() as u32;
    (most * 1.03, (0..=count).map(|number| f64::from(number) * step).collect())
}

/// A name with at most so many characters. What tells two servers apart is often the end of their
/// names, so a longer one loses its middle.
pub(super) fn short_name(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    let (head, tail) = ((most - 1) / 2, most / 2);
    let begin = name.chars().take(head);
    begin.chain(['…']).chain(name.chars().skip(count - tail)).collect()
}

/// A number of microseconds with three digits or more.
pub(super) fn microseconds(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.3}"),
        10.0..100.0 => format!("{value:.2}"),
        100.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A tick, without digits that are 0.
pub(super) fn tick(value: f64) -> String {
    // Sums of steps such as 0.2 are not exact.
    format!("{}", (value * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::idle_chart::idle_chart;
    use crate::bench::made_report::{report, row, row_of, trial};
    use crate::bench::plan::{ClientWait, Shape, grid, idle_grid, with_clients};
    use crate::bench::stats::BenchTrial;

    /// In units and without exceptions: the larger number is farther to the right, and a tie is
    /// what reaches the first server, or is in the band.
    #[test]
    fn a_dot_shows_its_number_and_an_interval_its_verdict() {
        let cells = grid(&[1024], &[1, 64], &[Shape::KeepAlive]);
        let servers = |others: [f64; 6]| {
            let rounds = |cpu: [f64; 6]| cpu.map(|cpu| trial((cpu, 1.0, 100.0))).to_vec();
            let first = rounds([10.0, 10.2, 9.9, 10.0, 10.1, 10.0]);
            vec![first, rounds(others), rounds([12.0, 12.1, 12.0, 11.9, 12.1, 12.0])]
        };
        let tie = row_of(cells[0], servers([10.4, 9.9, 10.3, 10.1, 10.2, 10.0]));
        let less = row_of(cells[1], servers([7.0, 7.2, 6.9, 7.1, 7.0, 6.9]));
        let report = report(vec![tie, less]);
        let mut verdicts = Vec::new();
        for row in dot_rows(&report, None) {
            let (low, high) = row.band.unwrap();
            for dot in &row.dots {
                assert!((0.0..=row.max).contains(&dot.value), "{row:?}");
                assert!(dot.label.starts_with(&microseconds(dot.value)), "{dot:?}");
                let Some((from, to)) = dot.interval else { continue };
                assert!(from <= dot.value && dot.value <= to, "{dot:?}");
                let middle = low.midpoint(high);
                let reaches = from <= middle && middle <= to || (low..=high).contains(&dot.value);
                assert_eq!(reaches, dot.verdict == Some(BenchVerdict::Tie), "{dot:?}");
                verdicts.push(dot.verdict.unwrap());
            }
        }
        assert_eq!(
            verdicts,
            [BenchVerdict::Tie, BenchVerdict::More, BenchVerdict::Less, BenchVerdict::More]
        );
    }

    #[test]
    fn rows_of_the_chart_are_not_dots_and_small_servers_are_named() {
        let same = [(1.0, 1.0, 1.0); 3];
        let large = row(grid(&[0], &[200], &[Shape::Close])[0], &same);
        let clients = [ClientWait::Awake, ClientWait::Asleep];
        let idle = with_clients(&idle_grid(&[1, 10]), &clients);
        let idle = idle.iter().map(|cell| row(*cell, &same));
        let report = report([large].into_iter().chain(idle).collect());
        let chart = idle_chart(&report).unwrap();
        let rows = dot_rows(&report, Some(&chart));
        assert_eq!(rows[0].too_small, [("epoll".to_owned(), 100)]);
        let titles: Vec<_> = rows[1..].iter().map(|row| row.title.as_str()).collect();
        assert_eq!(titles.len(), 2, "{titles:?}");
        assert!(titles.iter().all(|title| title.ends_with("sleeping client")), "{titles:?}");
    }

    /// Of one number of idle connections there is no chart.
    #[test]
    fn a_row_without_a_chart_is_dots() {
        let alone = report(vec![row(idle_grid(&[1])[0], &[(1.0, 1.0, 1.0); 3])]);
        assert!(idle_chart(&alone).is_none());
        assert_eq!(dot_rows(&alone, None).len(), 1);
    }

    #[test]
    fn the_heading_says_what_the_numbers_are() {
        let cells = grid(&[1024], &[1, 64], &[Shape::KeepAlive]);
        let known = row(cells[0], &[(1.0, 1.0, 1.0); 3]);
        let unknown = BenchTrial { cpu_microseconds: None, ..trial((1.0, 1.0, 1.0)) };
        let unknown = row_of(cells[1], vec![vec![trial((1.0, 1.0, 1.0)); 6], vec![unknown; 6]]);
        for (rows, words) in [
            (vec![known.clone()], "CPU time per answer (less is better)"),
            (vec![unknown.clone()], "Answers per second (more is better)"),
            (vec![known, unknown], "(less is better) or answers"),
        ] {
            assert!(heading(&dot_rows(&report(rows), None)).contains(words), "{words}");
        }
    }

    #[test]
    fn an_axis_has_round_ticks_up_to_its_end() {
        for (most, ticks) in [
            (5.0, &["0", "1", "2", "3", "4", "5"][..]),
            (9.9, &["0", "2", "4", "6", "8"]),
            (0.83, &["0", "0.2", "0.4", "0.6", "0.8"]),
            (1234.0, &["0", "500", "1000"]),
            (0.0, &["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ] {
            let (max, found) = axis(most);
            assert!(max > most, "{most}: {max}");
            assert_eq!(found.into_iter().map(tick).collect::<Vec<_>>(), ticks, "{most}");
        }
    }

    /// Few rounds that scatter have an interval that is many times as long as the values.
    #[test]
    fn an_interval_beyond_the_axis_is_known_as_cut() {
        let cell = grid(&[1024], &[64], &[Shape::KeepAlive])[0];
        let rounds = |cpu: [f64; 6]| cpu.map(|cpu| trial((cpu, 1.0, 100.0))).to_vec();
        let others = rounds([2.0, 10.0, 60.0, 9.0, 11.0, 10.0]);
        let servers = vec![rounds([10.0; 6]), others, rounds([11.0; 6])];
        let rows = dot_rows(&report(vec![row_of(cell, servers)]), None);
        let cut: Vec<bool> = rows[0].dots.iter().map(|dot| rows[0].is_cut(dot)).collect();
        assert_eq!(cut, [false, true, false], "{rows:?}");
        assert!(rows[0].has_cut());
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        for (name, short) in [
            ("epoll", "epoll"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("http://127.0.0.1:8080/", "http://1…0.1:8080/"),
            ("http://127.0.0.1:8081/", "http://1…0.1:8081/"),
        ] {
            let found = short_name(name, 18);
            assert!(found.chars().count() <= 18, "{found}");
            assert_eq!(found, short);
        }
    }

    #[test]
    fn numbers_have_three_digits_and_changes_a_sign() {
        let texts = [0.8312, 7.52, 69.97, 183.4, 12_821.0].map(microseconds);
        assert_eq!(texts, ["0.831", "7.520", "69.97", "183.4", "12821"]);
        assert_eq!((percent(0.86), percent(1.052)), ("−14 %".to_owned(), "+5 %".to_owned()));
    }
}
