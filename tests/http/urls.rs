//! URLs: which of them lead to a file, which redirect, and which are not found.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::support::client::{Client, Response, resolve};
use crate::support::fixture::Fixture;
use crate::support::root::{self, content};

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Directories whose names need care in a location; the content of each `index.html` is its name.
const ODD: [&str; 14] = [
    "evil.com",
    "a:b",
    "@user",
    "q?",
    "h#",
    "100%",
    "%2e%2e",
    "semi;x=1",
    "quote\"s",
    "<b>",
    "back\\slash",
    "caf\u{e9}",
    "line\nbreak",
    " ~+&=,!'()*",
];

/// Pages for clean URLs; the content of each is its name.
const PAGES: [&str; 8] = [
    "about.html",
    "docs.html",
    "docs/index.html",
    "plain",
    "plain.html",
    "\u{fc}ber uns.html",
    "docs/v1.2/note.html",
    "app.html",
];

fn tree() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let write = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        };
        PAGES.into_iter().for_each(write);
        ODD.into_iter().for_each(|name| write(&format!("{name}/index.html")));
        for name in [
            "both/index.htm",
            "both/home.html",
            "second/home.html",
            "third/index.html",
            "odd/index.htm/file.txt",
            "odd/home.html",
            "assets/app.1234.js",
            ".well-known/acme-challenge/token",
            ".well-known/.hidden",
            ".well-knownx",
            "folder.html/x.txt",
            "about.html.gz",
        ] {
            write(name);
        }
        root
    });
    ROOT.path()
}

/// A path with each byte percent-encoded that may have a meaning.
fn encode(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encoded = path.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// The path of a location as a client reads it: decoded once.
fn decode(path: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(path).collect()
}

fn expect_moved(response: &Response, target: &str, to: &str) {
    assert_eq!(response.status, 308, "to {to}: {}", response.head);
    assert_eq!(resolve(target, response.field("location").unwrap()), to, "from {target}");
}

pub(crate) fn the_first_index_that_exists_is_served(kind: DriverKind) {
    let options = ["--index", "index.htm", "--index", "home.html"];
    let fixture = Fixture::start_as(kind, tree(), &options);
    let mut client = fixture.connect();
    for (target, body) in [
        ("/both/", Some("both/index.htm")),
        ("/both/?query", Some("both/index.htm")),
        ("/second/", Some("second/home.html")),
        // A directory of that name is no index.
        ("/odd/", Some("odd/home.html")),
        ("/odd/index.htm/", None),
        // The default index is not added to the chosen names.
        ("/third/", None),
        ("/third/index.html", Some("third/index.html")),
        ("/", None),
        // If an index is requested by its name, it is a file like any other.
        ("/both/home.html", Some("both/home.html")),
    ] {
        let response = client.ask("GET", target, "");
        match body {
            Some(body) => response.expect_ok(body.as_bytes()),
            None => assert_eq!(response.status, 404, "{target}"),
        }
    }
    drop(client);
    fixture.finish();
}

/// The location leads to the directory on the same host, and keeps the query unchanged.
pub(crate) fn redirects_lead_where_they_should(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, tree(), |_| {});
    let mut client = fixture.connect();
    let queries = ["", "?", "?a=b&c=%2F%2e", "?//evil.com/", "??", "?/../.."];
    for name in ODD {
        for front in ["/", "//", "///", "/./", "/dir/../", "/dir/..//"] {
            for query in queries {
                let target = format!("{front}{}{query}", encode(name));
                let response = client.ask("GET", &target, "");
                assert_eq!(response.status, 308, "{target}");
                let location = response.field("location").unwrap().to_owned();
                let path = location.strip_suffix(query).expect("the unchanged query");
                // Neither a host nor a scheme (RFC 3986 section 4.2), and no characters that need
                // care.
                assert!(path.ends_with('/') && !location.starts_with('/'), "{location}");
                assert!(!path.split('/').next().unwrap().contains(':'), "{location}");
                assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
                assert!(!path.contains(['"', '<', '>', '\\', '?', '#']), "{location}");
                let next = resolve(&target, &location);
                let path = next.strip_suffix(query).expect("the unchanged query");
                // The client keeps repeated slashes of its target.
                let slashes = path.len() - path.trim_start_matches('/').len();
                assert_eq!(decode(&path[slashes - 1..]), format!("/{name}/").as_bytes());
                let index = client.ask("GET", &next, "");
                index.expect_ok(format!("{name}/index.html").as_bytes());
            }
        }
        let head = client.ask("HEAD", &format!("/{}", encode(name)), "");
        assert_eq!(head.status, 308);
    }
    // Bytes that are not ASCII are encoded in the location.
    let response = client.ask("GET", "/dir?caf\u{e9}", "");
    expect_moved(&response, "/dir?caf\u{e9}", "/dir/?caf%C3%A9");
    drop(client);
    fixture.finish();
}

