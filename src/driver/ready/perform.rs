//! Turns: the attempts that a queued op makes.
//!
//! A turn makes non-blocking attempts until one ends it, and returns the reason, a [`TurnEnd`]. The
//! attempts know nothing of stages and queues; [`Ready::settle`] alone decides where the op goes
//! next.

use std::ffi::CString;
use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use super::super::abort::abort;
use super::helpers::{DiskAnswer, DiskJob, DiskResult};
use super::poller::{Interest, Poller};
use super::source::{OpStage, Source, Work, requeue};
use super::{Ready, key};
use crate::driver::call_log::done;
use crate::driver::disk::BufferRead;
use crate::driver::drain::ListenerDrain;
use crate::driver::failure::AcceptFailure;
use crate::driver::name::{Direction, FileOp, OpName, Sequence};
use crate::driver::op::cancelled;
use crate::driver::slot_map::Handle;
use crate::driver::transfer::AttemptEnd;
use crate::driver::{
    ACCEPT_RETRY, ACCEPTS_PER_WAIT, File, OpId, Outcome, RECEIVE_BYTES_MAX, Sock, Token, sys,
};

/// Why a turn ended.
enum TurnEnd {
    /// The op has ended.
    Ended(io::Result<()>),
    /// The kernel would block: the op waits for a report of the poller.
    Blocked,
    /// The op has used up its turn, and continues in the next.
    Yield,
    /// There is no free buffer.
    WaitsForBuffer,
    /// No descriptor is free: the accept pauses.
    Backoff,
    /// A piece of a file is not in memory.
    Cold(Arc<File>, Range<u64>),
    /// A piece of a file must be read to be sent.
    Uncopied(Arc<File>, Range<u64>),
}

impl<P: Poller> Ready<P> {
    /// Gives each queued op one turn. Returns whether one of them was a send, because a send may
    /// move bytes without a completion.
    pub(super) fn run(&mut self, now: Instant) -> bool {
        let mut sent = false;
        for _ in 0..self.runnable.len() {
            let Some(op) = self.runnable.pop_front() else { break };
            match OpName::of(op) {
                OpName::Side(handle, direction, sequence) => {
                    sent |= direction == Direction::Write;
                    self.turn(op, handle, direction, sequence, now);
                }
                OpName::File(handle) => self.turn_file(op, handle),
                OpName::Close(handle) => self.close(handle),
                OpName::Job(_) => unreachable!("jobs run on their own thread"),
            }
        }
        sent
    }

    /// Gives an op on a socket its turn, unless its name is stale.
    fn turn(
        &mut self,
        op: OpId,
        handle: Handle<Sock>,
        direction: Direction,
        sequence: Sequence,
        now: Instant,
    ) {
        let Some(source) = self.sources.get_mut(handle) else { return };
        let Some(pending) = source.side_mut(direction).op.current(sequence) else { return };
        if pending.stage != OpStage::Queued {
            // The sequence number wraps: after many cancels in one wait, a stale name may match a
            // newer op.
            return;
        }
        let token = pending.token;
        let end = match pending.work {
            Work::Accept(_) => self.accept(handle, token),
            Work::Receive => self.receive(handle, token),
            Work::Send(_) => self.send(handle, now),
        };
        self.settle(op, handle, direction, end, now);
    }

    /// Ends an op, or moves it to the stage in which it waits for what its turn lacked.
    fn settle(
        &mut self,
        op: OpId,
        handle: Handle<Sock>,
        direction: Direction,
        end: TurnEnd,
        now: Instant,
    ) {
        let stage = match end {
            TurnEnd::Ended(result) => return self.end(op, result),
            TurnEnd::Blocked => OpStage::Armed,
            TurnEnd::Yield => {
                self.runnable.push_back(op);
                OpStage::Queued
            }
            TurnEnd::WaitsForBuffer => {
                self.stats.buffer_waits += 1;
                self.waits_for_buffer.push_back(op);
                OpStage::WaitsForBuffer
            }
            TurnEnd::Backoff => {
                self.backoff.push((now + ACCEPT_RETRY, op));
                OpStage::Backoff
            }
            TurnEnd::Cold(file, range) => {
                self.helpers.submit(op, DiskJob::Fetch { file, range });
                OpStage::Fetching
            }
            TurnEnd::Uncopied(file, range) => {
                self.helpers.submit(op, DiskJob::Copy { file, range });
                OpStage::Fetching
            }
        };
        let source = self.sources.get_mut(handle).expect("its turn has just ended");
        let side = source.side_mut(direction);
        let pending = side.op.get_mut().expect("the op has not ended");
        assert!(pending.stage == OpStage::Queued, "{op:?} had a turn while {:?}", pending.stage);
        pending.stage = stage;
        if stage == OpStage::Armed {
            side.block();
            self.change(handle);
        }
    }

