//! Compression on the fly: a site that compresses answers as one with compressed files beside the
//! plain ones, but for the tags.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::codings::WISHES;
use crate::common::eventually;
use crate::reload::{here, update};
use crate::support::client::{Client, Response};
use crate::support::fixture::{Fixture, site};
use crate::support::http2::Http2Connection;
use crate::support::root::{self, content, set_modified, wait_until_settled};

const MODIFIED: i64 = 784_111_777;

/// Files that are compressed. The content of the last one is compressed into more than what is kept
/// in memory.
pub(crate) const FILES: [(&str, usize); 3] =
    [("page.html", 3000), ("style.css", 8192), ("data.json", 200_000)];

const CODINGS: [(&str, &str); 3] = [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

/// The fast level keeps the tests short.
pub(crate) const OPTIONS: [&str; 2] = ["--compress", "--compress-level=fast"];

/// Text that is compressed as text is: to about a third.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(bytes as u64);
    let words: Vec<String> =
        (0..500).map(|_| (0..random.usize(2..9)).map(|_| random.lowercase()).collect()).collect();
    let mut text = String::new();
    while text.len() < bytes {
        text += &words[random.usize(..500)];
        text.push(' ');
    }
    text.truncate(bytes);
    text.into_bytes()
}

/// Bytes that cannot be compressed.
fn noise(bytes: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(5);
    (0..bytes).map(|_| random.u8(..)).collect()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    set_modified(path, MODIFIED);
}

/// A root without compressed files, old enough to be compressed.
pub(crate) fn plain() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let path = root.path();
        for (name, bytes) in FILES {
            write(&path.join(name), &text(bytes));
        }
        write(&path.join("beside.js"), &text(5000));
        write(&path.join("beside.js.gz"), &content(700));
        write(&path.join("short.html"), &text(1023));
        write(&path.join("photo.png"), &text(5000));
        write(&path.join("noise.txt"), &noise(5000));
        write(&path.join("404.html"), &text(5000));
        write(&path.join("logo.svgz"), &text(5000));
        write(&path.join("app.js.gz"), &text(20_000));
        write(&path.join("epoch.css"), &text(5000));
        set_modified(&path.join("epoch.css"), 1);
        write(&path.join("long.txt"), &hexadecimal(9 << 20));
        wait_until_settled(&path.join("long.txt"));
        root
    });
    ROOT.path()
}

/// Text that is compressed to about a half.
fn hexadecimal(bytes: usize) -> Vec<u8> {
    let mut random = Rng::with_seed(8);
    (0..bytes).map(|_| random.choice(b"0123456789abcdef").copied().unwrap_or(b'0')).collect()
}

/// Asks until the answer has this coding.
pub(crate) fn ask_until(client: &mut Client, target: &str, coding: &str) -> Response {
    let lines = format!("Accept-Encoding: {coding}");
    let mut answer = None;
    eventually("the file is compressed", || {
        let response = client.ask("GET", target, &lines);
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{}", response.head);
        let is_there = response.field("content-encoding") == Some(coding);
        answer = Some(response);
        is_there
    });
    answer.unwrap()
}

/// A root with compressed files beside the plain ones: those that a server has made. And the tags
/// of the files of one server, with those of the other.
fn sidecars(client: &mut Client) -> (TempDir, HashMap<String, String>) {
    let root = root::make();
    let mut tags = HashMap::new();
    for (name, bytes) in FILES {
        write(&root.path().join(name), &text(bytes));
        for (coding, suffix) in CODINGS {
            let made = ask_until(client, &format!("/{name}"), coding);
            let path = root.path().join(format!("{name}{suffix}"));
            write(&path, &made.body);
            let tag = made.field("etag").unwrap().to_owned();
            let ours = format!("-{:x}-{coding}\"", made.body.len());
            assert!(tag.starts_with("\"x") && tag.ends_with(&ours), "{tag}");
            let nanoseconds = MODIFIED * 1_000_000_000;
            tags.insert(tag, format!("\"{nanoseconds:x}{ours}"));
        }
    }
    wait_until_settled(&root.path().join("data.json.gz"));
    (root, tags)
}

