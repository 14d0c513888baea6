//! The work of ringd per request, measured without sockets: `cargo bench --bench exchange`.
//!
//! This is the work for a request whose file is in the cache: parsing the head, resolving the
//! target, writing the response. The work of the kernel is left out, because it takes many times as
//! long and would hide all differences.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringd::driver::{Chain, File, Links};
use ringd::http::HttpSettings;
use ringd::http::h1::head::{self, FIELDS_MAX, Head};
use ringd::http::h2::hpack::{Decoder, ListLimits, encode_field, encode_status};
use ringd::http::harness::Harness;
use ringd::http::semantics::field::Field;
use ringd::http::semantics::negotiate::{self, Coding};
use ringd::http::semantics::range;
use ringd::http::semantics::request::RequestLimits;
use ringd::http::semantics::validator::Validators;
use ringd::http::site::rewrites::{
    LITERALS_MAX, PATTERNS_MAX, PathRule, PathRules, RulePhase, RuleUse,
};
use ringd::http::site::target;
use ringd::session::{Now, Step};

/// A request of a command-line tool.
const PLAIN: &[u8] = b"GET /robots.txt HTTP/1.1\r\n\
    Host: 127.0.0.1:7890\r\n\
    User-Agent: bench/1.0\r\n\
    Accept: */*\r\n\r\n";

/// A request of a browser.
const BROWSER: &[u8] = b"GET /images/sequence.svg?version=3 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Referer: https://www.example.org/index.html\r\n\
    Sec-Fetch-Dest: image\r\n\
    Sec-Fetch-Mode: no-cors\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Priority: u=5, i\r\n\
    Cache-Control: max-age=0\r\n\r\n";

/// Parsing a head, and for comparison only scanning it with `httparse`. The difference is the cost
/// of interpreting and checking the fields.
fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    for (name, head) in [("plain", PLAIN), ("browser", BROWSER)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        let limits = RequestLimits::default();
        group.bench_function(format!("{name}/parse"), |bencher| {
            bencher.iter(|| {
                let mut parsed = Head::EMPTY;
                let length = head::parse_into(&mut parsed, black_box(head), &limits).unwrap();
                (length, black_box(&parsed).keep_alive)
            });
        });
        group.bench_function(format!("{name}/httparse"), |bencher| {
            bencher.iter(|| {
                let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
                let mut request = httparse::Request::new(&mut []);
                request.parse_with_uninit_headers(black_box(head), &mut fields).unwrap().unwrap()
            });
        });
    }
    group.finish();
}

/// The 12 fields of a browser's first request on a connection, with Huffman codes: 2 of them are
/// in the static table, the others are inserted into the dynamic one. In hexadecimal.
const FIRST: &str = "\
    8287418cf1e3c2e5f23a6ba0ab9ec9bf449660d48e62a18417b5a5a8855d1de6ff3b96c418f540cf7ab5d07f66a2\
    81b0dae053fafc087ed4ce6aadf2a7979c89c6bed4b3bdc0b405c1fda988a4ea76040080010054c26b0b29fcb016\
    80b83f53b5352398ac0fb9a5fa352398ac782c75fd1a91cc562baa6fa352398ac23bcdfefcd347d1a91cc563e7ef\
    b4005defaf963e7efb4005db51932d4b62bbf45abefb4005ddfa90bf7da002ecff50929bd9abfa5242cb40d25fa5\
    23b3e94f684c9f73999d29ad171863c78f0b97c8e9ae82ae7b2660d5485f2bce9a68408a4148b4a549275a42a13f\
    84352398bf408a4148b4a549275a93c85f85a8eb10f623408a4148b4a549275906497f8840e92ac7b0d31aaf";

/// The same fields again, all of them indexes.
const SECOND: &str = "8287c7c6c5c4c3c2c1c0bfbe";

/// The fields of a page.
const ANSWER: [(&[u8], &[u8]); 8] = [
    (b"Server", b"ringd"),
    (b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Length", b"12345"),
    (b"Last-Modified", b"Sun, 06 Nov 1994 08:49:37 GMT"),
    (b"ETag", b"\"2eaa5f03-3039\""),
    (b"Accept-Ranges", b"bytes"),
    (b"X-Content-Type-Options", b"nosniff"),
];

/// Decoding the fields of a request of HTTP/2, and encoding those of an answer.
fn compression(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack");
    let bytes = |text: &str| -> Vec<u8> {
        let places = (0..text.len()).step_by(2);
        places.map(|place| u8::from_str_radix(&text[place..place + 2], 16).unwrap()).collect()
    };
    let (first, second) = (bytes(FIRST), bytes(SECOND));
    for (name, block) in [("decode/first", &first), ("decode/second", &second)] {
        let mut decoder = Decoder::new();
        let mut total = 0;
        let mut visit = |name: &[u8], value: &[u8]| total += name.len() + value.len();
        decoder.decode(&first, ListLimits::default(), &mut visit).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| decoder.decode(black_box(block), ListLimits::default(), &mut visit));
        });
    }
    let mut out = Vec::with_capacity(1024);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode_status(&mut out, black_box(200));
            for (name, value) in black_box(ANSWER) {
                encode_field(&mut out, name, value);
            }
            out.len()
        });
    });
    group.finish();
}

