//! How a server is doing: what its workers told at the end of their last turns, added up.

use std::sync::Arc;

use super::worker::Control;
use crate::driver::Stats;
use crate::files::Figures;

/// What a server has open at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Gauges {
    /// Connections.
    pub connections: u32,
    /// Receive buffers that are lent out.
    pub leased: u32,
    /// Ops that have not had their last completion.
    pub in_flight: u32,
}

/// Sees how a server is doing; see [`Server::monitor`](super::Server::monitor).
#[derive(Clone, Debug)]
pub struct Monitor {
    workers: Vec<Arc<Control>>,
}

impl Monitor {
    pub(super) fn new(workers: Vec<Arc<Control>>) -> Self {
        Self { workers }
    }

    /// What it has open at the moment, in all workers.
    pub fn gauges(&self) -> Gauges {
        let gauges = self.workers.iter().map(|worker| worker.gauges());
        gauges.fold(Gauges::default(), |sum, worker| Gauges {
            connections: sum.connections + worker.connections,
            leased: sum.leased + worker.leased,
            in_flight: sum.in_flight + worker.in_flight,
        })
    }

    /// What its drivers have done so far, in all workers.
    pub fn stats(&self) -> Stats {
        Stats::from_array(self.sum(|worker| worker.stats().to_array()))
    }

    /// What its caches hold and have done so far, in all workers.
    pub fn cache(&self) -> Figures {
        Figures::from_array(self.sum(|worker| worker.cache().to_array()))
    }

    fn sum<const COUNT: usize>(&self, of: impl Fn(&Control) -> [u64; COUNT]) -> [u64; COUNT] {
        self.workers.iter().map(|worker| of(worker)).fold([0; COUNT], |sum, worker| {
            std::array::from_fn(|number| sum[number] + worker[number])
        })
    }
}
