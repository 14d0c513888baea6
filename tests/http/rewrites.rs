//! Redirects and rewrites of a site.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use ringd::driver::DriverKind;
use ringd::http::site::rewrites::{PathRule, PathRules};
use tempfile::TempDir;

use crate::support::fixture::Fixture;
use crate::support::root;

/// The files of the root; each has its name as its content.
const FILES: [&str; 14] = [
    "index.html",
    "page.html",
    "gone.html",
    "kept.html",
    "manual/index.html",
    "manual/a.html",
    "manual/style.css",
    "manual/sub/index.html",
    "listed/file.txt",
    ".private/secret.html",
    "_redirects",
    "_redirects.gz",
    "_headers",
    "sub/_headers",
];

fn start(kind: DriverKind, options: &[&str], rules: Vec<PathRule>) -> Fixture {
    Fixture::start_over(kind, site(), |setup| {
        setup.content(site(), options);
        setup.site.content.path_rules = PathRules::new(rules).unwrap();
    })
}

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

fn redirect(from: &str, to: &str, status: u16) -> PathRule {
    PathRule::redirect(from, to, Some(status), None).unwrap()
}

fn rewrite(from: &str, to: &str) -> PathRule {
    PathRule::rewrite(from, to, None, None, None).unwrap()
}

pub(crate) fn a_redirect_leads_elsewhere(kind: DriverKind) {
    let unforced = PathRule::redirect("/listed/*", "/new/:splat", None, Some(false)).unwrap();
    let fixture = start(
        kind,
        &["--header", "**=X-A: b"],
        vec![
            redirect("/page.html", "/manual/", 301),
            redirect("/blog/:year/:slug", "/posts/:slug", 308),
            redirect("/old/*", "https://b.example/:splat", 302),
            redirect("/form", "/done?x=1", 303),
            redirect("/.env", "/manual/", 307),
            unforced,
        ],
    );
    let mut client = fixture.connect();
    for (target, status, location, caching) in [
        ("/page.html", 301, "/manual/", "max-age=3600"),
        ("/page.html?a=%20b", 301, "/manual/?a=%20b", "max-age=3600"),
        ("/blog/2026/a%2520b", 308, "/posts/a%2520b", "max-age=3600"),
        ("/old/a/b/", 302, "https://b.example/a/b/", "no-cache"),
        ("/old/%0d%0aX:%20y", 302, "https://b.example/%0D%0AX:%20y", "no-cache"),
        ("/form?y", 303, "/done?x=1", "no-cache"),
        ("/.env", 307, "/manual/", "no-cache"),
        ("/listed/other", 308, "/new/other", "no-cache"),
    ] {
        for method in ["GET", "HEAD"] {
            let response = client.ask(method, target, "");
            assert_eq!(response.status, status, "{method} {target}");
            assert_eq!(response.field("location"), Some(location), "{method} {target}");
            assert_eq!(response.field("cache-control"), Some(caching), "{method} {target}");
            assert_eq!(response.field("x-a"), Some("b"), "{method} {target}");
            assert_eq!(response.body.is_empty(), method == "HEAD", "{method} {target}");
        }
    }
    // A file goes before this one, and other methods have their answers.
    client.ask("GET", "/listed/file.txt", "").expect_ok(b"listed/file.txt");
    assert_eq!(client.ask("POST", "/page.html", "").status, 405);
    assert_eq!(client.ask("OPTIONS", "/page.html", "").status, 204);
    assert_eq!(client.ask("GET", "/.other", "").status, 404);
    assert_eq!(client.ask("GET", "/%zz", "").status, 400);
    drop(client);
    fixture.finish();
}

