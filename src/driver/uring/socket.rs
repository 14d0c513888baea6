//! What the proactor keeps of a socket: at most one read-side and one write-side op, and the number
//! of submissions that the kernel has not completed.
//!
//! ```text
//! read:   submit -> Parked -> Armed -> last completion
//!         Armed  -> Parked      no buffer, no descriptor; or the kernel could not keep it armed
//!         Armed  -> Cancelled   the caller has cancelled: the kernel's last completion ends the
//!                               stream
//!         Armed  -> Recalled -> Draining -> last completion
//!                               the listener is closed: the kernel is asked to cancel the
//!                               accept, and then the driver accepts from the queue inline
//!         Parked -> Draining, and Recalled -> Cancelled, for the same reasons
//! write:  submit -> Ring -> last completion, or Runnable
//!         submit -> Runnable -> last completion, or Kernel
//!         Kernel -> Runnable    the poll or the fetch has ended
//!         Kernel -> Watched -> Runnable
//!                               the peer has half-closed, so epoll reports room
//!         A cancel or a close ends Runnable and Watched at once. Ring and Kernel note it, and the
//!         last completion follows the kernel's answer.
//! end:    Close submitted -> shutdown(2), a reset, or `Recalled`
//!         -> `kernel` counts down to 0, and a listener's queue is accepted -> close(2), slot free
//! ```
//!
//! While `kernel` is above 0, the record stays, and with it all memory that the kernel may access.
//!
//! Invariants: `kernel` goes up with each submission about the socket, and down with its last
//! completion. It is at least 1 while the kernel has a stream, or while a send is in the ring or
//! waits for a poll or a fetch. A closed socket has neither op.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::super::drain::ListenerDrain;
use super::super::file::File;
use super::super::op::Token;
use super::super::side::Side;
use super::super::transfer::Transfer;
use super::kind::SubmissionKind;

/// A socket of the proactor.
pub(super) struct RingSocket {
    pub(super) fd: OwnedFd,
    pub(super) read: Side<Stream>,
    pub(super) write: Side<RingSend>,
    /// The token of a submitted close.
    pub(super) closing: Option<Token>,
    /// Submissions whose last completion has not come.
    pub(super) kernel: u8,
    /// A listener that other workers share.
    pub(super) shared: bool,
    /// A listener that another process holds too: it is left as it is.
    pub(super) joint: bool,
    /// Bytes of the sends that have ended.
    pub(super) sent: u64,
}

/// An accept or a receive, which continues until it is cancelled or fails.
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

/// Who acts next on a stream, the driver or the kernel; see the module documentation.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamState {
    /// The driver, when a buffer or a descriptor is free.
    Parked,
    /// The kernel, when there is data or a connection.
    Armed {
        /// The kernel keeps it armed by itself.
        multishot: bool,
        /// It has received data since it was armed.
        has_received: bool,
    },
    /// The kernel, which was asked to cancel it; with the drain, if the listener was closed before.
    Cancelled(Option<ListenerDrain>),
    /// The kernel, which was asked to cancel it because the listener is closed.
    Recalled(ListenerDrain),
    /// The driver, which accepts from the queue of the closed listener.
    Draining(ListenerDrain),
}

impl StreamState {
    /// Whether the kernel acts next.
    pub(super) fn is_with_kernel(&self) -> bool {
        match self {
            Self::Armed { .. } | Self::Cancelled(_) | Self::Recalled(_) => true,
            Self::Parked | Self::Draining(_) => false,
        }
    }

    /// The drain of the listener, which has to release the connections that are accepted.
    pub(super) fn drain(&self) -> Option<ListenerDrain> {
        match self {
            Self::Recalled(drain) | Self::Draining(drain) => Some(*drain),
            Self::Cancelled(drain) => *drain,
            Self::Parked | Self::Armed { .. } => None,
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
    /// Its turn: it is in the queue of sends to try inline.
    Runnable,
    /// The kernel, which sends its memory. A SENDMSG points to `gather`.
    Ring {
        #[expect(dead_code, reason = "only the kernel reads it")]
        gather: Option<Box<Gather>>,
        cancelled: bool,
    },
    /// A submission that does not send: a poll for room in the socket, or a fetch of a file's data
    /// into memory.
    Kernel {
        kind: SubmissionKind,
        cancelled: bool,
        /// Where a fetch reads a file that `sendfile(2)` does not send.
        copy: Option<Box<PieceRead>>,
    },
    /// Room, which [`WritableWatch`](super::writable_watch::WritableWatch) reports.
    Watched,
}

/// A read of a piece of a file, into memory at a stable address.
pub(super) struct PieceRead {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
    /// As long as the piece.
    pub(super) bytes: Vec<u8>,
}

/// The arguments of a SENDMSG, at a stable address.
pub(super) struct Gather {
    pub(super) message: libc::msghdr,
    /// `message` points to it.
    #[expect(dead_code, reason = "it is kept for the kernel, which reads it")]
    pub(super) vectors: Vec<libc::iovec>,
}

impl RingSocket {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            read: Side::new(),
            write: Side::new(),
            closing: None,
            kernel: 0,
            shared: false,
            joint: false,
            sent: 0,
        }
    }

    /// Counts a submission about this socket.
    pub(super) fn submitted(&mut self) {
        self.kernel = self.kernel.checked_add(1).expect("a socket has few submissions at a time");
    }

    /// Counts the last completion of a submission.
    pub(super) fn answered(&mut self) {
        assert!(self.kernel > 0, "a completion without a submission about its socket");
        self.kernel -= 1;
    }
}

const _: () = assert!(size_of::<RingSocket>() <= 128);
