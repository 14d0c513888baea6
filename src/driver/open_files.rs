//! Counts the open files of a worker, whoever keeps them open.
//!
//! A file that the cache has evicted stays open while an op in flight uses it. So the entries of a
//! cache do not tell how many descriptors its files use; this counter does. A file leaves the count
//! when it is closed, on whatever thread that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter of open files; clones share it.
#[derive(Clone, Default, Debug)]
pub struct OpenFiles(Arc<AtomicUsize>);

impl OpenFiles {
    /// The number of files that are counted and still open.
    pub fn count(&self) -> usize {
        // The counter guards no other data, so no order is needed.
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) -> CountedFile {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedFile(self.clone())
    }
}

/// The entry of one file in a counter, which ends when it is dropped.
#[derive(Debug)]
pub(super) struct CountedFile(OpenFiles);

impl Drop for CountedFile {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
