//! What sessions note for the access log and the metrics.

use std::time::Instant;

use super::super::origin::Origin;
use super::super::response::Response;
use super::{Site, Sites};
use crate::driver::Now;
use crate::http::records::metrics::{Http2Metrics, LimitMetrics};
use crate::http::records::{ConnectionRecords, Cut, PendingRecord, Recorder, RequestNote, Written};
use crate::metrics::Counter;
use crate::session::{ConnectionInfo, Sent};

impl Sites {
    /// Records responses as the settings say, as the worker with this number.
    #[must_use]
    pub fn recording(mut self, worker: usize) -> Self {
        let metrics = self.settings.metrics.as_ref();
        let metrics = metrics.and_then(|metrics| metrics.workers().get(worker).cloned());
        self.recorder = Recorder::new(self.settings.access_log.as_ref(), metrics);
        self.number_sites();
        self
    }

    /// Finds out the numbers of the sites in the metrics.
    pub(super) fn number_sites(&mut self) {
        let Some(recorder) = &self.recorder else { return };
        for site in &mut self.sites {
            site.number_in_metrics = recorder.site_number(&site.settings.name);
        }
    }

    /// The records of a new connection; `None` if nothing is recorded.
    #[inline]
    pub(in crate::http) fn records(
        &self,
        info: &ConnectionInfo<'_>,
    ) -> Option<Box<ConnectionRecords>> {
        self.recorder.as_ref().map(|recorder| Box::new(recorder.connection(info)))
    }

    /// The head of a request is complete.
    #[inline]
    pub(in crate::http) fn begin_request(&self, records: &mut ConnectionRecords, now: Now) {
        if let Some(recorder) = &self.recorder {
            recorder.begin(records, now.instant);
        }
    }

    /// Notes a response that has just been written into a chain, where `start` bytes are before it,
    /// and `end` with it.
    pub(in crate::http) fn note(
        &mut self,
        records: &mut ConnectionRecords,
        now: Now,
        asked: &RequestNote<'_>,
        response: &Response,
        origin: Origin,
        [start, end]: [u64; 2],
    ) {
        let Some(recorder) = &mut self.recorder else { return };
        let head_bytes = end - start - response.body_len();
        let needs_coding = recorder.needs_coding();
        let written = written(&self.sites, response, origin, start, head_bytes, needs_coding);
        recorder.note(records, now, asked, &written);
    }

    /// What is counted of HTTP/2; `None` if nothing is counted.
    pub(in crate::http) fn http2_metrics(&self) -> Option<&Http2Metrics> {
        self.recorder.as_ref().and_then(Recorder::http2)
    }

    /// Counts a request that a limit has refused, or a password.
    pub(in crate::http::site) fn count_limit(&self, which: fn(&LimitMetrics) -> &Counter) {
        if let Some(metrics) = self.recorder.as_ref().and_then(Recorder::limits) {
            which(metrics).add(1);
        }
    }

    /// The head of a request on one of several streams is complete.
    pub(in crate::http) fn begin_stream(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.begin_stream();
        }
    }

    /// A request on one of several streams gets no response.
    pub(in crate::http) fn abandon_stream(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.abandon_stream();
        }
    }

    /// The same as [`Sites::note`] for a request that `began` on one of several streams.
    #[expect(clippy::too_many_arguments, reason = "the log needs all that is known")]
    pub(in crate::http) fn note_stream(
        &mut self,
        records: &mut ConnectionRecords,
        began: Instant,
        now: Now,
        asked: &RequestNote<'_>,
        response: &Response,
        origin: Origin,
        place: [u64; 2],
    ) {
        if let Some(recorder) = &self.recorder {
            recorder.resume(records, began);
        }
        self.note(records, now, asked, response, origin, place);
    }

    /// Notes a response of which the head was just written, of `head_bytes` bytes. Its content
    /// follows in parts.
    pub(in crate::http) fn pend(
        &mut self,
        records: &mut ConnectionRecords,
        began: Instant,
        asked: &RequestNote<'_>,
        response: &Response,
        origin: Origin,
        head_bytes: u64,
    ) -> Option<PendingRecord> {
        let recorder = self.recorder.as_mut()?;
        let needs_coding = recorder.needs_coding();
        let written = written(&self.sites, response, origin, 0, head_bytes, needs_coding);
        Some(recorder.pend(records, began, asked, &written))
    }

    /// The last part of a response, of `bytes` bytes, was just written behind `start` bytes of the
    /// chain, among which are `earlier` bytes of the response.
    pub(in crate::http) fn end_pending(
        &mut self,
        records: &mut ConnectionRecords,
        pending: PendingRecord,
        [start, bytes, earlier]: [u64; 3],
    ) {
        if let Some(recorder) = &mut self.recorder {
            recorder.end_pending(records, pending, [start, bytes, earlier]);
        }
    }

    /// A response that is written in parts does not go on.
    pub(in crate::http) fn cut_pending(
        &mut self,
        records: &mut ConnectionRecords,
        pending: PendingRecord,
        now: Now,
        cut: Cut,
    ) {
        if let Some(recorder) = &mut self.recorder {
            recorder.cut_pending(records, pending, now, cut);
        }
    }

    /// Keeps the request line of a head that may never be complete.
    pub(in crate::http) fn keep_line(&self, records: &mut ConnectionRecords, head: &[u8]) {
        if let Some(recorder) = &self.recorder {
            recorder.keep_line(records, head);
        }
    }

    /// The connection has ended.
    pub(in crate::http) fn closed(&mut self, records: &mut ConnectionRecords, now: Now) {
        if let Some(recorder) = &mut self.recorder {
            recorder.closed(records, now);
        }
    }

    /// Counts and logs the responses in a chain that was sent, or of which a part was.
    pub(in crate::http) fn sent(&mut self, records: &mut ConnectionRecords, now: Now, sent: Sent) {
        if let Some(recorder) = &mut self.recorder {
            recorder.sent(records, now, sent);
        }
    }
}

/// What the records need to know of a response.
fn written<'s>(
    sites: &'s [Site],
    response: &Response,
    origin: Origin,
    start: u64,
    head_bytes: u64,
    needs_coding: bool,
) -> Written<'s> {
    let site = origin.place.map(|place| &sites[place]);
    Written {
        site: site.map(|site| site.settings.name.as_str()),
        site_number: site.map_or(0, |site| site.number_in_metrics),
        status: response.status,
        coding: if needs_coding { response.coding() } else { None },
        cache: origin.cache,
        client: origin.client,
        says_secure: origin.says_secure,
        is_logged: origin.is_logged,
        start,
        before: 0,
        head_bytes,
        body_bytes: response.body_len(),
    }
}