    /// Accepts in turns. A shared listener has a turn of one connection, and is then watched anew:
    /// that puts this driver behind the others, so that the next connection wakes another one.
    fn accept(&mut self, handle: Handle<Sock>, token: Token) -> TurnEnd {
        let source = self.sources.get_mut(handle).expect("it is the listener's turn");
        let one = source.shared && source.read.drain().is_none();
        for _ in 0..if one { 1 } else { ACCEPTS_PER_WAIT } {
            let listener = self.sources.get_mut(handle).expect("it is the listener's turn");
            let mut drain = listener.read.drain();
            if drain.as_mut().is_some_and(|drain| !drain.may_accept()) {
                return TurnEnd::Ended(Err(cancelled()));
            }
            self.stats.system_calls += 1;
            let error = match sys::accept(listener.descriptor.as_fd()) {
                Ok(socket) => {
                    if let Some(drain) = drain {
                        drain.release(socket.as_fd(), &mut self.stats);
                    }
                    self.admit(socket, token);
                    continue;
                }
                Err(error) => error,
            };
            match AcceptFailure::of_error(&error) {
                AcceptFailure::WouldBlock if drain.is_some() => {
                    return TurnEnd::Ended(Err(cancelled()));
                }
                AcceptFailure::WouldBlock => {
                    self.stats.would_block += 1;
                    return TurnEnd::Blocked;
                }
                AcceptFailure::Shortage => {
                    let again = drain.is_none_or(ListenerDrain::may_pause);
                    return if again { TurnEnd::Backoff } else { TurnEnd::Ended(Err(cancelled())) };
                }
                AcceptFailure::Transient => {}
                AcceptFailure::Broken if drain.is_some() => {
                    return TurnEnd::Ended(Err(cancelled()));
                }
                AcceptFailure::Broken => return TurnEnd::Ended(Err(error)),
            }
        }
        if one {
            self.unwatch(handle);
            return TurnEnd::Blocked;
        }
        TurnEnd::Yield
    }

    /// Registers an accepted connection, or closes it if the table is full.
    fn admit(&mut self, socket: OwnedFd, token: Token) {
        if self.sources.is_full() {
            self.stats.system_calls += 1;
            self.stats.refused += 1;
            return;
        }
        match self.register(Source::new(socket, false, false)) {
            Ok(handle) => {
                self.done.progress(token, Outcome::Accepted(Ok(Sock(handle))));
            }
            Err(_) => self.stats.refused += 1,
        }
    }

