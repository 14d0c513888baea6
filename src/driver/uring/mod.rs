//! The proactor: ops become submissions to io_uring, and completions come back with their results.
//!
//! One turn is one system call: [`Driver::wait`] submits what was queued since the last one, waits,
//! and reaps. Accepts and receives are multishot: armed once, they complete repeatedly. Receives
//! use buffers that the kernel picks from a shared ring. If sockets are short, connections are
//! accepted one by one. The ring sends memory. A chain that holds a file is sent with `sendfile(2)`
//! between reaping and waiting, because the ring has no such operation and its `SPLICE` always goes
//! to a kernel thread. If the socket is full, the ring polls it.
//!
//! Invariant: a stale name in `runnable`, `waits_for_first_buffer`, `waits_for_buffer`, `backoff`
//! or `draining` finds nothing.
//!
//! The hot path never uses `STATX`, `SHUTDOWN` and `SPLICE`, because the kernel always hands them
//! to a thread of its own.
//!
//! | file | holds |
//! | --- | --- |
//! | `ring.rs` | the queues and the one system call |
//! | `kind.rs` | what a submission is for |
//! | `buffers.rs` | the receive buffers that the kernel picks from |
//! | `socket.rs` | what is kept of a socket |
//! | `submit.rs` | ops on sockets, and their submissions |
//! | `complete.rs` | the kernel's completions |
//! | `accept.rs` | accepting connections, and closing a listener |
//! | `jobs.rs` | jobs for a thread, and their results |
//! | `writable_watch.rs` | waiting for room if the peer has half-closed |
//! | `files.rs` | opening, reading, and fetching cold data |
//! | `features.rs` | the features of io_uring that all this needs, for `ringd doctor` |

mod accept;
mod buffers;
mod complete;
pub mod features;
mod files;
mod jobs;
mod kind;
mod ring;
mod socket;
mod submit;
mod writable_watch;

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::cqueue;

use super::completions::Completions;
use super::op::{Completion, Op, OpId, Sock, Token};
use super::pool::Pool;
use super::setup::step_failed;
use super::slot_map::{Handle, SlotMap};
use super::waker::EventFd;
use super::{ACCEPT_RETRY, Driver, DriverStats, Limits, SocketAddress, Waker, pace, sys};
use buffers::BufferRing;
use files::FileOps;
use jobs::Jobs;
use kind::SubmissionKind;
use ring::Ring;
use socket::{RingSocket, StreamKind};
use writable_watch::WritableWatch;

/// How long a drop waits for the kernel to give back what it owns.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// The io_uring driver; see the module documentation.
pub struct Uring {
    // The ring is dropped before all that it points to.
    ring: Ring,
    buffers: BufferRing,
    pool: Rc<Pool>,
    sockets: SlotMap<RingSocket, Sock>,
    files: FileOps,
    /// Completions that the next wait returns, or this one.
    done: Completions,
    /// Scratch space of `wait`: the kernel's completions in this turn.
    reaped: Vec<cqueue::Entry>,
    /// Sends to try inline.
    runnable: VecDeque<Handle<Sock>>,
    /// Receives that found no buffer, and have had none since they were armed.
    waits_for_first_buffer: VecDeque<Handle<Sock>>,
    /// Receives that found no buffer after they had some.
    waits_for_buffer: VecDeque<Handle<Sock>>,
    /// Accepts that pause after descriptors ran out.
    backoff: Vec<(Handle<Sock>, Instant)>,
    /// Closed listeners whose queues are accepted from inline.
    draining: VecDeque<Handle<Sock>>,
    /// Sockets that wait for room although their peer has half-closed.
    writable: WritableWatch,
    waker: EventFd,
    /// `None` before the first job.
    jobs: Option<Jobs>,
    /// Where the kernel writes the counters of the waker and of the jobs' notifier.
    wake_count: Box<[u8; 8]>,
    limits: Limits,
    stats: DriverStats,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Uring({} sockets, {} ops)", self.sockets.len(), self.done.in_flight())
    }
}

