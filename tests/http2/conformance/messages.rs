//! Section 8: requests, their fields and their content.

use super::Outcome::{Reset, Status};
use super::{Row, open, row};
use crate::h2::{block, code, data, flag, frame, get, kind, post, request_block};

pub(super) fn rows() -> Vec<Row> {
    [exchanges(), fields(), pseudo(), contents()].into_iter().flatten().collect()
}

const MALFORMED: super::Outcome = Reset(1, code::PROTOCOL);

/// A request that is made of these fields alone.
fn of(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, 1, &block(fields))
}

/// A request with more fields.
fn with(name: &str, value: &str) -> Vec<u8> {
    frame(kind::HEADERS, flag::WHOLE, 1, &request_block("GET", "/small.txt", &[(name, value)]))
}

fn trailers(fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags, 1, &block(fields))
}

fn exchanges() -> Vec<Row> {
    let head = |method: &str| {
        frame(kind::HEADERS, flag::WHOLE, 1, &request_block(method, "/small.txt", &[]))
    };
    vec![
        row("8.1", "GET", &[&get(1, "/small.txt")], Status(1, 200)),
        row("8.1", "HEAD", &[&head("HEAD")], Status(1, 200)),
        row("8.1", "OPTIONS", &[&head("OPTIONS")], Status(1, 204)),
        row("8.1", "POST", &[&open(), &data(1, b"x", true)], Status(1, 405)),
        row(
            "8.1",
            "POST with trailers",
            &[&open(), &data(1, b"x", false), &trailers(&[("x-a", "b")], flag::WHOLE)],
            Status(1, 405),
        ),
        row("8.1", "a file that does not exist", &[&get(1, "/none")], Status(1, 404)),
        row(
            "8.1",
            "a second HEADERS without END_STREAM",
            &[&open(), &trailers(&[("x-a", "b")], flag::END_HEADERS)],
            MALFORMED,
        ),
        row(
            "8.1",
            "a pseudo-header field in trailers",
            &[&open(), &trailers(&[(":method", "GET")], flag::WHOLE)],
            MALFORMED,
        ),
        row(
            "8.1",
            "an upper-case name in trailers",
            &[&open(), &trailers(&[("X-a", "b")], flag::WHOLE)],
            MALFORMED,
        ),
        row(
            "8.1",
            "a client that waits for 100",
            &[&post(1, &[("expect", "100-continue"), ("content-length", "5")])],
            Status(1, 405),
        ),
    ]
}

fn fields() -> Vec<Row> {
    vec![
        row("8.2", "a name in upper case", &[&with("X-Test", "ok")], MALFORMED),
        row("8.2.1", "an empty name", &[&with("", "ok")], MALFORMED),
        row("8.2.1", "a blank in a name", &[&with("x test", "ok")], MALFORMED),
        row("8.2.1", "a colon in a name", &[&with("x:test", "ok")], MALFORMED),
        row("8.2.1", "a byte above ASCII in a name", &[&with("x-\u{e9}", "ok")], MALFORMED),
        row("8.2.1", "NUL in a value", &[&with("x-test", "a\0b")], MALFORMED),
        row("8.2.1", "LF in a value", &[&with("x-test", "a\nb")], MALFORMED),
        row("8.2.1", "CR in a value", &[&with("x-test", "a\rb")], MALFORMED),
        row("8.2.1", "a blank before a value", &[&with("x-test", " a")], MALFORMED),
        row("8.2.1", "a tab behind a value", &[&with("x-test", "a\t")], MALFORMED),
        row("8.2.1", "an empty value", &[&with("x-test", "")], Status(1, 200)),
        row("8.2.2", "connection", &[&with("connection", "keep-alive")], MALFORMED),
        row("8.2.2", "keep-alive", &[&with("keep-alive", "timeout=5")], MALFORMED),
        row("8.2.2", "proxy-connection", &[&with("proxy-connection", "close")], MALFORMED),
        row("8.2.2", "transfer-encoding", &[&with("transfer-encoding", "chunked")], MALFORMED),
        row("8.2.2", "upgrade", &[&with("upgrade", "h2c")], MALFORMED),
        row(
            "8.2.2",
            "te with more than trailers",
            &[&with("te", "trailers, deflate;q=0.5")],
            MALFORMED,
        ),
        row("8.2.2", "te with trailers", &[&with("te", "trailers")], Status(1, 200)),
        row(
            "8.2.3",
            "cookies in pieces",
            &[&frame(
                kind::HEADERS,
                flag::WHOLE,
                1,
                &request_block("GET", "/small.txt", &[("cookie", "a=b"), ("cookie", "c=d")]),
            )],
            Status(1, 200),
        ),
    ]
}