pub(crate) fn clean_urls_find_their_pages(kind: DriverKind) {
    let fixture = Fixture::start_as(kind, tree(), &["--clean-urls"]);
    let mut client = fixture.connect();
    let pages = [
        ("/about", "about.html"),
        ("/about?x=1", "about.html"),
        ("//about", "about.html"),
        ("/%61bout", "about.html"),
        ("/docs", "docs.html"),
        ("/docs/", "docs/index.html"),
        ("/plain", "plain"),
        // Its clean URL is taken by another file, so it is served here.
        ("/plain.html", "plain.html"),
        ("/%C3%BCber%20uns", "\u{fc}ber uns.html"),
        ("/docs/v1.2/note", "docs/v1.2/note.html"),
        ("/assets/app.1234.js", "assets/app.1234.js"),
    ];
    for (target, body) in pages {
        let response = client.ask("GET", target, "");
        response.expect_ok(body.as_bytes());
        let html = body.ends_with(".html").then_some("text/html; charset=utf-8");
        assert!(html.is_none() || response.field("content-type") == html, "{target}");
    }
    let moved = [
        ("/about.html", "/about"),
        ("/about.html?x=%20&y", "/about?x=%20&y"),
        ("/about%2Ehtml", "/about"),
        // The client keeps the repeated slash, which leads to the same page.
        ("//about.html", "//about"),
        ("/docs.html", "/docs"),
        ("/docs/index.html", "/docs/"),
        ("/docs/index.html?", "/docs/?"),
        ("/index.html", "/"),
        // The page of a directory has one address, so all others redirect to it.
        ("/index", "/"),
        ("/docs/index", "/docs/"),
        ("//index.html?a//b", "//?a//b"),
        ("/%C3%BCber%20uns.html", "/%C3%BCber%20uns"),
        ("/docs/v1.2/note.html", "/docs/v1.2/note"),
        ("/evil.com/index.html", "/evil.com/"),
        ("/bare", "/bare/"),
        ("/folder.html", "/folder.html/"),
    ];
    for (target, location) in moved {
        expect_moved(&client.ask("GET", target, ""), target, location);
        expect_moved(&client.ask("HEAD", target, ""), target, location);
    }
    for missing in ["/about/", "/about.htm", "/folder", "/About", "/about.html/", "/.html", "/nor"]
    {
        assert_eq!(client.ask("GET", missing, "").status, 404, "{missing}");
    }
    // Codings and conditions work for clean URLs.
    let coded = client.ask("GET", "/about", "Accept-Encoding: gzip");
    coded.expect_ok(b"about.html.gz");
    assert_eq!(coded.field("content-encoding"), Some("gzip"));
    let lines = format!("If-None-Match: {}", coded.field("etag").unwrap());
    let same = client.ask("GET", "/about", &format!("Accept-Encoding: gzip\r\n{lines}"));
    assert_eq!(same.status, 304);
    drop(client);
    fixture.finish();
}

pub(crate) fn clean_urls_are_off_by_default(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, tree(), |_| {});
    let mut client = fixture.connect();
    for target in ["/about", "/docs/v1.2/note", "/index"] {
        assert_eq!(client.ask("GET", target, "").status, 404, "{target}");
    }
    client.ask("GET", "/about.html", "").expect_ok(b"about.html");
    client.ask("GET", "/index.html", "").expect_ok(&content(300));
    expect_moved(&client.ask("GET", "/docs", ""), "/docs", "/docs/");
    drop(client);
    fixture.finish();
}

pub(crate) fn the_fallback_answers_navigations(kind: DriverKind) {
    // The rule for the page's own path does not apply to the addresses that it answers for.
    let options = ["--spa=/app.html", "--cache-control", "**=max-age=31536000, immutable"];
    let fixture = Fixture::start_as(kind, tree(), &options);
    let mut client = fixture.connect();
    let own = client.ask("GET", "/app.html", BROWSER);
    own.expect_ok(b"app.html");
    assert_eq!(own.field("cache-control"), Some("max-age=31536000, immutable"));
    // Without `W/`, because the tag turns strong after a while.
    let tag = own.field("etag").unwrap().trim_start_matches("W/");
    for target in
        ["/route", "/route/", "/a/b/c?d", "/v1.2/route", "/bare/", "/bare/x", "/na%C3%AFve"]
    {
        for accept in [BROWSER, "Accept: text/html", "Accept: */*, application/xhtml+xml;q=0.1"] {
            for method in ["GET", "HEAD"] {
                let response = client.ask(method, target, accept);
                assert_eq!(response.status, 200, "{target} {accept}");
                assert_eq!(response.field("cache-control"), Some("no-cache"), "{target}");
                assert_eq!(response.field("vary"), Some("Accept"), "{target}");
                assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
                assert!(response.field("etag").is_some_and(|it| it.ends_with(tag)));
                assert!(method == "HEAD" || response.body == b"app.html");
            }
        }
        let same = client.ask("GET", target, &format!("{BROWSER}\r\nIf-None-Match: {tag}"));
        assert_eq!((same.status, same.field("cache-control")), (304, Some("no-cache")));
        assert_eq!(same.field("vary"), Some("Accept"));
    }
    // Requests that a page makes are no navigations, whatever their target. A missing file must
    // not look like a page, whatever `Accept` says.
    for accept in ["X: y", "Accept: */*", "Accept: image/*", "Accept: text/html;q=0", "Accept:"] {
        expect_missing(&mut client, "/route", accept);
    }
    for target in ["/assets/app.5678.js", "/a/b.css?v=1", "/route.", "/.env", "/.git/"] {
        expect_missing(&mut client, target, BROWSER);
    }
    let json = client.ask("GET", "/route", "Accept: application/json");
    assert_eq!((json.status, json.field("content-type")), (404, Some("application/json")));
    for (method, target, status) in [
        ("POST", "/route", 405),
        ("OPTIONS", "/route", 204),
        ("GET", "/..", 400),
        ("GET", "/outside/x", 403),
        ("GET", "/dir", 308),
    ] {
        assert_eq!(client.ask(method, target, BROWSER).status, status, "{method} {target}");
    }
    client.ask("GET", "/dir/", BROWSER).expect_ok(&content(77));
    drop(client);
    fixture.finish();
}

