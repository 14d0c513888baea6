//! The metrics of a server as text for Prometheus. `docs/operations/metrics.md` explains each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::process::{self, ProcessStatus};
use super::source::{Http2Counts, LastReload, Source};
use super::tls::TlsSource;
use crate::http::Status;
use crate::http::compress::CompressStats;
use crate::http::records::metrics::{DURATION_BOUNDS, SIZE_BOUNDS};
use crate::metrics::Exposition;
use crate::server::{Published, TimeoutKind};

/// All metrics, and their media type.
pub(super) fn write(source: &Source, is_open_metrics: bool) -> (&'static str, String) {
    let mut out = Exposition::new(is_open_metrics);
    server(&mut out, source);
    connections(&mut out, source);
    requests(&mut out, source);
    http2(&mut out, &source.http2());
    proxies(&mut out, source);
    limits(&mut out, source);
    let on = source.tls.iter().filter(|tls| tls.is_on());
    on.for_each(|source| tls(&mut out, source));
    cache(&mut out, source);
    compression(&mut out, &source.compressor.stats());
    logs(&mut out, source);
    workers(&mut out, source);
    process(&mut out, source);
    out.finish()
}

fn server(out: &mut Exposition, source: &Source) {
    out.gauge("ringd_build_info", "The program, its driver and the kernel; always 1.");
    let version = ("version", env!("CARGO_PKG_VERSION"));
    let (driver, kernel) = (source.selection.kind.to_string(), process::kernel());
    out.sample(&[version, ("driver", &driver), ("kernel", &kernel)], 1);
    out.gauge("ringd_ready", "Whether the server takes further requests: 0 while it drains.");
    out.sample(&[], u8::from(source.is_ready()));
    out.gauge("ringd_workers", "Workers.");
    out.sample(&[], source.monitor.workers().len());
    let config = &source.config;
    out.gauge("ringd_config_generation", "The number of the configuration; 1 after the start.");
    out.sample(&[], config.generation());
    out.gauge("ringd_config_last_reload_success", "Whether the last reload has succeeded.");
    out.sample(&[], u8::from(config.last() == LastReload::Applied));
    out.gauge(
        "ringd_config_last_reload_timestamp_seconds",
        "When the configuration was last loaded, or the last reload has failed.",
    );
    out.sample(&[], config.tried_at().as_secs_f64());
}

fn connections(out: &mut Exposition, source: &Source) {
    out.gauge("ringd_connections_max", "The bound of open connections.");
    out.sample(&[], source.connections_max);
    out.gauge("ringd_connections", "Open connections.");
    each_worker(out, source, |worker| worker.worker_stats().connections.into());
    out.counter("ringd_connections_accepted", "Connections that were accepted.");
    each_worker(out, source, |worker| worker.counts().accepted);
    out.counter("ringd_connections_refused", "Connections that were closed for lack of room.");
    each_worker(out, source, |worker| worker.counts().refused);
    out.counter("ringd_connections_denied", "Connections of peers that may not come in.");
    each_worker(out, source, |worker| worker.counts().denied);
    out.counter("ringd_timeouts", "What was not done in time.");
    let counts = source.monitor.counts();
    for kind in TimeoutKind::ALL {
        out.sample(&[("kind", kind.name())], counts.timeouts[kind as usize]);
    }
    out.counter("ringd_drain_cut_off", "Connections that a drain has cut off in a request.");
    out.sample(&[], counts.cut_off);
}

fn requests(out: &mut Exposition, source: &Source) {
    let requests = source.requests();
    out.gauge("ringd_requests_in_progress", "Requests whose answer was not sent yet.");
    out.sample(&[], requests.in_progress);
    out.counter("ringd_requests", "Answers, by site and status.");
    for site in &requests.sites {
        for (status, count) in Status::ALL.iter().zip(site.by_status) {
            // A series has to exist before its first failure, or `increase` does not see that one.
            let is_failure =
                matches!(status, Status::InternalServerError | Status::ServiceUnavailable);
            if count > 0 || is_failure {
                let code = status.code().to_string();
                out.sample(&[("site", &site.name), ("code", &code)], count);
            }
        }
    }
    out.histogram(
        "ringd_request_duration_seconds",
        "From the end of a request's head until its answer was handed to the kernel.",
    );
    for site in &requests.sites {
        out.distribution(&[("site", &site.name)], &DURATION_BOUNDS, &site.durations, 1e6);
    }
    out.counter("ringd_response_bytes", "Bytes of answers that were sent, with their heads.");
    for site in &requests.sites {
        out.sample(&[("site", &site.name)], site.bytes);
    }
    out.histogram("ringd_response_size_bytes", "The length of answers as they were sent.");
    out.distribution(&[], &SIZE_BOUNDS, &requests.sizes, 1.0);
    out.counter("ringd_requests_abandoned", "Requests whose client left before the answer.");
    out.sample(&[], requests.abandoned);
    out.counter("ringd_responses_aborted", "Answers that were not sent whole.");
    out.sample(&[], requests.aborted);
}

