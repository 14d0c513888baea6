//! Replays the fuzz entries of the crate with fixed seeds: random bytes, and requests that were
//! changed a little. What fails here fails again with the same seed.

#[path = "support/streams.rs"]
mod streams;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fastrand::Rng;
use ringd::driver::File;
use ringd::http::{Settings, Site, body, fuzz, request, target};
use ringd::session::Now;
use tempfile::TempDir;

/// Inputs of each sort for each entry.
const INPUTS: usize = 3000;

/// Runs `entry` on random bytes, then on what `make` makes, mutated half of the time.
fn replay(seed: u64, make: impl Fn(&mut Rng) -> Vec<u8>, entry: impl Fn(&[u8])) {
    let mut random = Rng::with_seed(seed);
    for _ in 0..INPUTS {
        let length = random.usize(..200);
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        entry(&bytes);
    }
    for _ in 0..INPUTS {
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
    let mut random = Rng::with_seed(5);
    for _ in 0..INPUTS {
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
    let root = Arc::new(File::open_root(path).unwrap());
    (directory, root)
}
