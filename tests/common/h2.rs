//! A peer of HTTP/2 for tests, without sockets: writes the frames of a client, also wrong ones, and
//! reads those of the server.
//!
//! [`Peer`] checks that every frame of the server is legal (RFC 9113). It has to see the bytes of
//! both sides, in order. It shares the decoder of header blocks with the server, and nothing else.

#[path = "http2_names.rs"]
mod http2_names;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringd::http::h2::hpack::{Decoder, ListLimits};

use http2_names::FRAME_MAX;
#[allow(unused_imports, reason = "no binary uses all of them")]
pub(crate) use http2_names::{PREFACE, code, flag, kind, setting};

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    lying_frame(payload.len(), kind, flags, stream, payload)
}

/// A frame whose head says `length`, whatever its payload is.
pub(crate) fn lying_frame(
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

pub(crate) fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let bytes =
        |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, &all.iter().flat_map(bytes).collect::<Vec<u8>>())
}

pub(crate) fn opening(all: &[(u16, u32)]) -> Vec<u8> {
    [PREFACE, &settings(all)].concat()
}

pub(crate) fn window_update(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn ping(opaque: [u8; 8]) -> Vec<u8> {
    frame(kind::PING, 0, 0, &opaque)
}

pub(crate) fn data(stream: u32, content: &[u8], end: bool) -> Vec<u8> {
    frame(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, content)
}

pub(crate) fn priority_update(stream: u32, value: &str) -> Vec<u8> {
    let payload = [&stream.to_be_bytes()[..], value.as_bytes()].concat();
    frame(kind::PRIORITY_UPDATE, 0, 0, &payload)
}

/// An integer of HPACK (RFC 7541 section 5.1) after the bits of `first`.
pub(crate) fn integer(first: u8, prefix: u8, value: usize) -> Vec<u8> {
    let top = (1_usize << prefix) - 1;
    if value < top {
        return vec![first | value as u8];
    }
    let (mut bytes, mut rest) = (vec![first | top as u8], value - top);
    while rest >= 128 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A field as a literal; `first` is 0x40 to insert it into the table.
pub(crate) fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [integer(0, 7, text.len()), text.as_bytes().to_vec()].concat();
    [vec![first], text(name), text(value)].concat()
}

/// A header block of literals, which leaves the table as it is.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(0, name, value)).collect()
}

pub(crate) fn request_block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", "h"), (":path", path)];
    [block(&fields), block(more)].concat()
}

pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, stream, &request_block("GET", path, &[]))
}

/// The head of a request whose content follows.
pub(crate) fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream, &request_block("POST", "/small.txt", more))
}

/// A frame of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    Data {
        stream: u32,
        bytes: usize,
        end: bool,
    },
    /// HEADERS with its CONTINUATIONs.
    Headers {
        stream: u32,
        status: u16,
        end: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping {
        ack: bool,
        opaque: [u8; 8],
    },
    GoAway {
        last: u32,
        code: u32,
        reason: String,
    },
    WindowUpdate {
        stream: u32,
        bytes: u32,
    },
}

/// What the server has sent on a stream. The status is 0 until the final head has come.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    /// Whether the server has ended the stream.
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default, Debug)]
struct Asked {
    is_head: bool,
    window: i64,
}

/// The client's end of a connection; see the module documentation.
#[derive(Default, Debug)]
pub(crate) struct Peer {
    input: Vec<u8>,
    had_preface: bool,
    /// The rest of what the client sends cannot be read.
    is_lost: bool,
    /// A header block of the client that has not ended.
    asking: Option<(u32, Vec<u8>)>,
    requests: Decoder,
    asked: BTreeMap<u32, Asked>,
    pub(crate) window: i64,
    window_of_streams: i64,
    /// The windows of SETTINGS that the server has not acknowledged.
    unacknowledged: VecDeque<Option<i64>>,
    pings: VecDeque<[u8; 8]>,
    /// Whether the client has sent what may cut answers off: RST_STREAM, GOAWAY, smaller windows.
    pub(crate) may_cut: bool,

