//! Drivers, which perform I/O, and the contract that all of them keep.
//!
//! A [`Driver`] performs [`Op`]s and returns [`Completion`]s. It owns the sockets that it is given.
//! Nothing outside this module knows which driver runs: the proactor on io_uring ([`uring`]), the
//! reactors on readiness pollers ([`ready`]) and blocking calls in threads ([`threads`]) keep the
//! same contract, clause by clause.
//!
//! # The contract
//!
//! 1. Each op has **exactly one** completion with `more == false`, its last. [`Op::AcceptMany`] and
//!    [`Op::RecvMany`] may have any number with `more == true` before it.
//! 2. Everything in an op belongs to the driver until this last completion, which returns or drops
//!    it. Cancelling the op, closing the socket or dropping the driver does not end this ownership
//!    earlier.
//! 3. [`Driver::submit`] neither fails nor blocks, and no completion appears before the next
//!    [`Driver::wait`]. Errors are completions. Capacity is fixed when the driver is opened: file
//!    ops beyond [`Limits::file_ops_max`] at a time may end with `ResourceBusy`.
//! 4. A socket has at most one read-side op (accept, receive) and one write-side op (send) at a
//!    time. Submitting a second one is a bug in the caller, and panics.
//! 5. A send completes when the kernel has taken *all* bytes, or on error. The driver does the
//!    retries. [`Driver::acknowledged`] shows whether a long send still makes progress.
//! 6. Completions of one side of one socket come in order. There is no other order.
//! 7. [`Driver::cancel`] is a request. The op's last completion shows the result: the error
//!    `ECANCELED`; or success, which is legal. Completions before it count in both cases.
//! 8. [`Op::Close`] ends the other ops of the socket first: each gets its last completion; then the
//!    descriptor is closed, once; then [`Outcome::Closed`] comes. Using the [`Sock`] after that
//!    panics. Submitting an op on a socket whose close was submitted is a bug, and panics.
//! 9. Having no free buffer is not an error: the receive waits until a [`Lease`] is dropped, and
//!    [`DriverStats::buffer_waits`] counts it. No socket can keep the others from receiving
//!    forever.
//! 10. In one wait, an op moves at most [`Limits::turn_bytes_max`], and a receive takes at most
//!     [`RECEIVE_BYTES_MAX`] and what the free buffers hold; then the other ops have their turn. A
//!     send may move a sixteenth more, if that is all that is left of it.
//! 11. [`Driver::wait`] returns when there is a completion, at the timeout, or on a wake, which is
//!     the completion [`Outcome::Woken`]. It may return early with nothing. It retries interrupted
//!     system calls itself.
//! 12. If a file ends before the range of a send does, the send fails with `UnexpectedEof`; nothing
//!     is padded. A disk never blocks the loop: other threads fetch cold data. Other long work is
//!     an [`Op::Run`]: a [`Job`] for another thread. A cancel drops a job that has not started; a
//!     job that has started runs to its end, even if the driver is dropped before. At most 16 jobs
//!     wait at a time; further ones end with `ResourceBusy`.
//! 13. Running out of descriptors (`EMFILE`, `ENFILE`) does not end an accept: it is tried again
//!     after [`ACCEPT_RETRY`]. A connection beyond [`Limits::sockets_max`] is closed at once and
//!     counted in [`DriverStats::refused`]. To let a caller stop before that, an accept yields at
//!     most [`ACCEPTS_PER_WAIT`] connections per wait when room is short.
//! 14. Dropping a driver ends all ops and waits, within a bound, for what the kernel still owns.
//!     What the kernel does not return in time is leaked, never freed.
//! 15. Closing a listener delivers its queue first. If an [`Op::AcceptMany`] is in flight when the
//!     [`Op::Close`] is submitted, every connection that the kernel has established by then is
//!     delivered, subject to clause 13; then the accept ends with `ECANCELED`, unless it has
//!     failed; then the close completes. Meanwhile the kernel drops the SYN of new clients
//!     (`drain.rs`); when they retransmit it, they are refused. This holds for duplicates of the
//!     descriptor, too. New clients of a Unix socket are refused at once. The delivery ends early
//!     if the accept is cancelled, or after ten pauses ([`ACCEPT_RETRY`]) in a row for lack of
//!     descriptors. The kernel resets the connections that are not delivered. If no accept is in
//!     flight, it resets all of them.
//! 16. A listener is *joint* while another process holds its socket too ([`Driver::set_joint`]).
//!     Closing a joint listener leaves the socket as it is: the accept ends as a cancel ends it, so
//!     what was accepted is delivered, and only this descriptor is closed. The other holder accepts
//!     what waits in the queue, but for a few connections of which the kernel may have told this
//!     driver alone: it accepts these first. Clients notice nothing. Each holder has to say that
//!     it is joint, and the first one before there is another. Dropping the driver leaves the
//!     socket as it is, too, and accepts nothing. For joint listeners, clause 15 does not hold. All
//!     drivers make listeners non-blocking, joint or not, because this flag belongs to the socket
//!     and not to the descriptor.

