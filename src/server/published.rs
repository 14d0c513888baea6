//! What a worker publishes at the end of each turn, for other threads.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::driver::DriverStats;
use crate::events::{EventKind, EventMessage, Events};
use crate::limits::ClientConnections;
use crate::metrics::Counter;

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

/// What was not done in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeoutKind {
    /// A client has not sent a request, or the rest of one.
    Request,
    /// A client has not used an open connection again, which is harmless.
    Idle,
    /// A client has not taken an answer.
    Send,
    /// A file system has not answered.
    Lookup,
}

impl TimeoutKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Request, Self::Idle, Self::Send, Self::Lookup];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Idle => "idle",
            Self::Send => "send",
            Self::Lookup => "lookup",
        }
    }
}

/// What a worker counts besides its driver.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WorkerCounts {
    /// Turns.
    pub turns: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were closed at once, because there was no room for them.
    pub refused: u64,
    /// Connections that were closed at once, because their peers may not come in.
    pub denied: u64,
    /// Connections that a drain has closed with a request in progress.
    pub cut_off: u64,
    /// What was not done in time, by the number of its [`TimeoutKind`].
    pub timeouts: [u64; TimeoutKind::ALL.len()],
}

impl WorkerCounts {
    /// The sums with those of another worker.
    pub(super) fn plus(self, other: Self) -> Self {
        let timeouts = std::array::from_fn(|kind| self.timeouts[kind] + other.timeouts[kind]);
        Self {
            turns: self.turns + other.turns,
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            denied: self.denied + other.denied,
            cut_off: self.cut_off + other.cut_off,
            timeouts,
        }
    }
}

/// The statistics that a worker publishes at the end of each turn. The alignment keeps those of
/// different workers in different cache lines, so their writes do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Published {
    /// Where the worker tells events.
    pub(super) events: Events,
    /// How many connections each client has.
    pub(super) clients: ClientConnections,
    connections: AtomicU32,
    leased: AtomicU32,
    in_flight: AtomicU32,
    /// Whether the worker has ended, because a drain is complete.
    drained: AtomicBool,
    /// The id of the worker's thread; 0 before it runs.
    thread: AtomicU32,
    pub(super) turns: Counter,
    accepted: Counter,
    surplus: Counter,
    denied: Counter,
    pub(super) cut_off: Counter,
    timeouts: [Counter; TimeoutKind::ALL.len()],
    stats: [AtomicU64; DriverStats::COUNTERS],
}

impl Published {
    pub(super) fn new(events: Events, clients: ClientConnections) -> Self {
        Self { events, clients, ..Self::default() }
    }

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

    /// What the worker has counted.
    pub fn counts(&self) -> WorkerCounts {
        WorkerCounts {
            turns: self.turns.get(),
            accepted: self.accepted.get(),
            refused: self.surplus.get() + self.stats().refused,
            denied: self.denied.get(),
            cut_off: self.cut_off.get(),
            timeouts: self.timeouts.each_ref().map(Counter::get),
        }
    }

    /// The id of the worker's thread (`gettid(2)`), once it runs.
    pub fn thread(&self) -> Option<u32> {
        Some(self.thread.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    pub(super) fn set_drained(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    pub(super) fn set_thread(&self, id: u32) {
        self.thread.store(id, Ordering::Relaxed);
    }

    /// Tells the operator that a worker has this many connections, the most that it may have.
    pub(super) fn tell_full(&self, connections_max: u32) {
        self.events.tell(EventKind::ConnectionsFull, || {
            let text = format!(
                "a worker has {connections_max} connections, as many as it may have; new clients \
                 wait until others go; raise --max-connections"
            );
            EventMessage::new(text).with("connections", connections_max)
        });
    }

    /// Counts a connection that was accepted.
    pub(super) fn count_accepted(&self) {
        self.accepted.add(1);
    }

    /// Counts a connection that was closed at once.
    pub(super) fn count_surplus(&self) {
        self.surplus.add(1);
    }

    /// Counts a connection whose peer may not come in.
    pub(super) fn count_denied(&self) {
        self.denied.add(1);
    }

    /// Counts connections that were closed with a request in progress, because the drain timeout
    /// was over.
    pub(super) fn count_cut_off(&self, count: u32) {
        self.cut_off.add(count.into());
    }

    /// Counts what was not done in time.
    pub(super) fn count_timeout(&self, kind: TimeoutKind) {
        self.timeouts[kind as usize].add(1);
    }

    pub(super) fn publish(&self, worker: WorkerStats, stats: DriverStats) {
        self.connections.store(worker.connections, Ordering::Relaxed);
        self.leased.store(worker.leased, Ordering::Relaxed);
        self.in_flight.store(worker.in_flight, Ordering::Relaxed);
        for (counter, value) in self.stats.iter().zip(stats.to_array()) {
            counter.store(value, Ordering::Relaxed);
        }
        self.turns.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_workers_are_added_up_each_for_itself() {
        let counts = WorkerCounts {
            turns: 1,
            accepted: 2,
            refused: 3,
            denied: 9,
            cut_off: 4,
            timeouts: [5, 6, 7, 8],
        };
        let other = WorkerCounts {
            turns: 10,
            accepted: 20,
            refused: 30,
            denied: 90,
            cut_off: 40,
            timeouts: [50, 60, 70, 80],
        };
        let sum = WorkerCounts {
            turns: 11,
            accepted: 22,
            refused: 33,
            denied: 99,
            cut_off: 44,
            timeouts: [55, 66, 77, 88],
        };
        assert_eq!(counts.plus(other), sum);
    }
}
