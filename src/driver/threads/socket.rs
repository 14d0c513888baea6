//! The record of one socket: for each side, an op, and whether a thread is in a system call.
//!
//! The two are independent. An op can end before its thread returns: cancelling a receive or an
//! accept does not end the blocked call. The result of the call is then *held* for the next op, and
//! the thread works for that op. So at most one thread blocks on each side, and no byte and no
//! connection is lost.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::job::SharedSocket;
use crate::driver::chain::Chain;
use crate::driver::drain::ListenerDrain;
use crate::driver::side::Side;
use crate::driver::{SendEnd, Token};

/// A socket.
#[derive(Debug)]
pub(super) struct ThreadedSocket {
    pub(super) shared: Arc<SharedSocket>,
    /// The caller opened the socket: there may be duplicates, so closing ours may not end the
    /// connection.
    pub(super) adopted: bool,
    pub(super) listener: bool,
    /// A listener that another process holds too: it is left as it is.
    pub(super) joint: bool,
    pub(super) read: SocketSide<ReadOp>,
    pub(super) write: SocketSide<SendOp>,
    /// The result of the last call on the read side, which no op has taken yet.
    pub(super) held: Held,
    /// The buffer of receives. Empty before the first, and while a thread has it.
    pub(super) buffer: Vec<u8>,
    /// Memory for the pieces of sends. Empty while a thread has it.
    pub(super) memory: Vec<u8>,
    pub(super) close: Option<Close>,
    /// Bytes of the sends that have ended.
    pub(super) sent: u64,
}

/// One side of a socket.
#[derive(Debug)]
pub(super) struct SocketSide<T> {
    pub(super) op: Side<T>,
    /// A thread is in a system call on this side.
    pub(super) busy: bool,
}

/// An accept or a receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadOp {
    pub(super) token: Token,
    pub(super) accept: bool,
}

/// A send.
#[derive(Debug)]
pub(super) struct SendOp {
    pub(super) token: Token,
    pub(super) chain: Box<Chain>,
    pub(super) end: SendEnd,
    /// The send ends when its thread answers.
    pub(super) cancelled: bool,
}

/// A close that was submitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Close {
    pub(super) token: Token,
    pub(super) reset: bool,
    pub(super) phase: ClosePhase,
}

/// The phase of a close.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClosePhase {
    /// It has not had a turn yet.
    Submitted,
    /// The driver delivers the listener's backlog.
    Draining(ListenerDrain),
    /// The other ops have ended, and the threads are leaving their calls. After a drain, the
    /// listener's thread may still return a last connection.
    Ending { drain: Option<ListenerDrain> },
}

/// The result of a call on the read side.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    /// The filled part of `buffer`, never empty; and whether it was counted in `buffer_waits`.
    Bytes(Range<usize>, bool),
    /// The end of input.
    End,
    Failed(io::Error),
    Connection(OwnedFd),
}

impl ThreadedSocket {
    pub(super) fn new(shared: Arc<SharedSocket>, adopted: bool, listener: bool) -> Self {
        Self {
            shared,
            adopted,
            listener,
            joint: false,
            read: SocketSide::new(),
            write: SocketSide::new(),
            held: Held::Nothing,
            buffer: Vec::new(),
            memory: Vec::new(),
            close: None,
            sent: 0,
        }
    }

    /// The drain, if this is a listener that is being closed, and the driver's own thread delivers
    /// its backlog.
    pub(super) fn drain(&self) -> Option<ListenerDrain> {
        match self.close?.phase {
            ClosePhase::Submitted => None,
            ClosePhase::Draining(drain) => Some(drain),
            ClosePhase::Ending { drain } => drain,
        }
    }

    /// Whether this is a joint listener that is being closed, whose thread leaves its call.
    pub(super) fn is_left(&self) -> bool {
        self.joint && self.close.is_some()
    }

    /// Whether a thread is in a system call on the descriptor.
    pub(super) fn is_busy(&self) -> bool {
        self.read.busy || self.write.busy
    }
}

impl<T> SocketSide<T> {
    fn new() -> Self {
        Self { op: Side::new(), busy: false }
    }

    /// Notes that a thread begins a call.
    pub(super) fn enter(&mut self) {
        assert!(!self.busy, "a second thread on one side of a socket");
        self.busy = true;
    }

    /// Notes that the thread has answered.
    pub(super) fn leave(&mut self) {
        assert!(self.busy, "an answer without a call");
        self.busy = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "a second thread on one side"]
    fn a_second_thread_on_a_side_panics() {
        let mut side: SocketSide<ReadOp> = SocketSide::new();
        side.enter();
        side.enter();
    }

    #[test]
    #[should_panic = "an answer without a call"]
    fn an_answer_without_a_call_panics() {
        let mut side: SocketSide<ReadOp> = SocketSide::new();
        side.enter();
        side.leave();
        side.leave();
    }
}
