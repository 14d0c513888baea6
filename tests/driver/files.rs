//! Files: opening, reading and sending them.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;
use std::sync::Arc;

use ringd::driver::{Chain, Completion, Driver, File, FileKind, Op, Outcome, Token};

use crate::harness::*;

/// A directory with one of each kind, and beside it something that must stay out of reach.
fn site() -> (tempfile::TempDir, Arc<File>) {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("directory")).unwrap();
    fs::write(root.join("page"), "a page").unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    symlink("../secret", root.join("up")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
    let root = File::new(fs::File::open(root).unwrap().into()).unwrap();
    (outside, Arc::new(root))
}

fn open_path<D: Driver>(open: impl Open<D>, path: &str) -> std::io::Result<Arc<File>> {
    let driver = &mut open(&limits()).unwrap();
    let (_site, root) = site();
    driver.submit(FILE, Op::OpenFile { root, path: CString::new(path).unwrap() });
    let opened = opened(last(run_lasts(driver, 1), FILE));
    assert_home(driver);
    opened
}

fn opened(outcome: Outcome) -> std::io::Result<Arc<File>> {
    match outcome {
        Outcome::Opened(result) => result,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn open_a_file<D: Driver>(open: impl Open<D>) {
    let file = open_path(open, "page").unwrap();
    assert_eq!((file.metadata().kind, file.metadata().len), (FileKind::Regular, 6));
}

pub(crate) fn open_a_directory<D: Driver>(open: impl Open<D>) {
    assert_eq!(open_path(&open, "directory").unwrap().metadata().kind, FileKind::Directory);
    assert_eq!(open_path(&open, ".").unwrap().metadata().kind, FileKind::Directory);
}

pub(crate) fn open_what_is_missing<D: Driver>(open: impl Open<D>) {
    assert_eq!(code(open_path(&open, "missing")), Some(libc::ENOENT));
    assert_eq!(code(open_path(&open, "page/beneath")), Some(libc::ENOTDIR));
}

pub(crate) fn open_outside_of_the_root<D: Driver>(open: impl Open<D>) {
    for path in ["up", "../secret", "/etc/passwd", "directory/../../secret"] {
        assert_eq!(code(open_path(&open, path)), Some(libc::EXDEV), "{path}");
    }
}

pub(crate) fn open_a_fifo_without_waiting<D: Driver>(open: impl Open<D>) {
    assert_eq!(open_path(open, "fifo").unwrap().metadata().kind, FileKind::Other);
}

fn read_file<D: Driver>(
    driver: &mut D,
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

pub(crate) fn read_a_whole_file<D: Driver>(open: impl Open<D>) {
    // More than a turn may move, and more room than there are bytes.
    let driver = &mut open(&limits()).unwrap();
    let bytes = pattern(3_000_000);
    let (_, file) = temporary_file(&bytes);
    let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(4_000_000));
    assert_eq!(result.unwrap(), bytes.len());
    assert!(buffer == bytes);
    assert_home(driver);
}

pub(crate) fn read_from_an_offset<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let bytes = pattern(100_000);
    let (_, file) = temporary_file(&bytes);
    let buffer = Vec::with_capacity(1000);
    let room = buffer.capacity();
    let (result, buffer) = read_file(driver, &file, 70_001, buffer);
    assert_eq!(result.unwrap(), room);
    assert!(buffer == bytes[70_001..70_001 + room]);
}

pub(crate) fn read_beyond_the_end<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (_, file) = temporary_file(b"0123456789");
    let (result, buffer) = read_file(driver, &file, 8, Vec::with_capacity(100));
    assert_eq!((result.unwrap(), &buffer[..]), (2, &b"89"[..]));
    let (result, buffer) = read_file(driver, &file, 1 << 40, Vec::with_capacity(100));
    assert_eq!((result.unwrap(), &buffer[..]), (0, &b""[..]));
}

pub(crate) fn read_appends<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (_, file) = temporary_file(b"0123456789");
    let mut buffer = Vec::with_capacity(100);
    buffer.extend_from_slice(b"before ");
    let (result, buffer) = read_file(driver, &file, 0, buffer);
    assert_eq!((result.unwrap(), &buffer[..]), (10, &b"before 0123456789"[..]));
    let full = vec![1; 10].into_boxed_slice().into_vec();
    let (result, buffer) = read_file(driver, &file, 0, full);
    assert_eq!((result.unwrap(), &buffer[..]), (0, &[1; 10][..]));
}

