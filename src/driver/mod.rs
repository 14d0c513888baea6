//! Drivers: what performs I/O, and the contract that all of them keep.
//!
//! A [`Driver`] performs [`Op`]s and returns [`Completion`]s. It owns the sockets it is given.
//! Nothing outside this module knows which driver runs: the proactor on io_uring ([`uring`]), the
//! reactor on a readiness poller ([`ready`]) and blocking calls in threads ([`threads`]) behave the
//! same, line by line of this contract.
//!
//! # The contract
//!
//! 1. Each op yields **exactly one** completion with `more == false`, its last. [`Op::AcceptMany`]
//!    and [`Op::RecvMany`] yield any number with `more == true` before it.
//! 2. What enters an op belongs to the driver until that last completion, and returns in it or is
//!    dropped there. Cancelling, closing or dropping the driver shortens nothing of this.
//! 3. [`Driver::submit`] neither fails nor blocks, and no completion is seen before the next
//!    [`Driver::wait`]. Errors are completions. Capacity is fixed when the driver is opened; of ops
//!    on files, what is beyond [`Limits::file_ops_max`] at a time may end with `ResourceBusy`.
//! 4. Per socket there is at most one read-side op (accept, receive) and one write-side op (send)
//!    at a time. More is a bug in the caller, and panics.
//! 5. A send completes when *all* bytes are with the kernel, or on error. Retrying is the driver's
//!    work. [`Driver::acknowledged`] tells a caller whether a long one still makes progress.
//! 6. Completions of one side of one socket come in order. Nothing else is ordered.
//! 7. [`Driver::cancel`] is a request. The op's last completion tells what happened: the error
//!    `ECANCELED`, or success, which is a legal answer, with all that came before it.
//! 8. [`Op::Close`] ends the socket's other ops first: each gets its last completion, then the
//!    descriptor is closed, once, then [`Outcome::Closed`] comes. A [`Sock`] used after that
//!    panics. Submitting on a socket after its close was submitted is a bug, and panics.
//! 9. Having no free buffer is not an error: the receive waits until a [`Lease`] is dropped, and
//!    [`DriverStats::buffer_waits`] counts it. One socket cannot keep the others from receiving
//!    for good.
//! 10. One op moves at most [`Limits::turn_bytes_max`] in one wait, and receives at most what the
//!     free buffers hold; then others have their turn.
//! 11. [`Driver::wait`] returns when there is a completion, at the timeout, or on a wake, which
//!     is the completion [`Outcome::Woken`]. It may return early with nothing. Interrupted system
//!     calls are retried inside.
//! 12. A file that ends before the range of a send does fails that send with `UnexpectedEof`:
//!     nothing is padded. A disk never stops the loop: other threads fetch what is cold.
//!     What else may take long is an [`Op::Run`]: a [`Job`] for another thread. When cancelled, one
//!     that nobody has begun is dropped undone; one that has begun ends when it ends, even after
//!     the driver. Of jobs that wait, what is beyond 16 at a time ends with `ResourceBusy`.
//! 13. Running out of descriptors (`EMFILE`, `ENFILE`) does not end an accept: it is tried again
//!     after [`ACCEPT_RETRY`]. A socket beyond [`Limits::sockets_max`] is closed at once and
//!     counted in [`DriverStats::refused`]; so that a caller can stop before, an accept yields at
//!     most [`ACCEPTS_PER_WAIT`] connections in one wait when room is short.
//! 14. Dropping a driver ends all ops and waits, within a bound, for what the kernel still owns.
//!     What it does not give back in time is leaked, never freed.
//! 15. Closing a listener delivers its queue first. When its [`Op::Close`] is submitted while an
//!     [`Op::AcceptMany`] is in flight, every connection that the kernel has established by then
//!     is delivered, as contract 13 says; then the accept ends with `ECANCELED`, unless it has
//!     failed; then the close does. New clients are kept out meanwhile, by a filter on the socket
//!     (`drain.rs`), which duplicates of the descriptor share: their SYN is dropped, and when they
//!     repeat it, they are refused. A cancel of the accept ends the delivery, and so do ten rests
//!     ([`ACCEPT_RETRY`]) in a row for want of descriptors. Who is not delivered is reset by the
//!     kernel; so is everybody when no accept is in flight.

mod boxed;
pub mod calls;
pub mod chain;
mod completions;
mod directory;
mod disk;
mod drain;
mod entries;
mod failure;
pub mod file;
mod job;
mod job_thread;
mod kind;
mod links;
mod name;
mod now;
mod op;
pub mod pool;
pub mod probe;
pub mod ready;
mod sealed;
mod selection;
mod setup;
mod side;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
pub mod slot_map;
mod sys;
pub mod threads;
pub mod trace;
mod transfer;
pub mod trial;
pub mod uring;
mod waker;
pub mod watch;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use slot_map::CAPACITY_MAX;

