//! The client's side of HTTP/2 without I/O: it writes frames, and checks each frame of the server
//! by RFC 9113. It shares no code with the server.
//!
//! What is checked: the form of every frame, the states of streams (nothing comes after END_STREAM
//! or RST_STREAM), both windows, the order of acknowledgements, that a length that was announced is
//! the length that comes, and that GOAWAY never takes back a refusal.

#![allow(dead_code, reason = "no binary uses all of this")]

use std::collections::{BTreeMap, VecDeque};

use super::hpack::{Coding, Fields, decode, encode};
use super::http2_exchange::{
    Exchange, FRAME_MAX, Goaway, PREFACE, WINDOW, code, flag, kind, setting,
};

/// One side of a conversation; see the module documentation.
#[derive(Debug)]
pub(crate) struct Http2Client {
    /// What has to be sent.
    pub(crate) out: Vec<u8>,
    pub(crate) exchanges: BTreeMap<u32, Exchange>,
    pub(crate) goaways: Vec<Goaway>,
    /// The most points of the server's budget that the client may have used up.
    pub(crate) cost: u64,
    /// Whether the server is answered where the protocol demands it.
    pub(crate) acknowledges: bool,
    pub(crate) streams_max: u32,
    next_id: u32,
    rest: Vec<u8>,
    has_settings: bool,
    /// The window of the connection, as the client has granted it.
    window: i64,
    /// The initial window that the server has acknowledged, and those on their way to it.
    initial: i64,
    initials: VecDeque<Option<i64>>,
    send_window: i64,
    send_initial: i64,
    pings_sent: u64,
    pings_back: u64,
    block: Option<(u32, bool, Vec<u8>)>,
}

impl Http2Client {
    /// The client has sent its preface, with these parameters.
    pub(crate) fn new(settings: &[(u16, u32)]) -> Self {
        let mut client = Self {
            out: PREFACE.to_vec(),
            exchanges: BTreeMap::new(),
            goaways: Vec::new(),
            cost: 0,
            acknowledges: true,
            streams_max: u32::MAX,
            next_id: 1,
            rest: Vec::new(),
            has_settings: false,
            window: WINDOW,
            initial: WINDOW,
            initials: VecDeque::new(),
            send_window: WINDOW,
            send_initial: WINDOW,
            pings_sent: 0,
            pings_back: 0,
            block: None,
        };
        client.settings(settings);
        client
    }

