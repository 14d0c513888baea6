//! The reactor: implements the [`Driver`] contract with non-blocking calls and a [`Poller`].
//!
//! # A wait
//!
//! One [`Driver::wait`] performs five steps (`steps.rs`), each of which produces the input of the
//! next. No step calls an earlier one, so there is no recursion. Every round polls, so a busy
//! driver sees new events too:
//!
//! 1. *Revive*: queue the ops that waited for a buffer or for the end of a backoff.
//! 2. *Rearm*: pass changes of interest to the poller, at most one per source.
//! 3. *Poll*: without waiting if an op is queued or a completion is ready, otherwise until the
//!    timeout.
//! 4. *Collect*: queue the ops that waited for the poller's reports and the helpers' answers.
//! 5. *Run*: each queued op gets one turn (`perform.rs`): a number of attempts within
//!    [`Limits::turn_bytes_max`] (clause 10). Unfinished ops are queued again, for the next wait.
//!
//! # Where an op is stored
//!
//! An op on a socket is stored in its side of the `Source`. Its `OpStage` says what it waits for,
//! and is authoritative. `runnable`, `waits_for_buffer` and `backoff` store names ([`OpId`]). A
//! name in `runnable` whose op was cancelled meanwhile is stale, and its turn does nothing. An op
//! on a file is stored in a `FileTask`, or in the job of the helper that works on it. A close is
//! only ever in `runnable`; the close of a listener with an accept in flight is queued again after
//! the accept has delivered the backlog.
//!
//! Invariants, which are asserted: an op is in `waits_for_buffer` or `backoff` exactly once while
//! that is its stage, and never otherwise; an op has a turn only while it is queued; no more ops
//! end than are in flight.
//!
//! # Buffers
//!
//! A receive takes its buffer just before it asks the kernel. If no buffer is free, the receive
//! waits in `waits_for_buffer`, disarmed; returned leases revive such receives in order. In a turn
//! that begins with receives in that queue, buffers are *scarce*: each receive gets one buffer, and
//! the revived ones run first, so a flooding peer cannot starve the others.

pub mod epoll;
mod helpers;
mod perform;
pub mod poll;
pub mod poller;
pub mod select;
pub mod sigio;
mod signal;
mod source;
mod sparse_set;
pub mod spin;
mod steps;

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::helpers::{DiskJob, Helpers};
use self::poller::{Event, Interest, KEYS_RESERVED, Poller, Trigger};
use self::source::{OpStage, Source, Sources, Work};
use super::completions::Completions;
use super::disk::{BufferRead, FileTask};
use super::job_thread::JobThread;
use super::name::{Direction, FileOp, OpName};
use super::op::cancelled;
use super::pace;
use super::pool::Pool;
use super::sealed::Sealed;
use super::setup::step_failed;
use super::slot_map::{Handle, SlotMap};
use super::transfer::Transfer;
use super::waker::EventFd;
use super::{
    Completion, Driver, DriverStats, Limits, Op, OpId, Outcome, Sock, SocketAddress, Token, Waker,
    sys,
};

/// The reactor on edge-triggered epoll.
pub type Epoll = Ready<epoll::Edge>;

/// The reactor on level-triggered epoll.
pub type EpollLevel = Ready<epoll::Level>;

/// The reactor on signals.
pub type Sigio = Ready<sigio::SigioPoller>;

/// The reactor on `poll(2)`.
pub type Poll = Ready<poll::PollPoller>;

/// The reactor on `select(2)`.
pub type Select = Ready<select::SelectPoller>;

/// The reactor without a readiness interface: it tries every socket.
pub type Spin = Ready<spin::SpinPoller>;

/// The poller's key of the waker. The keys of sources follow the reserved keys, by slot.
const KEY_WAKER: u32 = 0;
/// The poller's key of the notifier, which the helpers and the job thread share.
const KEY_NOTIFIER: u32 = 1;
const _: () = assert!(KEY_WAKER < KEYS_RESERVED && KEY_NOTIFIER < KEYS_RESERVED);

