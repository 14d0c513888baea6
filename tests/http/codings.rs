//! Content codings: precompressed files, sent in place of a file to clients that accept them (RFC
//! 9110 section 12.5.3).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::common::eventually;
use crate::support::client::{Client, Response};
use crate::support::fixture::Fixture;
use crate::support::multipart;
use crate::support::root::{self, content, set_modified, wait_until_settled};

/// When most of the files were modified.
const MODIFIED: i64 = 784_111_777;

/// The file without a coding, in `Accept-Encoding` and in the tables here.
const PLAIN: &str = "identity";

/// The codings, with the suffixes of their files.
const CODINGS: [(&str, &str); 4] = [(PLAIN, ""), ("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

/// Files in several codings: the name, the type, and the length in each of [`CODINGS`], where 0
/// means that it does not exist. Files longer than 8 KiB are not kept in memory.
const FILES: [(&str, &str, [usize; 4]); 6] = [
    ("app.js", "text/javascript; charset=utf-8", [3000, 1000, 1100, 1200]),
    ("big.js", "text/javascript; charset=utf-8", [60_000, 20_000, 21_000, 22_000]),
    ("mixed.txt", "text/plain; charset=utf-8", [20_000, 0, 9000, 500]),
    ("two.css", "text/css; charset=utf-8", [3000, 1000, 0, 1200]),
    ("site/index.html", "text/html; charset=utf-8", [3000, 0, 0, 1200]),
    ("y.tar", "application/x-tar", [3000, 0, 0, 1200]),
];

/// Files that must not be taken for a coding of the file whose name they begin with, which comes
/// first. It exists, except for `alone.js`.
const STRANGERS: [(&str, &str); 7] = [
    ("old.js", "old.js.gz"),
    ("alone.js", "alone.js.gz"),
    ("folder.js", "folder.js.br"),
    ("pipe.js", "pipe.js.gz"),
    ("away.js", "away.js.gz"),
    ("photo.png", "photo.png.br"),
    ("shout.js", "shout.js.GZ"),
];

fn coded() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let path = root.path();
        fs::create_dir(path.join("site")).unwrap();
        let write = |name: &str, bytes: &[u8], modified| {
            fs::write(path.join(name), bytes).unwrap();
            set_modified(&path.join(name), modified);
        };
        for (name, _, lengths) in FILES {
            for ((_, suffix), length) in CODINGS.into_iter().zip(lengths) {
                if length > 0 {
                    write(&format!("{name}{suffix}"), &content(length), MODIFIED);
                }
            }
        }
        for (name, stranger) in STRANGERS {
            if name != "alone.js" {
                write(name, &content(700), MODIFIED);
            }
            match name {
                "old.js" => write(stranger, b"of an earlier version", MODIFIED - 10),
                "folder.js" => fs::create_dir(path.join(stranger)).unwrap(),
                "pipe.js" => {
                    let made = Command::new("mkfifo").arg(path.join(stranger)).status();
                    assert!(made.unwrap().success());
                }
                "away.js" => symlink("/etc/passwd", path.join(stranger)).unwrap(),
                _ => write(stranger, b"a stranger", MODIFIED),
            }
        }
        write("x.tar.gz", &content(900), MODIFIED);
        write("later.js", &content(700), MODIFIED);
        write("later.js.gz", &content(300), MODIFIED + 1000);
        write("nothing.js", b"", MODIFIED);
        write("nothing.js.gz", &content(20), MODIFIED);
        wait_until_settled(&path.join("nothing.js.gz"));
        root
    });
    ROOT.path()
}

/// The tag of a file with that length in a coding.
fn tag(length: usize, coding: &str) -> String {
    let suffix = if coding == PLAIN { String::new() } else { format!("-{coding}") };
    format!("\"{:x}-{length:x}{suffix}\"", MODIFIED * 1_000_000_000)
}

