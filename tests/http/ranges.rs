//! Ranges: parts of files, one or several (RFC 9110 section 14).

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;

use fastrand::Rng;
use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::support::client::{Client, Response, request};
use crate::support::fixture::Fixture;
use crate::support::multipart::{self, content_range};
use crate::support::root::{self, content};

/// The length of the file: `exact.bin`, which may be kept in memory.
const LENGTH: u64 = 8192;

/// The result of a `Range`: the first and the last byte of each part.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Whole,
    One(u64, u64),
    Many(&'static [(u64, u64)]),
    Nothing,
}
use Expect::{Many, Nothing, One, Whole};

const LAST: u64 = LENGTH - 1;

const ONE: [(&str, Expect); 47] = [
    ("bytes=0-", One(0, LAST)),
    ("bytes=0-8191", One(0, LAST)),
    ("bytes=0-0", One(0, 0)),
    ("bytes=1-1", One(1, 1)),
    ("bytes=100-199", One(100, 199)),
    ("bytes=8191-8191", One(LAST, LAST)),
    ("bytes=8191-", One(LAST, LAST)),
    ("bytes=8190-8192", One(8190, LAST)),
    ("bytes=100-99999999999999999999999999", One(100, LAST)),
    ("bytes=0-18446744073709551615", One(0, LAST)),
    ("bytes=-1", One(LAST, LAST)),
    ("bytes=-8192", One(0, LAST)),
    ("bytes=-8193", One(0, LAST)),
    ("bytes=-99999999999999999999999999", One(0, LAST)),
    ("bytes=00000000000000000000000000007-0008", One(7, 8)),
    ("BYTES=0-3", One(0, 3)),
    ("bytes=0-3,", One(0, 3)),
    ("bytes=, ,0-3", One(0, 3)),
    ("bytes=0-3,9000-", One(0, 3)),
    ("bytes=9000-9001, -4", One(8188, LAST)),
    ("bytes=-0,5-6", One(5, 6)),
    ("bytes=-0", Nothing),
    ("bytes=8192-", Nothing),
    ("bytes=8192-9000", Nothing),
    ("bytes=9000-,10000-10001,-0", Nothing),
    ("bytes=18446744073709551616-", Nothing),
    ("bytes=99999999999999999999999999-99999999999999999999999999", Nothing),
    // A range that is not understood or not valid is ignored (sections 14.1.1 and 14.2).
    ("bytes=5-2", Whole),
    ("bytes=99999999999999999999999999-99999999999999999999999998", Whole),
    ("bytes=0-3,5-2", Whole),
    ("bytes=abc", Whole),
    ("bytes=0-3,x", Whole),
    ("bytes=-", Whole),
    ("bytes=", Whole),
    ("bytes=,", Whole),
    ("bytes", Whole),
    ("", Whole),
    ("=0-3", Whole),
    ("0-3", Whole),
    ("bytes 0-3", Whole),
    ("bytes=0-3-5", Whole),
    ("bytes=+0-3", Whole),
    ("bytes=0x0-3", Whole),
    ("bytes=0-3;q=1", Whole),
    ("items=0-3", Whole),
    ("seconds=0-3", Whole),
    ("bytes=0-3\r\nRange: bytes=5-6", Whole),
];

const MANY: [(&str, Expect); 16] = [
    ("bytes=0-9,100-109", Many(&[(0, 9), (100, 109)])),
    ("bytes=100-109,0-9", Many(&[(100, 109), (0, 9)])),
    ("bytes=0-0,-1", Many(&[(0, 0), (LAST, LAST)])),
    ("bytes=0-0, 9000-, 500-600 ,-1", Many(&[(0, 0), (500, 600), (LAST, LAST)])),
    ("bytes=0-9,90-99", Many(&[(0, 9), (90, 99)])),
    // Ranges near each other are merged, and a single part is not sent as multipart (15.3.7.2).
    ("bytes=0-9,89-99", One(0, 99)),
    ("bytes=0-9,10-19", One(0, 19)),
    ("bytes=0-99,50-149", One(0, 149)),
    ("bytes=50-149,0-99", One(0, 149)),
    ("bytes=0-9,5-5,8-12,3-4", One(0, 12)),
    ("bytes=0-9,1000-1009,5-14,1005-1014", Many(&[(0, 14), (1000, 1014)])),
    ("bytes=0-9,200-209,100-109", Many(&[(0, 9), (200, 209), (100, 109)])),
    ("bytes=0-9,150-159,80-89", One(0, 159)),
    // More bytes than the file has is abuse: the whole file is sent.
    ("bytes=0-,0-,0-,0-", Whole),
    ("bytes=0-8191,0-0", Whole),
    ("bytes=0-4095,4096-8191", One(0, LAST)),
];