    /// Receives until the socket is drained. A short read shows that it is, which saves a call that
    /// would block, unless the poller has reported something that may lie behind the data.
    fn receive(&mut self, handle: Handle<Sock>, token: Token) -> TurnEnd {
        let source = self.sources.get(handle).expect("it is the source's turn");
        let mut left = self.limits.turn_bytes_max.min(RECEIVE_BYTES_MAX);
        while left > 0 {
            let Some(mut lease) = self.pool.take() else { return TurnEnd::WaitsForBuffer };
            let room = lease.spare_mut();
            let len = room.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.stats.system_calls += 1;
            match sys::recv(source.descriptor.as_fd(), &mut room[..len]) {
                Ok(0) => return TurnEnd::Ended(Ok(())),
                Ok(count) => {
                    lease.truncate(count);
                    self.done.progress(token, Outcome::Received(Ok(Some(lease))));
                    left -= count as u64;
                    if count < len && !source.may_hide_more() {
                        return TurnEnd::Blocked;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stats.would_block += 1;
                    return TurnEnd::Blocked;
                }
                Err(error) => return TurnEnd::Ended(Err(error)),
            }
            if self.scarce {
                break;
            }
        }
        TurnEnd::Yield
    }

    fn send(&mut self, handle: Handle<Sock>, now: Instant) -> TurnEnd {
        let source = self.sources.get_mut(handle).expect("it is the source's turn");
        let socket = source.descriptor.as_fd();
        let Some(Work::Send(transfer)) = source.write.op.get_mut().map(|send| &mut send.work)
        else {
            unreachable!("the write side has sends only")
        };
        let most = self.limits.turn_bytes_max;
        match transfer.attempt(socket, most, now, &mut self.stats) {
            AttemptEnd::Done => {
                if transfer.end.needs_shutdown(&transfer.chain) {
                    self.stats.system_calls += 1;
                    // Fails if the peer is gone. The kernel has all bytes either way.
                    let _ = sys::shutdown(socket, Shutdown::Write);
                }
                TurnEnd::Ended(Ok(()))
            }
            AttemptEnd::Blocked => TurnEnd::Blocked,
            AttemptEnd::Spent => TurnEnd::Yield,
            AttemptEnd::Cold(file, range) => TurnEnd::Cold(file, range),
            AttemptEnd::Uncopied(file, range) => TurnEnd::Uncopied(file, range),
            AttemptEnd::Failed(error) => TurnEnd::Ended(Err(error)),
        }
    }
}

/// Closes, failures, and ops on files.
impl<P: Poller> Ready<P> {
    /// Begins to deliver the backlog of a closed listener through the accept in flight on it; the
    /// end of the accept queues the close again. Returns `false` if there is no accept, or if the
    /// listener is joint.
    fn drain(&mut self, handle: Handle<Sock>) -> bool {
        let source = self.sources.get_mut(handle).expect("a socket is closed once");
        if source.joint {
            return false;
        }
        let op = source.read.op.name(handle, Direction::Read);
        let work = source.read.op.get_mut().map(|pending| &mut pending.work);
        let (Some(op), Some(Work::Accept(drain))) = (op, work) else { return false };
        *drain = Some(ListenerDrain::begin(source.descriptor.as_fd(), &mut self.stats));
        // In any other stage it is queued already, or backs off until descriptors may be free.
        if requeue(&mut self.sources, op, OpStage::Armed) {
            self.runnable.push_back(op);
        }
        true
    }

    /// Closes a socket: ends its other ops, closes the descriptor, and completes the close.
    fn close(&mut self, handle: Handle<Sock>) {
        if self.drain(handle) {
            return;
        }
        for direction in [Direction::Read, Direction::Write] {
            let source = self.sources.get_mut(handle).expect("a socket is closed once");
            if let Some(op) = source.side_mut(direction).op.name(handle, direction) {
                self.end(op, Err(cancelled()));
            }
        }
        let source = self.sources.remove(handle).expect("a socket is closed once");
        let (token, reset) = source.closing.expect("a close was submitted");
        let socket = source.descriptor.as_fd();
        if source.armed != Interest::NONE && (source.adopted || !P::FORGETS_CLOSED) {
            // Fails only if the poller does not have the source, which is the goal.
            let _ = self.poller.remove(socket, key(handle));
        }
        // Both calls fail if the peer is gone already.
        if reset {
            self.stats.system_calls += 1;
            let _ = abort(socket);
        } else if source.adopted && !source.listener {
            // A duplicate of an adopted socket would keep the connection open.
            self.stats.system_calls += 1;
            let _ = sys::shutdown(socket, Shutdown::Both);
        }
        done("close", || drop(source));
        self.stats.system_calls += 1;
        self.done.finish(token, Outcome::Closed);
    }

