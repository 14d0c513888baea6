//! Section 5: the states of streams, their numbers, errors, and frames that are not known.

use super::Outcome::{GoAway, GoesOn, Pong, Reset, Silence, Status};
use super::{Row, blocked, closed, open, row};
use crate::h2::{
    code, data, flag, frame, get, kind, ping, post, priority_update, request_block, reset,
    window_update,
};

pub(super) fn rows() -> Vec<Row> {
    [idle(), half_closed(), after_end(), numbers(), rest()].into_iter().flatten().collect()
}

fn priority(stream: u32, on: u32) -> Vec<u8> {
    frame(kind::PRIORITY, 0, stream, &[&on.to_be_bytes()[..], &[16]].concat())
}

fn idle() -> Vec<Row> {
    let continuation = frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"");
    vec![
        row("5.1", "DATA on an idle stream", &[&data(1, b"x", true)], GoAway(code::PROTOCOL)),
        row("5.1", "RST_STREAM on an idle stream", &[&reset(1, 8)], GoAway(code::PROTOCOL)),
        row(
            "5.1",
            "WINDOW_UPDATE on an idle stream",
            &[&window_update(1, 9)],
            GoAway(code::PROTOCOL),
        ),
        row("5.1", "CONTINUATION on an idle stream", &[&continuation], GoAway(code::PROTOCOL)),
        row("5.1", "PRIORITY on an idle stream", &[&priority(1, 0)], Silence),
        row(
            "5.1",
            "DATA on a later stream",
            &[&open(), &data(3, b"x", true)],
            GoAway(code::PROTOCOL),
        ),
        // The server begins no streams, so even ones are idle for ever.
        row(
            "5.1",
            "DATA on an even stream",
            &[&get(3, "/"), &data(2, b"x", true)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "5.1",
            "RST_STREAM on an even stream",
            &[&get(3, "/"), &reset(2, 8)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "5.1",
            "WINDOW_UPDATE on an even stream",
            &[&get(3, "/"), &window_update(2, 1)],
            GoAway(code::PROTOCOL),
        ),
    ]
}

fn half_closed() -> Vec<Row> {
    vec![
        row(
            "5.1",
            "DATA after END_STREAM",
            &[&blocked(), &data(1, b"x", true)],
            Reset(1, code::STREAM_CLOSED),
        ),
        row(
            "5.1",
            "HEADERS after END_STREAM",
            &[&blocked(), &get(1, "/")],
            Reset(1, code::STREAM_CLOSED),
        ),
        row(
            "5.1",
            "CONTINUATION after END_STREAM",
            &[&blocked(), &frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"")],
            GoAway(code::PROTOCOL),
        ),
        row(
            "5.1",
            "WINDOW_UPDATE after END_STREAM",
            &[&blocked(), &window_update(1, 9_000)],
            Status(1, 200),
        ),
        row(
            "5.1",
            "PRIORITY after END_STREAM",
            &[&blocked(), &priority(1, 0), &window_update(1, 9_000)],
            Status(1, 200),
        ),
        row("5.1", "RST_STREAM after END_STREAM", &[&blocked(), &reset(1, code::CANCEL)], GoesOn),
    ]
}

fn after_end() -> Vec<Row> {
    let cancelled = || [blocked(), reset(1, code::CANCEL)].concat();
    let by_server = || [post(1, &[("content-length", "1")]), data(1, b"xx", false)].concat();
    vec![
        row(
            "5.1",
            "DATA after RST_STREAM",
            &[&cancelled(), &data(1, b"x", true)],
            Reset(1, code::STREAM_CLOSED),
        ),
        row(
            "5.1",
            "HEADERS after RST_STREAM",
            &[&cancelled(), &get(1, "/")],
            GoAway(code::STREAM_CLOSED),
        ),
        row(
            "5.1",
            "CONTINUATION after RST_STREAM",
            &[&cancelled(), &frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"")],
            GoAway(code::PROTOCOL),
        ),
        row("5.1", "WINDOW_UPDATE after RST_STREAM", &[&cancelled(), &window_update(1, 1)], GoesOn),
        row("5.1", "RST_STREAM again", &[&cancelled(), &reset(1, 8)], GoesOn),
        row(
            "5.1",
            "DATA on a closed stream",
            &[&closed(), &data(1, b"x", true)],
            Reset(1, code::STREAM_CLOSED),
        ),
        row(
            "5.1",
            "HEADERS on a closed stream",
            &[&closed(), &get(1, "/")],
            GoAway(code::STREAM_CLOSED),
        ),
        row(
            "5.1",
            "CONTINUATION on a closed stream",
            &[&closed(), &frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"")],
            GoAway(code::PROTOCOL),
        ),
        row("5.1", "PRIORITY on a closed stream", &[&closed(), &priority(1, 0)], Status(1, 405)),
        row(
            "5.1",
            "WINDOW_UPDATE on a closed stream",
            &[&closed(), &window_update(1, 100)],
            Status(1, 405),
        ),
        row("5.1", "RST_STREAM on a closed stream", &[&closed(), &reset(1, 8)], Status(1, 405)),
        row(
            "5.1",
            "DATA after a reset of the server",
            &[&by_server(), &data(1, b"x", true), &data(1, b"x", true)],
            Reset(1, code::PROTOCOL),
        ),
        row(
            "5.1",
            "trailers after a reset of the server",
            &[&by_server(), &get(1, "/")],
            Reset(1, code::PROTOCOL),
        ),
        row(
            "5.1",
            "RST_STREAM after one of the server",
            &[&by_server(), &reset(1, 8)],
            Reset(1, code::PROTOCOL),
        ),
        row(
            "5.1",
            "WINDOW_UPDATE after a reset of the server",
            &[&by_server(), &window_update(1, 1)],
            Reset(1, code::PROTOCOL),
        ),
    ]
}

