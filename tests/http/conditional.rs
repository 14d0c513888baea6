//! Conditional requests (RFC 9110 section 13).

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::common::alone::alone;
use crate::common::{eventually_some, runs_here};
use crate::support::client::{Client, request};
use crate::support::fixture::Fixture;
use crate::support::root::{self, content, set_modified, wait_until_settled};

/// When the files were modified: the instant of the examples in RFC 9110 section 5.6.7.
const MODIFIED: i64 = 784_111_777;
const DATES: [&str; 3] =
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
/// A second earlier, in the same formats.
const BEFORE: [&str; 3] =
    ["Sun, 06 Nov 1994 08:49:36 GMT", "Sunday, 06-Nov-94 08:49:36 GMT", "Sun Nov  6 08:49:36 1994"];
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const FUTURE: &str = "Fri, 31 Dec 2100 23:59:59 GMT";

/// A file that is kept in memory and one that is not, and their lengths.
const FILES: [(&str, usize); 2] = [("dated.txt", 2000), ("dated.bin", 20_000)];

/// Old files with the same time of modification.
fn dated() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let path = root.path();
        for (name, length) in FILES {
            fs::write(path.join(name), content(length)).unwrap();
            set_modified(&path.join(name), MODIFIED);
        }
        for name in ["page.html", "page.html.br"] {
            fs::write(path.join(name), name).unwrap();
            set_modified(&path.join(name), MODIFIED);
        }
        wait_until_settled(&path.join("page.html.br"));
        root
    });
    ROOT.path()
}

/// The tag of a file with that time, without the quotes.
fn opaque(length: usize) -> String {
    format!("{:x}-{length:x}", MODIFIED * 1_000_000_000)
}

/// Field lines and the status that they lead to. `TAG` stands for the file's own tag with quotes,
/// and `OPAQUE` for the text between the quotes.
const TAGS: [(&str, u16); 42] = [
    ("X: y", 200),
    ("If-Match: *", 200),
    ("If-Match: TAG", 200),
    ("If-Match: \"x\", TAG, \"y\"", 200),
    ("If-Match: \"x\"\r\nIf-Match: TAG", 200),
    ("If-Match: ,, TAG ,", 200),
    ("If-Match: \"x\"", 412),
    ("If-Match: \"x\", \"OPAQUE,\"", 412),
    // Only strong tags match (section 13.1.1).
    ("If-Match: W/TAG", 412),
    ("If-Match: W/\"x\", W/TAG", 412),
    ("If-Match: W/TAG, TAG", 200),
    ("If-Match: OPAQUE", 412),
    ("If-Match: TAG, junk", 412),
    ("If-Match:", 412),
    ("If-None-Match: *", 304),
    ("If-None-Match: TAG", 304),
    // The weak comparison is used (section 13.1.2).
    ("If-None-Match: W/TAG", 304),
    ("If-None-Match: \"x\", TAG, \"y\"", 304),
    ("If-None-Match: \"x\",TAG", 304),
    ("If-None-Match: W/\"x\",\tW/TAG", 304),
    ("If-None-Match: \"x\"\r\nIf-None-Match: TAG", 304),
    ("If-None-Match: \"a,b\", TAG", 304),
    ("If-None-Match: \"a, \", \"b,\", TAG", 304),
    ("If-None-Match: \"a,OPAQUE,b\"", 200),
    ("If-None-Match: \"a,\"OPAQUE\",b\"", 200),
    ("If-None-Match: junk, TAG", 304),
    ("If-None-Match: \"x\"", 200),
    ("If-None-Match: \"\"", 200),
    ("If-None-Match: OPAQUE", 200),
    ("If-None-Match: \"OPAQUE", 200),
    ("If-None-Match: w/TAG", 200),
    ("If-None-Match: \"OPAQUE-br\"", 200),
    ("If-None-Match: *, \"x\"", 200),
    ("If-None-Match:", 200),
    ("if-none-match: TAG", 304),
    // Precedence as in section 13.2.2.
    ("If-Match: TAG\r\nIf-None-Match: TAG", 304),
    ("If-None-Match: TAG\r\nIf-Match: \"x\"", 412),
    ("If-Match: *\r\nIf-None-Match: \"x\"", 200),
    ("If-Match: *\r\nIf-None-Match: *", 304),
    ("If-None-Match: TAG\r\nRange: bytes=0-1", 304),
    ("If-None-Match: \"x\"\r\nRange: bytes=0-1", 206),
    ("If-Match: \"x\"\r\nRange: bytes=0-1", 412),
];