/// A driver on a readiness poller; see the module documentation.
#[derive(Debug)]
pub struct Ready<P: Poller> {
    /// The first field, to be dropped before the sockets that it watches.
    poller: P,
    limits: Limits,
    pool: Rc<Pool>,
    sources: Sources,
    files: SlotMap<FileTask<DiskJob>, FileOp>,
    helpers: Helpers,
    jobs: JobThread,
    waker: EventFd,
    /// Ops that are due a turn.
    runnable: VecDeque<OpId>,
    /// Receives that wait for a buffer, oldest first.
    waits_for_buffer: VecDeque<OpId>,
    /// Accepts that pause because descriptors ran out, and when each resumes.
    backoff: Vec<(Instant, OpId)>,
    /// Sources whose interest may have changed.
    rearm: Vec<Handle<Sock>>,
    /// Completions that `wait` delivers when it returns.
    done: Completions,
    /// The poller's reports. Empty between waits; kept to reuse its memory.
    events: Vec<Event>,
    /// This turn began with receives that waited for buffers.
    scarce: bool,
    stats: DriverStats,
}

impl<P: Poller> Ready<P> {
    /// Opens a driver.
    ///
    /// # Errors
    ///
    /// When the poller or an eventfd cannot be created: the call that failed, and why.
    pub fn open(limits: &Limits) -> io::Result<Self> {
        assert!(limits.sockets_max > 0);
        assert!(limits.turn_bytes_max > 0);
        let step = |name: &'static str| move |error: io::Error| step_failed(name, &error);
        let waker = EventFd::new().map_err(step("eventfd"))?;
        // A guessing poller reports the waker without a wake, so reading it must not block.
        sys::set_nonblocking(&waker).map_err(step("fcntl"))?;
        let jobs_max = limits.file_ops_max() as usize + limits.sockets_max as usize;
        let helpers = Helpers::new(jobs_max).map_err(step("eventfd"))?;
        let jobs = JobThread::new(Arc::new(helpers.notifier().clone()));
        let mut poller = P::open(limits)?;
        let (watch, _) = P::CALLS;
        poller.add(waker.as_fd(), KEY_WAKER, Interest::READ).map_err(step(watch))?;
        let notifier = helpers.notifier().as_fd();
        poller.add(notifier, KEY_NOTIFIER, Interest::READ).map_err(step(watch))?;
        Ok(Self {
            poller,
            limits: *limits,
            pool: Pool::new(limits.buffers, limits.buffer_bytes),
            sources: Sources::reserved(limits.sockets_max),
            files: SlotMap::marked(limits.file_ops_max()),
            helpers,
            jobs,
            waker,
            runnable: VecDeque::new(),
            waits_for_buffer: VecDeque::new(),
            backoff: Vec::new(),
            rearm: Vec::new(),
            done: Completions::default(),
            events: Vec::new(),
            scarce: false,
            stats: DriverStats::default(),
        })
    }
}

impl<P: Poller> Sealed for Ready<P> {}

