//! Sections 6.5 to 6.9 and 7: frames of connections, flow control, error codes.

use super::Outcome::{Acks, GoAway, GoesOn, Pong, Reset, Silence, Status};
use super::{Row, blocked, open, row};
use crate::h2::{code, flag, frame, get, kind, ping, reset, setting, settings, window_update};

pub(super) fn rows() -> Vec<Row> {
    [settings_frames(), values(), pings(), goaways(), windows(), codes()]
        .into_iter()
        .flatten()
        .collect()
}

fn settings_frames() -> Vec<Row> {
    let of = |flags: u8, stream: u32, bytes: usize| {
        frame(kind::SETTINGS, flags, stream, &vec![0; bytes])
    };
    let two = [(setting::INITIAL_WINDOW_SIZE, 100), (setting::INITIAL_WINDOW_SIZE, 1)];
    vec![
        row("6.5", "SETTINGS", &[&settings(&[])], Acks(1)),
        row("6.5", "SETTINGS twice", &[&settings(&[(3, 1)]), &settings(&[])], Acks(2)),
        row("6.5", "an acknowledgement", &[&of(flag::ACK, 0, 0)], Silence),
        row(
            "6.5",
            "an acknowledgement with content",
            &[&of(flag::ACK, 0, 6)],
            GoAway(code::FRAME_SIZE),
        ),
        row("6.5", "SETTINGS on a stream", &[&open(), &of(0, 1, 6)], GoAway(code::PROTOCOL)),
        row("6.5", "SETTINGS of 3 bytes", &[&of(0, 0, 3)], GoAway(code::FRAME_SIZE)),
        row("6.5", "SETTINGS of 13 bytes", &[&of(0, 0, 13)], GoAway(code::FRAME_SIZE)),
        row(
            "6.5.3",
            "the last of two values counts",
            &[&settings(&two), &get(1, "/over.bin"), &window_update(1, 8999)],
            Status(1, 200),
        ),
    ]
}

fn values() -> Vec<Row> {
    let one = |name: u16, value: u32| settings(&[(name, value)]);
    vec![
        row("6.5.2", "ENABLE_PUSH 1", &[&one(setting::ENABLE_PUSH, 1)], Acks(1)),
        row("6.5.2", "ENABLE_PUSH 2", &[&one(setting::ENABLE_PUSH, 2)], GoAway(code::PROTOCOL)),
        row(
            "6.5.2",
            "the largest window",
            &[&one(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)],
            Acks(1),
        ),
        row(
            "6.5.2",
            "a window that is too large",
            &[&one(setting::INITIAL_WINDOW_SIZE, 0x8000_0000)],
            GoAway(code::FLOW_CONTROL),
        ),
        row(
            "6.5.2",
            "MAX_FRAME_SIZE below 2^14",
            &[&one(setting::MAX_FRAME_SIZE, 16_383)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.5.2",
            "MAX_FRAME_SIZE above 2^24 - 1",
            &[&one(setting::MAX_FRAME_SIZE, 0x0100_0000)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.5.2",
            "the largest MAX_FRAME_SIZE",
            &[&one(setting::MAX_FRAME_SIZE, 0x00ff_ffff)],
            Acks(1),
        ),
        row(
            "6.5.2",
            "MAX_CONCURRENT_STREAMS 0",
            &[&one(setting::MAX_CONCURRENT_STREAMS, 0), &get(1, "/small.txt")],
            Status(1, 200),
        ),
        row("6.5.2", "an unknown parameter", &[&one(0xff, 0xffff_ffff)], Acks(1)),
        row(
            "RFC 9218 2.1",
            "NO_RFC7540_PRIORITIES 1",
            &[&one(setting::NO_RFC7540_PRIORITIES, 1)],
            Acks(1),
        ),
        row(
            "RFC 9218 2.1",
            "NO_RFC7540_PRIORITIES 2",
            &[&one(setting::NO_RFC7540_PRIORITIES, 2)],
            GoAway(code::PROTOCOL),
        ),
    ]
}

fn pings() -> Vec<Row> {
    let of =
        |flags: u8, stream: u32, bytes: usize| frame(kind::PING, flags, stream, &vec![0; bytes]);
    vec![
        row("6.7", "PING", &[&ping(*b"h2spec!!")], Pong(*b"h2spec!!")),
        row("6.7", "an acknowledgement of none", &[&of(flag::ACK, 0, 8)], Silence),
        row("6.7", "PING on a stream", &[&open(), &of(0, 1, 8)], GoAway(code::PROTOCOL)),
        row("6.7", "PING of 6 bytes", &[&of(0, 0, 6)], GoAway(code::FRAME_SIZE)),
        row("6.7", "PING of 9 bytes", &[&of(0, 0, 9)], GoAway(code::FRAME_SIZE)),
    ]
}

fn goaways() -> Vec<Row> {
    let of = |stream: u32, bytes: usize| frame(kind::GOAWAY, 0, stream, &vec![0; bytes]);
    let promise = frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2, 0x82]);
    vec![
        row("6.6", "PUSH_PROMISE", &[&open(), &promise], GoAway(code::PROTOCOL)),
        row("6.8", "GOAWAY", &[&of(0, 8)], GoAway(code::NO_ERROR)),
        row("6.8", "GOAWAY with debug data", &[&of(0, 50)], GoAway(code::NO_ERROR)),
        row("6.8", "GOAWAY on a stream", &[&open(), &of(1, 8)], GoAway(code::PROTOCOL)),
        row("6.8", "GOAWAY of 7 bytes", &[&of(0, 7)], GoAway(code::FRAME_SIZE)),
        // A client that leaves asks elsewhere.
        row(
            "6.8",
            "a request after GOAWAY",
            &[&blocked(), &of(0, 8), &get(3, "/small.txt")],
            Reset(3, code::REFUSED),
        ),
        row(
            "6.8",
            "answers are completed after GOAWAY",
            &[&blocked(), &of(0, 8), &window_update(1, 9000)],
            GoAway(code::NO_ERROR),
        ),
    ]
}

