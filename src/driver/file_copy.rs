//! Reading a piece of a file to send it, where `sendfile(2)` does not send the file.

use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

use super::file::File;
use super::replaced::ReplacedCall;
use super::sys;

/// Bytes of a file that are read at a time: the memory that a send of such a file holds.
pub(super) const COPY_BYTES: u64 = 64 * 1024;

/// Bytes of a file that were read and are not sent yet. Empty before the first read.
#[derive(Debug, Default)]
pub(super) struct FileCopy {
    /// Where `bytes` begins in the file.
    start: u64,
    bytes: Vec<u8>,
    /// The error of the read, if it failed; or the end of the file.
    failure: Option<io::Error>,
    /// Whether the file system has no reads that do not wait.
    always_waits: bool,
}

impl FileCopy {
    /// What is read next: the beginning of `range`.
    pub(super) fn piece(range: &Range<u64>) -> Range<u64> {
        range.start..range.end.min(range.start.saturating_add(COPY_BYTES))
    }

    /// The bytes that were read of the beginning of `range`; `None` if none were.
    pub(super) fn of(&self, range: &Range<u64>) -> Option<&[u8]> {
        let skip = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(skip..)?;
        let bytes = &bytes[..bytes.len().min(len)];
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Reads a piece if that does not wait for a disk; returns whether it did. Any error is left to
    /// a read that may wait, because this one may fail for reasons of its own.
    pub(super) fn read_resident(&mut self, file: &File, piece: &Range<u64>) -> bool {
        if self.always_waits || ReplacedCall::Preadv2.is_denied() {
            return false;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize((piece.end - piece.start) as usize, 0);
        let read = sys::preadv2_nowait(file.as_fd(), &mut bytes, piece.start);
        bytes.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(_) => self.set(piece.start, Ok(bytes)),
            Err(error) => {
                self.always_waits = error.raw_os_error() == Some(libc::EOPNOTSUPP);
                // Kept for the next piece; it holds nothing now.
                self.bytes = bytes;
                return false;
            }
        }
        true
    }

    /// Takes the result of a read from `start` on. No bytes are the end of the file.
    pub(super) fn set(&mut self, start: u64, read: io::Result<Vec<u8>>) {
        let read = read.and_then(|bytes| match bytes.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(bytes),
        });
        (self.start, self.bytes, self.failure) = match read {
            Ok(bytes) => (start, bytes, None),
            Err(error) => (start, Vec::new(), Some(error)),
        };
    }

    /// Why the last read failed, once.
    pub(super) fn failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }
}

/// Reads a piece; may wait for a disk. Returns less only at the end of the file.
pub(super) fn read_piece(
    file: &File,
    piece: &Range<u64>,
    system_calls: &mut u64,
) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (piece.end - piece.start) as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        *system_calls += 1;
        match file.read_at(&mut bytes[filled..], piece.start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The next read reports the error, if it is still there.
            Err(_) if filled > 0 => break,
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(start: u64, bytes: &[u8]) -> FileCopy {
        let mut copy = FileCopy::default();
        copy.set(start, Ok(bytes.to_vec()));
        copy
    }

    #[test]
    fn a_copy_holds_the_bytes_from_its_start_on() {
        let copy = copy(10, b"0123456789");
        assert_eq!(copy.of(&(10..100)), Some(&b"0123456789"[..]));
        assert_eq!(copy.of(&(13..15)), Some(&b"34"[..]));
        for beside in [9..11, 20..30, 0..5] {
            assert_eq!(copy.of(&beside), None, "{beside:?}");
        }
    }

    #[test]
    fn no_bytes_are_the_end_of_the_file() {
        let mut copy = copy(10, b"");
        assert_eq!(copy.of(&(10..20)), None);
        assert_eq!(copy.failure().unwrap().kind(), io::ErrorKind::UnexpectedEof);
        assert!(copy.failure().is_none());
    }

    #[test]
    fn a_piece_is_bounded() {
        assert_eq!(FileCopy::piece(&(5..10)), 5..10);
        assert_eq!(FileCopy::piece(&(5..u64::MAX)), 5..5 + COPY_BYTES);
    }
}