impl<P: Poller> Driver for Ready<P> {
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock> {
        if self.sources.is_full() {
            let message = "the table of sockets is full (Limits::sockets_max)";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        sys::set_nonblocking(&socket).map_err(|error| step_failed("fcntl", &error))?;
        // If the call is denied, the socket is taken for a listener: a close then leaves a
        // connection to the other holders of duplicates.
        let listener = socket2::SockRef::from(&socket).is_listener().unwrap_or(true);
        let shared = listener && sys::is_unix(socket.as_fd());
        self.stats.system_calls += if listener { 4 } else { 3 };
        let source = Source { shared, ..Source::new(socket, true, listener) };
        let handle = self.register(source)?;
        Ok(Sock(handle))
    }

    fn set_joint(&mut self, listener: Sock, joint: bool) {
        let source = self.sources.get_mut(listener.0).unwrap_or_else(|| listener.stale());
        source.joint = joint;
        let shared = joint || sys::is_unix(source.descriptor.as_fd());
        self.stats.system_calls += u64::from(!joint);
        if shared != source.shared {
            self.watch_anew(listener.0, shared);
        }
    }

    fn duplicate(&self, listener: Sock) -> io::Result<OwnedFd> {
        self.source(listener).descriptor.try_clone()
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        self.done.begin();
        match op {
            Op::AcceptMany { listener } => {
                self.start(listener, Direction::Read, token, Work::Accept(None))
            }
            Op::RecvMany { sock } => self.start(sock, Direction::Read, token, Work::Receive),
            Op::Send { sock, chain, end } => {
                let transfer = Transfer::new(chain, end);
                self.start(sock, Direction::Write, token, Work::Send(transfer))
            }
            Op::ReadFile { file, offset, buffer } => {
                let start = buffer.len();
                self.start_task(token, DiskJob::Read(BufferRead { file, offset, buffer, start }))
            }
            Op::OpenFile { root, path } => self.start_task(token, DiskJob::Open { root, path }),
            Op::Run { job } => OpName::Job(self.jobs.start(token, job, &mut self.done)).id(),
            Op::Close { sock, reset } => {
                self.open_source(sock).closing = Some((token, reset));
                self.queue_close(sock.0)
            }
        }
    }

    fn cancel(&mut self, op: OpId) {
        match OpName::of(op) {
            OpName::Side(handle, direction, sequence) => {
                let source = self.sources.get_mut(handle);
                let side = source.map(|source| source.side_mut(direction));
                if side.is_some_and(|side| side.op.current(sequence).is_some()) {
                    self.end(op, Err(cancelled()));
                }
            }
            OpName::File(handle) => {
                // A job in a helper's hands cannot be stopped; contract 7 allows it to succeed.
                let Some(task) = self.files.get_mut(handle) else { return };
                let job = task.job.take().or_else(|| self.helpers.cancel(op));
                if let Some(job) = job {
                    self.end_task(handle, job.end(cancelled()));
                }
            }
            OpName::Job(handle) => self.jobs.stop(handle, &mut self.done),
            // A close is on its way to completion already.
            OpName::Close(_) => {}
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let mut now = Instant::now();
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        loop {
            self.revive(now);
            self.apply_changes();
            self.poll(deadline, now)?;
            self.collect();
            now = Instant::now();
            let sent = self.run(now);
            let delivered = self.done.deliver(out, &mut self.stats);
            // Return if an op made progress, to end its turn (contract 10). Otherwise no op waited
            // for what the poller reported: poll again.
            let moved = sent || delivered || !self.runnable.is_empty();
            if moved || deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(());
            }
        }
    }

    fn waker(&self) -> Waker {
        self.waker.waker()
    }

    fn acknowledged(&self, sock: Sock) -> io::Result<u64> {
        let source = self.source(sock);
        let sending = match source.write.op.get().map(|op| &op.work) {
            Some(Work::Send(transfer)) => transfer.chain.sent(),
            _ => 0,
        };
        sys::acknowledged(source.descriptor.as_fd(), source.sent + sending)
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        sys::peer(self.source(sock).descriptor.as_fd())
    }

    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()> {
        pace::set(self.source(sock).descriptor.as_fd(), rate)
    }

    fn has_input(&self, sock: Sock) -> bool {
        sys::has_input(self.source(sock).descriptor.as_fd())
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        sys::local(self.source(sock).descriptor.as_fd())
    }

    fn in_flight(&self) -> usize {
        self.done.in_flight()
    }

    fn leased(&self) -> usize {
        self.pool.lent()
    }

    fn stats(&self) -> DriverStats {
        let system_calls = self.stats.system_calls + self.poller.system_calls();
        DriverStats { system_calls, ..self.stats }
    }
}

/// Starts and ends of ops.
impl<P: Poller> Ready<P> {
    /// Adds a socket to the table and to the poller.
    ///
    /// An edge poller needs no further call for it. A level poller watches for input first, because
    /// the first op on a new connection is a receive, and on a listener an accept.
    fn register(&mut self, mut source: Source) -> io::Result<Handle<Sock>> {
        let shared = source.shared;
        let both = P::TRIGGER == Trigger::Edge && !shared;
        let want = if both { Interest::BOTH } else { Interest::READ };
        source.armed = want;
        let handle = self.sources.insert(source).expect("the caller has checked for room");
        let socket = self.sources.get(handle).expect("just inserted").descriptor.as_fd();
        let added = match shared {
            true => self.poller.add_shared(socket, key(handle)),
            false => self.poller.add(socket, key(handle), want),
        };
        if let Err(error) = added {
            self.sources.remove(handle);
            self.stats.system_calls += 1;
            return Err(error);
        }
        Ok(handle)
    }

    /// Watches a listener as one that is shared, or as one that is not. What makes a socket send
    /// signals, for one, belongs to the socket and not to the descriptor.
    fn watch_anew(&mut self, handle: Handle<Sock>, shared: bool) {
        self.unwatch(handle);
        let source = self.sources.get_mut(handle).expect("callers have just used it");
        let want = if P::TRIGGER == Trigger::Edge { Interest::BOTH } else { Interest::READ };
        if !shared && self.poller.add(source.descriptor.as_fd(), key(handle), want).is_ok() {
            (source.shared, source.armed) = (false, want);
            return;
        }
        // If the poller has refused it, it stays a shared one, which costs more calls. It is
        // watched when an accept waits for a report.
        source.shared = true;
        self.change(handle);
    }

