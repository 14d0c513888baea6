//! Replays the fuzz entries of the crate with fixed seeds: random bytes, and requests that were
//! changed a little. What fails here fails again with the same seed. For a longer run with other
//! seeds: `RINGD_TEST_INPUTS=1000000 RINGD_TEST_SEED=7 cargo test --release --test fuzz`.

#[path = "support/streams.rs"]
mod streams;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fastrand::Rng;
use ringd::driver::{File, Links};
use ringd::http::{Settings, Site, body, fuzz, request, target};
use ringd::session::Now;
use tempfile::TempDir;

/// Inputs of each sort for each entry; `RINGD_TEST_INPUTS` asks for more.
fn inputs() -> usize {
    number_from("RINGD_TEST_INPUTS").unwrap_or(3000)
}

/// Other seeds than the fixed ones, when `RINGD_TEST_SEED` names one.
fn seeded(seed: u64) -> Rng {
    let offset = number_from("RINGD_TEST_SEED").unwrap_or(0) as u64;
    Rng::with_seed(seed + 1000 * offset)
}

fn number_from(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs `entry` on random bytes, then on what `make` makes, mutated half of the time.
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

#[test]
fn heads() {
    replay(1, streams::request, request::fuzz_head);
}

#[test]
fn targets() {
    let make = |random: &mut Rng| {
        let request = streams::request(random);
        request.split(|byte| *byte == b' ').nth(1).unwrap_or_default().to_vec()
    };
    replay(2, make, target::fuzz_target);
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

#[test]
fn conversations() {
    let (_directory, root) = root();
    let make = |random: &mut Rng| {
        let mut bytes = vec![random.u8(..), random.u8(..)];
        bytes.extend(streams::stream(random, 6));
        bytes
    };
    replay(4, make, |data| fuzz::fuzz_session(&root, data));
}

/// The chunking law, with more cuts than the fuzz entry makes: down to single bytes.
#[test]
fn conversations_in_many_pieces() {
    let (_directory, root) = root();
    let now = Now { instant: Instant::now(), system: UNIX_EPOCH + Duration::from_secs(1 << 32) };
    let mut random = seeded(5);
    for _ in 0..inputs() {
        let stream = streams::stream(&mut random, 12);
        let mut site = Site::new(Settings::new(Arc::clone(&root)));
        let whole = fuzz::converse(&mut site, now, [&stream[..]]);
        let pieces = fuzz::converse(&mut site, now, streams::split(&mut random, &stream));
        assert!(whole == pieces, "{:?}", String::from_utf8_lossy(&stream));
    }
}

/// A small directory to serve.
fn root() -> (TempDir, Arc<File>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (name, length) in [("index.html", 10), ("small.txt", 100), ("over.bin", 9000)] {
        fs::write(path.join(name), vec![b'x'; length]).unwrap();
    }
    fs::create_dir(path.join("dir")).unwrap();
    let root = Arc::new(File::open_root(path, Links::Beneath).unwrap());
    (directory, root)
}