    /// Appends a frame, whatever it is.
    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        self.out.extend_from_slice(&[a, b, c, kind, flags]);
        self.out.extend_from_slice(&stream.to_be_bytes());
        self.out.extend_from_slice(payload);
    }

    /// Sends SETTINGS.
    pub(crate) fn settings(&mut self, settings: &[(u16, u32)]) {
        let pair = |(name, value): &(u16, u32)| {
            [&name.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
        };
        let payload: Vec<u8> = settings.iter().flat_map(pair).collect();
        self.frame(kind::SETTINGS, 0, 0, &payload);
        let initial = settings.iter().rev().find(|(name, _)| *name == setting::INITIAL_WINDOW_SIZE);
        self.initials.push_back(initial.map(|initial| initial.1.into()));
        self.cost += 1;
    }

    /// Sends PING.
    pub(crate) fn ping(&mut self) {
        self.pings_sent += 1;
        self.frame(kind::PING, 0, 0, &self.pings_sent.to_be_bytes());
        self.cost += 1;
    }

    /// Whether all PINGs are acknowledged.
    pub(crate) fn has_all_pings(&self) -> bool {
        self.pings_back == self.pings_sent
    }

    /// Sends GOAWAY.
    pub(crate) fn goaway(&mut self, code: u32) {
        let payload = [[0; 4], code.to_be_bytes()].concat();
        self.frame(kind::GOAWAY, 0, 0, &payload);
    }

    /// Resets a stream.
    pub(crate) fn reset(&mut self, id: u32, code: u32) {
        self.frame(kind::RST_STREAM, 0, id, &code.to_be_bytes());
        self.cost += 1;
        let pings = self.pings_sent;
        self.exchange(id).cancelled.get_or_insert(pings);
    }

    /// Opens a window. Stream 0 stands for the connection.
    pub(crate) fn open(&mut self, id: u32, bytes: u32) {
        self.frame(kind::WINDOW_UPDATE, 0, id, &bytes.to_be_bytes());
        self.cost += u64::from(bytes < 1024);
        match id {
            0 => self.window += i64::from(bytes),
            id => self.exchange(id).granted += i64::from(bytes),
        }
    }

    /// Sends PRIORITY_UPDATE.
    pub(crate) fn prioritise(&mut self, id: u32, priority: &str) {
        let payload = [&id.to_be_bytes(), priority.as_bytes()].concat();
        self.frame(kind::PRIORITY_UPDATE, 0, 0, &payload);
        self.cost += 1;
    }

    /// The next stream that a request would begin.
    pub(crate) fn next_id(&self) -> u32 {
        self.next_id
    }

    /// Begins a stream with the request that has this header block, in frames of at most `piece`
    /// bytes.
    pub(crate) fn request(&mut self, block: &[u8], piece: usize, ends: bool, is_head: bool) -> u32 {
        let id = self.next_id;
        self.next_id += 2;
        self.block(id, block, piece, ends);
        let exchange = Exchange {
            is_head,
            status: 0,
            fields: Fields::new(),
            body: Vec::new(),
            has_ended: false,
            reset: None,
            cancelled: None,
            has_sent_all: ends,
            sent_after: 0,
            granted: 0,
            send_window: self.send_initial,
        };
        self.exchanges.insert(id, exchange);
        id
    }

    /// Appends a header block.
    fn block(&mut self, id: u32, block: &[u8], piece: usize, ends: bool) {
        let mut pieces = block.chunks(piece.max(block.len().div_ceil(8)).max(1)).peekable();
        let mut next = (kind::HEADERS, if ends { flag::END_STREAM } else { 0 });
        while let Some(piece) = pieces.next() {
            let end = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
            self.frame(next.0, next.1 | end, id, piece);
            next = (kind::CONTINUATION, 0);
        }
    }

    /// How much of an upload may be sent now.
    pub(crate) fn room(&self, id: u32) -> usize {
        self.send_window.min(self.exchanges[&id].send_window).max(0) as usize
    }

    /// Sends a part of an upload, with so much padding, of which one byte says how much it is.
    pub(crate) fn upload(&mut self, id: u32, content: &[u8], padding: Option<u8>, ends: bool) {
        let mut payload = Vec::new();
        payload.extend(padding);
        payload.extend_from_slice(content);
        payload.resize(payload.len() + usize::from(padding.unwrap_or(0)), 0);
        assert!(payload.len() <= self.room(id), "the client keeps to the windows");
        let padded = if padding.is_some() { flag::PADDED } else { 0 };
        let flags = padded | if ends { flag::END_STREAM } else { 0 };
        self.frame(kind::DATA, flags, id, &payload);
        self.cost += u64::from(content.is_empty() && !ends);
        self.send_window -= payload.len() as i64;
        let exchange = self.exchange(id);
        exchange.send_window -= payload.len() as i64;
        exchange.sent_after += 1;
        exchange.has_sent_all |= ends;
    }

    /// Ends an upload with trailers.
    pub(crate) fn trailers(&mut self, id: u32, fields: &[(&str, &str)]) {
        let mut block = Vec::new();
        for (name, value) in fields {
            encode(&mut block, Coding::Plain, name.as_bytes(), value.as_bytes());
        }
        self.block(id, &block, FRAME_MAX, true);
        let exchange = self.exchange(id);
        exchange.has_sent_all = true;
        exchange.sent_after += 1;
    }

    /// How much the server may send of a stream, as far as the client can know. Stream 0 stands
    /// for the connection.
    pub(crate) fn granted(&self, id: u32) -> i64 {
        let Some(exchange) = self.exchanges.get(&id) else { return self.window };
        let initial = self.initials.iter().rev().flatten().next().unwrap_or(&self.initial);
        initial + exchange.granted - exchange.body.len() as i64
    }

    /// The last stream that the server answers, if it has said so.
    pub(crate) fn last_answered(&self) -> Option<u32> {
        self.goaways.last().map(|goaway| goaway.last)
    }

    /// Whether all exchanges have ended.
    pub(crate) fn is_served(&self) -> bool {
        let last = self.last_answered().unwrap_or(u32::MAX);
        self.exchanges.range(..=last).all(|(_, exchange)| exchange.is_over())
    }

    fn exchange(&mut self, id: u32) -> &mut Exchange {
        self.exchanges.get_mut(&id).expect("the client has begun the stream")
    }

    /// Takes what has arrived.
    ///
    /// # Panics
    ///
    /// If the server breaks a rule.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((head, rest)) = self.rest[at..].split_first_chunk::<9>() {
            let [a, b, c, kind, flags, id @ ..] = *head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            assert!(length <= FRAME_MAX, "a frame of {length} bytes");
            let Some(payload) = rest.get(..length) else { break };
            let payload = payload.to_vec();
            at += 9 + length;
            self.take(kind, flags, u32::from_be_bytes(id), &payload);
        }
        self.rest.drain(..at);
    }

    /// Whether the last frame is complete.
    pub(crate) fn is_at_frame(&self) -> bool {
        self.rest.is_empty() && self.block.is_none()
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let in_block = self.block.is_some();
        assert_eq!(in_block, kind == kind::CONTINUATION, "frame {kind} and a header block");
        assert!(self.has_settings || kind == kind::SETTINGS, "frame {kind} comes first");
        let of_stream = matches!(kind, 0 | 1 | 3 | 9);
        let of_either = kind == kind::WINDOW_UPDATE;
        assert!(of_either || of_stream == (id != 0), "frame {kind} for stream {id}");
        if id != 0 {
            self.check_state(kind, id);
        }
        match kind {
            kind::DATA => self.take_data(flags, id, payload),
            kind::HEADERS => {
                assert_eq!(flags & !(flag::END_STREAM | flag::END_HEADERS), 0, "flags {flags:x}");
                self.block = Some((id, flags & flag::END_STREAM != 0, payload.to_vec()));
                self.end_block(flags);
            }
            kind::CONTINUATION => {
                let block = self.block.as_mut().expect("a block has begun");
                assert_eq!(block.0, id, "another stream continues the block");
                block.2.extend_from_slice(payload);
                self.end_block(flags);
            }
            kind::RST_STREAM => {
                let code = word(payload);
                self.cost += if code == code::REFUSED { 2 } else { 10 };
                let exchange = self.exchange(id);
                exchange.reset = Some(code);
                self.cost += exchange.sent_after;
            }
            kind::SETTINGS => self.take_settings(flags, payload),
            kind::PING => self.take_ping(flags, payload),
            kind::GOAWAY => self.take_goaway(payload),
            kind::WINDOW_UPDATE => self.take_window_update(id, payload),
            _ => panic!("frame {kind} is not one of a server"),
        }
    }

    /// Checks that a frame may come for a stream in its state.
    fn check_state(&mut self, kind: u8, id: u32) {
        let (back, last) = (self.pings_back, self.last_answered());
        let Some(exchange) = self.exchanges.get(&id) else { panic!("frame {kind} for {id}") };
        assert_eq!(exchange.reset, None, "frame {kind} after RST_STREAM of {id}");
        let open = matches!(kind, kind::RST_STREAM | kind::WINDOW_UPDATE);
        assert!(open || !exchange.has_ended, "frame {kind} after END_STREAM of {id}");
        let has_begun = exchange.status != 0;
        assert!(kind != kind::HEADERS || !has_begun, "two header blocks for {id}");
        assert!(kind != kind::DATA || has_begun, "DATA of {id} before its status");
        // The server has seen the reset, if it has answered a later PING.
        let knows = exchange.cancelled.is_some_and(|pings| back > pings);
        assert!(!knows, "frame {kind} for {id}, which the client has reset");
        assert!(last.is_none_or(|last| id <= last), "frame {kind} for {id} after {last:?}");
    }

    fn take_data(&mut self, flags: u8, id: u32, payload: &[u8]) {
        assert_eq!(flags & !flag::END_STREAM, 0, "flags {flags:x}");
        let ends = flags & flag::END_STREAM != 0;
        let (initial, length) = (self.initial, payload.len() as i64);
        assert!(length > 0 || ends, "an empty frame that does nothing");
        self.window -= length;
        assert!(self.window >= 0, "more than the window of the connection");
        self.cost += u64::from(!ends && length < 1024);
        let exchange = self.exchange(id);
        exchange.body.extend_from_slice(payload);
        let left = initial + exchange.granted - exchange.body.len() as i64;
        assert!(left >= 0 || length == 0, "more than the window of stream {id}");
        let announced = exchange.announced();
        let so_far = exchange.body.len();
        assert!(announced.is_none_or(|announced| so_far <= announced), "too much: {exchange:?}");
        if ends {
            self.end_stream(id);
        }
    }

    fn end_block(&mut self, flags: u8) {
        if flags & flag::END_HEADERS == 0 {
            return;
        }
        let (id, ends, block) = self.block.take().expect("a block has begun");
        let fields = decode(&block);
        let exchange = self.exchange(id);
        for (place, (name, value)) in fields.iter().enumerate() {
            let of_connection = ["connection", "keep-alive", "transfer-encoding", "upgrade"];
            assert!(!of_connection.contains(&&**name), "{name} in HTTP/2");
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name}");
            assert!(value.trim() == value, "{name}: {value:?}");
            assert_eq!(name.starts_with(':'), place == 0, "{name} at {place}");
        }
        assert_eq!(fields[0].0, ":status");
        exchange.status = fields[0].1.parse().expect("a status is a number");
        exchange.fields = fields[1..].to_vec();
        if ends {
            self.end_stream(id);
        }
    }

    fn end_stream(&mut self, id: u32) {
        let exchange = self.exchange(id);
        exchange.has_ended = true;
        let has_content = !exchange.is_head && !matches!(exchange.status, 204 | 304);
        let announced = exchange.announced().filter(|_| has_content);
        let length = exchange.body.len();
        assert!(announced.is_none_or(|announced| announced == length), "{exchange:?}");
        assert!(has_content || length == 0, "content that should not be: {exchange:?}");
    }

    fn take_settings(&mut self, flags: u8, payload: &[u8]) {
        if flags & flag::ACK != 0 {
            assert!(payload.is_empty());
            let initial = self.initials.pop_front().expect("SETTINGS were sent");
            self.initial = initial.unwrap_or(self.initial);
            return;
        }
        assert!(payload.len().is_multiple_of(6) && !self.has_settings, "SETTINGS");
        self.has_settings = true;
        for setting in payload.chunks(6) {
            let value = word(&setting[2..]);
            match u16::from_be_bytes([setting[0], setting[1]]) {
                3 => self.streams_max = value,
                6 | 9 => {}
                name => panic!("setting {name} is not expected"),
            }
        }
        if self.acknowledges {
            self.frame(kind::SETTINGS, flag::ACK, 0, b"");
            self.cost += 1;
        }
    }

    fn take_ping(&mut self, flags: u8, payload: &[u8]) {
        assert_eq!(payload.len(), 8);
        if flags & flag::ACK != 0 {
            self.pings_back += 1;
            let which = u64::from_be_bytes(payload.try_into().unwrap());
            assert_eq!(which, self.pings_back, "PINGs come back in their order");
        } else if self.acknowledges {
            self.frame(kind::PING, flag::ACK, 0, payload);
            self.cost += 1;
        }
    }

    fn take_goaway(&mut self, payload: &[u8]) {
        let (last, code) = (word(payload), word(&payload[4..]));
        let reason = String::from_utf8(payload[8..].to_vec()).unwrap();
        let before = self.last_answered().unwrap_or(u32::MAX);
        assert!(last <= before, "GOAWAY says {last} after {before}");
        let given_up = self.exchanges.iter().filter(|(id, _)| (last + 1..=before).contains(*id));
        self.cost += given_up.map(|(_, exchange)| 1 + exchange.sent_after).sum::<u64>();
        self.goaways.push(Goaway { last, code, reason });
    }

    fn take_window_update(&mut self, id: u32, payload: &[u8]) {
        let bytes = i64::from(word(payload));
        assert!(payload.len() == 4 && bytes > 0);
        let window = match id {
            0 => &mut self.send_window,
            id => &mut self.exchange(id).send_window,
        };
        *window += bytes;
        assert!(*window <= WINDOW, "no more than what was sent is opened again");
    }
}

fn word(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// The header block of a request. The first fields are the pseudo-header fields.
pub(crate) fn request_block(fields: &[(&str, &str)], coding: impl Fn(usize) -> Coding) -> Vec<u8> {
    let mut block = Vec::new();
    for (place, (name, value)) in fields.iter().enumerate() {
        encode(&mut block, coding(place), name.as_bytes(), value.as_bytes());
    }
    block
}