/// The fallback page may be missing; without a name, it is the index.
pub(crate) fn the_fallback_has_a_default_and_may_be_missing(kind: DriverKind) {
    for (options, body) in [
        (&["--spa"][..], Some(content(300))),
        (&["--spa=/nowhere.html"], None),
        (&["--spa=/dir"], None),
        (&["--spa=/outside/etc/passwd"], None),
        (&[], None),
    ] {
        let fixture = Fixture::start_as(kind, tree(), options);
        let mut client = fixture.connect();
        let response = client.ask("GET", "/some/route", BROWSER);
        match body {
            Some(body) => response.expect_ok(&body),
            None => assert_eq!(response.status, 404, "{options:?}"),
        }
        drop(client);
        fixture.finish();
    }
}

fn expect_missing(client: &mut Client, target: &str, lines: &str) {
    for method in ["GET", "HEAD"] {
        let response = client.ask(method, target, lines);
        assert_eq!(response.status, 404, "{method} {target} {lines}");
        assert_eq!(response.field("cache-control"), Some("no-store"), "{target}");
        assert_eq!(response.field("etag"), None);
    }
}

/// All encodings of a name are the same name (RFC 3986 section 6.2.2).
pub(crate) fn each_encoding_of_a_name_leads_to_it(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    let mut random = fastrand::Rng::with_seed(23);
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    for chunk in bytes.chunks(40) {
        use std::os::unix::ffi::OsStrExt;
        let name = [b"n", chunk].concat();
        fs::write(fixture.path("").join(std::ffi::OsStr::from_bytes(&name)), chunk).unwrap();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
        for round in 0..6 {
            let mut target = String::from("/");
            for &byte in &name {
                let lower = if round < 2 { round == 1 } else { random.bool() };
                match plain(byte) && round > 1 && random.bool() {
                    true => target.push(byte.into()),
                    false if lower => target.push_str(&format!("%{byte:02x}")),
                    false => target.push_str(&format!("%{byte:02X}")),
                }
            }
            client.ask("GET", &target, "").expect_ok(chunk);
            // A name that is encoded twice is a different name.
            let twice = target.replace('%', "%25");
            assert_eq!(client.ask("GET", &twice, "").status, 404, "{twice}");
        }
    }
    drop(client);
    fixture.finish();
}

/// RFC 8615 defines one directory with a dot that clients may request.
pub(crate) fn only_one_hidden_name_is_served(kind: DriverKind) {
    for options in [&[][..], &["--listing", "--spa", "--clean-urls"]] {
        let fixture = Fixture::start_as(kind, tree(), options);
        let mut client = fixture.connect();
        for target in [
            "/.well-known/acme-challenge/token",
            "/%2Ewell-known/acme-challenge/token",
            "/.%77ell-known/acme-challenge/./token?x",
            "/dir/../.well-known//acme-challenge/token",
        ] {
            let body = b".well-known/acme-challenge/token";
            client.ask("GET", target, "").expect_ok(body);
        }
        for target in [
            "/.hidden",
            "/.well-knownx",
            "/.well-known/.hidden",
            "/.well-known/../.git/config",
            "/.Well-Known/acme-challenge/token",
            "/dir/.well-known/x",
            "/.git",
            "/.git/",
            "/%2egit/config",
            "/dir/.env",
            "/bare/.nothing",
            "/...",
        ] {
            for lines in ["X: y", BROWSER, "If-None-Match: *", "Range: bytes=0-0"] {
                expect_missing(&mut client, target, lines);
            }
        }
        drop(client);
        fixture.finish();
    }
}
