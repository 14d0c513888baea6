//! Rules: fields that an operator adds to answers, by path.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::support::client::{Client, Response};
use crate::support::fixture::Fixture;
use crate::support::root;

const FILES: [&str; 12] = [
    "page.html",
    "data.json",
    "app.webmanifest",
    "page.xhtml",
    "style.css",
    "photo.png",
    "assets/app.js",
    "assets/style.css",
    "assets/raw.css",
    "assets/deep/er/app.js",
    "docs/index.html",
    "assets/odd [1].css",
];

fn site() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        for name in FILES {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        root
    });
    ROOT.path()
}

/// All answers about a file: GET, HEAD, one range, and 304.
fn ask_all(client: &mut Client, target: &str) -> [Response; 4] {
    let get = client.ask("GET", target, "");
    assert_eq!(get.status, 200, "{target}");
    let head = client.ask("HEAD", target, "");
    let range = client.ask("GET", target, "Range: bytes=0-1");
    let same = format!("If-None-Match: {}", get.field("etag").unwrap());
    let same = client.ask("GET", target, &same);
    assert_eq!([head.status, range.status, same.status], [200, 206, 304], "{target}");
    [get, head, range, same]
}

pub(crate) fn pages_and_data_are_revalidated(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, site(), |_| {});
    let mut client = fixture.connect();
    for (target, value) in [
        ("/page.html", Some("no-cache")),
        ("/docs/", Some("no-cache")),
        ("/data.json", Some("no-cache")),
        ("/app.webmanifest", Some("no-cache")),
        ("/page.xhtml", Some("no-cache")),
        // No lifetime by default.
        ("/style.css", None),
        ("/photo.png", None),
        ("/assets/app.js", None),
    ] {
        for response in ask_all(&mut client, target) {
            assert_eq!(response.field("cache-control"), value, "{target}");
        }
    }
    drop(client);
    fixture.finish();
}

/// The last rule that matches applies, and only to the paths that it names.
pub(crate) fn the_last_rule_for_caching_applies(kind: DriverKind) {
    let long = "max-age=31536000, immutable";
    let options = [
        "--cache-control",
        "/assets/**=max-age=31536000, immutable",
        "--cache-control",
        "*.css=max-age=60",
        "--cache-control",
        "/assets/raw.css=",
        "--cache-control",
        "/docs/index.html=no-store",
        "--cache-control",
        "p?ge.{html,htm}=private, no-cache=\"set-cookie\"",
    ];
    let fixture = Fixture::start_as(kind, site(), &options);
    let mut client = fixture.connect();
    for (target, value) in [
        ("/assets/app.js", Some(long)),
        ("/assets/deep/er/app.js", Some(long)),
        ("/assets/deep/../app.js?x", Some(long)),
        ("/%61ssets/app.js", Some(long)),
        ("/assets/style.css", Some("max-age=60")),
        ("/style.css", Some("max-age=60")),
        ("/assets/odd%20%5B1%5D.css", Some("max-age=60")),
        ("/assets/raw.css", None),
        // The rule for the file that is served applies, not that for the target.
        ("/docs/", Some("no-store")),
        ("/page.html", Some("private, no-cache=\"set-cookie\"")),
        ("/data.json", Some("no-cache")),
        ("/photo.png", None),
    ] {
        for response in ask_all(&mut client, target) {
            assert_eq!(response.field("cache-control"), value, "{target}");
        }
    }
    // Answers other than the file must not be cached as if they were the file.
    for (method, target, lines, status, value) in [
        ("GET", "/assets/missing.js", "", 404, Some("no-store")),
        ("HEAD", "/assets/missing.js", "", 404, Some("no-store")),
        ("GET", "/assets/deep", "", 308, Some("no-cache")),
        ("POST", "/assets/app.js", "", 405, None),
        ("OPTIONS", "/assets/app.js", "", 204, None),
        ("GET", "/assets/app.js", "If-Match: \"x\"", 412, None),
        ("GET", "/assets/app.js", "Range: bytes=999-", 416, None),
    ] {
        let response = client.ask(method, target, lines);
        assert_eq!(response.status, status, "{method} {target} {lines}");
        assert_eq!(response.field("cache-control"), value, "{method} {target} {lines}");
    }
    drop(client);
    fixture.finish();
}

