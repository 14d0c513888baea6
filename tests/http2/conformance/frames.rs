//! Sections 6.1 to 6.4 and 6.10: frames of streams.

use super::Outcome::{GoAway, GoesOn, Reset, Status};
use super::{Row, open, row};
use crate::h2::{code, data, flag, frame, get, kind, request_block, reset};

pub(super) fn rows() -> Vec<Row> {
    [data_frames(), headers(), priority(), resets(), continuations()]
        .into_iter()
        .flatten()
        .collect()
}

fn data_frames() -> Vec<Row> {
    let padded = |payload: &[u8]| frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, payload);
    vec![
        row("6.1", "DATA", &[&open(), &data(1, b"test", true)], Status(1, 405)),
        row(
            "6.1",
            "several DATA",
            &[&open(), &data(1, b"te", false), &data(1, b"st", true)],
            Status(1, 405),
        ),
        row("6.1", "DATA with padding", &[&open(), &padded(&[2, b'x', 0, 0])], Status(1, 405)),
        row("6.1", "DATA of padding alone", &[&open(), &padded(&[2, 0, 0])], Status(1, 405)),
        row(
            "6.1",
            "an empty DATA that ends the stream",
            &[&open(), &data(1, b"", true)],
            Status(1, 405),
        ),
        row("6.1", "DATA on stream 0", &[&data(0, b"x", false)], GoAway(code::PROTOCOL)),
        row(
            "6.1",
            "padding as long as the payload",
            &[&open(), &padded(&[4, 0, 0, 0])],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.1",
            "padding longer than the payload",
            &[&open(), &padded(&[255, 0, 0, 0])],
            GoAway(code::PROTOCOL),
        ),
        row("6.1", "no length of the padding", &[&open(), &padded(&[])], GoAway(code::FRAME_SIZE)),
    ]
}

fn headers() -> Vec<Row> {
    let block = request_block("GET", "/small.txt", &[]);
    let headers =
        |flags: u8, parts: &[&[u8]]| frame(kind::HEADERS, flag::WHOLE | flags, 1, &parts.concat());
    let both = flag::PADDED | flag::PRIORITY;
    vec![
        row("6.2", "HEADERS", &[&headers(0, &[&block])], Status(1, 200)),
        row(
            "6.2",
            "HEADERS with padding",
            &[&headers(flag::PADDED, &[&[3], &block, &[0; 3]])],
            Status(1, 200),
        ),
        row(
            "6.2",
            "HEADERS with priority",
            &[&headers(flag::PRIORITY, &[&[0, 0, 0, 0, 9], &block])],
            Status(1, 200),
        ),
        row(
            "6.2",
            "HEADERS with both",
            &[&headers(both, &[&[1, 0, 0, 0, 0, 9], &block, &[0]])],
            Status(1, 200),
        ),
        row("6.2", "HEADERS on stream 0", &[&get(0, "/")], GoAway(code::PROTOCOL)),
        row(
            "6.2",
            "padding as long as the payload",
            &[&headers(flag::PADDED, &[&[block.len() as u8 + 1], &block])],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.2",
            "padding that leaves no room for the priority",
            &[&headers(both, &[&[3, 0, 0, 0, 0, 9, 0, 0]])],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.2",
            "no length of the padding",
            &[&headers(flag::PADDED, &[])],
            GoAway(code::FRAME_SIZE),
        ),
        row(
            "6.2",
            "no room for the priority",
            &[&headers(flag::PRIORITY, &[&[0; 4]])],
            GoAway(code::FRAME_SIZE),
        ),
    ]
}

fn priority() -> Vec<Row> {
    let of = |stream: u32, bytes: usize| frame(kind::PRIORITY, 0, stream, &vec![0; bytes]);
    vec![
        row("6.3", "PRIORITY on stream 0", &[&of(0, 5)], GoAway(code::PROTOCOL)),
        row("6.3", "PRIORITY of 4 bytes", &[&open(), &of(1, 4)], Reset(1, code::FRAME_SIZE)),
        row("6.3", "PRIORITY of 6 bytes", &[&open(), &of(1, 6)], Reset(1, code::FRAME_SIZE)),
        row(
            "6.3",
            "the same again, after the reset",
            &[&open(), &of(1, 4), &of(1, 4)],
            Reset(1, code::FRAME_SIZE),
        ),
        // A stream that is idle cannot be reset (section 6.4).
        row("6.3", "the same on an idle stream", &[&of(1, 4)], GoAway(code::FRAME_SIZE)),
        row(
            "6.3",
            "PRIORITY on several streams",
            &[&of(1, 5), &of(3, 5), &get(1, "/small.txt")],
            Status(1, 200),
        ),
    ]
}

fn resets() -> Vec<Row> {
    let of = |stream: u32, bytes: usize| frame(kind::RST_STREAM, 0, stream, &vec![0; bytes]);
    vec![
        row("6.4", "RST_STREAM", &[&open(), &reset(1, code::CANCEL)], GoesOn),
        row("6.4", "RST_STREAM with an unknown code", &[&open(), &reset(1, 0xffff_ffff)], GoesOn),
        row("6.4", "RST_STREAM on stream 0", &[&reset(0, 0)], GoAway(code::PROTOCOL)),
        row("6.4", "RST_STREAM on an idle stream", &[&reset(1, 0)], GoAway(code::PROTOCOL)),
        row("6.4", "RST_STREAM of 3 bytes", &[&open(), &of(1, 3)], GoAway(code::FRAME_SIZE)),
        row("6.4", "RST_STREAM of 5 bytes", &[&open(), &of(1, 5)], GoAway(code::FRAME_SIZE)),
    ]
}

fn continuations() -> Vec<Row> {
    let block = request_block("GET", "/small.txt", &[]);
    let (front, rest) = block.split_at(10);
    let (middle, back) = rest.split_at(10);
    let begin = frame(kind::HEADERS, flag::END_STREAM, 1, front);
    let next = |flags: u8, stream: u32, part: &[u8]| frame(kind::CONTINUATION, flags, stream, part);
    let end = flag::END_HEADERS;
    vec![
        row("6.10", "one CONTINUATION", &[&begin, &next(end, 1, rest)], Status(1, 200)),
        row(
            "6.10",
            "several of them",
            &[&begin, &next(0, 1, middle), &next(0, 1, b""), &next(end, 1, back)],
            Status(1, 200),
        ),
        row(
            "6.10",
            "an empty HEADERS before it",
            &[&frame(kind::HEADERS, flag::END_STREAM, 1, b""), &next(end, 1, &block)],
            Status(1, 200),
        ),
        row(
            "6.10",
            "another frame after CONTINUATION",
            &[&begin, &next(0, 1, middle), &data(1, b"x", true)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.10",
            "CONTINUATION on stream 0",
            &[&begin, &next(end, 0, rest)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.10",
            "CONTINUATION on another stream",
            &[&begin, &next(end, 3, rest)],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.10",
            "CONTINUATION after HEADERS that end",
            &[&get(1, "/"), &next(end, 1, b"")],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.10",
            "CONTINUATION after one that ends",
            &[&begin, &next(end, 1, rest), &next(end, 1, b"")],
            GoAway(code::PROTOCOL),
        ),
        row(
            "6.10",
            "CONTINUATION after DATA",
            &[&open(), &data(1, b"x", false), &next(end, 1, b"")],
            GoAway(code::PROTOCOL),
        ),
    ]
}
