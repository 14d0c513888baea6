//! Listings: the entries of a directory, as HTML and as JSON.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use ringd::driver::DriverKind;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::eventually;
use crate::support::client::{Client, Response};
use crate::support::fixture::Fixture;
use crate::support::root::{self, set_modified};

const JSON: &str = "Accept: application/json";
const HTML: &str = "Accept: text/html";

/// Names that an uploader may choose to inject markup into the page, or to mislead its links.
const HOSTILE: [&[u8]; 43] = [
    b"line\nbreak",
    b"cr\r\nLocation: x",
    b"tab\t",
    b"bell\x07\x1b[31m",
    b"\x7f",
    b"quote\"s",
    b"it's",
    b"\" onclick=\"alert(1)",
    b"' onclick='alert(1)",
    b"<script>alert(1)<\\script>",
    b"<!--",
    b"]]>",
    b"a&b",
    b"&lt;b&gt;",
    b"&#x3c;b",
    b"100%",
    b"%25",
    b"%2e%2e%2fsmall.txt",
    b"%00",
    b"%zz",
    b"#fragment",
    b"what?query",
    b"-rf",
    b"--help",
    b"a:b",
    b"javascript:alert(1)",
    b"http:",
    b"\\\\host\\share",
    b" front",
    b"end ",
    b"two  spaces",
    b"a+b",
    b"a;b,c=d",
    b"*",
    b"[x]{y}|^`~",
    b"\xff\xfe",
    b"caf\xe9",
    "caf\u{e9}".as_bytes(),
    "\u{202e}gpj.exe".as_bytes(),
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd}".as_bytes(),
    "\u{1f469}\u{200d}\u{1f4bb}".as_bytes(),
    &[b'n'; 255],
    b"\xe2\x82\xac\xe2\x82",
];

/// How the page shows some of them.
const SHOWN: [(&[u8], &str); 6] = [
    (b"line\nbreak", "line\u{240a}break"),
    (b"it's", "it&#39;s"),
    (b"<!--", "&lt;!--"),
    (b"&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    (b"caf\xe9", "caf\u{fffd}"),
    ("\u{202e}gpj.exe".as_bytes(), "\u{fffd}gpj.exe"),
];

/// The same for directories.
const HOSTILE_DIRECTORIES: [&[u8]; 5] = [b"<dir>", b"d?r", b"d%72", b"\xffdir", b"c:"];

/// Enough entries for three pages.
const MANY: usize = 2100;
const PAGE: usize = 1000;

/// Files and directories with a known order: the name, the length, and the time.
const ORDERED: [(&str, u64, i64); 5] = [
    ("z/", 0, 1_000_000_100),
    ("d/", 0, 1_000_000_200),
    ("a10.txt", 5, 1_000_000_001),
    ("a2.txt", 5000, 1_000_000_003),
    ("B.txt", 70, 1_000_000_002),
];

fn name(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn shelves() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let path = root.path();
        for directory in ["hostile", "many", "ordered", "void", "coded"] {
            fs::create_dir(path.join(directory)).unwrap();
        }
        for bytes in HOSTILE {
            fs::write(path.join("hostile").join(name(bytes)), [b"in ", bytes].concat()).unwrap();
        }
        for bytes in HOSTILE_DIRECTORIES {
            let directory = path.join("hostile").join(name(bytes));
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("index.html"), [b"in ", bytes].concat()).unwrap();
        }
        for number in 0..MANY {
            fs::write(path.join("many").join(format!("{number}.txt")), "").unwrap();
        }
        for (name, length, time) in ORDERED {
            let path = path.join("ordered").join(name);
            match length {
                0 => fs::create_dir(&path).unwrap(),
                length => fs::write(&path, root::content(length as usize)).unwrap(),
            }
            set_modified(&path, time);
        }
        for name in ["x.txt", "x.txt.gz", "x.txt.br", "y.tar.gz", ".x.swp", "x.txt.old"] {
            fs::write(path.join("coded").join(name), name).unwrap();
        }
        root
    });
    ROOT.path()
}

fn start(kind: DriverKind) -> Fixture {
    Fixture::start_as(kind, shelves(), &["--listing"])
}

/// The entries of a listing as JSON.
fn json(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.head);
    assert_eq!(response.field("content-type"), Some("application/json"));
    serde_json::from_slice(&response.body).expect("JSON")
}

