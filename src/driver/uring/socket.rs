//! What the proactor keeps of one socket: at most one read-side and one write-side op, and the
//! number of submissions that the kernel still owes an answer to.
//!
//! ```text
//! read:   submit -> Parked -> Armed -> last completion
//!         Armed  -> Parked      no buffer, no descriptor; or the kernel could not keep it armed
//!         Armed  -> Cancelled   the caller wants its end: the kernel is asked, and its answer is
//!                               the last completion
//!         Armed  -> Recalled -> Draining -> last completion
//!                               the listener is closed: the kernel is asked to give the accept
//!                               back, and then the queue is accepted from inline
//!         Parked -> Draining, and Recalled -> Cancelled, for the same reasons
//! write:  submit -> Ring -> last completion, or Runnable
//!         submit -> Runnable -> last completion, or Kernel
//!         Kernel -> Runnable    the poll or the fetch has ended
//!         Kernel -> Watched -> Runnable
//!                               the peer has half-closed, so epoll tells when there is room
//!         A cancel or a close ends Runnable and Watched at once. Ring and Kernel note it, and the
//!         kernel's answer is followed by the last completion.
//! end:    Close submitted -> shutdown(2), a reset, or `Recalled`
//!         -> `kernel` counts down to 0, and a listener's queue is accepted -> close(2), slot free
//! ```
//!
//! While `kernel` is above 0 the record stays, and with it all that the kernel may read or write.
//!
//! Invariants: `kernel` counts up with each submission about the socket and down with its last
//! completion. It is at least 1 while the kernel has a stream, or a send is in the ring, polled for
//! or fetched for. A closed socket has neither op.

use std::os::fd::OwnedFd;

use super::super::drain::ListenerDrain;
use super::super::op::Token;
use super::super::side::Side;
use super::super::transfer::{SLICES_MAX, Transfer};
use super::kind::SubmissionKind;

/// A socket of the proactor.
pub(super) struct RingSocket {
    pub(super) fd: OwnedFd,
    pub(super) read: Side<Stream>,
    pub(super) write: Side<RingSend>,
    /// The token of a submitted close.
    pub(super) closing: Option<Token>,
    /// Submissions that the kernel has not answered with their last completion.
    pub(super) kernel: u8,
}

/// An accept or a receive that goes on until it is cancelled or fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) token: Token,
    pub(super) kind: StreamKind,
    pub(super) state: StreamState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StreamKind {
    Accept,
    Recv,
}

/// Who has a stream; see the module documentation.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamState {
    /// The driver: it waits for a buffer or a descriptor.
    Parked,
    /// The kernel.
    Armed {
        /// The kernel goes on with it by itself.
        multishot: bool,
        /// It got data since it was armed.
        has_received: bool,
    },
    /// The kernel, which was asked to cancel it.
    Cancelled,
    /// The kernel, which was asked to cancel it because the listener is closed.
    Recalled(ListenerDrain),
    /// The driver, which accepts from the queue of the closed listener.
    Draining(ListenerDrain),
}

impl StreamState {
    /// Whether the kernel has it.
    pub(super) fn is_with_kernel(&self) -> bool {
        match self {
            Self::Armed { .. } | Self::Cancelled | Self::Recalled(_) => true,
            Self::Parked | Self::Draining(_) => false,
        }
    }
}

/// A send.
pub(super) struct RingSend {
    pub(super) token: Token,
    pub(super) transfer: Transfer,
    pub(super) stage: SendStage,
}

/// What a send waits for; see the module documentation.
pub(super) enum SendStage {
    /// Its turn: it is in the queue of sends to be tried inline.
    Runnable,
    /// The kernel, which sends its memory; `gather` is what a SENDMSG points to.
    Ring {
        #[expect(dead_code, reason = "only the kernel reads it")]
        gather: Option<Box<Gather>>,
        cancelled: bool,
    },
    /// The kernel: until the socket takes more (a poll), or a file's pages are in memory (a fetch).
    Kernel { kind: SubmissionKind, cancelled: bool },
    /// Room, in [`WritableWatch`](super::writable_watch::WritableWatch).
    Watched,
}

/// The arguments of a SENDMSG, at an address that stays.
pub(super) struct Gather {
    pub(super) message: libc::msghdr,
    pub(super) vectors: [libc::iovec; Self::VECTORS],
}

impl Gather {
    /// Memory parts in one SENDMSG.
    pub(super) const VECTORS: usize = SLICES_MAX;
}

impl RingSocket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, read: Side::new(), write: Side::new(), closing: None, kernel: 0 }
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

const _: () = assert!(size_of::<RingSocket>() <= 128);
