//! Turns: what an op does when its time has come.
//!
//! A turn makes attempts, none of which waits, until one says why it has to end. That reason is a
//! [`Pause`], or the end of the op. The attempts know nothing of stages and lists; what follows
//! from a pause is decided in one place, [`Ready::settle`].

use std::ffi::CString;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use super::helpers::{Answer, Found, Job, Read};
use super::poller::{Interest, Poller};
use super::source::{OpKind, Stage, Work, parse, requeue};
use super::{Ready, key};
use crate::driver::drain::Drain;
use crate::driver::failure::AcceptFailure;
use crate::driver::op::cancelled;
use crate::driver::slot_map::Handle;
use crate::driver::transfer::Progress;
use crate::driver::{ACCEPT_RETRY, ACCEPTS_PER_WAIT, File, OpId, Outcome, Sock, Token, sys};

/// Why a turn ended.
enum Pause {
    /// The op is over.
    Ended(io::Result<()>),
    /// Nothing can be done before the poller reports the source again.
    Blocked,
    /// The turn is spent.
    Yield,
    /// There is no free buffer.
    WaitsForBuffer,
    /// There is no free descriptor.
    Rest,
    /// A piece of a file is not in memory.
    Cold(Arc<File>, Range<u64>),
}

impl<P: Poller> Ready<P> {
    /// Gives every queued op its turn; says whether a send was among them, which may have moved
    /// bytes without a completion.
    pub(super) fn run(&mut self, now: Instant) -> bool {
        let mut sent = false;
        for _ in 0..self.runnable.len() {
            let Some(op) = self.runnable.pop_front() else { break };
            match parse(op) {
                (handle, op_kind @ (OpKind::Read | OpKind::Write), sequence) => {
                    sent |= op_kind == OpKind::Write;
                    self.turn(op, handle, op_kind, sequence, now);
                }
                (handle, OpKind::File, _) => self.turn_file(op, handle),
                (handle, OpKind::Close, _) => self.close(handle),
                (_, OpKind::JobThread, _) => unreachable!("a job takes its turn elsewhere"),
            }
        }
        sent
    }

    /// The turn of an op on a socket, unless its name is stale.
    fn turn(&mut self, op: OpId, handle: Handle, op_kind: OpKind, sequence: u16, now: Instant) {
        let Some(source) = self.sources.get_mut(handle) else { return };
        let Some(pending) = source.side_mut(op_kind).current(sequence) else { return };
        if pending.stage != Stage::Queued {
            // After many cancels within one wait, a stale name can be that of a newer op.
            return;
        }
        let token = pending.token;
        let pause = match pending.work {
            Work::Accept(_) => self.accept(handle, token),
            Work::Receive => self.receive(handle, token),
            Work::Send(_) => self.send(handle, now),
        };
        self.settle(op, handle, op_kind, pause, now);
    }

    /// Puts an op where it waits for what its turn lacked.
    fn settle(&mut self, op: OpId, handle: Handle, op_kind: OpKind, pause: Pause, now: Instant) {
        let stage = match pause {
            Pause::Ended(result) => return self.end(op, result),
            Pause::Blocked => Stage::Armed,
            Pause::Yield => {
                self.runnable.push_back(op);
                Stage::Queued
            }
            Pause::WaitsForBuffer => {
                self.stats.buffer_waits += 1;
                self.waits_for_buffer.push_back(op);
                Stage::WaitsForBuffer
            }
            Pause::Rest => {
                self.backoff.push((now + ACCEPT_RETRY, op));
                Stage::Backoff
            }
            Pause::Cold(file, range) => {
                self.helpers.submit(op, Job::Fetch { file, range });
                Stage::Fetching
            }
        };
        let source = self.sources.get_mut(handle).expect("its turn has just ended");
        let side = source.side_mut(op_kind);
        let pending = side.pending.as_mut().expect("the op is not over");
        assert!(pending.stage == Stage::Queued, "{op:?} had a turn while {:?}", pending.stage);
        pending.stage = stage;
        if stage == Stage::Armed {
            side.block();
            self.change(handle);
        }
    }

