//! Sections 3 and 4: how connections begin, the form of frames, header blocks.

use super::Outcome::{Acks, GoAway, Pong, Silence, Status};
use super::{Row, open, raw, row};
use crate::h2::{
    PREFACE, code, data, flag, frame, get, kind, literal, lying_frame, opening, ping, post,
    request_block, setting, settings,
};

pub(super) fn rows() -> Vec<Row> {
    [beginnings(), forms(), blocks()].into_iter().flatten().collect()
}

fn beginnings() -> Vec<Row> {
    let ack = frame(kind::SETTINGS, flag::ACK, 0, b"");
    vec![
        raw("3.4", "a preface and SETTINGS", &[&opening(&[])], Acks(1)),
        raw(
            "3.4",
            "a request right behind the preface",
            &[&opening(&[]), &get(1, "/small.txt")],
            Status(1, 200),
        ),
        raw(
            "3.4",
            "a wrong preface",
            &[b"INVALID CONNECTION PREFACE\r\n\r\n"],
            GoAway(code::PROTOCOL),
        ),
        raw(
            "3.4",
            "a preface whose last byte is wrong",
            &[&PREFACE[..23], b"x"],
            GoAway(code::PROTOCOL),
        ),
        raw("3.4", "a request of HTTP/1.1", &[b"GET / HTTP/1.1\r\n"], GoAway(code::PROTOCOL)),
        raw("3.4", "no SETTINGS first", &[PREFACE, &ping([1; 8])], GoAway(code::PROTOCOL)),
        raw(
            "3.4",
            "HEADERS instead of SETTINGS",
            &[PREFACE, &get(1, "/small.txt")],
            GoAway(code::PROTOCOL),
        ),
        raw("3.4", "an acknowledgement first", &[PREFACE, &ack], GoAway(code::PROTOCOL)),
    ]
}

fn forms() -> Vec<Row> {
    let reserved = frame(kind::PING, 0, 0x8000_0000, &[2; 8]);
    let long = vec![0; 16_384];
    vec![
        row("4.1", "a frame of an unknown type", &[&frame(0x16, 0, 0, &[0; 8])], Silence),
        row("4.1", "the same on a stream", &[&frame(0xff, 0xff, 1, &[0; 8])], Silence),
        row(
            "4.1",
            "flags that are not defined",
            &[&frame(kind::PING, 0x16, 0, &[3; 8])],
            Pong([3; 8]),
        ),
        row("4.1", "the reserved bit", &[&reserved], Pong([2; 8])),
        row("4.2", "DATA of 2^14 bytes", &[&open(), &data(1, &long, true)], Status(1, 405)),
        row(
            "4.2",
            "DATA of more",
            &[&open(), &lying_frame(16_385, kind::DATA, 0, 1, &[0; 64])],
            GoAway(code::FRAME_SIZE),
        ),
        row(
            "4.2",
            "HEADERS of more",
            &[&lying_frame(16_385, kind::HEADERS, flag::WHOLE, 1, &[0; 64])],
            GoAway(code::FRAME_SIZE),
        ),
        row(
            "4.2",
            "a frame of the most bytes that a length can say",
            &[&lying_frame(0x00ff_ffff, 0x20, 0, 0, &[0; 64])],
            GoAway(code::FRAME_SIZE),
        ),
    ]
}

