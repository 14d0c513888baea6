//! What the administration reads. Everything can be read at any time, from any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use super::tls::TlsSource;
use crate::driver::DriverSelection;
use crate::events::Events;
use crate::http::Status;
use crate::http::compress::Compressor;
use crate::http::records::log::AccessLog;
use crate::http::records::metrics::{
    DURATION_BOUNDS, Http2Metrics, HttpMetrics, LimitMetrics, SIZE_BOUNDS, WorkerMetrics,
};
use crate::limits::{ClientConnections, ClientLimits};
use crate::metrics::{Counter, HistogramCounts};
use crate::serve::CacheMonitor;
use crate::server::Monitor;

/// The parts of a server that are observed.
#[derive(Debug)]
pub(crate) struct Source {
    /// The driver, and why it was chosen.
    pub(crate) selection: DriverSelection,
    /// The workers.
    pub(crate) monitor: Monitor,
    /// The caches of the workers.
    pub(crate) caches: CacheMonitor,
    /// What compresses on the fly.
    pub(crate) compressor: Arc<Compressor>,
    /// TLS; `None` if no listener has it.
    pub(crate) tls: Option<TlsSource>,
    /// Counters of requests.
    pub(crate) metrics: Arc<HttpMetrics>,
    /// The access log, if there is one.
    pub(crate) access_log: Option<Arc<AccessLog>>,
    /// The error log.
    pub(crate) events: Events,
    /// The connections of each client.
    pub(crate) clients: ClientConnections,
    /// The rates of each client.
    pub(crate) client_limits: Arc<ClientLimits>,
    /// The bound of the connections of all workers together.
    pub(crate) connections_max: u32,
    /// The state of the configuration.
    pub(crate) config: Arc<ConfigState>,
    /// Whether the server is stopping: it takes no further requests, or soon will not.
    pub(crate) is_stopping: Arc<AtomicBool>,
    /// When the server was started.
    pub(crate) started: (Instant, SystemTime),
}

/// What has become of an attempt to load a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LastReload {
    Applied,
    /// Some of the changes apply.
    InPart,
    /// Nothing has changed.
    Refused,
}

/// The configuration that applies, and the last attempt to load another one.
#[derive(Debug)]
pub(crate) struct ConfigState {
    generation: AtomicU64,
    last: Mutex<LastReload>,
    /// When the last attempt ended, in milliseconds since 1970.
    tried_at: AtomicU64,
}

impl Default for ConfigState {
    /// The state after the start.
    fn default() -> Self {
        Self {
            generation: AtomicU64::new(1),
            last: Mutex::new(LastReload::Applied),
            tried_at: AtomicU64::new(milliseconds_since_1970()),
        }
    }
}

impl ConfigState {
    /// An attempt to load a configuration has ended. The generation is that which applies now.
    pub(crate) fn set(&self, generation: u64, last: LastReload) {
        self.generation.store(generation, Ordering::Relaxed);
        *self.lock() = last;
        self.tried_at.store(milliseconds_since_1970(), Ordering::Relaxed);
    }

    /// The generation of the configuration that applies; 1 after the start.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What has become of the last attempt to load a configuration.
    pub(crate) fn last(&self) -> LastReload {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, LastReload> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last attempt ended, since 1970.
    pub(crate) fn tried_at(&self) -> Duration {
        Duration::from_millis(self.tried_at.load(Ordering::Relaxed))
    }
}

fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// What all workers have counted for a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SiteCounts {
    /// Empty for responses that no site has made, and for sites that are not counted separately.
    pub(super) name: String,
    /// Responses, by [`Status::ALL`].
    pub(super) by_status: [u64; Status::ALL.len()],
    pub(super) durations: HistogramCounts<{ DURATION_BOUNDS.len() }>,
    pub(super) bytes: u64,
}

/// What all workers have counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RequestCounts {
    pub(super) sites: Vec<SiteCounts>,
    pub(super) sizes: HistogramCounts<{ SIZE_BOUNDS.len() }>,
    pub(super) aborted: u64,
    pub(super) in_progress: u64,
    pub(super) abandoned: u64,
}

