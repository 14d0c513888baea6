//! The blocking model: the [`Driver`] contract kept by threads that wait in system calls.
//!
//! Every op is done the way the manual pages teach it first: `accept(2)`, `recv(2)`, `send(2)` and
//! `sendfile(2)` on blocking sockets, each call in a thread that waits in it. The kernel's
//! scheduler is the event loop. What this costs is what the model is here to show: for each idle
//! connection a thread with its two stacks, and for each step of an op two handovers between
//! threads, where a reactor makes one system call.
//!
//! # A step
//!
//! The driver cuts an op into steps ([`job`]), gives each to a thread ([`thread_pool`]), and hears
//! of it through the [`mailbox`], which is the only thing that it ever waits for. One answer is one
//! turn, and the next step begins only after it: so a turn is bounded, and a side of a socket keeps
//! its order. Threads never see buffers of the pool or the chain: what they send is copied for
//! them, what they receive is copied into a [`Lease`](super::Lease), and a file is shared.
//!
//! One [`Driver::wait`] collects the answers, starts steps, hands out received bytes, and sleeps if
//! there was nothing to tell.
//!
//! Invariants, which are asserted: a thread that answers for a side of a socket is the one that
//! made it busy; no more threads are idle than there are, and none has two jobs; no more ops end
//! than are in flight.
//!
//! # Ending what blocks
//!
//! * *Close*: `shutdown(2)`, or `connect(2)` to nobody for a reset, makes every call on the socket
//!   return. The descriptor is closed when no thread is in a call on it, or the call might end up
//!   on the next file of that number. A listener is shut down too, which ends it for all holders
//!   of duplicates; but what its queue holds is accepted before, by the driver's own thread, for
//!   which the descriptor is made non-blocking. What the thread that waits there has accepted, or
//!   accepts last, is delivered with it.
//! * *Cancel of a receive or an accept*: ends at once. The thread stays where it is, and what it
//!   brings is held for the next op on that side ([`socket`]): at most one piece, one connection.
//! * *Cancel of a send*: a blocked send looks every tenth of a second whether it is still wanted
//!   (`SO_SNDTIMEO`, `socket(7)`; set on each connection, as only some inherit it), and says how
//!   far it got. So nothing leaves after the last completion, and the file is let go before it.
//!   (A receive could look likewise; but there are thousands that only wait, and they should
//!   sleep.)
//! * *Drop*: all sockets are shut down, and the threads waited for. One that waits for a disk
//!   ends when it can; what it uses is its own, and what it brings is dropped.
//!
//! # Limits
//!
//! A socket has at most two threads, files have [`FILE_THREADS`]. So [`SOCKETS_MAX`] sockets need
//! at most [`THREADS_MAX`] threads. A connection beyond [`SOCKETS_MAX`] is closed at once, and
//! counted in [`DriverStats::refused`]. There is a thread for every op that can block, so none
//! waits for another's peer.
//!
//! Jobs ([`Op::Run`]) have one thread more, as with the other drivers.
//!
//! All drivers of the process share [`PROCESS_THREADS_MAX`] threads, or fewer where memory maps
//! are short: 4095 with the default `vm.max_map_count` of 65530 ([`budget`] says why). When these
//! are taken, or the machine gives no more, an op that needs a thread fails with an error that says
//! so; an accept rests ([`ACCEPT_RETRY`](super::ACCEPT_RETRY)).
//!
//! A receive begins when a buffer is free, and may fill [`RECEIVE_BUFFERS`] by one call. No buffer
//! is set aside for it: thousands wait, few receive. What finds none when it comes stays in line
//! with the driver. Where buffers are short, the scheduler must not decide who has a turn, see
//! `start_call` in `turns.rs`.
//!
//! # Counting
//!
//! [`DriverStats::system_calls`] counts calls on sockets and files when their thread has answered,
//! and each sleep of a wait. The handovers beside are futex(2) calls, up to two in each direction;
//! `strace -f` shows them. "Would block" is the answer to a send that has moved nothing in the
//! tenth of a second before it looks, and to calls on a socket that somebody else has made
//! non-blocking by a duplicate: then its thread waits in poll(2) before it tries again, or the
//! accept rests.

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
use std::net::{Shutdown, SocketAddr};
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
use super::pool::Pool;
use super::slot_map::{Handle, SlotMap};
use super::{Completion, Driver, DriverStats, Limits, Op, OpId, Outcome, Sock, Token, Waker, sys};

pub use self::limits::{FILE_THREADS, PROCESS_THREADS_MAX, SOCKETS_MAX, THREADS_MAX};

/// Receive buffers of the pool that one `recv(2)` may fill.
const RECEIVE_BUFFERS: usize = 4;

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
    /// Ops whose next step is to be started, and closes.
    runnable: VecDeque<OpId>,
    /// Ops on files that wait for one of the threads for files; each is there once.
    files_in_line: VecDeque<Handle<FileOp>>,
    /// Threads that work on files.
    files_busy: u32,
    /// Receives that want a buffer: for bytes that are held, or to begin.
    waits_for_buffer: VecDeque<OpId>,
    /// Accepts that wait for descriptors or a thread, and until when.
    backoff: Vec<(Instant, OpId)>,
    /// What the next return from `wait` delivers.
    done: Completions,
    /// Answers, kept for its memory.
    answers: Vec<ThreadAnswer>,
    stats: DriverStats,
}

