//! Files: opening, reading and sending them.

use std::ffi::CString;
use std::io::Read;
use std::sync::Arc;

use ringd::driver::{Chain, Completion, File, FileKind, Op, Outcome, Token};

use crate::harness::*;
use crate::subject::{Files, Subject};

/// A file and a directory. The kernel's drivers also get a file beside the root.
fn site<S: Subject>(driver: &S) -> S::Files {
    let files = driver.files();
    files.write("page", b"a page");
    files.write("directory/page", b"another");
    files
}

fn open_path<S: Subject>(path: &str) -> std::io::Result<Arc<File>> {
    let driver = &mut S::open(&limits()).unwrap();
    let files = site(driver);
    driver.submit(FILE, Op::OpenFile { root: files.root(), path: CString::new(path).unwrap() });
    let opened = opened(last(run_lasts(driver, 1), FILE));
    assert_home(driver);
    opened
}

pub(crate) fn opened(outcome: Outcome) -> std::io::Result<Arc<File>> {
    match outcome {
        Outcome::Opened(result) => result,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn open_a_file<S: Subject>() {
    let file = open_path::<S>("page").unwrap();
    assert_eq!((file.metadata().kind, file.metadata().len), (FileKind::Regular, 6));
}

pub(crate) fn open_a_directory<S: Subject>() {
    assert_eq!(open_path::<S>("directory").unwrap().metadata().kind, FileKind::Directory);
    assert_eq!(open_path::<S>(".").unwrap().metadata().kind, FileKind::Directory);
}

pub(crate) fn open_a_missing_file<S: Subject>() {
    assert_eq!(code(open_path::<S>("missing")), Some(libc::ENOENT));
    assert_eq!(code(open_path::<S>("page/beneath")), Some(libc::ENOTDIR));
}

pub(crate) fn open_outside_of_the_root<S: Subject>() {
    for path in ["../secret", "/etc/passwd", "directory/../../secret"] {
        assert_eq!(code(open_path::<S>(path)), Some(libc::EXDEV), "{path}");
    }
}

pub(crate) fn read_file<S: Subject>(
    driver: &mut S,
    file: &Arc<File>,
    offset: u64,
    buffer: Vec<u8>,
) -> (std::io::Result<usize>, Vec<u8>) {
    let file = Arc::clone(file);
    driver.submit(FILE, Op::ReadFile { file, offset, buffer });
    match last(run_lasts(driver, 1), FILE) {
        Outcome::FileRead(result, buffer) => (result, buffer),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn read_a_whole_file<S: Subject>() {
    // More than one turn may read, and more capacity than the file has bytes.
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(3_000_000);
    let file = file_of(driver, &bytes);
    let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(4_000_000));
    assert_eq!(result.unwrap(), bytes.len());
    assert!(buffer == bytes);
    assert_home(driver);
}

pub(crate) fn read_from_an_offset<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(100_000);
    let file = file_of(driver, &bytes);
    let buffer = Vec::with_capacity(1000);
    let room = buffer.capacity();
    let (result, buffer) = read_file(driver, &file, 70_001, buffer);
    assert_eq!(result.unwrap(), room);
    assert!(buffer == bytes[70_001..70_001 + room]);
}

pub(crate) fn read_beyond_the_end<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let file = file_of(driver, b"0123456789");
    let (result, buffer) = read_file(driver, &file, 8, Vec::with_capacity(100));
    assert_eq!((result.unwrap(), &buffer[..]), (2, &b"89"[..]));
    let (result, buffer) = read_file(driver, &file, 1 << 40, Vec::with_capacity(100));
    assert_eq!((result.unwrap(), &buffer[..]), (0, &b""[..]));
}

pub(crate) fn read_appends<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let file = file_of(driver, b"0123456789");
    let mut buffer = Vec::with_capacity(100);
    buffer.extend_from_slice(b"before ");
    let (result, buffer) = read_file(driver, &file, 0, buffer);
    assert_eq!((result.unwrap(), &buffer[..]), (10, &b"before 0123456789"[..]));
    let full = vec![1; 10].into_boxed_slice().into_vec();
    let (result, buffer) = read_file(driver, &file, 0, full);
    assert_eq!((result.unwrap(), &buffer[..]), (0, &[1; 10][..]));
}

