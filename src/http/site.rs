//! What the HTTP sessions of a worker share: the root, what is known of its files, settings.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Preface;
use super::request::HeadLimits;
use super::resource::Resource;
use crate::driver::File;
use crate::files::Cache;

/// The name that stands for a directory.
pub(super) const INDEX: &[u8] = b"index.html";

/// Settings of HTTP, the same for all workers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory to serve.
    pub root: Arc<File>,
    /// Files up to this many bytes are kept in memory; longer ones are sent from the file.
    pub memory_file_max: u64,
    /// Names that are remembered, per worker; each may hold a file open.
    pub cache_entries: usize,
    /// Bytes of memory that remembered names may hold, per worker.
    pub cache_bytes: usize,
    /// How long what is remembered holds before the file system is asked again.
    pub revalidate_after: Duration,
    /// Bounds of request heads.
    pub head_limits: HeadLimits,
    /// Bytes of a request body that are read and thrown away; a longer one ends the connection.
    pub body_bytes_max: u64,
}

impl Settings {
    /// The defaults, for a root.
    pub fn new(root: Arc<File>) -> Self {
        Self {
            root,
            memory_file_max: 8 * 1024,
            cache_entries: 2048,
            cache_bytes: 32 * 1024 * 1024,
            revalidate_after: Duration::from_secs(1),
            head_limits: HeadLimits::default(),
            body_bytes_max: 64 * 1024,
        }
    }
}

/// The shared part of a worker's HTTP sessions.
#[derive(Debug)]
pub struct Site {
    pub(super) settings: Settings,
    pub(super) cache: Cache<Rc<Resource>>,
    pub(super) preface: Preface,
    /// Where names are put together, so that looking one up allocates nothing.
    pub(super) name: Vec<u8>,
}

impl Site {
    /// A site of which nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        let cache =
            Cache::new(settings.cache_entries, settings.cache_bytes, settings.revalidate_after);
        Self { settings, cache, preface: Preface::new(), name: Vec::new() }
    }
}
