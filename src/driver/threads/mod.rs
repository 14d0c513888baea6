//! The blocking model: implements the [`Driver`] contract with threads in blocking system calls.
//!
//! Every op uses the calls that the manual pages teach first: `recv(2)`, `send(2)` and
//! `sendfile(2)` on blocking sockets, each in a thread that blocks in it. Only the thread of a
//! listener blocks in `poll(2)`, before `accept(2)`. The kernel's scheduler is
//! the event loop. The driver exists to show what this model costs: a thread with two stacks for
//! each idle connection, and two handovers between threads for each step of an op, where a reactor
//! makes one system call.
//!
//! # A step
//!
//! The driver divides an op into steps ([`job`]), gives each step to a thread ([`thread_pool`]),
//! and receives the answer through the [`mailbox`], which is the only thing it ever waits on. One
//! answer is one turn, and the next step of the op begins only after it. So a turn is bounded, and
//! the completions of a side of a socket stay in order. Threads never access the chain or the
//! buffers of the pool: the driver copies the bytes to send for them, and copies what they received
//! into a [`Lease`](super::Lease). Files are shared.
//!
//! One [`Driver::wait`] collects the answers, starts steps, distributes received bytes, and sleeps
//! if there is no completion.
//!
//! Invariants, which are asserted: an answer for a side of a socket comes from the thread that made
//! the side busy; no more threads are idle than exist, and none has two jobs; no more ops end than
//! are in flight.
//!
//! # Ending blocked calls
//!
//! * *Close*: `shutdown(2)`, or `connect(2)` with `AF_UNSPEC` for a reset, makes every call on the
//!   socket return. The descriptor is closed when no thread is in a call on it; otherwise such a
//!   call might act on the next file with that number. A listener is shut down too, which ends it
//!   for the holders of duplicates as well. Before that, the driver's own thread accepts the
//!   backlog. It also delivers the connection that the listener's thread has accepted, or accepts
//!   last. A joint listener must not be shut down, so its thread also waits for an eventfd, which
//!   makes it leave.
//! * *Cancel of a receive or an accept*: ends the op at once. Its thread stays in the call, and the
//!   result is held for the next op on that side ([`socket`]): at most one piece of input, or one
//!   connection.
//! * *Cancel of a send*: a blocked send checks every tenth of a second whether it was given up
//!   (`SO_SNDTIMEO`, `socket(7)`; set on each connection, because only some inherit it), and then
//!   returns how much it has sent. So no byte is sent after the last completion, and the thread
//!   drops the file before it. (A receive could check in the same way, but thousands of idle
//!   receives should sleep.)
//! * *Drop*: shuts down all sockets and waits for the threads. A thread that waits for a disk may
//!   end later; it owns everything it uses, and its answer is dropped.
//!
//! # Limits
//!
//! A socket has at most two threads, and there are [`FILE_THREADS`] for files. So [`SOCKETS_MAX`]
//! sockets need at most [`THREADS_MAX`] threads. A connection beyond [`SOCKETS_MAX`] is closed at
//! once, and counted in [`DriverStats::refused`]. There is a thread for every socket op that can
//! block, so no op waits for the peer of another.
//!
//! Jobs ([`Op::Run`]) have one more thread, as in the other drivers.
//!
//! An open starts the threads that one connection needs. So a process that may have no more threads
//! (`ulimit -u`) fails at its start, instead of accepting connections that nobody can serve.
//!
//! All drivers of the process share [`PROCESS_THREADS_MAX`] threads, or fewer if memory maps are
//! short: 4095 with the default `vm.max_map_count` of 65530 ([`budget`] explains why). When these
//! threads are in use, or the machine refuses another, an op that needs a thread fails with an
//! error that says so; an accept pauses instead ([`ACCEPT_RETRY`](super::ACCEPT_RETRY)).
//!
//! A receive begins when a buffer is free, and one call may fill [`RECEIVE_BUFFERS`]. It reserves
//! no buffer, because thousands of receives may wait while few have input. If no buffer is free
//! when the bytes arrive, they wait in the driver. While buffers are scarce, the order of turns
//! must not depend on the scheduler; see `start_call` in `turns.rs`.
//!
//! # Statistics
//!
//! [`DriverStats::system_calls`] counts the calls on sockets and files, when their thread answers,
//! and each sleep of a wait. It does not count the handovers, which are up to two futex(2) calls in
//! each direction; `strace -f` shows them. [`DriverStats::would_block`] counts sends that moved
//! nothing for a tenth of a second, and calls on a socket that somebody has made non-blocking
//! through a duplicate. In the second case, the thread waits in poll(2) before it tries again. An
//! accept does so in any case, and counts those that another holder of the listener was faster at.