/// Field lines, and the coding that they choose if all codings exist.
pub(crate) const WISHES: [(&str, &str); 53] = [
    ("X: y", PLAIN),
    ("Accept-Encoding:", PLAIN),
    ("Accept-Encoding: gzip", "gzip"),
    ("Accept-Encoding: br", "br"),
    ("Accept-Encoding: zstd", "zstd"),
    ("Accept-Encoding: GZip", "gzip"),
    ("Accept-Encoding: x-gzip", "gzip"),
    ("accept-encoding: BR", "br"),
    ("Accept-Encoding: deflate", PLAIN),
    ("Accept-Encoding: compress, deflate, dcb", PLAIN),
    // For equal weights, the server's order decides: browsers name gzip first.
    ("Accept-Encoding: gzip, deflate, br, zstd", "br"),
    ("Accept-Encoding: gzip, zstd", "zstd"),
    ("Accept-Encoding: gzip;q=0.3, zstd;q=0.3, br;q=0.3", "br"),
    ("Accept-Encoding: gzip\r\nAccept-Encoding: br", "br"),
    // Weights.
    ("Accept-Encoding: br;q=0.9, gzip;q=1.0", "gzip"),
    ("Accept-Encoding: br;q=0.5, gzip;q=0.501", "gzip"),
    ("Accept-Encoding: br;q=0.29, zstd;q=0.3", "zstd"),
    ("Accept-Encoding: br;q=0.8, zstd;q=0.9, gzip", "gzip"),
    ("Accept-Encoding: gzip;q=0.001", "gzip"),
    ("Accept-Encoding: gzip;q=0", PLAIN),
    ("Accept-Encoding: gzip;q=0.000", PLAIN),
    ("Accept-Encoding: gzip;q=1.000", "gzip"),
    ("Accept-Encoding: gzip; q=0.5", "gzip"),
    ("Accept-Encoding: gzip\t;\tQ=0.5", "gzip"),
    ("Accept-Encoding: br;q=0, zstd;q=0, gzip", "gzip"),
    ("Accept-Encoding: br;q=0.2, gzip;q=0.5, br;q=0.7", "br"),
    // `*` stands for all codings that are not named.
    ("Accept-Encoding: *", "br"),
    ("Accept-Encoding: *;q=0", PLAIN),
    ("Accept-Encoding: br;q=0, *", "zstd"),
    ("Accept-Encoding: br;q=0, zstd;q=0, *", "gzip"),
    ("Accept-Encoding: br;q=0, zstd;q=0, gzip;q=0, *", PLAIN),
    ("Accept-Encoding: gzip;q=0.5, *;q=0.4", "gzip"),
    ("Accept-Encoding: gzip;q=0.5, *;q=0", "gzip"),
    ("Accept-Encoding: gzip;q=0.4, *;q=0.5", "br"),
    // `identity` is a coding, too.
    ("Accept-Encoding: identity", PLAIN),
    ("Accept-Encoding: identity, gzip", "gzip"),
    ("Accept-Encoding: identity;q=0.5, gzip;q=0.5", "gzip"),
    ("Accept-Encoding: identity;q=0.5, gzip;q=0.4", PLAIN),
    ("Accept-Encoding: identity;q=0.5, gzip;q=0.6", "gzip"),
    ("Accept-Encoding: identity;q=0, gzip", "gzip"),
    ("Accept-Encoding: identity;q=0, *", "br"),
    // If nothing is acceptable, the plain file is better than an error.
    ("Accept-Encoding: identity;q=0", PLAIN),
    ("Accept-Encoding: identity;q=0, deflate", PLAIN),
    ("Accept-Encoding: identity;q=0, *;q=0", PLAIN),
    // Malformed members are ignored, and the rest counts.
    ("Accept-Encoding: ,, gzip ,", "gzip"),
    ("Accept-Encoding: g zip, br;q=0.5", "br"),
    ("Accept-Encoding: br;q=2, gzip;q=0.1", "gzip"),
    ("Accept-Encoding: br;q=0.1234, gzip;q=0.1", "gzip"),
    ("Accept-Encoding: br;q=.5, gzip;q=0.1", "gzip"),
    ("Accept-Encoding: br;q=-1, gzip;q=0.1", "gzip"),
    ("Accept-Encoding: br;q, gzip;q=0.1", "gzip"),
    ("Accept-Encoding: br;level=9, gzip;q=0.1", "gzip"),
    ("Accept-Encoding: brotli, gzipped", PLAIN),
];

