//! From targets to files: which are served, redirected, or not found.

use std::fs;

use ringd::driver::DriverKind;

use crate::support::client::resolve;
use crate::support::fixture::Fixture;
use crate::support::root::content;

pub(crate) fn a_directory_is_its_index(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for target in ["/", "/?query", "/index.html", "//", "/dir/..", "/dir/sub/../../", "/."] {
        fixture.get(target).expect_ok(&content(300));
    }
    for target in ["/dir/", "/dir/?query", "/dir//", "/dir/.", "/dir/index.html"] {
        fixture.get(target).expect_ok(&content(77));
    }
    assert_eq!(fixture.get("/dir/").field("content-type"), Some("text/html; charset=utf-8"));
    fixture.finish();
}

pub(crate) fn a_directory_without_its_slash_redirects(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let cases = [
        ("/dir", "dir/"),
        ("/dir?a=b&c=/d?e", "dir/?a=b&c=/d?e"),
        ("/dir?", "dir/?"),
        ("/dir/sub", "sub/"),
        ("//dir", "dir/"),
        ("/dir//sub", "sub/"),
        ("/x/../dir", "dir/"),
        ("/x/%2e%2e/dir", "/dir/"),
        ("/%64ir", "dir/"),
        ("/a%20b", "a%20b/"),
        ("http://elsewhere/dir?x", "dir/?x"),
        ("/bare", "bare/"),
    ];
    for (target, location) in cases {
        let response = fixture.get(target);
        assert_eq!(response.status, 308, "{target}");
        assert_eq!(response.field("location"), Some(location), "{target}");
    }
    fixture.finish();
}

/// As a location, `//host/` would lead to another host (RFC 3986 section 4.2).
pub(crate) fn a_location_never_names_another_host(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for directory in ["evil.com", "\\evil.com", "evil.com:80", "@evil.com", "http:"] {
        fs::create_dir_all(fixture.path(directory).join("sub")).unwrap();
    }
    let targets = [
        "//evil.com",
        "///evil.com",
        "//evil.com/sub",
        "//evil.com/..//evil.com",
        "/./evil.com",
        "/.//evil.com",
        "/%2e//evil.com",
        "/dir/..//evil.com",
        "/\\evil.com",
        "/%5cevil.com",
        "//evil.com:80",
        "//@evil.com/sub",
        "/http://sub",
    ];
    for target in targets {
        let response = fixture.get(target);
        assert_eq!(response.status, 308, "{target}");
        let location = response.field("location").unwrap();
        assert!(!location.starts_with("//"), "{target} redirects to {location}");
        assert!(!location.contains('\\'), "{target} redirects to {location}");
        let first = location.split('/').next().unwrap();
        assert!(!first.contains(':'), "{target} redirects to {location}");
        assert!(resolve(target, location).ends_with('/'));
    }
    fixture.finish();
}

/// A proxy serves this server beneath `/files/`, and removes that from the targets. A location that
/// begins with a slash would lead out of it.
pub(crate) fn a_location_survives_a_prefix(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.site.content.clean_urls = true;
    });
    fs::create_dir_all(fixture.path("a:b/\u{fc}")).unwrap();
    fs::write(fixture.path("dir/page.html"), "page").unwrap();
    for (target, expected) in [
        ("/dir", "/files/dir/"),
        ("/dir?a=/b:c", "/files/dir/?a=/b:c"),
        ("/dir/sub", "/files/dir/sub/"),
        // The client keeps repeated slashes, which lead to the same directory.
        ("/dir//sub", "/files/dir//sub/"),
        ("//dir/sub", "/files//dir/sub/"),
        ("/./dir/../dir/sub", "/files/dir/sub/"),
        ("/a%20b", "/files/a%20b/"),
        ("/a:b", "/files/a:b/"),
        ("/a%3Ab", "/files/a:b/"),
        ("/a:b/\u{fc}", "/files/a:b/%C3%BC/"),
        ("/index.html", "/files/"),
        ("/index?x", "/files/?x"),
        ("/dir/index.html", "/files/dir/"),
        ("/dir/page.html?x", "/files/dir/page?x"),
    ] {
        let response = fixture.get(target);
        assert_eq!(response.status, 308, "{target}");
        let location = response.field("location").unwrap();
        assert_eq!(resolve(&format!("/files{target}"), location), expected, "{location}");
    }
    fixture.finish();
}