mod budget;
mod close;
mod job;
mod limits;
mod mailbox;
mod socket;
#[cfg(test)]
mod tests;
mod thread_pool;
mod turns;

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::budget::Budget;
use self::job::{Calls, FileJob, SharedSocket, limit_sends};
use self::mailbox::{JobNotifier, ThreadAnswer, ThreadMailbox};
use self::socket::{Close, ClosePhase, ReadOp, SendOp, ThreadedSocket};
use self::thread_pool::ThreadPool;
use super::completions::Completions;
use super::disk::{BufferRead, FileTask};
use super::job_thread::JobThread;
use super::name::{Direction, FileOp, OpName};
use super::op::cancelled;
use super::pace;
use super::pool::Pool;
use super::setup::step_failed;
use super::slot_map::{Handle, SlotMap};
use super::{
    Completion, Driver, DriverStats, Limits, Op, OpId, Outcome, Sock, SocketAddress, Token, Waker,
    sys,
};

pub use self::limits::{FILE_THREADS, PROCESS_THREADS_MAX, SOCKETS_MAX, THREADS_MAX};

/// The most receive buffers of the pool that one `recv(2)` may fill.
const RECEIVE_BUFFERS: usize = 4;

/// Threads of a driver that was just opened: for an accept, and the receive, the file and the send
/// of one request.
const THREADS_AT_START: usize = 4;

/// The driver of blocking calls; see the module documentation.
#[derive(Debug)]
pub struct Threads {
    threads: ThreadPool,
    mailbox: Arc<ThreadMailbox>,
    jobs: JobThread,
    limits: Limits,
    pool: Rc<Pool>,
    sockets: SlotMap<ThreadedSocket, Sock>,
    sockets_max: u32,
    files: SlotMap<FileTask<FileJob>, FileOp>,
    /// Closes, and ops that are due their next step.
    runnable: VecDeque<OpId>,
    /// Ops on files that wait for one of the threads for files; each is here at most once.
    files_in_line: VecDeque<Handle<FileOp>>,
    /// Threads that work on files.
    files_busy: u32,
    /// Receives that wait for a buffer: for held bytes, or to begin.
    waits_for_buffer: VecDeque<OpId>,
    /// Accepts that pause for lack of descriptors or threads, and when each resumes.
    backoff: Vec<(Instant, OpId)>,
    /// Completions that `wait` delivers when it returns.
    done: Completions,
    /// The collected answers. Empty between waits; kept to reuse its memory.
    answers: Vec<ThreadAnswer>,
    stats: DriverStats,
}

impl Threads {
    /// Opens a driver, and starts as many threads as one connection needs. The others start when
    /// an op finds none idle.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started: then the driver could not serve even one connection.
    pub fn open(limits: &Limits) -> io::Result<Self> {
        let mut driver = Self::with_threads(limits, THREADS_MAX, Budget::of_process());
        driver.threads.start(THREADS_AT_START)?;
        Ok(driver)
    }

    fn with_threads(limits: &Limits, threads_max: u32, budget: &'static Budget) -> Self {
        assert!(limits.sockets_max > 0);
        assert!(limits.turn_bytes_max > 0);
        let mailbox = Arc::new(ThreadMailbox::default());
        let sockets_max = limits.sockets_max.min(SOCKETS_MAX);
        Self {
            threads: ThreadPool::new(threads_max, budget, Arc::clone(&mailbox)),
            jobs: JobThread::new(Arc::new(JobNotifier(Arc::clone(&mailbox)))),
            mailbox,
            limits: *limits,
            pool: Pool::new(limits.buffers, limits.buffer_bytes),
            sockets: SlotMap::reserved(sockets_max),
            sockets_max,
            files: SlotMap::marked(limits.file_ops_max()),
            runnable: VecDeque::new(),
            files_in_line: VecDeque::new(),
            files_busy: 0,
            waits_for_buffer: VecDeque::new(),
            backoff: Vec::new(),
            done: Completions::default(),
            answers: Vec::new(),
            stats: DriverStats::default(),
        }
    }
}

impl super::sealed::Sealed for Threads {}