/// A coding of a file, with its type and its content.
struct Form<'a> {
    content_type: &'a str,
    coding: &'a str,
    body: &'a [u8],
}

impl Form<'_> {
    /// Checks the fields that every answer with this coding has.
    fn expect_fields(&self, response: &Response, what: &str) {
        let coding = Some(self.coding).filter(|coding| *coding != PLAIN);
        assert_eq!(response.field("content-encoding"), coding, "{what}");
        assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{what}");
        let tag = tag(self.body.len(), self.coding);
        assert_eq!(response.field("etag"), Some(&*tag), "{what}");
    }

    /// GET, HEAD, a range and a 304, all with the same `Accept-Encoding`.
    fn expect(&self, client: &mut Client, target: &str, wish: &str) {
        let what = format!("{target} {wish}");
        let length = self.body.len();
        for method in ["GET", "HEAD"] {
            let response = client.ask(method, target, wish);
            assert_eq!(response.status, 200, "{what}");
            self.expect_fields(&response, &what);
            assert_eq!(response.field("content-type"), Some(self.content_type), "{what}");
            assert_eq!(response.field("content-length"), Some(&*length.to_string()), "{what}");
            assert!(method == "HEAD" || response.body == self.body, "{what}");
        }
        let range = client.ask("GET", target, &format!("{wish}\r\nRange: bytes=7-106"));
        assert_eq!(range.status, 206, "{what}");
        self.expect_fields(&range, &what);
        assert_eq!(range.field("content-type"), Some(self.content_type), "{what}");
        let of = format!("bytes 7-106/{length}");
        assert_eq!(range.field("content-range"), Some(&*of), "{what}");
        assert!(range.body == self.body[7..107], "{what}");
        for method in ["GET", "HEAD"] {
            let lines = format!("{wish}\r\nIf-None-Match: {}", tag(length, self.coding));
            let same = client.ask(method, target, &lines);
            assert_eq!((same.status, same.field("content-encoding")), (304, None), "{what}");
            assert_eq!(same.field("vary"), Some("Accept-Encoding"), "{what}");
            let tag = tag(length, self.coding);
            assert_eq!(same.field("etag"), Some(&*tag), "{what}");
        }
    }
}

pub(crate) fn the_weights_of_the_client_choose_the_coding(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, coded(), |_| {});
    let mut client = fixture.connect();
    for (name, content_type, lengths) in &FILES[..2] {
        for (wish, coding) in WISHES {
            let at = CODINGS.iter().position(|(name, _)| *name == coding).unwrap();
            let body = content(lengths[at]);
            Form { content_type, coding, body: &body }.expect(
                &mut client,
                &format!("/{name}"),
                wish,
            );
        }
    }
    drop(client);
    fixture.finish();
}

/// The server's order, restricted to the codings that exist.
pub(crate) fn only_codings_that_exist_are_chosen(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, coded(), |_| {});
    let mut client = fixture.connect();
    for (name, content_type, lengths) in FILES {
        let there = |coding: &str| {
            let at = CODINGS.iter().position(|(name, _)| *name == coding).unwrap();
            Some(lengths[at]).filter(|length| *length > 0)
        };
        for wishes in [
            &["br", "zstd", "gzip"][..],
            &["zstd", "gzip"],
            &["br", "gzip"],
            &["gzip"],
            &["zstd"],
            &["br"],
        ] {
            let coding = wishes.iter().find(|wish| there(wish).is_some()).unwrap_or(&PLAIN);
            let body = content(there(coding).unwrap());
            let target = format!("/{}", name.trim_end_matches("index.html"));
            let wish = format!("Accept-Encoding: {}", wishes.join(", "));
            Form { content_type, coding, body: &body }.expect(&mut client, &target, &wish);
        }
    }
    drop(client);
    fixture.finish();
}