/// An answer without what differs from one server to another.
fn without_tag(response: &Response, tags: &HashMap<String, String>) -> (u16, String, Vec<u8>) {
    let mut head = String::new();
    let mut body = response.body.clone();
    for (name, value) in response.fields() {
        match (name, value.split_once("boundary=")) {
            ("Date", _) => {}
            ("ETag", _) => head += tags.get(value).map_or(value, |tag| tag),
            // It is random.
            ("Content-Type", Some((front, boundary))) => {
                head += front;
                body = String::from_utf8_lossy(&body).replace(boundary, "").into_bytes();
            }
            _ => head += &format!("{name}: {value}\n"),
        }
    }
    (response.status, head, body)
}

/// Conditions and ranges; `TAG` is a tag of the file, in one coding after the other.
const CASES: [&str; 16] = [
    "",
    "Range: bytes=10-99",
    "Range: bytes=-5",
    "Range: bytes=5-9,20-29",
    "Range: bytes=999999-",
    "If-None-Match: TAG",
    "If-None-Match: W/TAG, \"other\"",
    "If-None-Match: *",
    "If-None-Match: \"other\"",
    "If-Match: TAG",
    "If-Match: \"other\"",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
    "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT",
    "If-Range: TAG\r\nRange: bytes=10-99",
    "If-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\nRange: bytes=10-99",
    "If-None-Match: TAG\r\nRange: bytes=10-99",
];

pub(crate) fn a_compressed_site_answers_as_one_with_sidecars(kind: DriverKind) {
    let ours = Fixture::start_as(kind, plain(), &OPTIONS);
    let mut client = ours.connect();
    let (root, tags) = sidecars(&mut client);
    let other = Fixture::start_as(kind, root.path(), &[]);
    let mut other_client = other.connect();
    let of_plain = |bytes: usize| format!("\"{:x}-{bytes:x}\"", MODIFIED * 1_000_000_000);
    for (name, bytes) in FILES {
        let target = format!("/{name}");
        let made = |coding: &str| {
            let end = format!("-{coding}\"");
            let body = ask_until(&mut ours.connect(), &target, coding).body.len();
            let end = format!("-{body:x}{end}");
            tags.keys().find(|tag| tag.ends_with(&end)).unwrap().clone()
        };
        let mut known: Vec<String> = CODINGS.iter().map(|(coding, _)| made(coding)).collect();
        known.push(of_plain(bytes));
        for (number, (wish, _)) in WISHES.iter().enumerate() {
            // The large file only with some of them: the test would take long otherwise.
            if bytes > 100_000 && number % 6 != 0 {
                continue;
            }
            for case in CASES {
                let tagged = if case.contains("TAG") { &known[..] } else { &known[..1] };
                for tag in tagged {
                    let lines = |tag: &str| format!("{wish}\r\n{}", case.replace("TAG", tag));
                    let lines = |tag: &str| lines(tag).trim_end().to_owned();
                    let method = if number % 5 == 4 { "HEAD" } else { "GET" };
                    let answer = client.ask(method, &target, &lines(tag));
                    let its_tag = tags.get(tag).unwrap_or(tag);
                    let expected = other_client.ask(method, &target, &lines(its_tag));
                    assert_eq!(
                        without_tag(&answer, &tags),
                        without_tag(&expected, &tags),
                        "{method} {target} {}",
                        lines(tag)
                    );
                }
            }
        }
    }
    drop((client, other_client));
    ours.finish();
    other.finish();
}

