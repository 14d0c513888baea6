//! Clients that mean well, and must never be told to calm down.

use std::time::Duration;

use crate::h2::{
    Frame, PREFACE, code, data, flag, frame, get, kind, opening, ping, post, priority_update,
    request_block, reset, setting, settings, window_update,
};
use crate::sample::root;
use crate::talk::Talk;

/// WINDOW_UPDATE of exactly the DATA that has come, for the streams and for the connection, also
/// when the stream has ended.
fn acknowledge(frames: &[Frame]) -> Vec<u8> {
    let mut updates = Vec::new();
    for frame in frames {
        if let Frame::Data { stream, bytes, .. } = frame
            && *bytes > 0
        {
            updates.extend(window_update(*stream, *bytes as u32));
            updates.extend(window_update(0, *bytes as u32));
        }
    }
    updates
}

/// A browser with 5,000 requests: it reprioritises each image, cancels every tenth, and checks the
/// connection now and then.
#[test]
fn a_browser() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[
        (setting::HEADER_TABLE_SIZE, 65_536),
        (setting::ENABLE_PUSH, 0),
        (setting::INITIAL_WINDOW_SIZE, 6_291_456),
    ]));
    talk.send(&window_update(0, 15_663_105));
    talk.send(&frame(kind::SETTINGS, flag::ACK, 0, b""));
    for number in 0..5000_u32 {
        let stream = 2 * number + 1;
        let path = ["/small.txt", "/over.bin", "/page.css", "/none", "/"][number as usize % 5];
        let mut frames = talk.send(&get(stream, path));
        if number % 2 == 0 {
            frames.extend(talk.send(&priority_update(stream, "u=5, i")));
        }
        if number % 10 == 9 {
            frames.extend(talk.send(&reset(stream, code::CANCEL)));
            frames.extend(talk.send(&ping(u64::from(stream).to_be_bytes())));
        }
        talk.send(&acknowledge(&frames));
        assert!(!talk.is_over(), "after {number} requests: {:?}", talk.peer.goaway);
    }
    let ended = talk.peer.answers.values().filter(|answer| answer.ended).count();
    assert!(ended >= 4500, "{ended}");
}

/// The same with many requests at a time, of which the client cancels a tenth before any answer.
#[test]
fn a_browser_in_a_hurry() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    let mut stream = 1;
    while stream < 10_000 {
        let mut bytes = Vec::new();
        for _ in 0..60 {
            bytes.extend(priority_update(stream, "u=2"));
            bytes.extend(get(stream, "/small.txt"));
            stream += 2;
        }
        for cancelled in (stream - 12..stream).step_by(2) {
            bytes.extend(reset(cancelled, code::CANCEL));
        }
        let frames = talk.send(&bytes);
        talk.send(&acknowledge(&frames));
        assert!(!talk.is_over(), "at stream {stream}: {:?}", talk.peer.goaway);
    }
}

/// A client that opens exactly what it got, in one answer after the other and in small frames.
#[test]
fn a_client_that_counts() {
    let (_directory, root) = root();
    for window in [500, 2000, 65_535] {
        let mut talk = Talk::new(&root);
        talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, window)]));
        for number in 0..300 {
            let mut frames = talk.send(&get(2 * number + 1, "/small.txt"));
            while !frames.is_empty() {
                frames = talk.send(&acknowledge(&frames));
            }
            assert!(!talk.is_over(), "{window}: after {number} requests");
        }
    }
}

/// Uploads that are not wanted are no fault, however small their pieces are. Their clients are told
/// to stop a second after the answer, and what is on the way then is no fault either.
#[test]
fn uploads_in_pieces() {
    let (_directory, root) = root();
    for (bytes, stops) in [(200, true), (1024, true), (8192, true), (1024, false)] {
        let mut talk = Talk::open(&root);
        talk.send(&window_update(0, 1 << 24));
        for number in 0..200 {
            let stream = 2 * number + 1;
            talk.send(&post(stream, &[("content-length", "10000000")]));
            for piece in 0..(60_000 / bytes) {
                if stops && piece == 3 {
                    talk.now.instant += Duration::from_secs(1);
                    talk.expire();
                }
                talk.send(&data(stream, &vec![0; bytes], false));
            }
            talk.send(&reset(stream, code::CANCEL));
            assert!(!talk.is_over(), "after {number} uploads of {bytes} bytes");
            let told = stops.then_some(code::NO_ERROR);
            assert_eq!(talk.peer.answers[&stream].reset, told);
        }
    }
}

