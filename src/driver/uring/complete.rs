//! The kernel's completions, and what they mean for the ops that they belong to.
//!
//! Rules that are easy to get wrong, in the order in which the code applies them: a result counts
//! even if MORE is absent; a buffer that is named is always taken back; an op without MORE is armed
//! again according to its state; only then is a pending close of the socket considered.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use io_uring::{cqueue, opcode, types::Fd};

use super::super::failure::AcceptFailure;
use super::super::op::{Outcome, Sock, cancelled};
use super::super::pool::Lease;
use super::super::slot_map::Handle;
use super::super::sys;
use super::kind::SubmissionKind;
use super::socket::{RingSend, SendStage, Stream, StreamState};
use super::writable_watch::WritableWatch;
use super::{ACCEPT_RETRY, Uring};

impl Uring {
    /// Handles one completion.
    pub(super) fn complete(&mut self, entry: &cqueue::Entry) {
        let last = !cqueue::more(entry.flags());
        if last {
            self.ring.answered();
        }
        let (user_data, result) = (entry.user_data(), entry.result());
        match SubmissionKind::of(user_data).0 {
            SubmissionKind::WritableWatch => self.complete_room(),
            SubmissionKind::Open => self.complete_open(Handle::unpack(user_data).0, result),
            SubmissionKind::Read => self.complete_read(Handle::unpack(user_data).0, result),
            SubmissionKind::Wake => self.complete_wake(),
            SubmissionKind::Run => self.complete_notifier(),
            kind => self.complete_on_socket(kind, Handle::unpack(user_data).0, entry, last),
        }
    }

    /// Handles a completion of a submission about a socket.
    fn complete_on_socket(
        &mut self,
        kind: SubmissionKind,
        handle: Handle<Sock>,
        entry: &cqueue::Entry,
        last: bool,
    ) {
        let mut is_closing = false;
        if last && let Some(socket) = self.sockets.get_mut(handle) {
            socket.answered();
            is_closing = socket.closing.is_some();
        }
        let result = entry.result();
        match kind {
            SubmissionKind::Accept => self.complete_accept(handle, result, last),
            SubmissionKind::Recv => {
                let lease = self.take_lease(entry);
                self.complete_recv(handle, result, last, lease);
            }
            SubmissionKind::Send => self.complete_send(handle, result),
            SubmissionKind::Poll => {
                self.complete_kernel_wait(handle, WritableWatch::reports_room(result));
            }
            SubmissionKind::Fetch => self.complete_fetch(handle, result),
            // The completion of the target shows whether the cancel found it.
            SubmissionKind::Cancel | SubmissionKind::Close => {}
            SubmissionKind::Open
            | SubmissionKind::Read
            | SubmissionKind::Wake
            | SubmissionKind::WritableWatch
            | SubmissionKind::Run => unreachable!("it is not about a socket"),
        }
        if is_closing {
            self.close_when_idle(handle);
        }
    }

    /// The buffer that a receive got, whatever its result.
    fn take_lease(&mut self, entry: &cqueue::Entry) -> Option<Lease> {
        let buffer = cqueue::buffer_select(entry.flags())?;
        let len = entry.result().max(0) as usize;
        // SAFETY: the completion of a receive names the buffer, and each is handled once.
        Some(unsafe { self.buffers.lease(buffer, len) })
    }

    /// The stream of a completion as it was before, and whether it is to end. The last completion
    /// returns the stream to the driver; an earlier one notes `received`.
    fn answered_stream(
        &mut self,
        handle: Handle<Sock>,
        last: bool,
        received: bool,
    ) -> Option<(Stream, bool)> {
        let socket = self.sockets.get_mut(handle)?;
        let stream = socket.read.get_mut()?;
        let before = *stream;
        assert!(before.state.is_with_kernel(), "a completion of a stream not with the kernel");
        if last {
            stream.state = match before.state {
                StreamState::Recalled(drain) => StreamState::Draining(drain),
                _ => StreamState::Parked,
            };
        } else if let StreamState::Armed { has_received, .. } = &mut stream.state {
            *has_received |= received;
        }
        let ending = matches!(before.state, StreamState::Cancelled(_)) || socket.closing.is_some();
        Some((before, ending))
    }

    fn complete_accept(&mut self, handle: Handle<Sock>, result: i32, last: bool) {
        // SAFETY: the accept has created the descriptor, and each completion is handled once.
        let accepted = (result >= 0).then(|| unsafe { sys::own(result) });
        let Some((stream, ending)) = self.answered_stream(handle, last, false) else { return };
        if let Some(descriptor) = accepted {
            if let Some(drain) = stream.state.drain() {
                drain.release(descriptor.as_fd(), &mut self.stats);
            }
            self.admit(stream.token, descriptor);
        }
        if !last {
            return self.accept_singly_when_short(handle);
        }
        if matches!(stream.state, StreamState::Recalled(_)) {
            return self.draining.push_back(handle);
        }
        if ending {
            return self.finish_stream(handle, Err(cancelled()));
        }
        // Not the caller's cancel: the multishot is replaced by accepts of one connection at a
        // time.
        if result >= 0 || result == -libc::ECANCELED {
            return self.arm_stream(handle);
        }
        match AcceptFailure::of(-result) {
            AcceptFailure::Shortage => {
                self.backoff.push((handle, Instant::now() + ACCEPT_RETRY));
            }
            AcceptFailure::WouldBlock | AcceptFailure::Transient => self.arm_stream(handle),
            AcceptFailure::Broken => {
                self.finish_stream(handle, Err(io::Error::from_raw_os_error(-result)));
            }
        }
    }

