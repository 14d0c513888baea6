//! The limits, the expiry and the statistics of the cache.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn bytes(bytes: usize) -> Weight {
    Weight { bytes, files: 0 }
}

fn cache(entries_max: usize, bytes_max: usize) -> Cache<u32> {
    Cache::new(entries_max, bytes_max, SECOND, MINUTE)
}

#[test]
fn one_caller_revalidates_an_expired_entry() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"a", 1, bytes(10), start);
    assert_eq!(cache.get(b"a", start), Cached::Valid(&1));
    assert_eq!(cache.get(b"a", start + SECOND), Cached::Expired(&1));
    assert_eq!(cache.get(b"a", start + SECOND), Cached::Valid(&1));
    assert_eq!(cache.get(b"b", start), Cached::Absent);
}

#[test]
fn an_entry_is_extended_only_once() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"a", 1, bytes(10), start);
    assert_eq!(cache.get(b"a", start + SECOND), Cached::Expired(&1));
    // The first caller did not report a result, so all callers revalidate now.
    assert_eq!(cache.get(b"a", start + 2 * SECOND), Cached::Expired(&1));
    assert_eq!(cache.get(b"a", start + 2 * SECOND), Cached::Expired(&1));
    cache.confirm(b"a", start + 2 * SECOND);
    assert_eq!(cache.get(b"a", start + 2 * SECOND), Cached::Valid(&1));
    assert_eq!(cache.get(b"a", start + 3 * SECOND), Cached::Expired(&1));
    assert_eq!(cache.get(b"a", start + 3 * SECOND), Cached::Valid(&1));
}

#[test]
fn an_entry_that_expired_long_ago_is_not_extended() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"a", 1, bytes(10), start);
    assert_eq!(cache.get(b"a", start + 10 * SECOND), Cached::Expired(&1));
    assert_eq!(cache.get(b"a", start + 10 * SECOND), Cached::Expired(&1));
}