fn texts(listing: &Value, key: &str) -> Vec<String> {
    let entries = listing["entries"].as_array().expect("entries");
    entries.iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
}

/// The references of the entries of an HTML page, as a browser reads them. The page is parsed
/// strictly: only the page's own markup may occur, and none may come from a name.
fn references(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.head);
    assert_eq!(response.field("content-type"), Some("text/html; charset=utf-8"));
    let page = std::str::from_utf8(&response.body).expect("UTF-8");
    assert!(page.starts_with("<!doctype html>\n"));
    assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "control characters");
    let (_, rest) = page.split_once("</style>").expect("a style");
    for piece in rest.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("the end of a tag");
        let element = tag.trim_start_matches('/').split(' ').next().unwrap();
        const ELEMENTS: &str = " head body main html h1 p table thead tbody tr th td a bdi time \
                                span nav form button input ";
        assert!(ELEMENTS.contains(&format!(" {element} ")), "<{tag}>");
        // Values are quoted, and no value ends its quotes.
        for (at, attribute) in tag.split('"').enumerate() {
            let name =
                attribute.trim_start().strip_suffix('=').and_then(|it| it.split(' ').next_back());
            let names =
                ["href", "rel", "scope", "name", "value", "type", "title", "datetime", "colspan"];
            let known = |name| names.contains(&name) || name.starts_with("aria-");
            assert!(at % 2 == 1 || name.is_none_or(known), "<{tag}>");
        }
        assert!(!text.contains(['>', '"', '\'']), "{text}");
        for after in text.split('&').skip(1) {
            let entities = ["amp;", "lt;", "gt;", "quot;", "#39;"];
            assert!(entities.iter().any(|entity| after.starts_with(entity)), "{text}");
        }
    }
    let (_, body) = rest.split_once("<tbody>").unwrap();
    let (body, _) = body.split_once("</tbody>").unwrap();
    let links = body.split("<a href=\"").skip(1).map(|link| link.split_once('"').unwrap().0);
    links.map(|link| link.replace("&#39;", "'").replace("&amp;", "&")).collect()
}

/// The text after a marker, up to the next quote.
fn quoted<'a>(page: &'a str, marker: &str) -> Option<&'a str> {
    page.split_once(marker).map(|(_, rest)| rest.split('"').next().unwrap())
}

/// Follows all references of a listing at `/hostile/`, and returns the names of their files.
fn follow(client: &mut Client, references: &[String]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    for path in references.iter().filter(|reference| *reference != "../") {
        assert!(!path.starts_with(['/', '.']) && !path.contains(':'), "no host, no scheme");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        assert!(!path.contains(['?', '#', '\\', '"', '<', '&', '+']), "{path}");
        let response = client.ask("GET", &format!("/hostile/{path}"), "");
        assert_eq!(response.status, 200, "{path}");
        let name = response.body.strip_prefix(b"in ").expect("the content that the test wrote");
        assert!(found.insert(name.to_vec()), "{path} leads to the file of another one");
    }
    found
}

/// Whatever the name of a file is, its link leads to it, and it adds no markup to the page.
pub(crate) fn each_link_leads_to_its_file(kind: DriverKind) {
    let fixture = start(kind);
    let mut client = fixture.connect();
    let names = HOSTILE.iter().chain(&HOSTILE_DIRECTORIES);
    let all: BTreeSet<Vec<u8>> = names.map(|name| name.to_vec()).collect();
    let html = client.ask("GET", "/hostile/", HTML);
    let links = references(&html);
    assert_eq!(follow(&mut client, &links), all);
    let page = String::from_utf8(html.body).unwrap();
    for (_, shown) in SHOWN {
        assert!(page.contains(&format!("\">{shown}</a></bdi>")), "{shown}");
    }
    let listing = json(&client.ask("GET", "/hostile/", JSON));
    let hrefs = texts(&listing, "href");
    assert_eq!(follow(&mut client, &hrefs), all);
    assert_eq!(hrefs, links[1..], "the same order, after the parent directory");
    let lossy = all.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    assert_eq!(texts(&listing, "name").into_iter().collect::<BTreeSet<_>>(), lossy.collect());
    // The name of a directory is text on its own page, and part of the links on the pages below
    // it.
    let inner = client.ask("GET", "/hostile/%3Cdir%3E/", HTML);
    inner.expect_ok(b"in <dir>");
    drop(client);
    fixture.finish();
}

