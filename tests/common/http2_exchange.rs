//! The parts of HTTP/2 by name, and an exchange as a client of tests sees it.

#![allow(dead_code, reason = "no binary uses all of this")]

use super::hpack::Fields;

/// The bytes before the first frame (section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The window of a connection, and of a stream unless SETTINGS say otherwise.
pub(crate) const WINDOW: i64 = 65_535;

/// The largest frame that either side accepts here.
pub(crate) const FRAME_MAX: usize = 16_384;

/// The types of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
    pub(crate) const PRIORITY_UPDATE: u8 = 16;
}

/// The codes of errors.
pub(crate) mod code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const INTERNAL_ERROR: u32 = 2;
    pub(crate) const STREAM_CLOSED: u32 = 5;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// Flags of frames.
pub(crate) const END: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// An exchange, as the client sees it.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Whether the request is a HEAD, whose response has no content.
    pub(crate) is_head: bool,
    /// 0 until the response begins.
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    /// Whether the server has ended the stream: the response is complete.
    pub(crate) has_ended: bool,
    /// The code with which the server has reset it.
    pub(crate) reset: Option<u32>,
    /// Whether the client has reset it, and how many PINGs it had sent before.
    pub(crate) cancelled: Option<u64>,
    /// Whether the client has ended it.
    pub(crate) has_sent_all: bool,
    /// The frames after its request, each of which may cost a point if the server has given it up
    /// before they arrive.
    pub(crate) sent_after: u64,
    /// What WINDOW_UPDATE has granted.
    pub(crate) granted: i64,
    /// How much of it the server lets the client send.
    pub(crate) send_window: i64,
}

impl Exchange {
    /// The value of a field, which may occur at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.0 == name);
        let value = values.next().map(|field| &*field.1);
        assert!(values.next().is_none(), "two fields {name}: {:?}", self.fields);
        value
    }

    /// Whether nothing more is to come of the response.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended || self.reset.is_some() || self.cancelled.is_some()
    }

    /// The announced length of the content.
    pub(crate) fn announced(&self) -> Option<usize> {
        self.field("content-length").map(|length| length.parse().expect("a length is a number"))
    }
}

/// GOAWAY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Goaway {
    pub(crate) last: u32,
    pub(crate) code: u32,
    pub(crate) reason: String,
}
