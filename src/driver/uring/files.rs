//! Files: opening, reading, and fetching cold data, without blocking the loop.
//!
//! An open is first tried inline with names that the kernel has in memory, which is cheaper than
//! the ring. Only a cold name goes through the ring, to a kernel thread. Reads go through the ring,
//! which performs them at once if the data is in memory. Cold data of a send is fetched by reading
//! it into a sink: only the page cache matters.
//!
//! Invariant: the buffer of a read holds its earlier bytes and `read` more, never beyond its
//! capacity. The count in each of the kernel's completions is checked against that.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::types::{Fd, OpenHow};
use io_uring::{opcode, squeue};

use super::super::disk::{self, OPEN_ATTEMPTS};
use super::super::file::File;
use super::super::file_copy::read_piece;
use super::super::op::{OpId, Outcome, Token, cancelled};
use super::super::slot_map::{Handle, SlotMap};
use super::super::sys;
use super::super::transfer::PIECE_BYTES;
use super::Uring;
use super::kind::SubmissionKind;
use super::socket::PieceRead;
use crate::driver::call_log::remark;

/// The most bytes of one submission; a longer read continues where the last one ended.
const READ_MAX: u64 = 1 << 30;

/// File ops that the kernel has.
pub(super) struct FileOps {
    ops: SlotMap<RingFileOp>,
    /// Where fetched data goes. Allocated at the first fetch. The kernel writes to it, perhaps for
    /// several fetches at once, and nothing reads it.
    sink: Vec<u8>,
}

pub(super) enum RingFileOp {
    Open {
        token: Token,
        root: Arc<File>,
        path: CString,
        how: Box<OpenHow>,
        /// How many more times it may be tried; 0 once it is cancelled.
        retries: usize,
        /// The caller has cancelled it.
        unwanted: bool,
    },
    Read {
        token: Token,
        file: Arc<File>,
        offset: u64,
        buffer: Vec<u8>,
        /// Bytes appended so far.
        read: usize,
        cancelled: bool,
    },
}

impl FileOps {
    pub(super) fn new(ops_max: u32) -> Self {
        Self { ops: SlotMap::new(ops_max), sink: Vec::new() }
    }

    /// A read that brings a range of a file into the page cache.
    pub(super) fn fetch(&mut self, file: &File, range: &Range<u64>) -> squeue::Entry {
        self.sink.reserve_exact(PIECE_BYTES as usize);
        let len = (range.end - range.start).min(PIECE_BYTES) as u32;
        let fd = Fd(file.as_fd().as_raw_fd());
        let read = opcode::Read::new(fd, self.sink.as_mut_ptr(), len).offset(range.start).build();
        // The data is known to be cold. Otherwise the ring would first try inline and start
        // read-ahead, which takes time, and more of it if the queue of the disk is full.
        read.flags(squeue::Flags::ASYNC)
    }
}

impl PieceRead {
    pub(super) fn new(file: Arc<File>, piece: &Range<u64>) -> Self {
        let bytes = vec![0; (piece.end - piece.start) as usize];
        Self { file, start: piece.start, bytes }
    }

    /// The submission. The data is not in memory, as for [`FileOps::fetch`].
    pub(super) fn entry(&mut self) -> squeue::Entry {
        let (address, len) = (self.bytes.as_mut_ptr(), self.bytes.len() as u32);
        let fd = Fd(self.file.as_fd().as_raw_fd());
        opcode::Read::new(fd, address, len).offset(self.start).build().flags(squeue::Flags::ASYNC)
    }

    /// The bytes that were read, from the result of the submission.
    pub(super) fn end(mut self, result: i32, system_calls: &mut u64) -> io::Result<Vec<u8>> {
        match -result {
            // The kernel has no thread for the read. It blocks the loop, as an open does.
            libc::ECANCELED | libc::EAGAIN | libc::EINTR => {
                let end = self.start + self.bytes.len() as u64;
                read_piece(&self.file, &(self.start..end), system_calls)
            }
            code if code > 0 => Err(io::Error::from_raw_os_error(code)),
            _ => {
                self.bytes.truncate(result as usize);
                Ok(self.bytes)
            }
        }
    }
}

/// Why an open that the kernel can answer from memory is no submission.
const OPENED_INLINE: &str = "tried inline, because the kernel has all names in memory \
                             (RESOLVE_CACHED); the ring would pass every open to a thread";