/// The first request looks, the second one has the file compressed, and nobody waits.
pub(crate) fn the_second_request_has_a_file_compressed(kind: DriverKind) {
    let fixture = Fixture::start_as(kind, plain(), &OPTIONS);
    let mut client = fixture.connect();
    let lines = "Accept-Encoding: gzip";
    // HEAD asks likewise.
    for (target, first, second) in [
        ("/page.html", "GET", "GET"),
        ("/style.css", "HEAD", "HEAD"),
        ("/data.json", "GET", "HEAD"),
    ] {
        let jobs = || {
            let stats = fixture.compressor.stats();
            stats.made + stats.waiting
        };
        let before = jobs();
        let response = client.ask(first, target, lines);
        assert_eq!(response.field("content-encoding"), None, "{target}");
        assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{target}");
        let tag = response.field("etag").unwrap().to_owned();
        assert_eq!(jobs(), before, "{target}: one request is none too many");
        client.ask(second, target, lines);
        eventually("there is a job", || jobs() == before + 1);
        eventually("it is compressed", || fixture.compressor.stats().waiting == 0);
        for method in ["HEAD", "GET"] {
            let response = client.ask(method, target, lines);
            assert_eq!(response.field("content-encoding"), Some("gzip"), "{target}");
        }
        // Whoever has the plain form has it still, unless it takes no plain form.
        let known = format!("{lines}\r\nIf-None-Match: {tag}");
        assert_eq!(client.ask("GET", target, &known).status, 304, "{target}");
        let never = format!("{lines}, identity;q=0\r\nIf-None-Match: {tag}");
        assert_eq!(client.ask("GET", target, &never).status, 200, "{target}");
        // Who asks for none does not get it.
        let plain = client.ask("GET", target, "X: y");
        assert_eq!(plain.field("content-encoding"), None);
        assert_eq!(plain.field("etag"), Some(&*tag));
    }
    drop(client);
    fixture.finish();
}

pub(crate) fn only_what_is_worth_it_is_compressed(kind: DriverKind) {
    let fixture = Fixture::start_as(kind, plain(), &OPTIONS);
    let mut client = fixture.connect();
    let lines = "Accept-Encoding: br, gzip";
    for (target, status, vary) in [
        ("/short.html", 200, None),
        ("/photo.png", 200, None),
        ("/long.txt", 200, None),
        ("/noise.txt", 200, Some("Accept-Encoding")),
        ("/nothing.html", 404, Some("Accept-Encoding")),
    ] {
        for _ in 0..4 {
            let response = client.ask("GET", target, lines);
            assert_eq!(response.status, status, "{target}");
            assert_eq!(response.field("content-encoding"), None, "{target}");
            assert_eq!(response.field("vary"), vary, "{target}");
            eventually("the job is done", || fixture.compressor.stats().waiting == 0);
        }
    }
    let stats = fixture.compressor.stats();
    // `br`, and after that `gzip`.
    assert_eq!((stats.made, stats.not_worth, stats.dropped), (0, 2, 0));
    // A compressed file beside the plain one is sent until there is what the client likes better.
    for _ in 0..2 {
        let response = client.ask("GET", "/beside.js", lines);
        assert_eq!(response.field("content-encoding"), Some("gzip"));
        response.expect_ok(&content(700));
    }
    ask_until(&mut client, "/beside.js", "br");
    client.ask("GET", "/beside.js", "Accept-Encoding: gzip").expect_ok(&content(700));
    drop(client);
    fixture.finish();
}

/// All workers have the result of one job.
pub(crate) fn workers_share_the_results(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, plain(), |setup| {
        setup.content(plain(), &OPTIONS);
        setup.server.workers = 3;
    });
    for _ in 0..12 {
        ask_until(&mut fixture.connect(), "/data.json", "gzip");
    }
    assert_eq!(fixture.compressor.stats().made, 1);
    fixture.finish();
}

pub(crate) fn a_file_that_changes_is_compressed_anew(kind: DriverKind) {
    let root = root::make();
    let path = root.path().join("page.html");
    write(&path, &text(50_000));
    wait_until_settled(&path);
    let fixture = Fixture::start_as(kind, root.path(), &OPTIONS);
    let mut client = fixture.connect();
    let old = ask_until(&mut client, "/page.html", "gzip");
    fs::write(&path, text(60_000)).unwrap();
    set_modified(&path, MODIFIED + 10);
    eventually("the change is noticed", || {
        let response = client.ask("GET", "/page.html", "Accept-Encoding: gzip");
        assert!(response.status == 200);
        response.field("content-encoding").is_none() && response.body == text(60_000)
    });
    let new = ask_until(&mut client, "/page.html", "gzip");
    assert!(new.body != old.body && new.field("etag") != old.field("etag"));
    drop(client);
    fixture.finish();
}