impl Uring {
    /// Makes a ring and its buffers for the calling thread.
    ///
    /// # Errors
    ///
    /// The step that failed, and why. A kernel without io_uring, or with one that is too old, is an
    /// error and no panic.
    pub fn open(limits: &Limits) -> io::Result<Self> {
        let step = |name: &'static str| move |error: io::Error| step_failed(name, &error);
        let ring = Ring::open(limits.restricted).map_err(step("io_uring_setup"))?;
        let pool = Pool::new(limits.buffers, limits.buffer_bytes);
        let buffers =
            BufferRing::register(&ring.submitter(), &pool).map_err(step("io_uring_register"))?;
        if limits.restricted {
            ring.enable().map_err(step("io_uring_register"))?;
        }
        let mut driver = Self {
            ring,
            buffers,
            pool,
            sockets: SlotMap::reserved(limits.sockets_max),
            files: FileOps::new(limits.file_ops_max()),
            done: Completions::default(),
            reaped: Vec::new(),
            runnable: VecDeque::new(),
            waits_for_first_buffer: VecDeque::new(),
            waits_for_buffer: VecDeque::new(),
            backoff: Vec::new(),
            draining: VecDeque::new(),
            writable: WritableWatch::default(),
            waker: EventFd::new().map_err(step("eventfd"))?,
            jobs: None,
            wake_count: Box::new([0; 8]),
            limits: *limits,
            stats: DriverStats::default(),
        };
        driver.arm_waker();
        Ok(driver)
    }

    /// Gives the kernel the buffers that came back, and then arms the receives that lacked one, at
    /// most as many as there are buffers. The kernel serves them in the order in which they are
    /// armed, and the first may take all buffers. So those that got nothing the last time come
    /// first.
    ///
    /// Returns whether both buffers and receives are left: the receives that were armed may have
    /// nothing to receive, and must not keep the others waiting.
    fn recycle_buffers(&mut self) -> bool {
        let buffers = self.buffers.publish();
        for _ in 0..buffers.min(self.waits_for_first_buffer.len() + self.waits_for_buffer.len()) {
            if let Some(handle) = self
                .waits_for_first_buffer
                .pop_front()
                .or_else(|| self.waits_for_buffer.pop_front())
            {
                self.arm_stream(handle);
            }
        }
        buffers > 0 && !(self.waits_for_first_buffer.is_empty() && self.waits_for_buffer.is_empty())
    }

    /// Tries the sends that hold files, each within its budget.
    fn run_sends(&mut self, now: Instant) {
        for _ in 0..self.runnable.len() {
            let Some(handle) = self.runnable.pop_front() else { break };
            self.attempt_send(handle, now);
        }
    }
}

impl super::sealed::Sealed for Uring {}

impl Driver for Uring {
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock> {
        sys::set_nonblocking(&socket).map_err(|error| step_failed("fcntl", &error))?;
        let mut socket = RingSocket::new(socket);
        socket.shared = sys::is_shared_listener(socket.fd.as_fd());
        self.stats.system_calls += if socket.shared { 2 } else { 1 };
        self.sockets
            .insert(socket)
            .map(Sock)
            .map_err(|_| io::Error::other("the driver's table of sockets is full"))
    }

    fn set_joint(&mut self, listener: Sock, joint: bool) {
        let socket = self.sockets.get_mut(listener.0).unwrap_or_else(|| listener.stale());
        socket.joint = joint;
        // An accept that is armed goes on as it is, and the next one takes turns with others.
        socket.shared = joint || sys::is_shared_listener(socket.fd.as_fd());
        self.stats.system_calls += if joint { 0 } else { 2 };
    }

    fn duplicate(&self, listener: Sock) -> io::Result<OwnedFd> {
        self.socket(listener).fd.try_clone()
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        self.done.begin();
        match op {
            Op::AcceptMany { listener } => self.submit_stream(token, listener, StreamKind::Accept),
            Op::RecvMany { sock } => self.submit_stream(token, sock, StreamKind::Recv),
            Op::Send { sock, chain, end } => self.submit_send(token, sock, chain, end),
            Op::ReadFile { file, offset, buffer } => self.submit_read(token, file, offset, buffer),
            Op::OpenFile { root, path } => self.submit_open(token, root, path),
            Op::Run { job } => self.submit_run(token, job),
            Op::Close { sock, reset } => self.submit_close(token, sock, reset),
        }
    }

