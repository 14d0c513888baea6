//! The steps of a wait: processing the answers of threads, and starting calls.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::job::{
    BlockingJob, ChainPiece, FileJob, FileResult, JobResult, PieceSent, SharedSocket, SocketJob,
    SocketResult,
};
use super::mailbox::ThreadAnswer;
use super::socket::{Held, ThreadedSocket};
use super::{FILE_THREADS, RECEIVE_BUFFERS, Threads};
use crate::driver::disk::BufferRead;
use crate::driver::failure::AcceptFailure;
use crate::driver::name::{Direction, FileOp, OpName, Sequence};
use crate::driver::op::cancelled;
use crate::driver::slot_map::Handle;
use crate::driver::{ACCEPT_RETRY, OpId, Outcome, Sock, Token};

/// Answers of threads.
impl Threads {
    /// Processes the answers. Returns whether one of them was for a send, or for a part of a read:
    /// these may move bytes without a completion.
    pub(super) fn collect(&mut self, now: Instant) -> bool {
        let mut answers = std::mem::take(&mut self.answers);
        let news = self.mailbox.collect(&mut answers);
        if news.woken {
            self.done.wake();
        }
        if news.jobs_done {
            self.jobs.collect(&mut self.done);
        }
        let mut sent = false;
        for ThreadAnswer { thread, result, calls } in answers.drain(..) {
            self.stats.system_calls += calls.made;
            self.stats.would_block += calls.would_block;
            self.threads.release(thread, now);
            match result {
                JobResult::Socket(handle, result) => {
                    sent |= matches!(result, SocketResult::Sent(_));
                    self.answer_on_socket(handle, result, now);
                }
                JobResult::File(handle, result) => {
                    sent |= matches!(result, FileResult::Read(Ok(false), _));
                    self.answer_on_file(handle, result);
                }
            }
        }
        self.answers = answers;
        sent
    }

    fn answer_on_socket(&mut self, handle: Handle<Sock>, result: SocketResult, now: Instant) {
        match result {
            SocketResult::Accepted(accepted) => self.accepted(handle, accepted, now),
            SocketResult::Received(result, buffer) => self.received(handle, result, buffer),
            SocketResult::Sent(sent) => self.sent(handle, sent),
        }
    }

    fn answer_on_file(&mut self, handle: Handle<FileOp>, result: FileResult) {
        assert!(self.files_busy > 0, "no thread worked on a file");
        self.files_busy -= 1;
        match result {
            FileResult::Opened(opened) => self.end_task(handle, Outcome::Opened(opened)),
            FileResult::Read(Ok(true), read) => self.end_task(handle, read.end(Ok(()))),
            FileResult::Read(Ok(false), read) => self.read_on(handle, read),
            FileResult::Read(Err(error), read) => self.end_task(handle, read.end(Err(error))),
        }
    }
}

/// The effect of an answer on its op.
impl Threads {
    fn accepted(&mut self, handle: Handle<Sock>, accepted: io::Result<OwnedFd>, now: Instant) {
        let socket = self.sockets.get_mut(handle).expect("a thread was in a call on it");
        socket.read.leave();
        if socket.drain().is_some() || socket.is_left() {
            return self.accepted_last(handle, accepted);
        }
        let op = socket.read.op.name(handle, Direction::Read);
        match accepted {
            Ok(connection) => {
                socket.held = Held::Connection(connection);
                self.runnable.extend(op);
            }
            Err(error) => match AcceptFailure::of_error(&error) {
                // An accept would block only if a duplicate was made non-blocking.
                AcceptFailure::Shortage | AcceptFailure::WouldBlock => {
                    self.backoff.extend(op.map(|op| (now + ACCEPT_RETRY, op)));
                }
                AcceptFailure::Transient => self.runnable.extend(op),
                AcceptFailure::Broken => {
                    socket.held = Held::Failed(error);
                    self.runnable.extend(op);
                }
            },
        }
        self.close_if_idle(handle);
    }

    fn received(&mut self, handle: Handle<Sock>, result: io::Result<usize>, buffer: Vec<u8>) {
        let socket = self.sockets.get_mut(handle).expect("a thread was in a call on it");
        socket.read.leave();
        socket.buffer = buffer;
        socket.held = match result {
            Ok(0) => Held::End,
            Ok(count) => Held::Bytes(0..count, false),
            Err(error) => Held::Failed(error),
        };
        self.runnable.extend(socket.read.op.name(handle, Direction::Read));
        self.close_if_idle(handle);
    }

