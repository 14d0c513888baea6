//! The cache, as those who ask for many names see it.

use std::time::{Duration, Instant};

use ringd::files::{Cache, Lookup, Weight};

/// Names that were asked for once, long ago, must not keep those out that are asked for now.
#[test]
fn a_new_working_set_replaces_an_old_one() {
    const ENTRIES: u32 = 64;
    let now = Instant::now();
    let mut cache = Cache::new(ENTRIES as usize, usize::MAX, Duration::from_secs(1));
    for old in 0..ENTRIES {
        cache.insert(&old.to_be_bytes(), old, Weight { bytes: 1, files: 0 }, now);
    }
    let mut hits = 0;
    for round in 0..20 {
        // Half of what there is room for, over and over.
        for name in ENTRIES..ENTRIES + ENTRIES / 2 {
            match cache.get(&name.to_be_bytes(), now) {
                Lookup::Valid(_) => hits += u32::from(round > 2),
                _ => cache.insert(&name.to_be_bytes(), name, Weight { bytes: 1, files: 0 }, now),
            }
        }
    }
    assert_eq!(hits, 17 * ENTRIES / 2, "from the third round on, everything is known");
}