/// Values with the maximum number of parts, and with more.
fn crowds() -> Vec<(String, Vec<(u64, u64)>)> {
    let list = |count: u64, step: u64| {
        let ranges: Vec<_> = (0..count).map(|at| (at * step, at * step + 1)).collect();
        let specs: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        (format!("bytes={}", specs.join(",")), ranges)
    };
    let many = |count| list(count, 100);
    let near = list(60, 5);
    vec![
        many(16),
        (many(17).0, Vec::new()),
        (many(60).0, Vec::new()),
        (near.0, vec![(0, 59 * 5 + 1)]),
        (list(1000, 2).0, Vec::new()),
        (format!("bytes={}", vec!["0-0"; 3000].join(",")), Vec::new()),
    ]
}

fn check(client: &mut Client, value: &str, ranges: Option<&[(u64, u64)]>, body: &[u8]) {
    let response = client.ask("GET", "/exact.bin", &format!("Range: {value}"));
    let shown = &value[..value.len().min(80)];
    let tag = response.field("etag").map(str::to_owned);
    match ranges {
        None => {
            assert_eq!(response.status, 416, "{shown}");
            assert_eq!(response.field("content-range"), Some("bytes */8192"), "{shown}");
            assert!(tag.is_none() && !response.body.is_empty());
            return;
        }
        Some([]) => {
            response.expect_ok(body);
            assert_eq!(response.field("content-range"), None, "{shown}");
        }
        Some([(first, last)]) => {
            assert_eq!(response.status, 206, "{shown}");
            let value = format!("bytes {first}-{last}/8192");
            assert_eq!(response.field("content-range"), Some(&*value), "{shown}");
            assert!(response.body == body[*first as usize..=*last as usize], "{shown}");
            assert_eq!(response.field("content-type"), Some("application/octet-stream"));
        }
        Some(ranges) => {
            assert_eq!(response.status, 206, "{shown}");
            assert_eq!(response.field("content-range"), None, "each part has its own");
            expect_parts(&response, ranges, body);
        }
    }
    assert!(tag.is_some_and(|tag| tag.starts_with('"')), "{shown}");
    assert_eq!(response.field("accept-ranges"), Some("bytes"));
    assert!(response.field("last-modified").is_some());
}

fn expect_parts(response: &Response, ranges: &[(u64, u64)], body: &[u8]) {
    let parts = multipart::parts(response);
    let found: Vec<_> = parts.iter().map(|part| (part.range.0, part.range.1)).collect();
    assert_eq!(found, ranges);
    for part in parts {
        let (first, last, length) = part.range;
        assert_eq!((part.content_type.as_str(), length), ("application/octet-stream", LENGTH));
        assert!(part.bytes == body[first as usize..=last as usize], "{first}-{last}");
    }
}

/// From memory and from the file.
pub(crate) fn ranges_arrive_byte_for_byte(kind: DriverKind) {
    let body = content(LENGTH as usize);
    for memory_file_max in [LENGTH, 0] {
        let fixture = Fixture::start_over(kind, root::settled(), |setup| {
            setup.http.memory_file_max = memory_file_max;
        });
        let mut client = fixture.connect();
        for (value, expect) in ONE.into_iter().chain(MANY) {
            let one;
            let ranges: Option<&[(u64, u64)]> = match expect {
                Whole => Some(&[]),
                One(first, last) => {
                    one = [(first, last)];
                    Some(&one)
                }
                Many(ranges) => Some(ranges),
                Nothing => None,
            };
            check(&mut client, value, ranges, &body);
            // The field applies to GET only (section 14.2).
            let head = client.ask("HEAD", "/exact.bin", &format!("Range: {value}"));
            assert_eq!((head.status, head.field("content-range")), (200, None));
            assert_eq!(head.field("content-length"), Some("8192"));
        }
        for (value, ranges) in crowds() {
            check(&mut client, &value, Some(&ranges), &body);
        }
        // An empty file has no ranges.
        for value in ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=5-", "bytes=-0"] {
            let lines = format!("Range: {value}");
            client.ask("GET", "/empty.txt", &lines).expect_ok(b"");
        }
        drop(client);
        fixture.finish();
    }
}

/// A range if the client's copy is current, and otherwise the whole file.
pub(crate) fn if_range_guards_ranges(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, root::settled(), |_| {});
    let mut client = fixture.connect();
    let whole = client.ask("GET", "/exact.bin", "");
    let tag = whole.field("etag").unwrap();
    let modified = httpdate::parse_http_date(whole.field("last-modified").unwrap()).unwrap();
    let second = std::time::Duration::from_secs(1);
    let date = httpdate::fmt_http_date;
    let cases = [
        (tag.to_owned(), 206),
        (date(modified), 206),
        (format!("W/{tag}"), 200),
        ("\"x\"".to_owned(), 200),
        (format!("{tag}, {tag}"), 200),
        (tag.trim_matches('"').to_owned(), 200),
        ("*".to_owned(), 200),
        (String::new(), 200),
        (date(modified - second), 200),
        (date(modified + second), 200),
        ("yesterday".to_owned(), 200),
    ];
    for (value, status) in &cases {
        let lines = format!("Range: bytes=5-6\r\nIf-Range: {value}");
        let response = client.ask("GET", "/exact.bin", &lines);
        assert_eq!(response.status, *status, "{value}");
        // An unsatisfiable range is not 416 if the validator does not match.
        let lines = format!("If-Range: {value}\r\nRange: bytes=9000-");
        let status = if *status == 206 { 416 } else { 200 };
        assert_eq!(client.ask("GET", "/exact.bin", &lines).status, status, "{value}");
        // Without `Range`, it is ignored.
        let lines = format!("If-Range: {value}");
        client.ask("GET", "/exact.bin", &lines).expect_ok(&whole.body);
    }
    let lines = format!("Range: bytes=0-0,500-500\r\nIf-Range: {tag}");
    let many = client.ask("GET", "/exact.bin", &lines);
    expect_parts(&many, &[(0, 0), (500, 500)], &whole.body);
    // The boundary cannot be predicted.
    let again = client.ask("GET", "/exact.bin", &lines);
    assert_ne!(multipart::boundary(&many), multipart::boundary(&again));
    assert_eq!(many.body.len(), again.body.len());
    drop(client);
    fixture.finish();
}

