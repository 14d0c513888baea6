//! Settings of a server's sites together: the sites, and the cache and the limits that they share.

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(test, feature = "simulation"))]
use super::content::Content;
use super::own_answer::OwnAnswers;
use super::settings::SiteSettings;
use super::site_table::SiteTable;
use crate::driver::File;
use crate::events::Events;
use crate::http::compress::CompressBounds;
use crate::http::records::log::AccessLog;
use crate::http::records::metrics::HttpMetrics;
use crate::http::semantics::request::RequestLimits;
use crate::limits::ClientLimits;

/// Settings of a server's sites. A reload replaces `sites`; the other settings stay.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The sites.
    pub sites: Arc<SiteTable>,
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
    /// What compressed forms of files may take, over all workers. Sites say what is compressed.
    pub compress: CompressBounds,
    /// How many lookups each worker runs at a time. Each may have [`OPENS_MAX`] files open.
    ///
    /// [`OPENS_MAX`]: super::OPENS_MAX
    pub lookups_max: u32,
    /// The target at which the server says, on all hosts, whether it takes further requests: 200,
    /// or 503 from the beginning of a drain. `None` for none.
    pub health_path: Option<Arc<str>>,
    /// What the program answers itself, on all hosts, in front of the sites.
    pub answers: OwnAnswers,
    /// The log of requests. `None` for none.
    pub access_log: Option<Arc<AccessLog>>,
    /// Where requests are counted. `None` if they are not.
    pub metrics: Option<Arc<HttpMetrics>>,
    /// Where it is told why a file is not served.
    pub events: Events,
    /// What is limited for each client. All workers share it.
    pub client_limits: Arc<ClientLimits>,
    /// Whether connections without TLS may speak HTTP/2.
    pub h2c: bool,
    /// How long a stream of HTTP/2 may make no progress before it is reset.
    pub stall_timeout: Duration,
    /// Size limits of requests.
    pub limits: RequestLimits,
}

impl HttpSettings {
    /// The default settings for these sites.
    pub fn new(sites: impl Into<Arc<SiteTable>>) -> Self {
        Self {
            sites: sites.into(),
            memory_file_max: 8 * 1024,
            cache_entries: 2048,
            files_max: 8192,
            cache_idle: Duration::from_secs(60),
            cache_bytes: 32 * 1024 * 1024,
            revalidate_after: Duration::from_secs(1),
            watch: false,
            compress: CompressBounds::default(),
            lookups_max: 64,
            health_path: None,
            answers: OwnAnswers::default(),
            access_log: None,
            metrics: None,
            events: Events::default(),
            client_limits: Arc::default(),
            h2c: false,
            stall_timeout: Duration::from_secs(30),
            limits: RequestLimits::default(),
        }
    }

    /// The default settings for a root that is the only site.
    pub fn of_root(root: Arc<File>) -> Self {
        Self::new(SiteSettings::new(root))
    }

    /// The settings of the only site; the other settings stay as they are.
    #[must_use]
    pub fn with_site(self, site: SiteSettings) -> Self {
        Self { sites: site.into(), ..self }
    }

    /// The same settings with other content, for tests of a single site.
    #[doc(hidden)]
    #[cfg(any(test, feature = "simulation"))]
    #[must_use]
    pub fn with_content(self, content: Content) -> Self {
        let site = SiteSettings::clone(&self.sites.sites()[0]);
        self.with_site(SiteSettings { content, ..site })
    }
}