/// Rules add up, down the tree; a later one replaces or removes what an earlier one has set.
pub(crate) fn header_rules_merge(kind: DriverKind) {
    let options = [
        "--header",
        "**=X-Frame-Options: DENY",
        "--header",
        "/assets/**=X-Where: assets",
        "--header",
        "/assets/*=X-Depth: one",
        "--header",
        "*.css=x-where: styles",
        "--header",
        "/assets/raw.css=X-Frame-Options:",
        "--header",
        "**=Link: </a>; rel=\"x\"",
        "--header",
        "*.css=Link: </b>",
        "--header",
        "/docs/**=Content-Security-Policy: default-src 'self'; script-src 'none'",
        "--header",
        "*.xhtml=Vary: Cookie",
    ];
    let fixture = Fixture::start_as(kind, site(), &options);
    let mut client = fixture.connect();
    let (deny, a, both) = (Some("DENY"), "</a>; rel=\"x\"", "</a>; rel=\"x\", </b>");
    for (target, frames, place, depth, links) in [
        ("/page.html", deny, None, None, a),
        ("/style.css", deny, Some("styles"), None, both),
        ("/assets/app.js", deny, Some("assets"), Some("one"), a),
        ("/assets/deep/er/app.js", deny, Some("assets"), None, a),
        ("/assets/style.css", deny, Some("styles"), Some("one"), both),
        ("/assets/raw.css", None, Some("styles"), Some("one"), both),
    ] {
        for response in ask_all(&mut client, target) {
            assert_eq!(response.field("x-frame-options"), frames, "{target}");
            assert_eq!(response.field("x-where"), place, "{target}");
            assert_eq!(response.field("x-depth"), depth, "{target}");
            assert_eq!(response.list("link"), links, "{target}");
        }
    }
    for response in ask_all(&mut client, "/docs/") {
        let policy = response.field("content-security-policy");
        assert_eq!(policy, Some("default-src 'self'; script-src 'none'"));
        assert_eq!(response.field("cache-control"), Some("no-cache"));
    }
    for response in ask_all(&mut client, "/page.xhtml") {
        assert_eq!(response.list("vary"), "Cookie");
    }
    // Security fields are on every answer.
    for (method, target, lines, status) in [
        ("GET", "/missing", "", 404),
        ("HEAD", "/missing", "", 404),
        ("GET", "/docs", "", 308),
        ("GET", "/outside", "", 403),
        ("GET", "/%zz", "", 400),
        ("POST", "/page.html", "", 405),
        ("BREW", "/page.html", "", 501),
        ("OPTIONS", "/page.html", "", 204),
        ("GET", "/page.html", "If-Match: \"x\"", 412),
        ("GET", "/page.html", "Range: bytes=999-", 416),
    ] {
        let response = client.ask(method, target, lines);
        assert_eq!(response.status, status, "{method} {target}");
        // A target that cannot be parsed gets the rules for the root's path.
        assert_eq!(response.field("x-frame-options"), deny, "{method} {target}");
    }
    let missing = client.ask("GET", "/assets/missing.css", "");
    assert_eq!(missing.field("x-where"), Some("styles"));
    assert_eq!((missing.list("link"), missing.list("vary")), (both.to_owned(), "Accept".into()));
    drop(client);
    fixture.finish();
}

/// The Fetch standard: scripts of other sites may read the answer if its fields allow it, and
/// browsers send a preflight request first.
pub(crate) fn other_sites_may_read_if_configured(kind: DriverKind) {
    let asked = "Origin: https://elsewhere.example";
    let preflight = "Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range";
    for cors in [false, true] {
        let options: &[_] = if cors { &["--cors"] } else { &[] };
        let fixture = Fixture::start_as(kind, site(), options);
        let mut client = fixture.connect();
        for (method, target, lines, status) in [
            ("GET", "/data.json", "", 200),
            ("HEAD", "/data.json", "", 200),
            ("GET", "/data.json", "Range: bytes=0-1", 206),
            ("GET", "/data.json", "Range: bytes=0-1,99-", 206),
            ("GET", "/data.json", "Range: bytes=999-", 416),
            ("GET", "/data.json", "If-None-Match: *", 304),
            ("GET", "/data.json", "If-Match: \"x\"", 412),
            ("GET", "/missing", "", 404),
            ("GET", "/docs", "", 308),
            ("POST", "/data.json", "", 405),
            ("OPTIONS", "/data.json", preflight, 204),
            ("OPTIONS", "/data.json", "", 204),
        ] {
            let between = if lines.is_empty() { "" } else { "\r\n" };
            let response = client.ask(method, target, &format!("{asked}{between}{lines}"));
            assert_eq!(response.status, status, "{method} {target} {lines}");
            let any = cors.then_some("*");
            assert_eq!(response.field("access-control-allow-origin"), any, "{method} {target}");
            let policy = response.field("cross-origin-resource-policy");
            assert_eq!(policy, cors.then_some("cross-origin"), "{method} {target}");
            // All sites may read the answers, but without credentials.
            assert_eq!(response.field("access-control-allow-credentials"), None);
            let methods = response.field("access-control-allow-methods").unwrap_or_default();
            assert_eq!(methods.contains("GET"), cors && lines == preflight);
            if cors && status < 300 && method == "GET" {
                let exposed = response.field("access-control-expose-headers").unwrap();
                for name in ["ETag", "Content-Range", "Content-Length", "Accept-Ranges"] {
                    assert!(exposed.split(", ").any(|it| it == name), "{exposed}");
                }
            }
        }
        drop(client);
        fixture.finish();
    }
}

/// A rule for pages applies to the fallback page and to error pages, whatever target they are
/// sent for.
pub(crate) fn substitutes_have_the_fields_of_their_own_path(kind: DriverKind) {
    let options = [
        "--spa=/docs/index.html",
        "--error-page",
        "404=/page.html",
        "--header",
        "*.html=X-Of: pages",
        "--header",
        "/docs/**=X-Where: docs",
        "--header",
        "/deep/**=X-Address: deep",
    ];
    let fixture = Fixture::start_as(kind, site(), &options);
    let mut client = fixture.connect();
    for (method, target, accept, status, of, place, address) in [
        ("GET", "/deep/link", "text/html", 200, Some("pages"), Some("docs"), None),
        ("HEAD", "/deep/link", "text/html", 200, Some("pages"), Some("docs"), None),
        ("GET", "/deep/missing.js", "*/*", 404, Some("pages"), None, None),
        ("HEAD", "/docs/missing.js", "*/*", 404, Some("pages"), None, None),
        // These are answered without a file.
        ("GET", "/assets", "*/*", 308, None, None, None),
        ("POST", "/deep/link", "*/*", 405, None, None, Some("deep")),
    ] {
        let response = client.ask(method, target, &format!("Accept: {accept}"));
        assert_eq!(response.status, status, "{method} {target}");
        assert_eq!(response.field("x-of"), of, "{method} {target}");
        assert_eq!(response.field("x-where"), place, "{method} {target}");
        assert_eq!(response.field("x-address"), address, "{method} {target}");
    }
    drop(client);
    fixture.finish();
}
