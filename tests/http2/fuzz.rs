//! Replays the fuzz entry of HTTP/2 with fixed seeds and with its corpus. A failure repeats with
//! the same seed. For a longer run with other seeds:
//! `RINGD_TEST_INPUTS=1000000 RINGD_TEST_SEED=7 cargo test --release --test http2 fuzz`.

use std::fs;

use fastrand::Rng;

use crate::entry::{compare, fuzz_h2};
use crate::h2::{
    block, data, flag, frame, get, kind, lying_frame, opening, ping, post, priority_update,
    request_block, reset, setting, settings, window_update,
};
use crate::sample::root;

/// How many inputs there are; `RINGD_TEST_INPUTS` sets another number.
fn inputs() -> usize {
    number_from("RINGD_TEST_INPUTS").unwrap_or(1500)
}

fn number_from(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seeded(seed: u64) -> Rng {
    Rng::with_seed(seed + 1000 * number_from("RINGD_TEST_SEED").unwrap_or(0) as u64)
}

/// A frame of a client, mostly one that is allowed. `next` is the number of its next stream.
fn any_frame(random: &mut Rng, next: &mut u32) -> Vec<u8> {
    const PATHS: [&str; 7] =
        ["/small.txt", "/over.bin", "/page.css", "/none", "/", "/dir/", "/bare"];
    let path = PATHS[random.usize(..PATHS.len())];
    let old = random.u32(..*next + 1) | 1;
    let number = match random.u8(..20) {
        0 => random.u32(..1 << 31),
        1 => 0,
        _ => random.u32(1..70_000),
    };
    let mut begin = || {
        *next += 2;
        *next - 2
    };
    match random.u8(..24) {
        0..=6 => get(begin(), path),
        7 => {
            let method = ["HEAD", "OPTIONS", "POST", "CONNECT", "BREW"][random.usize(..5)];
            frame(kind::HEADERS, flag::WHOLE, begin(), &request_block(method, path, &[]))
        }
        8 => {
            let fields =
                [("range", "bytes=5-90"), ("accept-encoding", "br"), ("priority", "u=1, i")];
            let field = fields[random.usize(..3)];
            frame(kind::HEADERS, flag::WHOLE, begin(), &request_block("GET", path, &[field]))
        }
        9 | 10 => post(begin(), &[]),
        11 => post(begin(), &[("content-length", "5")]),
        12 | 13 => data(old, &vec![0; random.usize(..200)], random.bool()),
        14 => frame(kind::HEADERS, flag::WHOLE, old, &block(&[("x-a", "b")])),
        15 => window_update(0, number),
        16 => window_update(old, number),
        17 => settings(&[(setting::INITIAL_WINDOW_SIZE, number)]),
        18 => ping([random.u8(..); 8]),
        19 => priority_update(old, ["u=0", "u=7, i", "?", ""][random.usize(..4)]),
        20 if random.u8(..4) == 0 => reset(old, 8),
        21 => {
            let whole = request_block("GET", path, &[]);
            let (front, back) = whole.split_at(random.usize(..whole.len()));
            let stream = begin();
            let first = frame(kind::HEADERS, flag::END_STREAM, stream, front);
            [first, frame(kind::CONTINUATION, flag::END_HEADERS, stream, back)].concat()
        }
        22 if random.u8(..8) == 0 => {
            let payload: Vec<u8> = (0..random.usize(..20)).map(|_| random.u8(..)).collect();
            let kind = random.u8(..18);
            lying_frame(payload.len(), kind, random.u8(..), random.u32(..8), &payload)
        }
        _ => frame(random.u8(0x20..), 0, 0, &[0; 3]),
    }
}

fn conversation(random: &mut Rng, frames_max: usize) -> Vec<u8> {
    let mut next = 1;
    let mut bytes = Vec::new();
    for _ in 0..random.usize(..frames_max) {
        bytes.extend(any_frame(random, &mut next));
    }
    bytes
}

#[test]
fn conversations() {
    let (_directory, root) = root();
    let mut random = seeded(21);
    for number in 0..inputs() {
        let mut data = vec![random.u8(..), random.u8(..), random.u8(..) & 2];
        match number % 4 {
            0 => data.extend((0..random.usize(..200)).map(|_| random.u8(..))),
            _ => data.extend(conversation(&mut random, 40)),
        }
        if number % 4 == 1 {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..data.len());
                data[at] = random.u8(..);
            }
        }
        fuzz_h2(&root, &data);
    }
}

/// With more cuts than the fuzz entry makes, down to single bytes.
#[test]
fn conversations_in_many_pieces() {
    let (_directory, root) = root();
    let mut random = seeded(22);
    for _ in 0..inputs() / 4 {
        let whole = [opening(&[]), conversation(&mut random, 30)].concat();
        let size = [1, 9, 100][random.usize(..3)];
        let pieces: Vec<&[u8]> = whole.chunks(size).collect();
        compare(&root, &whole, &pieces, random.bool());
    }
}

/// The inputs that the fuzzer in `tests/fuzz/` has kept, because each covers code that no other
/// covers.
#[test]
fn the_corpus() {
    let (_directory, root) = root();
    let inputs = fs::read_dir("tests/fuzz/corpus/h2").unwrap();
    let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
    assert!(!paths.is_empty(), "the corpus is empty");
    for path in paths {
        println!("{}", path.display());
        fuzz_h2(&root, &fs::read(&path).unwrap());
    }
}
