//! Header blocks (RFC 9113 sections 4.3, 6.2 and 6.10): of requests, and of trailers.

use super::receive::without_padding;
use super::{BLOCK_BYTES_MAX, Block, Http2};
use crate::driver::Chain;
use crate::http::h2::calm::Anomaly;
use crate::http::h2::frame::{ConnectionError, ErrorCode, FrameHead, flag};
use crate::http::h2::hpack::{CompressionError, FieldList, ListLimits};
use crate::http::h2::priority::Priority;
use crate::http::h2::request::{BodyNote, Malformed, check_field};
use crate::http::h2::stream::{NotOpen, Upload};
use crate::http::h2::window::ReceiveWindow;
use crate::http::semantics::request::{FIELDS_MAX, HEAD_TOO_LARGE, Refusal, TOO_MANY_FIELDS};
use crate::http::site::Sites;
use crate::session::Context;

/// The most frames that continue a header block. One without this limit and that of its bytes never
/// ends (CVE-2024-27316).
const CONTINUATIONS_MAX: u8 = 8;

/// How many pseudo-header fields a request has at most (section 8.3.1), beside its fields.
const PSEUDO_FIELDS: usize = 4;

/// The most bytes of the fields of a block, whether they are kept or not. No client that means well
/// comes near it.
const WORK_MAX: usize = 64 * 1024;

/// The memory of requests that wait to be answered, and of records of answers that are being sent,
/// in bytes. A browser that requests a hundred images at once needs about 100 KiB.
const KEPT_BYTES_MAX: usize = 192 * 1024;

/// What a block turned out to be.
enum Decoded {
    Head(BodyNote),
    Malformed,
    /// Its fields are too many or too long.
    TooLarge(Refusal),
}

