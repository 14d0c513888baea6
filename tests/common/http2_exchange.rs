//! An exchange of HTTP/2 as a client of tests sees it.

#![allow(dead_code, reason = "no binary uses all of this")]

#[path = "http2_names.rs"]
mod http2_names;

use super::hpack::Fields;

pub(crate) use http2_names::{FRAME_MAX, PREFACE, code, flag, kind, setting};

/// The window of a connection, and of a stream unless SETTINGS say otherwise.
pub(crate) const WINDOW: i64 = 65_535;

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
