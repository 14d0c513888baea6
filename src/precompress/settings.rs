//! The settings of a run.

use std::path::PathBuf;

use super::filter::FileFilter;
use crate::http::semantics::negotiate::{Coding, Codings};

/// How hard to compress. `br` and `zstd` have the same size at both levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompressionLevel {
    /// `gzip` takes about as long as `br`, and is smaller than that of `gzip -9`.
    #[default]
    Default,
    /// `gzip` takes several times as long, to be smaller by less than 1 %.
    Best,
}

/// What a run does with what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecompressMode {
    /// Writes what is missing or not current.
    #[default]
    Write,
    /// Decodes what there is and compares it with the plain files. Writes nothing.
    Check,
    /// Lists what would be written or removed. Writes nothing, and compresses nothing.
    DryRun,
}

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct PrecompressSettings {
    /// The directory; a link to one is followed.
    pub root: PathBuf,
    /// The codings.
    pub codings: Codings,
    /// Smaller files are left alone; in bytes, at least 1.
    pub bytes_min: u64,
    /// Larger files are left alone; in bytes.
    pub bytes_max: u64,
    /// How much smaller than the plain file a compressed file is at least; in percent of the plain
    /// file, less than 100. One that is not smaller at all is never written.
    pub saving_min: u8,
    /// Which files are compressed.
    pub filter: FileFilter,
    /// How hard to compress.
    pub level: CompressionLevel,
    /// Threads; at least 1.
    pub jobs: usize,
    /// Whether to compress files again whose compressed files are current.
    pub force: bool,
    /// Whether to remove compressed files whose plain file does not exist, or that save nothing.
    pub prune: bool,
    /// What to do.
    pub mode: PrecompressMode,
}

impl PrecompressSettings {
    /// The default settings for a directory.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            codings: Coding::ALL.into_iter().collect(),
            bytes_min: 1 << 10,
            bytes_max: 256 << 20,
            saving_min: 5,
            filter: FileFilter::default(),
            level: CompressionLevel::default(),
            jobs: 1,
            force: false,
            prune: false,
            mode: PrecompressMode::default(),
        }
    }

    /// The largest size of a compressed file that is worth it.
    pub(super) fn coded_bytes_max(&self, plain_bytes: u64) -> u64 {
        let saving = u128::from(plain_bytes) * u128::from(self.saving_min.min(100));
        // At most the length of the plain file, which is a u64.
        let saving = saving.div_ceil(100) as u64;
        plain_bytes.saturating_sub(saving.max(1))
    }
}