pub(crate) fn a_rewrite_serves_another_file(kind: DriverKind) {
    let forced = PathRule::rewrite("/kept.html", "/page.html", None, Some(true), None).unwrap();
    let fixture = start(
        kind,
        &["--listing"],
        vec![
            rewrite("/docs/*", "/manual/:splat"),
            rewrite("/page.html", "/gone.html"),
            rewrite("/dots/*", "/:splat"),
            rewrite("/l/*", "/listed/:splat"),
            // No further rewrite.
            rewrite("/twice", "/docs/a.html"),
            forced,
        ],
    );
    let mut client = fixture.connect();
    for (target, file) in [
        ("/docs/a.html", "manual/a.html"),
        ("/docs/a.html?x", "manual/a.html"),
        ("/docs/", "manual/index.html"),
        ("/docs/sub/", "manual/sub/index.html"),
        ("/docs/../docs/%61.html", "manual/a.html"),
        // There is a file.
        ("/page.html", "page.html"),
        ("/kept.html", "page.html"),
    ] {
        client.ask("GET", target, "").expect_ok(file.as_bytes());
        let head = client.ask("HEAD", target, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        let tag = format!("If-None-Match: {}", head.field("etag").unwrap());
        assert_eq!(client.ask("GET", target, &tag).status, 304, "{target}");
        let part = client.ask("GET", target, "Range: bytes=1-2");
        assert_eq!((part.status, &part.body[..]), (206, &file.as_bytes()[1..3]), "{target}");
    }
    // The client's address gets the slash, not that of the file.
    for (target, location) in
        [("/docs/sub", "sub/"), ("/docs/sub?x=1", "sub/?x=1"), ("/docs", "docs/")]
    {
        let response = client.ask("GET", target, "");
        assert_eq!(response.status, 308, "{target}");
        assert_eq!(response.field("location"), Some(location), "{target}");
    }
    for target in ["/dots/.private/secret.html", "/dots/missing", "/twice", "/docs/a.html/"] {
        assert_eq!(client.ask("GET", target, "").status, 404, "{target}");
    }
    let listing = client.ask("GET", "/l/", "Accept: text/html");
    let listing = String::from_utf8(listing.body).unwrap();
    assert!(listing.contains("file.txt"), "{listing}");
    drop(client);
    fixture.finish();
}

pub(crate) fn one_page_answers_navigations_to_many_paths(kind: DriverKind) {
    let all = PathRule::rewrite("/all/*", "/page.html", None, None, Some(false)).unwrap();
    let rules = vec![all, rewrite("/*", "/index.html")];
    for options in [&[][..], &["--clean-urls"]] {
        let fixture = start(kind, options, rules.clone());
        let mut client = fixture.connect();
        for (target, accept, file) in [
            ("/any", "text/html", Some("index.html")),
            ("/any/where/", "text/html,*/*;q=0.1", Some("index.html")),
            ("/any.js", "text/html", None),
            ("/any", "application/json", None),
            ("/manual/style.css", "*/*", Some("manual/style.css")),
            ("/all/any.js", "application/json", Some("page.html")),
        ] {
            let response = client.ask("GET", target, &format!("Accept: {accept}"));
            match file {
                Some(file) => response.expect_ok(file.as_bytes()),
                None => assert_eq!(response.status, 404, "{target}"),
            }
        }
        let page = client.ask("GET", "/any", "Accept: text/html");
        assert_eq!(page.list("vary"), "Accept", "the page depends on it");
        assert_eq!(page.field("cache-control"), Some("no-cache"));
        drop(client);
        fixture.finish();
    }
}

pub(crate) fn a_rewrite_may_be_an_error(kind: DriverKind) {
    let error = |from: &str, to: &str, status| {
        PathRule::rewrite(from, to, Some(status), None, None).unwrap()
    };
    let mut forced =
        vec![PathRule::rewrite("/kept.html", "/gone.html", Some(410), Some(true), None).unwrap()];
    forced.extend([
        error("/old/*", "/gone.html", 410),
        error("/law", "/manual/", 451),
        error("/none", "/missing.html", 410),
        error("/*", "/page.html", 404),
    ]);
    for options in [&[][..], &["--clean-urls"]] {
        let fixture = start(kind, options, forced.clone());
        let mut client = fixture.connect();
        for (target, status, body) in [
            ("/kept.html", 410, Some("gone.html")),
            ("/old/a.js", 410, Some("gone.html")),
            ("/law", 451, Some("manual/index.html")),
            ("/none", 410, None),
            ("/other", 404, Some("page.html")),
        ] {
            let response = client.ask("GET", target, "");
            assert_eq!(response.status, status, "{target}");
            if let Some(body) = body {
                assert_eq!(response.body, body.as_bytes(), "{target}");
            }
            let caching = (status == 404).then_some("no-store");
            assert_eq!(response.field("cache-control"), caching, "{target}");
            assert_eq!(response.field("etag"), None, "{target}");
        }
        drop(client);
        fixture.finish();
    }
}

/// Files of hosting services are content unless the server reads them itself.
pub(crate) fn site_files_are_hidden_where_they_are_read(kind: DriverKind) {
    for (is_read, status) in [(false, 200), (true, 404)] {
        let fixture = Fixture::start_over(kind, site(), |setup| {
            setup.site.content.hides_site_files = is_read;
            (setup.site.content.listing, setup.site.content.index) = (true, Vec::new());
            let rule = rewrite("/r/*", "/:splat");
            setup.site.content.path_rules = PathRules::new(vec![rule]).unwrap();
        });
        let mut client = fixture.connect();
        for target in ["/_redirects", "/_redirects.gz", "/_headers", "/%5fheaders", "/r/_headers"] {
            assert_eq!(client.ask("GET", target, "").status, status, "{target}");
        }
        client.ask("GET", "/sub/_headers", "").expect_ok(b"sub/_headers");
        for (folder, is_listed) in [("/", !is_read), ("/sub/", true)] {
            let listing = client.ask("GET", folder, "Accept: application/json").body;
            let is_there = memchr::memmem::find(&listing, b"_headers").is_some();
            assert_eq!(is_there, is_listed, "{folder}");
        }
        drop(client);
        fixture.finish();
    }
}
