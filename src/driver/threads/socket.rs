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
use crate::driver::chain::Chain;
use crate::driver::drain::Drain;
use crate::driver::name::{OpKind, SEQUENCE_MASK, name};
use crate::driver::slot_map::Handle;
use crate::driver::{OpId, Token};

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) shared: Arc<SharedSocket>,
    /// Came from outside: others may hold duplicates, so closing ours need not end anything.
    pub(super) adopted: bool,
    pub(super) listener: bool,
    pub(super) read: Side<Reading>,
    pub(super) write: Side<Sending>,
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
pub(super) struct Side<T> {
    pending: Option<T>,
    sequence: u16,
    /// A thread is in a system call.
    pub(super) busy: bool,
}

/// An accept or a receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    pub(super) token: Token,
    pub(super) accept: bool,
}

/// A send.
#[derive(Debug)]
pub(super) struct Sending {
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
    /// The other ops have been ended, and the threads asked to leave.
    pub(super) begun: bool,
    /// What a listener's queue holds is delivered first.
    pub(super) drain: Option<Drain>,
}

/// What a call on the read side brought.
#[derive(Debug)]
pub(super) enum Held {
    Nothing,
    /// A part of `buffer`, never an empty one; and whether it was counted as starved.
    Bytes(Range<usize>, bool),
    /// The end of input.
    End,
    Failed(io::Error),
    Connection(OwnedFd),
}

impl Socket {
    pub(super) fn new(shared: Arc<SharedSocket>, adopted: bool, listener: bool) -> Self {
        Self {
            shared,
            adopted,
            listener,
            read: Side::new(),
            write: Side::new(),
            held: Held::Nothing,
            buffer: Vec::new(),
            memory: Vec::new(),
            close: None,
        }
    }

    /// Whether this is a listener that is closed, whose queue is delivered by the driver's thread.
    pub(super) fn is_draining(&self) -> bool {
        self.close.is_some_and(|close| close.drain.is_some())
    }

    /// Whether a thread is in a system call on the descriptor.
    pub(super) fn is_busy(&self) -> bool {
        self.read.busy || self.write.busy
    }
}

impl<T> Side<T> {
    fn new() -> Self {
        Self { pending: None, sequence: 0, busy: false }
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

    /// Begins an op; gives the sequence number for its name.
    pub(super) fn start(&mut self, op: T) -> u16 {
        assert!(self.pending.is_none(), "a second op on one side of a socket");
        self.pending = Some(op);
        self.sequence
    }

    /// The op with that sequence number, if it is still in flight.
    pub(super) fn current(&mut self, sequence: u16) -> Option<&mut T> {
        self.pending.as_mut().filter(|_| self.sequence == sequence)
    }

    /// The op in flight.
    pub(super) fn pending(&mut self) -> Option<&mut T> {
        self.pending.as_mut()
    }

    /// The name of the op that is in flight on this side of `handle`.
    pub(super) fn name(&self, handle: Handle, op_kind: OpKind) -> Option<OpId> {
        self.pending.as_ref().map(|_| name(handle, op_kind, self.sequence))
    }

    /// Takes the op that is in flight out, and makes its name stale.
    pub(super) fn take(&mut self) -> Option<T> {
        let pending = self.pending.take()?;
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK;
        Some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic = "a second thread on one side"]
    fn a_second_thread_on_a_side_is_noticed() {
        let mut side: Side<Reading> = Side::new();
        side.enter();
        side.enter();
    }

    #[test]
    #[should_panic = "an answer to nobody's call"]
    fn an_answer_to_nobody_is_noticed() {
        let mut side: Side<Reading> = Side::new();
        side.enter();
        side.leave();
        side.leave();
    }
}
