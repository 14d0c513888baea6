//! A snapshot as figures and tables, for the page and for the plain text.

use std::collections::BTreeMap;
use std::time::Duration;

use super::snapshot::{
    CertificateFigures, Http2Figures, Percentiles, SiteFigures, Snapshot, TlsFigures, WorkerFigures,
};
use super::source::LastReload;
use crate::http::site::listing::humanize::{grouped, size};

/// How many sites are shown: those with the most requests. So many certificates too: those that
/// expire first.
const SITES_SHOWN: usize = 25;

/// What people see of a snapshot.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) title: String,
    /// Whether something needs attention, and what.
    pub(super) alarms: Vec<String>,
    /// Pairs of a name and a value.
    pub(super) figures: Vec<(&'static str, String)>,
    pub(super) tables: Vec<Table>,
}

/// A table. In its first column are texts, in the others numbers or short texts; a hash is last,
/// because it is long.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Cells that are longer are texts, such as hashes and paths. They would make a table as wide as
/// several phones.
const LINE_MAX: usize = 40;

impl Table {
    /// Whether a column has a long text: it is aligned like text, and may be broken into lines.
    pub(super) fn is_long(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column].chars().count() > LINE_MAX)
    }
}

impl Report {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let Snapshot { version, machine, driver, .. } = snapshot;
        let mut tables = vec![workers(&snapshot.workers), sites(&snapshot.sites), cache(snapshot)];
        if snapshot.http2.connections > 0 {
            tables.push(http2(&snapshot.http2));
        }
        if let Some(figures) = &snapshot.tls {
            tables.extend([tls(figures), certificates(&figures.certificates)]);
        }
        if snapshot.limits.values().any(|count| *count > 0) {
            tables.push(counts("Refused by limits", "limit", &snapshot.limits));
        }
        tables.push(counts("Timeouts", "kind", &snapshot.timeouts));
        if !snapshot.events.is_empty() {
            tables.push(counts("Events", "kind", &snapshot.events));
        }
        Self {
            title: format!("ringd {version} on {machine}, {driver}"),
            alarms: alarms(snapshot),
            figures: figures(snapshot),
            tables,
        }
    }
}

fn alarms(snapshot: &Snapshot) -> Vec<String> {
    let mut alarms = Vec::new();
    if !snapshot.ready {
        alarms.push("The server is stopping, and takes no further connections.".to_owned());
    }
    for worker in &snapshot.unresponsive_workers {
        alarms.push(format!("Worker {worker} does not respond."));
    }
    if snapshot.connections.open >= snapshot.connections.max.into() {
        alarms.push("All connections are taken; new clients wait.".to_owned());
    }
    let at = people(&snapshot.config.last_reload_at);
    match snapshot.config.last_reload {
        LastReload::Applied => {}
        LastReload::InPart => alarms
            .push(format!("The reload at {at} applies in part. The error log says what does not.")),
        LastReload::Refused => alarms.push(format!(
            "The reload at {at} has failed; the configuration before it applies. The error log \
             says why."
        )),
    }
    alarms.extend(snapshot.tls.iter().flat_map(|tls| &tls.certificates).filter_map(due));
    if let Some(log) = snapshot.access_log.as_ref().filter(|log| log.dropped > 0) {
        alarms.push(format!("{} lines of the access log were dropped.", number(log.dropped)));
    }
    alarms
}

/// What is to be done about a certificate, if anything.
fn due(certificate: &CertificateFigures) -> Option<String> {
    certificate.is_due.then(|| {
        let name = certificate.names.first().map_or("", String::as_str);
        let end = people(&certificate.valid_until);
        let (expires, urgency) = match certificate.days_left {
            Some(_) => ("expires", "renew it"),
            None => ("has expired", "clients refuse it; renew it"),
        };
        format!("The certificate of {name} {expires} at {end}; {urgency}.")
    })
}

fn figures(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let Snapshot { requests, connections, config, workers, .. } = snapshot;
    let system_calls: u64 = workers.iter().map(|worker| worker.system_calls).sum();
    let mut figures = vec![
        ("Requests per second, since the last look", rate(requests.per_second)),
        ("Requests", number(requests.total)),
        ("Requests in progress", number(requests.in_progress)),
        ("Answer time, median", time(requests.duration.p50_seconds, requests.total)),
        ("Answer time, 99th percentile", time(requests.duration.p99_seconds, requests.total)),
        ("Bytes sent", size(requests.bytes)),
        ("Answers cut off", number(requests.aborted)),
        ("Connections", format!("{} of {}", number(connections.open), number(connections.max))),
        ("Connections accepted", number(connections.accepted)),
        ("Connections refused", number(connections.refused)),
        ("Connections denied", number(connections.denied)),
        ("System calls per request", ratio(system_calls, requests.total)),
        ("Driver", format!("{} ({})", snapshot.driver, snapshot.driver_reason)),
        ("Kernel", snapshot.kernel.clone()),
        ("Up", uptime(snapshot.uptime_seconds)),
        (
            "Configuration",
            format!("generation {}, {}", config.generation, people(&config.last_reload_at)),
        ),
        ("Process id", snapshot.pid.to_string()),
        ("Addresses", snapshot.addresses.join(", ")),
        ("Now", people(&snapshot.time)),
    ];
    if let Some(log) = &snapshot.access_log {
        let dropped = match log.dropped {
            0 => String::new(),
            many => format!(", {} dropped", number(many)),
        };
        figures.push(("Lines logged", number(log.written) + &dropped));
    }
    figures
}

