//! What a cache holds and has done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one cache holds and has done, or the sum of several.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheStats {
    /// Names that are remembered at the moment.
    pub entries: u64,
    /// Bytes of memory that they hold.
    pub bytes: u64,
    /// Files that they hold open.
    pub files: u64,
    /// Directories that the kernel was asked to tell of changes in.
    pub watched: u64,
    /// How often a name was known, and valid.
    pub hits: u64,
    /// How often a name was not known.
    pub misses: u64,
    /// How often a name was known, but the file system was asked whether it still holds.
    pub revalidations: u64,
    /// Entries that were asked about before their time, because something has changed.
    pub expirations: u64,
    /// Entries that made room for others.
    pub evictions: u64,
}

impl CacheStats {
    /// How many figures there are.
    pub const COUNT: usize = 9;

    /// The figures, in the order in which they are declared.
    pub fn to_array(self) -> [u64; Self::COUNT] {
        let Self { entries, bytes, files, watched, .. } = self;
        let Self { hits, misses, revalidations, expirations, evictions, .. } = self;
        [entries, bytes, files, watched, hits, misses, revalidations, expirations, evictions]
    }

    /// From [`CacheStats::to_array`].
    pub fn from_array(figures: [u64; Self::COUNT]) -> Self {
        let [entries, bytes, files, watched, hits, misses, revalidations, ..] = figures;
        let [.., expirations, evictions] = figures;
        Self { entries, bytes, files, watched, hits, misses, revalidations, expirations, evictions }
    }
}

/// What one worker's cache tells the rest of the process at the end of each turn. It is alone in
/// its lines of the CPUs' caches.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PublishedCacheStats {
    counters: [AtomicU64; CacheStats::COUNT],
}

impl PublishedCacheStats {
    /// What was told last.
    pub fn get(&self) -> CacheStats {
        CacheStats::from_array(self.counters.each_ref().map(|it| it.load(Ordering::Relaxed)))
    }

    pub(super) fn publish(&self, stats: CacheStats) {
        for (counter, value) in self.counters.iter().zip(stats.to_array()) {
            counter.store(value, Ordering::Relaxed);
        }
    }
}

impl std::iter::Sum for CacheStats {
    fn sum<I: Iterator<Item = Self>>(caches: I) -> Self {
        let arrays = caches.map(Self::to_array);
        Self::from_array(arrays.fold([0; Self::COUNT], |sum, cache| {
            std::array::from_fn(|number| sum[number] + cache[number])
        }))
    }
}
