//! Ops on sockets: what is submitted to the kernel, and what is done inline.

#![allow(unsafe_code)]

use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use io_uring::{opcode, squeue, types::Fd};

use super::super::abort::abort;
use super::super::chain::Chain;
use super::super::name::Sequence;
use super::super::op::{OpId, Outcome, SendEnd, Sock, Token, cancelled};
use super::super::slot_map::Handle;
use super::super::sys;
use super::super::transfer::{AttemptEnd, SLICES_MAX, Transfer, turn_share};
use super::kind::SubmissionKind;
use super::socket::{
    Gather, PieceRead, RingSend, RingSocket, SendStage, Stream, StreamKind, StreamState,
};
use super::{Uring, buffers};
use crate::driver::call_log::done;

/// Flags of every send in the ring: it never waits there. With `MSG_WAITALL`, a SENDMSG failed with
/// `EAGAIN` if the peer had half-closed. What does not fit into the socket is sent inline, after a
/// poll has reported room.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

impl StreamKind {
    pub(super) fn kind(self) -> SubmissionKind {
        match self {
            Self::Accept => SubmissionKind::Accept,
            Self::Recv => SubmissionKind::Recv,
        }
    }
}

impl Uring {
    pub(super) fn socket(&self, sock: Sock) -> &RingSocket {
        self.sockets.get(sock.0).unwrap_or_else(|| sock.stale())
    }

    /// The socket of a new op.
    fn open_socket(&mut self, sock: Sock) -> &mut RingSocket {
        let socket = self.sockets.get_mut(sock.0).unwrap_or_else(|| sock.stale());
        assert!(socket.closing.is_none(), "an op on {sock:?}, whose close was submitted before");
        socket
    }

    /// Submits an entry about the socket of `handle`.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`](super::ring::Ring::push).
    unsafe fn push(
        &mut self,
        handle: Handle<Sock>,
        kind: SubmissionKind,
        sequence: Sequence,
        entry: squeue::Entry,
    ) {
        let entry = entry.user_data(kind.name(handle, sequence));
        // SAFETY: the caller promises the same.
        unsafe { self.ring.push(&entry) };
        if let Some(socket) = self.sockets.get_mut(handle) {
            socket.submitted();
        }
    }

    // The read side.

    pub(super) fn submit_stream(&mut self, token: Token, sock: Sock, kind: StreamKind) -> OpId {
        let stream = Stream { token, kind, state: StreamState::Parked };
        let sequence = self.open_socket(sock).read.start(stream);
        self.arm_stream(sock.0);
        OpId(kind.kind().name(sock.0, sequence))
    }

