//! Files that are compressed by name, and media types for names and globs.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::support::fixture::Fixture;
use crate::support::http2::Http2Connection;
use crate::support::root::{self, content, wait_until_settled};

const JS: &str = "text/javascript; charset=utf-8";

/// Files, with the type and the coding that they have with [`OPTIONS`]. The long one is not kept in
/// memory. They are made in this order: a compressed file that is older than its plain one is
/// ignored.
const FILES: [(&str, usize, &str, Option<&str>); 11] = [
    ("logo.svgz", 900, "image/svg+xml", Some("gzip")),
    ("game.wasm.br", 20_000, "application/wasm", Some("br")),
    ("game.data.gz", 900, "application/octet-stream", Some("gzip")),
    ("x.tar.gz", 900, "application/gzip", None),
    ("game.js", 2000, JS, None),
    ("game.js.gz", 900, JS, Some("gzip")),
    ("site-association", 100, "application/json", None),
    ("LICENSE-MIT", 100, "text/plain; charset=utf-8", None),
    ("a.LICENSE-MIT", 100, "application/octet-stream", None),
    ("a.special.js", 100, "text/x-special; charset=utf-8", None),
    ("b.special.js", 100, "text/x-one; charset=utf-8", None),
];

const OPTIONS: [&str; 6] = [
    "--encoded=*.{js,wasm,data}.gz=gzip",
    "--encoded=*.br=br",
    "--mime=site-association=application/json",
    "--mime=LICENSE*=text/plain",
    "--mime=b.special.js=text/x-one",
    "--mime=*.special.js=text/x-special",
];

fn files() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        for (name, length, ..) in FILES {
            fs::write(root.path().join(name), content(length)).unwrap();
        }
        // What is compressed by name is not compressed once more.
        fs::write(root.path().join("logo.svgz.gz"), content(50)).unwrap();
        fs::write(root.path().join("game.js.gz.br"), content(50)).unwrap();
        wait_until_settled(&root.path().join("game.js.gz.br"));
        root
    });
    ROOT.path()
}

/// Whatever the client accepts, it gets the file, with its coding.
pub(crate) fn names_decide_coding_and_type(kind: DriverKind) {
    for source in ["--etag=stat", "--etag=content"] {
        decides(Fixture::start_as(kind, files(), &[&OPTIONS[..], &[source]].concat()));
    }
}

fn decides(fixture: Fixture) {
    let mut client = fixture.connect();
    for (name, length, content_type, coding) in FILES {
        let target = format!("/{name}");
        // The plain file beside a compressed one has two forms.
        if name == "game.js" {
            let response = client.ask("GET", &target, "Accept-Encoding: gzip");
            assert_eq!(response.field("content-encoding"), Some("gzip"));
            assert_eq!(response.field("vary"), Some("Accept-Encoding"));
            continue;
        }
        for accepted in ["X: y", "Accept-Encoding: br, gzip", "Accept-Encoding: identity, *;q=0"] {
            let what = format!("{target} {accepted}");
            let response = client.ask("GET", &target, accepted);
            assert_eq!(response.status, 200, "{what}");
            assert_eq!(response.field("content-type"), Some(content_type), "{what}");
            assert_eq!(response.field("content-encoding"), coding, "{what}");
            assert_eq!(response.field("vary"), None, "{what}");
            assert!(response.body == content(length), "{what}");
            let tag = response.field("etag").unwrap();
            let ending = coding.map_or("\"".to_owned(), |coding| format!("-{coding}\""));
            assert!(tag.ends_with(&ending), "{what}: {tag}");
            let range = format!("{accepted}\r\nRange: bytes=10-19\r\nIf-Range: {tag}");
            let range = client.ask("GET", &target, &range);
            assert_eq!((range.status, range.field("content-encoding")), (206, coding), "{what}");
            assert!(range.body == content(length)[10..20], "{what}");
            let same = format!("{accepted}\r\nIf-None-Match: {tag}");
            assert_eq!(client.ask("GET", &target, &same).status, 304, "{what}");
        }
    }
    drop(client);
    fixture.finish();
}

/// Without options, only `.svgz` has a coding, and that can be turned off.
pub(crate) fn few_names_have_a_coding_by_default(kind: DriverKind) {
    for (options, of_svgz) in [(&[][..], Some("gzip")), (&["--encoded=svgz=identity"], None)] {
        let fixture = Fixture::start_as(kind, files(), options);
        for (name, content_type, coding) in [
            ("logo.svgz", "image/svg+xml", of_svgz),
            ("game.js.gz", "application/gzip", None),
            ("x.tar.gz", "application/gzip", None),
        ] {
            let response = fixture.get(&format!("/{name}"));
            assert_eq!(response.field("content-type"), Some(content_type), "{name}");
            assert_eq!(response.field("content-encoding"), coding, "{name}");
        }
        fixture.finish();
    }
}

pub(crate) fn http2_has_the_same_codings(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, files(), |setup| {
        setup.content(files(), &OPTIONS);
        setup.http.h2c = true;
    });
    let mut client = Http2Connection::connect(fixture.address());
    for (name, length, content_type, coding) in FILES {
        let response = client.ask("GET", &format!("/{name}"), &[]);
        assert_eq!(response.status, 200, "{name}");
        assert_eq!(response.field("content-type"), Some(content_type), "{name}");
        assert_eq!(response.field("content-encoding"), coding, "{name}");
        assert!(response.body == content(length), "{name}");
    }
    drop(client);
    fixture.finish();
}