    fn sent(&mut self, handle: Handle<Sock>, sent: PieceSent) {
        let socket = self.sockets.get_mut(handle).expect("a thread was in a call on it");
        socket.write.leave();
        socket.memory = sent.memory;
        let closing = socket.close.is_some();
        let op = socket.write.op.name(handle, Direction::Write);
        let send = socket.write.op.get_mut().expect("a send outlives the calls made for it");
        send.chain.advance(sent.bytes);
        let unwanted = closing || send.cancelled;
        match sent.result {
            Err(_) if unwanted => self.end_send(handle, Err(cancelled())),
            Err(error) => self.end_send(handle, Err(error)),
            Ok(()) if send.chain.is_empty() => self.end_send(handle, Ok(())),
            Ok(()) if unwanted => self.end_send(handle, Err(cancelled())),
            Ok(()) => self.runnable.extend(op),
        }
        self.close_if_idle(handle);
    }

    fn read_on(&mut self, handle: Handle<FileOp>, read: BufferRead) {
        let job = FileJob::Read { read, bytes_max: self.turn_bytes() };
        self.files.get_mut(handle).expect("a thread worked on it").job = Some(job);
        self.files_in_line.push_back(handle);
    }
}

/// Turns of ops.
impl Threads {
    /// Queues the accepts whose backoff is over, and ends threads that have been idle for long.
    pub(super) fn revive(&mut self, now: Instant) {
        let runnable = &mut self.runnable;
        self.backoff.retain(|(until, op)| {
            let rested = *until <= now;
            if rested {
                runnable.push_back(*op);
            }
            !rested
        });
        self.threads.end_idle(now);
    }

    /// Gives each queued op one turn: an op takes the held result of its side, or starts a call.
    pub(super) fn run(&mut self, now: Instant) {
        for _ in 0..self.runnable.len() {
            let Some(op) = self.runnable.pop_front() else { break };
            match OpName::of(op) {
                OpName::Side(handle, Direction::Read, sequence) => {
                    self.turn_read(op, handle, sequence, now);
                }
                OpName::Side(handle, Direction::Write, sequence) => {
                    self.turn_send(handle, sequence);
                }
                OpName::Close(handle) => self.begin_close(handle, now),
                OpName::File(_) | OpName::Job(_) => {
                    unreachable!("ops on files and jobs have queues of their own")
                }
            }
        }
        self.deliver_held(now);
        self.run_files();
    }

