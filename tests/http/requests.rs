//! The table of requests: the answer to each, and whether the connection persists.

use ringd::driver::DriverKind;

use self::Then::{Close, Keep};
use crate::support::fixture::Fixture;

/// What happens to the connection after the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Keep,
    Close,
}

/// Requests up to the end of their heads; `H` stands for a valid `Host` field.
const HEADS: &[(&str, u16, Then)] = &[
    // The request line (RFC 9112 section 3).
    ("GET / HTTP/1.1\r\nH\r\n\r\n", 200, Keep),
    ("\r\nGET / HTTP/1.1\r\nH\r\n\r\n", 200, Keep),
    ("\r\n\r\n\r\nGET / HTTP/1.1\r\nH\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.1\nHost: h\n\n", 400, Close),
    ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400, Close),
    ("GET  / HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /  HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    (" GET / HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET\t/\tHTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /a b HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /\x01 HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /\x7f HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("G\x00T / HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /\r\n\r\n", 400, Close),
    ("GET\r\n\r\n", 400, Close),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400, Close),
    // Methods (RFC 9110 section 9): supported, refused, unknown, and in lower case.
    ("OPTIONS * HTTP/1.1\r\nH\r\n\r\n", 204, Keep),
    ("OPTIONS /missing HTTP/1.1\r\nH\r\n\r\n", 204, Keep),
    ("POST / HTTP/1.1\r\nH\r\n\r\n", 405, Keep),
    ("PUT /new HTTP/1.1\r\nH\r\nContent-Length: 0\r\n\r\n", 405, Keep),
    ("DELETE / HTTP/1.1\r\nH\r\n\r\n", 405, Keep),
    ("TRACE / HTTP/1.1\r\nH\r\n\r\n", 405, Keep),
    ("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 405, Close),
    ("BREW / HTTP/1.1\r\nH\r\n\r\n", 501, Keep),
    ("get / HTTP/1.1\r\nH\r\n\r\n", 501, Keep),
    ("GET * HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    // Forms of the target (RFC 9112 section 3.2).
    ("GET http://other/ HTTP/1.1\r\nH\r\n\r\n", 200, Keep),
    ("GET HTTP://other HTTP/1.1\r\nH\r\n\r\n", 200, Keep),
    ("GET http://other:80/missing HTTP/1.1\r\nH\r\n\r\n", 404, Keep),
    ("GET http://other/ HTTP/1.1\r\n\r\n", 400, Close),
    ("GET http:///x HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET ftp://other/ HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET small.txt HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /#fragment HTTP/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET /%zz HTTP/1.1\r\nH\r\n\r\n", 400, Keep),
    ("GET /% HTTP/1.1\r\nH\r\n\r\n", 400, Keep),
    ("GET /%00 HTTP/1.1\r\nH\r\n\r\n", 400, Keep),
    ("GET /.. HTTP/1.1\r\nH\r\n\r\n", 400, Keep),
    ("GET /%2F HTTP/1.1\r\nH\r\n\r\n", 404, Keep),
    ("GET /small.txt?%zz HTTP/1.1\r\nH\r\n\r\n", 200, Keep),
    // Versions.
    ("GET / HTTP/1.0\r\n\r\n", 200, Close),
    ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.2\r\nH\r\n\r\n", 200, Keep),
    ("GET / HTTP/2.0\r\nH\r\n\r\n", 505, Close),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Close),
    ("GET / HTTP/0.9\r\nH\r\n\r\n", 400, Close),
    ("GET / HTTP/1\r\nH\r\n\r\n", 400, Close),
    ("GET / HTTP/1.10\r\nH\r\n\r\n", 400, Close),
    ("GET / http/1.1\r\nH\r\n\r\n", 400, Close),
    ("GET / ICY/1.1\r\nH\r\n\r\n", 400, Close),
    // Host (RFC 9112 section 3.2).
    ("GET / HTTP/1.1\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nH\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.1\r\nHost: nobody.here\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nHost: h:port\r\n\r\n", 400, Close),
    // Fields (RFC 9112 section 5).
    ("GET / HTTP/1.1\r\nH\r\nX : y\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nX: y\r\n folded\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\n X: y\r\nH\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nno colon\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\n: nameless\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nX: a\x00b\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nX: a\rb\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nX:\r\nY:\t \r\n\r\n", 200, Keep),
    // Connection options (RFC 9112 section 9).
    ("GET / HTTP/1.1\r\nH\r\nConnection: close\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nConnection: CLOSE\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nConnection: x, Close ,\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nConnection: a\r\nConnection: close\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nConnection: keep-alive, close\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nConnection: disclose, closed\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.1\r\nH\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 200, Keep),
    ("GET /missing HTTP/1.1\r\nH\r\nConnection: close\r\n\r\n", 404, Close),
    ("OPTIONS * HTTP/1.1\r\nH\r\nConnection: close\r\n\r\n", 204, Close),
    ("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", 200, Keep),
    ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", 200, Close),
    // Bodies and their framing (RFC 9112 sections 6 and 7).
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 3\r\n\r\nabc", 200, Keep),
    ("POST / HTTP/1.1\r\nH\r\nContent-Length: 3\r\n\r\nabc", 405, Keep),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 3, 3\r\n\r\nabc", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: +3\r\n\r\nabc", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: -0\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 0x3\r\n\r\nabc", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length:\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 18446744073709551616\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 18446744073709551615\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nContent-Length: 65537\r\n\r\n", 200, Close),
    ("GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, Keep),
    (
        "GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\nT: t\r\n\r\n",
        200,
        Keep,
    ),
    (
        "GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\n\r\n2;x=\"y\"\r\nab\r\n00\r\n\r\n",
        200,
        Keep,
    ),
    (
        "GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
        Close,
    ),
    (
        "GET / HTTP/1.1\r\nH\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        Close,
    ),
    ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Close),
    ("GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: gzip\r\n\r\n", 501, Close),
    ("GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, Close),
    ("GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 501, Close),
    ("GET / HTTP/1.1\r\nH\r\nTransfer-Encoding: xchunked\r\n\r\n", 501, Close),
    // Expectations (RFC 9110 section 10.1.1).
    ("GET / HTTP/1.1\r\nH\r\nExpect: 100-continue\r\n\r\n", 200, Keep),
    ("POST / HTTP/1.1\r\nH\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n", 405, Close),
    ("GET / HTTP/1.1\r\nH\r\nExpect: a miracle\r\n\r\n", 417, Close),
    ("GET / HTTP/1.0\r\nExpect: a miracle\r\n\r\n", 200, Close),
];

/// A request that closes the connection, to find out whether it was still open.
const LAST: &str = "GET /small.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

pub(crate) fn each_request_gets_its_answer(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for (head, status, then) in HEADS {
        // `H` counts only if it is a whole line.
        let request = head.replace("\nH\r\n", "\nHost: h\r\n").replace("\nH\r\n", "\nHost: h\r\n");
        check(&fixture, request.as_bytes(), *status, *then);
    }
    for (request, status) in oversized() {
        check(&fixture, &request, status, Close);
    }
    fixture.finish();
}

/// Requests at and beyond the limits of heads.
fn oversized() -> Vec<(Vec<u8>, u16)> {
    let get = |target: &str, fields: &str| {
        let rest = "Host: h\r\nConnection: close\r\n\r\n";
        format!("GET {target} HTTP/1.1\r\n{fields}{rest}").into_bytes()
    };
    let target = |bytes: usize| format!("/?{}", "q".repeat(bytes - 2));
    let value = |bytes: usize| format!("X: {}\r\n", "v".repeat(bytes));
    let head_bytes = get("/", &value(0)).len();
    vec![
        (get(&target(8192), ""), 200),
        (get(&target(8193), ""), 414),
        (get(&target(100_000), ""), 414),
        ("M".repeat(100_000).into_bytes(), 414),
        (get("/", &value(16 * 1024 - head_bytes)), 200),
        (get("/", &value(16 * 1024 - head_bytes + 1)), 431),
        (get("/", &value(100_000)), 431),
        (get("/", &"X: y\r\n".repeat(98)), 200),
        (get("/", &"X: y\r\n".repeat(99)), 431),
        (get("/", &"X: y\r\n".repeat(5000)), 431),
    ]
}

fn check(fixture: &Fixture, request: &[u8], status: u16, then: Then) {
    let name = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    println!("{name:?}");
    let mut client = fixture.connect();
    client.try_send(request);
    let response = client.read_response();
    assert_eq!(response.status, status, "{name:?}");
    assert_eq!(response.says_close(), then == Close, "{name:?}: {}", response.head);
    assert!(response.field("date").is_some() && response.field("server").is_some());
    match status {
        // RFC 9110 section 15.5.6 requires `Allow`.
        204 | 405 => assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS")),
        _ => assert_eq!(response.field("allow"), None),
    }
    match status {
        204 => assert_eq!(response.field("content-length"), None),
        200 => {}
        _ => assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8")),
    }
    if then == Keep {
        client.send(LAST);
        assert_eq!(client.read_response().status, 200, "after {name:?}");
    }
    client.expect_close();
}
