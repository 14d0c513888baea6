//! Request heads, by the rules of RFC 9113 sections 8.2, 8.3 and 8.5.

use super::*;
use crate::http::semantics::request::Method;

type Fields<'a> = &'a [(&'a str, &'a str)];

/// The least that a request has.
const LEAST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/x?y")];

fn read(fields: Fields<'_>) -> (RequestHead, Result<BodyNote, Malformed>) {
    let mut head = RequestHead::default();
    let mut reader = head.read();
    fields.iter().for_each(|(name, value)| reader.visit(name.as_bytes(), value.as_bytes()));
    let note = reader.finish();
    (head, note)
}

/// [`LEAST`] with other fields behind it.
fn with<'a>(more: Fields<'a>) -> Vec<(&'a str, &'a str)> {
    [&LEAST[..], more].concat()
}

#[test]
fn a_head_becomes_a_request() {
    let fields = with(&[
        ("accept", "text/html"),
        ("cookie", "a=b"),
        ("accept", "*/*;q=0.1"),
        ("if-none-match", "\"1\""),
        ("referer", "https://b.example/"),
        ("user-agent", "test/1"),
        ("range", "bytes=0-1"),
        ("priority", "u=1"),
    ]);
    let (head, note) = read(&fields);
    assert_eq!(note, Ok(BodyNote::NONE));
    assert_eq!(head.line(), b"GET /x?y HTTP/2.0");
    assert!(head.text().starts_with(b"GET /x?y HTTP/2.0\r\naccept: text/html\r\ncookie: a=b\r\n"));
    assert!(head.fields(b"priority").eq([&b"u=1"[..]]));
    assert!(head.fields(b"cookie").eq([&b"a=b"[..]]));
    assert_eq!(head.fields(b"host").next(), None);
    let understood = head.understand(&RequestLimits::default()).unwrap();
    let Understood { request, referer, user_agent } = understood;
    assert_eq!((request.method, request.target), (Method::Get, &b"/x?y"[..]));
    assert_eq!(request.host, b"a.example");
    let accept: Vec<&[u8]> = request.accept.values().collect();
    assert_eq!(accept, [&b"text/html"[..], b"*/*;q=0.1"], "lines of other names are skipped");
    assert_eq!(request.conditions.if_none_match.single(), Some(&b"\"1\""[..]));
    assert_eq!(request.range.single(), Some(&b"bytes=0-1"[..]));
    assert_eq!((referer, user_agent), (Some(&b"https://b.example/"[..]), Some(&b"test/1"[..])));
}

#[test]
fn the_memory_of_a_head_serves_the_next_one() {
    let (mut head, _) = read(&with(&[("accept", "a/a"), ("host", "a.example")]));
    let mut reader = head.read();
    for (name, value) in [(":path", "/"), (":method", "HEAD"), (":scheme", "http"), ("host", "b")] {
        reader.visit(name.as_bytes(), value.as_bytes());
    }
    assert_eq!(reader.finish(), Ok(BodyNote::NONE));
    let request = head.understand(&RequestLimits::default()).unwrap().request;
    assert_eq!((request.method, request.host), (Method::Head, &b"b"[..]));
    assert!(request.accept.is_absent());
    assert_eq!(head.line(), b"HEAD / HTTP/2.0");
}

