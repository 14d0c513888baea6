//! HTTP/2 of the client (RFC 9113): the streams of one connection. It performs no I/O.
//!
//! It keeps a number of requests in progress: each answer that ends makes room for the next one.
//! It checks as much as the client of HTTP/1.1 does: the status and the length of every answer. It
//! decodes the fields of the first answers on a connection. If each of their blocks begins with the
//! byte that stands for the status 200, it looks only at that byte from then on, because decoding
//! is CPU time of the client. If not, it decodes all of them.

mod error;
mod status;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::http::h2::frame::{
    FRAME_BYTES_MAX, FRAME_HEAD_BYTES, FrameHead, PREFACE, flag, kind, setting, word,
    write_headers, write_ping, write_settings, write_settings_ack, write_window_update,
};
use crate::http::h2::hpack::encode_field;
pub use error::Http2ClientError;
use status::StatusCheck;

/// The window of each stream, in bytes: larger than those of browsers, so it rarely delays.
const STREAM_WINDOW: u32 = 16 << 20;

/// The window of the connection, in bytes: more than 100 streams of the largest usual files need.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// The window of a connection at first (section 6.9.2).
const WINDOW_DEFAULT: u32 = 65_535;

/// The largest number of a stream (section 5.1.1).
const STREAM_MAX: u32 = 0x7fff_ffff;

/// Maximum size of the header block of an answer.
const BLOCK_BYTES_MAX: usize = 16 * 1024;

/// Maximum size of what waits to be sent: 100 requests with long paths, and acknowledgements.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// The streams of one connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Http2Client {
    /// The header block of a request, which refers to no dynamic table.
    request: Vec<u8>,
    /// The expected length of every answer.
    length: u64,
    /// The number of requests in progress.
    streams: u32,
    /// The number of the next stream.
    next: u32,
    open: Vec<OpenStream>,
    /// A frame of which a part has arrived; DATA is not collected.
    partial: Vec<u8>,
    data: DataLeft,
    /// The header block that CONTINUATION goes on with.
    block: Option<HeaderBlock>,
    status: StatusCheck,
    /// Bytes of DATA since the window of the connection was opened last.
    used: u32,
    /// Whether the server has begun with SETTINGS.
    is_http2: bool,
    output: Vec<u8>,
    /// When the requests were made whose answers have ended.
    finished: Vec<Instant>,
}

/// A request whose answer has not ended.
#[derive(Debug)]
struct OpenStream {
    id: u32,
    since: Instant,
    has_head: bool,
    /// Bytes of the content so far.
    received: u64,
    /// Bytes of DATA since the window was opened last.
    used: u32,
}

/// The rest of a frame of DATA.
#[derive(Default, Debug)]
struct DataLeft {
    stream: u32,
    bytes: usize,
    is_end: bool,
}

/// A header block that is not complete.
#[derive(Debug)]
struct HeaderBlock {
    stream: u32,
    is_end: bool,
    bytes: Vec<u8>,
}

