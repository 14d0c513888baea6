//! A file beyond all 32-bit sizes.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use ringd::driver::DriverKind;
use tempfile::TempDir;

use crate::support::fixture::Fixture;
use crate::support::root;

/// A longer file would make the test slower and test nothing more.
const LENGTH: u64 = (4 << 30) + (4 << 20);

/// Offsets of the bytes that are not zero: around the limits of 31-bit and 32-bit counters.
const MARKS: [u64; 7] = [
    0,
    (1 << 20) - 8,
    (1 << 31) - 4,
    (1 << 32) - 4,
    (1 << 32) + 1_000_003,
    LENGTH - 300_000,
    LENGTH - 8,
];

/// One driver at a time: in parallel, they would only share the memory bandwidth.
static TURN: Mutex<()> = Mutex::new(());

/// One file for all drivers, because creating the data and the hole's pages costs time.
fn huge() -> &'static Path {
    static ROOT: LazyLock<TempDir> = LazyLock::new(|| {
        let root = root::make();
        let file = fs::File::create(root.path().join("huge.bin")).unwrap();
        file.set_len(LENGTH).unwrap();
        for mark in MARKS {
            file.write_all_at(&mark_at(mark), mark).unwrap();
        }
        root
    });
    ROOT.path()
}

pub(crate) fn more_than_four_gibibytes_arrive(kind: DriverKind) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let fixture = Fixture::start_over(kind, huge(), |_| {});
    let mut stream = TcpStream::connect(fixture.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /huge.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut buffer = vec![0; 4 << 20];
    let head = read_head(&mut stream);
    assert!(head.contains("\r\nContent-Length: 4299161600\r\n"), "{head}");
    let mut offset = 0u64;
    let mut found = Vec::new();
    loop {
        // Fills whole buffers, so no mark lies across two of them.
        let mut filled = 0;
        while filled < buffer.len() {
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                // A read with a timeout is not restarted after a signal (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {} bytes", offset + filled as u64),
            }
        }
        if filled == 0 {
            break;
        }
        found.extend(marks_in(&buffer[..filled], offset));
        offset += filled as u64;
    }
    assert_eq!(offset, LENGTH);
    // All marks are there, and nothing else.
    assert_eq!(found, MARKS);
    fixture.finish();
}

fn mark_at(offset: u64) -> [u8; 8] {
    (!offset).to_be_bytes()
}

/// The offsets of the marks in a piece of the file, which is zero elsewhere.
fn marks_in(piece: &[u8], start: u64) -> Vec<u64> {
    let mut marks = Vec::new();
    let mut at = 0;
    while let Some(next) = first_nonzero(&piece[at..]) {
        at += next;
        let offset = start + at as u64;
        let mark = &piece[at..piece.len().min(at + 8)];
        let begins = MARKS.into_iter().find(|mark| *mark <= offset && offset < mark + 8);
        let Some(begins) = begins else { panic!("a stray byte at {offset}") };
        let skipped = (offset - begins) as usize;
        let expected = &mark_at(begins)[skipped..][..mark.len().min(8 - skipped)];
        assert_eq!(&mark[..expected.len()], expected, "at {offset}");
        if skipped == 0 {
            marks.push(begins);
        }
        at += expected.len();
    }
    marks
}

/// Compares blocks, which the compiler vectorizes.
fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut at = 0;
    for block in bytes.chunks(ZEROS.len()) {
        if *block != ZEROS[..block.len()] {
            return block.iter().position(|byte| *byte != 0).map(|within| at + within);
        }
        at += block.len();
    }
    None
}

/// Reads byte by byte, so that nothing of the body is consumed.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