/// Clients that do not encode a target send the bytes of a name as they are.
pub(crate) fn bytes_above_ascii_may_be_sent_raw(kind: DriverKind) {
    use std::os::unix::ffi::OsStrExt;
    let fixture = Fixture::start(kind);
    let path = |name: &[u8]| fixture.path("").join(std::ffi::OsStr::from_bytes(name));
    let mut client = fixture.connect();
    for (name, encoded) in [
        (&b"\xe4.txt"[..], "%E4.txt"),
        ("\u{e4}.txt".as_bytes(), "%C3%A4.txt"),
        (b"\xff\xfe", "%FF%FE"),
        (b"\xc3", "%C3"),
    ] {
        fs::write(path(name), encoded).unwrap();
        for target in [name, encoded.as_bytes()] {
            client.send([b"GET /", target, b"?\xe4 HTTP/1.1\r\nHost: h\r\n\r\n"].concat());
            client.read_response().expect_ok(encoded.as_bytes());
        }
    }
    fs::create_dir(path(b"d\xe4")).unwrap();
    client.send(b"GET /d\xe4?\xe4 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.read_response().field("location"), Some("d%E4/?%E4"));
    drop(client);
    fixture.finish();
}

pub(crate) fn missing_files_are_not_found(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let long = format!("/{}", "n".repeat(256));
    let deep = "/d".repeat(2500);
    let cases = [
        "/missing",
        "/missing/",
        "/dir/missing.txt",
        "/small.txt/",
        "/small.txt/more",
        "/bare/",
        "/dir/sub/",
        "/dir%2Findex.html",
        "/..%2Fsmall.txt",
        "/small.txt%2F",
        "/SMALL.TXT",
        "/small.txt%20",
        "/dir\\index.html",
        &long,
        &deep,
    ];
    for target in cases {
        let response = fixture.get(target);
        assert_eq!(response.status, 404, "{target}");
        assert_eq!(response.field("cache-control"), Some("no-store"), "{target}");
        assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
        assert!(response.body.starts_with(b"<!doctype html>"));
    }
    fixture.finish();
}

pub(crate) fn hidden_names_are_not_found(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    fs::create_dir_all(fixture.path("dir/.well-known")).unwrap();
    fs::write(fixture.path("dir/.well-known/x"), "x").unwrap();
    for target in [
        "/.hidden",
        "/%2ehidden",
        "/.git",
        "/.git/",
        "/.git/config",
        "/dir/.env",
        "/dir/../.hidden",
        "/dir/.well-known/x",
        "/.well-known/.x",
        "/...",
    ] {
        assert_eq!(fixture.get(target).status, 404, "{target}");
    }
    fixture.finish();
}

/// RFC 8615: clients have to be able to request it.
pub(crate) fn the_well_known_directory_is_served(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    fixture.get("/.well-known/security.txt").expect_ok(&content(9));
    assert_eq!(fixture.get("/.well-known").field("location"), Some(".well-known/"));
    fixture.finish();
}

/// Opening a FIFO does not wait for a writer, either.
pub(crate) fn special_files_are_not_found(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for target in ["/fifo", "/socket", "/fifo/", "/fifo/x", "/socket"] {
        assert_eq!(fixture.get(target).status, 404, "{target}");
    }
    fixture.finish();
}

pub(crate) fn nothing_outside_of_the_root_is_served(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    for target in [
        "/outside",
        "/outside/",
        "/outside/etc/passwd",
        "/dir/upwards",
        "/dir/upwards/etc/passwd",
        "/circle",
        "/circle/x",
    ] {
        assert_eq!(fixture.get(target).status, 403, "{target}");
    }
    for target in ["/..", "/../", "/../etc/passwd", "/%2e%2e/etc/passwd", "/dir/../../x", "/.%2e"] {
        assert_eq!(fixture.get(target).status, 400, "{target}");
    }
    fixture.get("/inside").expect_ok(&content(20));
    fixture.finish();
}

pub(crate) fn an_unreadable_file_is_forbidden(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    if fs::read(fixture.path("secret.txt")).is_ok() {
        println!("skipped: this user may read every file");
    } else {
        assert_eq!(fixture.get("/secret.txt").status, 403);
    }
    fixture.finish();
}

pub(crate) fn names_are_decoded_once(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    fs::write(fixture.path("%41"), "percent").unwrap();
    fs::write(fixture.path("A"), "letter").unwrap();
    fs::write(fixture.path("a+b"), "plus").unwrap();
    let cases = [
        ("/%2541", "percent"),
        ("/%41", "letter"),
        ("/A", "letter"),
        ("/a+b", "plus"),
        ("/a%2Bb", "plus"),
        ("/a%20b/%C3%BC%20%25.txt", "a b/\u{fc} %.txt"),
        ("/a%20b/\u{fc}%20%25.txt", "a b/\u{fc} %.txt"),
    ];
    for (target, body) in cases {
        fixture.get(target).expect_ok(body.as_bytes());
    }
    fixture.finish();
}
