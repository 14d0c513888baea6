//! A bounded map from names to what is known of them, with an age limit.
//!
//! Eviction is CLOCK: entries stand in a circle, a use sets a mark, and the hand removes the first
//! entry that it finds unmarked, clearing marks on its way. New entries start unmarked, so a scan
//! over names that are asked for once cannot push out those that are asked for again.
//!
//! An entry may also be expired before its time, because something has changed: by name, by what
//! names begin with, or all at once. It stays, for it may turn out to be what it was, but nobody
//! uses it unasked.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cache_stats::CacheStats;

#[cfg(test)]
mod tests;

/// The epoch of what was expired; no cache is ever in it.
const EXPIRED: u64 = 0;

/// The map; see the module documentation.
#[derive(Debug)]
pub(super) struct Cache<V> {
    index: HashMap<Rc<[u8]>, usize, foldhash::fast::RandomState>,
    /// The names in order, to find those that begin alike.
    order: BTreeSet<Rc<[u8]>>,
    /// The circle.
    entries: Vec<CacheEntry<V>>,
    hand: usize,
    weight: Weight,
    entries_max: usize,
    bytes_max: usize,
    valid_for: Duration,
    /// Entries of earlier epochs have expired, whatever their age.
    epoch: u64,
    /// What was counted so far; what there is to be counted at the moment is not in it.
    counts: CacheStats,
}

/// What an entry holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Weight {
    /// Memory, in bytes.
    pub(super) bytes: usize,
    /// Open files. An entry that holds several counts as that many entries.
    pub(super) files: usize,
}

#[derive(Debug)]
struct CacheEntry<V> {
    name: Rc<[u8]>,
    value: V,
    weight: Weight,
    /// When it was last found to hold.
    found: Instant,
    valid_until: Instant,
    epoch: u64,
    used: bool,
    /// Somebody was told to ask the file system, and has not brought an answer.
    asked: bool,
    /// Whether it counts as valid once more while somebody asks.
    extends: bool,
}

impl<V> CacheEntry<V> {
    /// It is to be asked about, also by those who come after somebody who asks already: what that
    /// one sees may be what was before the change.
    fn expire(&mut self) {
        (self.epoch, self.asked) = (EXPIRED, false);
    }

    /// It holds for no longer than this after it was found, and is not extended.
    fn limit(&mut self, age_max: Duration) {
        (self.extends, self.valid_until) = (false, self.valid_until.min(self.found + age_max));
    }
}