/// Uploads that begin before the client knows how many streams it may open. What it sends of those
/// that are refused was on its way.
#[test]
fn more_uploads_than_allowed() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    let streams: Vec<u32> = (0..110).map(|number| 2 * number + 1).collect();
    let heads: Vec<u8> = streams.iter().flat_map(|stream| post(*stream, &[])).collect();
    let pieces = |stream: &u32| vec![data(*stream, &[b'x'; 15], false); 30].concat();
    let contents: Vec<u8> = streams.iter().flat_map(pieces).collect();
    talk.send(&[opening(&[]), heads, contents].concat());
    assert!(!talk.is_over(), "{:?}", talk.peer.goaway);
    let refused = talk.peer.answers.values().filter(|answer| answer.reset == Some(code::REFUSED));
    assert_eq!(refused.count(), 10);
}

/// The same for an upload whose head is malformed, and for one that is reset while a lookup is
/// running for it.
#[test]
fn uploads_of_requests_that_are_reset() {
    let (_directory, root) = root();
    let head = |more: &[(&str, &str)]| {
        frame(kind::HEADERS, flag::END_HEADERS, 1, &request_block("GET", "/small.txt", more))
    };
    let malformed = head(&[("X-Upper", "1")]);
    let longer = [head(&[("content-length", "1")]), data(1, b"xx", false)].concat();
    for begin in [malformed, longer] {
        let mut talk = Talk::open(&root);
        talk.settles = false;
        talk.send(&begin);
        assert_eq!(talk.peer.answers[&1].reset, Some(code::PROTOCOL));
        talk.send(&vec![data(1, &[b'x'; 100], false); 300].concat());
        talk.send(&data(1, b"", true));
        assert!(!talk.is_over(), "{:?}", talk.peer.goaway);
    }
}

/// What curl sends first.
#[test]
fn curl() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    let hello = settings(&[
        (setting::MAX_CONCURRENT_STREAMS, 100),
        (setting::INITIAL_WINDOW_SIZE, 10 * 1024 * 1024),
        (setting::ENABLE_PUSH, 0),
    ]);
    let fields = [("user-agent", "curl/8.5.0"), ("accept", "*/*")];
    let request = frame(kind::HEADERS, flag::WHOLE, 1, &request_block("GET", "/over.bin", &fields));
    talk.send(&[PREFACE, &hello, &window_update(0, 1_048_510_465), &request].concat());
    talk.send(&frame(kind::SETTINGS, flag::ACK, 0, b""));
    assert!(talk.peer.answers[&1].ended);
    talk.send(&frame(kind::GOAWAY, 0, 0, &[0; 8]));
    assert!(talk.is_over());
    assert_eq!(talk.peer.goaway, Some((1, code::NO_ERROR)));
}

/// What nghttp sends first: the nodes of a tree of priorities, and a request that depends on one.
#[test]
fn nghttp() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    let hello =
        settings(&[(setting::MAX_CONCURRENT_STREAMS, 100), (setting::INITIAL_WINDOW_SIZE, 65_535)]);
    let priority = |stream: u32, on: u32, weight: u8| {
        frame(kind::PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[weight]].concat())
    };
    let block = request_block("GET", "/over.bin", &[("accept-encoding", "gzip, deflate")]);
    let payload = [&[0, 0, 0, 11, 15], &block[..]].concat();
    talk.send(&[PREFACE, &hello].concat());
    talk.send(&frame(kind::SETTINGS, flag::ACK, 0, b""));
    for (stream, on, weight) in [(3, 0, 200), (5, 0, 100), (7, 0, 0), (9, 7, 0), (11, 3, 0)] {
        talk.send(&priority(stream, on, weight));
    }
    talk.send(&frame(kind::HEADERS, flag::WHOLE | flag::PRIORITY, 13, &payload));
    assert!(talk.peer.answers[&13].ended);
    assert!(!talk.is_over());
}