pub(crate) fn entries_are_in_order(kind: DriverKind) {
    let fixture = start(kind);
    let mut client = fixture.connect();
    let by_name = "d/ z/ a2.txt a10.txt B.txt";
    for (query, order) in [
        ("", by_name),
        ("?", by_name),
        ("?sort=name&order=asc", by_name),
        ("?order=desc", "z/ d/ B.txt a10.txt a2.txt"),
        ("?sort=size", "d/ z/ a10.txt B.txt a2.txt"),
        ("?sort=size&order=desc", "z/ d/ a2.txt B.txt a10.txt"),
        ("?sort=time", "z/ d/ a10.txt B.txt a2.txt"),
        ("?order=desc&sort=time", "d/ z/ a2.txt B.txt a10.txt"),
        // Parameters that are not understood are ignored.
        ("?sort=mood&order=up&page=-1", by_name),
        ("?sort=%73ize", by_name),
        ("?C=S;O=D", by_name),
    ] {
        let target = format!("/ordered/{query}");
        let listing = json(&client.ask("GET", &target, JSON));
        let order: Vec<_> = order.split(' ').map(str::to_owned).collect();
        assert_eq!(texts(&listing, "href"), order, "{query}");
        assert_eq!(references(&client.ask("GET", &target, HTML))[1..], order, "{query}");
    }
    let listing = json(&client.ask("GET", "/ordered/", JSON));
    assert_eq!(listing["path"], "/ordered/");
    assert_eq!((&listing["total"], &listing["pages"]), (&5.into(), &1.into()));
    assert_eq!((&listing["truncated"], listing.get("next")), (&false.into(), None));
    let expected = serde_json::json!({
        "name": "a10.txt", "type": "file", "size": 5, "mtime": "2001-09-09T01:46:41Z",
        "href": "a10.txt",
    });
    assert_eq!(listing["entries"][3], expected);
    let expected = serde_json::json!({
        "name": "d", "type": "directory", "mtime": "2001-09-09T01:50:00Z", "href": "d/",
    });
    assert_eq!(listing["entries"][0], expected);
    // Crawlers follow no link that only changes the order: there is none.
    let page = client.ask("GET", "/ordered/", HTML);
    let page = String::from_utf8(page.body).unwrap();
    assert!(!page.contains("href=\"?"), "{page}");
    drop(client);
    fixture.finish();
}

/// Every entry is on one page, and each page has a bounded length.
pub(crate) fn many_entries_are_split_into_pages(kind: DriverKind) {
    let fixture = start(kind);
    let mut client = fixture.connect();
    let expected: Vec<_> = (0..MANY).map(|number| format!("{number}.txt")).collect();
    let (mut query, mut hrefs, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let listing = json(&client.ask("GET", &format!("/many/{query}"), JSON));
        pages += 1;
        assert_eq!((&listing["page"], &listing["pages"]), (&pages.into(), &3.into()));
        assert_eq!(listing["total"], MANY);
        let page = texts(&listing, "href");
        assert!(page.len() <= PAGE);
        hrefs.extend(page);
        match listing.get("next") {
            Some(next) => query = next.as_str().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, &hrefs), (3, &expected));
    let html = client.ask("GET", "/many/?page=2", HTML);
    assert_eq!(references(&html)[1..], expected[PAGE..2 * PAGE]);
    let html = String::from_utf8(html.body).unwrap();
    assert_eq!(quoted(&html, "rel=\"prev\" href=\""), Some("./"));
    assert_eq!(quoted(&html, "rel=\"next\" href=\""), Some("?page=3"));
    for (query, page) in [("?page=3", 3), ("?page=99", 3), ("?page=0", 1), ("?page=x", 1)] {
        let listing = json(&client.ask("GET", &format!("/many/{query}"), JSON));
        assert_eq!(listing["page"], page, "{query}");
    }
    drop(client);
    fixture.finish();
}

