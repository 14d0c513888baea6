//! Reads what the workers of a server publish, and finds out whether they respond.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::launch::Remote;
use super::listeners::Listening;
use super::published::{Published, WorkerCounts, WorkerStats};
use super::updater::lock;
use crate::driver::DriverStats;

/// How long a look at the workers lasts at most, before the next one.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(2);

/// Reads the statistics of a server; see [`Server::monitor`](super::Server::monitor).
#[derive(Clone, Debug)]
pub struct Monitor {
    workers: Vec<(Arc<Published>, Arc<dyn Remote>)>,
    listening: Arc<Mutex<Listening>>,
}

impl Monitor {
    pub(super) fn new(
        workers: Vec<(Arc<Published>, Arc<dyn Remote>)>,
        listening: Arc<Mutex<Listening>>,
    ) -> Self {
        Self { workers, listening }
    }

    /// The addresses that the server listens on.
    #[must_use]
    pub fn addresses(&self) -> Vec<Endpoint> {
        lock(&self.listening).endpoints()
    }

    /// The statistics of each worker.
    pub fn workers(&self) -> impl ExactSizeIterator<Item = &Published> {
        self.workers.iter().map(|(published, _)| &**published)
    }

    /// What is open at the moment, summed over all workers.
    pub fn worker_stats(&self) -> WorkerStats {
        let each = self.workers().map(Published::worker_stats);
        each.fold(WorkerStats::default(), |sum, worker| WorkerStats {
            connections: sum.connections + worker.connections,
            leased: sum.leased + worker.leased,
            in_flight: sum.in_flight + worker.in_flight,
        })
    }

    /// What the workers have counted, summed over all of them. The numbers are final when the
    /// server has ended.
    pub fn counts(&self) -> WorkerCounts {
        self.workers().map(Published::counts).fold(WorkerCounts::default(), WorkerCounts::plus)
    }

    /// What the drivers have done so far, summed over all workers.
    pub fn stats(&self) -> DriverStats {
        let each = self.workers().map(|worker| worker.stats().to_array());
        let sum = each.fold([0; DriverStats::COUNTERS], |sum, worker| {
            std::array::from_fn(|number| sum[number] + worker[number])
        });
        DriverStats::from_array(sum)
    }

    /// Wakes all workers, and waits until each has ended a turn. The result has the numbers of
    /// those that did not within `wait_max`: they hang, or have failed. A worker that is idle
    /// responds at once, and one that has drained need not.
    pub fn unresponsive(&self, wait_max: Duration) -> Vec<usize> {
        let until = Instant::now() + wait_max;
        let turns: Vec<u64> = self.workers().map(|worker| worker.turns.get()).collect();
        self.workers.iter().for_each(|(_, worker)| worker.wake());
        loop {
            let silent = |(number, worker): (usize, &Published)| {
                let is_silent = worker.turns.get() == turns[number] && !worker.is_drained();
                is_silent.then_some(number)
            };
            let silent: Vec<usize> = self.workers().enumerate().filter_map(silent).collect();
            if silent.is_empty() || Instant::now() >= until {
                return silent;
            }
            thread::sleep(LOOK_AGAIN_AFTER);
        }
    }
}