    /// Gives an accept or a receive its turn, unless its name is stale: takes the held result, or
    /// makes a thread wait for one.
    fn turn_read(&mut self, op: OpId, handle: Handle<Sock>, sequence: Sequence, now: Instant) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(read) = socket.read.op.current(sequence).copied() else { return };
        if socket.drain().is_some() || socket.is_left() {
            return;
        }
        match std::mem::replace(&mut socket.held, Held::Nothing) {
            Held::Nothing => self.start_call(op, handle, read.accept, now),
            Held::Connection(connection) => {
                self.admit(connection, read.token);
                // Wait for the next connection; a later wait delivers it.
                self.start_call(op, handle, read.accept, now);
            }
            Held::End => self.end_read(handle, Ok(())),
            Held::Failed(error) => self.end_read(handle, Err(error)),
            bytes @ Held::Bytes(..) => {
                socket.held = bytes;
                self.waits_for_buffer.push_back(op);
            }
        }
    }

    /// Makes a thread wait on the read side, unless one does already. A receive may fill as many
    /// buffers as are free, up to [`RECEIVE_BUFFERS`]; if none is free, it waits for one.
    fn start_call(&mut self, op: OpId, handle: Handle<Sock>, accept: bool, now: Instant) {
        let room_max = (RECEIVE_BUFFERS * self.pool.buffer_bytes()).min(self.turn_bytes());
        let room = room_max.min(self.pool.available() * self.pool.buffer_bytes());
        let socket = self.sockets.get_mut(handle).expect("it is the socket's turn");
        if socket.read.busy {
            return;
        }
        if room == 0 && !accept {
            self.stats.buffer_waits += 1;
            return self.waits_for_buffer.push_back(op);
        }
        if room < room_max && !accept {
            // While buffers are scarce, no receive may have a second turn before all others had the
            // chance of a first: two threads that wake each other can starve a third.
            self.stats.system_calls += self.threads.wait_begun();
        }
        let thread = match self.threads.acquire() {
            Ok(thread) => thread,
            Err(_) if accept => return self.backoff.push((now + ACCEPT_RETRY, op)),
            Err(error) => return self.end_read(handle, Err(error)),
        };
        let shared = Arc::clone(&socket.shared);
        let job = if accept {
            SocketJob::Accept(shared)
        } else {
            let mut buffer = std::mem::take(&mut socket.buffer);
            if buffer.is_empty() {
                buffer = vec![0; room_max];
            }
            SocketJob::Receive { shared, buffer, room }
        };
        socket.read.enter();
        self.threads.submit(thread, BlockingJob::Socket(handle, job));
    }

    /// Registers an accepted connection, or closes it if the table is full.
    pub(super) fn admit(&mut self, connection: OwnedFd, token: Token) {
        if self.sockets.is_full() {
            self.stats.system_calls += 1;
            self.stats.refused += 1;
            return;
        }
        let socket = ThreadedSocket::new(SharedSocket::new(connection), false, false);
        let handle = self.sockets.insert(socket).expect("the table is not full");
        self.done.progress(token, Outcome::Accepted(Ok(Sock(handle))));
    }

    /// Copies held bytes into buffers of the pool, one buffer for each receive in turn. A receive
    /// with no bytes left starts the next call; one that finds no free buffer stays in the queue.
    fn deliver_held(&mut self, now: Instant) {
        while let Some(op) = self.waits_for_buffer.pop_front() {
            let Some(mut lease) = self.pool.take() else {
                self.waits_for_buffer.push_front(op);
                break;
            };
            let handle = reader(op);
            let socket = self.sockets.get_mut(handle).expect("an op leaves the queue when it ends");
            let Held::Bytes(range, _) = &mut socket.held else {
                // The receive waited to begin. It takes a buffer when its bytes arrive.
                drop(lease);
                self.start_call(op, handle, false, now);
                continue;
            };
            let room = lease.spare_mut();
            let count = range.len().min(room.len());
            room[..count].copy_from_slice(&socket.buffer[range.start..range.start + count]);
            lease.truncate(count);
            range.start += count;
            let through = range.start == range.end;
            if through {
                socket.held = Held::Nothing;
            }
            let read = socket.read.op.get().expect("an op leaves the queue when it ends");
            let token = read.token;
            // Before the next call: if no thread can be started for that, the op ends.
            self.done.progress(token, Outcome::Received(Ok(Some(lease))));
            if through {
                self.start_call(op, handle, false, now);
            } else {
                self.waits_for_buffer.push_back(op);
            }
        }
        for op in &self.waits_for_buffer {
            let handle = reader(*op);
            let socket = self.sockets.get_mut(handle).expect("an op leaves the queue when it ends");
            if let Held::Bytes(_, counted @ false) = &mut socket.held {
                *counted = true;
                self.stats.buffer_waits += 1;
            }
        }
    }
}

/// Sends and files.
impl Threads {
    /// Gives a send its turn, unless its name is stale: a thread sends the next piece.
    fn turn_send(&mut self, handle: Handle<Sock>, sequence: Sequence) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        if socket.write.busy {
            // The sequence number wraps: after many cancels in one wait, a stale name may match a
            // newer op.
            return;
        }
        let Some(send) = socket.write.op.current(sequence) else { return };
        let memory = std::mem::take(&mut socket.memory);
        let Some(piece) =
            ChainPiece::cut(&send.chain, send.end, self.limits.turn_bytes_max, memory)
        else {
            return self.end_send(handle, Ok(()));
        };
        match self.threads.acquire() {
            Ok(thread) => {
                socket.shared.give_up_send(false);
                socket.write.enter();
                let job = SocketJob::Send(Arc::clone(&socket.shared), piece);
                self.threads.submit(thread, BlockingJob::Socket(handle, job));
            }
            Err(error) => self.end_send(handle, Err(error)),
        }
    }

    /// Starts the ops on files, in order, on the threads for files.
    fn run_files(&mut self) {
        while self.files_busy < FILE_THREADS {
            let Some(handle) = self.files_in_line.pop_front() else { return };
            let thread = self.threads.acquire();
            if thread.is_err() && self.files_busy > 0 {
                // The op waits for a thread that works on a file.
                return self.files_in_line.push_front(handle);
            }
            let task = self.files.get_mut(handle).expect("an op leaves the queue when it ends");
            let job = task.job.take().expect("no thread has the job");
            match thread {
                Ok(thread) => {
                    self.files_busy += 1;
                    self.threads.submit(thread, BlockingJob::File(handle, job));
                }
                Err(error) => self.end_task(handle, job.end(error)),
            }
        }
    }
}

/// The socket of an op that waits for a buffer.
fn reader(op: OpId) -> Handle<Sock> {
    match OpName::of(op) {
        OpName::Side(handle, Direction::Read, _) => handle,
        other => unreachable!("{other:?} needs no buffer"),
    }
}