fn numbers() -> Vec<Row> {
    let many = |count: u32| -> Vec<u8> { (0..count).flat_map(|n| post(2 * n + 1, &[])).collect() };
    vec![
        row("5.1.1", "an even number", &[&get(2, "/")], GoAway(code::PROTOCOL)),
        row(
            "5.1.1",
            "a number below an earlier one",
            &[&get(5, "/"), &get(3, "/")],
            GoAway(code::PROTOCOL),
        ),
        row(
            "5.1.1",
            "numbers are left out",
            &[&get(7, "/"), &get(99, "/small.txt")],
            Status(99, 200),
        ),
        row(
            "5.1.1",
            "the last number",
            &[&get(0x7fff_ffff, "/small.txt")],
            Status(0x7fff_ffff, 200),
        ),
        row(
            "5.1.2",
            "as many streams as SETTINGS allow",
            &[&window_update(0, 1 << 20), &many(100)],
            Status(199, 405),
        ),
        row("5.1.2", "one more", &[&many(101)], Reset(201, code::REFUSED)),
        row(
            "5.1.2",
            "one more, after one has ended",
            &[&window_update(0, 1 << 20), &many(100), &data(1, b"", true), &get(201, "/small.txt")],
            Status(201, 200),
        ),
    ]
}

fn rest() -> Vec<Row> {
    let depends = |on: u32| {
        let block = request_block("GET", "/small.txt", &[]);
        let payload = [&on.to_be_bytes()[..], &[255], &block].concat();
        frame(kind::HEADERS, flag::WHOLE | flag::PRIORITY, 1, &payload)
    };
    vec![
        // An error of RFC 7540, section 5.3.1.
        row("5.3.2", "HEADERS of a stream that depends on itself", &[&depends(1)], Status(1, 200)),
        row("5.3.2", "PRIORITY of a stream that depends on itself", &[&priority(1, 1)], Silence),
        row(
            "5.3.2",
            "HEADERS with an exclusive dependency",
            &[&depends(0x8000_0003)],
            Status(1, 200),
        ),
        row(
            "5.4.1",
            "an error of the connection ends it",
            &[&frame(kind::PING, 0, 0, b"short")],
            GoAway(code::FRAME_SIZE),
        ),
        row(
            "5.4.1",
            "the requests before it are answered",
            &[&get(1, "/small.txt"), &data(0, b"", false)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "5.4.2",
            "an error of a stream leaves others",
            &[&open(), &window_update(1, 0), &get(3, "/small.txt")],
            Status(3, 200),
        ),
        row(
            "5.5",
            "frames of extensions",
            &[&frame(0x0a, 0, 0, b"x"), &frame(0x0c, 7, 0, b""), &get(1, "/small.txt")],
            Status(1, 200),
        ),
        row(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE",
            &[&priority_update(1, "u=0, i"), &get(1, "/small.txt")],
            Status(1, 200),
        ),
        row(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE on a stream",
            &[&frame(kind::PRIORITY_UPDATE, 0, 1, &[0, 0, 0, 1])],
            GoAway(code::PROTOCOL),
        ),
        row(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE without a stream",
            &[&frame(kind::PRIORITY_UPDATE, 0, 0, &[0, 0, 1])],
            GoAway(code::FRAME_SIZE),
        ),
        row(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE for stream 0",
            &[&priority_update(0, "u=1")],
            GoAway(code::PROTOCOL),
        ),
        row(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE for a stream of the server",
            &[&priority_update(2, "u=1")],
            GoAway(code::PROTOCOL),
        ),
        row(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE for a closed stream",
            &[&closed(), &priority_update(1, "u=1")],
            GoesOn,
        ),
        row(
            "RFC 9218 4",
            "a priority that is no dictionary",
            &[&priority_update(1, "\u{1}=;;,,u"), &ping([7; 8])],
            Pong([7; 8]),
        ),
        row(
            "RFC 9218 4",
            "a field with an unknown parameter",
            &[&frame(
                kind::HEADERS,
                flag::WHOLE,
                1,
                &request_block("GET", "/small.txt", &[("priority", "u=9, x")]),
            )],
            Status(1, 200),
        ),
    ]
}
