//! Where messages end, how connections end, and how long each may take.

use std::time::{Duration, Instant};

use ringd::driver::DriverKind;

use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::root::content;

const GET: &str = "GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";

pub(crate) fn bodies_are_discarded(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    // As much as is read at most, with a body that looks like requests.
    let body = GET.repeat(64 * 1024 / GET.len() + 1);
    for length in [1, GET.len(), 4096, 64 * 1024] {
        client.send("GET /small.txt HTTP/1.1\r\nHost: h\r\n");
        client.send(format!("Content-Length: {length}\r\n\r\n"));
        client.read_response().expect_ok(&content(20));
        client.send(&body[..length]);
        let chunk = &body[..length.div_ceil(2)];
        client.send("GET /over.bin HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("{:x};a=b\r\n{chunk}\r\n0\r\nTrailer: x\r\n\r\n", chunk.len()));
        client.read_response().expect_ok(&content(8193));
    }
    client.send(GET);
    client.read_response().expect_ok(&content(20));
    drop(client);
    fixture.finish();
}

pub(crate) fn a_long_body_ends_the_connection(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n");
    client.send(vec![b'x'; 1000]);
    let response = client.read_response();
    assert_eq!(response.status, 405);
    assert!(response.says_close());
    client.expect_close();
    // The number of chunks is unknown, so the answer is sent before the body proves too long.
    let mut client = fixture.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.read_response().status, 405);
    client.send("10000\r\n");
    client.expect_close();
    let mut client = fixture.connect();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.read_response().status, 405);
    client.send("this is no chunk\r\n");
    client.expect_close();
    fixture.finish();
}

/// Lines behind the last chunk that are no fields: a proxy that reads them as a request and a
/// server that reads them as a part of the body disagree about every request after them.
pub(crate) fn what_is_no_trailer_ends_the_connection(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for trailer in [
        "no colon\r\n\r\n",
        " A: b\r\n\r\n",
        "\tA: b\r\n\r\n",
        "A : b\r\n\r\n",
        ": b\r\n\r\n",
        "A: b\r\n folded\r\n\r\n",
        GET,
        "\n",
        "\rx",
        "A: b\n\r\n",
        &("A: b\r\n".repeat(101) + "\r\n"),
    ] {
        let body = format!("1\r\nx\r\n0\r\n{trailer}");
        // The answer is decided by the head, however the bytes arrive.
        let mut client = fixture.connect();
        client.send(head.to_owned() + &body + GET);
        assert_eq!(client.read_response().status, 405, "{trailer:?}");
        client.expect_close();
        let mut client = fixture.connect();
        client.send(head);
        assert_eq!(client.read_response().status, 405, "{trailer:?}");
        client.send(body + GET);
        client.expect_close();
    }
    // Fields of a trailer section mean nothing, whatever their names.
    let mut client = fixture.connect();
    for trailer in ["A:\r\n", "Content-Length: 9\r\n", "Transfer-Encoding: gzip\r\nHost: x\r\n"] {
        client.send(format!("{head}0\r\n{trailer}\r\n{GET}"));
        assert_eq!(client.read_response().status, 405, "{trailer:?}");
        client.read_response().expect_ok(&content(20));
    }
    drop(client);
    fixture.finish();
}

/// RFC 9112 section 9.6: closing at once would reset the connection, and the reset could overtake
/// the error.
pub(crate) fn an_error_arrives_while_the_client_still_sends(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", 405),
        ("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n", 405),
    ] {
        let mut client = fixture.connect();
        client.send(request);
        for _ in 0..10 {
            client.send([b'x'; 4096]);
        }
        // The client reads the answer only after the server has received everything.
        client.half_close();
        let response = client.read_response();
        assert_eq!((response.status, response.says_close()), (status, true), "{request:?}");
        client.expect_close();
    }
    fixture.finish();
}

/// Some clients append a line end to a request. If the connection were closed by then, the kernel
/// would answer with a reset, which discards what the client has no room for yet.
pub(crate) fn input_behind_the_last_request_does_not_cut_its_answer(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let length = 60_000;
    std::fs::write(fixture.path("wide.bin"), content(length)).unwrap();
    let close = "Connection: close\r\n\r\n";
    for request in [
        format!("GET /wide.bin HTTP/1.1\r\nHost: h\r\n{close}"),
        "GET /wide.bin HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET /wide.bin HTTP/1.1\r\nHost: h\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n{close}"),
    ] {
        let mut client = Client::connect_narrow(fixture.address());
        client.send(&request);
        let response = client.read_head();
        assert_eq!(response.field("content-length"), Some("60000"), "{request:?}");
        // Enough for the server to send the rest and to close.
        std::thread::sleep(Duration::from_millis(20));
        client.send("\r\n");
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(client.read_exact(length), content(length), "{request:?}");
        if request.contains("HEAD") {
            assert!(client.read_head().says_close());
        }
        client.expect_close();
    }
    fixture.finish();
}