impl Driver for Threads {
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock> {
        if self.sockets.is_full() {
            let max = self.sockets_max;
            let reason = format!(
                "all {max} sockets of this driver are in use, and each may need two threads; \
                 allow fewer connections, or use another driver"
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        let options = socket2::SockRef::from(&socket);
        let is_listener = options.is_listener();
        let waits = !matches!(is_listener, Ok(true));
        options.set_nonblocking(!waits).map_err(|error| step_failed("fcntl", &error))?;
        let mut calls = Calls { made: 3, would_block: 0 };
        if waits {
            limit_sends(&socket, &mut calls).map_err(|error| step_failed("setsockopt", &error))?;
        }
        // If the call is denied, the socket is taken for a listener: a close then leaves a
        // connection to the other holders of duplicates.
        let listener = is_listener.unwrap_or(true);
        let shared = match listener {
            true => SharedSocket::listening(socket).map_err(|it| step_failed("eventfd", &it))?,
            false => SharedSocket::new(socket),
        };
        self.stats.system_calls += calls.made + u64::from(listener);
        let socket = ThreadedSocket::new(shared, true, listener);
        Ok(Sock(self.sockets.insert(socket).expect("the table is not full")))
    }

    fn set_joint(&mut self, listener: Sock, joint: bool) {
        self.sockets.get_mut(listener.0).unwrap_or_else(|| listener.stale()).joint = joint;
    }

    fn duplicate(&self, listener: Sock) -> io::Result<OwnedFd> {
        self.socket(listener).shared.as_fd().try_clone_to_owned()
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        self.done.begin();
        match op {
            Op::AcceptMany { listener } => self.start_read(listener, token, true),
            Op::RecvMany { sock } => self.start_read(sock, token, false),
            Op::Send { sock, chain, end } => {
                let send = SendOp { token, chain, end, cancelled: false };
                let sequence = self.open_socket(sock).write.op.start(send);
                self.queue(OpName::Side(sock.0, Direction::Write, sequence))
            }
            Op::ReadFile { file, offset, buffer } => {
                let start = buffer.len();
                let read = BufferRead { file, offset, buffer, start };
                self.start_task(token, FileJob::Read { read, bytes_max: self.turn_bytes() })
            }
            Op::OpenFile { root, path } => self.start_task(token, FileJob::Open { root, path }),
            Op::Run { job } => OpName::Job(self.jobs.start(token, job, &mut self.done)).id(),
            Op::Close { sock, reset } => {
                self.open_socket(sock).close =
                    Some(Close { token, reset, phase: ClosePhase::Submitted });
                self.queue(OpName::Close(sock.0))
            }
        }
    }

    fn cancel(&mut self, op: OpId) {
        match OpName::of(op) {
            OpName::Side(handle, Direction::Read, sequence) => {
                let socket = self.sockets.get_mut(handle);
                if socket.is_some_and(|socket| socket.read.op.current(sequence).is_some()) {
                    self.end_read(handle, Err(cancelled()));
                }
            }
            OpName::Side(handle, Direction::Write, sequence) => {
                let Some(socket) = self.sockets.get_mut(handle) else { return };
                let busy = socket.write.busy;
                let Some(send) = socket.write.op.current(sequence) else { return };
                send.cancelled = true;
                if busy {
                    socket.shared.give_up_send(true);
                } else {
                    self.end_send(handle, Err(cancelled()));
                }
            }
            OpName::File(handle) => {
                // A job that a thread has begun cannot be stopped; contract 7 allows it to succeed.
                let job = self.files.get_mut(handle).and_then(|task| task.job.take());
                if let Some(job) = job {
                    self.files_in_line.retain(|other| *other != handle);
                    self.end_task(handle, job.end(cancelled()));
                }
            }
            OpName::Job(handle) => self.jobs.stop(handle, &mut self.done),
            // A close is on its way to completion already.
            OpName::Close(_) => {}
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let now = Instant::now();
            // A send that has had its turn ends the wait, even without a completion (contract 10).
            let sent = self.collect(now);
            self.revive(now);
            self.run(now);
            let delivered = self.done.deliver(out, &mut self.stats);
            let moved = sent || delivered || !self.runnable.is_empty();
            if moved || deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(());
            }
            self.sleep(deadline);
        }
    }

    fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.mailbox) as Arc<_>)
    }

    fn acknowledged(&self, sock: Sock) -> io::Result<u64> {
        let socket = self.socket(sock);
        let sending = socket.write.op.get().map_or(0, |send| send.chain.sent());
        sys::acknowledged(socket.shared.as_fd(), socket.sent + sending)
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        sys::peer(self.socket(sock).shared.as_fd())
    }

    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()> {
        pace::set(self.socket(sock).shared.as_fd(), rate)
    }

    fn has_input(&self, sock: Sock) -> bool {
        sys::has_input(self.socket(sock).shared.as_fd())
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        sys::local(self.socket(sock).shared.as_fd())
    }

    fn in_flight(&self) -> usize {
        self.done.in_flight()
    }

    fn leased(&self) -> usize {
        self.pool.lent()
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }
}

