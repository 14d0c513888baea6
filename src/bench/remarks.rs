//! What the numbers of a report do not say by themselves, in words.
//!
//! Over loopback, the kernel performs the work of a transfer in the context of whichever side is
//! running, and charges it to that side. So the CPU time of the server alone may show an order that
//! both sides together do not show. Such rows are remarked: two servers in one row, and a kept
//! connection beside a new one for each request.

use super::plan::{Bytes, Cell, ClientWait, Shape};
use super::report::{CellReport, CellResult, Remark, WakeCost};
use super::stats::{BenchVerdict, Comparison, Comparisons};

/// All remarks about these rows.
pub(super) fn remarks(rows: &[CellReport]) -> Vec<Remark> {
    let mut all = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for result in &row.results {
            all.extend(in_row(number, row, result));
        }
    }
    for (kept_number, kept) in rows.iter().enumerate() {
        let is_pair = |other: &CellReport| {
            kept.cell.shape == Shape::KeepAlive
                && other.cell == Cell { shape: Shape::Close, ..kept.cell }
        };
        if let Some(new_number) = rows.iter().position(is_pair) {
            all.extend(between_rows((kept_number, new_number), kept, &rows[new_number]));
        }
    }
    all
}

/// What there is to say about a server in comparison with the first one.
fn in_row(number: usize, row: &CellReport, result: &CellResult) -> Option<Remark> {
    let first = row.results.first()?;
    let comparisons = result.comparison?;
    let remark = |is_of_sides, text| {
        Some(Remark { rows: vec![number], server: result.server.clone(), is_of_sides, text })
    };
    let (server, first_server) = (&result.server, &first.server);
    if let Some(sides) = sides(&comparisons) {
        let text = format!("{}: {server} beside {first_server}: {sides}", row.cell);
        return remark(true, text);
    }
    let is_bound = result.stats.client_bound || first.stats.client_bound;
    let is_tie = comparisons.cpu.is_some_and(|cpu| cpu.verdict == BenchVerdict::Tie);
    let change = match comparisons.rate.verdict {
        BenchVerdict::Less => "fewer",
        BenchVerdict::More => "more",
        _ => return None,
    };
    if is_bound || !is_tie {
        return None;
    }
    let percent = (comparisons.rate.ratio - 1.0).abs() * 100.0;
    let text = format!(
        "{}: {server} gives {percent:.0} % {change} answers per second than {first_server} for \
         the same CPU time: one of them waits for something",
        row.cell
    );
    remark(false, text)
}

/// The servers for which a new connection for each request is cheaper or dearer than a kept one
/// only by their own CPU time.
fn between_rows(numbers: (usize, usize), kept: &CellReport, new: &CellReport) -> Vec<Remark> {
    let mut all = Vec::new();
    for result in &new.results {
        let Some(other) = kept.results.iter().find(|it| it.server == result.server) else {
            continue;
        };
        if let Some(sides) = sides(&result.stats.against(&other.stats)) {
            let Cell { bytes, connections, .. } = new.cell;
            let text = format!(
                "{}, {connections} at a time, {}: a new connection for each request beside a kept \
                 one: {sides}",
                Bytes(bytes),
                result.server
            );
            let rows = vec![numbers.0, numbers.1];
            all.push(Remark { rows, server: result.server.clone(), is_of_sides: true, text });
        }
    }
    all
}

/// How the two sides disagree, if they do.
fn sides(comparisons: &Comparisons) -> Option<String> {
    let (cpu, both) = (comparisons.cpu?, comparisons.both?);
    comparisons.disagree().then(|| {
        format!(
            "{} on the server ({:.2} ×), and {} on both sides together ({:.2} ×)",
            word(&cpu),
            cpu.ratio,
            word(&both),
            both.ratio
        )
    })
}

fn word(comparison: &Comparison) -> &'static str {
    match comparison.verdict {
        BenchVerdict::Less => "less CPU time",
        BenchVerdict::More => "more CPU time",
        BenchVerdict::Tie => "no difference",
        BenchVerdict::Unknown => "an unknown CPU time",
    }
}

