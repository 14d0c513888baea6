//! Statistics of caches.

use std::sync::atomic::{AtomicU64, Ordering};

/// The statistics of one cache, or the sum of several.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheStats {
    /// Names in the cache.
    pub entries: u64,
    /// Bytes of memory that the entries use.
    pub bytes: u64,
    /// Files that the entries keep open.
    pub files: u64,
    /// Directories that are watched for changes.
    pub watched: u64,
    /// Requests for a name that was in the cache and valid.
    pub hits: u64,
    /// Requests for a name that was not in the cache.
    pub misses: u64,
    /// Requests for a name that was in the cache, but had to be revalidated.
    pub revalidations: u64,
    /// Revalidations of entries that a change had expired. Each change counts once.
    pub expirations: u64,
    /// Entries that were removed to make room for others.
    pub evictions: u64,
}

impl CacheStats {
    /// The number of fields.
    pub const COUNT: usize = 9;

    /// All fields, in the order of their declaration.
    pub fn to_array(self) -> [u64; Self::COUNT] {
        let Self { entries, bytes, files, watched, .. } = self;
        let Self { hits, misses, revalidations, expirations, evictions, .. } = self;
        [entries, bytes, files, watched, hits, misses, revalidations, expirations, evictions]
    }

    /// The inverse of [`CacheStats::to_array`].
    pub fn from_array(figures: [u64; Self::COUNT]) -> Self {
        let [entries, bytes, files, watched, hits, misses, revalidations, ..] = figures;
        let [.., expirations, evictions] = figures;
        Self { entries, bytes, files, watched, hits, misses, revalidations, expirations, evictions }
    }
}

/// The statistics of one worker's cache, which other threads can read. The worker stores them at
/// the end of each turn. The alignment avoids false sharing.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct PublishedCacheStats {
    counters: [AtomicU64; CacheStats::COUNT],
}

impl PublishedCacheStats {
    /// The statistics that were stored last.
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