    fn source(&self, sock: Sock) -> &Source {
        self.sources.get(sock.0).unwrap_or_else(|| sock.stale())
    }

    /// The source of a socket that accepts new ops.
    fn open_source(&mut self, sock: Sock) -> &mut Source {
        let source = self.sources.get_mut(sock.0).unwrap_or_else(|| sock.stale());
        assert!(source.closing.is_none(), "an op on {sock:?}, whose close was submitted before");
        source
    }

    fn start(&mut self, sock: Sock, direction: Direction, token: Token, work: Work) -> OpId {
        let side = self.open_source(sock).side_mut(direction);
        let op = OpName::Side(sock.0, direction, side.start(token, work)).id();
        if side.ready {
            self.runnable.push_back(op);
        } else {
            self.change(sock.0);
        }
        op
    }

    fn start_task(&mut self, token: Token, job: DiskJob) -> OpId {
        match self.files.insert(FileTask { token, job: Some(job) }) {
            Ok(handle) => {
                let op = OpName::File(handle).id();
                self.runnable.push_back(op);
                op
            }
            Err(FileTask { job, .. }) => {
                let job = job.expect("the task was created with a job");
                self.done.finish(token, job.end(io::ErrorKind::ResourceBusy.into()));
                OpName::File(Handle::NOBODY).id()
            }
        }
    }

    /// Ends an op in flight on a socket, with its last completion.
    fn end(&mut self, op: OpId, result: io::Result<()>) {
        let OpName::Side(handle, direction, _) = OpName::of(op) else {
            unreachable!("callers pass ops on sockets only")
        };
        let source = self.sources.get_mut(handle).expect("the op is in flight on it");
        let pending = source.side_mut(direction).op.take().expect("the op is in flight");
        match &pending.work {
            Work::Send(transfer) => source.sent += transfer.chain.sent(),
            Work::Accept(None) if source.shared => self.unwatch(handle),
            Work::Accept(_) | Work::Receive => {}
        }
        let listed = self.waits_for_buffer.len() + self.backoff.len();
        match pending.stage {
            OpStage::WaitsForBuffer => self.waits_for_buffer.retain(|other| *other != op),
            OpStage::Backoff => self.backoff.retain(|(_, other)| *other != op),
            OpStage::Fetching => drop(self.helpers.cancel(op)),
            // A name left in `runnable` or with a helper is stale, and ignored when its turn comes.
            OpStage::Queued | OpStage::Armed => {}
        }
        let waits = matches!(pending.stage, OpStage::WaitsForBuffer | OpStage::Backoff);
        let left = listed - self.waits_for_buffer.len() - self.backoff.len();
        assert!(left == usize::from(waits), "{op:?}, {:?}, was listed {left} times", pending.stage);
        if let Work::Accept(Some(_)) = pending.work {
            self.queue_close(handle);
        }
        self.done.finish(pending.token, pending.work.end(result));
    }

    fn queue_close(&mut self, handle: Handle<Sock>) -> OpId {
        let op = OpName::Close(handle).id();
        self.runnable.push_back(op);
        op
    }

    fn end_task(&mut self, handle: Handle<FileOp>, outcome: Outcome) {
        let task = self.files.remove(handle).expect("the op is in flight");
        self.done.finish(task.token, outcome);
    }

    /// Stops watching a shared listener. It is watched again when an accept waits for a report: a
    /// driver that does not accept must not get the report that another one waits for.
    fn unwatch(&mut self, handle: Handle<Sock>) {
        let source = self.sources.get_mut(handle).expect("callers have just used it");
        if source.armed != Interest::NONE {
            source.armed = Interest::NONE;
            // Fails only if the poller does not have the source, which is the goal.
            let _ = self.poller.remove(source.descriptor.as_fd(), key(handle));
        }
    }

    /// Notes that the interest of a source may have changed.
    fn change(&mut self, handle: Handle<Sock>) {
        let source = self.sources.get_mut(handle).expect("callers have just used it");
        if (P::TRIGGER != Trigger::Edge || source.shared) && !source.changing {
            source.changing = true;
            self.rearm.push(handle);
        }
    }
}

fn key(handle: Handle<Sock>) -> u32 {
    handle.slot() + KEYS_RESERVED
}
