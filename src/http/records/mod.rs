//! Records: what is known of each response until it has left. The access log and the metrics are
//! made from them.
//!
//! A session notes each response when it is written into the chain ([`Recorder::note`]), and says
//! when the chain was sent ([`Recorder::sent`]), because only then it is known how much of it has
//! left, and when. Nothing here waits, and nothing is allocated per request: what a line of the log
//! needs is copied into memory that is used again.
//!
//! | file | content |
//! | --- | --- |
//! | `record.rs` | the records of the responses in a chain |
//! | `log/` | the access log |
//! | `metrics.rs` | counters of requests and responses |

pub mod log;
pub mod metrics;
mod record;

use std::sync::Arc;
use std::time::Instant;

use crate::clients::{Client, ProxyFailure};
use crate::driver::Now;
use crate::session::{ConnectionInfo, Sent};
use log::format::REQUEST_BYTES_MAX;
use log::{AccessLog, LogLine, WorkerLog};
use metrics::{Http2Metrics, LimitMetrics, NO_SITE, WorkerMetrics};
use record::{ProtectionNote, Record, Records};

#[cfg(feature = "cli")]
pub(crate) use record::field;
pub(in crate::http) use record::{CacheUse, Cut, PendingRecord, RequestNote, Written};

/// The memory of records that a worker keeps for later chains, in bytes. A number of records would
/// be the wrong bound: a turn may have as many chains as there are connections.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// How much of the request line of an incomplete head is kept.
const LINE_KEPT_MAX: usize = REQUEST_BYTES_MAX + 1;

/// How much memory for it a connection keeps for later requests, in bytes.
const LINE_MEMORY_MAX: usize = 256;

/// The recorder of a worker; see the module documentation.
#[derive(Debug)]
pub(in crate::http) struct Recorder {
    log: Option<WorkerLog>,
    metrics: Option<Arc<WorkerMetrics>>,
    #[expect(clippy::vec_box, reason = "a connection takes the box")]
    spares: Vec<Box<Records>>,
    /// The memory of all spares.
    spare_bytes: usize,
}

/// The records of a connection.
#[derive(Debug)]
pub(in crate::http) struct ConnectionRecords {
    /// The address of the client; empty without a log.
    client: Box<str>,
    number: u64,
    listener: u32,
    protection: Option<ProtectionNote>,
    requests: u32,
    /// When the head of the request at the front of the inbox was complete.
    began: Option<Instant>,
    /// The beginning of the request line of an incomplete head.
    line: Vec<u8>,
    /// The responses in the chain. `None` if there are none.
    records: Option<Box<Records>>,
}

impl Recorder {
    /// A recorder for a log and for metrics. `None` if neither is wanted.
    pub(in crate::http) fn new(
        log: Option<&Arc<AccessLog>>,
        metrics: Option<Arc<WorkerMetrics>>,
    ) -> Option<Self> {
        let is_wanted = log.is_some() || metrics.is_some();
        let log = log.map(WorkerLog::new);
        is_wanted.then(|| Self { log, metrics, spares: Vec::new(), spare_bytes: 0 })
    }

    /// The number of a site in the metrics.
    pub(in crate::http) fn site_number(&self, name: &str) -> u16 {
        self.metrics.as_ref().map_or(NO_SITE, |metrics| metrics.site_number(name))
    }

    /// What is counted of HTTP/2.
    pub(in crate::http) fn http2(&self) -> Option<&Http2Metrics> {
        self.metrics.as_ref().map(|metrics| &metrics.http2)
    }

    /// What is counted of limits.
    pub(in crate::http) fn limits(&self) -> Option<&LimitMetrics> {
        self.metrics.as_ref().map(|metrics| &metrics.limits)
    }