/// Starts and ends of ops.
impl Threads {
    fn socket(&self, sock: Sock) -> &ThreadedSocket {
        self.sockets.get(sock.0).unwrap_or_else(|| sock.stale())
    }

    /// The record of a socket that accepts new ops.
    fn open_socket(&mut self, sock: Sock) -> &mut ThreadedSocket {
        let socket = self.sockets.get_mut(sock.0).unwrap_or_else(|| sock.stale());
        assert!(socket.close.is_none(), "an op on {sock:?}, whose close was submitted before");
        socket
    }

    /// Bytes that one job may move.
    fn turn_bytes(&self) -> usize {
        usize::try_from(self.limits.turn_bytes_max).unwrap_or(usize::MAX)
    }

    fn queue(&mut self, name: OpName) -> OpId {
        let op = name.id();
        self.runnable.push_back(op);
        op
    }

    fn start_read(&mut self, sock: Sock, token: Token, accept: bool) -> OpId {
        let sequence = self.open_socket(sock).read.op.start(ReadOp { token, accept });
        self.queue(OpName::Side(sock.0, Direction::Read, sequence))
    }

    fn start_task(&mut self, token: Token, job: FileJob) -> OpId {
        match self.files.insert(FileTask { token, job: Some(job) }) {
            Ok(handle) => {
                self.files_in_line.push_back(handle);
                OpName::File(handle).id()
            }
            Err(FileTask { job, .. }) => {
                let job = job.expect("the task was created with a job");
                self.done.finish(token, job.end(io::ErrorKind::ResourceBusy.into()));
                OpName::File(Handle::NOBODY).id()
            }
        }
    }

    /// Ends the accept or receive in flight on a socket. The result of its thread, now or later,
    /// stays with the socket.
    fn end_read(&mut self, handle: Handle<Sock>, result: io::Result<()>) {
        let socket = self.sockets.get_mut(handle).expect("the op is in flight on it");
        let op = socket.read.op.name(handle, Direction::Read);
        let read = socket.read.op.take().expect("the op is in flight");
        self.waits_for_buffer.retain(|other| Some(*other) != op);
        self.backoff.retain(|(_, other)| Some(*other) != op);
        let outcome = match (read.accept, result) {
            (true, Ok(())) => unreachable!("an accept ends with an error only"),
            (true, Err(error)) => Outcome::Accepted(Err(error)),
            (false, result) => Outcome::Received(result.map(|()| None)),
        };
        self.done.finish(read.token, outcome);
    }

    /// Ends the send in flight on a socket. No thread works on it.
    fn end_send(&mut self, handle: Handle<Sock>, result: io::Result<()>) {
        let socket = self.sockets.get_mut(handle).expect("the op is in flight on it");
        let send = socket.write.op.take().expect("the op is in flight");
        if send.end.needs_shutdown(&send.chain) && result.is_ok() {
            self.stats.system_calls += 1;
            // Fails if the peer is gone. The kernel has all bytes either way.
            let _ = sys::shutdown(socket.shared.as_fd(), Shutdown::Write);
        }
        socket.sent += send.chain.sent();
        self.done.finish(send.token, Outcome::Sent(result, send.chain));
    }

    fn end_task(&mut self, handle: Handle<FileOp>, outcome: Outcome) {
        let task = self.files.remove(handle).expect("the op is in flight");
        self.done.finish(task.token, outcome);
    }

    /// Sleeps until an answer or a wake arrives, or a deadline is due.
    fn sleep(&mut self, deadline: Option<Instant>) {
        let backoff = self.backoff.iter().map(|(until, _)| *until);
        let due = backoff.chain(deadline).chain(self.threads.next_leave()).min();
        self.stats.system_calls += u64::from(self.mailbox.sleep(due));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for handle in self.sockets.handles() {
            let socket = self.sockets.get_mut(handle).expect("its handle was just listed");
            socket.shared.give_up_send(true);
            if socket.joint {
                socket.shared.leave_accept();
            } else if socket.is_busy() {
                // Fails if the peer is gone, and then no call blocks.
                let _ = sys::shutdown(socket.shared.as_fd(), Shutdown::Both);
            }
        }
        self.threads.shut_down();
        self.mailbox.close();
    }
}