/// Ranges are ranges of the sent bytes, which differ in each coding.
pub(crate) fn ranges_are_of_the_coded_bytes(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, coded(), |_| {});
    let mut client = fixture.connect();
    for (name, content_type, lengths) in &FILES[..2] {
        let target = format!("/{name}");
        for ((coding, _), length) in CODINGS.into_iter().zip(*lengths) {
            let body = content(length);
            let mut get = |lines: &str| {
                client.ask("GET", &target, &format!("Accept-Encoding: {coding}\r\n{lines}"))
            };
            let form = Form { content_type, coding, body: &body };
            let end = get("Range: bytes=-5");
            form.expect_fields(&end, &target);
            assert!(end.status == 206 && end.body == body[length - 5..], "{}", end.head);
            let many = get("Range: bytes=0-1,500-599,-1");
            form.expect_fields(&many, &target);
            let parts = multipart::parts(&many);
            for (part, bytes) in
                parts.iter().zip([&body[..2], &body[500..600], &body[length - 1..]])
            {
                assert_eq!((&*part.content_type, part.range.2), (*content_type, length as u64));
                assert!(part.bytes == bytes, "{target} {coding}");
            }
            assert_eq!(parts.len(), 3);
            let beyond = get(&format!("Range: bytes={length}-"));
            assert_eq!(beyond.status, 416);
            assert_eq!(beyond.field("content-range"), Some(&*format!("bytes */{length}")));
            assert_eq!(beyond.field("content-encoding"), None);
            // A part can only be continued with a part in the same coding.
            for ((other, _), other_length) in CODINGS.into_iter().zip(*lengths) {
                let lines = format!("Range: bytes=7-8\r\nIf-Range: {}", tag(other_length, other));
                let response = get(&lines);
                form.expect_fields(&response, &target);
                assert_eq!(response.status, if other == coding { 206 } else { 200 });
                let lines = format!("If-None-Match: {}", tag(other_length, other));
                // The plain form is accepted, too.
                let is_known = other == coding || other == PLAIN;
                assert_eq!(get(&lines).status, if is_known { 304 } else { 200 });
                let lines = format!("If-Match: {}", tag(other_length, other));
                assert_eq!(get(&lines).status, if other == coding { 200 } else { 412 });
            }
        }
    }
    drop(client);
    fixture.finish();
}

/// A file and its compressed form have the same date, as `brotli -k` and `gzip -k` leave them. The
/// date is then no strong validator (RFC 9110 section 8.8.2.2): a client that has a part of one
/// would get the rest of the other.
pub(crate) fn a_date_does_not_mix_codings(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, coded(), |_| {});
    let mut client = fixture.connect();
    let date = httpdate::fmt_http_date(
        std::time::UNIX_EPOCH + Duration::from_secs(MODIFIED.unsigned_abs()),
    );
    for (name, _, lengths) in &FILES[..2] {
        let target = format!("/{name}");
        for ((coding, _), length) in CODINGS.into_iter().zip(*lengths) {
            let mut get = |lines: &str| {
                client.ask("GET", &target, &format!("Accept-Encoding: {coding}\r\n{lines}"))
            };
            let whole = get("X: y");
            assert_eq!(whole.field("last-modified"), Some(&*date));
            for range in ["bytes=0-3", "bytes=0-0,900-", "bytes=-5"] {
                get(&format!("Range: {range}\r\nIf-Range: {date}")).expect_ok(&content(length));
            }
            // Each coding has a tag of its own, so a tag cannot mix them.
            let own = get(&format!("Range: bytes=0-3\r\nIf-Range: {}", tag(length, coding)));
            assert_eq!(own.status, 206);
            // The other dates ask whether the content is the same, not its bytes.
            for (lines, status) in [
                ("If-Modified-Since", 304),
                ("If-Unmodified-Since", 200),
                ("Range: bytes=0-3\r\nIf-Unmodified-Since", 206),
            ] {
                assert_eq!(get(&format!("{lines}: {date}")).status, status, "{lines}");
            }
        }
    }
    drop(client);
    fixture.finish();
}

