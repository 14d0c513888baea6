//! File ops that may wait for a disk: what the drivers have in common.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{File, Outcome, Token, sys};

/// How many times a path is resolved, at most, if directories are renamed meanwhile (`openat2(2)`,
/// `EAGAIN`).
pub(super) const OPEN_ATTEMPTS: usize = 4;

/// Opens a path beneath a directory; may wait for the disk.
pub(super) fn open(root: &File, path: &CStr, system_calls: &mut u64) -> io::Result<Arc<File>> {
    let mut attempt = 1;
    loop {
        *system_calls += 1;
        match sys::openat2(root.as_fd(), path, root.links(), false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempt < OPEN_ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
            Ok(descriptor) => {
                *system_calls += File::CALLS_OF_NEW;
                return File::found(root, descriptor).map(Arc::new);
            }
        }
    }
}

/// A file op in a driver's table. `job` is `None` while a thread works on it.
#[derive(Debug)]
pub(super) struct FileTask<J> {
    pub(super) token: Token,
    pub(super) job: Option<J>,
}

/// A read of a file into the spare capacity of a buffer.
///
/// Invariant: the bytes of `buffer` from `start` on are the bytes of the file from `offset` on.
#[derive(Debug)]
pub(super) struct BufferRead {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) start: usize,
}

impl BufferRead {
    /// Calls `read` until the buffer is full or the file ends, and returns `true`; or until it has
    /// read `bytes_max` bytes, and returns `false`.
    pub(super) fn advance(
        &mut self,
        bytes_max: usize,
        mut read: impl FnMut(&File, &mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let mut left = bytes_max;
        loop {
            let len = self.buffer.len();
            let room = (self.buffer.capacity() - len).min(left);
            if len == self.buffer.capacity() {
                return Ok(true);
            }
            if room == 0 {
                return Ok(false);
            }
            let Some(offset) = self.offset.checked_add((len - self.start) as u64) else {
                return Ok(true);
            };
            self.buffer.resize(len + room, 0);
            let result = read(&self.file, &mut self.buffer[len..], offset);
            let count = *result.as_ref().unwrap_or(&0);
            self.buffer.truncate(len + count);
            left -= count;
            match result {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The outcome of the op. After an error, the buffer is as it was before the read.
    pub(super) fn end(mut self, result: io::Result<()>) -> Outcome {
        if result.is_err() {
            self.buffer.truncate(self.start);
        }
        Outcome::FileRead(result.map(|()| self.buffer.len() - self.start), self.buffer)
    }
}