    /// Arms the stream of a socket, if there is one and it is not armed.
    pub(super) fn arm_stream(&mut self, handle: Handle<Sock>) {
        let roomy = self.is_roomy();
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let sequence = socket.read.sequence();
        let Some(stream) = socket.read.get_mut() else { return };
        match stream.state {
            StreamState::Parked => {}
            StreamState::Draining(_) => return self.draining.push_back(handle),
            StreamState::Armed { .. } | StreamState::Cancelled(_) | StreamState::Recalled(_) => {
                return;
            }
        }
        let multishot = roomy && !socket.shared;
        stream.state = StreamState::Armed { multishot, has_received: false };
        let fd = Fd(socket.fd.as_raw_fd());
        let kind = stream.kind;
        let entry = match kind {
            StreamKind::Accept if !multishot => {
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

    pub(super) fn cancel_stream(&mut self, handle: Handle<Sock>, sequence: Sequence) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(stream) = socket.read.current(sequence) else { return };
        match stream.state {
            StreamState::Cancelled(_) => {}
            StreamState::Armed { .. } | StreamState::Recalled(_) => {
                stream.state = StreamState::Cancelled(stream.state.drain());
                self.cancel_in_kernel(handle);
            }
            StreamState::Parked | StreamState::Draining(_) => {
                self.finish_stream(handle, Err(cancelled()));
                // If the listener is being closed, the close waited only for the accept to end.
                self.close_when_idle(handle);
            }
        }
    }

    /// Asks the kernel to cancel the stream of a socket.
    pub(super) fn cancel_in_kernel(&mut self, handle: Handle<Sock>) {
        let Some(socket) = self.sockets.get(handle) else { return };
        let Some(stream) = socket.read.get() else { return };
        let user_data = stream.kind.kind().name(handle, socket.read.sequence());
        self.cancel_kernel(handle, user_data);
    }

    /// Asks the kernel to cancel what was submitted with `user_data`.
    fn cancel_kernel(&mut self, handle: Handle<Sock>, user_data: u64) {
        let entry = opcode::AsyncCancel::new(user_data).build();
        // SAFETY: the entry points to nothing.
        unsafe { self.push(handle, SubmissionKind::Cancel, Sequence::default(), entry) };
    }

    /// Ends the read-side op of a socket.
    pub(super) fn finish_stream(&mut self, handle: Handle<Sock>, result: std::io::Result<()>) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(stream) = socket.read.take() else { return };
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
        end: SendEnd,
    ) -> OpId {
        let transfer = Transfer::new(chain, end);
        let inline = transfer.chain.is_empty() || transfer.chain.has_file();
        let side = &mut self.open_socket(sock).write;
        let sequence = side.start(RingSend { token, transfer, stage: SendStage::Runnable });
        if inline {
            self.runnable.push_back(sock.0);
        } else {
            self.send_memory(sock.0);
        }
        OpId(SubmissionKind::Send.name(sock.0, sequence))
    }

    /// Submits a chain of memory to the ring.
    fn send_memory(&mut self, handle: Handle<Sock>) {
        let socket = self.sockets.get_mut(handle).expect("a send's socket is open");
        let sequence = socket.write.sequence();
        let send = socket.write.get_mut().expect("callers pass a socket with a send");
        let share = turn_share(send.transfer.chain.remaining(), self.limits.turn_bytes_max);
        let bytes_max = usize::try_from(share).unwrap_or(usize::MAX);
        let fd = Fd(socket.fd.as_raw_fd());
        let more = if send.transfer.end.follows() { libc::MSG_MORE } else { 0 };
        let flags = SEND_FLAGS | more;
        let mut gather = None;
        let entry = {
            let mut parts = send.transfer.chain.memory(bytes_max);
            match (parts.next(), parts.next()) {
                (Some(only), None) => {
                    let len = u32::try_from(only.len()).unwrap_or(u32::MAX);
                    opcode::Send::new(fd, only.as_ptr(), len).flags(flags).build()
                }
                (first, second) => {
                    let all = first.into_iter().chain(second).chain(parts).take(SLICES_MAX);
                    let gather = gather.insert(Gather::new(all));
                    opcode::SendMsg::new(fd, &raw const gather.message).flags(flags as u32).build()
                }
            }
        };
        send.stage = SendStage::Ring { gather, cancelled: false };
        socket.submitted();
        let entry = entry.user_data(SubmissionKind::Send.name(handle, sequence));
        // SAFETY: the chain's memory, the boxed message and its vectors are outside of the record,
        // at stable addresses, and the send keeps them, untouched, until the completion.
        unsafe { self.ring.push(&entry) };
        self.ring.certain();
    }

    /// Queues a send to try inline.
    pub(super) fn run_later(&mut self, handle: Handle<Sock>) {
        let socket = self.sockets.get_mut(handle).expect("a send's socket is open");
        let send = socket.write.get_mut().expect("callers pass a socket with a send");
        send.stage = SendStage::Runnable;
        self.runnable.push_back(handle);
    }

    /// One inline attempt at a send.
    pub(super) fn attempt_send(&mut self, handle: Handle<Sock>, now: Instant) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let sequence = socket.write.sequence();
        let Some(send) = socket.write.get_mut() else { return };
        if !matches!(send.stage, SendStage::Runnable) {
            return;
        }
        let most = self.limits.turn_bytes_max;
        match send.transfer.attempt(socket.fd.as_fd(), most, now, &mut self.stats) {
            AttemptEnd::Done => self.finish_send(handle, Ok(())),
            AttemptEnd::Failed(error) => self.finish_send(handle, Err(error)),
            AttemptEnd::Spent => self.runnable.push_back(handle),
            AttemptEnd::Blocked => {
                let entry =
                    opcode::PollAdd::new(Fd(socket.fd.as_raw_fd()), libc::POLLOUT as u32).build();
                let kind = SubmissionKind::Poll;
                send.stage = SendStage::Kernel { kind, cancelled: false, copy: None };
                // SAFETY: the entry points to nothing.
                unsafe { self.push(handle, kind, sequence, entry) };
            }
            AttemptEnd::Cold(file, range) => {
                let entry = self.files.fetch(&file, &range);
                let kind = SubmissionKind::Fetch;
                send.stage = SendStage::Kernel { kind, cancelled: false, copy: None };
                // SAFETY: the entry writes to the sink, which lives as long as the driver (or is
                // leaked with it) and is never read; the chain keeps the file open.
                unsafe { self.push(handle, kind, sequence, entry) };
            }
            AttemptEnd::Uncopied(file, range) => {
                let mut copy = Box::new(PieceRead::new(file, &range));
                let entry = copy.entry();
                let kind = SubmissionKind::Fetch;
                send.stage = SendStage::Kernel { kind, cancelled: false, copy: Some(copy) };
                // SAFETY: the entry writes to memory on the heap, at a stable address, and the send
                // keeps that memory, untouched, and the file until the completion.
                unsafe { self.push(handle, kind, sequence, entry) };
            }
        }
    }

