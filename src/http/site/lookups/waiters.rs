//! The sessions that wait for a lookup.

use std::collections::BTreeMap;

use crate::ask::AskId;
use crate::service::{SessionId, Waiter};

/// Sessions in the order of their arrival. Leaving takes little time however many wait, because
/// thousands may leave at once.
#[derive(Default, Debug)]
pub(super) struct Waiters {
    /// The number of each arrival, by session and id.
    arrivals: BTreeMap<(u64, AskId), (u64, SessionId)>,
    next: u64,
}

impl Waiters {
    /// Appends a waiter.
    pub(super) fn add(&mut self, waiter: Waiter) {
        let Waiter { session, id } = waiter;
        self.arrivals.insert((session.0.pack(0), id), (self.next, session));
        self.next += 1;
    }

    /// Removes a session, with whatever id it waits.
    pub(super) fn remove(&mut self, session: SessionId) {
        let key = session.0.pack(0);
        let range = (key, AskId(0))..=(key, AskId(u32::MAX));
        while let Some((found, _)) = self.arrivals.range(range.clone()).next() {
            let found = *found;
            self.arrivals.remove(&found);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Removes and returns all.
    pub(super) fn take(&mut self) -> Vec<Waiter> {
        let arrivals = std::mem::take(&mut self.arrivals).into_iter();
        let mut arrivals: Vec<(u64, Waiter)> = arrivals
            .map(|((_, id), (arrival, session))| (arrival, Waiter { session, id }))
            .collect();
        arrivals.sort_unstable_by_key(|(arrival, _)| *arrival);
        arrivals.into_iter().map(|(_, waiter)| waiter).collect()
    }
}