pub(crate) fn a_reload_turns_it_on_and_off(kind: DriverKind) {
    let mut fixture = Fixture::start_as(kind, plain(), &[]);
    let listen = here(&fixture);
    let mut client = fixture.connect();
    for _ in 0..2 {
        for _ in 0..3 {
            let response = client.ask("GET", "/page.html", "Accept-Encoding: gzip");
            assert_eq!((response.field("content-encoding"), response.field("vary")), (None, None));
        }
        update(&mut fixture, &listen, site(plain(), &OPTIONS).into());
        ask_until(&mut client, "/page.html", "gzip");
        update(&mut fixture, &listen, site(plain(), &["--no-precompressed"]).into());
    }
    assert_eq!(fixture.compressor.stats().made, 1, "what was made is found again");
    drop(client);
    fixture.finish();
}

/// There is room for one file. The one that is evicted is sent to its end, and not made again.
pub(crate) fn what_is_sent_may_be_evicted(kind: DriverKind) {
    let options = [&OPTIONS[..], &["--compress-max=16M"]].concat();
    let fixture = Fixture::start_over(kind, plain(), |setup| {
        setup.content(plain(), &options);
        setup.http.compress.files = 1;
    });
    let mut client = fixture.connect();
    let whole = ask_until(&mut client, "/long.txt", "zstd");
    let mut slow = fixture.connect_narrow();
    slow.send("GET /long.txt HTTP/1.1\r\nHost: h\r\nAccept-Encoding: zstd\r\n\r\n");
    let head = slow.read_head();
    assert_eq!(head.field("content-encoding"), Some("zstd"));
    // Nothing else fits as long as it is sent.
    let data = "Accept-Encoding: gzip";
    client.ask("GET", "/data.json", data);
    client.ask("GET", "/data.json", data);
    eventually("it is evicted", || fixture.compressor.stats().evictions == 1);
    eventually("the other one is dropped", || fixture.compressor.stats().waiting == 0);
    let stats = fixture.compressor.stats();
    assert_eq!((stats.dropped, stats.bodies, stats.files), (1, 0, 1));
    for _ in 0..3 {
        let plain = client.ask("HEAD", "/long.txt", "Accept-Encoding: zstd");
        assert_eq!(plain.field("content-encoding"), None, "it is not made again");
    }
    assert!(slow.read_exact(whole.body.len()) == whole.body);
    drop(slow);
    // There is room for another one now.
    ask_until(&mut client, "/data.json", "zstd");
    assert_eq!(fixture.compressor.stats().files, 1);
    drop(client);
    fixture.finish();
}

pub(crate) fn http2_has_the_same_answers(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, plain(), |setup| {
        setup.content(plain(), &OPTIONS);
        setup.http.h2c = true;
    });
    let mut client = fixture.connect();
    let mut http2 = Http2Connection::connect(fixture.address());
    for (name, _) in FILES {
        let target = format!("/{name}");
        for (coding, _) in CODINGS {
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            let fields = [("accept-encoding", coding)];
            while http2.ask("GET", &target, &fields).field("content-encoding") != Some(coding) {
                assert!(std::time::Instant::now() < deadline, "{target} is compressed");
                std::thread::sleep(Duration::from_millis(5));
            }
            for range in ["bytes=0-", "bytes=3-20"] {
                let lines = format!("Accept-Encoding: {coding}\r\nRange: {range}");
                let expected = client.ask("GET", &target, &lines);
                let fields = [("accept-encoding", coding), ("range", range)];
                let answer = http2.ask("GET", &target, &fields);
                assert_eq!(answer.status, expected.status);
                for name in ["etag", "content-encoding", "content-range", "vary", "content-length"]
                {
                    assert_eq!(answer.field(name), expected.field(name), "{target} {name}");
                }
                assert!(answer.body == expected.body, "{target} {coding}");
            }
        }
    }
    drop((client, http2));
    fixture.finish();
}