pub(crate) fn read_of_a_directory_fails<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let root = site(driver).root();
    let mut buffer = Vec::with_capacity(100);
    buffer.extend_from_slice(b"kept");
    let (result, buffer) = read_file(driver, &root, 0, buffer);
    assert_eq!((code(result), &buffer[..]), (Some(libc::EISDIR), &b"kept"[..]));
}

/// More reads than a driver queues, submitted before it can perform any: those beyond the bound
/// end at once and return their buffers, and the others are performed.
pub(crate) fn file_ops_are_bounded<S: Subject>() {
    const BEYOND: usize = 10;
    let driver = &mut S::open(&limits()).unwrap();
    let file = file_of(driver, b"0123456789");
    let all = limits().file_ops_max() as usize + BEYOND;
    for _ in 0..2 {
        for _ in 0..all {
            let (file, buffer) = (Arc::clone(&file), Vec::with_capacity(100));
            driver.submit(FILE, Op::ReadFile { file, offset: 0, buffer });
        }
        assert_eq!(driver.in_flight(), all);
        let mut refused = 0;
        for completion in run_lasts(driver, all) {
            match completion.outcome {
                Outcome::FileRead(Ok(10), buffer) => assert_eq!(buffer, b"0123456789"),
                Outcome::FileRead(Err(error), buffer) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
                    assert!(buffer.is_empty() && buffer.capacity() >= 100, "the buffer comes back");
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(refused, BEYOND);
        assert_home(driver);
    }
}

pub(crate) fn send_beyond_four_gibibytes<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let start = (5 << 30) + 12_345;
    let bytes = pattern(300_000);
    let files = driver.files();
    files.write_at("sparse", start, &bytes);
    let file = files.open("sparse");
    let (sock, peer) = connect(driver);
    let reading = slow_reader(peer, bytes.len());
    let mut chain = Chain::new();
    chain.file(&file, start..start + bytes.len() as u64);
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == bytes);
    close_all(driver, sock);
}

pub(crate) fn send_of_a_shrunk_file_fails<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(100_000);
    let files = driver.files();
    files.write("file", &bytes);
    let file = files.open("file");
    files.truncate("file", 60_000);
    let (sock, mut peer) = connect(driver);
    let mut chain = Chain::new();
    chain.copy(b"head");
    chain.file(&file, 0..100_000);
    chain.copy(b"tail");
    send_chain(driver, sock, chain);
    let error = sent(run_lasts(driver, 1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    close_all(driver, sock);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert!(got == [b"head", &bytes[..60_000]].concat(), "{} bytes", got.len());
}

pub(crate) fn cancel_of_file_ops<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = site(driver);
    let root = files.root();
    let file = file_of(driver, &pattern(100));
    let mut ops = Vec::new();
    for number in 0..50 {
        let buffer = Vec::with_capacity(200);
        let op = match number % 2 {
            0 => Op::OpenFile { root: Arc::clone(&root), path: c"page".into() },
            _ => Op::ReadFile { file: Arc::clone(&file), offset: 0, buffer },
        };
        ops.push(driver.submit(Token(number), op));
    }
    for op in ops {
        driver.cancel(op);
        driver.cancel(op);
    }
    for Completion { outcome, .. } in run_lasts(driver, 50) {
        match outcome {
            Outcome::Opened(Err(error)) => assert_cancelled::<()>(Err(error)),
            Outcome::FileRead(Err(error), buffer) => {
                assert_cancelled::<()>(Err(error));
                assert!(buffer.capacity() >= 200, "the buffer comes back");
            }
            Outcome::Opened(Ok(_)) | Outcome::FileRead(Ok(100), _) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(Arc::strong_count(&file), 1);
    assert_home(driver);
}

/// More than there are threads for files.
pub(crate) fn many_reads_that_fail<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let root = site(driver).root();
    for _ in 0..40 {
        let (result, _) = read_file(driver, &root, 0, Vec::with_capacity(100));
        assert_eq!(code(result), Some(libc::EISDIR));
    }
    let file = file_of(driver, b"0123456789");
    assert_eq!(read_file(driver, &file, 0, Vec::with_capacity(100)).0.unwrap(), 10);
    assert_home(driver);
}