fn sites(sites: &[SiteFigures]) -> Table {
    let row = |site: &SiteFigures| {
        let name = if site.name.is_empty() { "(none)".to_owned() } else { site.name.clone() };
        let [success, redirect, client, server] = site.by_class.map(number);
        let Percentiles { p50_seconds, p99_seconds } = site.duration;
        let times = [p50_seconds, p99_seconds].map(|seconds| time(seconds, site.requests));
        let [half, most] = times;
        let (requests, sent) = (number(site.requests), size(site.bytes));
        vec![name, requests, success, redirect, client, server, sent, half, most]
    };
    let mut asked: Vec<&SiteFigures> = sites.iter().filter(|site| site.requests > 0).collect();
    asked.sort_by_key(|site| std::cmp::Reverse(site.requests));
    let mut rows: Vec<Vec<String>> = asked.iter().take(SITES_SHOWN).map(|site| row(site)).collect();
    if let Some(more) = asked.len().checked_sub(SITES_SHOWN).filter(|more| *more > 0) {
        let mut last = vec![format!("({more} more)")];
        last.resize(9, String::new());
        rows.push(last);
    }
    Table {
        title: "Sites",
        columns: vec![
            "site",
            "requests",
            "2xx",
            "3xx",
            "4xx",
            "5xx",
            "sent",
            "median",
            "99th pct.",
        ],
        rows,
    }
}

fn workers(workers: &[WorkerFigures]) -> Table {
    let row = |(place, worker): (usize, &WorkerFigures)| {
        vec![
            place.to_string(),
            number(worker.requests),
            number(worker.connections),
            worker.cpu_seconds.map_or("?".to_owned(), |seconds| format!("{seconds:.1} s")),
            number(worker.turns),
            number(worker.system_calls),
            number(worker.submissions),
            number(worker.completions),
            number(worker.would_block),
            ratio(worker.system_calls, worker.requests),
        ]
    };
    Table {
        title: "Workers",
        columns: vec![
            "worker",
            "requests",
            "connections",
            "CPU",
            "turns",
            "system calls",
            "submissions",
            "completions",
            "would block",
            "calls per request",
        ],
        rows: workers.iter().enumerate().map(row).collect(),
    }
}

fn http2(figures: &Http2Figures) -> Table {
    let row = |name: &str, count: u64| vec![name.to_owned(), number(count)];
    let mut rows = vec![row("connections", figures.connections)];
    let of = |counts: &BTreeMap<&str, u64>, what: &str| -> Vec<Vec<String>> {
        let counts = counts.iter().filter(|(_, count)| **count > 0);
        counts.map(|(reason, count)| row(&format!("{what}: {reason}"), *count)).collect()
    };
    rows.extend(of(&figures.streams_ended, "streams ended early"));
    rows.extend(of(&figures.connections_ended, "connections ended"));
    Table { title: "HTTP/2", columns: vec!["what", "number"], rows }
}

fn tls(figures: &TlsFigures) -> Table {
    let row = |name: &str, count: u64| vec![name.to_owned(), number(count)];
    let mut rows = vec![
        row("full handshakes", figures.full_handshakes),
        row("resumed handshakes", figures.resumed_handshakes),
        row("connections broken later", figures.connections_broken),
    ];
    let failures = figures.handshake_failures.iter().filter(|(_, count)| **count > 0);
    rows.extend(failures.map(|(reason, count)| row(&format!("failed: {reason}"), *count)));
    Table { title: "TLS", columns: vec!["what", "number"], rows }
}

fn certificates(certificates: &[CertificateFigures]) -> Table {
    let row = |certificate: &CertificateFigures| {
        let left = certificate.days_left.map_or("expired".to_owned(), |days| days.to_string());
        let path = certificate.path.clone().unwrap_or("(in memory)".to_owned());
        let (end, fingerprint) = (people(&certificate.valid_until), &certificate.fingerprint);
        vec![certificate.names.join(", "), end, left, path, fingerprint.clone()]
    };
    let mut rows: Vec<Vec<String>> = certificates.iter().take(SITES_SHOWN).map(row).collect();
    if let Some(more) = certificates.len().checked_sub(SITES_SHOWN).filter(|more| *more > 0) {
        let mut last = vec![format!("({more} more)")];
        last.resize(5, String::new());
        rows.push(last);
    }
    let columns = vec!["names", "valid until", "days left", "file", "SHA-256"];
    Table { title: "Certificates", columns, rows }
}