/// Lines with the dates above, and the status that they lead to.
fn dates() -> Vec<(String, u16)> {
    let mut cases = Vec::new();
    let mut add = |line: &str, status| cases.push((line.to_owned(), status));
    for date in DATES {
        add(&format!("If-Modified-Since: {date}"), 304);
        add(&format!("If-Unmodified-Since: {date}"), 200);
    }
    for date in BEFORE {
        add(&format!("If-Modified-Since: {date}"), 200);
        add(&format!("If-Unmodified-Since: {date}"), 412);
    }
    add(&format!("If-Modified-Since: {AFTER}"), 304);
    add(&format!("If-Unmodified-Since: {AFTER}"), 200);
    // A date in the future is a date like any other (section 13.1.3).
    add(&format!("If-Modified-Since: {FUTURE}"), 304);
    add(&format!("If-Unmodified-Since: {FUTURE}"), 200);
    for none in [
        "yesterday",
        "",
        "784111777",
        "06 Nov 1994 08:49:37 GMT",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "\"Sun, 06 Nov 1994 08:49:37 GMT\"",
    ] {
        add(&format!("If-Modified-Since: {none}"), 200);
        add(&format!("If-Unmodified-Since: {none}"), 200);
    }
    let [date, before] = [DATES[0], BEFORE[0]];
    add(&format!("If-Modified-Since: {date}\r\nIf-Modified-Since: {date}"), 200);
    // Tags take precedence: dates beside them are ignored.
    add(&format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}"), 200);
    add(&format!("If-Modified-Since: {date}\r\nIf-None-Match: \"x\""), 200);
    add(&format!("If-None-Match: TAG\r\nIf-Modified-Since: {before}"), 304);
    add(&format!("If-Match: TAG\r\nIf-Unmodified-Since: {before}"), 200);
    add(&format!("If-Match: \"x\"\r\nIf-Unmodified-Since: {date}"), 412);
    add(&format!("If-Unmodified-Since: {before}\r\nIf-None-Match: TAG"), 412);
    add(&format!("If-Unmodified-Since: {date}\r\nIf-Modified-Since: {date}"), 304);
    add(&format!("If-Unmodified-Since: {before}\r\nIf-Modified-Since: {date}"), 412);
    add(&format!("If-Modified-Since: {date}\r\nRange: bytes=0-1"), 304);
    add(&format!("If-Modified-Since: {before}\r\nRange: bytes=0-1"), 206);
    cases
}

pub(crate) fn conditions_decide(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, dated(), |_| {});
    let mut client = fixture.connect();
    let tags = TAGS.into_iter().map(|(lines, status)| (lines.to_owned(), status));
    let cases: Vec<_> = tags.chain(dates()).collect();
    for (name, length) in FILES {
        let (target, opaque) = (format!("/{name}"), opaque(length));
        let tag = format!("\"{opaque}\"");
        for (lines, status) in &cases {
            let lines = lines.replace("TAG", &tag).replace("OPAQUE", &opaque);
            let response = client.ask("GET", &target, &lines);
            assert_eq!(response.status, *status, "{target} {lines}");
            match status {
                200 => response.expect_ok(&content(length)),
                206 => assert!(response.body == content(length)[..2]),
                304 => assert_eq!(response.own_fields(), ["ETag"], "{lines}"),
                _ => assert!(response.field("etag").is_none() && !response.body.is_empty()),
            }
            if matches!(status, 200 | 206 | 304) {
                assert_eq!(response.field("etag"), Some(&*tag), "{lines}");
            }
            // HEAD ignores `Range` (section 14.2).
            let status = if *status == 206 { 200 } else { *status };
            let head = client.ask("HEAD", &target, &lines);
            assert_eq!(head.status, status, "HEAD {target} {lines}");
        }
    }
    drop(client);
    fixture.finish();
}

/// RFC 9110 section 13.2.1: conditions are evaluated only if the answer would be a success
/// without them.
pub(crate) fn conditions_apply_to_successful_answers_only(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, dated(), |_| {});
    let mut client = fixture.connect();
    let conditions = [
        "If-Match: \"x\"",
        "If-Match: *",
        "If-None-Match: *",
        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
        "If-Modified-Since: Sun, 06 Nov 2022 08:49:37 GMT",
    ];
    let requests = [
        ("GET", "/missing", 404),
        ("GET", "/missing/", 404),
        ("HEAD", "/missing", 404),
        ("GET", "/.hidden", 404),
        ("GET", "/dir", 308),
        ("GET", "/outside", 403),
        ("GET", "/%zz", 400),
        ("POST", "/dated.txt", 405),
        ("OPTIONS", "/dated.txt", 204),
        ("BREW", "/dated.txt", 501),
    ];
    for (method, target, status) in requests {
        for lines in conditions {
            let response = client.ask(method, target, lines);
            assert_eq!(response.status, status, "{method} {target} {lines}");
        }
    }
    drop(client);
    fixture.finish();
}

