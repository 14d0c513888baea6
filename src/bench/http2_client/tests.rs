//! The client against the session of this crate, and against frames that a server should not send.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::status::{DECODED_MIN, STATUS_200};
use super::*;
use crate::driver::{File, Links};
use crate::http::HttpSettings;
use crate::http::h2::frame::{ErrorCode, write_data_head, write_goaway, write_reset};
use crate::http::h2::hpack::encode_status;
use crate::http::harness::Harness;
use crate::session::{Now, Step};

/// A session of the server, without a socket.
struct Peer {
    harness: Harness,
    session: usize,
    input: Vec<u8>,
}

impl Peer {
    fn new(root: &Path) -> Self {
        let root = Arc::new(File::open_root(root, Links::Beneath).unwrap());
        let mut harness = Harness::new(HttpSettings::of_root(root));
        let session = harness.begin_h2();
        Self { harness, session, input: Vec::new() }
    }

    /// Takes bytes of the client, and returns what the server sends until it waits for more.
    fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let (now, mut output, mut was_idle) = (Now::read(), Vec::new(), false);
        loop {
            let said = self.harness.advance(self.session, now, &self.input, false);
            self.input.drain(..said.taken);
            let is_idle = matches!(said.step, Step::Receive(_)) && said.output.is_empty();
            output.extend(said.output);
            // A session that waits for a lookup also waits for input, so only the second call in
            // a row without output shows that there is nothing more.
            let is_over = matches!(said.step, Step::Finish { .. } | Step::Abort);
            if is_over || (is_idle && was_idle) {
                return output;
            }
            was_idle = is_idle;
            self.harness.settle(now);
        }
    }
}

fn client(path: &str, streams: u32, length: u64) -> Http2Client {
    let mut client = Http2Client::new(request_block("h", path, false), streams, length);
    client.begin(Instant::now()).unwrap();
    client
}

/// A client that has read the SETTINGS of its server, and has written all that it has to.
fn ready(streams: u32, length: u64) -> Http2Client {
    let mut client = client("/", streams, length);
    client.feed(&settings(&[])).unwrap();
    client.output().clear();
    client
}

fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    frames(|out| write_settings(out, settings))
}

fn frames(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn head(stream: u32, is_end: bool, status: u16) -> Vec<u8> {
    frames(|out| write_headers(out, stream, is_end, |out| encode_status(out, status)))
}

fn data(stream: u32, bytes: usize, is_end: bool) -> Vec<u8> {
    frames(|out| {
        write_data_head(out, stream, bytes, is_end);
        out.resize(out.len() + bytes, 7);
    })
}

/// The heads of the frames, and the 32 bits at the front of their payloads.
fn parse(mut bytes: &[u8]) -> Vec<(FrameHead, Option<u32>)> {
    let mut found = Vec::new();
    while let Some(head) = FrameHead::parse(bytes) {
        let (payload, rest) = bytes[FRAME_HEAD_BYTES..].split_at(head.length);
        found.push((head, word(payload)));
        bytes = rest;
    }
    assert!(bytes.is_empty());
    found
}

#[test]
fn answers_of_the_server_are_counted_however_they_are_split() {
    let folder = tempfile::tempdir().unwrap();
    for (length, answers) in [(0, 60), (5, 60), (300_000, 12)] {
        std::fs::write(folder.path().join("file"), vec![b'x'; length]).unwrap();
        for piece in [1, 7, 16_384, usize::MAX] {
            let mut peer = Peer::new(folder.path());
            let (mut client, mut counted) = (client("/file", 5, length as u64), 0);
            while counted < answers {
                let sent = std::mem::take(client.output());
                assert!(!sent.is_empty(), "{counted} of {answers}, {length} in {piece}");
                for part in peer.exchange(&sent).chunks(piece) {
                    let complete = client.feed(part).unwrap();
                    assert_eq!(client.finished().count(), complete as usize);
                    counted += complete;
                }
                client.request(Instant::now()).unwrap();
                assert_eq!(client.in_progress(), 5);
            }
        }
    }
}

#[test]
fn another_status_of_the_server_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = client("/nothing", 1, 5);
    let answer = Peer::new(folder.path()).exchange(&std::mem::take(client.output()));
    assert_eq!(client.feed(&answer), Err(Http2ClientError::Status(Some(404))));
}

#[test]
fn a_connection_begins_with_the_preface_and_has_so_many_requests_in_progress() {
    let mut client = client("/", 3, 1);
    let sent = std::mem::take(client.output());
    let kinds = |bytes: &[u8]| {
        parse(bytes).iter().map(|(head, _)| (head.kind, head.stream)).collect::<Vec<_>>()
    };
    let first = kinds(sent.strip_prefix(PREFACE).unwrap());
    let requests = [(kind::HEADERS, 1), (kind::HEADERS, 3), (kind::HEADERS, 5)];
    let wanted = [&[(kind::SETTINGS, 0), (kind::WINDOW_UPDATE, 0)][..], &requests].concat();
    assert_eq!(first, wanted);
    client.feed(&settings(&[])).unwrap();
    client.feed(&[head(3, false, 200), data(3, 1, true)].concat()).unwrap();
    client.feed(&frames(|out| write_ping(out, false, *b"12345678"))).unwrap();
    let later = Instant::now() + Duration::from_secs(1);
    client.request(later).unwrap();
    client.request(later).unwrap();
    let wanted = [(kind::SETTINGS, 0), (kind::PING, 0), (kind::HEADERS, 7)];
    assert_eq!(kinds(client.output()), wanted);
    assert_eq!(client.finished().count(), 1);
    // A request counts from the time when it was made.
    let answer = [head(1, false, 200), data(1, 1, true)].concat();
    client.feed(&answer).unwrap();
    assert!(client.finished().all(|since| since < later));
    // A new connection begins again.
    client.output().clear();
    client.begin(later).unwrap();
    assert_eq!(*client.output(), sent);
}

