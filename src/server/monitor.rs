//! Statistics of a server: each worker publishes its own at the end of a turn; they are added up
//! here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::driver::DriverStats;

/// What a server has open at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorkerStats {
    /// Connections.
    pub connections: u32,
    /// Receive buffers in use.
    pub leased: u32,
    /// Ops that have not had their last completion.
    pub in_flight: u32,
}

/// The statistics that a worker publishes at the end of each turn. The alignment keeps those of
/// different workers in different cache lines, so their writes do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Published {
    connections: AtomicU32,
    leased: AtomicU32,
    in_flight: AtomicU32,
    /// Written once, at the end of a drain.
    cut_off: AtomicU32,
    stats: [AtomicU64; DriverStats::COUNTERS],
}

impl Published {
    /// What the worker had open at the end of its last turn.
    pub fn worker_stats(&self) -> WorkerStats {
        WorkerStats {
            connections: self.connections.load(Ordering::Relaxed),
            leased: self.leased.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// What the worker's driver had done by the end of the worker's last turn.
    pub fn stats(&self) -> DriverStats {
        DriverStats::from_array(
            self.stats.each_ref().map(|counter| counter.load(Ordering::Relaxed)),
        )
    }

    /// Adds connections that were closed with a request in progress, because the drain timeout was
    /// over.
    pub(super) fn add_cut_off(&self, count: u32) {
        self.cut_off.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn publish(&self, worker: WorkerStats, stats: DriverStats) {
        self.connections.store(worker.connections, Ordering::Relaxed);
        self.leased.store(worker.leased, Ordering::Relaxed);
        self.in_flight.store(worker.in_flight, Ordering::Relaxed);
        for (counter, value) in self.stats.iter().zip(stats.to_array()) {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

/// Reads the statistics of a server; see [`Server::monitor`](super::Server::monitor).
#[derive(Clone, Debug)]
pub struct Monitor {
    workers: Vec<Arc<Published>>,
}

impl Monitor {
    pub(super) fn new(workers: Vec<Arc<Published>>) -> Self {
        Self { workers }
    }

    /// What is open at the moment, summed over all workers.
    pub fn worker_stats(&self) -> WorkerStats {
        let each = self.workers.iter().map(|worker| worker.worker_stats());
        each.fold(WorkerStats::default(), |sum, worker| WorkerStats {
            connections: sum.connections + worker.connections,
            leased: sum.leased + worker.leased,
            in_flight: sum.in_flight + worker.in_flight,
        })
    }

    /// How many connections a drain has closed with a request in progress, because its timeout was
    /// over; summed over all workers. The number is final when the server has ended.
    pub fn cut_off(&self) -> u32 {
        self.workers.iter().map(|worker| worker.cut_off.load(Ordering::Relaxed)).sum()
    }

    /// What the drivers have done so far, summed over all workers.
    pub fn stats(&self) -> DriverStats {
        let each = self.workers.iter().map(|worker| worker.stats().to_array());
        let sum = each.fold([0; DriverStats::COUNTERS], |sum, worker| {
            std::array::from_fn(|number| sum[number] + worker[number])
        });
        DriverStats::from_array(sum)
    }
}