    fn cancel(&mut self, op: OpId) {
        let (kind, sequence) = SubmissionKind::of(op.0);
        match kind {
            SubmissionKind::Accept | SubmissionKind::Recv => {
                self.cancel_stream(Handle::unpack(op.0).0, sequence);
            }
            SubmissionKind::Send => self.cancel_send(Handle::unpack(op.0).0, sequence),
            SubmissionKind::Open | SubmissionKind::Read => {
                self.cancel_file(Handle::unpack(op.0).0, op.0);
            }
            SubmissionKind::Run => self.cancel_run(Handle::unpack(op.0).0),
            SubmissionKind::Poll
            | SubmissionKind::Fetch
            | SubmissionKind::Wake
            | SubmissionKind::Cancel
            | SubmissionKind::Close
            | SubmissionKind::WritableWatch => {}
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let now = Instant::now();
        let more = self.recycle_buffers();
        self.run_sends(now);
        self.wake_accepts(now);
        self.drain_listeners(now);
        let accept_due = self.backoff.iter().map(|(_, due)| *due).min();
        let timeout = match accept_due.map(|due| due.saturating_duration_since(now)) {
            Some(rest) => Some(timeout.map_or(rest, |timeout| timeout.min(rest))),
            None => timeout,
        };
        // A wait without any time is a question: the thread need not sleep for it.
        let has_time = timeout != Some(Duration::ZERO);
        let idle = has_time
            && !more
            && self.done.is_empty()
            && self.runnable.is_empty()
            && self.draining.is_empty();
        let mut reaped = std::mem::take(&mut self.reaped);
        let result = self.ring.enter(idle, timeout, &mut reaped);
        for entry in reaped.drain(..) {
            self.complete(&entry);
        }
        self.reaped = reaped;
        self.done.deliver(out, &mut self.stats);
        result.map_err(|error| step_failed("io_uring_enter", &error))
    }

    fn waker(&self) -> Waker {
        self.waker.waker()
    }

    fn acknowledged(&self, sock: Sock) -> io::Result<u64> {
        let socket = self.socket(sock);
        let sending = socket.write.get().map_or(0, |send| send.transfer.chain.sent());
        sys::acknowledged(socket.fd.as_fd(), socket.sent + sending)
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        sys::peer(self.socket(sock).fd.as_fd())
    }

    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()> {
        pace::set(self.socket(sock).fd.as_fd(), rate)
    }

    fn has_input(&self, sock: Sock) -> bool {
        sys::has_input(self.socket(sock).fd.as_fd())
    }

    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        sys::local(self.socket(sock).fd.as_fd())
    }

    fn in_flight(&self) -> usize {
        self.done.in_flight()
    }

    fn leased(&self) -> usize {
        self.buffers.leased()
    }

    fn stats(&self) -> DriverStats {
        DriverStats {
            system_calls: self.stats.system_calls + self.ring.enters + self.writable.system_calls(),
            submissions: self.ring.submitted,
            ..self.stats
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        for handle in self.sockets.handles() {
            let socket = self.sockets.get_mut(handle).expect("its handle was just listed");
            // Ends receives, sends and polls; the cancel below ends accepts.
            if !socket.joint {
                let _ = sys::shutdown(socket.fd.as_fd(), Shutdown::Both);
            }
        }
        // What is queued is submitted first, because the cancel does not reach it otherwise.
        let mut open = self.reap_orphans(false);
        let _ = self.ring.submitter().register_sync_cancel(
            Some(io_uring::types::Timespec::from(DROP_WAIT)),
            io_uring::types::CancelBuilder::any(),
        );
        let until = Instant::now() + DROP_WAIT;
        while open && self.ring.outstanding > 0 && Instant::now() < until {
            open = self.reap_orphans(true);
        }
        if self.ring.outstanding > 0 {
            self.leak();
        }
    }
}

impl Uring {
    /// Reaps completions and ignores them; returns whether the ring still works.
    fn reap_orphans(&mut self, wait: bool) -> bool {
        let mut reaped = Vec::new();
        let entered = self.ring.enter(wait, Some(Duration::from_millis(10)), &mut reaped);
        for entry in &reaped {
            if !cqueue::more(entry.flags()) {
                self.ring.answered();
            }
            drop(self.orphan(entry));
        }
        entered.is_ok()
    }

    /// Leaks all memory that the kernel may still read or write.
    fn leak(&mut self) {
        std::mem::forget(std::mem::replace(&mut self.sockets, SlotMap::marked(0)));
        std::mem::forget(std::mem::replace(&mut self.files, FileOps::new(0)));
        std::mem::forget(std::mem::take(&mut self.wake_count));
        std::mem::forget(Rc::clone(&self.pool));
        self.buffers.leak();
    }
}
