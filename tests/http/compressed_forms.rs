//! Compression on the fly: which responses have a compressed form, and with which validators.

use ringd::driver::DriverKind;
use ringd::http::site::rewrites::{PathRule, PathRules};

use crate::common::eventually;
use crate::compression::{FILES, OPTIONS, ask_until, plain, text};
use crate::support::client::Response;
use crate::support::fixture::Fixture;
use crate::support::root::content;

/// What is compressed by name is not compressed once more, whatever its media type is.
pub(crate) fn what_is_compressed_by_name_stays_as_it_is(kind: DriverKind) {
    let options = [&OPTIONS[..], &["--encoded=*.js.gz=gzip"]].concat();
    let fixture = Fixture::start_as(kind, plain(), &options);
    let mut client = fixture.connect();
    for (target, content_type, bytes) in [
        ("/logo.svgz", "image/svg+xml", 5000),
        ("/app.js.gz", "text/javascript; charset=utf-8", 20_000),
    ] {
        for _ in 0..4 {
            let response = client.ask("GET", target, "Accept-Encoding: br, zstd");
            assert_eq!(response.field("content-encoding"), Some("gzip"), "{target}");
            assert_eq!(response.field("content-type"), Some(content_type));
            assert_eq!(response.field("vary"), None, "{target}");
            response.expect_ok(&text(bytes));
            eventually("the job is done", || fixture.compressor.stats().waiting == 0);
        }
    }
    assert_eq!(fixture.compressor.stats().made, 0);
    drop(client);
    fixture.finish();
}

/// With `--etag off`, a compressed form has the validators of the plain one. A file without a
/// meaningful time has a compressed form with a tag.
pub(crate) fn tags_may_be_off(kind: DriverKind) {
    let fixture = Fixture::start_as(kind, plain(), &[&OPTIONS[..], &["--etag=off"]].concat());
    let mut client = fixture.connect();
    for (name, bytes) in FILES {
        let target = format!("/{name}");
        let made = ask_until(&mut client, &target, "br");
        let plain = client.ask("GET", &target, "X: y");
        plain.expect_ok(&text(bytes));
        for name in ["etag", "last-modified", "accept-ranges", "vary", "x-content-type-options"] {
            assert_eq!(made.field(name), plain.field(name), "{target} {name}");
        }
        assert_eq!(made.field("etag"), None);
        let date = made.field("last-modified").expect("it has a date").to_owned();
        let known = format!("Accept-Encoding: br\r\nIf-Modified-Since: {date}");
        let same = client.ask("GET", &target, &known);
        assert_eq!((same.status, same.field("last-modified")), (304, Some(&*date)));
        let range = client.ask("GET", &target, "Accept-Encoding: br\r\nRange: bytes=5-19");
        assert_eq!((range.status, &range.body[..]), (206, &made.body[5..20]));
        assert_eq!(range.field("last-modified"), Some(&*date));
    }
    drop(client);
    fixture.finish();
    let fixture = Fixture::start_as(kind, plain(), &OPTIONS);
    let mut client = fixture.connect();
    let made = ask_until(&mut client, "/epoch.css", "br");
    let plain = client.ask("GET", "/epoch.css", "X: y");
    let validators = |response: &Response| {
        ["etag", "last-modified"].map(|name| response.field(name).map(str::to_owned))
    };
    assert_eq!(validators(&plain), [None, None]);
    let [tag, date] = validators(&made);
    let known = format!("Accept-Encoding: br\r\nIf-None-Match: {}", tag.unwrap());
    assert_eq!((client.ask("GET", "/epoch.css", &known).status, date), (304, None));
    drop(client);
    fixture.finish();
}

/// Errors are not compressed, whatever page is their body.
pub(crate) fn errors_stay_plain(kind: DriverKind) {
    let closed = |from, to| PathRule::rewrite(from, to, Some(410), None, None).unwrap();
    let rules = vec![closed("/shop/*", "/page.html"), closed("/beside", "/beside.js")];
    let fixture = Fixture::start_over(kind, plain(), |setup| {
        setup.content(plain(), &[&OPTIONS[..], &["--spa=/style.css"]].concat());
        setup.site.content.path_rules = PathRules::new(rules).unwrap();
        setup.site.content.error_pages.push((405, b"style.css".to_vec()));
    });
    let mut client = fixture.connect();
    let lines = "Accept-Encoding: br, gzip;q=0.5";
    for _ in 0..4 {
        let response = client.ask("GET", "/shop/a", lines);
        assert_eq!((response.status, response.field("content-encoding")), (410, None));
        assert!(response.body == text(FILES[0].1));
        eventually("the job is done", || fixture.compressor.stats().waiting == 0);
    }
    assert_eq!(fixture.compressor.stats().made, 0);
    // A compressed file beside the plain one is sent, also to a client that has the plain one.
    let tag = client.ask("GET", "/beside.js", "").field("etag").unwrap().to_owned();
    let known = format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}");
    let response = client.ask("GET", "/beside", &known);
    assert_eq!((response.status, response.field("content-encoding")), (410, Some("gzip")));
    assert!(response.body == content(700));
    // The same page may be compressed for a response of another kind.
    let fallback = format!("{lines}\r\nAccept: text/html");
    eventually("the fallback page is compressed", || {
        let response = client.ask("GET", "/anything", &fallback);
        assert_eq!(response.status, 200);
        response.field("content-encoding") == Some("br")
    });
    let response = client.ask("DELETE", "/style.css", lines);
    assert_eq!((response.status, response.field("content-encoding")), (405, None));
    assert!(response.body == text(FILES[1].1));
    drop(client);
    fixture.finish();
}
