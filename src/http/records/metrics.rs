//! Counters of requests and responses.
//!
//! Each worker counts into memory of its own, which other threads read at any time. A counter has
//! one writer, so counting is a load and a store, without a locked instruction. Counters that are
//! read at the same moment may be a few requests apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::record::Record;
use crate::http::semantics::status::Status;
use crate::metrics::{Counter, Histogram};

/// The most sites that are counted separately. Others are counted together.
pub const SITES_MAX: usize = 200;

/// The number of responses that no site has made, and of sites that are not counted separately.
pub(super) const NO_SITE: u16 = 0;

/// The upper bounds of the time from the end of a head until its response was handed to the kernel,
/// in microseconds: powers of four from 16 µs to 67 s.
pub const DURATION_BOUNDS: [u64; 12] = powers_of_four(16);

/// The upper bounds of the length of responses, in bytes: powers of four from 256 B to 64 MiB.
pub const SIZE_BOUNDS: [u64; 10] = powers_of_four(256);

const fn powers_of_four<const COUNT: usize>(first: u64) -> [u64; COUNT] {
    let mut bounds = [first; COUNT];
    let mut at = 1;
    while at < COUNT {
        bounds[at] = 4 * bounds[at - 1];
        at += 1;
    }
    bounds
}

/// The metrics of a server: those of its workers, and the names of sites.
#[derive(Debug)]
pub struct HttpMetrics {
    workers: Vec<Arc<WorkerMetrics>>,
    names: Arc<SiteNames>,
}

/// The numbers of sites by their names. A site keeps its number as long as the process runs.
#[derive(Default, Debug)]
struct SiteNames(Mutex<HashMap<String, u16>>);

/// What a worker counts.
#[derive(Debug)]
pub struct WorkerMetrics {
    names: Arc<SiteNames>,
    /// Requests whose head was complete, or was refused.
    pub requests_begun: Counter,
    /// Requests whose client has left before there was a response.
    pub abandoned: Counter,
    /// The length of responses as they were sent, with their heads.
    pub sizes: Histogram<{ SIZE_BOUNDS.len() }>,
    /// Responses of which only a part was sent.
    pub aborted: Counter,
    /// Connections that were closed, because their PROXY header could not be understood or was not
    /// complete in time.
    pub proxy_failed: Counter,
    /// Connections that were closed, because the client in their PROXY header may not come in.
    pub proxied_denied: Counter,
    /// What is counted of HTTP/2.
    pub http2: Http2Metrics,
    /// Requests that limits have refused, and passwords.
    pub limits: LimitMetrics,
    sites: Box<[SiteMetrics]>,
}

/// What is counted of HTTP/2, besides its requests.
#[derive(Default, Debug)]
pub struct Http2Metrics {
    /// Connections that have begun.
    pub connections: Counter,
    /// Streams that clients have reset.
    pub resets_received: Counter,
    /// Streams that the server has reset, because of a fault of the client.
    pub resets_sent: Counter,
    /// Streams that were refused, because the client had too many of them.
    pub refused: Counter,
    /// Streams that the server has reset, because the client did not let their answers go on.
    pub stalled: Counter,
    /// Connections that were ended, because the client had caused too much work for nothing.
    pub calm: Counter,
    /// Connections that the server has ended before their clients, for whatever reason.
    pub goaways: Counter,
}

/// What is counted of limits and passwords.
#[derive(Default, Debug)]
pub struct LimitMetrics {
    /// Requests that were refused because their client had sent too many.
    pub rate: Counter,
    /// Requests that were refused because their client had sent too many wrong passwords.
    pub password_refused: Counter,
    /// Requests that were refused because too many passwords were being checked.
    pub password_busy: Counter,
    /// Passwords that were hashed and compared, and were right.
    pub passwords_right: Counter,
    /// The same for those that were wrong.
    pub passwords_wrong: Counter,
}

/// What is counted for each site.
#[derive(Debug)]
pub struct SiteMetrics {
    /// Responses, by [`Status::ALL`].
    pub by_status: [Counter; Status::ALL.len()],
    /// From the end of a head until its response was handed to the kernel.
    pub durations: Histogram<{ DURATION_BOUNDS.len() }>,
    /// Bytes of responses that were sent, with their heads.
    pub bytes: Counter,
}

impl HttpMetrics {
    /// Metrics of so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let names = Arc::<SiteNames>::default();
        let worker = || Arc::new(WorkerMetrics::new(Arc::clone(&names)));
        Self { workers: (0..workers).map(|_| worker()).collect(), names }
    }

    /// The metrics of each worker.
    #[must_use]
    pub fn workers(&self) -> &[Arc<WorkerMetrics>] {
        &self.workers
    }

    /// The sites that are counted separately, by their numbers in [`WorkerMetrics::sites`].
    #[must_use]
    pub fn sites(&self) -> Vec<(u16, String)> {
        let names = self.names.lock();
        let mut sites: Vec<_> =
            names.iter().map(|(name, number)| (*number, name.clone())).collect();
        sites.sort_unstable();
        sites
    }
}

impl SiteNames {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkerMetrics {
    fn new(names: Arc<SiteNames>) -> Self {
        let site = |_| SiteMetrics {
            by_status: Default::default(),
            durations: Histogram::default(),
            bytes: Counter::default(),
        };
        Self {
            names,
            requests_begun: Counter::default(),
            abandoned: Counter::default(),
            sizes: Histogram::default(),
            aborted: Counter::default(),
            proxy_failed: Counter::default(),
            proxied_denied: Counter::default(),
            http2: Http2Metrics::default(),
            limits: LimitMetrics::default(),
            sites: (0..=SITES_MAX).map(site).collect(),
        }
    }

    /// What is counted for each site: first for no site in particular, then by number.
    pub fn sites(&self) -> &[SiteMetrics] {
        &self.sites
    }

    /// The number of a site.
    pub(super) fn site_number(&self, name: &str) -> u16 {
        let mut names = self.names.lock();
        if let Some(number) = names.get(name) {
            return *number;
        }
        if names.len() >= SITES_MAX {
            return NO_SITE;
        }
        let number = names.len() as u16 + 1;
        names.insert(name.to_owned(), number);
        number
    }

    /// Counts a response when it has left, or a part of it: of its chain, this many bytes.
    pub(super) fn count(&self, record: &Record, now: Instant, of_chain: u64) {
        let (head, body) = record.sent(of_chain);
        let site = &self.sites[usize::from(record.site)];
        site.by_status[record.status.index()].add(1);
        let duration = now.saturating_duration_since(record.began);
        site.durations.add(&DURATION_BOUNDS, microseconds(duration));
        site.bytes.add(head + body);
        self.sizes.add(&SIZE_BOUNDS, head + body);
        if !record.is_whole(of_chain) {
            self.aborted.add(1);
        }
    }
}

/// A duration of at most 584,000 years.
fn microseconds(duration: Duration) -> u64 {
    duration.as_secs() * 1_000_000 + u64::from(duration.subsec_micros())
}