    output: Vec<u8>,
    had_settings: bool,
    answering: Option<(u32, bool, Vec<u8>)>,
    responses: Decoder,
    /// What the server has sent, by stream.
    pub(crate) answers: BTreeMap<u32, Answer>,
    resets: BTreeSet<u32>,
    /// The last stream and the code of the last GOAWAY of the server.
    pub(crate) goaway: Option<(u32, u32)>,
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

fn four(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().expect("4 bytes"))
}

/// The next whole frame: kind, flags, stream and payload.
fn next_frame(bytes: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head = bytes.first_chunk::<9>()?;
    let length = word(&[0, head[0], head[1], head[2]]) as usize;
    let (kind, flags, stream) = (head[3], head[4], word(&head[5..]) & 0x7fff_ffff);
    let payload = bytes.get(9..9 + length)?.to_vec();
    bytes.drain(..9 + length);
    Some((kind, flags, stream, payload))
}

fn without_padding(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    if flags & flag::PADDED == 0 {
        return Some(payload);
    }
    let (padding, rest) = payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self { window: 65_535, window_of_streams: 65_535, ..Self::default() }
    }

    /// The client sends these bytes. They may be wrong in any way.
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if !self.had_preface && self.input.len() >= PREFACE.len() {
            self.is_lost = !self.input.starts_with(PREFACE);
            self.input.drain(..PREFACE.len());
            self.had_preface = true;
        }
        while self.had_preface
            && !self.is_lost
            && let Some((kind, flags, stream, payload)) = next_frame(&mut self.input)
        {
            self.is_lost = self.follow(kind, flags, stream, &payload).is_none();
        }
    }

    /// Follows a frame of the client; `None` if that ends the connection.
    fn follow(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<()> {
        match kind {
            kind::HEADERS => {
                let mut fragment = without_padding(flags, payload)?;
                if flags & flag::PRIORITY != 0 {
                    fragment = fragment.get(5..)?;
                }
                self.asking = Some((stream, fragment.to_vec()));
            }
            kind::CONTINUATION => self.asking.as_mut()?.1.extend_from_slice(payload),
            kind::SETTINGS if flags & flag::ACK == 0 => {
                let (all, _) = payload.as_chunks::<6>();
                let mut windows = all.iter().filter(|one| one[..2] == [0, 4]);
                let window = windows.next_back().map(|one| i64::from(word(&one[2..])));
                let before = self.unacknowledged.iter().rev().flatten().next();
                let before = before.unwrap_or(&self.window_of_streams);
                self.may_cut |= window.is_some_and(|window| window < *before);
                self.unacknowledged.push_back(window);
            }
            kind::RST_STREAM | kind::GOAWAY => self.may_cut = true,
            kind::PING if flags & flag::ACK == 0 => self.pings.push_back(payload.try_into().ok()?),
            kind::WINDOW_UPDATE => {
                let bytes = i64::from(word(payload.first_chunk::<4>()?) & 0x7fff_ffff);
                let of_stream = self.asked.get_mut(&stream).map(|asked| &mut asked.window);
                let window = if stream == 0 { Some(&mut self.window) } else { of_stream };
                window.into_iter().for_each(|window| *window += bytes);
            }
            _ => {}
        }
        if matches!(kind, kind::HEADERS | kind::CONTINUATION) && flags & flag::END_HEADERS != 0 {
            let (stream, block) = self.asking.take()?;
            let mut is_head = false;
            let mut look = |name: &[u8], value: &[u8]| {
                is_head |= (name, value) == (b":method", b"HEAD");
            };
            self.requests.decode(&block, ListLimits::default(), &mut look).ok()?;
            let window = self.window_of_streams;
            self.asked.entry(stream).or_insert(Asked { is_head, window });
        }
        Some(())
    }

    /// The server sends these bytes. Returns the frames that are whole.
    ///
    /// # Panics
    ///
    /// If the server breaks a rule.
    pub(crate) fn takes(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.output.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some((kind, flags, stream, payload)) = next_frame(&mut self.output) {
            assert!(payload.len() <= FRAME_MAX, "a frame of {} bytes", payload.len());
            if let Some((_, code)) = self.goaway {
                assert_eq!(code, code::NO_ERROR, "frame {kind} after the end");
            }
            let is_continued = self.answering.is_some();
            assert_eq!(is_continued, kind == kind::CONTINUATION, "frame {kind} in a block");
            frames.extend(self.take(kind, flags, stream, &payload));
        }
        frames
    }

    /// The connection has ended without an error: nothing of a frame is left.
    pub(crate) fn ends(&self) {
        assert!(self.output.is_empty() && self.answering.is_none(), "the last frame is cut off");
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Option<Frame> {
        assert!(self.had_settings || kind == kind::SETTINGS, "frame {kind} comes first");
        let is_of_stream =
            matches!(kind, kind::DATA | kind::HEADERS | kind::CONTINUATION | kind::RST_STREAM);
        assert!(kind == kind::WINDOW_UPDATE || is_of_stream == (stream != 0), "{kind} on {stream}");
        if stream != 0 {
            assert!(stream % 2 == 1 && self.asked.contains_key(&stream), "{stream} is idle");
            assert!(!self.resets.contains(&stream), "frame {kind} on {stream} after its reset");
        }
        match kind {
            kind::DATA => Some(self.take_data(flags, stream, payload)),
            kind::HEADERS => {
                assert_eq!(flags & !flag::WHOLE, 0, "flags of HEADERS");
                let end = flags & flag::END_STREAM != 0;
                self.answering = Some((stream, end, payload.to_vec()));
                self.take_block(flags)
            }
            kind::CONTINUATION => {
                let answering = self.answering.as_mut().expect("HEADERS comes first");
                assert_eq!(answering.0, stream, "another stream in a block");
                answering.2.extend_from_slice(payload);
                self.take_block(flags)
            }
            kind::RST_STREAM => {
                let code = four(payload);
                self.resets.insert(stream);
                self.answers.entry(stream).or_default().reset = Some(code);
                Some(Frame::Reset { stream, code })
            }
            kind::SETTINGS => Some(self.take_settings(flags, payload)),
            kind::PING => {
                let (ack, opaque) = (flags & flag::ACK != 0, payload.try_into().expect("8 bytes"));
                if ack {
                    assert_eq!(self.pings.pop_front(), Some(opaque), "a PING that was not sent");
                }
                Some(Frame::Ping { ack, opaque })
            }
            kind::GOAWAY => Some(self.take_goaway(payload)),
            kind::WINDOW_UPDATE => {
                let bytes = four(payload);
                assert!((1..=0x7fff_ffff).contains(&bytes), "WINDOW_UPDATE of {bytes}");
                Some(Frame::WindowUpdate { stream, bytes })
            }
            _ => panic!("a server does not send frames of type {kind}"),
        }
    }

    fn take_data(&mut self, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        assert_eq!(flags & !flag::END_STREAM, 0, "flags of DATA");
        let end = flags & flag::END_STREAM != 0;
        let asked = self.asked.get_mut(&stream).unwrap();
        let answer = self.answers.get_mut(&stream).expect("HEADERS comes before DATA");
        assert!(answer.status >= 200 && !answer.ended, "DATA on {stream}");
        assert!(!payload.is_empty() || end, "an empty DATA");
        let bytes = payload.len();
        asked.window -= bytes as i64;
        self.window -= bytes as i64;
        assert!(bytes == 0 || asked.window >= 0, "the window of {stream} is exceeded");
        assert!(bytes == 0 || self.window >= 0, "the window of the connection is exceeded");
        answer.content.extend_from_slice(payload);
        answer.ended = end;
        let is_head = asked.is_head;
        self.check_length(stream, is_head);
        Frame::Data { stream, bytes, end }
    }

    /// `content-length` must be the sum of DATA.
    fn check_length(&self, stream: u32, is_head: bool) {
        let answer = &self.answers[&stream];
        let has_no_content = is_head || matches!(answer.status, 204 | 304);
        let sum = answer.content.len();
        assert!(!has_no_content || (sum == 0 && answer.ended), "content with {}", answer.status);
        if let Some(length) = answer.field("content-length").filter(|_| !has_no_content) {
            let length: usize = length.parse().unwrap();
            assert!(sum <= length && (!answer.ended || sum == length), "{sum} of {length} bytes");
        }
    }

    fn take_block(&mut self, flags: u8) -> Option<Frame> {
        if flags & flag::END_HEADERS == 0 {
            return None;
        }
        let (stream, end, block) = self.answering.take().unwrap();
        let last = self.goaway.map_or(u32::MAX, |(last, _)| last);
        assert!(stream <= last, "an answer on {stream}, after GOAWAY with {last}");
        let mut fields = Vec::new();
        let mut take = |name: &[u8], value: &[u8]| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            fields.push((text(name), text(value)));
        };
        let limits = ListLimits { fields_max: 1000, bytes_max: 1 << 20, work_max: 1 << 20 };
        self.responses.decode(&block, limits, &mut take).expect("a block of the server");
        let (name, status) = fields.remove(0);
        assert_eq!(name, ":status");
        for (name, value) in &fields {
            let is_name = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
            assert!(!name.is_empty() && name.bytes().all(|byte| is_name(byte) && byte != b':'));
            assert_eq!(value.trim_matches([' ', '\t']), value, "{name}");
            assert!(!value.contains(['\0', '\r', '\n']), "{name}");
            const OF_CONNECTIONS: [&str; 6] = [
                "connection",
                "keep-alive",
                "proxy-connection",
                "transfer-encoding",
                "upgrade",
                "te",
            ];
            assert!(!OF_CONNECTIONS.contains(&name.as_str()), "{name} is of HTTP/1.1");
        }
        let status = status.parse().expect("a status");
        assert!((200..600).contains(&status), "status {status}");
        let answer = self.answers.entry(stream).or_default();
        assert_eq!(answer.status, 0, "a second head on {stream}");
        (answer.status, answer.fields, answer.ended) = (status, fields, end);
        self.check_length(stream, self.asked[&stream].is_head);
        Some(Frame::Headers { stream, status, end })
    }

    fn take_settings(&mut self, flags: u8, payload: &[u8]) -> Frame {
        self.had_settings = true;
        if flags & flag::ACK != 0 {
            assert!(payload.is_empty());
            let window = self.unacknowledged.pop_front().expect("SETTINGS to acknowledge");
            if let Some(window) = window {
                let by = window - self.window_of_streams;
                self.window_of_streams = window;
                self.asked.values_mut().for_each(|asked| asked.window += by);
            }
            return Frame::SettingsAck;
        }
        let (all, rest) = payload.as_chunks::<6>();
        assert!(rest.is_empty());
        let one = |[a, b, value @ ..]: &[u8; 6]| (u16::from_be_bytes([*a, *b]), word(value));
        Frame::Settings(all.iter().map(one).collect())
    }

    fn take_goaway(&mut self, payload: &[u8]) -> Frame {
        let (last, code) = (word(payload), word(&payload[4..]));
        if let Some((before, _)) = self.goaway {
            assert!(last <= before, "GOAWAY with {last} after {before}");
        }
        let answered = self.answers.iter().filter(|(_, answer)| answer.status != 0);
        let highest = answered.map(|(stream, _)| *stream).max().unwrap_or(0);
        assert!(last >= highest, "GOAWAY with {last}, and {highest} is answered");
        self.goaway = Some((last, code));
        Frame::GoAway { last, code, reason: String::from_utf8_lossy(&payload[8..]).into_owned() }
    }
}