/// RFC 9110 section 15.4.5: the fields that a cache needs to update its entry, and no more.
pub(crate) fn not_modified_has_its_fields(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, dated(), |_| {});
    let mut client = fixture.connect();
    let plain = format!("\"{}\"", opaque("page.html".len()));
    let encoded = format!("\"{}-br\"", opaque("page.html.br".len()));
    for (accept, tag, other) in [("gzip", &plain, &encoded), ("br", &encoded, &plain)] {
        let lines = format!("Accept-Encoding: {accept}\r\nIf-None-Match: W/{tag}");
        for method in ["GET", "HEAD"] {
            let response = client.ask(method, "/page.html", &lines);
            assert_eq!(response.status, 304);
            assert_eq!(response.own_fields(), ["ETag", "Vary", "Cache-Control"]);
            assert_eq!(response.field("etag"), Some(&**tag));
            assert_eq!(response.field("vary"), Some("Accept-Encoding"));
            assert_eq!(response.field("cache-control"), Some("no-cache"));
            assert!(response.field("date").is_some());
        }
        // Each coding has tags of its own. A client that has the plain form need not get another
        // one, though it prefers it.
        let lines = format!("Accept-Encoding: {accept}\r\nIf-None-Match: {other}");
        let known = if *other == plain { 304 } else { 200 };
        assert_eq!(client.ask("GET", "/page.html", &lines).status, known);
        let lines = format!("Accept-Encoding: {accept}\r\nIf-Match: {other}");
        assert_eq!(client.ask("GET", "/page.html", &lines).status, 412);
    }
    // There is no body, whatever the fields say: the next answer follows immediately.
    let same = request("GET", "/page.html", "If-None-Match: *");
    client.send(same.repeat(5) + &request("GET", "/dated.bin", ""));
    for _ in 0..5 {
        assert_eq!(client.read_head().status, 304);
    }
    client.read_response().expect_ok(&content(20_000));
    drop(client);
    fixture.finish();
}

