//! Files: opening, reading, and fetching cold data, none of which may stop the loop.
//!
//! An open first asks for names that the kernel has in memory, inline, which is cheaper than the
//! ring; only a cold name goes through the ring, to a kernel thread. Reads go through the ring,
//! which performs them at once when the data is in memory. Cold data of a send is fetched by
//! reading it into a sink: what counts is that it is in the page cache afterwards.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::types::{Fd, OpenHow};
use io_uring::{opcode, squeue};

use super::super::file::File;
use super::super::op::{OpId, Outcome, Token};
use super::super::slots::{Handle, Slots};
use super::super::sys;
use super::super::transfer::PIECE_BYTES;
use super::{Kind, Uring};

/// The most that one read asks for; longer ones go on from where it ended.
const READ_MAX: usize = 1 << 30;

/// Ops on files that the kernel has.
pub(super) struct FileOps {
    ops: Slots<FileOp>,
    /// Where fetched data goes. Allocated at the first fetch; written by the kernel, perhaps by
    /// several fetches at once, and never read.
    sink: Vec<u8>,
}

enum FileOp {
    Open {
        token: Token,
        root: Arc<File>,
        // Not read again, but the kernel may still read them.
        path: CString,
        how: Box<OpenHow>,
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
        Self { ops: Slots::new(ops_max), sink: Vec::new() }
    }

    /// A read that brings a range of a file into the page cache.
    pub(super) fn fetch(&mut self, file: &File, range: &Range<u64>) -> squeue::Entry {
        self.sink.reserve_exact(PIECE_BYTES as usize);
        let len = (range.end - range.start).min(PIECE_BYTES) as u32;
        let fd = Fd(file.as_fd().as_raw_fd());
        opcode::Read::new(fd, self.sink.as_mut_ptr(), len).offset(range.start).build()
    }
}

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
            self.stats.system_calls += File::CALLS_OF_NEW;
            let opened = cached.and_then(|found| File::found(&root, found)).map(Arc::new);
            self.finish(token, Outcome::Opened(opened));
            return OpId(Kind::NOBODY);
        }
        let how = OpenHow::new().flags(sys::OPEN_FLAGS as u64).resolve(root.links().resolve());
        let fd = Fd(root.as_fd().as_raw_fd());
        let inserted =
            self.files.ops.insert(FileOp::Open { token, root, path, how: Box::new(how) });
        let Ok(handle) = inserted else {
            self.finish(token, Outcome::Opened(Err(io::ErrorKind::ResourceBusy.into())));
            return OpId(Kind::NOBODY);
        };
        let Some(FileOp::Open { path, how, .. }) = self.files.ops.get(handle) else {
            unreachable!("it was just inserted")
        };
        let user_data = handle.pack(Kind::Open.tag(0));
        let entry =
            opcode::OpenAt2::new(fd, path.as_ptr(), &raw const **how).build().user_data(user_data);
        // SAFETY: path and flags are on the heap, at addresses that stay, and the record keeps
        // them and the root until the completion.
        unsafe { self.ring.push(&entry) };
        OpId(user_data)
    }

    pub(super) fn complete_open(&mut self, handle: Handle, result: i32) {
        let Some(FileOp::Open { token, root, .. }) = self.files.ops.remove(handle) else { return };
        let opened = match result {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            descriptor => {
                self.stats.system_calls += File::CALLS_OF_NEW;
                File::found(&root, sys::own(descriptor)).map(Arc::new)
            }
        };
        self.finish(token, Outcome::Opened(opened));
    }

    pub(super) fn submit_read(
        &mut self,
        token: Token,
        file: Arc<File>,
        offset: u64,
        buffer: Vec<u8>,
    ) -> OpId {
        let op = FileOp::Read { token, file, offset, buffer, read: 0, cancelled: false };
        match self.files.ops.insert(op) {
            Ok(handle) => self.push_read(handle),
            Err(FileOp::Read { buffer, .. }) => {
                let refused = Err(io::ErrorKind::ResourceBusy.into());
                self.finish(token, Outcome::FileRead(refused, buffer));
                OpId(Kind::NOBODY)
            }
            Err(FileOp::Open { .. }) => unreachable!("the read comes back"),
        }
    }

    fn push_read(&mut self, handle: Handle) -> OpId {
        let Some(FileOp::Read { file, offset, buffer, read, .. }) = self.files.ops.get_mut(handle)
        else {
            unreachable!("callers pass a read")
        };
        let spare = buffer.spare_capacity_mut();
        let (address, len) = (spare.as_mut_ptr().cast::<u8>(), spare.len().min(READ_MAX) as u32);
        let fd = Fd(file.as_fd().as_raw_fd());
        let user_data = handle.pack(Kind::Read.tag(0));
        let entry = opcode::Read::new(fd, address, len)
            .offset(*offset + *read as u64)
            .build()
            .user_data(user_data);
        // SAFETY: the entry writes to the buffer's spare capacity, on the heap; the record owns
        // the buffer, untouched, until the completion, and keeps the file open.
        unsafe { self.ring.push(&entry) };
        OpId(user_data)
    }

    pub(super) fn complete_read(&mut self, handle: Handle, result: i32) {
        let Some(FileOp::Read { buffer, read, cancelled, .. }) = self.files.ops.get_mut(handle)
        else {
            return;
        };
        if let Ok(count) = usize::try_from(result) {
            let len = buffer.len() + count;
            // SAFETY: the kernel has written `count` bytes to the spare capacity.
            unsafe { buffer.set_len(len) };
            *read += count;
            if count > 0 && buffer.len() < buffer.capacity() && !*cancelled {
                self.push_read(handle);
                return;
            }
        }
        if result == -libc::EINTR && !*cancelled {
            self.push_read(handle);
            return;
        }
        let Some(FileOp::Read { token, buffer, read, .. }) = self.files.ops.remove(handle) else {
            unreachable!("it was there above")
        };
        let outcome = match result {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            _ => Ok(read),
        };
        self.finish(token, Outcome::FileRead(outcome, buffer));
    }

    pub(super) fn cancel_file(&mut self, handle: Handle, user_data: u64) {
        match self.files.ops.get_mut(handle) {
            None => return,
            Some(FileOp::Read { cancelled, .. }) => *cancelled = true,
            Some(FileOp::Open { .. }) => {}
        }
        let entry = opcode::AsyncCancel::new(user_data).build().user_data(Kind::NOBODY);
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(&entry) };
    }
}
