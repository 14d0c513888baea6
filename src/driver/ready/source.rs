//! The record of one socket, and the stages of an op on it.
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
//! An op leaves each stage for one cause only, besides its end, so it is never in two queues. Only
//! `Armed` concerns the poller.

use std::io;
use std::os::fd::OwnedFd;

use super::poller::Interest;
use crate::driver::drain::ListenerDrain;
use crate::driver::name::{Direction, OpName, Sequence};
use crate::driver::side::Side;
use crate::driver::slot_map::SlotMap;
use crate::driver::transfer::Transfer;
use crate::driver::{OpId, Outcome, Sock, Token};

/// The table of sockets.
pub(super) type Sources = SlotMap<Source, Sock>;

/// A socket.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) descriptor: OwnedFd,
    /// The caller opened the socket: there may be duplicates, so closing ours may not end the
    /// connection.
    pub(super) adopted: bool,
    pub(super) listener: bool,
    /// A listener that other workers share: each of them accepts one connection at a time.
    pub(super) shared: bool,
    /// A listener that another process holds too: it is left as it is.
    pub(super) joint: bool,
    pub(super) read: SourceSide,
    pub(super) write: SourceSide,
    /// The token of the close that was submitted, and whether it resets the connection.
    pub(super) closing: Option<(Token, bool)>,
    /// The interest that is registered with the poller, once the source is.
    pub(super) armed: Interest,
    /// The poller has reported a direction that no op waits for.
    pub(super) spurious: bool,
    /// Is in `rearm`, the list of changes of interest.
    pub(super) changing: bool,
    /// Bytes of the sends that have ended.
    pub(super) sent: u64,
    /// The end of input or an error was reported: it may follow a short read.
    pub(super) hangup: bool,
}

/// One direction of a socket.
#[derive(Debug)]
pub(super) struct SourceSide {
    /// An attempt may succeed: set by a report, cleared by "would block".
    pub(super) ready: bool,
    /// Another report arrived while `ready` was set, perhaps for another cause.
    reported_again: bool,
    pub(super) op: Side<SourceOp>,
}

/// An op in flight.
#[derive(Debug)]
pub(super) struct SourceOp {
    pub(super) token: Token,
    pub(super) stage: OpStage,
    pub(super) work: Work,
}

/// What an op does.
#[derive(Debug)]
pub(super) enum Work {
    /// With a drain if the listener is being closed: the accept then delivers the backlog and ends.
    Accept(Option<ListenerDrain>),
    Receive,
    Send(Transfer),
}

/// What an op waits for; see the module documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OpStage {
    /// Its turn: it is in `runnable`.
    Queued,
    /// A report of the poller.
    Armed,
    /// A free buffer: it is in `waits_for_buffer`.
    WaitsForBuffer,
    /// The end of `ACCEPT_RETRY`: it is in `backoff`.
    Backoff,
    /// A helper that brings a piece of a file into memory.
    Fetching,
}

/// What a report of the poller means for the op on one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readiness {
    /// The op waited for it; the caller queues the op.
    Awaited,
    /// The op is queued already.
    Known,
    /// No op waits for it.
    Unwanted,
}

/// Moves an op from the stage `from` to `Queued`; the caller adds it to `runnable`. Returns `false`
/// if the op has left that stage meanwhile.
pub(super) fn requeue(sources: &mut Sources, op: OpId, from: OpStage) -> bool {
    let OpName::Side(handle, direction, sequence) = OpName::of(op) else { return false };
    let source = sources.get_mut(handle);
    let pending = source.and_then(|source| source.side_mut(direction).op.current(sequence));
    match pending.filter(|pending| pending.stage == from) {
        Some(pending) => {
            pending.stage = OpStage::Queued;
            true
        }
        None => false,
    }
}

impl Source {
    /// A new connection is ready for output. For input, it waits for the poller: a client that has
    /// just connected has seldom sent anything yet.
    pub(super) fn new(descriptor: OwnedFd, adopted: bool, listener: bool) -> Self {
        Self {
            descriptor,
            adopted,
            listener,
            shared: false,
            joint: false,
            read: SourceSide::new(false),
            write: SourceSide::new(true),
            closing: None,
            armed: Interest::NONE,
            spurious: false,
            changing: false,
            sent: 0,
            hangup: false,
        }
    }

    pub(super) fn side_mut(&mut self, direction: Direction) -> &mut SourceSide {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether there may be more to receive after a short read: the end of input, an error, or data
    /// that arrived after the first report.
    pub(super) fn may_hide_more(&self) -> bool {
        self.hangup || self.read.reported_again
    }

    /// The directions in which ops wait for a report.
    pub(super) fn want(&self) -> Interest {
        Interest { read: self.read.waits(), write: self.write.waits() }
    }
}

impl SourceSide {
    fn new(ready: bool) -> Self {
        Self { ready, reported_again: false, op: Side::new() }
    }

    /// Starts an op; returns the sequence number for its name.
    pub(super) fn start(&mut self, token: Token, work: Work) -> Sequence {
        let stage = if self.ready { OpStage::Queued } else { OpStage::Armed };
        self.op.start(SourceOp { token, stage, work })
    }

    /// The drain, if the op in flight is the accept of a listener that is being closed.
    pub(super) fn drain(&mut self) -> Option<&mut ListenerDrain> {
        match self.op.get_mut()?.work {
            Work::Accept(ref mut drain) => drain.as_mut(),
            Work::Receive | Work::Send(_) => None,
        }
    }

    /// Notes a report and returns what it means for the op.
    pub(super) fn report(&mut self) -> Readiness {
        self.reported_again |= self.ready;
        self.ready = true;
        match self.op.get_mut() {
            Some(pending) if pending.stage == OpStage::Armed => {
                pending.stage = OpStage::Queued;
                Readiness::Awaited
            }
            Some(pending) if pending.stage == OpStage::Queued => Readiness::Known,
            _ => Readiness::Unwanted,
        }
    }

    /// Notes that an attempt would block: there is no point in another before the next report.
    pub(super) fn block(&mut self) {
        (self.ready, self.reported_again) = (false, false);
    }

    fn waits(&self) -> bool {
        self.op.get().is_some_and(|pending| pending.stage == OpStage::Armed)
    }
}

impl Work {
    /// The outcome of the op's last completion.
    pub(super) fn end(self, result: io::Result<()>) -> Outcome {
        match (self, result) {
            (Self::Accept(_), Ok(())) => unreachable!("an accept ends with an error only"),
            (Self::Accept(_), Err(error)) => Outcome::Accepted(Err(error)),
            (Self::Receive, result) => Outcome::Received(result.map(|()| None)),
            (Self::Send(transfer), result) => Outcome::Sent(result, transfer.chain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A poller that reports each cause separately does not set `hangup`.
    #[test]
    fn after_two_reports_a_short_read_may_hide_more() {
        let descriptor = tempfile::tempfile().unwrap().into();
        let mut source = Source::new(descriptor, false, false);
        for (reports, hidden) in [(1, false), (2, true), (1, false)] {
            for _ in 0..reports {
                source.read.report();
            }
            assert_eq!(source.may_hide_more(), hidden, "{reports}");
            source.read.block();
        }
    }
}
