//! Files that change while an op uses them.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use ringd::driver::{Chain, File, Op, Outcome};

use crate::files::{opened, read_file};
use crate::harness::*;
use crate::subject::{Files, Subject};

const LEN: usize = STUCK_BYTES;

/// Waits until no one holds the file any more: a helper thread may be the last.
pub(crate) fn assert_released(file: &Weak<File>) {
    let deadline = Instant::now() + WAIT_MAX;
    while file.strong_count() > 0 {
        assert!(Instant::now() < deadline, "the file is still held");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Sends `range` of a file, changes the files while the send is blocked, and returns the bytes
/// that the peer got and the result of the send.
fn send_through_a_change<S: Subject>(
    content: &[u8],
    range: std::ops::Range<u64>,
    change: impl FnOnce(&S::Files),
) -> (Vec<u8>, std::io::Result<()>) {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    files.write("file", content);
    let file = files.open("file");
    let weak = Arc::downgrade(&file);
    let (sock, mut peer) = connect(driver);
    let mut chain = Chain::new();
    chain.file(&file, range);
    chain.copy(b"tail");
    drop(file);
    send_chain(driver, sock, chain);
    for _ in 0..5 {
        assert!(run_none(driver).is_empty());
    }
    change(&files);
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    let result = sent(run_lasts(driver, 1));
    assert_released(&weak);
    close_all(driver, sock);
    (reading.join().unwrap(), result)
}

pub(crate) fn truncated_while_it_is_sent<S: Subject>() {
    const SHORT: usize = 16 << 20;
    let bytes = pattern(LEN);
    let cut = |files: &S::Files| files.truncate("file", SHORT as u64);
    let (got, result) = send_through_a_change::<S>(&bytes, 0..LEN as u64, cut);
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(got == bytes[..SHORT], "{} bytes", got.len());
}

/// A send sends the file that was opened, whatever its name refers to by then.
pub(crate) fn replaced_while_it_is_sent<S: Subject>() {
    let (bytes, next) = (pattern(LEN), pattern(LEN + 1));
    let replace = |files: &S::Files| {
        files.write("next", &next);
        files.rename("next", "file");
        assert_eq!(files.open("file").metadata().len, next.len() as u64);
    };
    let (got, result) = send_through_a_change::<S>(&bytes, 0..LEN as u64, replace);
    result.unwrap();
    assert!(got == [&bytes[..], b"tail"].concat(), "{} bytes", got.len());
}

pub(crate) fn deleted_while_it_is_sent<S: Subject>() {
    let bytes = pattern(LEN);
    let remove = |files: &S::Files| files.remove("file");
    let (got, result) = send_through_a_change::<S>(&bytes, 0..LEN as u64, remove);
    result.unwrap();
    assert!(got == [&bytes[..], b"tail"].concat(), "{} bytes", got.len());
}

/// Bytes that are appended to the file after the submit are not sent.
pub(crate) fn growing_while_it_is_sent<S: Subject>() {
    let bytes = pattern(LEN);
    let grow = |files: &S::Files| files.write_at("file", LEN as u64, b"and more");
    let (got, result) = send_through_a_change::<S>(&bytes, 5..LEN as u64, grow);
    result.unwrap();
    assert!(got == [&bytes[5..], b"tail"].concat(), "{} bytes", got.len());
}

/// A range in the middle of a file: not a byte beyond it is sent.
pub(crate) fn parts_of_a_larger_file<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(2 << 20);
    let file = file_of(driver, &bytes);
    let (sock, peer) = connect(driver);
    let (mut chain, mut expected) = (Chain::new(), Vec::new());
    for range in [1..2, 262_143..262_145, 0..262_144, 300_000..900_001, 4095..4097] {
        chain.file(&file, range.start as u64..range.end as u64);
        expected.extend_from_slice(&bytes[range]);
    }
    let reading = slow_reader(peer, expected.len());
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == expected);
    close_all(driver, sock);
}

/// A read returns the content from before or from after a change, and nothing else.
pub(crate) fn changed_while_it_is_read<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    let (bytes, short) = (pattern(300_000), 100_000);
    for round in 0..20 {
        files.write("file", &bytes);
        let file = files.open("file");
        let weak = Arc::downgrade(&file);
        let buffer = Vec::with_capacity(400_000);
        driver.submit(FILE, Op::ReadFile { file, offset: 0, buffer });
        match round % 4 {
            0 => files.remove("file"),
            1 => files.truncate("file", short),
            2 => {
                files.write("next", b"another");
                files.rename("next", "file");
            }
            _ => files.write_at("file", 300_000, b"more"),
        }
        let Outcome::FileRead(result, buffer) = last(run_lasts(driver, 1), FILE) else {
            panic!("a read ends with `FileRead`")
        };
        let count = result.unwrap();
        let known = count.min(bytes.len());
        assert_eq!(buffer.len(), count);
        assert!(buffer[..known] == bytes[..known]);
        match round % 4 {
            1 => assert!((short as usize..=bytes.len()).contains(&count), "{count}"),
            3 => assert!((bytes.len()..=bytes.len() + 4).contains(&count), "{count}"),
            _ => assert_eq!(count, bytes.len()),
        }
        assert_released(&weak);
    }
    assert_home(driver);
}

/// A name that is given to another file again and again always opens one of the two.
pub(crate) fn replaced_while_it_is_opened<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    files.write("file", b"first");
    let stop = Arc::new(AtomicBool::new(false));
    let replacing = std::thread::spawn({
        let (files, stop) = (files.clone(), Arc::clone(&stop));
        move || {
            let mut turn = false;
            while !stop.load(Ordering::Relaxed) {
                files.write("next", if turn { b"first" } else { b"second" });
                files.rename("next", "file");
                turn = !turn;
            }
        }
    });
    let root = files.root();
    for _ in 0..100 {
        driver.submit(FILE, Op::OpenFile { root: Arc::clone(&root), path: c"file".into() });
        let file = opened(last(run_lasts(driver, 1), FILE)).unwrap();
        let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(100));
        assert_eq!(result.unwrap(), buffer.len());
        assert_eq!(buffer.len() as u64, file.metadata().len);
        assert!(buffer == b"first" || buffer == b"second", "{buffer:?}");
    }
    stop.store(true, Ordering::Relaxed);
    replacing.join().unwrap();
    assert_home(driver);
}

/// Offsets that need more than 32 bits, and ranges that cross 4 GiB.
pub(crate) fn beyond_four_gibibytes<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    let bytes = pattern(400_000);
    for start in [(4 << 30) - 200_000, (5 << 30) + 12_345] {
        files.write("sparse", b"");
        files.write_at("sparse", start, &bytes);
        let file = files.open("sparse");
        let (result, buffer) = read_file(driver, &file, start, Vec::with_capacity(bytes.len()));
        assert!(result.unwrap() >= bytes.len() && buffer == bytes, "a read at {start}");
        let (result, buffer) = read_file(driver, &file, start + 399_990, Vec::with_capacity(100));
        assert_eq!((result.unwrap(), &buffer[..]), (10, &bytes[399_990..]));
        let (sock, peer) = connect(driver);
        let reading = slow_reader(peer, bytes.len());
        let mut chain = Chain::new();
        chain.file(&file, start..start + bytes.len() as u64);
        send_chain(driver, sock, chain);
        sent(run_lasts(driver, 1)).unwrap();
        assert!(reading.join().unwrap() == bytes, "a send at {start}");
        close_all(driver, sock);
    }
}