    fn accept(&mut self, handle: Handle, token: Token) -> Pause {
        for _ in 0..ACCEPTS_PER_WAIT {
            let listener = self.sources.get_mut(handle).expect("it is the listener's turn");
            let mut drain = listener.read.drain();
            if drain.as_mut().is_some_and(|drain| !drain.may_accept()) {
                return Pause::Ended(Err(cancelled()));
            }
            self.stats.system_calls += 1;
            let error = match sys::accept(listener.descriptor.as_fd()) {
                Ok(socket) => {
                    self.admit(socket, token);
                    continue;
                }
                Err(error) => error,
            };
            match AcceptFailure::of_error(&error) {
                AcceptFailure::Nobody if drain.is_some() => return Pause::Ended(Err(cancelled())),
                AcceptFailure::Nobody => {
                    self.stats.would_block += 1;
                    return Pause::Blocked;
                }
                AcceptFailure::Shortage => {
                    let rests = drain.is_none_or(Drain::may_rest);
                    return if rests { Pause::Rest } else { Pause::Ended(Err(cancelled())) };
                }
                AcceptFailure::Passing => {}
                AcceptFailure::Broken if drain.is_some() => return Pause::Ended(Err(cancelled())),
                AcceptFailure::Broken => return Pause::Ended(Err(error)),
            }
        }
        Pause::Yield
    }

    /// Takes in an accepted connection, or closes it at once when there is no room for it.
    fn admit(&mut self, socket: OwnedFd, token: Token) {
        if self.sources.is_full() {
            self.stats.system_calls += 1;
            self.stats.refused += 1;
            return;
        }
        match self.register(socket, false, false) {
            Ok(handle) => {
                self.done.progress(token, Outcome::Accepted(Ok(Sock(handle))));
            }
            Err(_) => self.stats.refused += 1,
        }
    }

    /// Receives until the socket is drained. A read that does not fill its room says so without
    /// one more call, unless the poller's reports told of something behind the data.
    fn receive(&mut self, handle: Handle, token: Token) -> Pause {
        let source = self.sources.get(handle).expect("it is the source's turn");
        let mut left = self.limits.turn_bytes_max;
        while left > 0 {
            let Some(mut lease) = self.pool.take() else { return Pause::WaitsForBuffer };
            let room = lease.spare_mut();
            let len = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.stats.system_calls += 1;
            match sys::recv(source.descriptor.as_fd(), &mut room[..len]) {
                Ok(0) => return Pause::Ended(Ok(())),
                Ok(count) => {
                    lease.truncate(count);
                    self.done.progress(token, Outcome::Received(Ok(Some(lease))));
                    left -= count as u64;
                    if count < len && !source.may_hide_more() {
                        return Pause::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.would_block += 1;
                    return Pause::Blocked;
                }
                Err(error) => return Pause::Ended(Err(error)),
            }
            if self.scarce {
                break;
            }
        }
        Pause::Yield
    }

    fn send(&mut self, handle: Handle, now: Instant) -> Pause {
        let source = self.sources.get_mut(handle).expect("it is the source's turn");
        let socket = source.descriptor.as_fd();
        let Some(Work::Send(transfer)) = source.write.pending.as_mut().map(|send| &mut send.work)
        else {
            unreachable!("only sends are pending on the write side")
        };
        let budget = self.limits.turn_bytes_max;
        match transfer.attempt(socket, budget, now, &mut self.stats) {
            Progress::Done => {
                if transfer.fin {
                    self.stats.system_calls += 1;
                    // It fails when the peer is gone. All bytes are with the kernel either way.
                    let _ = sys::shutdown(socket, Shutdown::Write);
                }
                Pause::Ended(Ok(()))
            }
            Progress::Blocked => Pause::Blocked,
            Progress::Spent => Pause::Yield,
            Progress::Cold(file, range) => Pause::Cold(file, range),
            Progress::Failed(error) => Pause::Ended(Err(error)),
        }
    }
}

/// Ends of sockets, files and jobs.
impl<P: Poller> Ready<P> {
    /// Has the accept that is in flight on a listener deliver what the queue holds, and then
    /// close it; says whether there is one. The accept takes its turns as before.
    fn drain(&mut self, handle: Handle) -> bool {
        let source = self.sources.get_mut(handle).expect("a socket is closed once");
        let op = source.read.name(handle, OpKind::Read);
        let work = source.read.pending.as_mut().map(|pending| &mut pending.work);
        let (Some(op), Some(Work::Accept(drain))) = (op, work) else { return false };
        *drain = Some(Drain::begin(source.descriptor.as_fd(), &mut self.stats));
        // Otherwise it is queued already, or rests until there may be descriptors.
        if requeue(&mut self.sources, op, Stage::Armed) {
            self.runnable.push_back(op);
        }
        true
    }