    pub(super) fn cancel_send(&mut self, handle: Handle<Sock>, sequence: Sequence) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(send) = socket.write.current(sequence) else { return };
        match &mut send.stage {
            SendStage::Runnable | SendStage::Watched => self.abandon_send(handle),
            // It does not wait, so there is nothing to cancel.
            SendStage::Ring { cancelled, .. } => *cancelled = true,
            SendStage::Kernel { cancelled: true, .. } => {}
            SendStage::Kernel { kind, cancelled, .. } => {
                *cancelled = true;
                let user_data = kind.name(handle, sequence);
                self.cancel_kernel(handle, user_data);
            }
        }
    }

    /// Ends the write-side op of a socket.
    pub(super) fn finish_send(&mut self, handle: Handle<Sock>, result: std::io::Result<()>) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(send) = socket.write.take() else { return };
        // A close ends the output itself.
        if send.transfer.end == SendEnd::HalfClose && result.is_ok() {
            self.stats.system_calls += 1;
            // It fails only when the connection is gone, which the read side reports.
            let _ = sys::shutdown(socket.fd.as_fd(), Shutdown::Write);
        }
        socket.sent += send.transfer.chain.sent();
        self.done.finish(send.token, Outcome::Sent(result, send.transfer.chain));
    }

    // The end: ask, join, close.

    pub(super) fn submit_close(&mut self, token: Token, sock: Sock, reset: bool) -> OpId {
        let handle = sock.0;
        let socket = self.open_socket(sock);
        socket.closing = Some(token);
        let stream = socket.read.get().copied();
        if socket.joint {
            self.end_joint_accept(handle);
        } else if stream.is_some_and(|stream| stream.kind == StreamKind::Accept) {
            self.begin_drain(handle);
        } else {
            // Ends the ops that the kernel has armed on this socket, and informs the peer. It fails
            // if the peer has already ended the connection.
            let ended = match reset {
                true => abort(socket.fd.as_fd()),
                false => sys::shutdown(socket.fd.as_fd(), Shutdown::Both),
            };
            if stream.is_some_and(|stream| !stream.state.is_with_kernel()) {
                self.finish_stream(handle, Err(cancelled()));
            } else if ended.is_err() {
                self.cancel_in_kernel(handle);
            }
            if ended.is_err() {
                self.cancel_wait(handle, SubmissionKind::Poll);
            }
        }
        self.stats.system_calls += 1;
        self.abandon_send(handle);
        // The data is not needed any more, and other reads may wait for the disk behind it.
        self.cancel_wait(handle, SubmissionKind::Fetch);
        self.close_when_idle(handle);
        OpId(SubmissionKind::Close.name_only(handle))
    }

    /// Ends a send that is not with the kernel at the moment.
    fn abandon_send(&mut self, handle: Handle<Sock>) {
        let Some(socket) = self.sockets.get(handle) else { return };
        match socket.write.get().map(|send| &send.stage) {
            Some(SendStage::Runnable) => {}
            Some(SendStage::Watched) => self.writable.forget(socket.fd.as_fd(), handle.slot()),
            None | Some(SendStage::Ring { .. } | SendStage::Kernel { .. }) => return,
        }
        self.finish_send(handle, Err(cancelled()));
    }

    /// Cancels the poll or the fetch that a send waits for.
    fn cancel_wait(&mut self, handle: Handle<Sock>, kind: SubmissionKind) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let sequence = socket.write.sequence();
        if let Some(send) = socket.write.get_mut()
            && let SendStage::Kernel { kind: waits_for, cancelled, .. } = &mut send.stage
            && *waits_for == kind
            && !std::mem::replace(cancelled, true)
        {
            self.cancel_kernel(handle, kind.name(handle, sequence));
        }
    }

    /// Closes a socket whose close was submitted, once the kernel has completed everything.
    pub(super) fn close_when_idle(&mut self, handle: Handle<Sock>) {
        let Some(socket) = self.sockets.get(handle) else { return };
        let (Some(token), 0) = (socket.closing, socket.kernel) else { return };
        let stream = socket.read.get();
        if stream.is_some_and(|stream| matches!(stream.state, StreamState::Draining(_))) {
            return;
        }
        assert!(stream.is_none() && socket.write.get().is_none(), "a closed socket has an op");
        self.stats.system_calls += 1;
        done("close", || drop(self.sockets.remove(handle)));
        self.done.finish(token, Outcome::Closed);
    }
}

impl Gather {
    fn new<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Box<Self> {
        // The kernel only reads through it.
        let vector = |part: &[u8]| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        };
        let mut vectors: Vec<libc::iovec> = parts.map(vector).collect();
        // SAFETY: `msghdr` is plain data, and zero is a valid value: no name, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::MaybeUninit::zeroed().assume_init() };
        message.msg_iov = vectors.as_mut_ptr();
        message.msg_iovlen = vectors.len();
        Box::new(Self { message, vectors })
    }
}