/// Hidden files, links that lead out and special files are not listed; listed files are served.
pub(crate) fn files_that_are_not_served_are_not_listed(kind: DriverKind) {
    let options = ["--listing", "--index", "none"];
    let names = |client: &mut Client, target: &str| {
        texts(&json(&client.ask("GET", target, JSON)), "href").join(" ")
    };
    let fixture = Fixture::start_as(kind, shelves(), &options);
    let mut client = fixture.connect();
    let folders = ".well-known/ a%20b/ bare/ coded/ dir/ hostile/ many/ ordered/";
    let files = "empty.txt exact.bin index.html inside large.bin over.bin \
                 page.css secret.txt small.txt under.bin";
    assert_eq!(names(&mut client, "/"), format!("{folders} void/ {files}"));
    assert_eq!(names(&mut client, "/dir/"), "sub/ index.html");
    assert_eq!(names(&mut client, "/.well-known/"), "security.txt");
    assert_eq!(names(&mut client, "/coded/"), "x.txt x.txt.old y.tar.gz");
    assert_eq!(names(&mut client, "/void/"), "");
    let void = client.ask("GET", "/void/", HTML);
    assert_eq!(references(&void), ["../"]);
    for target in ["/.git/", "/outside/", "/fifo/", "/nowhere/"] {
        assert_ne!(client.ask("GET", target, JSON).status, 200, "{target}");
    }
    drop(client);
    fixture.finish();

    let fixture = Fixture::start_as(kind, shelves(), &["--listing", "--no-precompressed"]);
    let mut client = fixture.connect();
    let all = "x.txt x.txt.br x.txt.gz x.txt.old y.tar.gz";
    assert_eq!(names(&mut client, "/coded/"), all);
    // The index is served in place of the listing.
    client.ask("GET", "/", JSON).expect_ok(&root::content(300));
    drop(client);
    fixture.finish();
}

/// A listing has the right type, and supports conditional requests.
pub(crate) fn listings_have_validators(kind: DriverKind) {
    let fixture = start(kind);
    let mut client = fixture.connect();
    let mut tags = BTreeSet::new();
    for (target, accept, content_type) in [
        ("/ordered/", HTML, "text/html; charset=utf-8"),
        ("/ordered/", JSON, "application/json"),
        ("/ordered/?order=desc", HTML, "text/html; charset=utf-8"),
        ("/bare/", HTML, "text/html; charset=utf-8"),
    ] {
        let full = client.ask("GET", target, accept);
        assert_eq!(full.status, 200);
        assert_eq!(full.field("content-type"), Some(content_type));
        assert_eq!(full.field("vary"), Some("Accept"));
        assert_eq!(full.field("cache-control"), Some("no-cache"));
        assert_eq!((full.field("last-modified"), full.field("accept-ranges")), (None, None));
        let tag = full.field("etag").unwrap().to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        let old = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (lines, status) in [
            (format!("If-None-Match: {tag}"), 304),
            (format!("If-None-Match: \"x\", {}", &tag[2..]), 304),
            ("If-None-Match: *".to_owned(), 304),
            ("If-None-Match: \"x\"".to_owned(), 200),
            ("If-Match: *".to_owned(), 200),
            // The tag is weak: the same bytes are not guaranteed.
            (format!("If-Match: {tag}"), 412),
            (format!("If-Modified-Since: {old}"), 200),
            (format!("If-Unmodified-Since: {old}"), 200),
            ("Range: bytes=0-3".to_owned(), 200),
            ("Range: bytes=9999999-".to_owned(), 200),
        ] {
            let lines = format!("{accept}\r\n{lines}");
            let response = client.ask("GET", target, &lines);
            assert_eq!(response.status, status, "{target} {lines}");
            match status {
                200 => assert!(response.body == full.body, "{target} {lines}"),
                304 => assert_eq!(response.own_fields(), ["ETag", "Vary", "Cache-Control"]),
                _ => {}
            }
            // RFC 9110 section 9.3.2: the same answer, except for the body and the fields that
            // describe it.
            let head = client.ask("HEAD", target, &lines);
            assert_eq!(head.status, status, "HEAD {target} {lines}");
            assert_eq!(head.field("vary"), Some("Accept"));
        }
        assert!(tags.insert(tag), "two representations have the same tag");
    }
    drop(client);
    fixture.finish();
}

