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

use super::super::disk::OPEN_ATTEMPTS;
use super::super::file::File;
use super::super::op::{OpId, Outcome, Token, cancelled};
use super::super::slot_map::{Handle, SlotMap};
use super::super::sys;
use super::super::transfer::PIECE_BYTES;
use super::Uring;
use super::kind::SubmissionKind;

/// The most bytes of one submission; a longer read continues where the last one ended.
const READ_MAX: usize = 1 << 30;

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
            self.done.finish(token, Outcome::Opened(opened));
            return OpId(SubmissionKind::NOBODY);
        }
        // The arguments of `sys::openat2`, in memory as the ring needs them.
        let how = OpenHow::new()
            .flags(sys::OPEN_FLAGS.bits().into())
            .resolve(root.links().resolve().bits());
        let (how, retries) = (Box::new(how), OPEN_ATTEMPTS - 1);
        match self.files.ops.insert(RingFileOp::Open { token, root, path, how, retries }) {
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
        let Some(RingFileOp::Open { token, root, .. }) = self.files.ops.remove(handle) else {
            return;
        };
        let opened = match result {
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
        let (address, len) = (spare.as_mut_ptr().cast::<u8>(), spare.len().min(READ_MAX) as u32);
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

    pub(super) fn cancel_file(&mut self, handle: Handle<RingFileOp>, user_data: u64) {
        match self.files.ops.get_mut(handle) {
            None => return,
            Some(RingFileOp::Read { cancelled, .. }) => *cancelled = true,
            Some(RingFileOp::Open { retries, .. }) => *retries = 0,
        }
        let entry = opcode::AsyncCancel::new(user_data).build().user_data(SubmissionKind::NOBODY);
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(&entry) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::completions::Completions;
    use super::super::super::op::is_cancelled;
    use super::super::super::{Driver, Limits, Links};
    use super::*;

    const NAME: Token = Token(7);

    /// A driver with an open in its table, as if the kernel had it; `None` if io_uring does not
    /// work.
    fn opening(retries: usize) -> Option<(Uring, Handle<RingFileOp>, tempfile::TempDir)> {
        let mut uring = match Uring::open(&Limits::default()) {
            Ok(uring) => uring,
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page"), "a page").unwrap();
        let root = Arc::new(File::open_root(folder.path(), Links::Beneath).unwrap());
        let how = Box::new(OpenHow::new().flags(sys::OPEN_FLAGS.bits().into()));
        let op = RingFileOp::Open { token: NAME, root, path: c"page".into(), how, retries };
        let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
        uring.done.begin();
        Some((uring, handle, folder))
    }

    fn opened(uring: &mut Uring) -> io::Result<Arc<File>> {
        let mut all = Vec::new();
        while all.is_empty() {
            uring.wait(None, &mut all).unwrap();
        }
        assert_eq!((all.len(), all[0].token, uring.in_flight()), (1, NAME, 0));
        match all.remove(0).outcome {
            Outcome::Opened(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    /// The kernel cannot vouch for a path with `..` while anything on the machine is renamed
    /// (`openat2(2)`, `EAGAIN`).
    #[test]
    fn an_open_that_was_disturbed_is_retried() {
        for disturbance in [libc::EAGAIN, libc::EINTR] {
            let Some((mut uring, handle, _folder)) = opening(OPEN_ATTEMPTS - 1) else { return };
            uring.complete_open(handle, -disturbance);
            assert_eq!(opened(&mut uring).unwrap().metadata().len, 6);
        }
    }

    #[test]
    fn the_retries_of_an_open_are_bounded() {
        let Some((mut uring, handle, _folder)) = opening(0) else { return };
        uring.complete_open(handle, -libc::EAGAIN);
        assert_eq!(opened(&mut uring).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// As if the kernel had written beyond the end of the buffer.
    #[test]
    fn a_read_of_more_than_there_is_room_for_is_noticed() {
        let Some((mut uring, _, folder)) = opening(0) else { return };
        let file = std::fs::File::open(folder.path().join("page")).unwrap();
        let file = Arc::new(File::new(file.into()).unwrap());
        let buffer = Vec::with_capacity(10);
        let room = buffer.capacity() as i32;
        let op =
            RingFileOp::Read { token: NAME, file, offset: 0, buffer, read: 0, cancelled: false };
        let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
        let complete = || uring.complete_read(handle, room + 1);
        let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(complete));
        let message = noticed.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(*message, format!("{} bytes were read into less room", room + 1));
    }

    /// After an error, or a cancel that left a part, the buffer is as it was before the read.
    #[test]
    fn a_partial_read_leaves_no_bytes() {
        let results = [(4, true, libc::ECANCELED), (-libc::EIO, false, libc::EIO)];
        for (result, was_cancelled, code) in results {
            let Some((mut uring, _, folder)) = opening(0) else { return };
            let file = std::fs::File::open(folder.path().join("page")).unwrap();
            let file = Arc::new(File::new(file.into()).unwrap());
            let mut buffer = Vec::with_capacity(100);
            buffer.extend_from_slice(b"before, and a part");
            let read = buffer.len() - b"before".len();
            let (token, cancelled) = (Token(77), was_cancelled);
            let op = RingFileOp::Read { token, file, offset: 0, buffer, read, cancelled };
            let Ok(handle) = uring.files.ops.insert(op) else { panic!("there is room") };
            uring.done.begin();
            uring.complete_read(handle, result);
            let mut all = Vec::new();
            while !all.iter().any(|done: &crate::driver::Completion| done.token == token) {
                uring.wait(None, &mut all).unwrap();
            }
            all.retain(|done| done.token == token);
            let Outcome::FileRead(outcome, buffer) = all.remove(0).outcome else { panic!() };
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(code));
            assert_eq!(buffer, b"before");
        }
    }

    /// As if a completion came twice.
    #[test]
    fn a_completion_too_many_is_noticed() {
        let Some((mut uring, _, _folder)) = opening(0) else { return };
        uring.ring.outstanding = 0;
        let answered = || uring.ring.answered();
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(answered)).is_err());
        uring.done = Completions::default();
        let finish = || uring.done.finish(NAME, Outcome::Closed);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(finish)).is_err());
    }

    #[test]
    fn a_cancelled_open_is_not_retried() {
        let Some((mut uring, handle, _folder)) = opening(OPEN_ATTEMPTS - 1) else { return };
        uring.cancel(OpId(SubmissionKind::Open.name_only(handle)));
        uring.complete_open(handle, -libc::EAGAIN);
        let error = opened(&mut uring).unwrap_err();
        assert!(error.kind() == io::ErrorKind::WouldBlock || is_cancelled(&error), "{error}");
    }
}
