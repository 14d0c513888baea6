//! What a site serves, and within which bounds.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use super::content::Content;
use crate::driver::File;
use crate::http::semantics::request::RequestLimits;

/// Settings of a site, the same for all workers.
#[derive(Clone, Debug)]
pub struct SiteSettings {
    /// The directory to serve.
    pub root: Arc<File>,
    /// Where that directory is, if another one may take its place while it is served.
    pub root_path: Option<RootPath>,
    /// What is made of the files in it.
    pub content: Content,
    /// Files up to this many bytes are kept in memory; longer ones are sent from the file.
    pub memory_file_max: u64,
    /// Names that are remembered, per worker, and files that they hold open.
    pub cache_entries: usize,
    /// Bytes of memory that remembered names may hold, per worker.
    pub cache_bytes: usize,
    /// How long what is remembered holds before the file system is asked again.
    pub revalidate_after: Duration,
    /// Whether changes are watched for, so that what has changed is asked about before its time.
    pub watch: bool,
    /// Names that are looked up at the same time, per worker; each may have [`OPENS_MAX`] files
    /// open meanwhile. Others wait.
    ///
    /// [`OPENS_MAX`]: super::OPENS_MAX
    pub lookups_max: u32,
    /// Bounds of requests.
    pub limits: RequestLimits,
}

/// A path that leads to the root, perhaps over a link that a deployment turns.
#[derive(Clone, Debug)]
pub struct RootPath {
    /// Where the path begins if it is relative; its links are followed wherever they lead.
    pub base: Arc<File>,
    /// The path.
    pub path: CString,
}

impl SiteSettings {
    /// The defaults, for a root.
    pub fn new(root: Arc<File>) -> Self {
        Self {
            root,
            root_path: None,
            content: Content::default(),
            memory_file_max: 8 * 1024,
            cache_entries: 2048,
            cache_bytes: 32 * 1024 * 1024,
            revalidate_after: Duration::from_secs(1),
            watch: false,
            lookups_max: 64,
            limits: RequestLimits::default(),
        }
    }
}