/// The header block of a request for `path`. `is_secure` says whether it goes over TLS.
pub(super) fn request_block(authority: &str, path: &str, is_secure: bool) -> Vec<u8> {
    let scheme = if is_secure { "https" } else { "http" };
    let mut block = Vec::new();
    for (name, value) in
        [(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", path)]
    {
        encode_field(&mut block, name.as_bytes(), value.as_bytes());
    }
    block
}

impl Http2Client {
    /// A client that keeps `streams` requests in progress and expects answers of `length` bytes.
    /// `request` is the header block of a request.
    pub(super) fn new(request: Vec<u8>, streams: u32, length: u64) -> Self {
        Self {
            request,
            length,
            streams,
            next: 1,
            open: Vec::new(),
            partial: Vec::new(),
            data: DataLeft::default(),
            block: None,
            status: StatusCheck::new(),
            used: 0,
            is_http2: false,
            output: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Begins a connection: with the preface and the first requests, which count from `since` on.
    /// Everything of a connection before is discarded.
    ///
    /// # Errors
    ///
    /// As for [`Http2Client::request`].
    pub(super) fn begin(&mut self, since: Instant) -> Result<(), Http2ClientError> {
        *self = Self::new(std::mem::take(&mut self.request), self.streams, self.length);
        let out = &mut self.output;
        out.extend_from_slice(PREFACE);
        let windows = (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW);
        write_settings(out, &[(setting::ENABLE_PUSH, 0), windows]);
        write_window_update(out, 0, CONNECTION_WINDOW - WINDOW_DEFAULT);
        self.request(since)
    }

    /// Makes requests until as many are in progress as there should be.
    ///
    /// # Errors
    ///
    /// When the connection has no numbers for streams left.
    pub(super) fn request(&mut self, now: Instant) -> Result<(), Http2ClientError> {
        while self.open.len() < self.streams as usize {
            if self.next > STREAM_MAX {
                return Err(Http2ClientError::NoNumbers);
            }
            let (id, request) = (self.next, &self.request);
            write_headers(&mut self.output, id, true, |out| out.extend_from_slice(request));
            self.open.push(OpenStream { id, since: now, has_head: false, received: 0, used: 0 });
            self.next += 2;
        }
        Ok(())
    }

    /// The number of requests in progress.
    pub(super) fn in_progress(&self) -> usize {
        self.open.len()
    }

    /// What is to be sent. The caller empties it.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether there is something to send.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// When the requests were made whose answers have ended since the last call.
    pub(super) fn finished(&mut self) -> impl Iterator<Item = Instant> {
        self.finished.drain(..)
    }

    /// Takes bytes that have arrived, and returns how many answers they complete.
    ///
    /// # Errors
    ///
    /// When an answer is not the expected one, or the server ends a stream or the connection.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<u32, Http2ClientError> {
        let before = self.finished.len();
        while !bytes.is_empty() {
            let used = self.take(bytes)?;
            bytes = &bytes[used..];
        }
        match self.output.len() > OUTPUT_BYTES_MAX {
            true => Err(Http2ClientError::Protocol("it wants more acknowledgements than it reads")),
            false => Ok((self.finished.len() - before) as u32),
        }
    }

    /// Takes some of the bytes, and returns how many.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Http2ClientError> {
        if self.data.bytes > 0 {
            let count = self.data.bytes.min(bytes.len());
            self.data.bytes -= count;
            if self.data.bytes == 0 {
                self.data_ended()?;
            }
            return Ok(count);
        }
        if self.partial.is_empty() {
            let used = self.take_frame(bytes)?;
            if used > 0 {
                return Ok(used);
            }
            self.partial.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let mut partial = std::mem::take(&mut self.partial);
        let head = FrameHead::parse(&partial);
        let wanted = FRAME_HEAD_BYTES + head.map_or(0, |head| head.length);
        let count = bytes.len().min(wanted - partial.len());
        partial.extend_from_slice(&bytes[..count]);
        if self.take_frame(&partial)? > 0 {
            partial.clear();
        }
        self.partial = partial;
        Ok(count)
    }

    /// Takes the frame at the front of `bytes`, or the head of one with DATA. Returns how many
    /// bytes it took; none if they are too few.
    fn take_frame(&mut self, bytes: &[u8]) -> Result<usize, Http2ClientError> {
        let Some(head) = FrameHead::parse(bytes) else { return Ok(0) };
        if !self.is_http2 {
            // Section 3.4.
            if head.kind != kind::SETTINGS || head.has(flag::ACK) || head.stream != 0 {
                return Err(Http2ClientError::NotHttp2);
            }
            self.is_http2 = true;
        }
        if head.length > FRAME_BYTES_MAX {
            return Err(Http2ClientError::Protocol("a frame is longer than 16,384 bytes"));
        }
        if self.block.is_some() && head.kind != kind::CONTINUATION {
            return Err(Http2ClientError::Protocol("a frame interrupts a header block"));
        }
        if head.kind == kind::DATA && !head.has(flag::PADDED) {
            self.begin_data(head, head.length)?;
            self.data.bytes = head.length;
            if head.length == 0 {
                self.data_ended()?;
            }
            return Ok(FRAME_HEAD_BYTES);
        }
        let end = FRAME_HEAD_BYTES + head.length;
        let Some(payload) = bytes.get(FRAME_HEAD_BYTES..end) else { return Ok(0) };
        self.take_whole(head, payload)?;
        Ok(end)
    }

    /// Takes a frame with its payload.
    fn take_whole(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Http2ClientError> {
        match head.kind {
            kind::DATA => {
                self.begin_data(head, without_padding(head, payload)?.len())?;
                self.data_ended()
            }
            kind::HEADERS => {
                let bytes = without_priority(head, without_padding(head, payload)?)?;
                let is_end = head.has(flag::END_STREAM);
                match head.has(flag::END_HEADERS) {
                    true => self.take_block(head.stream, is_end, bytes),
                    false => {
                        let (stream, bytes) = (head.stream, bytes.to_vec());
                        self.block = Some(HeaderBlock { stream, is_end, bytes });
                        Ok(())
                    }
                }
            }
            kind::CONTINUATION => self.go_on_with_block(head, payload),
            kind::RST_STREAM if self.find(head.stream).is_some() => {
                Err(Http2ClientError::Reset(word(payload).unwrap_or_default()))
            }
            kind::SETTINGS if !head.has(flag::ACK) => self.take_settings(payload),
            kind::PUSH_PROMISE => Err(Http2ClientError::Protocol("it pushes, but may not")),
            kind::PING if !head.has(flag::ACK) => {
                let Ok(opaque) = payload.try_into() else {
                    return Err(Http2ClientError::Protocol("PING does not have 8 bytes"));
                };
                write_ping(&mut self.output, true, opaque);
                Ok(())
            }
            kind::GOAWAY => {
                let code = payload.get(4..).and_then(word).unwrap_or_default();
                let reason = payload.get(8..).unwrap_or_default();
                Err(Http2ClientError::goaway(code, reason))
            }
            // Requests have no content, so the windows of the server do not matter. Frames for
            // streams that are over may come late, and unknown ones are ignored (section 5.5).
            _ => Ok(()),
        }
    }

    fn take_settings(&mut self, payload: &[u8]) -> Result<(), Http2ClientError> {
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Http2ClientError::Protocol("SETTINGS ends within a parameter"));
        }
        for [a, b, value @ ..] in settings {
            let allowed = u32::from_be_bytes(*value);
            let name = u16::from_be_bytes([*a, *b]);
            if name == setting::MAX_CONCURRENT_STREAMS && allowed < self.streams {
                return Err(Http2ClientError::FewStreams { allowed, wanted: self.streams });
            }
        }
        write_settings_ack(&mut self.output);
        Ok(())
    }

    fn go_on_with_block(
        &mut self,
        head: FrameHead,
        payload: &[u8],
    ) -> Result<(), Http2ClientError> {
        let Some(mut block) = self.block.take().filter(|block| block.stream == head.stream) else {
            return Err(Http2ClientError::Protocol("CONTINUATION belongs to no header block"));
        };
        block.bytes.extend_from_slice(payload);
        if block.bytes.len() > BLOCK_BYTES_MAX {
            return Err(Http2ClientError::LongHead);
        }
        match head.has(flag::END_HEADERS) {
            true => self.take_block(block.stream, block.is_end, &block.bytes),
            false => {
                self.block = Some(block);
                Ok(())
            }
        }
    }

    /// Takes a whole header block: the head of an answer, or what follows its content.
    fn take_block(&mut self, id: u32, is_end: bool, block: &[u8]) -> Result<(), Http2ClientError> {
        let place = self.find(id).ok_or(Http2ClientError::NoRequest)?;
        match std::mem::replace(&mut self.open[place].has_head, true) {
            false => self.status.check(block)?,
            true => self.status.skip(block)?,
        }
        if is_end { self.answer_ended(place) } else { Ok(()) }
    }

    /// A frame of DATA begins, which has `content` bytes besides its padding.
    fn begin_data(&mut self, head: FrameHead, content: usize) -> Result<(), Http2ClientError> {
        let place = self.find(head.stream).ok_or(Http2ClientError::NoRequest)?;
        let stream = &mut self.open[place];
        if !stream.has_head {
            return Err(Http2ClientError::Protocol("DATA comes before HEADERS"));
        }
        stream.received += content as u64;
        if stream.received > self.length {
            let (found, expected) = (stream.received, self.length);
            return Err(Http2ClientError::Length { found, expected });
        }
        let is_end = head.has(flag::END_STREAM);
        self.data = DataLeft { stream: head.stream, bytes: 0, is_end };
        // Padding takes room in the windows too (section 6.9.1).
        stream.used += head.length as u32;
        self.used += head.length as u32;
        if stream.used > STREAM_WINDOW / 2 && !is_end {
            let used = std::mem::take(&mut stream.used);
            write_window_update(&mut self.output, head.stream, used);
        }
        if self.used > CONNECTION_WINDOW / 2 {
            write_window_update(&mut self.output, 0, std::mem::take(&mut self.used));
        }
        Ok(())
    }

    /// All of a frame of DATA has arrived.
    fn data_ended(&mut self) -> Result<(), Http2ClientError> {
        if !self.data.is_end {
            return Ok(());
        }
        let place = self.find(self.data.stream).ok_or(Http2ClientError::NoRequest)?;
        self.answer_ended(place)
    }

    fn answer_ended(&mut self, place: usize) -> Result<(), Http2ClientError> {
        // The order matters: that of the numbers makes `find` short.
        let stream = self.open.remove(place);
        let (found, expected) = (stream.received, self.length);
        if found != expected {
            return Err(Http2ClientError::Length { found, expected });
        }
        self.finished.push(stream.since);
        Ok(())
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.open.iter().position(|stream| stream.id == id)
    }
}

/// The content of a frame that may be padded (sections 6.1 and 6.2).
fn without_padding(head: FrameHead, payload: &[u8]) -> Result<&[u8], Http2ClientError> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let content = payload.split_first().and_then(|(padding, content)| {
        content.get(..content.len().checked_sub(usize::from(*padding))?)
    });
    content.ok_or(Http2ClientError::Protocol("the padding of a frame is too long"))
}

/// The header block after the deprecated priority (section 6.2).
fn without_priority(head: FrameHead, content: &[u8]) -> Result<&[u8], Http2ClientError> {
    let length = if head.has(flag::PRIORITY) { 5 } else { 0 };
    content.get(length..).ok_or(Http2ClientError::Protocol("HEADERS is too short"))
}