fn cache(snapshot: &Snapshot) -> Table {
    let cache = &snapshot.cache;
    let lookups = cache.hits + cache.misses + cache.revalidated + cache.changed;
    let share = |count: u64| match lookups {
        0 => String::new(),
        _ => format!("{:.1} %", count as f64 * 100.0 / lookups as f64),
    };
    let row = |name: &str, count: u64| vec![name.to_owned(), number(count), share(count)];
    let state = |name: &str, value: String| vec![name.to_owned(), value, String::new()];
    Table {
        title: "Cache",
        columns: vec!["lookups of all workers", "number", "share"],
        rows: vec![
            row("hits", cache.hits),
            row("misses", cache.misses),
            row("revalidated", cache.revalidated),
            row("changed", cache.changed),
            state("evictions", number(cache.evictions)),
            state("entries", number(cache.entries)),
            state("memory", size(cache.bytes)),
            state("open files", number(cache.files)),
            state("watched directories", number(cache.watched_directories)),
        ],
    }
}

fn counts(
    title: &'static str,
    column: &'static str,
    counts: &BTreeMap<&'static str, u64>,
) -> Table {
    let row = |(name, count): (&&str, &u64)| vec![(*name).to_owned(), number(*count)];
    Table { title, columns: vec![column, "number"], rows: counts.iter().map(row).collect() }
}

/// A time of RFC 3339 in UTC, with blanks where people expect them.
fn people(time: &str) -> String {
    time.replace('T', " ").replace('Z', " UTC")
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { number(per_second as u64) }
}

fn number(number: impl Into<u64>) -> String {
    grouped(number.into())
}

/// How many of `count` there are per request.
fn ratio(count: u64, requests: u64) -> String {
    match requests {
        0 => "-".to_owned(),
        _ => format!("{:.2}", count as f64 / requests as f64),
    }
}

/// A duration that so many requests did not exceed.
fn time(seconds: Option<f64>, requests: u64) -> String {
    match seconds {
        None if requests == 0 => "-".to_owned(),
        None => "> 67 s".to_owned(),
        Some(seconds) if seconds < 1e-3 => format!("≤ {:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("≤ {:.0} ms", seconds * 1e3),
        Some(seconds) => format!("≤ {seconds:.0} s"),
    }
}

fn uptime(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_that_are_asked_most_come_first() {
        let site = |number: u64| SiteFigures {
            name: format!("site-{number}"),
            requests: number,
            by_class: [number, 0, 0, 0],
            bytes: 0,
            duration: Percentiles { p50_seconds: None, p99_seconds: None },
        };
        let table = sites(&(0..30).map(site).collect::<Vec<_>>());
        assert_eq!((&*table.rows[0][0], &*table.rows[24][0]), ("site-29", "site-5"));
        assert_eq!((&*table.rows[25][0], table.rows.len()), ("(4 more)", 26));
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
    }

    #[test]
    fn certificates_that_were_not_renewed_are_alarms() {
        let certificate = |days_left, is_due| CertificateFigures {
            names: vec!["a.example".to_owned(), "b.example".to_owned()],
            valid_from: "2026-09-01T00:00:00Z".to_owned(),
            valid_until: "2026-11-30T12:00:00Z".to_owned(),
            days_left,
            is_due,
            fingerprint: "AB:CD".to_owned(),
            path: Some("/etc/a.pem".to_owned()),
        };
        assert_eq!(due(&certificate(Some(60), false)), None);
        let soon = "The certificate of a.example expires at 2026-11-30 12:00:00 UTC; renew it.";
        assert_eq!(due(&certificate(Some(3), true)).as_deref(), Some(soon));
        let over = due(&certificate(None, true)).unwrap();
        assert!(over.contains("has expired") && over.contains("refuse"), "{over}");
        let table = certificates(&vec![certificate(Some(3), true); 30]);
        let end = "2026-11-30 12:00:00 UTC";
        assert_eq!(table.rows[0], ["a.example, b.example", end, "3", "/etc/a.pem", "AB:CD"]);
        assert_eq!((&*table.rows[25][0], table.rows.len()), ("(5 more)", 26));
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
        let counts = TlsFigures {
            full_handshakes: 1234,
            resumed_handshakes: 5,
            handshake_failures: [("not_tls", 2), ("other", 0)].into(),
            connections_broken: 0,
            certificates: Vec::new(),
        };
        let rows = tls(&counts).rows;
        assert_eq!(rows.len(), 4, "only what has happened");
        assert_eq!(rows[3], ["failed: not_tls", "2"]);
    }

    #[test]
    fn figures_are_written_for_people() {
        let times = [Some(16e-6), Some(0.262_144), Some(4.2), None];
        let texts = ["≤ 16 µs", "≤ 262 ms", "≤ 4 s", "> 67 s"];
        assert_eq!(times.map(|seconds| time(seconds, 1)), texts);
        assert_eq!(
            (time(None, 0), ratio(3, 0), ratio(3, 2)),
            ("-".into(), "-".into(), "1.50".into())
        );
    }
}