const GIB: u64 = 1 << 30;
const FAR: u64 = 6 * GIB + 77;

/// A file that consists mostly of a hole.
fn far() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let file = fs::File::create(root.path().join("far.bin")).unwrap();
        file.set_len(FAR).unwrap();
        for at in [5 * GIB, 4 * GIB - 5] {
            file.write_all_at(&at_offset(at), at).unwrap();
        }
        file.write_all_at(b"the end", FAR - 7).unwrap();
        root
    });
    ROOT.path()
}

fn at_offset(offset: u64) -> [u8; 10] {
    let mut bytes = [0; 10];
    write!(&mut bytes[..], "{offset}").unwrap();
    bytes
}

pub(crate) fn ranges_beyond_four_gibibytes(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, far(), |_| {});
    let mut client = fixture.connect();
    let (early, late) = (4 * GIB - 5, 5 * GIB);
    let spec = |at: u64| format!("{at}-{}", at + 9);
    for (value, at, bytes) in [
        (spec(late), late, &at_offset(late)[..]),
        (spec(early), early, &at_offset(early)),
        ("-7".to_owned(), FAR - 7, b"the end"),
        (format!("{}-", FAR - 7), FAR - 7, b"the end"),
        (format!("{}-{}", FAR - 7, u64::MAX), FAR - 7, b"the end"),
    ] {
        let response = client.ask("GET", "/far.bin", &format!("Range: bytes={value}"));
        assert_eq!(response.status, 206, "{value}");
        let range = content_range(response.field("content-range").unwrap());
        assert_eq!(range, (at, at + bytes.len() as u64 - 1, FAR));
        assert_eq!(response.body, bytes, "{value}");
    }
    let lines = format!("Range: bytes={},{},-7", spec(late), spec(early));
    let response = client.ask("GET", "/far.bin", &lines);
    let parts = multipart::parts(&response);
    let bytes: Vec<_> = parts.iter().map(|part| &part.bytes[..]).collect();
    assert_eq!(bytes, [&at_offset(late)[..], &at_offset(early), b"the end"]);
    assert_eq!(parts[0].range, (late, late + 9, FAR));
    let beyond = client.ask("GET", "/far.bin", &format!("Range: bytes={FAR}-"));
    assert_eq!(beyond.field("content-range"), Some(&*format!("bytes */{FAR}")));
    let head = client.ask("HEAD", "/far.bin", "");
    assert_eq!(head.field("content-length"), Some(&*FAR.to_string()));
    drop(client);
    fixture.finish();
}

/// Many large parts for a slow reader: their order and length are right. The ranges are drawn
/// with a fixed seed.
pub(crate) fn large_parts_arrive_in_order(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, root::settled(), |_| {});
    let body = content(1 << 20);
    let mut random = Rng::with_seed(11);
    let mut client = fixture.connect_narrow();
    let mut wishes = Vec::new();
    let mut wire = String::new();
    for _ in 0..12 {
        // One range in each piece of 64 KiB, so that none are merged.
        let mut ranges: Vec<(u64, u64)> = (0..random.u64(2..=16))
            .map(|piece| {
                let first = piece * 65_536 + random.u64(..10_000);
                (first, first + random.u64(..50_000))
            })
            .collect();
        random.shuffle(&mut ranges);
        let specs: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let lines = format!("Range: bytes={}", specs.join(", "));
        wire += &request("GET", "/large.bin", &lines);
        wire += &request("GET", "/small.txt", "Range: bytes=3-4");
        wishes.push(ranges);
    }
    client.send(wire);
    for ranges in wishes {
        let parts = multipart::parts(&client.read_response());
        assert_eq!(parts.len(), ranges.len());
        for (part, (first, last)) in parts.iter().zip(ranges) {
            assert_eq!(part.range, (first, last, 1 << 20));
            assert!(part.bytes == body[first as usize..=last as usize], "{first}-{last}");
        }
        assert_eq!(client.read_response().body, content(20)[3..=4]);
    }
    drop(client);
    fixture.finish();
}