/// What [`Cache::get`] knows of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cached<'a, V> {
    /// This, and it may be used.
    Valid(&'a V),
    /// This, but the file system should be asked whether it still holds. If it expired just now,
    /// it counts as valid once more for as long, so that one asks and the others go on; only
    /// once, because the one may vanish before it brings the answer. So nothing is used that was
    /// found to hold longer ago than twice that time. What was expired by a change is not valid
    /// for anybody until somebody brings the answer.
    Expired(&'a V),
    /// Nothing.
    Absent,
}

impl<V> Cache<V> {
    /// An empty cache of at most `entries_max` entries, and as many files, that hold at most
    /// `bytes_max` bytes.
    /// Entries are valid for `valid_for` after they were found to hold.
    pub(super) fn new(entries_max: usize, bytes_max: usize, valid_for: Duration) -> Self {
        Self {
            index: HashMap::default(),
            order: BTreeSet::new(),
            entries: Vec::new(),
            hand: 0,
            weight: Weight::default(),
            entries_max,
            bytes_max,
            valid_for,
            epoch: EXPIRED + 1,
            counts: CacheStats::default(),
        }
    }

    /// Entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the entries were said to hold.
    #[cfg(test)]
    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    /// What there is, and what was counted.
    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            entries: self.entries.len() as u64,
            bytes: self.weight.bytes as u64,
            files: self.weight.files as u64,
            ..self.counts
        }
    }

    /// Looks a name up.
    pub(super) fn get(&mut self, name: &[u8], now: Instant) -> Cached<'_, V> {
        let Some(place) = self.index.get(name) else {
            self.counts.misses += 1;
            return Cached::Absent;
        };
        let entry = &mut self.entries[*place];
        entry.used = true;
        let current = entry.epoch == self.epoch;
        if current && now < entry.valid_until {
            self.counts.hits += 1;
            return Cached::Valid(&entry.value);
        }
        self.counts.revalidations += 1;
        self.counts.expirations += u64::from(!current && !entry.asked);
        let extended = entry.valid_until + self.valid_for;
        let extends = entry.extends && current && now < extended;
        if !std::mem::replace(&mut entry.asked, true) && extends {
            entry.valid_until = extended;
        }
        Cached::Expired(&entry.value)
    }

    /// What is known of a name, whether or not it is still valid.
    pub(super) fn peek(&self, name: &[u8]) -> Option<&V> {
        self.index.get(name).map(|place| &self.entries[*place].value)
    }

    /// When what is known of a name was last found to hold.
    pub(super) fn found_at(&self, name: &[u8]) -> Option<Instant> {
        self.index.get(name).map(|place| self.entries[*place].found)
    }

    /// Notes what was found out about a name, and what the value holds; one that would fill the
    /// cache alone is not kept.
    pub(super) fn insert(&mut self, name: &[u8], value: V, weight: Weight, now: Instant) {
        self.remove(name);
        if weight.bytes > self.bytes_max || weight.files.max(1) > self.entries_max {
            return;
        }
        while self.entries.len() >= self.entries_max
            || self.weight.files + weight.files > self.entries_max
            || self.weight.bytes + weight.bytes > self.bytes_max
        {
            self.evict();
        }
        let name: Rc<[u8]> = name.into();
        self.index.insert(Rc::clone(&name), self.entries.len());
        self.order.insert(Rc::clone(&name));
        let (found, valid_until, epoch) = (now, now + self.valid_for, self.epoch);
        let (used, asked, extends) = (false, false, true);
        let entry =
            CacheEntry { name, value, weight, found, valid_until, epoch, used, asked, extends };
        self.entries.push(entry);
        self.weight.bytes += weight.bytes;
        self.weight.files += weight.files;
    }

    /// Notes that an entry was found to hold still.
    pub(super) fn confirm(&mut self, name: &[u8], now: Instant) {
        if let Some(place) = self.index.get(name) {
            let entry = &mut self.entries[*place];
            (entry.asked, entry.extends, entry.epoch) = (false, true, self.epoch);
            (entry.found, entry.valid_until) = (now, now + self.valid_for);
        }
    }

    /// Expires an entry, because what it tells of has changed, or was found too early to be
    /// trusted.
    pub(super) fn expire(&mut self, name: &[u8]) {
        if let Some(place) = self.index.get(name) {
            self.entries[*place].expire();
        }
    }

    /// Expires the entries whose names begin so; all entries, if these are more than `at_most`.
    /// Returns how many they were.
    pub(super) fn expire_prefix(&mut self, prefix: &[u8], at_most: usize) -> usize {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names = self.order.range::<[u8], _>(from);
        let mut names = names.take_while(|name| name.starts_with(prefix));
        let mut count = 0;
        for name in names.by_ref().take(at_most) {
            self.entries[self.index[name]].expire();
            count += 1;
        }
        if names.next().is_some() {
            self.expire_all();
        }
        count
    }

    /// Lets an entry hold for no longer than `age_max` after it was found, without extension.
    pub(super) fn limit(&mut self, name: &[u8], age_max: Duration) {
        if let Some(place) = self.index.get(name) {
            self.entries[*place].limit(age_max);
        }
    }

    /// Lets the entries whose names begin so hold for no longer than `age_max` after they were
    /// found, without extension. Expires all entries if these are more than `at_most`.
    pub(super) fn limit_prefix(&mut self, prefix: &[u8], age_max: Duration, at_most: usize) {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names = self.order.range::<[u8], _>(from);
        let mut names = names.take_while(|name| name.starts_with(prefix));
        for name in names.by_ref().take(at_most) {
            self.entries[self.index[name]].limit(age_max);
        }
        if names.next().is_some() {
            self.expire_all();
        }
    }

    /// Expires all entries, in a moment.
    pub(super) fn expire_all(&mut self) {
        self.epoch += 1;
    }

    /// Forgets a name.
    pub(super) fn remove(&mut self, name: &[u8]) {
        if let Some(place) = self.index.get(name) {
            self.remove_at(*place);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.index.clear();
        self.order.clear();
        self.entries.clear();
        (self.hand, self.weight) = (0, Weight::default());
    }

    /// Forgets the `count` entries that are the least worth keeping.
    pub(super) fn shed(&mut self, count: usize) {
        for _ in 0..count.min(self.entries.len()) {
            self.evict();
        }
    }

    /// Removes one entry; there must be one.
    fn evict(&mut self) {
        // Ends within two rounds: the first clears every mark.
        loop {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let place = self.hand;
            // The newest entry takes the place of the one that goes; it has a round to prove
            // itself.
            self.hand += 1;
            if !std::mem::replace(&mut self.entries[place].used, false) {
                self.counts.evictions += 1;
                return self.remove_at(place);
            }
        }
    }

    fn remove_at(&mut self, place: usize) {
        let removed = self.entries.swap_remove(place);
        self.index.remove(&removed.name);
        self.order.remove(&removed.name);
        self.weight.bytes -= removed.weight.bytes;
        self.weight.files -= removed.weight.files;
        if let Some(moved) = self.entries.get(place) {
            *self.index.get_mut(&moved.name).expect("every entry is in the index") = place;
        }
    }
}