impl Http2 {
    pub(super) fn take_headers(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        if head.stream.is_multiple_of(2) {
            // Section 5.1.1.
            return Err(ConnectionError::protocol("A client begins streams with odd numbers."));
        }
        // Priorities of RFC 7540 are ignored.
        let priority = if head.has(flag::PRIORITY) { 5 } else { 0 };
        if payload.len() < priority + usize::from(head.has(flag::PADDED)) {
            return Err(ConnectionError::size("HEADERS has no room for its priority."));
        }
        let reason = "The padding is longer than the header block.";
        let fragment = without_padding(head, payload)?
            .get(priority..)
            .ok_or(ConnectionError::protocol(reason))?;
        let end_stream = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.take_block(cx, head.stream, end_stream, fragment, out);
        }
        check_block_length(fragment.len())?;
        let (stream, bytes) = (head.stream, fragment.to_vec());
        self.block = Some(Box::new(Block { stream, end_stream, bytes, continuations: 0 }));
        Ok(())
    }

    pub(super) fn take_continuation(
        &mut self,
        cx: &mut Context<'_, Sites>,
        head: FrameHead,
        payload: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            let reason = "CONTINUATION does not follow the beginning of its header block.";
            return Err(ConnectionError::protocol(reason));
        };
        block.continuations += 1;
        check_block_length(block.bytes.len() + payload.len())?;
        if block.continuations > CONTINUATIONS_MAX {
            let reason = "A header block has too many frames.";
            return Err(ConnectionError::new(ErrorCode::EnhanceYourCalm, reason));
        }
        block.bytes.extend_from_slice(payload);
        if head.has(flag::END_HEADERS) {
            return self.take_block(cx, block.stream, block.end_stream, &block.bytes, out);
        }
        self.block = Some(block);
        Ok(())
    }

    /// Takes a block that is complete. Whatever it is for, it is decoded, because it may change the
    /// table that later blocks refer to.
    fn take_block(
        &mut self,
        cx: &mut Context<'_, Sites>,
        id: u32,
        end_stream: bool,
        bytes: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        // A stream that is reset may be in the table because of its lookup.
        if self.streams.get(id).is_some_and(|stream| !stream.is_reset) {
            return self.take_trailers(cx, id, end_stream, bytes, out);
        }
        if self.is_given_up(id) {
            // Section 6.8: it will be asked again on another connection.
            self.decode_trailers(bytes)?;
            self.note_refused(end_stream);
            return self.pay(cx, Anomaly::Small);
        }
        match self.streams.not_open(id) {
            NotOpen::Idle => {}
            // They were on their way when this side has reset the stream (section 5.1).
            NotOpen::Reset => {
                self.decode_trailers(bytes)?;
                return self.discard_trailers(cx, end_stream);
            }
            NotOpen::Closed => {
                let reason = "HEADERS comes for a stream that is closed.";
                return Err(ConnectionError::new(ErrorCode::StreamClosed, reason));
            }
            NotOpen::Unknown => {
                // This side may have reset it, and may not remember that.
                let are_trailers = end_stream && self.decode_trailers(bytes)?;
                if are_trailers {
                    return self.discard_trailers(cx, end_stream);
                }
                return Err(ConnectionError::protocol("The numbers of streams do not grow."));
            }
        }
        self.streams.begin(id);
        let decoded = self.decode_request(bytes)?;
        if self.is_leaving {
            // The connection ends as soon as the answers to what came before GOAWAY are written.
            self.note_refused(end_stream);
            return self.reset(cx, out, id, ErrorCode::RefusedStream, Anomaly::Refused);
        }
        let kept_bytes = self.streams.kept_bytes();
        if self.streams.is_full() || kept_bytes + self.head.memory() > KEPT_BYTES_MAX {
            self.note_refused(end_stream);
            return self.reset(cx, out, id, ErrorCode::RefusedStream, Anomaly::Refused);
        }
        let note = match decoded {
            Decoded::Head(note) => note,
            Decoded::Malformed => {
                self.note_refused(end_stream);
                return self.reset(cx, out, id, ErrorCode::ProtocolError, Anomaly::Fault);
            }
            Decoded::TooLarge(refusal) => {
                let upload = upload(end_stream, BodyNote::NONE);
                return self.refuse_large(cx, out, id, upload, refusal);
            }
        };
        if end_stream && note.length.is_some_and(|length| length > 0) {
            // The announced content is missing (section 8.1.1).
            return self.reset(cx, out, id, ErrorCode::ProtocolError, Anomaly::Fault);
        }
        self.take_request(cx, out, id, upload(end_stream, note), note.expects_continue)
    }

    fn take_trailers(
        &mut self,
        cx: &mut Context<'_, Sites>,
        id: u32,
        end_stream: bool,
        bytes: &[u8],
        out: &mut Chain,
    ) -> Result<(), ConnectionError> {
        let is_well_formed = self.decode_trailers(bytes)?;
        let Some(stream) = self.streams.get(id) else { return Ok(()) };
        let Upload::Open { announced, received, .. } = stream.upload else {
            return self.reset(cx, out, id, ErrorCode::StreamClosed, Anomaly::Fault);
        };
        let is_complete = announced.is_none_or(|announced| announced == received);
        if !end_stream || !is_well_formed || !is_complete {
            // Section 8.1.
            return self.reset(cx, out, id, ErrorCode::ProtocolError, Anomaly::Fault);
        }
        stream.upload = Upload::Ended;
        self.remove_if_done(id);
        Ok(())
    }

    fn limits(&self) -> ListLimits {
        let bytes_max = self.fields_bytes_max as usize;
        ListLimits { fields_max: FIELDS_MAX + PSEUDO_FIELDS, bytes_max, work_max: WORK_MAX }
    }

    /// Decodes the head of a request into the memory for it.
    fn decode_request(&mut self, bytes: &[u8]) -> Result<Decoded, ConnectionError> {
        let limits = self.limits();
        let mut reader = self.head.read();
        let list = self
            .decoder
            .decode(bytes, limits, &mut |name, value| reader.visit(name, value))
            .map_err(compression_error)?;
        Ok(match (list, reader.finish()) {
            (FieldList::TooMany, _) => Decoded::TooLarge(TOO_MANY_FIELDS),
            (FieldList::TooLarge, _) => Decoded::TooLarge(HEAD_TOO_LARGE),
            (FieldList::Whole, Ok(note)) => Decoded::Head(note),
            (FieldList::Whole, Err(Malformed)) => Decoded::Malformed,
        })
    }

    /// Decodes trailers, which are discarded. Returns whether they are well formed.
    fn decode_trailers(&mut self, bytes: &[u8]) -> Result<bool, ConnectionError> {
        let mut is_well_formed = true;
        let check = &mut |name: &[u8], value: &[u8]| {
            is_well_formed &= check_field(name, value).is_ok();
        };
        let limits = self.limits();
        self.decoder.decode(bytes, limits, check).map_err(compression_error)?;
        Ok(is_well_formed)
    }

    /// The priority that a stream begins with: the one of PRIORITY_UPDATE, else that of its field
    /// (RFC 9218 section 7.1).
    pub(super) fn first_priority(&mut self, id: u32) -> Priority {
        let field = Priority::of_lines(self.head.fields(b"priority"));
        self.streams.take_early(id).or(field).unwrap_or_default()
    }
}

fn check_block_length(bytes: usize) -> Result<(), ConnectionError> {
    if bytes <= BLOCK_BYTES_MAX {
        return Ok(());
    }
    let reason = "A header block is longer than this server accepts.";
    Err(ConnectionError::new(ErrorCode::EnhanceYourCalm, reason))
}

fn upload(end_stream: bool, note: BodyNote) -> Upload {
    if end_stream {
        return Upload::Ended;
    }
    let window = ReceiveWindow::new();
    Upload::Open { announced: note.length, received: 0, window, is_unwanted: false }
}

fn compression_error(error: CompressionError) -> ConnectionError {
    match error {
        CompressionError::TooMuchWork => {
            let reason = "The fields of a header block are longer than this server accepts.";
            ConnectionError::new(ErrorCode::EnhanceYourCalm, reason)
        }
        error => ConnectionError::new(ErrorCode::CompressionError, error.reason()),
    }
}
