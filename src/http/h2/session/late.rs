//! What comes for streams that this side has ended, because their clients did not know that yet
//! (RFC 9113 section 5.1).
//!
//! An upload that is refused goes on until its client has seen the refusal: content as long as the
//! window of the stream lets it, and then its end. That costs the client nothing. Counters of the
//! connection say how much of it may still come, and what is more than that is an anomaly.

use super::Http2;
use crate::driver::Chain;
use crate::http::h2::calm::Anomaly;
use crate::http::h2::frame::{ConnectionError, ErrorCode};
use crate::http::h2::stream::{NotOpen, Upload};
use crate::http::h2::window::WINDOW_DEFAULT;
use crate::http::site::Sites;
use crate::session::Context;

/// DATA of a stream that this side has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateData {
    /// The length of the content.
    pub(super) content: u64,
    /// The length of the content with its padding: what counts for the windows.
    pub(super) bytes: u64,
    pub(super) is_end: bool,
}

impl Http2 {
    /// A request is refused before it is in the table. As long as its client does not know that,
    /// its content comes, as much as the window of a stream allows, and then its end.
    pub(super) fn note_refused(&mut self, end_stream: bool) {
        if !end_stream {
            self.on_the_way += u64::from(WINDOW_DEFAULT);
            self.ends_on_the_way += 1;
        }
    }

    /// The stream of an upload is reset. What its window allows may be on the way, and its end.
    pub(super) fn note_on_the_way(&mut self, upload: Upload) {
        if let Upload::Open { window, .. } = upload {
            self.on_the_way += u64::from(window.left());
            self.ends_on_the_way += 1;
        }
    }

    /// DATA has come for a stream that is not open.
    pub(super) fn data_of_closed(
        &mut self,
        cx: &mut Context<'_, Sites>,
        id: u32,
        late: LateData,
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        match self.streams.not_open(id) {
            NotOpen::Idle => Err(ConnectionError::protocol("DATA comes before its request.")),
            NotOpen::Closed => self.reset(cx, out, id, ErrorCode::StreamClosed, Anomaly::Fault),
            // The client may not know yet (section 5.1): an upload that was refused goes on for a
            // window. Whether this side has reset a stream that is forgotten is not known; a second
            // reset would be wrong.
            NotOpen::Reset | NotOpen::Unknown => self.discard_data(cx, late),
        }
    }

    /// Discards DATA of a stream that this side has ended. It may have been on the way, unless it
    /// is more than the windows have allowed. A frame of nothing would never be too much, so it is
    /// on the way only as the end of an upload.
    pub(super) fn discard_data(
        &mut self,
        cx: &Context<'_, Sites>,
        LateData { content, bytes, is_end }: LateData,
    ) -> Result<(), ConnectionError> {
        let was_allowed = match self.on_the_way.checked_sub(bytes) {
            Some(rest) => {
                self.on_the_way = rest;
                true
            }
            None => false,
        };
        let is_the_end = is_end && self.take_end();
        match was_allowed && (content > 0 || is_the_end) {
            true => Ok(()),
            false => self.pay(cx, Anomaly::Small),
        }
    }

    /// The end of an upload has come whose stream this side has ended. Returns whether one may have
    /// been on the way.
    fn take_end(&mut self) -> bool {
        let rest = self.ends_on_the_way.checked_sub(1);
        self.ends_on_the_way = rest.unwrap_or(0);
        rest.is_some()
    }

    /// Trailers have come for a stream that this side has ended. They end its upload, so they are
    /// an anomaly only if there is none to end.
    pub(super) fn discard_trailers(
        &mut self,
        cx: &Context<'_, Sites>,
        is_end: bool,
    ) -> Result<(), ConnectionError> {
        if is_end && self.take_end() { Ok(()) } else { self.pay(cx, Anomaly::Small) }
    }
}