/// What a client that sleeps adds, wherever there are rows with both kinds of clients.
pub(super) fn wakes(rows: &[CellReport]) -> Vec<WakeCost> {
    let mut all = Vec::new();
    for awake in rows.iter().filter(|row| row.cell.client == ClientWait::Awake) {
        let other = Cell { client: ClientWait::Asleep, ..awake.cell };
        let Some(asleep) = rows.iter().find(|row| row.cell == other) else { continue };
        for result in &awake.results {
            let found = asleep.results.iter().find(|it| it.server == result.server);
            all.extend(found.and_then(|found| wake(awake.cell, result, found)));
        }
    }
    all
}

fn wake(cell: Cell, awake: &CellResult, asleep: &CellResult) -> Option<WakeCost> {
    Some(WakeCost {
        cell,
        server: awake.server.clone(),
        awake_microseconds: awake.stats.typical.cpu_microseconds?,
        asleep_microseconds: asleep.stats.typical.cpu_microseconds?,
        comparison: asleep.stats.against(&awake.stats).cpu?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::made_report::row;
    use crate::bench::plan::{grid, with_clients};

    fn cells() -> Vec<Cell> {
        grid(&[256 << 10], &[64], &[Shape::KeepAlive, Shape::Close])
    }

    #[test]
    fn servers_whose_order_only_one_side_shows_are_remarked() {
        let cell = cells()[0];
        let reversed = row(cell, &[(10.0, 20.0, 1000.0), (8.0, 30.0, 1000.0)]);
        let found = remarks(&[reversed]);
        assert_eq!(found.len(), 1);
        assert!(found[0].is_of_sides && found[0].rows == [0] && found[0].server == "epoll");
        let text = &found[0].text;
        assert!(text.contains("less CPU time on the server (0.80 ×)"), "{text}");
        assert!(text.contains("more CPU time on both sides together (1.27 ×)"), "{text}");
        let agreed = row(cell, &[(10.0, 20.0, 1000.0), (8.0, 20.0, 1000.0)]);
        assert_eq!(remarks(&[agreed]), []);
    }

    #[test]
    fn a_new_connection_that_only_looks_cheaper_is_remarked() {
        let (kept, new) = (cells()[0], cells()[1]);
        let rows = [row(kept, &[(70.0, 40.0, 1000.0)]), row(new, &[(60.0, 90.0, 1000.0)])];
        let found = remarks(&rows);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].rows, [0, 1]);
        let text = &found[0].text;
        assert!(text.contains("256 KiB, 64 at a time, uring: a new connection"), "{text}");
        let others = Cell { connections: 1, ..new };
        assert_eq!(remarks(&[rows[0].clone(), row(others, &[(60.0, 90.0, 1000.0)])]), []);
    }

    /// A sleep costs hardly any CPU time, so it shows in the rate alone.
    #[test]
    fn a_server_that_waits_is_remarked() {
        let slow = row(cells()[0], &[(10.0, 20.0, 1000.0), (10.0, 20.0, 950.0)]);
        let found = remarks(&[slow]);
        assert_eq!(found.len(), 1);
        let text = &found[0].text;
        assert!(text.contains("5 % fewer answers") && !found[0].is_of_sides, "{text}");
        let equal = row(cells()[0], &[(10.0, 20.0, 1000.0), (10.0, 20.0, 1000.0)]);
        assert_eq!(remarks(&[equal]), []);
    }

    #[test]
    fn the_cost_of_waking_a_client_is_that_of_two_rows() {
        let cells = with_clients(&cells()[..1], &[ClientWait::Awake, ClientWait::Asleep]);
        let rows = [row(cells[0], &[(10.0, 1.0, 1.0)]), row(cells[1], &[(13.0, 1.0, 1.0)])];
        let found = wakes(&rows);
        assert_eq!(found.len(), 1);
        assert!((found[0].comparison.ratio - 1.3).abs() < 1e-9);
        assert_eq!(found[0].comparison.verdict, BenchVerdict::More);
        assert_eq!(wakes(&rows[..1]), []);
    }
}