impl Threads {
    /// Opens a driver. It has no thread yet.
    ///
    /// # Errors
    ///
    /// None. It is other drivers that may lack something.
    pub fn open(limits: &Limits) -> io::Result<Self> {
        Ok(Self::with_threads(limits, THREADS_MAX, Budget::of_process()))
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
            sockets: SlotMap::marked(sockets_max),
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
                "all {max} sockets of this driver are taken, and each may need two threads; \
                 allow fewer connections, or take another driver"
            );
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        let options = socket2::SockRef::from(&socket);
        options.set_nonblocking(false)?;
        let listener = options.is_listener()?;
        let mut calls = Calls { made: 3, would_block: 0 };
        if !listener {
            limit_sends(&socket, &mut calls)?;
        }
        self.stats.system_calls += calls.made;
        let socket = ThreadedSocket::new(SharedSocket::new(socket), true, listener);
        Ok(Sock(self.sockets.insert(socket).expect("there is room, as was just seen")))
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        self.done.begin();
        match op {
            Op::AcceptMany { listener } => self.start_read(listener, token, true),
            Op::RecvMany { sock } => self.start_read(sock, token, false),
            Op::Send { sock, chain, fin } => {
                let send = SendOp { token, chain, fin, cancelled: false };
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
                // A job that a thread has begun ends by itself, and success is legal.
                let job = self.files.get_mut(handle).and_then(|task| task.job.take());
                if let Some(job) = job {
                    self.files_in_line.retain(|other| *other != handle);
                    self.end_task(handle, job.end(cancelled()));
                }
            }
            OpName::Job(handle) => self.jobs.stop(handle, &mut self.done),
            // What is ending is not ended sooner.
            OpName::Close(_) => {}
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let now = Instant::now();
            // A send that has had its turn, though it is not done, ends the wait.
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
        sys::acknowledged(self.socket(sock).shared.as_fd())
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddr> {
        sys::peer(self.socket(sock).shared.as_fd())
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddr> {
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

/// Starting and ending.
impl Threads {
    fn socket(&self, sock: Sock) -> &ThreadedSocket {
        self.sockets.get(sock.0).unwrap_or_else(|| sock.stale())
    }

    /// The record of a socket that ops may be submitted on.
    fn open_socket(&mut self, sock: Sock) -> &mut ThreadedSocket {
        let socket = self.sockets.get_mut(sock.0).unwrap_or_else(|| sock.stale());
        assert!(socket.close.is_none(), "an op on {sock:?}, whose close was submitted before");
        socket
    }

    /// Bytes that a job may move.
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
                let job = job.expect("it was just put in");
                self.done.finish(token, job.end(io::ErrorKind::ResourceBusy.into()));
                OpName::File(Handle::NOBODY).id()
            }
        }
    }

    /// Ends the accept or receive that is in flight on a socket. What its thread brings, or has
    /// brought, stays with the socket.
    fn end_read(&mut self, handle: Handle<Sock>, result: io::Result<()>) {
        let socket = self.sockets.get_mut(handle).expect("the op is in flight on it");
        let op = socket.read.op.name(handle, Direction::Read);
        let read = socket.read.op.take().expect("the op is in flight");
        self.waits_for_buffer.retain(|other| Some(*other) != op);
        self.backoff.retain(|(_, other)| Some(*other) != op);
        let outcome = match (read.accept, result) {
            (true, Ok(())) => unreachable!("accepting has no orderly end"),
            (true, Err(error)) => Outcome::Accepted(Err(error)),
            (false, result) => Outcome::Received(result.map(|()| None)),
        };
        self.done.finish(read.token, outcome);
    }

    /// Ends the send that is in flight on a socket; no thread works on it.
    fn end_send(&mut self, handle: Handle<Sock>, result: io::Result<()>) {
        let socket = self.sockets.get_mut(handle).expect("the op is in flight on it");
        let send = socket.write.op.take().expect("the op is in flight");
        if send.fin && result.is_ok() {
            self.stats.system_calls += 1;
            // It fails when the peer is gone. All bytes are with the kernel either way.
            let _ = sys::shutdown(socket.shared.as_fd(), Shutdown::Write);
        }
        self.done.finish(send.token, Outcome::Sent(result, send.chain));
    }

    fn end_task(&mut self, handle: Handle<FileOp>, outcome: Outcome) {
        let task = self.files.remove(handle).expect("the op is in flight");
        self.done.finish(task.token, outcome);
    }

    /// Sleeps until an answer or a wake comes, or something is due.
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
            if socket.is_busy() {
                // It fails when the peer is gone, and then nothing blocks.
                let _ = sys::shutdown(socket.shared.as_fd(), Shutdown::Both);
            }
        }
        self.threads.shut_down();
        self.mailbox.close();
    }
}