#[test]
fn windows_are_opened_before_they_are_used_up() {
    const FRAME: usize = 16_384;
    let total = 2 * CONNECTION_WINDOW as usize / FRAME;
    let mut client = ready(1, u64::MAX);
    client.feed(&head(1, false, 200)).unwrap();
    let frame = data(1, FRAME, false);
    let mut windows = [i64::from(CONNECTION_WINDOW), i64::from(STREAM_WINDOW)];
    for _ in 0..total {
        windows = windows.map(|window| window - FRAME as i64);
        assert!(windows.iter().all(|window| *window >= 0), "{windows:?}");
        client.feed(&frame).unwrap();
        for (head, increment) in parse(&std::mem::take(client.output())) {
            assert_eq!(head.kind, kind::WINDOW_UPDATE);
            windows[usize::from(head.stream == 1)] += i64::from(increment.unwrap());
        }
        assert!(windows[0] <= CONNECTION_WINDOW.into() && windows[1] <= STREAM_WINDOW.into());
    }
}

#[test]
fn padding_and_priorities_are_skipped() {
    let mut client = ready(1, 3);
    let padded = |kind, flags, payload: &[u8]| {
        frames(|out| {
            FrameHead { length: payload.len(), kind, flags, stream: 1 }.write(out);
            out.extend_from_slice(payload);
        })
    };
    let flags = flag::PADDED | flag::PRIORITY;
    let begin = padded(kind::HEADERS, flags, &[2, 0, 0, 0, 0, 16, STATUS_200, 0, 0]);
    let end = padded(kind::CONTINUATION, flag::END_HEADERS, &[]);
    let content = padded(kind::DATA, flag::PADDED | flag::END_STREAM, &[4, 1, 2, 3, 0, 0, 0, 0]);
    let wire = [begin, end, content].concat();
    assert_eq!(wire.iter().map(|byte| client.feed(&[*byte]).unwrap()).sum::<u32>(), 1);
    let mut client = ready(1, 3);
    client.feed(&head(1, false, 200)).unwrap();
    let content = padded(kind::DATA, flag::PADDED, &[4, 1, 2, 3]);
    assert!(client.feed(&content).unwrap_err().to_string().contains("padding"));
}

#[test]
fn what_a_server_should_not_send_is_an_error() {
    let streams = setting::MAX_CONCURRENT_STREAMS;
    let reset = frames(|out| write_reset(out, 1, ErrorCode::RefusedStream));
    let goaway = frames(|out| write_goaway(out, 1, ErrorCode::EnhanceYourCalm, "Too\nmany pings."));
    let interrupted =
        frames(|out| FrameHead { length: 0, kind: 1, flags: 0, stream: 1 }.write(out));
    for (wire, says) in [
        (reset, "has reset a stream, with the code 7"),
        (goaway, "GOAWAY, code 11: Toomany pings.; if it"),
        (settings(&[(streams, 1)]), "allows 1 streams on a connection, but this row has 2"),
        (head(1, true, 200), "0 bytes instead of 5"),
        (head(1, true, 503), "status 503"),
        (head(5, true, 200), "not in progress"),
        (data(5, 1, true), "not in progress"),
        (data(1, 1, true), "DATA comes before HEADERS"),
        ([head(1, false, 200), data(1, 4, true)].concat(), "4 bytes instead of 5"),
        ([head(1, false, 200), data(1, 6, false)].concat(), "6 bytes instead of 5"),
        ([interrupted, data(1, 1, false)].concat(), "interrupts a header block"),
        (data(1, FRAME_BYTES_MAX + 1, false), "longer than 16,384"),
        (frames(|out| write_headers(out, 1, false, |out| out.push(0x80))), "index 0"),
    ] {
        let error = ready(2, 5).feed(&wire).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let mut client = ready(2, 5);
        assert_eq!(wire.iter().find_map(|byte| client.feed(&[*byte]).err()), Some(error));
    }
    for wire in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"SSH-2.0-OpenSSH", &head(1, true, 200)] {
        assert_eq!(client("/", 1, 0).feed(wire), Err(Http2ClientError::NotHttp2));
    }
}

/// After the first answers, only the form of a block is checked, if all had the usual one.
#[test]
fn later_answers_are_checked_by_their_first_byte_or_decoded() {
    assert_eq!(frames(|out| encode_status(out, 200)), [STATUS_200]);
    // The same as a literal, which inserts an entry into the dynamic table.
    let literal = |digits: &[u8; 3]| [&[0x48, 3][..], digits].concat();
    for (usual, other, wanted) in [
        (vec![STATUS_200], vec![0x8d], Http2ClientError::Status(None)),
        (literal(b"200"), literal(b"404"), Http2ClientError::Status(Some(404))),
    ] {
        let mut client = ready(1, 0);
        for number in 0..2 * DECODED_MIN {
            let answer = frames(|out| {
                write_headers(out, 2 * number + 1, true, |out| out.extend_from_slice(&usual));
            });
            assert_eq!(client.feed(&answer), Ok(1));
            client.request(Instant::now()).unwrap();
        }
        let id = 4 * DECODED_MIN + 1;
        let last = frames(|out| write_headers(out, id, true, |out| out.extend_from_slice(&other)));
        assert_eq!(client.feed(&last), Err(wanted));
    }
}
