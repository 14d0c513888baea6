//! The record of one socket, and the life of an op on it.
//!
//! ```text
//!               submit, not ready                      submit, ready
//!                     |                                     |
//!                     v        report, buffer, time,        v
//!   +-------------- Armed      answer of a helper        Queued <---+
//!   |  WaitsForBuffer | -----------------------------------> |      | budget spent
//!   |  Backoff        |                                      +------+
//!   |  Fetching <-----+-- an attempt found: would block, no buffer, |
//!   |                     no descriptor, cold file  <---------------+
//!   |                                                     |
//!   +--- cancel, close ---> last completion <--- done, error
//! ```
//!
//! Exactly one thing can move an op out of each stage, so an op is never in two lists, and only
//! `Armed` is of interest to the poller.

use std::io;
use std::os::fd::OwnedFd;

use super::poller::Interest;
use crate::driver::drain::Drain;
use crate::driver::name::SEQUENCE_MASK;
pub(super) use crate::driver::name::{OpKind, name, parse};
use crate::driver::slot_map::{Handle, SlotMap};
use crate::driver::transfer::Transfer;
use crate::driver::{OpId, Outcome, Token};

/// A socket.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) descriptor: OwnedFd,
    /// Came from outside: others may hold duplicates, so closing ours need not end anything.
    pub(super) adopted: bool,
    pub(super) listener: bool,
    pub(super) read: Side,
    pub(super) write: Side,
    /// The token and the manner of a close that was submitted.
    pub(super) closing: Option<(Token, bool)>,
    /// What the poller watches.
    pub(super) armed: Interest,
    /// The poller has reported a direction that no op waits for.
    pub(super) spurious: bool,
    /// Is in the list of changes to be told to the poller.
    pub(super) changing: bool,
    /// The end of input or an error has been reported: a short read is not the end of news.
    pub(super) hangup: bool,
}

/// One direction of a socket.
#[derive(Debug)]
pub(super) struct Side {
    /// An attempt may succeed: set by reports, cleared by "would block".
    pub(super) ready: bool,
    /// It was reported again since then, perhaps for another reason.
    reported_again: bool,
    pub(super) pending: Option<Pending>,
    sequence: u16,
}

/// An op in flight.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) token: Token,
    pub(super) stage: Stage,
    pub(super) work: Work,
}

/// What an op does.
#[derive(Debug)]
pub(super) enum Work {
    /// With the bounds of its drain, if the listener is closed: it delivers the queue, and is the
    /// listener's last.
    Accept(Option<Drain>),
    Receive,
    Send(Transfer),
}

/// What an op waits for; see the module documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Its turn: it is in `runnable`.
    Queued,
    /// A report of the poller.
    Armed,
    /// A free buffer: it is in `waits_for_buffer`.
    WaitsForBuffer,
    /// The end of `ACCEPT_RETRY`: it is in `backoff`.
    Backoff,
    /// A helper, who brings a piece of a file into memory.
    Fetching,
}

/// What a report of the poller means for the op on one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readiness {
    /// The op waited for it, and is to be queued.
    Awaited,
    /// The op is queued already.
    Known,
    /// No op waits for it.
    Unwanted,
}

/// Moves an op from one stage to the queue, whose list is the caller's; says whether it was
/// still there.
pub(super) fn requeue(sources: &mut SlotMap<Source>, op: OpId, from: Stage) -> bool {
    let (handle, op_kind, sequence) = parse(op);
    let side = sources.get_mut(handle).map(|source| source.side_mut(op_kind));
    let pending = side.and_then(|side| side.current(sequence));
    match pending.filter(|pending| pending.stage == from) {
        Some(pending) => {
            pending.stage = Stage::Queued;
            true
        }
        None => false,
    }
}

impl Source {
    /// A new connection takes output at once. Whether it has input is for the poller to say: a
    /// client that has just connected has seldom sent anything yet.
    pub(super) fn new(descriptor: OwnedFd, adopted: bool, listener: bool, armed: Interest) -> Self {
        Self {
            descriptor,
            adopted,
            listener,
            read: Side::new(false),
            write: Side::new(true),
            closing: None,
            armed,
            spurious: false,
            changing: false,
            hangup: false,
        }
    }

