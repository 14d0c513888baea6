//! A cache with limits on entries, bytes, open files and age.
//!
//! Eviction is CLOCK: entries form a circle, a use sets a mark, and the hand removes the first
//! entry without a mark, clearing marks on its way. New entries have no mark, so a scan over names
//! that are requested once does not evict those that are requested repeatedly.
//!
//! A change expires entries early: one name, all names with a prefix, or all names. An expired
//! entry stays in the cache, because it often turns out to be unchanged, but it is not used until
//! the file system has been asked. An entry that holds files is removed instead: the change may be
//! that a file was deleted, and an open file keeps its space on the disk.
//!
//! An entry that is not used for a while is removed too ([`Cache::sweep`]), because an open file
//! also keeps its file system mounted.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::cache_stats::CacheStats;

#[cfg(test)]
mod tests;

/// The epoch of expired entries. The epoch of a cache is always later.
const EXPIRED: u64 = 0;

/// How many entries a sweep visits at a time, so that it delays the loop by microseconds only.
const SWEEP_MAX: usize = 1024;

/// The pause between two parts of a sweep.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

/// How long an entry that was requested again stays hot.
const HOT_FOR: Duration = Duration::from_secs(10);

/// How many entries are visited to find some that hold files.
const SHED_VISITS_MAX: usize = 4096;

/// The cache; see the module documentation.
#[derive(Debug)]
pub(super) struct Cache<V> {
    index: HashMap<Rc<[u8]>, usize, foldhash::fast::RandomState>,
    /// The names in order, to find those with a prefix.
    order: BTreeSet<Rc<[u8]>>,
    /// The circle.
    entries: Vec<CacheEntry<V>>,
    hand: usize,
    weight: Weight,
    entries_max: usize,
    bytes_max: usize,
    valid_for: Duration,
    idle_max: Duration,
    /// When the next part of a sweep is due. `None` while the cache is empty.
    sweep_at: Option<Instant>,
    /// The entry at which that part begins.
    swept: usize,
    /// Entries of earlier epochs have expired, whatever their age.
    epoch: u64,
    /// Counters of events. Its numbers of entries, bytes and files are not used.
    counts: CacheStats,
}

/// Which entries [`Cache::shed_files`] evicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shed {
    /// Those that are not hot at this time: requested only once, or not within [`HOT_FOR`].
    Cold(Instant),
    /// Hot ones too, if they are most of those with files.
    Spare(Instant),
}

/// A hundred years: forever, without an overflow of an [`Instant`].
const VALID_FOR_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The resources that an entry holds.
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
    /// When the value was last known to be correct.
    found: Instant,
    valid_until: Instant,
    used_at: Instant,
    epoch: u64,
    /// The mark of CLOCK.
    used: bool,
    /// Whether it was requested again after it was found first.
    reused: bool,
    /// A caller of `get` was told to revalidate, and has not reported the result.
    asked: bool,
    /// Whether the first revalidation extends the validity, so that other callers can go on.
    extends: bool,
}

impl<V> CacheEntry<V> {
    /// Expires the entry. A revalidation that is under way does not count, because it may have read
    /// the state before the change.
    fn expire(&mut self) {
        (self.epoch, self.asked) = (EXPIRED, false);
    }

    fn is_hot(&self, now: Instant) -> bool {
        self.reused && now.saturating_duration_since(self.used_at) < HOT_FOR
    }

    /// Limits the validity to `age_max` after the value was found, without an extension.
    fn limit(&mut self, age_max: Duration) {
        (self.extends, self.valid_until) = (false, self.valid_until.min(self.found + age_max));
    }
}

