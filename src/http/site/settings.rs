//! Settings of a site.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use super::content::Content;
use crate::driver::File;
use crate::http::semantics::request::RequestLimits;

/// Settings of a site; the same for all workers.
#[derive(Clone, Debug)]
pub struct SiteSettings {
    /// The directory to serve.
    pub root: Arc<File>,
    /// The path of that directory, if the path may lead to another directory later.
    pub root_path: Option<RootPath>,
    /// Which file a request gets, and with which fields.
    pub content: Content,
    /// Files of at most this many bytes are cached in memory; longer ones are sent from the file.
    pub memory_file_max: u64,
    /// Limit of the cache of each worker: its names, and also its open files.
    pub cache_entries: usize,
    /// Limit of the open files of each worker: those in the cache, and those that only a response
    /// in flight keeps open. A response that needs a further file is 503, unless the cache can
    /// close one. Files that lookups have open meanwhile are not included (`lookups_max`).
    pub files_max: usize,
    /// How long a cached name that no request uses stays in the cache, with its open file.
    pub cache_idle: Duration,
    /// Limit of the cache of each worker: its bytes of memory.
    pub cache_bytes: usize,
    /// How long a cached result is valid.
    pub revalidate_after: Duration,
    /// Whether to watch for changes, which invalidate cached results early.
    pub watch: bool,
    /// How many lookups each worker runs at a time. Each may have [`OPENS_MAX`] files open.
    ///
    /// [`OPENS_MAX`]: super::OPENS_MAX
    pub lookups_max: u32,
    /// Size limits of requests.
    pub limits: RequestLimits,
}

/// A path to the root, which may contain a symbolic link that deployments replace.
#[derive(Clone, Debug)]
pub struct RootPath {
    /// The directory where a relative path starts. It must follow all symbolic links.
    pub base: Arc<File>,
    /// The path.
    pub path: CString,
}

impl SiteSettings {
    /// The default settings for a root.
    pub fn new(root: Arc<File>) -> Self {
        Self {
            root,
            root_path: None,
            content: Content::default(),
            memory_file_max: 8 * 1024,
            cache_entries: 2048,
            files_max: 8192,
            cache_idle: Duration::from_secs(60),
            cache_bytes: 32 * 1024 * 1024,
            revalidate_after: Duration::from_secs(1),
            watch: false,
            lookups_max: 64,
            limits: RequestLimits::default(),
        }
    }
}
