//! Errors: content, format, and what they must not contain.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use ringd::driver::DriverKind;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::eventually;
use crate::support::client::{Client, Response};
use crate::support::fixture::Fixture;
use crate::support::root::{self, content};

/// A request for each error: method, target, field lines, status, and title.
const ERRORS: [(&str, &str, &str, u16, &str); 10] = [
    ("GET", "/missing", "", 404, "Not Found"),
    ("GET", "/.hidden", "", 404, "Not Found"),
    ("GET", "/%2F", "", 404, "Not Found"),
    ("GET", "/outside", "", 403, "Forbidden"),
    ("GET", "/%zz", "", 400, "Bad Request"),
    ("GET", "/..", "", 400, "Bad Request"),
    ("POST", "/small.txt", "", 405, "Method Not Allowed"),
    ("BREW", "/small.txt", "", 501, "Not Implemented"),
    ("GET", "/small.txt", "If-Match: \"x\"", 412, "Precondition Failed"),
    ("GET", "/small.txt", "Range: bytes=20-", 416, "Range Not Satisfiable"),
];

/// Field lines with an `Accept` field added.
fn with_accept(lines: &str, accept: &str) -> String {
    let between = if lines.is_empty() { "" } else { "\r\n" };
    format!("{lines}{between}Accept: {accept}")
}

/// The fields of an answer, without its date.
fn undated(response: &Response) -> Vec<(&str, &str)> {
    response.fields().filter(|field| field.0 != "Date").collect()
}

/// Checks the fields that an error must have, whatever its body is.
fn expect_required(response: &Response, status: u16, what: &str) {
    assert_eq!(response.status, status, "{what}");
    let allow = (status == 405).then_some("GET, HEAD, OPTIONS");
    assert_eq!(response.field("allow"), allow, "{what}");
    let of = (status == 416).then_some("bytes */20");
    assert_eq!(response.field("content-range"), of, "{what}");
    // The file may be created at any moment.
    let caching = (status == 404).then_some("no-store");
    assert_eq!(response.field("cache-control"), caching, "{what}");
    assert_eq!(response.field("x-content-type-options"), Some("nosniff"), "{what}");
    for name in ["etag", "last-modified", "accept-ranges", "location"] {
        assert_eq!(response.field(name), None, "{what}");
    }
    assert!(!response.says_close(), "{what}");
}

pub(crate) fn errors_are_html_or_json(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, root::settled(), |_| {});
    let mut client = fixture.connect();
    for (method, target, lines, status, title) in ERRORS {
        for (accept, is_json) in [
            ("", false),
            ("*/*", false),
            ("text/html", false),
            ("image/png", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("application/json", true),
            ("application/json, text/plain, */*", true),
            ("application/json;q=0.1, text/html;q=0.2", false),
            ("text/html;q=0.2, application/json;q=0.3", true),
        ] {
            let what = format!("{method} {target} for {accept}");
            let response = client.ask(method, target, &with_accept(lines, accept));
            expect_required(&response, status, &what);
            assert_eq!(response.field("vary"), Some("Accept"), "{what}");
            if is_json {
                assert_eq!(response.field("content-type"), Some("application/json"), "{what}");
                let body: Value = serde_json::from_slice(&response.body).unwrap();
                let told = (&body["status"], &body["title"]);
                assert_eq!(told, (&status.into(), &title.into()), "{what}");
                assert!(body["detail"].as_str().is_some_and(|detail| detail.ends_with('.')));
            } else {
                let html = Some("text/html; charset=utf-8");
                assert_eq!(response.field("content-type"), html, "{what}");
                let text = String::from_utf8(response.body.clone()).unwrap();
                assert!(text.starts_with("<!doctype html>"), "{what}");
                assert!(text.contains(&format!("<title>{status} {title}</title>")), "{text}");
            }
            if method == "GET" && status != 416 {
                let head = client.ask("HEAD", target, &with_accept(lines, accept));
                assert_eq!(undated(&head), undated(&response), "{what}");
            }
        }
    }
    drop(client);
    fixture.finish();
}

