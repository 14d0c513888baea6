//! Entity tags of content: servers that have copies of the same files.

use std::fs;
use std::path::Path;

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::support::client::{Client, Response};
use crate::support::fixture::Fixture;
use crate::support::http2::Http2Connection;
use crate::support::root::{self, content, set_modified, wait_until_settled};

/// Files, and their lengths: in memory, just too long for that, and read in several pieces.
const NAMES: [(&str, usize); 5] = [
    ("app.js", 3000),
    ("app.js.gz", 900),
    ("empty.css", 0),
    ("over.css", 8193),
    ("large.css", 700_000),
];

/// A root with these files, which are modified at another time than those of other copies.
fn copy(number: i64) -> TempDir {
    let root = root::make();
    for (name, length) in NAMES {
        let path = root.path().join(name);
        fs::write(&path, content(length)).unwrap();
        set_modified(&path, 784_111_777 + 1000 * number);
    }
    root
}

/// Requests for each of the representations.
const TARGETS: [(&str, &str); 5] = [
    ("/app.js", "X: y"),
    ("/app.js", "Accept-Encoding: gzip"),
    ("/empty.css", "X: y"),
    ("/over.css", "X: y"),
    ("/large.css", "X: y"),
];

fn servers(kind: DriverKind, copies: &[TempDir], options: &[&str]) -> Vec<Fixture> {
    copies.iter().map(|copy| Fixture::start_as(kind, copy.path(), options)).collect()
}

fn settled(copies: &[TempDir]) {
    copies.iter().for_each(|copy| wait_until_settled(&copy.path().join("large.css")));
}

/// The answers of all servers to the same request.
fn ask(clients: &mut [Client], target: &str, lines: &str) -> Vec<Response> {
    clients.iter_mut().map(|client| client.ask("GET", target, lines)).collect()
}

pub(crate) fn copies_have_the_same_tags_of_content(kind: DriverKind) {
    let copies = [copy(0), copy(1), copy(2)];
    settled(&copies);
    for (options, is_shared) in [(&["--etag=content"][..], true), (&[], false)] {
        let servers = servers(kind, &copies, options);
        let mut clients: Vec<_> = servers.iter().map(Fixture::connect).collect();
        for (target, line) in TARGETS {
            let first = ask(&mut clients[..1], target, line).remove(0);
            let tag = first.field("etag").unwrap().to_owned();
            assert_eq!(tag.starts_with("\"c"), is_shared, "{target}: {tag}");
            assert_eq!(first.field("last-modified").is_none(), is_shared, "{target}");
            let lines = format!("{line}\r\nIf-None-Match: {tag}");
            let statuses: Vec<_> =
                ask(&mut clients, target, &lines).iter().map(|it| it.status).collect();
            let expected = if is_shared { [304, 304, 304] } else { [304, 200, 200] };
            assert_eq!(statuses, expected, "{target} {line}");
            // The rest of a download may come from another server.
            if first.body.len() > 10 {
                let lines = format!("{line}\r\nRange: bytes=5-\r\nIf-Range: {tag}");
                let rest = ask(&mut clients, target, &lines).remove(2);
                assert_eq!(rest.status, if is_shared { 206 } else { 200 }, "{target}");
                assert!(!is_shared || rest.body == first.body[5..], "{target}");
            }
            let lines = format!("{line}\r\nIf-Match: {tag}");
            let statuses: Vec<_> =
                ask(&mut clients, target, &lines).iter().map(|it| it.status).collect();
            let expected = if is_shared { [200, 200, 200] } else { [200, 412, 412] };
            assert_eq!(statuses, expected, "{target} {line}");
        }
        drop(clients);
        servers.into_iter().for_each(Fixture::finish);
    }
}

/// A file that has just changed has a strong tag at once, other bytes have another tag, and the old
/// bytes have the old one.
pub(crate) fn a_tag_of_content_follows_the_bytes(kind: DriverKind) {
    let root = copy(0);
    let fixture = Fixture::start_as(kind, root.path(), &["--etag=content", "--last-modified"]);
    for name in ["app.js", "large.css"] {
        let length = fs::metadata(fixture.path(name)).unwrap().len() as usize;
        let get = |bytes: &[u8]| {
            // As deployments do it: who has opened the old file gets all of it.
            fs::write(fixture.path("new"), bytes).unwrap();
            fs::rename(fixture.path("new"), fixture.path(name)).unwrap();
            crate::common::eventually("the new bytes are served", || {
                fixture.get(&format!("/{name}")).body == bytes
            });
            let response = fixture.get(&format!("/{name}"));
            assert!(response.field("last-modified").is_some());
            response.field("etag").unwrap().to_owned()
        };
        let old = get(&content(length));
        let mut other = content(length);
        other[length / 2] ^= 1;
        let new = get(&other);
        assert!(old != new && old.starts_with("\"c") && new.starts_with("\"c"), "{old} {new}");
        assert_eq!(get(&content(length)), old);
    }
    fixture.finish();
}

/// Without tags, dates decide, and they are in a 304.
pub(crate) fn without_tags_dates_decide(kind: DriverKind) {
    let copies = [copy(0)];
    settled(&copies);
    let server = servers(kind, &copies, &["--etag=off", "--listing"]).remove(0);
    let mut client = server.connect();
    for (target, line) in TARGETS {
        let first = client.ask("GET", target, line);
        assert_eq!(first.field("etag"), None, "{target}");
        let date = first.field("last-modified").unwrap().to_owned();
        for (condition, status) in [
            (format!("If-Modified-Since: {date}"), 304),
            ("If-None-Match: \"c\"".to_owned(), 200),
            ("If-None-Match: *".to_owned(), 304),
            ("If-Match: \"c\"".to_owned(), 412),
            ("If-Match: *".to_owned(), 200),
        ] {
            let response = client.ask("GET", target, &format!("{line}\r\n{condition}"));
            assert_eq!(response.status, status, "{target} {condition}");
            let same = response.field("last-modified") == Some(&*date);
            assert_eq!(same, status != 412, "{target} {condition}");
        }
    }
    let listing = client.ask("GET", "/bare/", "X: y");
    assert_eq!((listing.status, listing.field("etag")), (200, None));
    drop(client);
    server.finish();
}

/// The tag is the same over HTTP/2.
pub(crate) fn both_versions_have_the_tag_of_content(kind: DriverKind) {
    let copies = [copy(0)];
    let server = servers_with_h2(kind, copies[0].path());
    for (target, _) in TARGETS {
        let tag = server.get(target).field("etag").unwrap().to_owned();
        let mut client = Http2Connection::connect(server.address());
        let same = client.ask("GET", target, &[("if-none-match", &tag)]);
        assert_eq!((same.status, same.field("etag")), (304, Some(&*tag)), "{target}");
    }
    server.finish();
}

fn servers_with_h2(kind: DriverKind, path: &Path) -> Fixture {
    Fixture::start_over(kind, path, |setup| {
        setup.content(path, &["--etag=content"]);
        setup.http.h2c = true;
    })
}
