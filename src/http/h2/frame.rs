//! Frames of HTTP/2 (RFC 9113 sections 4 and 6): their heads, and how frames are written.
//!
//! Parsing and writing allocate nothing but room in the buffer that is written to.

/// The bytes before the first frame of a client (section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of the head of a frame (section 4.1).
pub const FRAME_HEAD_BYTES: usize = 9;

/// The most bytes of the payload of a frame, in both directions: the smallest limit that a peer may
/// have (section 4.2), so every peer accepts it.
pub const FRAME_BYTES_MAX: usize = 16_384;

/// The types of frames (section 6, and RFC 9218 section 7.1).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const PRIORITY_UPDATE: u8 = 0x10;
}

/// The flags of frames. `ACK` has the same bit as `END_STREAM`, on other types.
pub(crate) mod flag {
    pub(crate) const END_STREAM: u8 = 0x1;
    pub(crate) const ACK: u8 = 0x1;
    pub(crate) const END_HEADERS: u8 = 0x4;
    pub(crate) const PADDED: u8 = 0x8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// The parameters of SETTINGS (section 6.5.2, and RFC 9218 section 2.1).
pub(crate) mod setting {
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub(crate) const NO_RFC7540_PRIORITIES: u16 = 9;
}

/// Why a stream or a connection ends (section 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ErrorCode {
    /// Nothing is wrong.
    NoError = 0,
    /// The peer has broken a rule that has no code of its own.
    ProtocolError = 1,
    /// Something here has failed.
    InternalError = 2,
    /// The peer has sent more than the window allows, or made a window too large.
    FlowControlError = 3,
    /// A frame came for a stream that is closed.
    StreamClosed = 5,
    /// A frame has a length that its type does not allow.
    FrameSizeError = 6,
    /// The stream was refused before anything was done for it.
    RefusedStream = 7,
    /// The stream is not needed any more.
    Cancel = 8,
    /// A header block cannot be decoded.
    CompressionError = 9,
    /// The peer causes too much work.
    EnhanceYourCalm = 11,
}

/// An error that ends the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ConnectionError {
    pub(super) code: ErrorCode,
    /// A sentence for the debug data of GOAWAY.
    pub(super) reason: &'static str,
}

impl ConnectionError {
    pub(super) const fn new(code: ErrorCode, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// A violation without a code of its own.
    pub(super) const fn protocol(reason: &'static str) -> Self {
        Self::new(ErrorCode::ProtocolError, reason)
    }

    /// A frame of a wrong length.
    pub(super) const fn size(reason: &'static str) -> Self {
        Self::new(ErrorCode::FrameSizeError, reason)
    }
}

/// The head of a frame (section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// Bytes of the payload.
    pub length: usize,
    /// The type.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// The stream, or 0 for the connection.
    pub stream: u32,
}

impl FrameHead {
    /// The head at the front of `bytes`; `None` if it is not complete.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, id @ ..] = bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        // The reserved bit is ignored (section 4.1).
        let stream = u32::from_be_bytes(*id) & 0x7fff_ffff;
        Some(Self { length, kind: *kind, flags: *flags, stream })
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Appends the head.
    pub fn write(self, out: &mut Vec<u8>) {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags, d, e, f, g]);
    }
}

/// The 32 bits at the front of a payload.
pub(crate) fn word(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn write_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    FrameHead { length, kind, flags, stream }.write(out);
}

/// Appends SETTINGS with these parameters.
pub fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    write_head(out, 6 * settings.len(), kind::SETTINGS, 0, 0);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of SETTINGS.
pub fn write_settings_ack(out: &mut Vec<u8>) {
    write_head(out, 0, kind::SETTINGS, flag::ACK, 0);
}

/// Appends PING, or its acknowledgement.
pub fn write_ping(out: &mut Vec<u8>, ack: bool, opaque: [u8; 8]) {
    write_head(out, opaque.len(), kind::PING, if ack { flag::ACK } else { 0 }, 0);
    out.extend_from_slice(&opaque);
}