    /// Whether the content coding of a response must be known.
    pub(in crate::http) fn needs_coding(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.format().needs_coding)
    }

    /// The records of a new connection.
    pub(in crate::http) fn connection(&self, info: &ConnectionInfo<'_>) -> ConnectionRecords {
        let client = match &self.log {
            None => Box::default(),
            Some(_) => Client::of(info.addresses()).to_string().into(),
        };
        ConnectionRecords {
            client,
            number: self.log.as_ref().map_or(0, WorkerLog::next_connection),
            listener: info.listener,
            protection: info.protection.map(ProtectionNote::of),
            requests: 0,
            began: None,
            line: Vec::new(),
            records: None,
        }
    }

    /// The head of a request is complete. Lookups may follow before its response.
    #[inline]
    pub(in crate::http) fn begin(&self, connection: &mut ConnectionRecords, now: Instant) {
        if connection.began.is_none() {
            connection.began = Some(now);
            if let Some(metrics) = &self.metrics {
                metrics.requests_begun.add(1);
            }
        }
    }

    /// Notes a response that has just been written into the chain.
    pub(in crate::http) fn note(
        &mut self,
        connection: &mut ConnectionRecords,
        now: Now,
        asked: &RequestNote<'_>,
        written: &Written<'_>,
    ) {
        // A head that is refused has no complete beginning.
        self.begin(connection, now.instant);
        let began = connection.began.take().unwrap_or(now.instant);
        let mut records = connection.records.take().unwrap_or_else(|| self.take_spare());
        self.add(&mut records, connection, began, asked, written);
        connection.records = Some(records);
        connection.line.clear();
        // An idle connection keeps no memory for a head that was slow and long.
        connection.line.shrink_to(LINE_MEMORY_MAX);
    }

    fn add(
        &self,
        records: &mut Records,
        connection: &mut ConnectionRecords,
        began: Instant,
        asked: &RequestNote<'_>,
        written: &Written<'_>,
    ) {
        connection.requests = connection.requests.saturating_add(1);
        let record = Record::new(began, connection.requests, written);
        match &self.log {
            Some(log) => {
                let line = if asked.line.is_empty() { &connection.line } else { asked.line };
                records.add(record, log.format(), &RequestNote { line, ..*asked }, written.site);
            }
            None => records.add_bare(record),
        }
    }

    /// A connection behind a proxy was closed before it began.
    pub(in crate::http) fn turned_away(&self, why: ProxyFailure) {
        if let Some(metrics) = &self.metrics {
            match why {
                ProxyFailure::Denied(_) => metrics.proxied_denied.add(1),
                ProxyFailure::Incomplete | ProxyFailure::Header(_) => metrics.proxy_failed.add(1),
            }
        }
    }

    /// The head of a request on one of several streams is complete.
    pub(in crate::http) fn begin_stream(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.requests_begun.add(1);
        }
    }

    /// The next response to be noted is to a request whose head was complete at this time.
    pub(in crate::http) fn resume(&self, connection: &mut ConnectionRecords, began: Instant) {
        connection.began = Some(began);
    }

    /// A request on one of several streams gets no response.
    pub(in crate::http) fn abandon_stream(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.abandoned.add(1);
        }
    }

    /// Notes a response that is written in parts, of which the first one was just written.
    pub(in crate::http) fn pend(
        &mut self,
        connection: &mut ConnectionRecords,
        began: Instant,
        asked: &RequestNote<'_>,
        written: &Written<'_>,
    ) -> PendingRecord {
        // There may be a hundred for a connection, so they are as short as they can be.
        let mut records = Box::<Records>::default();
        self.add(&mut records, connection, began, asked, written);
        records.shrink_to_fit();
        PendingRecord(records)
    }

    /// The last part of a response, of `bytes` bytes, was just written behind `start` bytes of the
    /// chain, among which are `earlier` bytes of the response.
    pub(in crate::http) fn end_pending(
        &mut self,
        connection: &mut ConnectionRecords,
        mut pending: PendingRecord,
        [start, bytes, earlier]: [u64; 3],
    ) {
        pending.end_at(start, bytes, earlier);
        self.keep(connection, pending);
    }

    /// A response that is written in parts does not go on.
    pub(in crate::http) fn cut_pending(
        &mut self,
        connection: &mut ConnectionRecords,
        mut pending: PendingRecord,
        now: Now,
        cut: Cut,
    ) {
        pending.cut_off(cut);
        if cut.in_chain > 0 {
            // Whether that part leaves is known when the chain is sent.
            self.keep(connection, pending);
            return;
        }
        self.write(connection, &pending.0, now, u64::MAX);
        self.put_spare(pending.0);
    }

    /// Adds a response to those in the chain.
    fn keep(&mut self, connection: &mut ConnectionRecords, pending: PendingRecord) {
        match &mut connection.records {
            None => connection.records = Some(pending.0),
            Some(records) => {
                records.append(&pending.0);
                self.put_spare(pending.0);
            }
        }
    }

    fn take_spare(&mut self) -> Box<Records> {
        let spare = self.spares.pop().unwrap_or_default();
        self.spare_bytes -= spare.capacity().min(self.spare_bytes);
        spare
    }

    /// Counts and logs the responses in a chain that was sent, or of which a part was.
    pub(in crate::http) fn sent(
        &mut self,
        connection: &mut ConnectionRecords,
        now: Now,
        sent: Sent,
    ) {
        let Some(records) = connection.records.take() else { return };
        let of_chain = if sent.complete { u64::MAX } else { sent.bytes };
        self.write(connection, &records, now, of_chain);
        self.put_spare(records);
    }

    /// Counts and logs responses of which so many bytes of their chain were sent.
    fn write(
        &mut self,
        connection: &ConnectionRecords,
        records: &Records,
        now: Now,
        of_chain: u64,
    ) {
        if let Some(metrics) = &self.metrics {
            for record in records.list() {
                metrics.count(record, now.instant, of_chain);
            }
        }
        if let Some(log) = &mut self.log {
            log.set_time(now);
            let count = log.format().texts.len();
            for (record, texts) in records.iter(count) {
                if !record.is_logged {
                    continue;
                }
                let line = LogLine {
                    record,
                    texts,
                    client: &connection.client,
                    connection: connection.number,
                    listener: connection.listener,
                    protection: connection.protection.as_ref(),
                    of_chain,
                    now: now.instant,
                };
                log.append(now.instant, &line);
            }
        }
    }

    fn put_spare(&mut self, mut records: Box<Records>) {
        records.clear();
        let bytes = records.capacity();
        if self.spare_bytes + bytes <= SPARE_BYTES_MAX {
            self.spare_bytes += bytes;
            self.spares.push(records);
        }
    }

    /// The connection has ended: what was not sent is lost, and a request that was not answered yet
    /// gets no answer.
    pub(in crate::http) fn closed(&mut self, connection: &mut ConnectionRecords, now: Now) {
        self.sent(connection, now, Sent { bytes: 0, complete: false });
        if connection.began.take().is_some()
            && let Some(metrics) = &self.metrics
        {
            metrics.abandoned.add(1);
        }
    }

    /// Keeps the request line of a head that may never be complete.
    pub(in crate::http) fn keep_line(&self, connection: &mut ConnectionRecords, head: &[u8]) {
        if self.log.is_none() {
            return;
        }
        let head = head.trim_ascii_start();
        let end = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
        connection.line.clear();
        connection.line.extend_from_slice(&head[..end.min(LINE_KEPT_MAX)]);
    }

    /// When [`Recorder::flush_due`] has to be called.
    #[inline]
    pub(in crate::http) fn deadline(&self) -> Option<Instant> {
        self.log.as_ref().and_then(WorkerLog::deadline)
    }

    /// Passes lines on that have waited long enough for others.
    #[inline]
    pub(in crate::http) fn flush_due(&mut self, now: Instant) {
        if let Some(log) = &mut self.log {
            log.flush_due(now);
        }
    }
}