    pub(super) fn side_mut(&mut self, op_kind: OpKind) -> &mut Side {
        match op_kind {
            OpKind::Read => &mut self.read,
            OpKind::Write => &mut self.write,
            OpKind::Close | OpKind::File | OpKind::JobThread => {
                unreachable!("only reads and writes have a side")
            }
        }
    }

    /// Whether a read that is short may have left something: an end, or what came after the
    /// report that led to it.
    pub(super) fn may_hide_more(&self) -> bool {
        self.hangup || self.read.reported_again
    }

    /// What the ops wait for.
    pub(super) fn want(&self) -> Interest {
        Interest { read: self.read.waits(), write: self.write.waits() }
    }
}

impl Side {
    fn new(ready: bool) -> Self {
        Self { ready, reported_again: false, pending: None, sequence: 0 }
    }

    /// Begins an op; gives the sequence number for its name.
    pub(super) fn start(&mut self, token: Token, work: Work) -> u16 {
        assert!(self.pending.is_none(), "a second op on one side of a socket");
        let stage = if self.ready { Stage::Queued } else { Stage::Armed };
        self.pending = Some(Pending { token, stage, work });
        self.sequence
    }

    /// The op with that sequence number, if it is still in flight.
    pub(super) fn current(&mut self, sequence: u16) -> Option<&mut Pending> {
        self.pending.as_mut().filter(|_| self.sequence == sequence)
    }

    /// The name of the op that is in flight on this side of `handle`.
    pub(super) fn name(&self, handle: Handle, op_kind: OpKind) -> Option<OpId> {
        self.pending.as_ref().map(|_| name(handle, op_kind, self.sequence))
    }

    /// The bounds of the drain, if the op in flight is the last accept of a closed listener.
    pub(super) fn drain(&mut self) -> Option<&mut Drain> {
        match self.pending.as_mut()?.work {
            Work::Accept(ref mut drain) => drain.as_mut(),
            Work::Receive | Work::Send(_) => None,
        }
    }

    /// Takes the op that is in flight out, and makes its name stale.
    pub(super) fn take(&mut self) -> Option<Pending> {
        let pending = self.pending.take()?;
        self.sequence = (self.sequence + 1) & SEQUENCE_MASK;
        Some(pending)
    }

    /// Notes a report; says what it means for the op.
    pub(super) fn report(&mut self) -> Readiness {
        self.reported_again |= self.ready;
        self.ready = true;
        match &mut self.pending {
            Some(pending) if pending.stage == Stage::Armed => {
                pending.stage = Stage::Queued;
                Readiness::Awaited
            }
            Some(pending) if pending.stage == Stage::Queued => Readiness::Known,
            _ => Readiness::Unwanted,
        }
    }

    /// Notes that an attempt was in vain: only another report makes it worth another.
    pub(super) fn block(&mut self) {
        (self.ready, self.reported_again) = (false, false);
    }

    fn waits(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.stage == Stage::Armed)
    }
}

impl Work {
    /// The outcome of the op's last completion.
    pub(super) fn end(self, result: io::Result<()>) -> Outcome {
        match (self, result) {
            (Self::Accept(_), Ok(())) => unreachable!("accepting has no orderly end"),
            (Self::Accept(_), Err(error)) => Outcome::Accepted(Err(error)),
            (Self::Receive, result) => Outcome::Received(result.map(|()| None)),
            (Self::Send(transfer), result) => Outcome::Sent(result, transfer.chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A poller whose every report has one cause need not say that the second is the end.
    #[test]
    fn two_reports_may_hide_more_than_a_short_read_shows() {
        let descriptor = tempfile::tempfile().unwrap().into();
        let mut source = Source::new(descriptor, false, false, Interest::BOTH);
        for (reports, hidden) in [(1, false), (2, true), (1, false)] {
            for _ in 0..reports {
                source.read.report();
            }
            assert_eq!(source.may_hide_more(), hidden, "{reports}");
            source.read.block();
        }
    }

    #[test]
    fn the_name_of_an_earlier_op_is_stale() {
        let mut side = Side { sequence: SEQUENCE_MASK, ..Side::new(true) };
        let first = side.start(Token(1), Work::Receive);
        assert!(side.take().is_some());
        let second = side.start(Token(2), Work::Receive);
        assert!(side.current(first).is_none());
        assert!(side.current(second).is_some());
    }
}