#[test]
fn malformed_heads_are_recognised() {
    let long = [("Accept", "upper case")];
    let rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("8.2.1: an upper-case name", with(&long)),
        ("8.2.1: an empty name", with(&[("", "x")])),
        ("8.2.1: a space in a name", with(&[("a b", "x")])),
        ("8.2.1: a colon in a name", with(&[("a:b", "x")])),
        ("8.2.1: CR in a value", with(&[("a", "x\ry")])),
        ("8.2.1: LF in a value", with(&[("a", "x\ny")])),
        ("8.2.1: NUL in a value", with(&[("a", "x\0y")])),
        ("8.2.1: a value that begins with a space", with(&[("a", " x")])),
        ("8.2.1: a value that ends with a tab", with(&[("a", "x\t")])),
        ("8.2.2: connection", with(&[("connection", "close")])),
        ("8.2.2: proxy-connection", with(&[("proxy-connection", "close")])),
        ("8.2.2: keep-alive", with(&[("keep-alive", "1")])),
        ("8.2.2: transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("8.2.2: upgrade", with(&[("upgrade", "h2c")])),
        ("8.2.2: te that is not trailers", with(&[("te", "trailers, gzip")])),
        ("8.3: an unknown pseudo-header field", with(&[(":x", "y")])),
        ("8.3: one of responses", with(&[(":status", "200")])),
        ("8.3: one after a field", [&LEAST[..3], &[("a", "b")], &LEAST[3..]].concat()),
        ("8.3.1: two methods", with(&[(":method", "GET")])),
        ("8.3.1: two paths", with(&[(":path", "/")])),
        ("8.3.1: no method", LEAST[1..].to_vec()),
        ("8.3.1: no scheme", [&LEAST[..1], &LEAST[2..]].concat()),
        ("8.3.1: no path", LEAST[..3].to_vec()),
        ("8.3.1: an empty path", [&LEAST[..3], &[(":path", "")]].concat()),
        ("a space in a path", [&LEAST[..3], &[(":path", "/ HTTP/1.1")]].concat()),
        ("LF in a path", [&LEAST[..3], &[(":path", "/\nhost: b")]].concat()),
        ("a space in a method", [&[(":method", "GET /")], &LEAST[1..]].concat()),
        ("LF in an authority", with(&[(":authority", "a\nb")])),
        ("8.3.1: another host", with(&[("host", "b.example")])),
        ("8.1.1: a length that is no number", with(&[("content-length", "-1")])),
        ("8.1.1: two lengths", with(&[("content-length", "1"), ("content-length", "2")])),
        ("8.5: CONNECT with a path", [&[(":method", "CONNECT")], &LEAST[1..]].concat()),
        ("8.5: CONNECT without an authority", vec![(":method", "CONNECT")]),
        ("nothing", vec![]),
    ];
    for (rule, fields) in rows {
        assert_eq!(read(&fields).1, Err(Malformed), "{rule}");
    }
}

#[test]
fn what_http_1_refuses_with_a_response_gets_the_same_here() {
    let path = |path| [&LEAST[..3], &[(":path", path)]].concat();
    let target = "/".repeat(9000);
    for (status, fields) in [
        (400, path("x")),
        (400, path("*")),
        (400, path("/#x")),
        (414, path(&target)),
        (400, [&LEAST[..1], &[(":scheme", "ftp")], &LEAST[2..]].concat()),
        (400, [&LEAST[..2], &LEAST[3..]].concat()),
        (400, [&LEAST[..2], &[(":authority", "a b@c")], &LEAST[3..]].concat()),
        (400, with(&[("host", "a.example"), ("host", "a.example")])),
        (417, with(&[("expect", "gold")])),
        (400, vec![(":method", "CONNECT"), (":authority", "a.example")]),
    ] {
        let (head, note) = read(&fields);
        if note.is_err() {
            assert!(fields.iter().any(|(_, value)| value.contains(' ')), "{fields:?} is malformed");
            continue;
        }
        let refusal = head.understand(&RequestLimits::default()).unwrap_err();
        assert_eq!(refusal.status.code(), status, "{fields:?}");
    }
}

#[test]
fn a_head_says_what_follows() {
    let length = |length| Ok(BodyNote { length: Some(length), expects_continue: false });
    assert_eq!(read(&with(&[("content-length", "5")])).1, length(5));
    assert_eq!(
        read(&with(&[("content-length", "0"), ("expect", "100-Continue")])).1,
        Ok(BodyNote { length: Some(0), expects_continue: true })
    );
    let (head, note) = read(&[(":method", "CONNECT"), (":authority", "a.example:443")]);
    assert_eq!(note, Ok(BodyNote::NONE));
    let request = head.understand(&RequestLimits::default()).unwrap().request;
    assert_eq!((request.method, request.target), (Method::Connect, &b"a.example:443"[..]));
    assert_eq!(head.line(), b"CONNECT a.example:443 HTTP/2.0");
    let options =
        [(":method", "OPTIONS"), (":scheme", "http"), (":authority", "a"), (":path", "*")];
    let (head, _) = read(&options);
    assert_eq!(head.understand(&RequestLimits::default()).unwrap().request.target, b"*");
}