    /// Ends a socket: its other ops first, then the descriptor, then the close itself.
    fn close(&mut self, handle: Handle) {
        if self.drain(handle) {
            return;
        }
        for op_kind in [OpKind::Read, OpKind::Write] {
            let source = self.sources.get_mut(handle).expect("a socket is closed once");
            if let Some(op) = source.side_mut(op_kind).name(handle, op_kind) {
                self.end(op, Err(cancelled()));
            }
        }
        let source = self.sources.remove(handle).expect("a socket is closed once");
        let (token, reset) = source.closing.expect("a close was submitted");
        let socket = source.descriptor.as_fd();
        if source.armed != Interest::NONE && (source.adopted || !P::FORGETS_CLOSED) {
            // It fails only for a source that is not there, which is what is wanted.
            let _ = self.poller.remove(socket, key(handle));
        }
        // Both fail when the peer is gone already.
        if reset {
            self.stats.system_calls += 1;
            let _ = sys::abort(socket);
        } else if source.adopted && !source.listener {
            // Without duplicates elsewhere, closing does the same.
            self.stats.system_calls += 1;
            let _ = sys::shutdown(socket, Shutdown::Both);
        }
        drop(source);
        self.stats.system_calls += 1;
        self.done.finish(token, Outcome::Closed);
    }

    /// Ends the ops of a socket that wait for what cannot be had.
    pub(super) fn fail(&mut self, handle: Handle, want: Interest, error: &io::Error) {
        for (op_kind, wanted) in [(OpKind::Read, want.read), (OpKind::Write, want.write)] {
            let source = self.sources.get_mut(handle).expect("its change was just refused");
            let op = source.side_mut(op_kind).name(handle, op_kind);
            if let Some(op) = op.filter(|_| wanted) {
                self.end(op, Err(copy(error)));
            }
        }
    }

    /// Takes in what a helper has brought.
    pub(super) fn receive_answer(&mut self, answer: Answer) {
        self.stats.system_calls += answer.system_calls;
        let (handle, _, _) = parse(answer.op);
        match answer.result {
            Found::Fetched => {
                if requeue(&mut self.sources, answer.op, Stage::Fetching) {
                    self.runnable.push_back(answer.op);
                }
            }
            Found::Opened(opened) => self.end_task(handle, Outcome::Opened(opened)),
            Found::Read(result, read) => self.end_task(handle, read.end(result)),
        }
    }

    /// The turn of an op on a file: inline if that does not wait for a disk.
    fn turn_file(&mut self, op: OpId, handle: Handle) {
        let job = self.tasks.get_mut(handle).and_then(|task| task.job.take());
        match job {
            Some(Job::Open { root, path }) => self.open_file(op, handle, root, path),
            Some(Job::Read(read)) => self.read_file(op, handle, read),
            Some(Job::Fetch { .. }) => unreachable!("a fetch is no op, but a part of a send"),
            // Cancelled.
            None => {}
        }
    }

    fn open_file(&mut self, op: OpId, handle: Handle, root: Arc<File>, path: CString) {
        self.stats.system_calls += 1;
        let opened = match sys::openat2(root.as_fd(), &path, root.links(), true) {
            Ok(descriptor) => {
                self.stats.system_calls += File::CALLS_OF_NEW;
                File::found(&root, descriptor).map(Arc::new)
            }
            // `EINVAL` comes from kernels before 5.12, which know no `RESOLVE_CACHED`.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINVAL)) => {
                return self.helpers.submit(op, Job::Open { root, path });
            }
            Err(error) => Err(error),
        };
        self.end_task(handle, Outcome::Opened(opened));
    }

    fn read_file(&mut self, op: OpId, handle: Handle, mut read: Read) {
        let bytes_max = usize::try_from(self.limits.turn_bytes_max).unwrap_or(usize::MAX);
        let system_calls = &mut self.stats.system_calls;
        let result = read.advance(bytes_max, |file, room, offset| {
            *system_calls += 1;
            sys::preadv2_nowait(file.as_fd(), room, offset)
        });
        match result {
            Ok(true) => self.end_task(handle, read.end(Ok(()))),
            Ok(false) => {
                let task = self.tasks.get_mut(handle).expect("it is the task's turn");
                task.job = Some(Job::Read(read));
                self.runnable.push_back(op);
            }
            // Not in memory, or on a file system that cannot tell.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EOPNOTSUPP)) => {
                self.helpers.submit(op, Job::Read(read));
            }
            Err(error) => self.end_task(handle, read.end(Err(error))),
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
