//! Ops on sockets: what the kernel is asked for, and what is done inline.

#![allow(unsafe_code)]

use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use io_uring::{opcode, squeue, types::Fd};

use super::super::chain::Chain;
use super::super::op::{OpId, Outcome, Sock, Token, cancelled};
use super::super::slot_map::Handle;
use super::super::sys;
use super::super::transfer::{Progress, Transfer};
use super::kind::SubmissionKind;
use super::socket::{Gather, Read, Socket, Stream, StreamKind, Write};
use super::{Uring, buffers};

/// Flags of every send in the ring: it never waits there. A SENDMSG that was asked to wait
/// (`MSG_WAITALL`) failed with `EAGAIN` when the peer had half-closed. What does not fit into the
/// socket goes on inline, when a poll for room alone says so.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// The bits of a sequence number.
const SEQUENCE_MASK: u16 = 0x0fff;

/// Which count of `Socket::sequence` belongs to which side.
pub(super) const READ: usize = 0;
const WRITE: usize = 1;

impl StreamKind {
    pub(super) fn kind(self) -> SubmissionKind {
        match self {
            Self::Accept => SubmissionKind::Accept,
            Self::Recv => SubmissionKind::Recv,
        }
    }
}

impl Uring {
    pub(super) fn socket(&self, sock: Sock) -> &Socket {
        self.sockets.get(sock.0).expect("a socket is not used after its close")
    }

    /// The socket of a new op.
    fn open_socket(&mut self, sock: Sock) -> &mut Socket {
        let socket = self.sockets.get_mut(sock.0).expect("a socket is not used after its close");
        assert!(socket.closing.is_none(), "no op is submitted after a close");
        socket
    }

    /// Hands an entry about `handle`'s socket to the kernel.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`](super::ring::Ring::push).
    unsafe fn push(
        &mut self,
        handle: Handle,
        kind: SubmissionKind,
        sequence: u16,
        entry: squeue::Entry,
    ) {
        let entry = entry.user_data(handle.pack(kind.tag(sequence)));
        // SAFETY: the caller promises the same.
        unsafe { self.ring.push(&entry) };
        if let Some(socket) = self.sockets.get_mut(handle) {
            socket.submitted();
        }
    }

    // The read side.

    pub(super) fn submit_stream(&mut self, token: Token, sock: Sock, kind: StreamKind) -> OpId {
        let socket = self.open_socket(sock);
        assert!(matches!(socket.read, Read::Idle), "a socket has one read-side op at a time");
        socket.read = Read::Many(Stream {
            token,
            kind,
            armed: false,
            has_received: false,
            multishot: false,
            cancelled: false,
            drain: None,
        });
        socket.sequence[READ] = (socket.sequence[READ] + 1) & SEQUENCE_MASK;
        let tag = kind.kind().tag(socket.sequence[READ]);
        self.arm_stream(sock.0);
        OpId(sock.0.pack(tag))
    }

