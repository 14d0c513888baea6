//! Attacks on HTTP/2 that have names: what they make the server keep, and the frame that ends them.
//!
//! Floods of frames that only make work are in [`floods`](crate::floods), windows that stay closed
//! in [`windows`](crate::windows), and clients that must not be taken for attackers in
//! [`calm`](crate::calm).

use std::sync::Arc;

use ringd::http::HttpSettings;
use ringd::http::semantics::request::RequestLimits;
use ringd::session::{ReceiveTimeout, Step};

use crate::h2::{
    Frame, block, code, data, flag, frame, get, kind, literal, opening, post, request_block, reset,
    setting, settings, window_update,
};
use crate::sample::root;
use crate::talk::{MEMORY_MAX, Talk};

/// The most resets that a client can make the server send before the connection ends.
const FAULTS_MAX: u32 = 20;

/// Sends what `unit` makes of the numbers of streams, until the connection ends because of the
/// client's manners. Returns how many times.
fn until_calmed(talk: &mut Talk, units_max: u32, unit: impl Fn(u32) -> Vec<u8>) -> u32 {
    let mut units = 0;
    while !talk.is_over() {
        assert!(units < units_max, "the connection goes on");
        talk.send(&unit(2 * units + 1));
        units += 1;
    }
    assert_eq!(talk.peer.goaway.map(|(_, code)| code), Some(code::CALM));
    assert!(talk.memory_max < MEMORY_MAX, "{} bytes", talk.memory_max);
    units
}

/// Resets follow requests at once (CVE-2023-44487), before the answers, whose windows are closed.
#[test]
fn rapid_reset() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    let unit = |stream| [get(stream, "/over.bin"), reset(stream, code::CANCEL)].concat();
    let units = until_calmed(&mut talk, 200, unit);
    assert!(units > 100, "{units}: people close tabs");
}

/// The same while each request needs a lookup: the streams count until their lookups end, so the
/// client has no more of them than one that resets nothing.
#[test]
fn rapid_reset_with_lookups() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    talk.settles = false;
    let unit = |stream| [get(stream, &format!("/{stream}")), reset(stream, code::CANCEL)].concat();
    let units = until_calmed(&mut talk, 200, unit);
    assert!(units > 100, "{units}: people close tabs");
    // Those that have no turn yet end without one.
    let most = 8 * ringd::http::site::OPENS_MAX;
    assert!(talk.harness.asks(talk.now) <= most);
}

/// The client makes the server reset streams (CVE-2025-8671), in each way that there is.
#[test]
fn made_you_reset() {
    let (_directory, root) = root();
    let malformed = |stream| {
        let block = request_block("GET", "/small.txt", &[("X-Upper", "1")]);
        frame(kind::HEADERS, flag::WHOLE, stream, &block)
    };
    type Frames = fn(u32) -> Vec<u8>;
    let ask: Frames = |stream| get(stream, "/over.bin");
    let of_2_bytes: Frames = |stream| post(stream, &[("content-length", "2")]);
    let ways: [(&str, Frames, Frames); 9] = [
        ("a window that overflows", ask, |stream| window_update(stream, 0x7fff_ffff)),
        ("a window that is opened by nothing", ask, |stream| window_update(stream, 0)),
        ("DATA after END_STREAM", ask, |stream| data(stream, b"x", false)),
        ("HEADERS after END_STREAM", ask, |stream| get(stream, "/")),
        ("PRIORITY of a wrong length", ask, |stream| frame(kind::PRIORITY, 0, stream, &[0; 4])),
        ("a body that is too long", of_2_bytes, |stream| data(stream, b"xxx", false)),
        ("a body that is too short", of_2_bytes, |stream| data(stream, b"x", true)),
        ("trailers that do not end the stream", of_2_bytes, |stream| {
            frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&[]))
        }),
        (
            "content that is missing",
            |_| Vec::new(),
            |stream| {
                let fields = request_block("GET", "/", &[("content-length", "5")]);
                frame(kind::HEADERS, flag::WHOLE, stream, &fields)
            },
        ),
    ];
    for settles in [true, false] {
        for (way, begin, attack) in ways {
            println!("{way}, lookups {settles}");
            let mut talk = Talk::new(&root);
            // A window that is closed, and can overflow.
            talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 1)]));
            talk.settles = settles;
            let unit = |stream: u32| [begin(stream), attack(stream)].concat();
            let units = until_calmed(&mut talk, 2 * FAULTS_MAX, unit);
            assert!(units <= FAULTS_MAX + 5, "{way}: {units}");
        }
        let mut talk = Talk::open(&root);
        assert!(until_calmed(&mut talk, FAULTS_MAX, malformed) <= FAULTS_MAX);
    }
}

/// A header block that does not end (CVE-2024-27316): by bytes, and by frames without any.
#[test]
fn continuation_flood() {
    let (_directory, root) = root();
    for (bytes, frames_max) in [(16_384, 3), (4096, 9), (1, 9), (0, 9)] {
        let mut talk = Talk::open(&root);
        talk.send(&frame(kind::HEADERS, flag::END_STREAM, 1, b""));
        let unit = |_| frame(kind::CONTINUATION, 0, 1, &vec![0; bytes]);
        let frames = until_calmed(&mut talk, 20, unit);
        assert!(frames <= frames_max + 1, "{frames} frames of {bytes} bytes");
        assert!(talk.memory_max < 64 * 1024, "{} bytes", talk.memory_max);
    }
}