pub use chain::Chain;
pub use entries::{Entries, Entry, EntryKind};
pub use failure::FileFailure;
pub use file::{File, FileKind, Metadata};
pub use job::Job;
pub use kind::{DriverKind, Visitor};
pub use links::Links;
pub use now::Now;
pub use op::{Completion, Op, OpId, Outcome, Sock, Token, is_cancelled};
pub use pool::Lease;
pub use selection::DriverSelection;
pub use setup::code_of;
pub use trace::{Trace, Tracer};
pub use waker::Waker;

/// Connections that one accept yields in one wait, unless there is room for a thousand more.
pub const ACCEPTS_PER_WAIT: u32 = 64;

/// How long an accept rests after the process or the machine ran out of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Performs ops; see the contract in the module documentation.
///
/// A driver belongs to the thread that made it. The trait is sealed: the drivers are those of this
/// crate.
pub trait Driver: sealed::Sealed + 'static {
    /// Takes over a listening or connected socket, and makes it non-blocking or blocking as the
    /// driver needs it.
    ///
    /// # Errors
    ///
    /// When [`Limits::sockets_max`] or the driver's own bound is reached, or the poller refuses the
    /// descriptor.
    fn adopt(&mut self, socket: OwnedFd) -> io::Result<Sock>;

    /// Starts an op. Its completions carry `token`.
    ///
    /// # Panics
    ///
    /// On a breach of the contract: a stale socket, or a second op on one side of a socket.
    fn submit(&mut self, token: Token, op: Op) -> OpId;

    /// Asks for the end of an op (contract 7).
    fn cancel(&mut self, op: OpId);

    /// Performs I/O until there is something to tell, and appends it to `out`.
    ///
    /// # Errors
    ///
    /// Only when the driver itself is broken: nothing can be expected from it afterwards.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;

    /// A handle that ends a [`Driver::wait`] from any thread.
    fn waker(&self) -> Waker;

    /// Bytes that the peer has acknowledged since the connection began (`TCP_INFO`, `tcp(7)`).
    ///
    /// # Errors
    ///
    /// When the socket is not TCP.
    fn acknowledged(&self, sock: Sock) -> io::Result<u64>;

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    fn peer(&self, sock: Sock) -> io::Result<SocketAddr>;

    /// The address of this end; of a listener, where it listens (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// When the socket is not an Internet one.
    fn local(&self, sock: Sock) -> io::Result<SocketAddr>;

    /// The time that the timeouts of [`Driver::wait`] are measured by. It is the machine's, except
    /// where time itself is simulated.
    fn now(&self) -> Now {
        Now::read()
    }

    /// Ops whose last completion has not been returned yet.
    fn in_flight(&self) -> usize;

    /// Buffers that are lent out in leases.
    fn leased(&self) -> usize;

    /// What the driver has done so far.
    fn stats(&self) -> DriverStats;
}

/// The bounds of a driver, decided at start.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets at a time, listeners included.
    pub sockets_max: u32,
    /// Receive buffers; a power of two for the sake of the kernel's buffer ring, at most 32768.
    pub buffers: u16,
    /// Bytes of one receive buffer.
    pub buffer_bytes: u32,
    /// Bytes that one op may move in one wait.
    pub turn_bytes_max: u64,
}

/// Ops on files at a time, besides one for each socket: a worker opens files for all its sessions.
const FILE_OPS_BESIDES: u32 = 1024;

impl Limits {
    /// Ops on files at a time. What is beyond ends with `ResourceBusy`.
    pub fn file_ops_max(&self) -> u32 {
        self.sockets_max.saturating_add(FILE_OPS_BESIDES).min(CAPACITY_MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { sockets_max: 16 * 1024, buffers: 1024, buffer_bytes: 4096, turn_bytes_max: 1 << 20 }
    }
}

/// What a driver did, counted: the figures that a comparison of I/O models rests on.
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
    /// Connections closed at once because the table was full, or the poller had no place.
    pub refused: u64,
}

impl DriverStats {
    /// How many counters there are.
    pub const COUNTERS: usize = 6;

    /// The counters, in the order in which they are declared.
    pub fn to_array(self) -> [u64; Self::COUNTERS] {
        let Self { system_calls, submissions, completions, would_block, buffer_waits, refused } =
            self;
        [system_calls, submissions, completions, would_block, buffer_waits, refused]
    }

    /// From [`DriverStats::to_array`].
    pub fn from_array(counters: [u64; Self::COUNTERS]) -> Self {
        let [system_calls, submissions, completions, would_block, buffer_waits, refused] = counters;
        Self { system_calls, submissions, completions, would_block, buffer_waits, refused }
    }
}