fn windows() -> Vec<Row> {
    let of = |stream: u32, bytes: usize| frame(kind::WINDOW_UPDATE, 0, stream, &vec![1; bytes]);
    let large = |stream: u32| window_update(stream, 0x7fff_ffff);
    let first = |bytes: u32| settings(&[(setting::INITIAL_WINDOW_SIZE, bytes)]);
    vec![
        row(
            "6.9",
            "WINDOW_UPDATE of nothing on stream 0",
            &[&window_update(0, 0)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.9",
            "WINDOW_UPDATE of nothing on a stream",
            &[&open(), &window_update(1, 0)],
            Reset(1, code::PROTOCOL),
        ),
        row("6.9", "WINDOW_UPDATE of 3 bytes", &[&of(0, 3)], GoAway(code::FRAME_SIZE)),
        row("6.9", "WINDOW_UPDATE of 5 bytes", &[&open(), &of(1, 5)], GoAway(code::FRAME_SIZE)),
        row(
            "6.9",
            "WINDOW_UPDATE with the reserved bit",
            &[&blocked(), &window_update(1, 0x8000_0000 + 9000)],
            Status(1, 200),
        ),
        row(
            "6.9.1",
            "a window of 1 byte is used",
            &[&first(1), &get(1, "/small.txt"), &window_update(1, 99)],
            Status(1, 200),
        ),
        row(
            "6.9.1",
            "no more than the window is sent",
            &[&first(50), &get(1, "/small.txt")],
            GoesOn,
        ),
        row(
            "6.9.1",
            "the window of the connection is too large",
            &[&large(0), &large(0)],
            GoAway(code::FLOW_CONTROL),
        ),
        row(
            "6.9.1",
            "the window of a stream is too large",
            &[&open(), &large(1)],
            Reset(1, code::FLOW_CONTROL),
        ),
        row(
            "6.9.2",
            "SETTINGS open the windows of streams",
            &[&blocked(), &first(65_535)],
            Status(1, 200),
        ),
        row(
            "6.9.2",
            "a negative window is followed",
            &[&first(5000), &get(1, "/over.bin"), &first(100), &window_update(1, 4900 + 4000)],
            Status(1, 200),
        ),
        row(
            "6.9.2",
            "SETTINGS make a window too large",
            &[&open(), &window_update(1, 0x7fff_0000), &first(0x7fff_ffff)],
            GoAway(code::FLOW_CONTROL),
        ),
    ]
}

fn codes() -> Vec<Row> {
    let goaway = frame(kind::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]);
    vec![
        row("7", "GOAWAY with an unknown code", &[&goaway], GoAway(code::NO_ERROR)),
        row("7", "RST_STREAM with an unknown code", &[&open(), &reset(1, 0xff)], GoesOn),
    ]
}