/// Appends RST_STREAM.
pub fn write_reset(out: &mut Vec<u8>, stream: u32, code: ErrorCode) {
    write_head(out, 4, kind::RST_STREAM, 0, stream);
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

/// Appends WINDOW_UPDATE. Stream 0 stands for the connection.
pub fn write_window_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    write_head(out, 4, kind::WINDOW_UPDATE, 0, stream);
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Appends GOAWAY, with a sentence for people who look into it.
pub fn write_goaway(out: &mut Vec<u8>, last_stream: u32, code: ErrorCode, reason: &str) {
    write_head(out, 8 + reason.len(), kind::GOAWAY, 0, 0);
    out.extend_from_slice(&last_stream.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends the head of DATA.
pub fn write_data_head(out: &mut Vec<u8>, stream: u32, length: usize, end_stream: bool) {
    let flags = if end_stream { flag::END_STREAM } else { 0 };
    write_head(out, length, kind::DATA, flags, stream);
}

/// Appends HEADERS with the block that `encode` appends, and CONTINUATION if the block is longer
/// than a frame (section 6.10).
pub fn write_headers(
    out: &mut Vec<u8>,
    stream: u32,
    end_stream: bool,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    let block = start + FRAME_HEAD_BYTES;
    let flags = if end_stream { flag::END_STREAM } else { 0 };
    write_head(out, 0, kind::HEADERS, flags | flag::END_HEADERS, stream);
    encode(out);
    let length = out.len() - block;
    if length <= FRAME_BYTES_MAX {
        let [_, bytes @ ..] = (length as u32).to_be_bytes();
        out[start..start + 3].copy_from_slice(&bytes);
        return;
    }
    let whole = out.split_off(start);
    let mut pieces = whole[FRAME_HEAD_BYTES..].chunks(FRAME_BYTES_MAX).peekable();
    let mut kind = kind::HEADERS;
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
        let flags = if kind == kind::HEADERS { flags | end } else { end };
        write_head(out, piece.len(), kind, flags, stream);
        out.extend_from_slice(piece);
        kind = kind::CONTINUATION;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = FrameHead { length: 0x01_02_03, kind: 7, flags: 0x25, stream: 0x7fff_fff1 };
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        assert_eq!(bytes, [1, 2, 3, 7, 0x25, 0x7f, 0xff, 0xff, 0xf1]);
        assert_eq!(FrameHead::parse(&bytes), Some(head));
        assert_eq!(FrameHead::parse(&bytes[..8]), None);
        // The reserved bit is ignored.
        bytes[5] |= 0x80;
        assert_eq!(FrameHead::parse(&bytes), Some(head));
    }

    #[test]
    fn a_long_block_is_continued() {
        let frames = |bytes: usize| {
            let mut out = vec![0xee];
            write_headers(&mut out, 5, true, |out| out.resize(out.len() + bytes, 7));
            let (mut at, mut frames) = (1, Vec::new());
            while at < out.len() {
                let head = FrameHead::parse(&out[at..]).unwrap();
                assert_eq!(head.stream, 5);
                frames.push((head.kind, head.flags, head.length));
                at += FRAME_HEAD_BYTES + head.length;
            }
            assert_eq!(at, out.len());
            frames
        };
        let end = flag::END_HEADERS;
        let stream = flag::END_STREAM;
        assert_eq!(frames(100), [(kind::HEADERS, end | stream, 100)]);
        assert_eq!(frames(FRAME_BYTES_MAX), [(kind::HEADERS, end | stream, FRAME_BYTES_MAX)]);
        assert_eq!(
            frames(2 * FRAME_BYTES_MAX + 1),
            [
                (kind::HEADERS, stream, FRAME_BYTES_MAX),
                (kind::CONTINUATION, 0, FRAME_BYTES_MAX),
                (kind::CONTINUATION, end, 1),
            ]
        );
    }
}
