//! Replays the fuzz entries of the crate with fixed seeds: random bytes, and slightly changed
//! requests. A failure repeats with the same seed. For a longer run with other seeds:
//! `RINGD_TEST_INPUTS=1000000 RINGD_TEST_SEED=7 cargo test --release --test http fuzz`.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fastrand::Rng;
use ringd::http::h1::{body, head};
use ringd::http::h2::hpack;
use ringd::http::harness::{self, Harness};
use ringd::http::semantics::{condition, date, negotiate, range};
use ringd::http::site::{listing, rewrites, target};
use ringd::http::{Content, HttpSettings};
use ringd::secured::toy::{HELLO, Writer};
use ringd::session::Now;

use crate::support::sample::root;
use crate::support::streams;

/// How many inputs of each sort an entry gets; `RINGD_TEST_INPUTS` sets another number.
fn inputs() -> usize {
    number_from("RINGD_TEST_INPUTS").unwrap_or(3000)
}

/// A fixed seed, moved by `RINGD_TEST_SEED` if that is set.
fn seeded(seed: u64) -> Rng {
    let offset = number_from("RINGD_TEST_SEED").unwrap_or(0) as u64;
    Rng::with_seed(seed + 1000 * offset)
}

fn number_from(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs `entry` on random bytes, then on inputs from `make`, of which half are mutated.
fn replay(seed: u64, make: impl Fn(&mut Rng) -> Vec<u8>, entry: impl Fn(&[u8])) {
    let mut random = seeded(seed);
    for _ in 0..inputs() {
        let length = random.usize(..200);
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        entry(&bytes);
    }
    for _ in 0..inputs() {
        let mut bytes = make(&mut random);
        if random.bool() {
            streams::mutate(&mut random, &mut bytes);
        }
        entry(&bytes);
    }
}

/// Runs an entry on the inputs that the fuzzer in `tests/fuzz/` has kept, because each covers
/// code that no other covers.
fn replay_corpus(name: &str, entry: impl Fn(&[u8])) {
    let folder = format!("tests/fuzz/corpus/{name}");
    let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut count = 0;
    for input in inputs {
        let path = input.unwrap().path();
        println!("{}", path.display());
        entry(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "{folder} is empty");
}

#[test]
fn the_corpus() {
    let (_directory, root) = root();
    replay_corpus("proxy_header", ringd::clients::fuzz_proxy_header);
    replay_corpus("forwarded", ringd::clients::fuzz_forwarded);
    replay_corpus("accept", negotiate::fuzz_accept);
    replay_corpus("accept_encoding", negotiate::fuzz_accept_encoding);
    replay_corpus("body", body::fuzz_discard);
    replay_corpus("condition", condition::fuzz_condition);
    replay_corpus("config", ringd::cli::fuzz_config);
    replay_corpus("date", date::fuzz_date);
    replay_corpus("head", head::fuzz_head);
    replay_corpus("hpack", hpack::fuzz_hpack);
    replay_corpus("listing_name", listing::fuzz_listing_name);
    replay_corpus("listing_query", listing::fuzz_listing_query);
    replay_corpus("range", range::fuzz_range);
    replay_corpus("records", ringd::secured::fuzz_toy);
    replay_corpus("rewrite", rewrites::fuzz_rewrite);
    replay_corpus("session", |data| harness::fuzz_session(&root, data));
    replay_corpus("target", target::fuzz_target);
}

#[test]
fn heads() {
    replay(1, streams::request, head::fuzz_head);
}

#[test]
fn targets() {
    let make = |random: &mut Rng| {
        let request = streams::request(random);
        request.split(|byte| *byte == b' ').nth(1).unwrap_or_default().to_vec()
    };
    replay(2, make, target::fuzz_target);
}

/// A pattern, a destination, and the target of a request.
#[test]
fn rewrites() {
    let make = |random: &mut Rng| {
        let froms = ["/*", "/:one/*", "/a/:one", "/a/:one/:two/*"];
        let tos =
            ["/:splat", "/:splat/:one", "/:one:splat", "https://example.com/:splat?:one", "/x"];
        let (from, to) = (random.choice(froms).unwrap(), random.choice(tos).unwrap());
        let request = streams::request(random);
        let target = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        [from.as_bytes(), b"\n", to.as_bytes(), b"\n/a", target].concat()
    };
    replay(23, make, rewrites::fuzz_rewrite);
}

#[test]
fn bodies() {
    let make = |random: &mut Rng| {
        let mut bytes = vec![random.u8(..), random.u8(..)];
        for _ in 0..random.usize(..4) {
            let length = random.usize(..40);
            bytes.extend_from_slice(format!("{length:X}\r\n").as_bytes());
            bytes.extend((0..length).map(|_| random.u8(..)));
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    replay(3, make, body::fuzz_discard);
}

/// Blocks of size updates, fields and parts of fields; `fuzz_hpack` compares the decoders.
#[test]
fn header_blocks() {
    const PARTS: [&[u8]; 16] = [
        b"\x20",
        b"\x3f\x45",
        b"\x82",
        b"\xbe",
        b"\xbf",
        b"\xc0",
        b"\x40\x01a\x01b",
        b"\x40\x83\x1a\xcb\x7f\x05value",
        b"\x7e\x02no",
        b"\x7f\x00\x82\x18\xc7",
        b"\x0f\x2f\x81\x1f",
        b"\x10\x00\x84\xff\xff\xf0\xff",
        b"\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x44\x1e/a/path/of/thirty/characters/",
        b"\xff\x80\x80\x80",
        b"\x01",
    ];
    let make = |random: &mut Rng| {
        let mut bytes = vec![random.u8(..)];
        for _ in 0..random.usize(1..5) {
            // Parts that are no whole fields, the last ones, would end most inputs early.
            let parts = if random.u8(..8) == 0 { PARTS.len() } else { PARTS.len() - 2 };
            let parts = (0..random.usize(..7)).map(|_| PARTS[random.usize(..parts)]);
            let block = parts.collect::<Vec<_>>().concat();
            bytes.push(block.len() as u8);
            bytes.extend(block);
        }
        bytes
    };
    replay(18, make, hpack::fuzz_hpack);
}

#[test]
fn records() {
    let make = |random: &mut Rng| {
        let (mut bytes, mut writer) = (vec![random.u8(..)], Writer::default());
        writer.write(HELLO, &mut bytes);
        for _ in 0..random.usize(..6) {
            let length = [0, 1, 30][random.usize(..3)];
            writer.write(&vec![b'x'; length], &mut bytes);
        }
        bytes
    };
    replay(17, make, ringd::secured::fuzz_toy);
}

#[test]
fn listing_queries() {
    let make = |random: &mut Rng| {
        let parts = [
            "sort", "order", "page", "=", "&", "name", "size", "time", "asc", "desc", "1", "2",
            "200000", "200001", "%", "+",
        ];
        let parts = (0..random.usize(..12)).map(|_| random.choice(parts).unwrap());
        parts.collect::<String>().into_bytes()
    };
    replay(6, make, listing::fuzz_listing_query);
}

#[test]
fn listing_names() {
    let make = |random: &mut Rng| {
        let parts = "< > \" ' & &amp; % %2e ? # : \\ . .. a ä \u{202e} \u{2069} \u{1f600} \u{fffe}";
        let parts: Vec<&str> = parts.split(' ').chain([" ", "\n", "\u{85}"]).collect();
        let parts = (0..random.usize(..12)).map(|_| parts[random.usize(..parts.len())]);
        parts.collect::<String>().into_bytes()
    };
    replay(7, make, listing::fuzz_listing_name);
}

#[test]
fn conversations() {
    let (_directory, root) = root();
    let make = |random: &mut Rng| {
        let mut bytes = vec![random.u8(..), random.u8(..)];
        bytes.extend(streams::stream(random, 6));
        bytes
    };
    replay(4, make, |data| harness::fuzz_session(&root, data));
}

#[test]
fn conditions() {
    const VALUES: [&str; 14] = [
        "*",
        "\"a\"",
        "W/\"a\"",
        "\"a,b\"",
        "\"b\", \"a\"",
        " ,W/\"c\",\t\"a\" ,",
        "\"a",
        "junk, \"a\"",
        "",
        "Sun, 06 Nov 1994 08:49:36 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:38 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 2094 08:49:37 GMT",
    ];
    let make = |random: &mut Rng| {
        let mut bytes = vec![random.u8(..)];
        for _ in 0..random.usize(..6) {
            bytes.push(b"MUNSx"[random.usize(..5)]);
            bytes.extend_from_slice(VALUES[random.usize(..VALUES.len())].as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    };
    replay(6, make, condition::fuzz_condition);
}

#[test]
fn ranges() {
    let make = |random: &mut Rng| {
        let used = random.u8(..8);
        let mut bytes = vec![used];
        bytes.extend((0..7).map(|_| random.u8(..)));
        let top = 1 << (8 * u32::from(used)).min(63);
        let specs: Vec<String> = (0..random.usize(1..20))
            .map(|_| {
                let (first, width) = (random.u64(..top), random.u64(..1 + top / 16));
                match random.u8(..20) {
                    0 => String::new(),
                    1 => format!("-{width}"),
                    2 => format!("{first}-"),
                    3 => format!("{first}-{width}"),
                    4 => format!("{first}0000000000000000000-"),
                    5 => format!("0{first}-{first}0000000000000000000"),
                    _ => format!("{first}-{}", first + width),
                }
            })
            .collect();
        let separator = [",", ", ", ",,\t"][random.usize(..3)];
        bytes.extend_from_slice(format!("bytes={}", specs.join(separator)).as_bytes());
        bytes
    };
    replay(7, make, range::fuzz_range);
}

#[test]
fn dates() {
    let make = |random: &mut Rng| {
        let clock = random.u64(..1 << 33);
        let mut bytes = clock.to_be_bytes()[3..].to_vec();
        let seconds = random.u64(..1 << 33);
        bytes.extend_from_slice(date::forms(seconds)[random.usize(..3)].as_bytes());
        bytes
    };
    replay(8, make, date::fuzz_date);
}

/// The answers do not depend on how the input is cut: here with more cuts than the fuzz entry
/// makes, down to single bytes.
#[test]
fn conversations_in_many_pieces() {
    let (_directory, root) = root();
    let now = Now { instant: Instant::now(), system: UNIX_EPOCH + Duration::from_secs(1 << 32) };
    let mut random = seeded(5);
    for _ in 0..inputs() {
        let stream = streams::stream(&mut random, 12);
        let content = Content {
            listing: random.bool(),
            clean_urls: random.bool(),
            spa: random.bool().then(|| b"index.html".into()),
            ..Content::default()
        };
        let settings = HttpSettings::of_root(Arc::clone(&root)).with_content(content);
        let mut harness = Harness::new(settings);
        let whole = harness::converse(&mut harness, now, [&stream[..]]);
        let pieces = harness::converse(&mut harness, now, streams::split(&mut random, &stream));
        assert!(whole == pieces, "{:?}", String::from_utf8_lossy(&stream));
    }
}

#[test]
fn accepted_codings() {
    let words = [
        "br",
        "zstd",
        "gzip",
        "x-gzip",
        "identity",
        "*",
        "deflate",
        "GZip",
        ";q=0",
        ";q=1",
        ";q=0.5",
        "; Q=0.500",
        ";q=0.001",
        ";q=1.",
        ";q=2",
        ";q=.5",
        ";q",
        ";",
        " ",
        "\t",
    ];
    replay(6, |random| list(random, &words), negotiate::fuzz_accept_encoding);
}

#[test]
fn accepted_types() {
    let words = [
        "text/html",
        "application/json",
        "application/xhtml+xml",
        "text/*",
        "application/*",
        "*/*",
        "Text/HTML",
        "a/b",
        ";q=0",
        ";q=1",
        ";q=0.5",
        "; Q=0.500",
        ";q=1.001",
        ";v=1",
        ";v=\"a,b;c\\\"\"",
        ";v",
        ";",
        " ",
        "\"",
    ];
    replay(7, |random| list(random, &words), negotiate::fuzz_accept);
}

/// A byte, then a list of members that are made of words; some lines end in the middle of the
/// list.
fn list(random: &mut Rng, words: &[&str]) -> Vec<u8> {
    let mut list = vec![random.u8(..)];
    let members_max = if random.u8(..20) == 0 { 90 } else { 6 };
    for _ in 0..random.usize(..members_max) {
        list.extend_from_slice(words[random.usize(..words.len())].as_bytes());
        for _ in 0..random.usize(..3) {
            list.extend_from_slice(words[random.usize(..words.len())].as_bytes());
        }
        list.push(if random.u8(..8) == 0 { b'\n' } else { b',' });
    }
    list
}

/// Lines of configuration files; `fuzz_config` gets them in any order.
const LINES: [&str; 34] = [
    "[server]",
    "[[listen]]",
    "[admin]",
    "[site-defaults]",
    "[[site]]",
    "workers = 2",
    "workers = \"${N}\"",
    "idle-timeout = \"3s\"",
    "idle_timeout = 3",
    "cache-bytes = 0xff",
    "watch = false",
    "listen = \"127.0.0.1:1\"",
    "listen = [\"a\", \"b\"]",
    "listen = \"unix:/a\"",
    "address = [\":1\", \"unix:a\"]",
    "name = \"a\"",
    "name = \"${long:-b}\"",
    "hosts = [\"a\", \"*.b.c\"]",
    "hosts = \"b\"",
    "default = true",
    "root = \".\"",
    "root = \"/$$\"",
    "include = \"*\"",
    "cors = true",
    "precompressed = false",
    "spa = true",
    "spa = false",
    "index = [\"a\",\"b\"]",
    "mime = { a = \"text/x\" }",
    "error-page = [{ 404 = \"/a\" }, \"403=/b\"]",
    "cache-control = [{ glob = \"a=b\", value = \"no-cache\" }]",
    "header = [{ glob = \"*\", set = { A = \"\\u0009b\", \"C\" = [\"d\", \"\"] } }]",
    "symlinks = \"never\" # a comment",
    "a.b.c = [[[{}]]]",
];

#[test]
fn configurations() {
    let make = |random: &mut Rng| {
        // Most files should be valid, so they begin with a site.
        let begin = ["[[site]]\nroot = \".\"\n", ""][usize::from(random.u8(..4) == 0)];
        let lines = (0..random.usize(..8)).map(|_| LINES[random.usize(..LINES.len())]);
        (begin.to_owned() + &lines.collect::<Vec<_>>().join("\n")).into_bytes()
    };
    replay(15, make, ringd::cli::fuzz_config);
}