/// Why another one is.
const OPENED_BY_RING: &str = "tried inline (RESOLVE_CACHED), but it would have to wait for the \
                              disk; so the ring passes it to a thread of the kernel";

impl Uring {
    pub(super) fn submit_open(&mut self, token: Token, root: Arc<File>, path: CString) -> OpId {
        self.stats.system_calls += 1;
        let cached = sys::openat2(root.as_fd(), &path, root.links(), true);
        let cold = match &cached {
            // A kernel without RESOLVE_CACHED (before 5.12) refuses the flag.
            Err(error) => {
                matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINVAL))
            }
            Ok(_) => false,
        };
        if !cold {
            remark(OPENED_INLINE);
            self.stats.system_calls += File::CALLS_OF_NEW;
            let opened = cached.and_then(|found| File::found(&root, found)).map(Arc::new);
            self.done.finish(token, Outcome::Opened(opened));
            return OpId(SubmissionKind::NOBODY);
        }
        remark(OPENED_BY_RING);
        // The arguments of `sys::openat2`, in memory as the ring needs them.
        let how = OpenHow::new()
            .flags(sys::OPEN_FLAGS.bits().into())
            .resolve(root.links().resolve().bits());
        let (how, retries) = (Box::new(how), OPEN_ATTEMPTS - 1);
        match self.files.ops.insert(RingFileOp::Open {
            token,
            root,
            path,
            how,
            retries,
            unwanted: false,
        }) {
            Ok(handle) => self.push_open(handle),
            Err(_) => {
                self.done.finish(token, Outcome::Opened(Err(io::ErrorKind::ResourceBusy.into())));
                OpId(SubmissionKind::NOBODY)
            }
        }
    }

    fn push_open(&mut self, handle: Handle<RingFileOp>) -> OpId {
        let Some(RingFileOp::Open { root, path, how, .. }) = self.files.ops.get(handle) else {
            unreachable!("callers pass an open")
        };
        let fd = Fd(root.as_fd().as_raw_fd());
        let user_data = SubmissionKind::Open.name_only(handle);
        let entry =
            opcode::OpenAt2::new(fd, path.as_ptr(), &raw const **how).build().user_data(user_data);
        // SAFETY: path and flags are on the heap, at stable addresses, and the record keeps them
        // and the root until the completion.
        unsafe { self.ring.push(&entry) };
        OpId(user_data)
    }

    pub(super) fn complete_open(&mut self, handle: Handle<RingFileOp>, result: i32) {
        if let Some(RingFileOp::Open { retries, .. }) = self.files.ops.get_mut(handle)
            && matches!(-result, libc::EAGAIN | libc::EINTR)
            && *retries > 0
        {
            *retries -= 1;
            self.push_open(handle);
            return;
        }
        let Some(RingFileOp::Open { token, root, path, unwanted, .. }) =
            self.files.ops.remove(handle)
        else {
            return;
        };
        let opened = match result {
            // Nobody has cancelled it: the kernel has no thread for it (`ulimit -u`). Blocking the
            // loop is better than failing the op; a reactor without helpers does the same.
            code if code == -libc::ECANCELED && !unwanted => {
                disk::open(&root, &path, &mut self.stats.system_calls)
            }
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            descriptor => {
                self.stats.system_calls += File::CALLS_OF_NEW;
                // SAFETY: the open has created the descriptor, and each completion is handled once.
                let descriptor = unsafe { sys::own(descriptor) };
                File::found(&root, descriptor).map(Arc::new)
            }
        };
        self.done.finish(token, Outcome::Opened(opened));
    }

    pub(super) fn submit_read(
        &mut self,
        token: Token,
        file: Arc<File>,
        offset: u64,
        buffer: Vec<u8>,
    ) -> OpId {
        let op = RingFileOp::Read { token, file, offset, buffer, read: 0, cancelled: false };
        match self.files.ops.insert(op) {
            Ok(handle) => self.push_read(handle),
            Err(RingFileOp::Read { buffer, .. }) => {
                let refused = Err(io::ErrorKind::ResourceBusy.into());
                self.done.finish(token, Outcome::FileRead(refused, buffer));
                OpId(SubmissionKind::NOBODY)
            }
            Err(RingFileOp::Open { .. }) => unreachable!("a read was inserted"),
        }
    }

    fn push_read(&mut self, handle: Handle<RingFileOp>) -> OpId {
        let Some(RingFileOp::Read { file, offset, buffer, read, .. }) =
            self.files.ops.get_mut(handle)
        else {
            unreachable!("callers pass a read")
        };
        let spare = buffer.spare_capacity_mut();
        let len = (spare.len() as u64).min(self.limits.turn_bytes_max).min(READ_MAX) as u32;
        let address = spare.as_mut_ptr().cast::<u8>();
        let fd = Fd(file.as_fd().as_raw_fd());
        let user_data = SubmissionKind::Read.name_only(handle);
        let entry = opcode::Read::new(fd, address, len)
            .offset(*offset + *read as u64)
            .build()
            .user_data(user_data);
        // SAFETY: the entry writes to the buffer's spare capacity, on the heap; the record owns
        // the buffer, untouched, until the completion, and keeps the file open.
        unsafe { self.ring.push(&entry) };
        OpId(user_data)
    }

    pub(super) fn complete_read(&mut self, handle: Handle<RingFileOp>, result: i32) {
        let Some(RingFileOp::Read { buffer, read, cancelled: unwanted, .. }) =
            self.files.ops.get_mut(handle)
        else {
            return;
        };
        if let Ok(count) = usize::try_from(result) {
            let len = buffer.len() + count;
            assert!(len <= buffer.capacity(), "{count} bytes were read into less room");
            // SAFETY: the kernel has written `count` bytes to the spare capacity, which has room
            // for them, as was just asserted.
            unsafe { buffer.set_len(len) };
            *read += count;
            if count > 0 && buffer.len() < buffer.capacity() && !*unwanted {
                self.push_read(handle);
                return;
            }
        }
        if result == -libc::EINTR && !*unwanted {
            self.push_read(handle);
            return;
        }
        if result == -libc::ECANCELED && !*unwanted {
            return self.read_inline(handle);
        }
        self.end_read(handle, result);
    }

    /// Ends a read with the result of its last submission.
    fn end_read(&mut self, handle: Handle<RingFileOp>, result: i32) {
        let Some(RingFileOp::Read { token, mut buffer, read, cancelled: unwanted, .. }) =
            self.files.ops.remove(handle)
        else {
            unreachable!("the read was found above")
        };
        let outcome = match result {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            // A part of the data is not what was asked for.
            code if code > 0 && unwanted && buffer.len() < buffer.capacity() => Err(cancelled()),
            _ => Ok(read),
        };
        if outcome.is_err() {
            buffer.truncate(buffer.len() - read);
        }
        self.done.finish(token, Outcome::FileRead(outcome, buffer));
    }

    /// Reads the next bytes with a call that may wait, because the kernel has no thread for the
    /// read; then goes on as after a completion.
    fn read_inline(&mut self, handle: Handle<RingFileOp>) {
        let Some(RingFileOp::Read { file, offset, buffer, read, .. }) =
            self.files.ops.get_mut(handle)
        else {
            unreachable!("callers pass a read")
        };
        let start = *offset + *read as u64;
        let len = (buffer.capacity() - buffer.len()).min(PIECE_BYTES as usize) as u64;
        let piece = start..start.saturating_add(len);
        let result = match read_piece(file, &piece, &mut self.stats.system_calls) {
            Ok(bytes) => {
                buffer.extend_from_slice(&bytes);
                *read += bytes.len();
                if !bytes.is_empty() && buffer.len() < buffer.capacity() {
                    self.push_read(handle);
                    return;
                }
                0
            }
            Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        };
        self.end_read(handle, result);
    }

    pub(super) fn cancel_file(&mut self, handle: Handle<RingFileOp>, user_data: u64) {
        match self.files.ops.get_mut(handle) {
            None => return,
            Some(RingFileOp::Read { cancelled, .. }) => *cancelled = true,
            Some(RingFileOp::Open { retries, unwanted, .. }) => (*retries, *unwanted) = (0, true),
        }
        let entry = opcode::AsyncCancel::new(user_data).build().user_data(SubmissionKind::NOBODY);
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(&entry) };
    }
}

#[cfg(test)]
mod tests;
