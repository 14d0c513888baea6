//! Answers of the program that embeds the server.

use ringd::driver::DriverKind;
use ringd::http::{OwnAnswers, OwnReply};

use crate::support::fixture::Fixture;
use crate::support::http2::Http2Connection;
use crate::support::root::content;

/// In both versions, before a file of that name, and only for GET and HEAD of exactly this path.
pub(crate) fn own_answers_come_before_files(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.http.h2c = true;
        setup.http.answers = OwnAnswers::default()
            .with("/over.bin", |request| {
                OwnReply::text(String::from_utf8_lossy(request.query.unwrap_or(b"none")))
            })
            .with("/health", |_| OwnReply::json("{}").unavailable())
            .with("/health", |_| OwnReply::json("{\"ok\":true}").unavailable());
    });
    let mut client = fixture.connect();
    let answer = client.ask("GET", "/over.bin?a=b?c", "");
    answer.expect_ok(b"a=b?c");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    client.ask("GET", "/over.bin", "").expect_ok(b"none");
    let head = client.ask("HEAD", "/over.bin", "");
    assert_eq!((head.status, head.field("content-length")), (200, Some("4")));
    assert_eq!(client.ask("POST", "/over.bin", "Content-Length: 0").status, 405);
    assert_eq!(client.ask("GET", "/over.bin/", "").status, 404);
    client.ask("GET", "/small.txt", "").expect_ok(&content(20));
    let health = client.ask("GET", "/health", "");
    assert_eq!((health.status, &*health.body), (503, &b"{\"ok\":true}"[..]));
    assert_eq!(health.field("content-type"), Some("application/json"));
    assert!(health.field("retry-after").is_some());
    let mut newer = Http2Connection::connect(fixture.address());
    let answer = newer.ask("GET", "/over.bin?q", &[]);
    assert_eq!((answer.status, &*answer.body), (200, &b"q"[..]));
    drop((client, newer));
    fixture.finish();
}