fn blocks() -> Vec<Row> {
    let block = request_block("GET", "/small.txt", &[]);
    let (front, back) = block.split_at(10);
    let begin = frame(kind::HEADERS, flag::END_STREAM, 1, front);
    let interrupted = |by: &[u8]| [&begin[..], by].concat();
    let end = frame(kind::CONTINUATION, flag::END_HEADERS, 1, back);
    let insert = [&request_block("GET", "/dir/", &[])[..], &literal(0x40, "x-a", "b")].concat();
    let refer = [&block[..], &[0x80 | 62]].concat();
    vec![
        row(
            "4.3",
            "a block that cannot be decoded",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &[0x80])],
            GoAway(code::COMPRESSION),
        ),
        row(
            "4.3",
            "the same in trailers",
            &[&open(), &frame(kind::HEADERS, flag::WHOLE, 1, &[0xff])],
            GoAway(code::COMPRESSION),
        ),
        row(
            "4.3",
            "a block that ends within a field",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &block[..block.len() - 1])],
            GoAway(code::COMPRESSION),
        ),
        row(
            "4.3",
            "PRIORITY in a block",
            &[&interrupted(&frame(kind::PRIORITY, 0, 1, &[0; 5]))],
            GoAway(code::PROTOCOL),
        ),
        row(
            "4.3",
            "HEADERS of another stream in a block",
            &[&interrupted(&get(3, "/"))],
            GoAway(code::PROTOCOL),
        ),
        row(
            "4.3",
            "HEADERS of the same stream in a block",
            &[&interrupted(&get(1, "/"))],
            GoAway(code::PROTOCOL),
        ),
        row(
            "5.5",
            "an unknown frame in a block",
            &[&interrupted(&frame(0x16, 0, 0, b""))],
            GoAway(code::PROTOCOL),
        ),
        row("6.10", "PING in a block", &[&interrupted(&ping([0; 8]))], GoAway(code::PROTOCOL)),
        row("4.3", "a block in two frames", &[&begin, &end], Status(1, 200)),
        row(
            "4.3",
            "a block of a refused request changes the table for later ones",
            &[
                &frame(
                    kind::HEADERS,
                    flag::WHOLE,
                    1,
                    &[&literal(0x40, "x-a", "b")[..], &insert].concat(),
                ),
                &frame(kind::HEADERS, flag::WHOLE, 3, &refer),
            ],
            Status(3, 200),
        ),
        row(
            "RFC 7541 4.2",
            "a table of another size",
            &[&settings(&[(setting::HEADER_TABLE_SIZE, 0)]), &get(1, "/small.txt")],
            Status(1, 200),
        ),
        row(
            "RFC 7541 2.3.3",
            "an index beyond the tables",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &[0xc6])],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 2.3.3",
            "a name with such an index",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &[0x7f, 7, 1, b'a'])],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 4.2",
            "a change of the size at the end of a block",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &[&block[..], &[0x20]].concat())],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 6.3",
            "a size above the limit",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &[&[0x3f, 0xe2, 0x1f], &block[..]].concat())],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 6.1",
            "the index 0",
            &[&frame(kind::HEADERS, flag::WHOLE, 1, &[&block[..], &[0x80]].concat())],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 5.2",
            "padding of a Huffman string that is too long",
            &[&frame(
                kind::HEADERS,
                flag::WHOLE,
                1,
                &[&block[..], &[0, 1, b'x', 0x83, 0x1f, 0xff, 0xff]].concat(),
            )],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 5.2",
            "padding of zeros",
            &[&frame(
                kind::HEADERS,
                flag::WHOLE,
                1,
                &[&block[..], &[0, 1, b'x', 0x81, 0x18]].concat(),
            )],
            GoAway(code::COMPRESSION),
        ),
        row(
            "RFC 7541 5.2",
            "EOS in a Huffman string",
            &[&frame(
                kind::HEADERS,
                flag::WHOLE,
                1,
                &[&block[..], &[0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]].concat(),
            )],
            GoAway(code::COMPRESSION),
        ),
        row(
            "8.1",
            "a request in the table's terms",
            &[&frame(
                kind::HEADERS,
                flag::WHOLE,
                1,
                &[
                    &[0x82, 0x87][..],
                    &literal(0x40, ":authority", "h"),
                    &literal(0x10, ":path", "/small.txt"),
                ]
                .concat(),
            )],
            Status(1, 200),
        ),
        row(
            "4.3",
            "requests of several streams",
            &[&post(1, &[]), &get(3, "/small.txt"), &data(1, b"x", true)],
            Status(3, 200),
        ),
    ]
}