fn http2(out: &mut Exposition, counts: &Http2Counts) {
    out.counter("ringd_http2_connections", "Connections of HTTP/2 that have begun.");
    out.sample(&[], counts.connections);
    out.counter("ringd_http2_streams_ended", "Streams that ended before their answer was whole.");
    for (reason, count) in counts.streams_ended {
        out.sample(&[("reason", reason)], count);
    }
    out.counter("ringd_http2_connections_ended", "Connections that the server has ended.");
    for (reason, count) in counts.connections_ended {
        out.sample(&[("reason", reason)], count);
    }
}

fn proxies(out: &mut Exposition, source: &Source) {
    out.counter("ringd_proxy_connections_refused", "Connections of proxies that were not served.");
    for (reason, count) in source.refused_proxies() {
        out.sample(&[("reason", reason)], count);
    }
}

fn limits(out: &mut Exposition, source: &Source) {
    out.counter("ringd_limit_refused", "Requests and connections that a limit has refused.");
    for (limit, count) in source.refused() {
        out.sample(&[("limit", limit)], count);
    }
    out.counter("ringd_passwords_checked", "Passwords that were hashed and compared.");
    for (result, count) in source.passwords() {
        out.sample(&[("result", result)], count);
    }
    out.counter("ringd_limit_table_evictions", "Clients that had to share a limit with others.");
    out.sample(&[], source.client_limits.requests.evicted());
}

fn tls(out: &mut Exposition, source: &TlsSource) {
    let counts = source.counts();
    out.counter("ringd_tls_handshakes", "Handshakes that were completed.");
    out.sample(&[("kind", "full")], counts.full);
    out.sample(&[("kind", "resumed")], counts.resumed);
    out.counter("ringd_tls_handshake_failures", "Handshakes that failed.");
    for (reason, count) in counts.failures {
        out.sample(&[("reason", reason)], count);
    }
    out.counter("ringd_tls_connections_broken", "Connections that failed after the handshake.");
    out.sample(&[], counts.broken);
    let since_1970 =
        |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let certificates = source.certificates_by_name();
    out.gauge("ringd_tls_certificate_start_timestamp_seconds", "When a certificate became valid.");
    for facts in &certificates {
        out.sample(&[("name", facts.name())], since_1970(facts.not_before));
    }
    out.gauge("ringd_tls_certificate_expiry_timestamp_seconds", "When a certificate expires.");
    for facts in &certificates {
        out.sample(&[("name", facts.name())], since_1970(facts.not_after));
    }
}

fn cache(out: &mut Exposition, source: &Source) {
    let cache = source.caches.stats();
    for (name, help, value) in [
        ("ringd_cache_entries", "Names in the caches.", cache.entries),
        ("ringd_cache_bytes", "Bytes of memory that the caches use.", cache.bytes),
        ("ringd_cache_files", "Files that the caches keep open.", cache.files),
        ("ringd_cache_watched_directories", "Directories watched for changes.", cache.watched),
    ] {
        out.gauge(name, help);
        out.sample(&[], value);
    }
    out.counter("ringd_cache_lookups", "Requests, by what the cache knew of the name.");
    for (result, value) in [
        ("hit", cache.hits),
        ("miss", cache.misses),
        ("revalidated", cache.revalidations - cache.expirations.min(cache.revalidations)),
        ("changed", cache.expirations),
    ] {
        out.sample(&[("result", result)], value);
    }
    out.counter("ringd_cache_evictions", "Entries that were removed to make room for others.");
    out.sample(&[], cache.evictions);
}

fn compression(out: &mut Exposition, stats: &CompressStats) {
    for (name, help, value) in [
        ("ringd_compress_variants", "Compressed forms of files that are kept.", stats.bodies),
        ("ringd_compress_bytes", "Bytes of memory that they use.", stats.bytes),
        ("ringd_compress_files", "How many of them have a descriptor.", stats.files),
        ("ringd_compress_jobs_waiting", "Files that wait to be compressed.", stats.waiting),
    ] {
        out.gauge(name, help);
        out.sample(&[], value);
    }
    out.counter("ringd_compress_jobs", "Files that were compressed, by what became of it.");
    out.sample(&[("result", "made")], stats.made);
    out.sample(&[("result", "not_worth")], stats.not_worth);
    out.sample(&[("result", "dropped")], stats.dropped);
    out.counter("ringd_compress_evictions", "Compressed forms that had to make room for others.");
    out.sample(&[], stats.evictions);
}

