//! What a cache holds and has done, counted.

/// The figures of one cache, or the sum of several.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Figures {
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

impl Figures {
    /// How many figures there are.
    pub const COUNT: usize = 9;

    /// The figures, in the order in which they are declared.
    pub fn to_array(self) -> [u64; Self::COUNT] {
        let Self { entries, bytes, files, watched, .. } = self;
        let Self { hits, misses, revalidations, expirations, evictions, .. } = self;
        [entries, bytes, files, watched, hits, misses, revalidations, expirations, evictions]
    }

    /// From [`Figures::to_array`].
    pub fn from_array(figures: [u64; Self::COUNT]) -> Self {
        let [entries, bytes, files, watched, hits, misses, revalidations, ..] = figures;
        let [.., expirations, evictions] = figures;
        Self { entries, bytes, files, watched, hits, misses, revalidations, expirations, evictions }
    }
}
