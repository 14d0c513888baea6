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
use ringd::http::h1::harness::Harness;
use ringd::http::h1::head::{self, FIELDS_MAX};
use ringd::http::semantics::field::Field;
use ringd::http::semantics::negotiate::{self, Coding};
use ringd::http::semantics::range;
use ringd::http::semantics::request::RequestLimits;
use ringd::http::semantics::validator::Validators;
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
            bencher.iter(|| head::parse(black_box(head), &limits).unwrap().unwrap().1);
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
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = heads, targets, choices, exchanges
}
criterion_main!(benches);
