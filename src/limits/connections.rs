//! The connections of each client, counted exactly.
//!
//! Counts that are wrong would refuse a client for ever, so nothing is evicted here: there are as
//! many entries as clients with a connection, and a server has a bounded number of connections.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clients::{ClientKey, ClientPrefix};

/// How many parts the table has, each with its lock, so that workers seldom wait for each other.
const PARTS: usize = 64;

/// The connections of each client. Clones count together.
#[derive(Clone, Default, Debug)]
pub struct ClientConnections(Arc<ConnectionTable>);

#[derive(Debug)]
struct ConnectionTable {
    /// How many a client may have; zero for any number.
    max: AtomicU32,
    prefix: ClientPrefix,
    refused: AtomicU64,
    hasher: RandomState,
    parts: Box<[Mutex<HashMap<ClientKey, u32>>]>,
}

impl Default for ConnectionTable {
    fn default() -> Self {
        let parts = std::iter::repeat_with(Mutex::default).take(PARTS).collect();
        let (max, prefix) = (AtomicU32::new(0), ClientPrefix::default());
        Self { max, prefix, refused: AtomicU64::new(0), hasher: RandomState::new(), parts }
    }
}

impl ConnectionTable {
    /// No code panics while it holds the lock, so a poisoned lock has consistent content.
    fn part(&self, client: ClientKey) -> MutexGuard<'_, HashMap<ClientKey, u32>> {
        let part = self.hasher.hash_one(client) as usize % PARTS;
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted as long as this exists.
#[derive(Debug)]
pub struct ConnectionPermit {
    table: Arc<ConnectionTable>,
    client: ClientKey,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut part = self.table.part(self.client);
        if let Some(count) = part.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                part.remove(&self.client);
            }
        }
    }
}

impl ClientConnections {
    /// Each client may have so many; `None` for any number.
    #[must_use]
    pub fn new(max: Option<u32>, prefix: ClientPrefix) -> Self {
        let table = ConnectionTable { prefix, ..ConnectionTable::default() };
        let connections = Self(Arc::new(table));
        connections.set_max(max);
        connections
    }

    /// From now on, each client may have so many. Connections that were not counted stay so.
    pub fn set_max(&self, max: Option<u32>) {
        self.0.max.store(max.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether there is a limit.
    #[inline]
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.0.max.load(Ordering::Relaxed) > 0
    }

    /// How many bits of an IPv6 address are a client's.
    #[must_use]
    pub fn prefix(&self) -> ClientPrefix {
        self.0.prefix
    }

    /// Counts a connection of a client; `None` if it has too many. Clients of Unix sockets are
    /// behind a proxy, so they are not counted.
    #[must_use]
    pub fn enter(&self, client: ClientKey) -> Option<Option<ConnectionPermit>> {
        let max = self.0.max.load(Ordering::Relaxed);
        if max == 0 || matches!(client, ClientKey::Unix | ClientKey::Unknown) {
            return Some(None);
        }
        let mut part = self.0.part(client);
        let count = part.entry(client).or_default();
        if *count >= max {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        drop(part);
        Some(Some(ConnectionPermit { table: Arc::clone(&self.0), client }))
    }

    /// How many connections were closed at once because their client had too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// How many clients are counted.
    #[cfg(test)]
    fn clients(&self) -> usize {
        self.0.parts.iter().map(|part| part.lock().unwrap().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn client(number: u32) -> ClientKey {
        ClientKey::V4(number.to_be_bytes())
    }

    #[test]
    fn connections_are_counted_until_they_end() {
        let all = ClientConnections::new(Some(2), ClientPrefix::default());
        let first = all.enter(client(1)).unwrap();
        let second = all.enter(client(1)).unwrap();
        assert!(all.enter(client(1)).is_none() && all.enter(client(2)).is_some());
        drop(first);
        let third = all.enter(client(1)).unwrap();
        assert!(all.enter(client(1)).is_none());
        assert_eq!(all.refused(), 2);
        all.set_max(None);
        assert!(!all.is_limited() && all.enter(client(1)).is_some_and(|it| it.is_none()));
        all.set_max(Some(1));
        assert!(all.enter(client(1)).is_none(), "those from before still count");
        drop((second, third));
        assert!(all.enter(client(1)).is_some());
        assert_eq!(all.clients(), 0, "nothing is left of those who are gone");
        assert!(all.enter(ClientKey::Unix).is_some_and(|permit| permit.is_none()));
    }

    #[test]
    fn the_count_is_exact_over_several_workers() {
        let all = ClientConnections::new(Some(10), ClientPrefix::default());
        thread::scope(|scope| {
            for seed in 0..4 {
                let all = all.clone();
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let mut held = Vec::new();
                    for _ in 0..20_000 {
                        match all.enter(client(random.u32(..3))) {
                            Some(permit) if random.bool() => held.push(permit),
                            _ => drop(held.pop()),
                        }
                    }
                });
            }
        });
        assert_eq!(all.clients(), 0);
    }
}