/// HEAD is answered without reading the directory.
pub(crate) fn head_of_a_listing_has_no_body(kind: DriverKind) {
    let fixture = start(kind);
    let mut client = fixture.connect();
    for (accept, content_type) in [(HTML, "text/html; charset=utf-8"), (JSON, "application/json")] {
        for target in ["/many/", "/void/", "/hostile/?sort=size"] {
            let head = client.ask("HEAD", target, accept);
            assert_eq!((head.status, head.field("content-type")), (200, Some(content_type)));
            assert_eq!(head.field("cache-control"), Some("no-cache"));
            assert_eq!(head.field("vary"), Some("Accept"));
            assert_eq!(head.field("x-content-type-options"), Some("nosniff"));
            assert!(!head.says_close());
        }
    }
    for (target, status) in [("/void", 308), ("/nowhere/", 404), ("/small.txt", 200)] {
        assert_eq!(client.ask("HEAD", target, "").status, status);
    }
    drop(client);
    fixture.finish();
}

pub(crate) fn the_client_chooses_the_format(kind: DriverKind) {
    let fixture = start(kind);
    let mut client = fixture.connect();
    for (lines, is_json) in [
        ("X: y", false),
        ("Accept: */*", false),
        ("Accept: text/html, application/json", false),
        ("Accept: text/html;q=0.9, application/json", true),
        ("Accept: application/json, */*", true),
        ("Accept: application/json;q=0, */*", false),
        ("Accept: application/json;q=0.5, text/html;q=0.6", false),
        ("Accept: application/*", true),
        ("Accept: text/plain\r\nAccept: application/json", true),
        ("Accept: image/png", false),
    ] {
        let response = client.ask("GET", "/ordered/", lines);
        let expected = if is_json { "application/json" } else { "text/html; charset=utf-8" };
        assert_eq!(response.field("content-type"), Some(expected), "{lines}");
        assert_eq!(response.body.starts_with(b"{"), is_json);
    }
    drop(client);
    fixture.finish();
}

pub(crate) fn listings_are_off_by_default(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, shelves(), |_| {});
    let mut client = fixture.connect();
    for target in ["/bare/", "/void/", "/hostile/", "/dir/sub/"] {
        for accept in [HTML, JSON] {
            for method in ["GET", "HEAD"] {
                let response = client.ask(method, target, accept);
                assert_eq!(response.status, 404, "{target}");
                assert_eq!(response.field("cache-control"), Some("no-store"));
            }
        }
    }
    assert_eq!(client.ask("GET", "/bare", HTML).field("location"), Some("bare/"));
    drop(client);
    fixture.finish();
}

/// A listing shows the current entries, with a new tag whenever they have changed.
pub(crate) fn a_listing_follows_its_directory(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| {
        setup.site.content.listing = true;
        setup.http.revalidate_after = Duration::from_millis(20);
    });
    let mut client = fixture.connect();
    let directory = fixture.path("shelf");
    fs::create_dir(&directory).unwrap();
    let mut tags = BTreeSet::new();
    let mut wait_for = |expected: &[&str]| {
        eventually("the change is listed", || {
            let response = client.ask("GET", "/shelf/", JSON);
            if response.status != 200 || texts(&json(&response), "href") != expected {
                return false;
            }
            let tag = response.field("etag").unwrap().to_owned();
            let lines = format!("{JSON}\r\nIf-None-Match: {tag}");
            assert_eq!(client.ask("GET", "/shelf/", &lines).status, 304);
            assert!(tags.insert(tag), "a tag twice");
            true
        });
    };
    wait_for(&[]);
    fs::write(directory.join("one"), "one").unwrap();
    wait_for(&["one"]);
    fs::create_dir(directory.join("two")).unwrap();
    wait_for(&["two/", "one"]);
    fs::rename(directory.join("one"), directory.join("three")).unwrap();
    wait_for(&["two/", "three"]);
    fs::remove_file(directory.join("three")).unwrap();
    wait_for(&["two/"]);
    fs::write(directory.join("index.html"), "an index").unwrap();
    eventually("the index is shown", || client.ask("GET", "/shelf/", JSON).body == b"an index");
    fs::remove_dir_all(&directory).unwrap();
    eventually("the directory is gone", || client.ask("GET", "/shelf/", JSON).status == 404);
    drop(client);
    fixture.finish();
}