fn pseudo() -> Vec<Row> {
    const M: (&str, &str) = (":method", "GET");
    const S: (&str, &str) = (":scheme", "https");
    const P: (&str, &str) = (":path", "/small.txt");
    const A: (&str, &str) = (":authority", "h");
    let late = [M, S, A, ("x-test", "ok"), P];
    vec![
        row(
            "8.3",
            "an unknown pseudo-header field",
            &[&of(&[M, S, P, A, (":test", "ok")])],
            MALFORMED,
        ),
        row("8.3", "one of responses", &[&of(&[M, S, P, A, (":status", "200")])], MALFORMED),
        row("8.3", "one behind other fields", &[&of(&late)], MALFORMED),
        row(
            "8.3",
            "one behind other fields, again",
            &[&of(&[M, S, P, A, ("x-test", "ok"), P])],
            MALFORMED,
        ),
        row("8.3.1", "an empty path", &[&of(&[M, S, A, (":path", "")])], MALFORMED),
        row("8.3.1", "no method", &[&of(&[S, P, A])], MALFORMED),
        row("8.3.1", "no scheme", &[&of(&[M, P, A])], MALFORMED),
        row("8.3.1", "no path", &[&of(&[M, S, A])], MALFORMED),
        row("8.3.1", "no fields", &[&of(&[])], MALFORMED),
        row("8.3.1", "two methods", &[&of(&[M, M, S, P, A])], MALFORMED),
        row("8.3.1", "two schemes", &[&of(&[M, S, S, P, A])], MALFORMED),
        row("8.3.1", "two paths", &[&of(&[M, S, P, P, A])], MALFORMED),
        row("8.3.1", "two authorities", &[&of(&[M, S, P, A, A])], MALFORMED),
        row(
            "8.3.1",
            "host instead of the authority",
            &[&of(&[M, S, P, ("host", "h")])],
            Status(1, 200),
        ),
        row(
            "8.3.1",
            "host equal to the authority",
            &[&of(&[M, S, P, A, ("host", "H")])],
            Status(1, 200),
        ),
        row(
            "8.3.1",
            "host that is not the authority",
            &[&of(&[M, S, P, A, ("host", "other")])],
            MALFORMED,
        ),
        row("8.3.1", "neither", &[&of(&[M, S, P])], Status(1, 400)),
        row(
            "8.3.1",
            "a user in the authority",
            &[&of(&[M, S, P, (":authority", "me@h")])],
            Status(1, 400),
        ),
        row(
            "8.3.1",
            "a path without a slash",
            &[&of(&[M, S, A, (":path", "small.txt")])],
            Status(1, 400),
        ),
        row(
            "8.3.1",
            "a star for another method",
            &[&of(&[M, S, A, (":path", "*")])],
            Status(1, 400),
        ),
        row(
            "8.3.1",
            "a star for OPTIONS",
            &[&of(&[(":method", "OPTIONS"), S, A, (":path", "*")])],
            Status(1, 204),
        ),
        row("8.3.1", "a blank in a path", &[&of(&[M, S, A, (":path", "/a b")])], MALFORMED),
        row(
            "8.3.1",
            "a method that is no token",
            &[&of(&[(":method", "G ET"), S, P, A])],
            MALFORMED,
        ),
        row(
            "8.3.1",
            "a method that is not known",
            &[&of(&[(":method", "BREW"), S, P, A])],
            Status(1, 501),
        ),
        row("8.5", "CONNECT with a path", &[&of(&[(":method", "CONNECT"), P, A])], MALFORMED),
        row("8.5", "CONNECT with a scheme", &[&of(&[(":method", "CONNECT"), S, A])], MALFORMED),
        row("8.5", "CONNECT without an authority", &[&of(&[(":method", "CONNECT")])], MALFORMED),
        row(
            "8.5",
            "CONNECT",
            &[&of(&[(":method", "CONNECT"), (":authority", "h:443")])],
            Status(1, 405),
        ),
    ]
}

fn contents() -> Vec<Row> {
    let long = |length: &str| post(1, &[("content-length", length)]);
    vec![
        row(
            "8.1.1",
            "a content-length that is right",
            &[&long("4"), &data(1, b"test", true)],
            Status(1, 405),
        ),
        row(
            "8.1.1",
            "the same in two DATA",
            &[&long("4"), &data(1, b"te", false), &data(1, b"st", true)],
            Status(1, 405),
        ),
        row("8.1.1", "less than announced", &[&long("4"), &data(1, b"tes", true)], MALFORMED),
        row("8.1.1", "more than announced", &[&long("1"), &data(1, b"test", true)], MALFORMED),
        row(
            "8.1.1",
            "more in two DATA",
            &[&long("1"), &data(1, b"te", false), &data(1, b"st", true)],
            MALFORMED,
        ),
        row(
            "8.1.1",
            "less before trailers",
            &[&long("4"), &data(1, b"te", false), &trailers(&[("x-a", "b")], flag::WHOLE)],
            MALFORMED,
        ),
        row("8.1.1", "no content, though announced", &[&with("content-length", "4")], MALFORMED),
        row("8.1.1", "no content is announced", &[&with("content-length", "0")], Status(1, 200)),
        row(
            "8.1.1",
            "a content-length that is no number",
            &[&with("content-length", "+0")],
            MALFORMED,
        ),
        row(
            "8.1.1",
            "two that differ",
            &[&post(1, &[("content-length", "4"), ("content-length", "5")])],
            MALFORMED,
        ),
    ]
}
