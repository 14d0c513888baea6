//! What sessions note for the access log and the metrics.

use super::super::answer::Origin;
use super::super::response::Response;
use super::Sites;
use crate::driver::Now;
use crate::http::records::{Asked, ConnectionRecords, Recorder, Written};
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
        asked: &Asked<'_>,
        response: &Response,
        origin: Origin,
        [start, end]: [u64; 2],
    ) {
        let Some(recorder) = &mut self.recorder else { return };
        let body_bytes = response.body_len();
        let site = origin.place.map(|place| &self.sites[place]);
        let written = Written {
            site: site.map(|site| site.settings.name.as_str()),
            site_number: site.map_or(0, |site| site.number_in_metrics),
            status: response.status,
            coding: if recorder.needs_coding() { response.coding() } else { None },
            cache: origin.cache,
            is_logged: origin.is_logged,
            start,
            head_bytes: end - start - body_bytes,
            body_bytes,
        };
        recorder.note(records, now, asked, &written);
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