#[test]
fn a_scan_does_not_evict_entries_in_use() {
    let start = Instant::now();
    let mut cache = cache(4, 1000);
    cache.insert(b"hot", 0, bytes(1), start);
    for scan in 0..100u32 {
        assert_eq!(cache.get(b"hot", start), Cached::Valid(&0));
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

/// Compares the cache with a map under random operations.
#[test]
fn the_cache_is_a_map_within_its_limits() {
    let start = Instant::now();
    let mut random = fastrand::Rng::with_seed(3);
    let mut cache = cache(16, 500);
    let mut model = HashMap::new();
    for round in 0..if cfg!(miri) { 300 } else { 20_000 } {
        let name = [random.u8(..40)];
        match random.u8(..10) {
            0 => {
                let known = cache.peek(&name).is_some();
                assert_eq!(cache.remove(&name), known);
            }
            1 => {
                let shed = if random.bool() { Shed::Spare(start) } else { Shed::Cold(start) };
                cache.shed_files(random.usize(..3), shed, |value| value % 2 == 0);
            }
            2 if random.u8(..100) == 0 => {
                let removed = cache.remove_prefix(b"", 5);
                assert!(removed == 5 || removed < 5 && cache.len() == 0);
            }
            2..5 => {
                let weight = Weight { bytes: random.usize(..120), files: random.usize(..4) };
                cache.insert(&name, round, weight, start);
                model.insert(name, round);
            }
            _ => match cache.get(&name, start) {
                Cached::Valid(value) => assert_eq!(Some(value), model.get(&name)),
                Cached::Expired(_) => unreachable!("the time does not change"),
                Cached::Absent => {}
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

#[test]
fn an_entry_that_a_change_expired_is_not_extended() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    for expire in [|cache: &mut Cache<u32>| cache.expire(b"a"), Cache::expire_all] {
        cache.insert(b"a", 1, bytes(10), start);
        expire(&mut cache);
        for _ in 0..3 {
            assert_eq!(cache.get(b"a", start), Cached::Expired(&1));
        }
        cache.confirm(b"a", start);
        assert_eq!(cache.get(b"a", start), Cached::Valid(&1));
        expire(&mut cache);
        cache.insert(b"a", 1, bytes(10), start);
        assert_eq!(cache.get(b"a", start), Cached::Valid(&1));
    }
}

#[test]
fn names_with_a_prefix_expire() {
    let start = Instant::now();
    let names: [&[u8]; 6] = [b"", b"a", b"a/", b"a/b", b"a/c", b"a0"];
    for (prefix, at_most, visited, expired) in [
        (&b"a/"[..], 9, 3, &names[2..5]),
        (b"a", 9, 5, &names[1..]),
        (b"", 9, 6, &names[..]),
        (b"b", 9, 0, &[]),
        // As many as the limit; one more than the limit, so all names expire.
        (b"a/", 3, 3, &names[2..5]),
        (b"a/", 2, 2, &names[..]),
    ] {
        let mut cache = cache(9, 100);
        names.iter().for_each(|name| cache.insert(name, 0, bytes(1), start));
        assert_eq!(cache.expire_prefix(prefix, at_most), visited);
        for name in names {
            let is_expired = matches!(cache.get(name, start), Cached::Expired(_));
            let names = (prefix.escape_ascii().to_string(), name.escape_ascii().to_string());
            assert_eq!(is_expired, expired.contains(&name), "{names:?}");
        }
    }
}

/// A limited entry is valid for a shorter time and is not extended, until it is renewed.
#[test]
fn names_with_a_prefix_are_limited() {
    let start = Instant::now();
    let names: [&[u8]; 5] = [b"a", b"a/", b"a/b", b"a/c", b"b"];
    for (at_most, limited, expired) in [(9, &names[1..4], false), (2, &names[..], true)] {
        let mut cache = cache(9, 100);
        names.iter().for_each(|name| cache.insert(name, 0, bytes(1), start));
        cache.limit_prefix(b"a/", SECOND / 4, at_most);
        for name in names {
            let text = name.escape_ascii();
            let at = |cache: &mut Cache<u32>, quarters: u32| {
                matches!(cache.get(name, start + quarters * SECOND / 4), Cached::Valid(_))
            };
            assert_eq!(at(&mut cache, 0), !expired, "{text} at once");
            // Twice, because the first call could extend the entry for the second.
            for _ in 0..2 {
                assert_eq!(at(&mut cache, 1), !limited.contains(&name), "{text} at the limit");
            }
            assert_eq!(at(&mut cache, 3), !limited.contains(&name), "{text} after the limit");
        }
        for refresh in [Cache::confirm, |cache: &mut Cache<u32>, name: &[u8], now| {
            cache.insert(name, 0, bytes(1), now);
        }] {
            refresh(&mut cache, b"a/b", start);
            cache.limit_prefix(b"a/b", 2 * SECOND, 1);
            let after = |cache: &mut Cache<u32>, time| {
                matches!(cache.get(b"a/b", start + time), Cached::Valid(_))
            };
            assert!(after(&mut cache, SECOND / 2));
            for _ in 0..2 {
                assert!(!after(&mut cache, SECOND), "a limit does not prolong the validity");
            }
            refresh(&mut cache, b"a/b", start);
            assert_eq!(cache.get(b"a/b", start + SECOND), Cached::Expired(&0));
            assert_eq!(cache.get(b"a/b", start + SECOND), Cached::Valid(&0), "extended");
        }
    }
}

/// Compares the cache with a naive map under random changes.
#[test]
fn the_cache_knows_which_entries_have_expired() {
    let start = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    let mut cache = cache(64, 1000);
    let mut model: HashMap<Vec<u8>, bool> = HashMap::new();
    let mut seen = [0; 3];
    for _ in 0..if cfg!(miri) { 300 } else { 20_000 } {
        let name: Vec<u8> = (0..random.usize(..4)).map(|_| random.u8(b'a'..=b'c')).collect();
        match random.u8(..20) {
            0..4 => {
                cache.insert(&name, 0, bytes(1), start);
                model.insert(name, true);
            }
            4 => {
                cache.confirm(&name, start);
                model.entry(name).and_modify(|valid| *valid = true);
            }
            5..8 => {
                cache.expire(&name);
                model.entry(name).and_modify(|valid| *valid = false);
            }
            8 => {
                let begins = |other: &Vec<u8>| other.starts_with(&name);
                let count = model.keys().filter(|other| begins(other)).count();
                let at_most = random.usize(..12);
                assert_eq!(cache.expire_prefix(&name, at_most), count.min(at_most));
                let expires = |other: &Vec<u8>| begins(other) || count > at_most;
                model.iter_mut().for_each(|(name, valid)| *valid &= !expires(name));
            }
            9 => {
                cache.remove(&name);
                model.remove(&name);
            }
            10 if random.u8(..20) == 0 => {
                cache.expire_all();
                model.values_mut().for_each(|valid| *valid = false);
            }
            _ => {
                let expected = match model.get(&name) {
                    None => Cached::Absent,
                    Some(true) => Cached::Valid(&0),
                    Some(false) => Cached::Expired(&0),
                };
                seen[model.get(&name).map_or(0, |valid| 1 + usize::from(*valid))] += 1;
                assert_eq!(cache.get(&name, start), expected);
            }
        }
        assert!(cache.len() == model.len() && cache.order.len() == model.len());
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn events_are_counted() {
    let start = Instant::now();
    let mut cache = cache(2, 100);
    cache.get(b"a", start);
    cache.insert(b"a", 0, bytes(10), start);
    cache.insert(b"b", 0, bytes(20), start);
    cache.get(b"a", start);
    cache.get(b"a", start);
    cache.expire(b"a");
    cache.expire(b"a");
    cache.expire(b"not in the cache");
    for _ in 0..2 {
        // The second call counts as a revalidation, but not as an expiration.
        cache.get(b"a", start);
    }
    cache.insert(b"c", 0, Weight { bytes: 30, files: 1 }, start);
    let expected = CacheStats {
        entries: 2,
        bytes: 40,
        files: 1,
        watched: 0,
        hits: 2,
        misses: 1,
        revalidations: 2,
        expirations: 1,
        evictions: 1,
    };
    assert_eq!(cache.stats(), expected);
    assert_eq!(CacheStats::from_array(expected.to_array()), expected);
    let distinct: [u64; CacheStats::COUNT] = std::array::from_fn(|number| number as u64);
    assert_eq!(CacheStats::from_array(distinct).to_array(), distinct);
}

#[test]
fn a_new_working_set_replaces_an_old_one() {
    const ENTRIES: u32 = 64;
    let now = Instant::now();
    let mut cache = Cache::new(ENTRIES as usize, usize::MAX, SECOND, MINUTE);
    for old in 0..ENTRIES {
        cache.insert(&old.to_be_bytes(), old, Weight { bytes: 1, files: 0 }, now);
    }
    let mut hits = 0;
    for round in 0..20 {
        // Half as many names as fit, repeatedly.
        for name in ENTRIES..ENTRIES + ENTRIES / 2 {
            match cache.get(&name.to_be_bytes(), now) {
                Cached::Valid(_) => hits += u32::from(round > 2),
                _ => cache.insert(&name.to_be_bytes(), name, Weight { bytes: 1, files: 0 }, now),
            }
        }
    }
    assert_eq!(hits, 17 * ENTRIES / 2, "from the fourth round on, all names are in the cache");
}

fn with_file() -> Weight {
    Weight { bytes: 1, files: 1 }
}

/// Runs the sweeps that are due within a time, as the worker does.
fn sweep_for(cache: &mut Cache<u32>, from: Instant, time: Duration) {
    while let Some(due) = cache.sweep_at().filter(|due| *due <= from + time) {
        cache.sweep(due.max(from));
    }
}

#[test]
fn an_entry_that_is_not_used_is_removed_after_the_idle_time() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"idle", 1, with_file(), start);
    cache.insert(b"used", 2, with_file(), start);
    sweep_for(&mut cache, start, MINUTE - SECOND);
    assert_eq!(cache.len(), 2);
    assert!(!matches!(cache.get(b"used", start + MINUTE - SECOND), Cached::Absent));
    sweep_for(&mut cache, start, MINUTE + MINUTE / 4);
    assert_eq!(cache.get(b"idle", start + MINUTE), Cached::Absent);
    assert!(cache.peek(b"used").is_some());
    sweep_for(&mut cache, start, 3 * MINUTE);
    assert_eq!((cache.len(), cache.sweep_at()), (0, None), "an empty cache wakes nobody");
    cache.insert(b"new", 1, bytes(1), start + HOUR);
    assert!(cache.sweep_at().is_some());
}

/// A sweep of a large cache takes several parts, none of which visits more entries than allowed.
#[test]
fn a_sweep_is_bounded_and_visits_every_entry() {
    const COUNT: u32 = 3 * SWEEP_MAX as u32 + 7;
    let start = Instant::now();
    let mut cache = cache(COUNT as usize, usize::MAX);
    for name in 0..COUNT {
        cache.insert(&name.to_be_bytes(), name, bytes(1), start);
    }
    let mut now = start + MINUTE;
    let mut parts = 0;
    while cache.len() > 0 {
        let before = cache.len();
        cache.sweep(now);
        assert!(before - cache.len() <= SWEEP_MAX);
        now = cache.sweep_at().unwrap_or(now);
        parts += 1;
    }
    assert_eq!(parts, 4);
    assert!(now < start + MINUTE + SECOND, "the parts follow each other closely");
}

/// A change may be that the file was deleted. An open file would keep its space on the disk.
#[test]
fn a_change_removes_entries_that_hold_files() {
    let start = Instant::now();
    for expire in [
        |cache: &mut Cache<u32>| cache.expire(b"a file"),
        |cache: &mut Cache<u32>| {
            cache.expire_prefix(b"a ", 10);
        },
        |cache: &mut Cache<u32>| {
            // More names than may be visited expire the whole cache. None is visited here, so it
            // is the sweep that removes the file.
            cache.expire_prefix(b"a ", 0);
            let due = cache.sweep_at().unwrap();
            cache.sweep(due);
        },
    ] {
        let mut cache = cache(4, 100);
        cache.insert(b"a file", 1, with_file(), start);
        cache.insert(b"a page", 2, bytes(1), start);
        expire(&mut cache);
        assert_eq!((cache.peek(b"a file"), cache.peek(b"a page")), (None, Some(&2)));
        assert_eq!(cache.weight().files, 0);
    }
}

/// Not only after the idle time: the sweep is due at once, and removes files that are in use.
#[test]
fn a_change_of_everything_closes_all_files_at_once() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"a page", 1, bytes(1), start);
    cache.insert(b"a file", 2, with_file(), start);
    cache.sweep(start);
    assert_eq!(cache.len(), 2);
    cache.expire_all();
    assert!(cache.sweep_at().is_some_and(|due| due <= start), "{:?}", cache.sweep_at());
    cache.sweep(start);
    assert_eq!((cache.peek(b"a file"), cache.peek(b"a page")), (None, Some(&1)));
    cache.insert(b"a file", 3, with_file(), start);
    cache.expire_all();
    cache.insert(b"later", 4, with_file(), start);
    cache.sweep(start);
    assert_eq!((cache.peek(b"a file"), cache.peek(b"later")), (None, Some(&4)));
}

#[test]
fn only_entries_whose_files_close_are_shed() {
    let start = Instant::now();
    let mut cache = cache(8, 100);
    cache.insert(b"page", 1, bytes(1), start);
    cache.insert(b"in use", 2, with_file(), start);
    for name in [&b"one"[..], b"two", b"three"] {
        cache.insert(name, 3, with_file(), start);
    }
    let in_use = |value: &u32| *value == 2;
    assert_eq!(cache.shed_files(1, Shed::Cold(start), in_use), 1);
    assert_eq!(cache.weight().files, 3);
    let _ = cache.get(b"two", start);
    assert_eq!(cache.shed_files(10, Shed::Cold(start + HOT_FOR / 2), in_use), 1);
    assert!(cache.peek(b"two").is_some(), "it is hot");
    assert_eq!(cache.shed_files(10, Shed::Cold(start + HOT_FOR), in_use), 1);
    assert_eq!((cache.peek(b"page"), cache.peek(b"in use"), cache.len()), (Some(&1), Some(&2), 2));
    assert_eq!(cache.shed_files(1, Shed::Spare(start), in_use), 0);
}

#[test]
fn a_result_that_expired_by_age_is_stale_for_a_while() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"a", 1, bytes(1), start);
    assert_eq!(cache.stale(b"a", start + MINUTE, MINUTE), Some(&1));
    assert_eq!(cache.stale(b"a", start + MINUTE + SECOND, MINUTE), None);
    assert_eq!(cache.stale(b"b", start, MINUTE), None);
    cache.expire(b"a");
    assert_eq!(cache.stale(b"a", start, MINUTE), None, "it has changed");
}

/// Slow clients push no hot file out. But hot files make room for each other.
#[test]
fn hot_entries_are_shed_only_if_they_are_most() {
    let start = Instant::now();
    for (in_use, expected) in [(1, 1), (2, 1), (3, 0), (4, 0)] {
        let mut cache = cache(8, 100);
        for name in 0..5u32 {
            cache.insert(&name.to_be_bytes(), name, with_file(), start);
            cache.get(&name.to_be_bytes(), start);
        }
        let is_in_use = |name: &u32| *name < in_use;
        assert_eq!(cache.shed_files(1, Shed::Cold(start), is_in_use), 0);
        assert_eq!(cache.shed_files(1, Shed::Spare(start), is_in_use), expected, "{in_use}");
    }
}

#[test]
fn a_replaced_value_keeps_its_age_and_the_limits() {
    let start = Instant::now();
    let mut cache = cache(4, 100);
    cache.insert(b"a", 1, bytes(10), start);
    cache.insert(b"b", 2, bytes(50), start);
    cache.get(b"a", start);
    cache.replace(b"a", 3, bytes(60));
    assert_eq!(cache.get(b"a", start), Cached::Valid(&3));
    assert_eq!((cache.len(), cache.weight()), (1, bytes(60)), "there was no room for both");
    assert_eq!(cache.get(b"a", start + SECOND), Cached::Expired(&3));
    cache.replace(b"a", 4, bytes(101));
    cache.replace(b"c", 5, bytes(1));
    assert_eq!((cache.len(), cache.weight()), (1, bytes(60)));
    cache.replace(b"a", 6, bytes(20));
    assert_eq!(cache.weight(), bytes(20));
}
