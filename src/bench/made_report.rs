//! Reports for tests, whose numbers are made up.

use super::machine::Machine;
use super::plan::{Cell, Pace};
use super::remarks;
use super::report::{BenchReport, CellReport, CellResult};
use super::stats::{BenchStats, BenchTrial};
use std::time::Duration;

/// The names of the servers.
pub(super) const NAMES: [&str; 3] = ["uring", "epoll", "http://a.example/<b>"];

/// A trial with the CPU time of the server and of the client, and a rate.
pub(super) fn trial((server, client, rate): (f64, f64, f64)) -> BenchTrial {
    BenchTrial {
        requests_per_second: rate,
        cpu_microseconds: Some(server),
        client_cpu_microseconds: client,
        both_cpu_microseconds: Some(server + client),
        server_busy: Some(0.9),
        client_busy: 0.5,
        p50_microseconds: 1.0,
        p99_microseconds: 1.0,
        p999_microseconds: 1.0,
        system_calls: None,
        submissions: None,
    }
}

/// A row with the trials of each server.
pub(super) fn row_of(cell: Cell, servers: Vec<Vec<BenchTrial>>) -> CellReport {
    let stats = BenchStats::of_cell(servers, 1);
    let first = stats[0].clone();
    let result = |(number, stats): (usize, BenchStats)| CellResult {
        server: NAMES[number].to_owned(),
        comparison: (number > 0).then(|| stats.against(&first)),
        stats,
    };
    CellReport { cell, results: stats.into_iter().enumerate().map(result).collect() }
}

/// A row whose servers have the same numbers in all rounds.
pub(super) fn row(cell: Cell, servers: &[(f64, f64, f64)]) -> CellReport {
    row_of(cell, servers.iter().map(|server| vec![trial(*server); 6]).collect())
}

/// A report of three servers, of which the second one holds 100 connections.
pub(super) fn report(rows: Vec<CellReport>) -> BenchReport {
    BenchReport {
        machine: Machine::read(),
        doubts: Vec::new(),
        pace: Pace { rounds: 6, warm_up: Duration::ZERO, time: Duration::from_secs(1) },
        client: NAMES[0].to_owned(),
        workers: 1,
        servers: NAMES.map(str::to_owned).to_vec(),
        holds: vec![Some(20_000), Some(100), None],
        tls: None,
        remarks: remarks::remarks(&rows),
        wakes: remarks::wakes(&rows),
        rows,
    }
}