pub(crate) fn read_of_a_directory_fails<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (_site, root) = site();
    let mut buffer = Vec::with_capacity(100);
    buffer.extend_from_slice(b"kept");
    let (result, buffer) = read_file(driver, &root, 0, buffer);
    assert_eq!((code(result), &buffer[..]), (Some(libc::EISDIR), &b"kept"[..]));
}

pub(crate) fn send_beyond_four_gibibytes<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let sparse = tempfile::tempfile().unwrap();
    let start = (5 << 30) + 12_345;
    let bytes = pattern(300_000);
    sparse.write_all_at(&bytes, start).unwrap();
    let file = Arc::new(File::new(sparse.into()).unwrap());
    let (sock, peer) = connect(driver);
    let reading = slow_reader(peer, bytes.len());
    let mut chain = Chain::new();
    chain.file(&file, start..start + bytes.len() as u64);
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == bytes);
    close_all(driver, sock);
}

pub(crate) fn send_of_a_shrunk_file_fails<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let bytes = pattern(100_000);
    let (on_disk, file) = temporary_file(&bytes);
    on_disk.set_len(60_000).unwrap();
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

/// Drops a file from the page cache, as far as the file system goes along.
fn chill(file: &fs::File) {
    file.sync_all().unwrap();
    #[allow(unsafe_code)]
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(result, 0);
}

/// What is not in memory is sent, read and opened all the same, and cancelled without harm.
pub(crate) fn send_of_cold_files<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let bytes = pattern(3 << 20);
    let mut on_disk = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    on_disk.write_all(&bytes).unwrap();
    chill(&on_disk);
    let file = Arc::new(File::new(on_disk.try_clone().unwrap().into()).unwrap());
    let (sock, peer) = connect(driver);
    let reading = slow_reader(peer.try_clone().unwrap(), bytes.len() + 8);
    let mut chain = Chain::new();
    chain.copy(b"head");
    chain.file(&file, 1..bytes.len() as u64);
    chain.copy(b"tails");
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == [b"head", &bytes[1..], b"tails"].concat());
    chill(&on_disk);
    let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(bytes.len()));
    assert_eq!(result.unwrap(), bytes.len());
    assert!(buffer == bytes);
    for _ in 0..5 {
        chill(&on_disk);
        let mut chain = Chain::new();
        chain.file(&file, 0..bytes.len() as u64);
        let op = send_chain(driver, sock, chain);
        let mut all = Vec::new();
        driver.wait(Some(std::time::Duration::ZERO), &mut all).unwrap();
        driver.cancel(op);
        // Nobody reads, so it cannot be done.
        all.extend(run_until(driver, |more| lasts(&all) + lasts(more) == 1));
        assert_cancelled(sent(all));
    }
    let mut chain = Chain::new();
    chill(&on_disk);
    chain.file(&file, 0..bytes.len() as u64);
    send_chain(driver, sock, chain);
    driver.wait(Some(std::time::Duration::ZERO), &mut Vec::new()).unwrap();
    close_all(driver, sock);
    drop(peer);
}

/// More than any queue outside of the driver holds.
pub(crate) fn many_file_ops<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let bytes = pattern(200_000);
    let mut on_disk = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    on_disk.write_all(&bytes).unwrap();
    chill(&on_disk);
    let file = Arc::new(File::new(on_disk.into()).unwrap());
    for number in 0..100u64 {
        let file = Arc::clone(&file);
        let op = Op::ReadFile { file, offset: number * 1000, buffer: Vec::with_capacity(1500) };
        driver.submit(Token(number), op);
    }
    let mut all = run_lasts(driver, 100);
    all.sort_by_key(|completion| completion.token.0);
    for (number, Completion { token, outcome, .. }) in all.into_iter().enumerate() {
        assert_eq!(token.0, number as u64);
        let Outcome::FileRead(Ok(count), buffer) = outcome else { panic!("{outcome:?}") };
        assert!(buffer == bytes[number * 1000..number * 1000 + count] && count >= 1500);
    }
    assert_eq!(Arc::strong_count(&file), 1);
    assert_home(driver);
}

pub(crate) fn cancel_of_file_ops<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (_site, root) = site();
    let (_, file) = temporary_file(&pattern(100));
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