/// Resolving a target that is in normal form, and one that must be decoded and normalised.
fn targets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("target");
    for (name, target) in [
        ("as it is", &b"/images/sequence.svg?version=3"[..]),
        ("encoded", b"/a%20name/../images/./sequence%2Esvg"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| target::resolve(black_box(target)).unwrap().path().len());
        });
    }
    group.finish();
}

/// Rules that do not match a path: what a site with redirects costs each other request. And one
/// that matches.
fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    let target = target::resolve(b"/images/sequence.svg?version=3").expect("it is well-formed");
    let redirect = |from: String| PathRule::redirect(&from, "/new", None, None).expect("it is one");
    let literals = || (0..LITERALS_MAX).map(|number| redirect(format!("/old/page-{number}")));
    let patterns = || (0..PATTERNS_MAX).map(|number| redirect(format!("/old-{number}/:name/*")));
    for (name, rules) in [
        ("10,000 redirects", literals().collect::<Vec<_>>()),
        ("10,000 and 500 with placeholders", literals().chain(patterns()).collect()),
    ] {
        let rules = PathRules::new(rules).expect("not too many").expect("there are some");
        group.bench_function(name, |bencher| {
            bencher.iter(|| rules.find(RulePhase::BeforeFiles, black_box(&target)).is_none());
        });
    }
    let rules = PathRules::new(literals().collect()).expect("not too many").expect("some");
    let path = format!("/old/page-{}?version=3", LITERALS_MAX / 2);
    let target = target::resolve(path.as_bytes()).expect("it is well-formed");
    group.bench_function("one of 10,000 redirects matches", |bencher| {
        bencher.iter(|| {
            let found = rules.find(RulePhase::BeforeFiles, black_box(&target));
            assert!(matches!(found, Some(RuleUse::Redirect { .. })));
        });
    });
    group.finish();
}

/// Selecting ranges and codings from field values.
fn choices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choice");
    let validators = Validators::default();
    for (name, value) in [
        ("one range", &b"bytes=1024-2047"[..]),
        ("eight ranges", b"bytes=0-9,100-109,200-209,300-309,400-409,500-509,600-609,700-709"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (range, no_if_range) = (Field::one(black_box(value)), Field::ABSENT);
                range::select(range, no_if_range, &validators, 1 << 20)
            });
        });
    }
    let available = [Coding::Brotli, Coding::Zstd, Coding::Gzip].into_iter().collect();
    for (name, value) in [
        ("a browser's codings", &b"gzip, deflate, br, zstd"[..]),
        ("weighted codings", b"zstd;q=0.5, br;q=0.1, gzip;q=1.0, *;q=0"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| negotiate::choose(Field::one(black_box(value)).values(), available));
        });
    }
    group.finish();
}

/// Whole exchanges on one connection with a small page in the cache, for several kinds of response.
fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let ask = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n").into_bytes()
    };
    for (name, request) in [
        ("a tool's", PLAIN.to_vec()),
        ("a browser's", BROWSER.to_vec()),
        ("16 pipelined", PLAIN.repeat(16)),
        ("304", ask("/robots.txt", "If-None-Match: *\r\n")),
        ("206", ask("/robots.txt", "Range: bytes=1-9\r\n")),
        ("206 of two ranges", ask("/style.css", "Range: bytes=0-9,1000-1009\r\n")),
        ("404", ask("/nothing/here", "")),
    ] {
        let mut harness = Harness::new(settings());
        let session = harness.begin();
        let mut chain = Chain::new();
        let now = Now::read();
        // The first exchange loads the page into the cache.
        harness.answer(session, now, &request);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                chain.clear();
                let input = black_box(&request[..]);
                let (step, taken) = harness.advance_into(session, now, input, false, &mut chain);
                assert!(matches!(step, Step::Receive(_)), "the page is in the cache");
                assert_eq!(taken, request.len());
                chain.remaining()
            });
        });
    }
    group.finish();
}

/// A site with the pages of this repository, which stay in the cache during the whole run.
fn settings() -> HttpSettings {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("html");
    let root = Arc::new(File::open_root(&root, Links::Beneath).expect("the pages are there"));
    let revalidate_after = Duration::from_secs(3600);
    HttpSettings { revalidate_after, ..HttpSettings::of_root(root) }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .noise_threshold(0.02)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = heads, compression, targets, rules, choices, exchanges
}
criterion_main!(benches);