mod abort;
mod boxed;
mod call_log;
pub mod calls;
pub mod chain;
mod completions;
mod descriptor_set;
mod directory;
mod disk;
mod drain;
mod entries;
mod failure;
pub mod file;
mod file_copy;
#[cfg(feature = "cli")]
mod inherited;
mod job;
mod job_thread;
mod kind;
mod links;
mod memory_file;
mod name;
mod now;
mod op;
mod open_files;
mod pace;
pub mod pool;
pub mod probe;
pub mod ready;
mod replaced;
mod sealed;
mod selection;
mod setup;
mod side;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
pub mod slot_map;
mod socket_address;
mod sys;
pub mod threads;
pub mod trace;
mod transfer;
pub mod trial;
pub mod uring;
mod waker;
pub mod watch;
mod whole;

use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::time::Duration;

use slot_map::CAPACITY_MAX;

pub use call_log::{Caller, MadeCall};
pub use chain::Chain;
pub use entries::{Entries, Entry, EntryKind};
pub use failure::{DenialCause, FileFailure};
pub use file::{File, FileKind, Metadata};
#[cfg(feature = "cli")]
pub use inherited::take_inherited;
pub use job::Job;
pub use kind::{DriverKind, Visitor};
pub use links::Links;
pub use now::Now;
pub use op::{Completion, Op, OpId, Outcome, SendEnd, Sock, Token, is_cancelled};
pub use open_files::OpenFiles;
pub use pool::Lease;
pub use selection::DriverSelection;
pub use setup::{code_of, errno_name};
pub use socket_address::SocketAddress;
pub use trace::{Trace, TraceEvent, TraceRecord, TraceWait, Tracer};
pub use waker::Waker;

/// The most connections that one accept yields in one wait, unless there is room for a thousand
/// more.
pub const ACCEPTS_PER_WAIT: u32 = 64;

/// Bytes that a receive takes in one wait at most. On the ring, the kernel ends the turn of a
/// receive: after 32 buffers (Linux 6.8), or earlier kernels after all free ones.
pub const RECEIVE_BYTES_MAX: u64 = 64 * 1024;