/// The result of [`Cache::get`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cached<'a, V> {
    /// The value may be used.
    Valid(&'a V),
    /// The caller should revalidate the value. If the entry expired by age, its validity is
    /// extended by the same period, so that one caller revalidates and the others go on. It is
    /// extended only once, because that caller may disappear. So no value is used that was found
    /// more than two periods ago. If a change has expired the entry, all callers get this until one
    /// of them has revalidated it.
    Expired(&'a V),
    /// The name is not in the cache.
    Absent,
}

impl<V> Cache<V> {
    /// An empty cache of at most `entries_max` entries, `entries_max` files and `bytes_max` bytes.
    /// Entries are valid for `valid_for` after they were found. They are removed if they are not
    /// used for `idle_max`.
    pub(super) fn new(
        entries_max: usize,
        bytes_max: usize,
        valid_for: Duration,
        idle_max: Duration,
    ) -> Self {
        Self {
            index: HashMap::default(),
            order: BTreeSet::new(),
            entries: Vec::new(),
            hand: 0,
            weight: Weight::default(),
            entries_max,
            bytes_max,
            valid_for: valid_for.min(VALID_FOR_MAX),
            idle_max,
            sweep_at: None,
            swept: 0,
            epoch: EXPIRED + 1,
            counts: CacheStats::default(),
        }
    }

    /// The number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sum of the weights of all entries.
    #[cfg(test)]
    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    /// The present size, and the counters of events.
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
        (entry.used, entry.reused, entry.used_at) = (true, true, now);
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

    /// The value of a name, whether or not it is still valid.
    pub(super) fn peek(&self, name: &[u8]) -> Option<&V> {
        self.index.get(name).map(|place| &self.entries[*place].value)
    }

    /// The value of a name that expired only by age, and was found at most `age_max` ago.
    pub(super) fn stale(&self, name: &[u8], now: Instant, age_max: Duration) -> Option<&V> {
        let entry = self.index.get(name).map(|place| &self.entries[*place])?;
        let age = now.saturating_duration_since(entry.found);
        (entry.epoch == self.epoch && age <= age_max).then_some(&entry.value)
    }

    /// When the value of a name was last known to be correct.
    pub(super) fn found_at(&self, name: &[u8]) -> Option<Instant> {
        self.index.get(name).map(|place| self.entries[*place].found)
    }

    /// Inserts the value that was found for a name. A value heavier than the whole cache is
    /// dropped.
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
        self.entries.push(CacheEntry {
            name,
            value,
            weight,
            found,
            valid_until,
            used_at: now,
            epoch,
            used: false,
            reused: false,
            asked: false,
            extends: true,
        });
        if self.sweep_at.is_none() {
            self.sweep_at = now.checked_add(self.sweep_interval());
        }
        self.weight.bytes += weight.bytes;
        self.weight.files += weight.files;
        assert!(self.entries.len() <= self.entries_max, "the cache has too many entries");
        assert!(self.weight.files <= self.entries_max, "the cache has too many files");
        assert!(self.weight.bytes <= self.bytes_max, "the cache has too many bytes");
    }

    /// Replaces the value of a name by one that stands for the same state. Evicts other entries if
    /// it is heavier, or perhaps this one. A value heavier than the whole cache is dropped.
    pub(super) fn replace(&mut self, name: &[u8], value: V, weight: Weight) {
        while let Some(place) =
            self.index.get(name).copied().filter(|_| weight.bytes <= self.bytes_max)
        {
            let old = self.entries[place].weight;
            let bytes = self.weight.bytes - old.bytes + weight.bytes;
            if bytes > self.bytes_max {
                self.evict();
                continue;
            }
            self.weight = Weight { bytes, files: self.weight.files - old.files + weight.files };
            (self.entries[place].value, self.entries[place].weight) = (value, weight);
            return;
        }
    }

    /// Renews an entry whose value was found to be unchanged.
    pub(super) fn confirm(&mut self, name: &[u8], now: Instant) {
        if let Some(place) = self.index.get(name) {
            let entry = &mut self.entries[*place];
            (entry.asked, entry.extends, entry.epoch) = (false, true, self.epoch);
            (entry.found, entry.valid_until) = (now, now + self.valid_for);
        }
    }

    /// Expires an entry, because its files may have changed. Removes it if it holds files.
    pub(super) fn expire(&mut self, name: &[u8]) {
        let Some(place) = self.index.get(name).copied() else { return };
        if self.entries[place].weight.files > 0 {
            self.counts.expirations += 1;
            self.remove_at(place);
        } else {
            self.entries[place].expire();
        }
    }

    /// Expires the entries whose names begin with `prefix`, as [`Cache::expire`] does. If there are
    /// more than `at_most`, expires all entries of the cache instead. Returns how many entries were
    /// visited.
    pub(super) fn expire_prefix(&mut self, prefix: &[u8], at_most: usize) -> usize {
        let mut with_files = Vec::new();
        let count = self.visit_prefix(prefix, at_most, |entry| {
            if entry.weight.files > 0 {
                with_files.push(Rc::clone(&entry.name));
            } else {
                entry.expire();
            }
        });
        with_files.iter().for_each(|name| self.expire(name));
        count
    }

    /// Limits the validity of an entry to `age_max` after it was found, without an extension.
    pub(super) fn limit(&mut self, name: &[u8], age_max: Duration) {
        if let Some(place) = self.index.get(name) {
            self.entries[*place].limit(age_max);
        }
    }

    /// Limits the validity of the entries whose names begin with `prefix`, as [`Cache::limit`]
    /// does. If there are more than `at_most`, expires all entries of the cache instead.
    pub(super) fn limit_prefix(&mut self, prefix: &[u8], age_max: Duration, at_most: usize) {
        self.visit_prefix(prefix, at_most, |entry| entry.limit(age_max));
    }

    fn visit_prefix(
        &mut self,
        prefix: &[u8],
        at_most: usize,
        mut visit: impl FnMut(&mut CacheEntry<V>),
    ) -> usize {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names = self.order.range::<[u8], _>(from);
        let mut names = names.take_while(|name| name.starts_with(prefix));
        let mut count = 0;
        for name in names.by_ref().take(at_most) {
            visit(&mut self.entries[self.index[name]]);
            count += 1;
        }
        if names.next().is_some() {
            self.expire_all();
        }
        count
    }

    /// Expires all entries in constant time. A sweep removes those that hold files.
    pub(super) fn expire_all(&mut self) {
        self.epoch += 1;
        // A time in the past, so the sweep is due.
        (self.sweep_at, self.swept) = (self.entries.first().map(|entry| entry.used_at), 0);
    }

    /// Removes a name, and returns whether it was in the cache.
    pub(super) fn remove(&mut self, name: &[u8]) -> bool {
        let place = self.index.get(name).copied();
        place.inspect(|place| self.remove_at(*place)).is_some()
    }

    /// Removes the entries whose names begin with `prefix`, at most so many; returns their number.
    pub(super) fn remove_prefix(&mut self, prefix: &[u8], at_most: usize) -> usize {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let names = self.order.range::<[u8], _>(from);
        let names = names.take_while(|name| name.starts_with(prefix)).take(at_most);
        let names: Vec<Rc<[u8]>> = names.cloned().collect();
        names.iter().for_each(|name| _ = self.remove(name));
        names.len()
    }

    /// Records that an entry replaces an older one of the same name.
    pub(super) fn note_reuse(&mut self, name: &[u8]) {
        if let Some(place) = self.index.get(name) {
            (self.entries[*place].used, self.entries[*place].reused) = (true, true);
        }
    }

    /// Evicts entries until `files` files are closed, and returns how many were closed. Passes over
    /// entries without files and over those `in_use`, whose files something else keeps open:
    /// evicting them would close nothing. If most entries are in use, hot ones stay even with
    /// [`Shed::Spare`]: then it is slow clients that use up the files.
    pub(super) fn shed_files(
        &mut self,
        files: usize,
        shed: Shed,
        in_use: impl Fn(&V) -> bool,
    ) -> usize {
        let (Shed::Cold(now) | Shed::Spare(now)) = shed;
        let visits = SHED_VISITS_MAX.min(self.entries.len());
        let (mut closed, mut hot, mut busy) = (0, 0, 0);
        let mut evict = |cache: &mut Self, takes_hot: bool| {
            for _ in 0..visits {
                if closed >= files || cache.entries.is_empty() {
                    break;
                }
                if cache.hand >= cache.entries.len() {
                    cache.hand = 0;
                }
                let entry = &cache.entries[cache.hand];
                let held = entry.weight.files;
                let (is_busy, is_hot) = (in_use(&entry.value), entry.is_hot(now) && !takes_hot);
                if held == 0 || is_busy || is_hot {
                    busy += usize::from(held > 0 && is_busy);
                    hot += usize::from(held > 0 && !is_busy);
                    cache.hand += 1;
                    continue;
                }
                closed += held;
                cache.counts.evictions += 1;
                cache.remove_at(cache.hand);
            }
            (closed, hot, busy)
        };
        let (closed, hot, busy) = evict(self, false);
        if closed < files && matches!(shed, Shed::Spare(_)) && hot > busy {
            return evict(self, true).0;
        }
        closed
    }

    /// When [`Cache::sweep`] has something to do; `None` while the cache is empty.
    #[inline]
    pub(super) fn sweep_at(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Removes the next entries that were not used for a while, and those that hold files and have
    /// expired by a change, if it is time.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|due| now < due) {
            return;
        }
        for _ in 0..SWEEP_MAX {
            let Some(entry) = self.entries.get(self.swept) else { break };
            let idle = now.saturating_duration_since(entry.used_at) >= self.idle_max;
            let outdated = entry.weight.files > 0 && entry.epoch != self.epoch;
            if idle || outdated {
                self.remove_at(self.swept);
            } else {
                self.swept += 1;
            }
        }
        let ended = self.swept >= self.entries.len();
        let pause = if ended { self.sweep_interval() } else { SWEEP_PAUSE };
        if ended {
            self.swept = 0;
        }
        self.sweep_at = now.checked_add(pause).filter(|_| !self.entries.is_empty());
    }

    /// The time between two sweeps. An entry is removed at most this long after it is due.
    fn sweep_interval(&self) -> Duration {
        (self.idle_max / 4).max(SWEEP_PAUSE)
    }

    /// Evicts one entry.
    fn evict(&mut self) {
        assert!(!self.entries.is_empty(), "an empty cache is within its limits");
        // Ends within two rounds, because the first one clears all marks.
        loop {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let place = self.hand;
            // `remove_at` moves the newest entry to this place. The hand goes on, so that the entry
            // has a whole round to be used.
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
        debug_assert_eq!(self.index.len(), self.entries.len());
        debug_assert_eq!(self.order.len(), self.entries.len());
    }
}