    fn complete_recv(
        &mut self,
        handle: Handle<Sock>,
        result: i32,
        last: bool,
        lease: Option<Lease>,
    ) {
        let received = result > 0;
        let Some((stream, ending)) = self.answered_stream(handle, last, received) else { return };
        if received {
            let lease = lease.expect("a receive with data names its buffer");
            self.done.progress(stream.token, Outcome::Received(Ok(Some(lease))));
        }
        if !last {
            return;
        }
        match -result {
            0 => self.finish_stream(handle, Ok(())),
            _ if ending => self.finish_stream(handle, Err(cancelled())),
            // There was data, but the kernel could not keep the op armed: nothing is lost.
            code if code < 0 => self.arm_stream(handle),
            libc::ENOBUFS => {
                self.stats.buffer_waits += 1;
                let armed = stream.state;
                let queue = if matches!(armed, StreamState::Armed { has_received: true, .. }) {
                    &mut self.waits_for_buffer
                } else {
                    &mut self.waits_for_first_buffer
                };
                queue.push_back(handle);
            }
            // Nobody has asked for the last one: the kernel could not keep the op.
            libc::EINTR | libc::EAGAIN | libc::ECANCELED => self.arm_stream(handle),
            code => self.finish_stream(handle, Err(io::Error::from_raw_os_error(code))),
        }
    }

    fn complete_send(&mut self, handle: Handle<Sock>, result: i32) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let closing = socket.closing.is_some();
        let Some(RingSend { transfer, stage: SendStage::Ring { cancelled: asked, .. }, .. }) =
            socket.write.get_mut()
        else {
            return;
        };
        let ending = *asked || closing;
        let sent = match result {
            code if code == -libc::EAGAIN || code == -libc::EINTR => 0,
            // Nobody has cancelled it: the kernel could not perform it. The rest is tried inline.
            code if code == -libc::ECANCELED && !ending => 0,
            code if code < 0 => {
                let error = io::Error::from_raw_os_error(-code);
                return self.finish_send(handle, Err(error));
            }
            sent => sent as u64,
        };
        transfer.chain.advance(sent);
        if transfer.chain.is_empty() {
            self.finish_send(handle, Ok(()));
        } else if ending {
            self.finish_send(handle, Err(cancelled()));
        } else {
            self.stats.would_block += 1;
            self.run_later(handle);
        }
    }

    /// Cold data is in memory, or was read to be sent.
    fn complete_fetch(&mut self, handle: Handle<Sock>, result: i32) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        if let Some(RingSend { transfer, stage: SendStage::Kernel { cancelled, copy, .. }, .. }) =
            socket.write.get_mut()
            && let Some(copy) = copy.take()
            && !*cancelled
            && socket.closing.is_none()
        {
            let (file, start) = (Arc::clone(&copy.file), copy.start);
            transfer.copied(&file, start, copy.end(result, &mut self.stats.system_calls));
        }
        self.complete_kernel_wait(handle, true);
    }

    /// The socket has room again, or cold data has arrived.
    fn complete_kernel_wait(&mut self, handle: Handle<Sock>, ready: bool) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(send) = socket.write.get_mut() else { return };
        let SendStage::Kernel { cancelled: asked, .. } = send.stage else { return };
        if asked || socket.closing.is_some() {
            return self.finish_send(handle, Err(cancelled()));
        }
        if ready || self.writable.watch(socket.fd.as_fd(), handle.slot(), &self.limits).is_err() {
            return self.run_later(handle);
        }
        send.stage = SendStage::Watched;
        self.arm_room();
    }

    /// Sockets whose peer has half-closed have room again.
    fn complete_room(&mut self) {
        self.writable.armed = false;
        for slot in self.writable.found() {
            let Some(handle) = self.sockets.handle_at(slot) else { continue };
            let Some(socket) = self.sockets.get(handle) else { continue };
            if matches!(socket.write.get(), Some(RingSend { stage: SendStage::Watched, .. })) {
                self.writable.forget(socket.fd.as_fd(), slot);
                self.run_later(handle);
            }
        }
        self.arm_room();
    }

    fn arm_room(&mut self) {
        let Some(poller) = self.writable.to_poll() else { return };
        self.writable.armed = true;
        let entry = opcode::PollAdd::new(Fd(poller), libc::POLLIN as u32)
            .build()
            .user_data(SubmissionKind::WritableWatch.name_only(Handle::<()>::at(0)));
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(&entry) };
    }

    pub(super) fn arm_waker(&mut self) {
        self.arm_eventfd(Fd(self.waker.as_fd().as_raw_fd()), SubmissionKind::Wake);
    }

    /// Arms a read of an eventfd, which completes when the eventfd is set, and clears it.
    pub(super) fn arm_eventfd(&mut self, fd: Fd, kind: SubmissionKind) {
        let len = self.wake_count.len() as u32;
        let entry = opcode::Read::new(fd, self.wake_count.as_mut_ptr(), len)
            .build()
            .user_data(kind.name_only(Handle::<()>::at(0)));
        // SAFETY: the counter is boxed, so its address is stable; nothing reads it; it is freed
        // after the ring, or leaked.
        unsafe { self.ring.push(&entry) };
    }

    fn complete_wake(&mut self) {
        self.done.wake();
        self.arm_waker();
    }

    /// The descriptor that a completion has created, if nothing else handles it: it must be closed.
    pub(super) fn orphan(&self, entry: &cqueue::Entry) -> Option<OwnedFd> {
        let (kind, _) = SubmissionKind::of(entry.user_data());
        let makes_descriptor = matches!(kind, SubmissionKind::Accept | SubmissionKind::Open);
        let is_open = makes_descriptor && entry.result() >= 0;
        // SAFETY: the op has created the descriptor, and nothing else handles the completion.
        is_open.then(|| unsafe { sys::own(entry.result()) })
    }
}