    /// Fails the ops that wait for a report, after the poller has refused to watch their socket.
    pub(super) fn fail(&mut self, handle: Handle<Sock>, want: Interest, error: &io::Error) {
        for (direction, wanted) in [(Direction::Read, want.read), (Direction::Write, want.write)] {
            let source = self.sources.get_mut(handle).expect("the poller has just refused it");
            let op = source.side_mut(direction).op.name(handle, direction);
            if let Some(op) = op.filter(|_| wanted) {
                self.end(op, Err(copy(error)));
            }
        }
    }

    /// Processes the answer of a helper.
    pub(super) fn receive_answer(&mut self, answer: DiskAnswer) {
        self.stats.system_calls += answer.system_calls;
        match (answer.result, OpName::of(answer.op)) {
            (DiskResult::Fetched, _) => self.send_on(answer.op),
            (DiskResult::Copied(file, start, read), OpName::Side(handle, direction, sequence)) => {
                let source = self.sources.get_mut(handle);
                let side = source.map(|source| source.side_mut(direction));
                // The send may have been cancelled meanwhile.
                if let Some(Work::Send(transfer)) =
                    side.and_then(|side| side.op.current(sequence)).map(|send| &mut send.work)
                {
                    transfer.copied(&file, start, read);
                    self.send_on(answer.op);
                }
            }
            (DiskResult::Opened(opened), OpName::File(handle)) => {
                self.end_task(handle, Outcome::Opened(opened));
            }
            (DiskResult::Read(result, read), OpName::File(handle)) => {
                self.end_task(handle, read.end(result));
            }
            (result, name) => unreachable!("{result:?} for {name:?}"),
        }
    }

    /// Queues a send whose data a helper has read, unless it has ended meanwhile.
    fn send_on(&mut self, op: OpId) {
        if requeue(&mut self.sources, op, OpStage::Fetching) {
            self.runnable.push_back(op);
        }
    }

    /// Gives an op on a file its turn: inline, or through a helper if it would wait for a disk.
    fn turn_file(&mut self, op: OpId, handle: Handle<FileOp>) {
        let job = self.files.get_mut(handle).and_then(|task| task.job.take());
        match job {
            Some(DiskJob::Open { root, path }) => self.open_file(op, handle, root, path),
            Some(DiskJob::Read(read)) => self.read_file(op, handle, read),
            Some(DiskJob::Fetch { .. } | DiskJob::Copy { .. }) => {
                unreachable!("it is part of a send, not an op")
            }
            // The op was cancelled.
            None => {}
        }
    }

    fn open_file(&mut self, op: OpId, handle: Handle<FileOp>, root: Arc<File>, path: CString) {
        self.stats.system_calls += 1;
        let opened = match sys::openat2(root.as_fd(), &path, root.links(), true) {
            Ok(descriptor) => {
                self.stats.system_calls += File::CALLS_OF_NEW;
                File::found(&root, descriptor).map(Arc::new)
            }
            // Kernels before 5.12 do not know `RESOLVE_CACHED`, and return `EINVAL`.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINVAL)) => {
                return self.helpers.submit(op, DiskJob::Open { root, path });
            }
            Err(error) => Err(error),
        };
        self.end_task(handle, Outcome::Opened(opened));
    }

    fn read_file(&mut self, op: OpId, handle: Handle<FileOp>, mut read: BufferRead) {
        let bytes_max = usize::try_from(self.limits.turn_bytes_max).unwrap_or(usize::MAX);
        let system_calls = &mut self.stats.system_calls;
        let result = read.advance(bytes_max, |file, room, offset| {
            *system_calls += 1;
            sys::preadv2_nowait(file.as_fd(), room, offset)
        });
        match result {
            Ok(true) => self.end_task(handle, read.end(Ok(()))),
            Ok(false) => {
                let task = self.files.get_mut(handle).expect("it is the task's turn");
                task.job = Some(DiskJob::Read(read));
                self.runnable.push_back(op);
            }
            // The data is not in memory, the file system does not support `RWF_NOWAIT`, or the call
            // is denied. A read that may wait has the true answer, also of other errors.
            Err(_) => self.helpers.submit(op, DiskJob::Read(read)),
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
