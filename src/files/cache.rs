//! A bounded map from names to what is known of them, with an age limit.
//!
//! Eviction is CLOCK: entries stand in a circle, a use sets a mark, and the hand removes the first
//! entry that it finds unmarked, clearing marks on its way. New entries start unmarked, so a scan
//! over names that are asked for once cannot push out those that are asked for again.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The map; see the module documentation.
#[derive(Debug)]
pub struct Cache<V> {
    index: HashMap<Rc<[u8]>, usize, foldhash::fast::RandomState>,
    /// The circle.
    entries: Vec<Entry<V>>,
    hand: usize,
    weight: Weight,
    entries_max: usize,
    bytes_max: usize,
    valid_for: Duration,
}

/// What an entry holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Weight {
    /// Memory, in bytes.
    pub bytes: usize,
    /// Open files. An entry that holds several counts as that many entries.
    pub files: usize,
}

#[derive(Debug)]
struct Entry<V> {
    name: Rc<[u8]>,
    value: V,
    weight: Weight,
    /// When it was last found to hold.
    found: Instant,
    valid_until: Instant,
    used: bool,
    /// Somebody was told to ask the file system, and has not brought an answer.
    asked: bool,
}

/// What [`Cache::get`] knows of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<'a, V> {
    /// This, and it may be used.
    Valid(&'a V),
    /// This, but the file system should be asked whether it still holds. If it expired just now,
    /// it counts as valid once more for as long, so that one asks and the others go on; only
    /// once, because the one may vanish before it brings the answer. So nothing is used that was
    /// found to hold longer ago than twice that time.
    Expired(&'a V),
    /// Nothing.
    Absent,
}

impl<V> Cache<V> {
    /// An empty cache of at most `entries_max` entries, and as many files, that hold at most
    /// `bytes_max` bytes.
    /// Entries are valid for `valid_for` after they were found to hold.
    pub fn new(entries_max: usize, bytes_max: usize, valid_for: Duration) -> Self {
        Self {
            index: HashMap::default(),
            entries: Vec::new(),
            hand: 0,
            weight: Weight::default(),
            entries_max,
            bytes_max,
            valid_for,
        }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the entries were said to hold.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// Looks a name up.
    pub fn get(&mut self, name: &[u8], now: Instant) -> Lookup<'_, V> {
        let Some(place) = self.index.get(name) else { return Lookup::Absent };
        let entry = &mut self.entries[*place];
        entry.used = true;
        if now < entry.valid_until {
            return Lookup::Valid(&entry.value);
        }
        let extended = entry.valid_until + self.valid_for;
        if !std::mem::replace(&mut entry.asked, true) && now < extended {
            entry.valid_until = extended;
        }
        Lookup::Expired(&entry.value)
    }

    /// What is known of a name, whether or not it is still valid.
    pub fn peek(&self, name: &[u8]) -> Option<&V> {
        self.index.get(name).map(|place| &self.entries[*place].value)
    }

    /// When what is known of a name was last found to hold.
    pub fn found_at(&self, name: &[u8]) -> Option<Instant> {
        self.index.get(name).map(|place| self.entries[*place].found)
    }

    /// Notes what was found out about a name, and what the value holds; one that would fill the
    /// cache alone is not kept.
    pub fn insert(&mut self, name: &[u8], value: V, weight: Weight, now: Instant) {
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
        let (found, valid_until) = (now, now + self.valid_for);
        let (used, asked) = (false, false);
        self.entries.push(Entry { name, value, weight, found, valid_until, used, asked });
        self.weight.bytes += weight.bytes;
        self.weight.files += weight.files;
    }

    /// Notes that an entry was found to hold still.
    pub fn confirm(&mut self, name: &[u8], now: Instant) {
        if let Some(place) = self.index.get(name) {
            let entry = &mut self.entries[*place];
            (entry.asked, entry.found, entry.valid_until) = (false, now, now + self.valid_for);
        }
    }

    /// Forgets a name.
    pub fn remove(&mut self, name: &[u8]) {
        if let Some(place) = self.index.get(name) {
            self.remove_at(*place);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.index.clear();
        self.entries.clear();
        (self.hand, self.weight) = (0, Weight::default());
    }

    /// Forgets the `count` entries that are the least worth keeping.
    pub fn shed(&mut self, count: usize) {
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
                return self.remove_at(place);
            }
        }
    }

    fn remove_at(&mut self, place: usize) {
        let removed = self.entries.swap_remove(place);
        self.index.remove(&removed.name);
        self.weight.bytes -= removed.weight.bytes;
        self.weight.files -= removed.weight.files;
        if let Some(moved) = self.entries.get(place) {
            *self.index.get_mut(&moved.name).expect("every entry is in the index") = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bytes(bytes: usize) -> Weight {
        Weight { bytes, files: 0 }
    }

    fn cache(entries_max: usize, bytes_max: usize) -> Cache<u32> {
        Cache::new(entries_max, bytes_max, SECOND)
    }

    #[test]
    fn an_expired_entry_is_asked_about_once() {
        let start = Instant::now();
        let mut cache = cache(4, 100);
        cache.insert(b"a", 1, bytes(10), start);
        assert_eq!(cache.get(b"a", start), Lookup::Valid(&1));
        assert_eq!(cache.get(b"a", start + SECOND), Lookup::Expired(&1));
        assert_eq!(cache.get(b"a", start + SECOND), Lookup::Valid(&1));
        assert_eq!(cache.get(b"b", start), Lookup::Absent);
    }

    #[test]
    fn an_entry_whose_askers_vanish_is_asked_about_again() {
        let start = Instant::now();
        let mut cache = cache(4, 100);
        cache.insert(b"a", 1, bytes(10), start);
        assert_eq!(cache.get(b"a", start + SECOND), Lookup::Expired(&1));
        // Nobody has brought an answer: from now on everybody asks.
        assert_eq!(cache.get(b"a", start + 2 * SECOND), Lookup::Expired(&1));
        assert_eq!(cache.get(b"a", start + 2 * SECOND), Lookup::Expired(&1));
        cache.confirm(b"a", start + 2 * SECOND);
        assert_eq!(cache.get(b"a", start + 2 * SECOND), Lookup::Valid(&1));
        assert_eq!(cache.get(b"a", start + 3 * SECOND), Lookup::Expired(&1));
        assert_eq!(cache.get(b"a", start + 3 * SECOND), Lookup::Valid(&1));
    }

    #[test]
    fn nobody_goes_on_with_what_expired_long_ago() {
        let start = Instant::now();
        let mut cache = cache(4, 100);
        cache.insert(b"a", 1, bytes(10), start);
        assert_eq!(cache.get(b"a", start + 10 * SECOND), Lookup::Expired(&1));
        assert_eq!(cache.get(b"a", start + 10 * SECOND), Lookup::Expired(&1));
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used() {
        let start = Instant::now();
        let mut cache = cache(4, 1000);
        cache.insert(b"hot", 0, bytes(1), start);
        for scan in 0..100u32 {
            assert_eq!(cache.get(b"hot", start), Lookup::Valid(&0));
            cache.insert(&scan.to_le_bytes(), scan, bytes(1), start);
        }
    }

    #[test]
    fn a_value_larger_than_the_cache_is_not_kept() {
        let mut cache = cache(4, 100);
        cache.insert(b"small", 1, bytes(100), Instant::now());
        cache.insert(b"large", 2, bytes(101), Instant::now());
        assert_eq!((cache.len(), cache.weight()), (1, bytes(100)));
    }

    /// Random operations: the bounds hold, and what is there is what was put there last.
    #[test]
    fn it_is_a_bounded_map() {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(3);
        let mut cache = cache(16, 500);
        let mut model = HashMap::new();
        for round in 0..if cfg!(miri) { 300 } else { 20_000 } {
            let name = [random.u8(..40)];
            match random.u8(..10) {
                0 => cache.remove(&name),
                1 => cache.shed(random.usize(..3)),
                2 if random.u8(..100) == 0 => cache.clear(),
                2..5 => {
                    let weight = Weight { bytes: random.usize(..120), files: random.usize(..4) };
                    cache.insert(&name, round, weight, start);
                    model.insert(name, round);
                }
                _ => match cache.get(&name, start) {
                    Lookup::Valid(value) => assert_eq!(Some(value), model.get(&name)),
                    Lookup::Expired(_) => unreachable!("time stands still"),
                    Lookup::Absent => {}
                },
            }
            let Weight { bytes, files } = cache.weight();
            assert!(cache.len() <= 16 && files <= 16 && bytes <= 500);
            assert_eq!(cache.index.len(), cache.len());
            let weights = || cache.entries.iter().map(|entry| entry.weight);
            assert_eq!(weights().map(|weight| weight.bytes).sum::<usize>(), bytes);
            assert_eq!(weights().map(|weight| weight.files).sum::<usize>(), files);
        }
    }
}