/// An error does not repeat anything that the client sent: neither the target nor a field.
pub(crate) fn errors_reflect_no_input(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, root::settled(), |_| {});
    let mut client = fixture.connect();
    for accept in ["text/html", "application/json"] {
        for (plain, targets) in [
            (
                "/missing",
                [
                    "/<script>alert(1)</script>",
                    "/%3Cscript%3Ealert(1)%3C/script%3E",
                    "/\"onmouseover=\"alert(1)",
                    "/'};alert(1);'",
                    "/missing?q=<script>alert(1)</script>",
                    "/{{7*7}}%0D%0ASet-Cookie:%20a=b",
                ],
            ),
            (
                "/%zz",
                [
                    "/%zz<script>alert(1)</script>",
                    "/<script>%zz",
                    "/%zz\"x=\"",
                    "/%00<b>",
                    "/..<b>/../..",
                    "/%zz?<script>",
                ],
            ),
            (
                "/outside",
                [
                    "/outside?<script>",
                    "/outside/<script>",
                    "/circle/\"<b>",
                    "/outside/%3Cb%3E",
                    "/outside?\"'<b>",
                    "/outside/{{7*7}}",
                ],
            ),
        ] {
            let accept = with_accept("", accept);
            let expected = client.ask("GET", plain, &accept);
            let fields = "User-Agent: <script>\r\nReferer: http://h/<script>\r\nOrigin: <b>";
            for target in targets {
                let response = client.ask("GET", target, &format!("{fields}\r\n{accept}"));
                assert_eq!(undated(&response), undated(&expected), "{target}");
                assert!(response.body == expected.body, "{target}");
            }
        }
    }
    // The body of a redirect does not contain the target, and its location contains no markup.
    let plain = client.ask("GET", "/dir", "");
    let moved = client.ask("GET", "//dir?\"><script>alert(1)</script>", "");
    assert_eq!((moved.status, &moved.body), (308, &plain.body));
    drop(client);
    fixture.finish();
}

/// The pages that an operator chooses for errors, with all kinds of files.
fn pages() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let path = root.path();
        fs::create_dir(path.join("errors")).unwrap();
        for (name, length) in [
            ("404.html", 404),
            ("errors/403.txt", 403),
            ("errors/405.html", 20_405),
            ("errors/coded.html", 1000),
            ("errors/coded.html.br", 300),
            ("errors/coded.html.gz", 20_000),
            ("errors/none.html", 0),
        ] {
            fs::write(path.join(name), content(length)).unwrap();
        }
        let made = Command::new("mkfifo").arg(path.join("errors/fifo")).status();
        assert!(made.unwrap().success());
        root
    });
    ROOT.path()
}

/// The body is the page, and the status remains that of the error: whether the page is in memory
/// or not, and for every request that leads to the error.
pub(crate) fn an_error_page_is_the_body(kind: DriverKind) {
    let options = [
        "--error-page",
        "403=/errors/403.txt",
        "--error-page",
        "405=/errors/405.html",
        "--error-page",
        "412=/errors/405.html",
        "--error-page",
        "400=/404.html",
        "--error-page",
        "416=/errors/none.html",
        "--error-page",
        "501=/small.txt",
    ];
    let fixture = Fixture::start_as(kind, pages(), &options);
    let mut client = fixture.connect();
    for (method, target, lines, status, _) in ERRORS {
        let (content_type, length) = match status {
            403 => ("text/plain; charset=utf-8", 403),
            405 | 412 => ("text/html; charset=utf-8", 20_405),
            416 => ("text/html; charset=utf-8", 0),
            501 => ("text/plain; charset=utf-8", 20),
            _ => ("text/html; charset=utf-8", 404),
        };
        let mut more = vec![lines.to_owned(), with_accept(lines, "text/html")];
        if method == "GET" && lines.is_empty() {
            // Conditions and ranges apply to successful answers only (RFC 9110 section 13.2.1).
            more.push("Range: bytes=0-1".to_owned());
            more.push("If-None-Match: *".to_owned());
            more.push("If-Match: \"x\"".to_owned());
        }
        for lines in more {
            let what = format!("{method} {target} {lines}");
            let response = client.ask(method, target, &lines);
            expect_required(&response, status, &what);
            assert_eq!(response.field("content-type"), Some(content_type), "{what}");
            assert!(response.body == content(length), "{what}");
            if method == "GET" && status != 416 {
                let head = client.ask("HEAD", target, &lines);
                assert_eq!(undated(&head), undated(&response), "HEAD {what}");
            }
        }
    }
    // If it is requested by its own name, the page is an ordinary file.
    client.ask("GET", "/errors/403.txt", "").expect_ok(&content(403));
    drop(client);
    fixture.finish();
}

