//! What the proactor keeps of one socket: at most one read-side and one write-side op, and the
//! number of submissions that the kernel still owes an answer to.
//!
//! ```text
//! read:   Idle -> Armed -> Parked (no buffer, no descriptor) -> Armed -> … -> Idle
//! write:  Idle -> Ring (SEND or SENDMSG in the kernel) ----------------------> Idle
//!         Idle -> Runnable (the next turn tries) -> Kernel (poll, fetch) -> Runnable … -> Idle
//! end:    Close submitted -> shutdown(2), a reset or (of a listener's accept) a cancel
//!         -> `kernel` counts down to 0 -> (what a listener's queue holds is accepted)
//!         -> close(2), slot free
//! ```
//!
//! While `kernel` is above 0 the record stays, and with it all that the kernel may read or write.
//!
//! Invariants: `kernel` counts up with each submission about the socket and down with its last
//! completion. It is at least 1 while a stream is armed, or a send is in the ring, polled for or
//! fetched for. A closed socket has neither op.

use std::os::fd::OwnedFd;

use super::super::drain::Drain;
use super::super::op::Token;
use super::super::transfer::Transfer;
use super::kind::SubmissionKind;

/// A socket of the proactor.
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) read: Read,
    pub(super) write: Write,
    /// The token of a submitted close.
    pub(super) closing: Option<Token>,
    /// Submissions that the kernel has not answered with their last completion.
    pub(super) kernel: u8,
    /// Counts the ops of each side, so that a stale `OpId` cancels nothing.
    pub(super) sequence: [u16; 2],
}

/// The read side.
#[derive(Debug)]
pub(super) enum Read {
    Idle,
    Many(Stream),
}

/// An accept or a receive that goes on until it is cancelled or fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) token: Token,
    pub(super) kind: StreamKind,
    /// Whether the kernel has it; otherwise it waits for a buffer or a descriptor.
    pub(super) armed: bool,
    /// Whether the kernel goes on with it by itself.
    pub(super) multishot: bool,
    /// Whether it got data since it was armed.
    pub(super) has_received: bool,
    pub(super) cancelled: bool,
    /// The listener is closed: what its queue holds is accepted inline once the kernel has
    /// answered, and then the stream ends.
    pub(super) drain: Option<Drain>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamKind {
    Accept,
    Recv,
}

/// The write side.
pub(super) enum Write {
    Idle,
    /// Memory that the kernel is sending; `gather` is what a SENDMSG points to.
    Ring {
        token: Token,
        transfer: Transfer,
        gather: Option<Box<Gather>>,
        cancelled: bool,
    },
    /// In the queue of sends to be tried inline.
    Runnable {
        token: Token,
        transfer: Transfer,
    },
    /// Waiting for room, in [`WritableWatch`](super::writable_watch::WritableWatch).
    Watched {
        token: Token,
        transfer: Transfer,
    },
    /// Waiting for the kernel: until the socket takes more, or a file's pages are in memory.
    Kernel {
        token: Token,
        transfer: Transfer,
        /// What it was asked for: a poll or a fetch.
        kind: SubmissionKind,
        cancelled: bool,
    },
}

/// The arguments of a SENDMSG, at an address that stays.
pub(super) struct Gather {
    pub(super) message: libc::msghdr,
    pub(super) vectors: [libc::iovec; Self::VECTORS],
}

impl Gather {
    /// Memory parts in one SENDMSG.
    pub(super) const VECTORS: usize = 64;
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            read: Read::Idle,
            write: Write::Idle,
            closing: None,
            kernel: 0,
            sequence: [0; 2],
        }
    }

    /// Counts a submission about this socket.
    pub(super) fn submitted(&mut self) {
        self.kernel = self.kernel.checked_add(1).expect("a socket has few submissions at a time");
    }

    /// Counts the last completion of one.
    pub(super) fn answered(&mut self) {
        assert!(self.kernel > 0, "a completion that answers no submission about its socket");
        self.kernel -= 1;
    }
}

const _: () = assert!(size_of::<Socket>() <= 128);