pub(crate) fn a_client_that_waits_for_100_gets_the_answer_instead(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    client.send(
        "GET /small.txt HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    let response = client.read_response();
    response.expect_ok(&content(20));
    // The server cannot know whether the body follows, so it closes this connection.
    assert!(response.says_close());
    client.send("12345");
    client.expect_close();
    fixture.finish();
}

pub(crate) fn old_clients_may_keep_the_connection(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    for _ in 0..3 {
        client.send("GET /small.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let response = client.read_response();
        response.expect_ok(&content(20));
        assert_eq!(response.field("connection"), Some("keep-alive"));
    }
    client.send("GET /small.txt HTTP/1.0\r\n\r\n");
    let response = client.read_response();
    response.expect_ok(&content(20));
    assert!(response.says_close());
    client.expect_close();
    fixture.finish();
}

pub(crate) fn half_close_after_the_request(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    client.send("GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n".to_owned() + GET);
    client.half_close();
    client.read_response().expect_ok(&content(1024 * 1024));
    client.read_response().expect_ok(&content(20));
    client.expect_close();
    // In the middle of a request there is nothing to answer.
    for part in ["", "\r\n", "GET /small", "GET / HTTP/1.1\r\nHost: h\r\n"] {
        let mut client = fixture.connect();
        client.send(part);
        client.half_close();
        client.expect_close();
    }
    let mut client = fixture.connect();
    client.send("GET /small.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
    client.half_close();
    client.read_response().expect_ok(&content(20));
    client.expect_close();
    fixture.finish();
}

pub(crate) fn a_late_request_gets_408(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::from_millis(700);
    });
    let parts = ["G", "GET /small.txt HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n"];
    // All of them wait at the same time.
    let mut late = parts.map(|part| (part, fixture.connect()));
    for (part, client) in &mut late {
        client.send(*part);
    }
    // Also the second request on a connection, and one after a body.
    let mut second = fixture.connect();
    second.send(GET.to_owned() + "GET /");
    // A request without its body cannot be answered.
    let mut behind = fixture.connect();
    behind.send("GET /small.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
    for (part, mut client) in late {
        let response = client.read_response();
        assert_eq!((response.status, response.says_close()), (408, true), "{part:?}");
        client.expect_close();
    }
    second.read_response().expect_ok(&content(20));
    assert_eq!(second.read_response().status, 408);
    second.expect_close();
    behind.read_response().expect_ok(&content(20));
    behind.expect_close();
    fixture.finish();
}

/// A connection with only blank lines is idle: its end is silent.
pub(crate) fn blank_lines_are_no_request(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::from_millis(700);
        setup.server.timeouts.idle = Duration::from_millis(700);
    });
    let blanks = ["\r\n", "\r", "\r\n\r\n"];
    let mut idle = blanks.map(|blank| (fixture.connect(), fixture.connect(), blank));
    for (first, second, blank) in &mut idle {
        first.send(*blank);
        second.send(GET.to_owned() + blank);
    }
    for (first, mut second, _) in idle {
        first.expect_close();
        second.read_response().expect_ok(&content(20));
        second.expect_close();
    }
    // What follows them is a request as ever, and late if it is.
    let mut client = fixture.connect();
    client.send("\r\n\r\n".to_owned() + GET + "\r\nGET /");
    client.read_response().expect_ok(&content(20));
    assert_eq!(client.read_response().status, 408);
    client.expect_close();
    fixture.finish();
}

pub(crate) fn a_silent_connection_is_closed_without_an_answer(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::from_millis(300);
    });
    let begun = Instant::now();
    fixture.connect().expect_close();
    assert!(begun.elapsed() >= Duration::from_millis(200), "the client was given time");
    fixture.finish();
}

pub(crate) fn an_idle_connection_is_closed(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::from_millis(200);
        setup.server.timeouts.idle = Duration::from_millis(800);
    });
    let mut client = fixture.connect();
    client.send(GET);
    client.read_response().expect_ok(&content(20));
    let begun = Instant::now();
    client.expect_close();
    assert!(begun.elapsed() >= Duration::from_millis(600), "the idle timeout counts");
    fixture.finish();
}

pub(crate) fn trickling_does_not_extend_the_deadline(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.timeouts.header = Duration::from_millis(500);
    });
    let mut client = fixture.connect();
    client.send("GET / HTTP/1.1\r\n");
    let mut twin = client.twin();
    let writer = std::thread::spawn(move || {
        let begun = Instant::now();
        while twin.try_send("X: y\r\n") && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(50));
        }
        begun.elapsed()
    });
    assert_eq!(client.read_response().status, 408);
    client.expect_end();
    assert!(writer.join().unwrap() < Duration::from_secs(9), "the server read for ever");
    fixture.finish();
}