/// What all workers have counted of HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Http2Counts {
    pub(super) connections: u64,
    /// Streams that have ended before their exchange was complete, by reason.
    pub(super) streams_ended: [(&'static str, u64); 4],
    /// Connections that the server has ended, by reason.
    pub(super) connections_ended: [(&'static str, u64); 2],
}

impl SiteCounts {
    /// The number of responses.
    pub(super) fn total(&self) -> u64 {
        self.by_status.iter().sum()
    }

    /// The number of responses whose status begins with this digit.
    pub(super) fn of_class(&self, class: u16) -> u64 {
        let of_class = |(status, _): &(&Status, &u64)| status.code() / 100 == class;
        Status::ALL.iter().zip(&self.by_status).filter(of_class).map(|(_, count)| count).sum()
    }

    fn plus(mut self, other: &Self) -> Self {
        self.by_status.iter_mut().zip(other.by_status).for_each(|(sum, count)| *sum += count);
        self.durations = self.durations.plus(other.durations);
        self.bytes += other.bytes;
        self
    }

    /// All sites together.
    pub(super) fn sum(sites: &[Self]) -> Self {
        sites.iter().fold(Self::none(String::new()), Self::plus)
    }

    fn none(name: String) -> Self {
        let durations = HistogramCounts::default();
        Self { name, by_status: [0; Status::ALL.len()], durations, bytes: 0 }
    }
}

impl Source {
    /// What all workers have counted. The first site is none in particular.
    pub(super) fn requests(&self) -> RequestCounts {
        let workers = self.metrics.workers();
        // Read first: a response that is counted meanwhile was begun before.
        let of_site = |(number, name): (u16, String)| {
            let counts = workers.iter().map(|worker| {
                let site = &worker.sites()[usize::from(number)];
                SiteCounts {
                    name: String::new(),
                    by_status: site.by_status.each_ref().map(Counter::get),
                    durations: site.durations.counts(),
                    bytes: site.bytes.get(),
                }
            });
            counts.fold(SiteCounts::none(name), |sum, counts| sum.plus(&counts))
        };
        let sites = std::iter::once((0, String::new())).chain(self.metrics.sites());
        let sites: Vec<SiteCounts> = sites.map(of_site).collect();
        let answered: u64 = sites.iter().map(SiteCounts::total).sum();
        let abandoned: u64 = workers.iter().map(|worker| worker.abandoned.get()).sum();
        let begun: u64 = workers.iter().map(|worker| worker.requests_begun.get()).sum();
        let sizes = workers.iter().map(|worker| worker.sizes.counts());
        RequestCounts {
            sizes: sizes.fold(HistogramCounts::default(), HistogramCounts::plus),
            aborted: workers.iter().map(|worker| worker.aborted.get()).sum(),
            in_progress: begun.saturating_sub(answered + abandoned),
            abandoned,
            sites,
        }
    }

    /// What all workers have counted of HTTP/2.
    pub(super) fn http2(&self) -> Http2Counts {
        let sum = |read: fn(&Http2Metrics) -> &Counter| -> u64 {
            self.metrics.workers().iter().map(|worker| read(&worker.http2).get()).sum()
        };
        let floods = sum(|http2| &http2.calm);
        Http2Counts {
            connections: sum(|http2| &http2.connections),
            streams_ended: [
                ("client", sum(|http2| &http2.resets_received)),
                ("fault", sum(|http2| &http2.resets_sent)),
                ("refused", sum(|http2| &http2.refused)),
                ("stalled", sum(|http2| &http2.stalled)),
            ],
            connections_ended: [
                ("flood", floods),
                ("other", sum(|http2| &http2.goaways).saturating_sub(floods)),
            ],
        }
    }

    /// What limits have refused, by the limit.
    pub(super) fn refused(&self) -> [(&'static str, u64); 4] {
        [
            ("rate", self.limit(|limits| &limits.rate)),
            ("connections", self.clients.refused()),
            ("passwords", self.limit(|limits| &limits.password_refused)),
            ("password_checks", self.limit(|limits| &limits.password_busy)),
        ]
    }

    /// How many connections of proxies were not served, by the reason.
    pub(super) fn refused_proxies(&self) -> [(&'static str, u64); 2] {
        let sum = |read: fn(&WorkerMetrics) -> &Counter| {
            self.metrics.workers().iter().map(|worker| read(worker).get()).sum()
        };
        [
            ("header", sum(|worker| &worker.proxy_failed)),
            ("denied", sum(|worker| &worker.proxied_denied)),
        ]
    }

    /// How many passwords were compared, by the result.
    pub(super) fn passwords(&self) -> [(&'static str, u64); 2] {
        [
            ("right", self.limit(|limits| &limits.passwords_right)),
            ("wrong", self.limit(|limits| &limits.passwords_wrong)),
        ]
    }

    fn limit(&self, read: fn(&LimitMetrics) -> &Counter) -> u64 {
        self.metrics.workers().iter().map(|worker| read(&worker.limits).get()).sum()
    }

    /// Whether the server takes further requests.
    pub(super) fn is_ready(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed)
    }
}