/// How long an accept pauses after the process or the machine ran out of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Performs ops; see the contract in the module documentation.
///
/// A driver belongs to the thread that opened it. The trait is sealed: only this crate implements
/// it.
pub trait Driver: sealed::Sealed + 'static {
    /// Takes ownership of a listening or connected socket, and makes it blocking or non-blocking as
    /// the driver needs.
    ///
    /// # Errors
    ///
    /// If [`Limits::sockets_max`] or the driver's own limit is reached, or if the poller refuses
    /// the descriptor.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock>;

    /// Says whether another process holds the socket of a listener too (clause 16). That may change
    /// while an accept is in flight. A new listener is not joint.
    fn set_joint(&mut self, listener: Sock, joint: bool);

    /// A duplicate of the descriptor of a listener, to pass it to another process.
    ///
    /// # Errors
    ///
    /// If there is no descriptor left, or the driver has no descriptors.
    fn duplicate(&self, _listener: Sock) -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Starts an op. Its completions carry `token`.
    ///
    /// # Panics
    ///
    /// If the contract is broken: by a stale socket, or by a second op on one side of a socket.
    fn submit(&mut self, token: Token, op: Op) -> OpId;

    /// Requests the end of an op (clause 7).
    fn cancel(&mut self, op: OpId);

    /// Performs I/O until there are completions, and appends them to `out`.
    ///
    /// # Errors
    ///
    /// Only if the driver itself is broken; it cannot be used afterwards.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;

    /// A handle that ends a [`Driver::wait`] from any thread.
    fn waker(&self) -> Waker;

    /// Bytes that the peer has acknowledged since the connection began (`TCP_INFO`, `tcp(7)`). For
    /// a Unix socket, those that were sent, less the memory that the kernel uses for what the peer
    /// has not read (`SIOCOUTQ`). That memory is more than the bytes, so this may be too low, and
    /// may shrink when bytes are sent; if the peer reads nothing, it stops changing once the socket
    /// is full.
    ///
    /// # Errors
    ///
    /// If the socket is of another kind, or a sandbox denies the call.
    fn acknowledged(&self, sock: Sock) -> io::Result<u64>;

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// If the connection has already ended.
    fn peer(&self, sock: Sock) -> io::Result<SocketAddress>;

    /// The local address; for a listener, the address on which it listens (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// If the socket is neither an Internet socket nor a Unix socket.
    fn local(&self, sock: Sock) -> io::Result<SocketAddress>;

    /// Sets how many bytes per second of a connection are sent at most; `None` for any number. The
    /// simulated network keeps no pace.
    ///
    /// # Errors
    ///
    /// If a sandbox denies the call.
    fn set_pace(&self, sock: Sock, rate: Option<NonZero<u64>>) -> io::Result<()>;

    /// Whether the kernel holds input of a connection that no wait has returned yet (`FIONREAD`,
    /// `tcp(7)`). False if that is not known.
    fn has_input(&self, sock: Sock) -> bool;

    /// The time that the timeouts of [`Driver::wait`] refer to: that of the machine, unless time is
    /// simulated.
    fn now(&self) -> Now {
        Now::read()
    }

    /// Ops whose last completion has not been returned.
    fn in_flight(&self) -> usize;

    /// Buffers that are lent in leases.
    fn leased(&self) -> usize;

    /// The driver's statistics so far.
    fn stats(&self) -> DriverStats;
}

/// The limits of a driver, fixed when it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets at a time, listeners included.
    pub sockets_max: u32,
    /// Receive buffers, at most 32768; a power of two, because the kernel's buffer ring requires
    /// it.
    pub buffers: u16,
    /// Size of one receive buffer, in bytes.
    pub buffer_bytes: u32,
    /// Bytes that one op may move in one wait (clause 10).
    pub turn_bytes_max: u64,
    /// Whether a ring takes only the ops of the driver, for a server in a sandbox. The other
    /// drivers make system calls, which a filter sees.
    pub restricted: bool,
}

/// File ops at a time, in addition to one for each socket: a worker opens files for all its
/// sessions.
const FILE_OPS_BESIDES: u32 = 1024;

impl Limits {
    /// File ops at a time. Further ones end with `ResourceBusy`.
    pub fn file_ops_max(&self) -> u32 {
        self.sockets_max.saturating_add(FILE_OPS_BESIDES).min(CAPACITY_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets_max: 16 * 1024,
            buffers: 1024,
            buffer_bytes: 4096,
            turn_bytes_max: 1 << 20,
            restricted: false,
        }
    }
}

/// What a driver has done, in counters. They are the basis for comparing I/O models.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct DriverStats {
    /// System calls.
    pub system_calls: u64,
    /// Ops handed to the kernel without a system call of their own (io_uring submissions).
    pub submissions: u64,
    /// Completions returned.
    pub completions: u64,
    /// Attempts that the kernel answered with "would block".
    pub would_block: u64,
    /// Receives that had to wait for a buffer.
    pub buffer_waits: u64,
    /// Connections closed at once because the table was full or the poller had no room.
    pub refused: u64,
}

impl DriverStats {
    /// The number of counters.
    pub const COUNTERS: usize = 6;

    /// The counters, in the order of their declaration.
    pub fn to_array(self) -> [u64; Self::COUNTERS] {
        let Self { system_calls, submissions, completions, would_block, buffer_waits, refused } =
            self;
        [system_calls, submissions, completions, would_block, buffer_waits, refused]
    }

    /// The inverse of [`DriverStats::to_array`].
    pub fn from_array(counters: [u64; Self::COUNTERS]) -> Self {
        let [system_calls, submissions, completions, would_block, buffer_waits, refused] = counters;
        Self { system_calls, submissions, completions, would_block, buffer_waits, refused }
    }
}