/// A header block of which now and then a byte arrives does not restart the timeout.
#[test]
fn a_slow_header_block() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    let header = Step::Receive(ReceiveTimeout::Header);
    let request = request_block("GET", "/small.txt", &[]);
    let begin = frame(kind::HEADERS, flag::END_STREAM, 1, &request[..20]);
    for byte in begin {
        talk.send(&[byte]);
        assert_eq!(talk.step, header);
    }
    for byte in &frame(kind::CONTINUATION, 0, 1, &request[20..])[..] {
        talk.send(&[*byte]);
        assert_eq!(talk.step, header);
    }
    talk.time_out();
    assert!(talk.is_over());
    assert_eq!(talk.peer.goaway, Some((0, code::NO_ERROR)));
}

/// A block whose bytes stand for entries of the table of 4096 bytes each (the HTTP/2 Bomb).
#[test]
fn a_block_that_expands() {
    let (_directory, root) = root();
    let insert = literal(0x40, "x", &"a".repeat(4000));
    let headers =
        |stream, parts: &[&[u8]]| frame(kind::HEADERS, flag::WHOLE, stream, &parts.concat());
    let request = request_block("GET", "/small.txt", &[]);
    let mut talk = Talk::open(&root);
    talk.send(&headers(1, &[&request, &insert, &[0xbe; 1000]]));
    assert!(talk.is_over());
    assert_eq!(talk.peer.goaway.map(|(_, code)| code), Some(code::CALM));
    assert!(talk.memory_max < 64 * 1024, "{} bytes", talk.memory_max);

    // As much as is allowed, and answers that cannot be sent.
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    talk.send(&headers(1, &[&request, &insert]));
    let unit = |stream: u32| headers(stream + 2, &[&request, &[0xbe; 14]]);
    let units = until_calmed(&mut talk, 300, unit);
    let large = talk.peer.answers.values().filter(|answer| answer.status == 431).count();
    assert!((15..=30).contains(&large), "{large} of {units}");

    // Heads that may be kept, all of them for lookups that do not end.
    let mut talk = Talk::open(&root);
    talk.settles = false;
    talk.send(&headers(1, &[&request, &insert]));
    let unit = |stream: u32| headers(stream + 2, &[&request, &[0xbe; 3]]);
    until_calmed(&mut talk, 200, unit);
    assert!(talk.harness.asks(talk.now) < 10);
}

#[test]
fn header_lists_that_are_too_large() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    let ask = |talk: &mut Talk, stream: u32, fields: &[(&str, &str)]| {
        talk.send(&frame(
            kind::HEADERS,
            flag::WHOLE,
            stream,
            &request_block("GET", "/small.txt", fields),
        ));
        talk.peer.answers.get(&stream).map(|answer| answer.status)
    };
    let value = "a".repeat(7000);
    assert_eq!(ask(&mut talk, 1, &[("x-a", &value), ("x-b", &value)]), Some(200));
    let fields = vec![("x-a", "b"); 400];
    assert_eq!(ask(&mut talk, 3, &fields), Some(431));
    let names = |talk: &Talk, stream: u32, cause: &str| {
        String::from_utf8_lossy(&talk.peer.answers[&stream].content).contains(cause)
    };
    assert!(names(&talk, 3, "has more header fields than this server accepts"));
    let long = "a".repeat(16_300);
    assert_eq!(ask(&mut talk, 5, &[("x-a", &long)]), Some(431));
    assert!(names(&talk, 5, "head is larger than this server accepts"));
    assert_eq!(ask(&mut talk, 7, &[]), Some(200));
    // A block that is too long as it is encoded.
    let value = "a".repeat(11_000);
    let fields = [("x-a", &value[..]), ("x-b", &value), ("x-c", &value)];
    let block = request_block("GET", "/", &fields);
    let mut pieces = block.chunks(16_000);
    talk.send(&frame(kind::HEADERS, flag::END_STREAM, 9, pieces.next().unwrap()));
    for piece in pieces {
        talk.send(&frame(kind::CONTINUATION, 0, 9, piece));
    }
    assert_eq!(talk.peer.goaway, Some((7, code::CALM)));
}

/// The limit of the settings counts for both versions of HTTP, and SETTINGS say it.
#[test]
fn a_lower_limit_of_heads() {
    let (_directory, root) = root();
    for (head_bytes_max, announced, statuses) in [
        (4096, 4096, [431, 200]),
        (32 * 1024, 32 * 1024, [200, 200]),
        (1 << 20, 32 * 1024, [200, 200]),
    ] {
        let limits = RequestLimits { head_bytes_max, ..RequestLimits::default() };
        let settings = HttpSettings { limits, ..HttpSettings::of_root(Arc::clone(&root)) };
        let mut talk = Talk::with(settings);
        let frames = talk.send(&opening(&[]));
        let Frame::Settings(all) = &frames[0] else { panic!("{frames:?}") };
        assert!(all.contains(&(6, announced)), "{all:?}");
        for (stream, bytes, status) in [(1, 5000, statuses[0]), (3, 3000, statuses[1])] {
            let value = "a".repeat(bytes);
            let block = request_block("GET", "/small.txt", &[("x-a", &value)]);
            talk.send(&frame(kind::HEADERS, flag::WHOLE, stream, &block));
            assert_eq!(talk.peer.answers[&stream].status, status, "{head_bytes_max}");
        }
    }
}

/// More streams than SETTINGS allow, all of them open.
#[test]
fn more_streams_than_allowed() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[]));
    talk.send(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    let units = until_calmed(&mut talk, 300, |stream| get(stream, "/over.bin"));
    let refused = talk.peer.answers.values().filter(|answer| answer.reset == Some(code::REFUSED));
    let refused = refused.count() as u32;
    assert!(refused <= 100 && units - refused <= 101, "{refused} of {units}");
}
