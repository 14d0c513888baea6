//! The record of one socket: for each direction an op, and a thread that may be in a system call.
//!
//! The two come and go separately. An op can end while its thread still waits: when a receive or
//! an accept is cancelled, the call cannot be taken back. What it brings then is *held*, and the
//! thread counts as that of the next op. So at most one thread waits on each side, and no byte and
//! no connection is lost.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::job::SharedSocket;
use crate::driver::Token;
use crate::driver::chain::Chain;
use crate::driver::drain::ListenerDrain;
use crate::driver::side::Side;

/// A socket.
#[derive(Debug)]
pub(super) struct ThreadedSocket {
    pub(super) shared: Arc<SharedSocket>,
    /// Came from outside: others may hold duplicates, so closing ours need not end anything.
    pub(super) adopted: bool,
    pub(super) listener: bool,
    pub(super) read: SocketSide<ReadOp>,
    pub(super) write: SocketSide<SendOp>,
    /// What the last call on the read side brought, and no op has taken yet.
    pub(super) held: Held,
    /// Where receives go, unless a thread has it; empty before the first.
    pub(super) buffer: Vec<u8>,
    /// Memory for the pieces of sends, unless a thread has it.
    pub(super) memory: Vec<u8>,
    pub(super) close: Option<Close>,
}

/// One direction of a socket.
#[derive(Debug)]
pub(super) struct SocketSide<T> {
    pub(super) op: Side<T>,
    /// A thread is in a system call.
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
    pub(super) fin: bool,
    /// It ends with the answer that its thread gives now.
    pub(super) cancelled: bool,
}

/// A close that was submitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Close {
    pub(super) token: Token,
    pub(super) reset: bool,
    pub(super) phase: ClosePhase,
}

/// How far a close has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClosePhase {
    /// Its first turn is to come.
    Submitted,
    /// What the listener's queue holds is delivered.
    Draining(ListenerDrain),
    /// The other ops have been ended, and the threads asked to leave; with `drained`, one of them
    /// may bring the last connection.
    Ending { drained: bool },
}

/// What a call on the read side brought.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    /// A part of `buffer`, never an empty one; and whether it was counted as one that waits for a
    /// buffer of the pool.
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
            read: SocketSide::new(),
            write: SocketSide::new(),
            held: Held::Nothing,
            buffer: Vec::new(),
            memory: Vec::new(),
            close: None,
        }
    }

    /// Whether this is a listener that is closed, whose queue is delivered by the driver's thread.
    pub(super) fn is_draining(&self) -> bool {
        self.close.is_some_and(|close| match close.phase {
            ClosePhase::Submitted => false,
            ClosePhase::Draining(_) => true,
            ClosePhase::Ending { drained } => drained,
        })
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

    /// Notes that a thread is given a call.
    pub(super) fn enter(&mut self) {
        assert!(!self.busy, "a second thread on one side of a socket");
        self.busy = true;
    }

    /// Notes that the thread has answered.
    pub(super) fn leave(&mut self) {
        assert!(self.busy, "an answer to nobody's call");
        self.busy = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "a second thread on one side"]
    fn a_second_thread_on_a_side_is_noticed() {
        let mut side: SocketSide<ReadOp> = SocketSide::new();
        side.enter();
        side.enter();
    }

    #[test]
    #[should_panic = "an answer to nobody's call"]
    fn an_answer_to_nobody_is_noticed() {
        let mut side: SocketSide<ReadOp> = SocketSide::new();
        side.enter();
        side.leave();
        side.leave();
    }
}