/// Times that archives invent are not used as validators, nor are times in the future.
pub(crate) fn odd_times_validate_nothing(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    for (name, seconds) in [("zero.txt", 0), ("one.txt", 1), ("early.txt", -1_000_000_000)] {
        fs::write(fixture.path(name), content(500)).unwrap();
        set_modified(&fixture.path(name), seconds);
        let target = format!("/{name}");
        for (lines, status) in [
            ("X: y", 200),
            ("If-None-Match: \"x\"", 200),
            ("If-None-Match: *", 304),
            ("If-Match: \"3b9aca00-1f4\"", 412),
            ("If-Match: *", 200),
            // If the file has no usable time, dates are ignored.
            ("If-Modified-Since: Sun, 06 Nov 2022 08:49:37 GMT", 200),
            ("If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 200),
            ("Range: bytes=0-1", 206),
            ("Range: bytes=0-1\r\nIf-Range: Thu, 01 Jan 1970 00:00:00 GMT", 200),
            ("Range: bytes=0-1\r\nIf-Range: Thu, 01 Jan 1970 00:00:01 GMT", 200),
        ] {
            let response = client.ask("GET", &target, lines);
            assert_eq!(response.status, status, "{name} {lines}");
            assert_eq!((response.field("etag"), response.field("last-modified")), (None, None));
        }
    }
    fs::write(fixture.path("two.txt"), "two").unwrap();
    set_modified(&fixture.path("two.txt"), 2);
    let two = client.ask("GET", "/two.txt", "");
    assert_eq!(two.field("last-modified"), Some("Thu, 01 Jan 1970 00:00:02 GMT"));
    let tag = two.field("etag").unwrap();
    assert_eq!(tag.trim_start_matches("W/"), "\"77359400-3\"");

    // RFC 9110 section 8.8.2.1: no `Last-Modified` is later than `Date`.
    fs::write(fixture.path("future.txt"), "to come").unwrap();
    let year = Duration::from_secs(365 * 24 * 3600);
    let later = SystemTime::now() + year;
    fs::File::options()
        .write(true)
        .open(fixture.path("future.txt"))
        .and_then(|file| file.set_modified(later))
        .unwrap();
    let future = client.ask("GET", "/future.txt", "");
    let date = |name| httpdate::parse_http_date(future.field(name).unwrap()).unwrap();
    assert!(date("last-modified") <= date("date"), "{}", future.head);
    let tag = future.field("etag").unwrap();
    assert!(tag.starts_with("W/\""), "{tag}");
    let lines = format!("If-None-Match: {tag}");
    assert_eq!(client.ask("GET", "/future.txt", &lines).status, 304);
    // Further away than a date can be, if the file system stores such times.
    for (number, seconds) in [253_402_300_800, 1 << 40, -(1 << 40)].into_iter().enumerate() {
        let name = format!("far-{number}.txt");
        fs::write(fixture.path(&name), "far").unwrap();
        set_modified(&fixture.path(&name), seconds);
        let far = client.ask("GET", &format!("/{name}"), "");
        far.expect_ok(b"far");
        if let Some(modified) = far.field("last-modified") {
            assert!(httpdate::parse_http_date(modified).unwrap() <= SystemTime::now());
        }
    }
    drop(client);
    fixture.finish();
}

/// A file that has just changed may change again with the same time, so its tag is weak. All
/// drivers wait together.
#[test]
fn a_tag_is_weak_until_the_file_has_settled() {
    alone(|| {
        let kinds = DriverKind::ALL.into_iter().filter(|kind| runs_here(*kind));
        let young: Vec<_> = kinds.map(Young::meet).collect();
        young.into_iter().for_each(Young::grow_old);
    });
}

/// A file that has just been written, and its validators.
struct Young {
    kind: DriverKind,
    fixture: Fixture,
    client: Client,
    target: String,
    tag: String,
    date: String,
    modified: SystemTime,
}

impl Young {
    fn meet(kind: DriverKind) -> Self {
        let fixture = Fixture::start_with(kind, |setup| {
            setup.http.revalidate_after = Duration::from_millis(50);
        });
        let client = fixture.connect();
        let (target, tag, date) = (String::new(), String::new(), String::new());
        let modified = SystemTime::UNIX_EPOCH;
        let mut young = Self { kind, fixture, client, target, tag, date, modified };
        // If the machine stalls for two seconds, the file has settled too early, so try another
        // one.
        let found = (0..200).find_map(|number| young.look_at_a_new_file(number));
        assert_eq!(found, Some(([412, 304, 200], [412, 304, 200], 200)));
        young
    }

    /// The statuses that the tag, the tag without `W/`, and the date lead to, if the file is
    /// still young.
    fn look_at_a_new_file(&mut self, number: usize) -> Option<([u16; 3], [u16; 3], u16)> {
        self.target = format!("/young-{number}.txt");
        let path = self.fixture.path(&self.target[1..]);
        fs::write(&path, content(1000)).unwrap();
        self.modified = fs::metadata(path).unwrap().modified().unwrap();
        self.date = httpdate::fmt_http_date(self.modified);
        let page = self.client.ask("GET", &self.target, "");
        self.tag = page.field("etag").unwrap().to_owned();
        let strong = self.tag.trim_start_matches("W/").to_owned();
        let marked = self.statuses(&self.tag.clone());
        let found = (marked, self.statuses(&strong), self.status_of_range());
        let age = self.modified.elapsed();
        age.is_ok_and(|age| age < Duration::from_secs(2)).then_some(found)
    }

    fn grow_old(mut self) {
        // The first connection may have been idle for too long while the other drivers had their
        // turns.
        self.client = self.fixture.connect();
        let what = format!("the tag turns strong on {}", self.kind);
        let strong = eventually_some(&what, || {
            // If the clock has been set back, the file stays in the future for too long.
            if SystemTime::now() < self.modified {
                self.look_at_a_new_file(usize::MAX);
            }
            let page = self.client.ask("GET", &self.target, "");
            let strong = self.strong();
            let is_strong = page.field("etag") == Some(&*strong);
            if is_strong { Ok(strong) } else { Err((SystemTime::now(), page.head)) }
        });
        assert_eq!(self.statuses(&self.tag.clone()), [412, 304, 200]);
        assert_eq!(self.statuses(&strong), [200, 304, 206]);
        assert_eq!(self.status_of_range(), 206);
        drop(self.client);
        self.fixture.finish();
    }

    /// The tag once the file has settled.
    fn strong(&self) -> String {
        self.tag.strip_prefix("W/").expect("a weak tag").to_owned()
    }

    fn statuses(&mut self, tag: &str) -> [u16; 3] {
        ["If-Match: ", "If-None-Match: ", "Range: bytes=0-1\r\nIf-Range: "]
            .map(|field| self.client.ask("GET", &self.target, &format!("{field}{tag}")).status)
    }

    fn status_of_range(&mut self) -> u16 {
        let lines = format!("Range: bytes=0-1\r\nIf-Range: {}", self.date);
        self.client.ask("GET", &self.target, &lines).status
    }
}