    /// Asks the kernel for the stream of a socket that has one which is not armed.
    pub(super) fn arm_stream(&mut self, handle: Handle) {
        let roomy = self.is_roomy();
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Read::Many(stream) = &mut socket.read else { return };
        if stream.armed {
            return;
        }
        if stream.drain.is_some() {
            return self.draining.push_back(handle);
        }
        (stream.armed, stream.has_received, stream.multishot) = (true, false, roomy);
        let fd = Fd(socket.fd.as_raw_fd());
        let (kind, sequence) = (stream.kind, socket.sequence[READ]);
        let entry = match kind {
            StreamKind::Accept if !roomy => {
                let null = std::ptr::null_mut();
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                opcode::Accept::new(fd, null, null.cast()).flags(flags).build()
            }
            StreamKind::Accept => {
                opcode::AcceptMulti::new(fd).flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC).build()
            }
            StreamKind::Recv => opcode::RecvMulti::new(fd, buffers::GROUP).build(),
        };
        // SAFETY: the entry points to nothing; received bytes go to buffers of the ring.
        unsafe { self.push(handle, kind.kind(), sequence, entry) };
    }

    pub(super) fn cancel_stream(&mut self, handle: Handle, tag: u16) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Read::Many(stream) = &mut socket.read else { return };
        let tag_now = stream.kind.kind().tag(socket.sequence[READ]);
        if tag_now != tag || stream.cancelled {
            return;
        }
        stream.cancelled = true;
        if stream.armed {
            self.cancel_kernel(handle, handle.pack(tag));
        } else {
            self.finish_stream(handle, Err(cancelled()));
            // A listener that is closed waited for nothing else.
            self.close_when_idle(handle);
        }
    }

    /// Asks the kernel to cancel what was submitted with `user_data`.
    pub(super) fn cancel_kernel(&mut self, handle: Handle, user_data: u64) {
        let entry = opcode::AsyncCancel::new(user_data).build();
        // SAFETY: the entry points to nothing.
        unsafe { self.push(handle, SubmissionKind::Cancel, 0, entry) };
    }

    /// Ends the read side of a socket.
    pub(super) fn finish_stream(&mut self, handle: Handle, result: std::io::Result<()>) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Read::Many(stream) = std::mem::replace(&mut socket.read, Read::Idle) else { return };
        let outcome = match (stream.kind, result) {
            (StreamKind::Recv, Ok(())) => Outcome::Received(Ok(None)),
            (StreamKind::Recv, Err(error)) => Outcome::Received(Err(error)),
            (StreamKind::Accept, Ok(())) => Outcome::Accepted(Err(cancelled())),
            (StreamKind::Accept, Err(error)) => Outcome::Accepted(Err(error)),
        };
        self.done.finish(stream.token, outcome);
    }

    // The write side.

    pub(super) fn submit_send(
        &mut self,
        token: Token,
        sock: Sock,
        chain: Box<Chain>,
        fin: bool,
    ) -> OpId {
        let socket = self.open_socket(sock);
        assert!(matches!(socket.write, Write::Idle), "a socket has one write-side op at a time");
        socket.sequence[WRITE] = (socket.sequence[WRITE] + 1) & SEQUENCE_MASK;
        let tag = SubmissionKind::Send.tag(socket.sequence[WRITE]);
        let transfer = Transfer::new(chain, fin);
        if transfer.chain.is_empty() || transfer.chain.has_file() {
            self.run_later(sock.0, token, transfer);
        } else {
            self.send_memory(sock.0, token, transfer);
        }
        OpId(sock.0.pack(tag))
    }

    /// Lets the ring send a chain of memory.
    pub(super) fn send_memory(&mut self, handle: Handle, token: Token, transfer: Transfer) {
        let bytes_max = usize::try_from(self.limits.turn_bytes_max).unwrap_or(usize::MAX);
        let socket = self.sockets.get_mut(handle).expect("a send's socket is open");
        let fd = Fd(socket.fd.as_raw_fd());
        let mut slices = [IoSlice::new(&[]); Gather::VECTORS];
        let count = transfer.chain.memory_within(&mut slices, bytes_max);
        let mut gather = None;
        let entry = if let [slice] = slices[..count] {
            let len = u32::try_from(slice.len()).unwrap_or(u32::MAX);
            opcode::Send::new(fd, slice.as_ptr(), len).flags(SEND_FLAGS).build()
        } else {
            let gather = gather.insert(Gather::new());
            gather.fill(&slices[..count]);
            opcode::SendMsg::new(fd, &raw const gather.message).flags(SEND_FLAGS as u32).build()
        };
        let sequence = socket.sequence[WRITE];
        socket.write = Write::Ring { token, transfer, gather, cancelled: false };
        // SAFETY: the chain's memory and the boxed message lie outside the record, at addresses
        // that stay, and `Write::Ring` keeps them, untouched, until the completion.
        unsafe { self.push(handle, SubmissionKind::Send, sequence, entry) };
        self.ring.certain();
    }

    /// Queues a send to be tried inline.
    pub(super) fn run_later(&mut self, handle: Handle, token: Token, transfer: Transfer) {
        let socket = self.sockets.get_mut(handle).expect("a send's socket is open");
        socket.write = Write::Runnable { token, transfer };
        self.runnable.push_back(handle);
    }

    /// One inline attempt at a send.
    pub(super) fn attempt_send(&mut self, handle: Handle, now: Instant) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let (token, mut transfer) = match std::mem::replace(&mut socket.write, Write::Idle) {
            Write::Runnable { token, transfer } => (token, transfer),
            other => {
                socket.write = other;
                return;
            }
        };
        let budget = self.limits.turn_bytes_max;
        match transfer.attempt(socket.fd.as_fd(), budget, now, &mut self.stats) {
            Progress::Done => self.finish_send(handle, token, transfer, Ok(())),
            Progress::Failed(error) => self.finish_send(handle, token, transfer, Err(error)),
            Progress::Spent => self.run_later(handle, token, transfer),
            Progress::Blocked => {
                let entry =
                    opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), libc::POLLOUT as u32).build();
                let sequence = socket.sequence[WRITE];
                let kind = SubmissionKind::Poll;
                socket.write = Write::Kernel { token, transfer, kind, cancelled: false };
                // SAFETY: the entry points to nothing.
                unsafe { self.push(handle, kind, sequence, entry) };
            }
            Progress::Cold(file, range) => {
                let sequence = socket.sequence[WRITE];
                let entry = self.files.fetch(&file, &range);
                let kind = SubmissionKind::Fetch;
                socket.write = Write::Kernel { token, transfer, kind, cancelled: false };
                // SAFETY: the entry writes to the sink, which lives as long as the driver (or is
                // leaked with it) and is never read; the chain keeps the file open.
                unsafe { self.push(handle, kind, sequence, entry) };
            }
        }
    }

    pub(super) fn cancel_send(&mut self, handle: Handle, tag: u16) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let sequence = socket.sequence[WRITE];
        if SubmissionKind::Send.tag(sequence) != tag {
            return;
        }
        match std::mem::replace(&mut socket.write, Write::Idle) {
            Write::Idle => {}
            Write::Runnable { token, transfer } => {
                self.finish_send(handle, token, transfer, Err(cancelled()));
            }
            asked @ Write::Kernel { cancelled: true, .. } => socket.write = asked,
            listed @ Write::Watched { .. } => {
                socket.write = listed;
                self.abandon_send(handle);
            }
            // It does not wait, so there is nothing to cut short.
            Write::Ring { token, transfer, gather, .. } => {
                socket.write = Write::Ring { token, transfer, gather, cancelled: true };
            }
            Write::Kernel { token, transfer, kind, .. } => {
                socket.write = Write::Kernel { token, transfer, kind, cancelled: true };
                self.cancel_kernel(handle, handle.pack(kind.tag(sequence)));
            }
        }
    }

    /// Takes a send out of those that wait for room.
    pub(super) fn unlist(&mut self, handle: Handle) -> Option<(Token, Transfer)> {
        let socket = self.sockets.get_mut(handle)?;
        match std::mem::replace(&mut socket.write, Write::Idle) {
            Write::Watched { token, transfer } => {
                self.writable.forget(socket.fd.as_fd(), handle.slot());
                Some((token, transfer))
            }
            other => {
                socket.write = other;
                None
            }
        }
    }

    /// Ends the write side of a socket.
    pub(super) fn finish_send(
        &mut self,
        handle: Handle,
        token: Token,
        transfer: Transfer,
        result: std::io::Result<()>,
    ) {
        if let Some(socket) = self.sockets.get_mut(handle) {
            socket.write = Write::Idle;
            if transfer.fin && result.is_ok() {
                self.stats.system_calls += 1;
                // It fails only when the connection is gone, which the read side reports.
                let _ = sys::shutdown(socket.fd.as_fd(), Shutdown::Write);
            }
        }
        self.done.finish(token, Outcome::Sent(result, transfer.chain));
    }

    // The end: ask, join, close.

    pub(super) fn submit_close(&mut self, token: Token, sock: Sock, reset: bool) -> OpId {
        let handle = sock.0;
        let socket = self.open_socket(sock);
        socket.closing = Some(token);
        let listening =
            matches!(&socket.read, Read::Many(stream) if stream.kind == StreamKind::Accept);
        if !listening {
            // Ends what the kernel has armed on this socket, and tells the peer. It fails when the
            // peer was faster.
            let _ = match reset {
                true => sys::abort(socket.fd.as_fd()),
                false => sys::shutdown(socket.fd.as_fd(), Shutdown::Both),
            };
        }
        if listening {
            self.begin_drain(handle);
        } else if let Read::Many(Stream { armed: false, .. }) = &socket.read {
            self.finish_stream(handle, Err(cancelled()));
        }
        self.stats.system_calls += 1;
        self.abandon_send(handle);
        // Nobody wants it any more, and others may wait for the disk behind it.
        self.cancel_fetch(handle);
        self.close_when_idle(handle);
        OpId(handle.pack(SubmissionKind::Close.tag(0)))
    }

    /// Ends a send that the kernel has no part in at the moment.
    fn abandon_send(&mut self, handle: Handle) {
        if let Some((token, transfer)) = self.unlist(handle) {
            return self.finish_send(handle, token, transfer, Err(cancelled()));
        }
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        match std::mem::replace(&mut socket.write, Write::Idle) {
            Write::Runnable { token, transfer } => {
                self.finish_send(handle, token, transfer, Err(cancelled()));
            }
            other => socket.write = other,
        }
    }

    /// Ends the wait of a send for cold data.
    fn cancel_fetch(&mut self, handle: Handle) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        if let Write::Kernel { kind: SubmissionKind::Fetch, cancelled, .. } = &mut socket.write
            && !std::mem::replace(cancelled, true)
        {
            let tag = SubmissionKind::Fetch.tag(socket.sequence[WRITE]);
            self.cancel_kernel(handle, handle.pack(tag));
        }
    }

    /// Closes a socket whose close was submitted, once the kernel has answered everything.
    pub(super) fn close_when_idle(&mut self, handle: Handle) {
        let Some(socket) = self.sockets.get(handle) else { return };
        let (Some(token), 0) = (socket.closing, socket.kernel) else { return };
        if matches!(socket.read, Read::Many(Stream { drain: Some(_), .. })) {
            return;
        }
        assert!(matches!(socket.read, Read::Idle) && matches!(socket.write, Write::Idle));
        self.stats.system_calls += 1;
        drop(self.sockets.remove(handle));
        self.done.finish(token, Outcome::Closed);
    }
}

impl Gather {
    fn new() -> Box<Self> {
        // SAFETY: `msghdr` is plain data for which zero is a value: no name, no control data.
        let message = unsafe { std::mem::MaybeUninit::zeroed().assume_init() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Box::new(Self { message, vectors: [empty; Self::VECTORS] })
    }

    fn fill(&mut self, slices: &[IoSlice<'_>]) {
        for (vector, slice) in self.vectors.iter_mut().zip(slices) {
            // The kernel only reads through it.
            vector.iov_base = slice.as_ptr().cast_mut().cast();
            vector.iov_len = slice.len();
        }
        self.message.msg_iov = self.vectors.as_mut_ptr();
        self.message.msg_iovlen = slices.len();
    }
}