/// A page may exist in several codings. The error has the fields that say so.
pub(crate) fn an_error_page_has_codings(kind: DriverKind) {
    let options = ["--error-page", "404=/errors/coded.html"];
    let fixture = Fixture::start_as(kind, pages(), &options);
    let mut client = fixture.connect();
    for (accept, coding, length) in
        [("br, gzip", Some("br"), 300), ("gzip", Some("gzip"), 20_000), ("identity", None, 1000)]
    {
        let lines = format!("Accept-Encoding: {accept}");
        let response = client.ask("GET", "/missing", &lines);
        expect_required(&response, 404, accept);
        assert_eq!(response.field("content-encoding"), coding);
        assert_eq!(response.field("vary"), Some("Accept-Encoding"));
        assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
        assert!(response.body == content(length), "{accept}");
        let head = client.ask("HEAD", "/missing", &lines);
        assert_eq!(undated(&head), undated(&response));
    }
    drop(client);
    fixture.finish();
}

/// A `404.html` in the root needs no option.
pub(crate) fn a_404_page_in_the_root_needs_no_option(kind: DriverKind) {
    for (options, length) in [
        (&[][..], Some(404)),
        (&["--error-page", "403=/errors/403.txt"], Some(404)),
        (&["--error-page", "404=/errors/403.txt"], Some(403)),
        // Of two options for one status, the last one is used.
        (&["--error-page", "404=/errors/403.txt", "--error-page", "404=/small.txt"], Some(20)),
        // If the chosen page does not exist, `404.html` does not replace it.
        (&["--error-page", "404=/errors/nowhere.html"], None),
        (&["--error-page", "404=/errors"], None),
        (&["--error-page", "404=/errors/fifo"], None),
        (&["--error-page", "404=/outside/etc/passwd"], None),
        (&["--error-page", "404=/circle"], None),
    ] {
        let fixture = Fixture::start_as(kind, pages(), options);
        let mut client = fixture.connect();
        for target in ["/missing", "/missing/", "/a/b.js", "/.hidden", "/%2F"] {
            let response = client.ask("GET", target, "");
            expect_required(&response, 404, target);
            match length {
                Some(length) => assert!(response.body == content(length), "{options:?}"),
                None => assert!(response.body.starts_with(b"<!doctype html>"), "{options:?}"),
            }
        }
        // It is used for 404 only.
        let bad = client.ask("GET", "/%zz", "");
        assert!(bad.status == 400 && bad.body.starts_with(b"<!doctype html>"));
        drop(client);
        fixture.finish();
    }
}

/// Errors with and without a page, one after the other: each has its place and its length.
pub(crate) fn errors_keep_their_place(kind: DriverKind) {
    let options = ["--error-page", "405=/errors/405.html"];
    let fixture = Fixture::start_as(kind, pages(), &options);
    let mut client = fixture.connect();
    let ask = |method: &str, target: &str| crate::support::client::request(method, target, "");
    let round = ask("GET", "/missing")
        + &ask("DELETE", "/x")
        + &ask("HEAD", "/missing")
        + &ask("GET", "/outside")
        + &ask("GET", "/small.txt");
    client.send(round.repeat(20));
    for _ in 0..20 {
        expect_body(&mut client, 404, &content(404));
        expect_body(&mut client, 405, &content(20_405));
        assert_eq!(client.read_head().field("content-length"), Some("404"));
        assert_eq!(client.read_response().status, 403);
        expect_body(&mut client, 200, &content(20));
    }
    drop(client);
    fixture.finish();
}

fn expect_body(client: &mut Client, status: u16, body: &[u8]) {
    let response = client.read_response();
    assert_eq!(response.status, status);
    assert!(response.body == body, "{}", response.head);
}

pub(crate) fn an_error_page_comes_and_goes(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.http.revalidate_after = Duration::from_millis(20);
    });
    let mut client = fixture.connect();
    let mut body = || client.ask("GET", "/missing", "").body;
    let builtin = body();
    for page in ["first", "second"] {
        fs::write(fixture.path("404.html"), page).unwrap();
        eventually("the page is the body", || body() == page.as_bytes());
    }
    fs::remove_file(fixture.path("404.html")).unwrap();
    eventually("the page is gone", || body() == builtin);
    drop(client);
    fixture.finish();
}
