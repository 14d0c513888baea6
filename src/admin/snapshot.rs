//! The state of a server at one moment, for people and for programs (`/status.json`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::process;
use super::source::{LastReload, RequestCounts, SiteCounts, Source};
use super::tls::{CertificateFacts, TlsSource};
use crate::http::Status;
use crate::http::records::metrics::{DURATION_BOUNDS, WorkerMetrics};
use crate::metrics::{Counter, HistogramCounts};
use crate::server::{Published, TimeoutKind, WorkerCounts};

/// The state of a server. Times are in seconds, and memory in bytes.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Snapshot {
    pub(super) version: &'static str,
    /// The name of the machine.
    pub(super) machine: String,
    /// When the snapshot was taken.
    pub(super) time: String,
    pub(super) pid: u32,
    pub(super) driver: String,
    /// Why it was chosen.
    pub(super) driver_reason: String,
    pub(super) kernel: String,
    pub(super) started: String,
    pub(super) uptime_seconds: u64,
    /// Whether the server takes further requests.
    pub(super) ready: bool,
    /// The numbers of workers that do not respond.
    pub(super) unresponsive_workers: Vec<usize>,
    pub(super) addresses: Vec<String>,
    pub(super) config: ConfigFigures,
    pub(super) requests: RequestFigures,
    pub(super) connections: ConnectionFigures,
    /// By kind.
    pub(super) timeouts: BTreeMap<&'static str, u64>,
    pub(super) http2: Http2Figures,
    /// Requests and connections that limits have refused, by limit.
    pub(super) limits: BTreeMap<&'static str, u64>,
    /// `None` if no listener has TLS.
    pub(super) tls: Option<TlsFigures>,
    pub(super) cache: CacheFigures,
    /// `None` without an access log.
    pub(super) access_log: Option<LogFigures>,
    /// By kind; only those that have happened.
    pub(super) events: BTreeMap<&'static str, u64>,
    pub(super) sites: Vec<SiteFigures>,
    pub(super) workers: Vec<WorkerFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ConfigFigures {
    pub(super) generation: u64,
    pub(super) last_reload: LastReload,
    pub(super) last_reload_at: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RequestFigures {
    pub(super) total: u64,
    pub(super) in_progress: u64,
    /// Since the last look at the status, or since the start.
    pub(super) per_second: f64,
    pub(super) by_status: BTreeMap<u16, u64>,
    pub(super) bytes: u64,
    pub(super) aborted: u64,
    pub(super) abandoned: u64,
    pub(super) duration: Percentiles,
}

/// Times that so many of 100 answers did not exceed. Each is the upper bound of a range of the
/// histogram, so the real one may be as short as a quarter. `None` without answers, and above 67 s.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ConnectionFigures {
    pub(super) open: u64,
    pub(super) max: u32,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) denied: u64,
    pub(super) cut_off: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Http2Figures {
    pub(super) connections: u64,
    /// Streams that have ended before their answer was whole, by reason.
    pub(super) streams_ended: BTreeMap<&'static str, u64>,
    /// Connections that the server has ended, by reason.
    pub(super) connections_ended: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct TlsFigures {
    pub(super) full_handshakes: u64,
    pub(super) resumed_handshakes: u64,
    /// By reason.
    pub(super) handshake_failures: BTreeMap<&'static str, u64>,
    pub(super) connections_broken: u64,
    /// The one that expires first before the others.
    pub(super) certificates: Vec<CertificateFigures>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct CertificateFigures {
    pub(super) names: Vec<String>,
    pub(super) valid_from: String,
    pub(super) valid_until: String,
    /// Whole days; `None` if it has expired.
    pub(super) days_left: Option<u64>,
    /// Whether its renewal is overdue.
    pub(super) is_due: bool,
    /// SHA-256.
    pub(super) fingerprint: String,
    /// `None` if it was made in memory.
    pub(super) path: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct CacheFigures {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) files: u64,
    pub(super) watched_directories: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) revalidated: u64,
    pub(super) changed: u64,
    pub(super) evictions: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct LogFigures {
    pub(super) written: u64,
    pub(super) dropped: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct SiteFigures {
    /// Empty for no site in particular, and for sites that are not counted separately.
    pub(super) name: String,
    pub(super) requests: u64,
    /// By the first digit of the status, from 2 to 5.
    pub(super) by_class: [u64; 4],
    pub(super) bytes: u64,
    pub(super) duration: Percentiles,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct WorkerFigures {
    pub(super) requests: u64,
    pub(super) connections: u32,
    pub(super) turns: u64,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) system_calls: u64,
    pub(super) submissions: u64,
    pub(super) completions: u64,
    pub(super) would_block: u64,
    pub(super) buffer_waits: u64,
}

/// The last look at the status, for a rate.
#[derive(Debug)]
pub(super) struct LastLook(Mutex<Look>);

#[derive(Debug)]
struct Look {
    at: Instant,
    requests: u64,
    /// The rate at that time.
    rate: f64,
}

/// How long workers may take to respond while somebody waits for the status.
const RESPONSE_WAIT: Duration = Duration::from_millis(250);

/// A shorter time than this gives no useful rate.
const RATE_OVER_MIN: Duration = Duration::from_secs(1);

impl LastLook {
    /// The start of the server.
    pub(super) fn new(started: Instant) -> Self {
        Self(Mutex::new(Look { at: started, requests: 0, rate: 0.0 }))
    }

    /// The requests per second since the last look. If that was a moment ago, the rate is the same.
    fn rate(&self, now: Instant, total: u64) -> f64 {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = now.saturating_duration_since(last.at);
        if over >= RATE_OVER_MIN {
            let rate = total.saturating_sub(last.requests) as f64 / over.as_secs_f64();
            *last = Look { at: now, requests: total, rate };
        }
        last.rate
    }
}

impl Snapshot {
    /// The present state.
    pub(super) fn take(source: &Source, last_look: &LastLook) -> Self {
        let requests = source.requests();
        let (counts, now) = (source.monitor.counts(), Instant::now());
        let events = source.events.counts().into_iter().filter(|(_, count)| *count > 0);
        let workers = source.monitor.workers().zip(source.metrics.workers());
        let tried_at = std::time::UNIX_EPOCH + source.config.tried_at();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine: process::machine(),
            time: second(Timestamp::now()),
            pid: std::process::id(),
            driver: source.selection.kind.to_string(),
            driver_reason: source.selection.why.to_string(),
            kernel: process::kernel(),
            started: time(source.started.1),
            uptime_seconds: now.saturating_duration_since(source.started.0).as_secs(),
            ready: source.is_ready(),
            unresponsive_workers: source.monitor.unresponsive(RESPONSE_WAIT),
            addresses: source.monitor.addresses().iter().map(ToString::to_string).collect(),
            config: ConfigFigures {
                generation: source.config.generation(),
                last_reload: source.config.last(),
                last_reload_at: time(tried_at),
            },
            connections: connections(source, &counts),
            timeouts: timeouts(&counts),
            http2: http2(source),
            limits: source.refused().into(),
            tls: source.tls.as_ref().filter(|tls| tls.is_on()).map(tls),
            cache: cache(source),
            access_log: source
                .access_log
                .as_ref()
                .map(|log| LogFigures { written: log.written(), dropped: log.dropped() }),
            events: events.map(|(kind, count)| (kind.name(), count)).collect(),
            sites: requests.sites.iter().map(site).collect(),
            workers: workers.map(|(worker, metrics)| self::worker(worker, metrics)).collect(),
            requests: self::requests(&requests, now, last_look),
        }
    }
}

/// A time with whole seconds.
fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or(String::new(), second)
}

fn second(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn requests(requests: &RequestCounts, now: Instant, last_look: &LastLook) -> RequestFigures {
    let sum = SiteCounts::sum(&requests.sites);
    let by_status = Status::ALL.iter().zip(sum.by_status).filter(|(_, count)| *count > 0);
    RequestFigures {
        total: sum.total(),
        in_progress: requests.in_progress,
        per_second: last_look.rate(now, sum.total()),
        by_status: by_status.map(|(status, count)| (status.code(), count)).collect(),
        bytes: sum.bytes,
        aborted: requests.aborted,
        abandoned: requests.abandoned,
        duration: Percentiles::of(&sum.durations),
    }
}

fn connections(source: &Source, counts: &WorkerCounts) -> ConnectionFigures {
    ConnectionFigures {
        open: source.monitor.worker_stats().connections.into(),
        max: source.connections_max,
        accepted: counts.accepted,
        refused: counts.refused,
        denied: counts.denied,
        cut_off: counts.cut_off,
    }
}

fn timeouts(counts: &WorkerCounts) -> BTreeMap<&'static str, u64> {
    let count = |kind: TimeoutKind| (kind.name(), counts.timeouts[kind as usize]);
    TimeoutKind::ALL.into_iter().map(count).collect()
}

fn http2(source: &Source) -> Http2Figures {
    let counts = source.http2();
    Http2Figures {
        connections: counts.connections,
        streams_ended: counts.streams_ended.into(),
        connections_ended: counts.connections_ended.into(),
    }
}

fn tls(source: &TlsSource) -> TlsFigures {
    let (counts, now) = (source.counts(), SystemTime::now());
    let certificate = |facts: &CertificateFacts| CertificateFigures {
        names: facts.names.clone(),
        valid_from: time(facts.not_before),
        valid_until: time(facts.not_after),
        days_left: facts.left(now).map(|left| left.as_secs() / (24 * 60 * 60)),
        is_due: facts.is_due(now),
        fingerprint: facts.fingerprint.clone(),
        path: facts.path.as_ref().map(|path| path.display().to_string()),
    };
    TlsFigures {
        full_handshakes: counts.full,
        resumed_handshakes: counts.resumed,
        handshake_failures: counts.failures.into_iter().collect(),
        connections_broken: counts.broken,
        certificates: source.certificates().iter().map(certificate).collect(),
    }
}

fn cache(source: &Source) -> CacheFigures {
    let stats = source.caches.stats();
    CacheFigures {
        entries: stats.entries,
        bytes: stats.bytes,
        files: stats.files,
        watched_directories: stats.watched,
        hits: stats.hits,
        misses: stats.misses,
        revalidated: stats.revalidations.saturating_sub(stats.expirations),
        changed: stats.expirations,
        evictions: stats.evictions,
    }
}

fn site(site: &SiteCounts) -> SiteFigures {
    SiteFigures {
        name: site.name.clone(),
        requests: site.total(),
        by_class: [2, 3, 4, 5].map(|class| site.of_class(class)),
        bytes: site.bytes,
        duration: Percentiles::of(&site.durations),
    }
}

fn worker(worker: &Published, metrics: &WorkerMetrics) -> WorkerFigures {
    let driver = worker.stats();
    let by_status = metrics.sites().iter().flat_map(|site| &site.by_status);
    WorkerFigures {
        requests: by_status.map(Counter::get).sum(),
        connections: worker.worker_stats().connections,
        turns: worker.counts().turns,
        cpu_seconds: worker.thread().and_then(process::cpu_of_thread).map(|it| it.as_secs_f64()),
        system_calls: driver.system_calls,
        submissions: driver.submissions,
        completions: driver.completions,
        would_block: driver.would_block,
        buffer_waits: driver.buffer_waits,
    }
}

impl Percentiles {
    fn of(counts: &HistogramCounts<{ DURATION_BOUNDS.len() }>) -> Self {
        let total = counts.ranges.iter().sum::<u64>() + counts.above;
        let percentile = |percent: u64| {
            let mut left = (total * percent).div_ceil(100);
            let range = counts.ranges.iter().position(|count| {
                left = left.saturating_sub(*count);
                left == 0
            });
            Some(DURATION_BOUNDS[range.filter(|_| total > 0)?] as f64 / 1e6)
        };
        Self { p50_seconds: percentile(50), p99_seconds: percentile(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_bounds_of_ranges() {
        let mut counts = HistogramCounts::default();
        let of = |counts| {
            let Percentiles { p50_seconds, p99_seconds } = Percentiles::of(&counts);
            (p50_seconds, p99_seconds)
        };
        assert_eq!(of(counts), (None, None));
        counts.ranges[0] = 98;
        counts.ranges[2] = 2;
        assert_eq!(of(counts), (Some(16e-6), Some(256e-6)));
        counts.ranges[0] = 99;
        counts.ranges[2] = 1;
        assert_eq!(of(counts), (Some(16e-6), Some(16e-6)));
        counts.above = 1_000;
        assert_eq!(of(counts), (None, None), "longer than the last range");
    }

    #[test]
    fn a_rate_is_that_since_the_last_look() {
        let start = Instant::now();
        let look = LastLook::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let rates = [
            look.rate(at(10), 100),
            look.rate(at(12), 110),
            look.rate(at(12), 110),
            look.rate(at(13), 113),
        ];
        assert_eq!(rates, [10.0, 5.0, 5.0, 3.0]);
    }
}
