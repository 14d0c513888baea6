//! What a site compresses, and the bounds of the process.

use crate::http::semantics::mime;
use crate::http::semantics::negotiate::Codings;

/// How hard to compress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CompressLevel {
    /// `br` 1, `zstd` 1, `gzip` 1.
    Fast,
    /// `br` 5, `zstd` 6, `gzip` 6.
    #[default]
    Default,
    /// `br` 9, `zstd` 15, `gzip` 9.
    Best,
}

/// Which files of a site are compressed on the fly, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressSettings {
    /// The codings; none to compress nothing.
    pub codings: Codings,
    /// Smaller files are left alone; in bytes.
    pub bytes_min: u64,
    /// Larger files are left alone; in bytes.
    pub bytes_max: u64,
    /// How hard to compress.
    pub level: CompressLevel,
}

impl Default for CompressSettings {
    /// Compresses nothing.
    fn default() -> Self {
        Self {
            codings: Codings::NONE,
            bytes_min: 1 << 10,
            bytes_max: 8 << 20,
            level: CompressLevel::default(),
        }
    }
}

impl CompressSettings {
    /// The codings in which a file of this type and length may be compressed.
    pub(in crate::http) fn codings_of(&self, content_type: &str, len: u64) -> Codings {
        if self.codings.is_empty() {
            return Codings::NONE;
        }
        let fits = (self.bytes_min..=self.bytes_max).contains(&len);
        if fits && mime::is_compressible(content_type) { self.codings } else { Codings::NONE }
    }
}

/// What the results may take, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressBounds {
    /// Bytes of all results together.
    pub bytes: u64,
    /// Results that are files in memory, each of which has a descriptor.
    pub files: usize,
    /// Results of at most this many bytes have no descriptor.
    pub memory_file_max: u64,
}

impl Default for CompressBounds {
    fn default() -> Self {
        Self { bytes: 64 << 20, files: 1024, memory_file_max: 8 << 10 }
    }
}