pub(crate) fn files_with_similar_names_are_not_codings(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, coded(), |_| {});
    let mut client = fixture.connect();
    let wish = "Accept-Encoding: gzip, br, zstd";
    for (name, stranger) in STRANGERS {
        let response = client.ask("GET", &format!("/{name}"), wish);
        if name == "alone.js" {
            // The plain file has to exist.
            assert_eq!(response.status, 404);
        } else {
            response.expect_ok(&content(700));
            assert_eq!(response.field("content-encoding"), None, "{stranger}");
            assert_eq!(response.field("vary"), None, "{name} exists in one coding only");
        }
    }
    // A compressed file is an ordinary file under its own name, with its own type.
    for (name, content_type, length) in [
        ("x.tar.gz", "application/gzip", 900),
        ("y.tar.gz", "application/gzip", 1200),
        ("app.js.br", "application/octet-stream", 1000),
        ("app.js.zst", "application/zstd", 1100),
    ] {
        let response = client.ask("GET", &format!("/{name}"), wish);
        response.expect_ok(&content(length));
        assert_eq!(response.field("content-type"), Some(content_type), "{name}");
        assert_eq!(response.field("content-encoding"), None, "{name}");
        assert_eq!(response.field("etag"), Some(&*tag(length, PLAIN)), "{name}");
    }
    // Used if it is as new as the file, or newer.
    let later = client.ask("GET", "/later.js", wish);
    later.expect_ok(&content(300));
    assert_eq!(later.field("content-encoding"), Some("gzip"));
    // An empty file is not replaced by a longer one.
    let nothing = client.ask("GET", "/nothing.js", wish);
    nothing.expect_ok(b"");
    assert_eq!(nothing.field("content-encoding"), None);
    drop(client);
    fixture.finish();
}

pub(crate) fn without_precompressed_every_file_is_plain(kind: DriverKind) {
    let fixture = Fixture::start_as(kind, coded(), &["--no-precompressed"]);
    let mut client = fixture.connect();
    for (name, content_type, lengths) in FILES {
        let response = client.ask("GET", &format!("/{name}"), "Accept-Encoding: gzip, br, zstd");
        response.expect_ok(&content(lengths[0]));
        assert_eq!(response.field("content-type"), Some(content_type));
        assert_eq!((response.field("content-encoding"), response.field("vary")), (None, None));
    }
    client.ask("GET", "/app.js.br", "").expect_ok(&content(1000));
    drop(client);
    fixture.finish();
}

/// With files that change, and with new files, whose tags depend on their time alone; links to
/// the old files serve as new names for them.
pub(crate) fn a_coding_comes_and_goes(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, coded(), |setup| {
        setup.http.revalidate_after = Duration::from_millis(20);
    });
    let mut client = fixture.connect();
    for settled in [false, true] {
        let name = format!("{}-{settled}.js", kind.name());
        let path = |suffix: &str| fixture.path(&format!("{name}{suffix}"));
        let make = |suffix: &str, length: usize| {
            if settled {
                symlink(format!("app.js{suffix}"), path(suffix)).unwrap();
            } else {
                fs::write(path(suffix), content(length)).unwrap();
                set_modified(&path(suffix), MODIFIED);
            }
        };
        let mut wait_for = |coding: Option<&str>, length: usize| {
            let target = format!("/{name}");
            eventually("the change is noticed", || {
                let response = client.ask("GET", &target, "Accept-Encoding: gzip, zstd, br");
                let there = response.field("content-encoding");
                if there == coding && response.body.len() == length {
                    response.expect_ok(&content(length));
                    let vary = coding.map(|_| "Accept-Encoding");
                    assert!(settled || response.field("vary") == vary, "{}", response.head);
                    return true;
                }
                false
            });
        };
        make("", 3000);
        wait_for(None, 3000);
        make(".gz", 1200);
        wait_for(Some("gzip"), 1200);
        make(".br", 1000);
        wait_for(Some("br"), 1000);
        fs::remove_file(path(".br")).unwrap();
        wait_for(Some("gzip"), 1200);
        if !settled {
            // A new version of the file, and later of its coding.
            set_modified(&path(""), MODIFIED + 10);
            wait_for(None, 3000);
            set_modified(&path(".gz"), MODIFIED + 20);
            wait_for(Some("gzip"), 1200);
        }
        fs::remove_file(path("")).unwrap();
        eventually("the file is gone", || {
            client.ask("GET", &format!("/{name}"), "Accept-Encoding: gzip").status == 404
        });
        fs::remove_file(path(".gz")).unwrap();
    }
    drop(client);
    fixture.finish();
}