fn logs(out: &mut Exposition, source: &Source) {
    if let Some(log) = &source.access_log {
        out.counter("ringd_log_lines", "Lines of the access log.");
        out.sample(&[("result", "written")], log.written());
        out.sample(&[("result", "dropped")], log.dropped());
    }
    out.counter("ringd_events", "Events for the error log, written or held back.");
    for (kind, count) in source.events.counts() {
        out.sample(&[("kind", kind.name()), ("level", kind.level().name())], count);
    }
}

fn workers(out: &mut Exposition, source: &Source) {
    type Read = fn(&Published) -> u64;
    let counters: [(&'static str, &str, Read); 6] = [
        ("ringd_driver_system_calls", "System calls of the driver.", |worker| {
            worker.stats().system_calls
        }),
        ("ringd_driver_submissions", "Ops handed to io_uring without a system call.", |worker| {
            worker.stats().submissions
        }),
        ("ringd_driver_completions", "Completions of the driver.", |worker| {
            worker.stats().completions
        }),
        ("ringd_driver_would_block", "System calls that found nothing to do.", |worker| {
            worker.stats().would_block
        }),
        ("ringd_driver_buffer_waits", "Receives that waited for a buffer.", |worker| {
            worker.stats().buffer_waits
        }),
        ("ringd_worker_turns", "Turns of the worker.", |worker| worker.counts().turns),
    ];
    for (name, help, read) in counters {
        out.counter(name, help);
        each_worker(out, source, read);
    }
    out.counter("ringd_worker_cpu_seconds", "CPU time of the worker's thread.");
    for (number, worker) in source.monitor.workers().enumerate() {
        if let Some(time) = worker.thread().and_then(process::cpu_of_thread) {
            out.sample(&[("worker", &number.to_string())], time.as_secs_f64());
        }
    }
}

fn process(out: &mut Exposition, source: &Source) {
    let started = source.started.1.duration_since(UNIX_EPOCH);
    out.gauge("process_start_time_seconds", "When the process was started, since 1970.");
    out.sample(&[], started.as_ref().map_or(0.0, Duration::as_secs_f64));
    let Some(process) = ProcessStatus::read() else { return };
    out.counter("process_cpu_seconds", "CPU time of the process.");
    out.sample(&[], process.cpu.as_secs_f64());
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Memory in use.", process.resident),
        ("process_virtual_memory_bytes", "Address space in use.", process.virtual_memory),
        ("process_open_fds", "Open descriptors.", process.open_files),
        ("process_max_fds", "The limit of open descriptors.", process.files_max),
        ("process_threads", "Threads.", process.threads),
    ] {
        out.gauge(name, help);
        out.sample(&[], value);
    }
}

/// A sample for each worker.
fn each_worker(out: &mut Exposition, source: &Source, read: impl Fn(&Published) -> u64) {
    for (number, worker) in source.monitor.workers().enumerate() {
        out.sample(&[("worker", &number.to_string())], read(worker));
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::super::tls::{CertificateFacts, CertificateList};
    use super::*;
    use crate::serve::TlsMonitor;
    use crate::tls::TlsFailure;

    /// A series has to exist before its first event, or `increase` does not see that one.
    #[test]
    fn each_reason_has_a_series_from_the_start() {
        let list = CertificateList::default();
        list.set(vec![CertificateFacts {
            names: vec!["a.example".to_owned(), "b.example".to_owned()],
            not_before: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            not_after: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            fingerprint: "AB:CD".to_owned(),
            path: None,
        }]);
        let mut out = Exposition::new(false);
        tls(&mut out, &TlsSource::new(TlsMonitor::default(), list));
        let (_, text) = out.finish();
        let reasons = TlsFailure::ALL.map(TlsFailure::name);
        for reason in reasons.into_iter().chain(["timed_out", "not_tls"]) {
            let line = format!("ringd_tls_handshake_failures_total{{reason=\"{reason}\"}} 0\n");
            assert!(text.contains(&line), "{text}");
        }
        for line in [
            "ringd_tls_handshakes_total{kind=\"full\"} 0",
            "ringd_tls_handshakes_total{kind=\"resumed\"} 0",
            "ringd_tls_connections_broken_total 0",
            "ringd_tls_certificate_start_timestamp_seconds{name=\"a.example\"} 1700000000",
            "ringd_tls_certificate_expiry_timestamp_seconds{name=\"a.example\"} 1800000000",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} is not in {text}");
        }
    }
}
