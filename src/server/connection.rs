//! A connection: joins one session to one socket.
//!
//! Bytes that arrive go to the session; what it answers becomes ops. The wire has room for one
//! send at a time, so while one is in flight, or a file is being opened, input waits in the inbox
//! (up to a bound: then receiving pauses). Whenever the wire is free, the session goes on.
//!
//! ```text
//! Open -- Finish --> Finishing (what is written leaves) -- linger --> Lingering --> Closing
//!   |                                                 `-- no linger --------------> Closing
//!   `-- Abort, error, deadline ---------------------------------------------------> Closing
//! ```
//!
//! `Closing` lasts until the driver says `Closed`; then the worker drops the record.

use std::io;

use super::timers::Tick;
use crate::driver::{Chain, Driver, Lease, Op, OpId, Outcome, Sock, Token, is_cancelled};
use crate::session::{Inbox, Now, Patience, Reply, Session, Step};

/// Input that a busy session has not taken: beyond this, receiving pauses.
pub(super) const INBOX_MAX: usize = 64 * 1024;

/// What a lingering connection reads and throws away at most.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// How often per timeout a send's progress is looked at: a peer that has stalled is found at most
/// this part of the timeout late, and never early.
const SEND_LOOKS: Tick = 4;

/// What a connection needs of its worker during one event.
pub(super) struct Around<'a, D, S: Session> {
    pub(super) driver: &'a mut D,
    pub(super) shared: &'a mut S::Shared,
    pub(super) spares: &'a mut Spares,
    pub(super) now: Now,
    pub(super) tick: Tick,
    pub(super) timeouts: &'a Timeouts,
    /// Names the connection in ops.
    pub(super) token: Token,
}

/// The timeouts of connections, in ticks of the wheel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For a request to arrive, from its first byte or the connection's beginning.
    pub(super) header: Tick,
    /// Between two requests.
    pub(super) idle: Tick,
    /// For the peer to acknowledge something of what is sent; and for a file to be opened, or a
    /// job to be done.
    pub(super) send: Tick,
    /// For what a peer still sends after the last answer.
    pub(super) linger: Tick,
    /// For a request to arrive that was on its way when the server began to drain.
    pub(super) drain_idle: Tick,
}

/// One connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Connection<S> {
    sock: Sock,
    session: S,
    state: State,
    phase: Phase,
    patience: Patience,
    /// When the phase ends, if nothing happens.
    pub(super) deadline: Tick,
    /// Input that the session has not taken.
    inbox: Vec<u8>,
    receiving: Option<OpId>,
    /// Whether the receive was asked to end because the inbox is full.
    pausing: bool,
    /// Whether the peer has sent its last byte.
    ended: bool,
    sending: bool,
    /// What the session waits for.
    awaiting: Option<OpId>,
    /// Whether the session has more to say without more input.
    flush: bool,
    draining: bool,
    /// What the peer had acknowledged when that was last looked at, while sending.
    acknowledged: Option<u64>,
    /// When that was last seen to have changed.
    progressed: Tick,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    Finishing { linger: bool },
    Lingering { bytes: usize },
    Closing,
}

/// What the deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Busy,
    Sending,
    Awaiting,
    Lingering,
    Closing,
}

impl<S: Session> Connection<S> {
    /// Begins a conversation on a socket.
    pub(super) fn new<D: Driver>(
        sock: Sock,
        draining: bool,
        around: &mut Around<'_, D, S>,
    ) -> Self {
        let mut connection = Self {
            sock,
            session: S::new(around.shared),
            state: State::Open,
            phase: Phase::Busy,
            patience: Patience::Busy,
            deadline: around.tick + around.timeouts.header,
            inbox: Vec::new(),
            receiving: None,
            pausing: false,
            ended: false,
            sending: false,
            awaiting: None,
            flush: false,
            draining: false,
            acknowledged: None,
            progressed: 0,
        };
        connection.receive(around);
        if draining {
            connection.drain(around);
        }
        connection
    }

    /// Handles a completion of one of the connection's ops, other than its close.
    pub(super) fn complete<D: Driver>(
        &mut self,
        around: &mut Around<'_, D, S>,
        outcome: Outcome,
        more: bool,
    ) {
        match outcome {
            Outcome::Received(received) => self.received(around, received, more),
            Outcome::Sent(sent, chain) => self.sent(around, sent, chain),
            Outcome::Opened(opened) => self.answered(around, Reply::Opened(opened)),
            Outcome::FileRead(read, buffer) => self.answered(around, Reply::Read(read, buffer)),
            Outcome::Ran(ran) => self.answered(around, Reply::Ran(ran)),
            Outcome::Accepted(_) | Outcome::Closed | Outcome::Woken => {
                unreachable!("the worker handles these")
            }
        }
        self.settle(around);
    }

    fn received<D: Driver>(
        &mut self,
        around: &mut Around<'_, D, S>,
        received: io::Result<Option<Lease>>,
        more: bool,
    ) {
        if !more {
            (self.receiving, self.pausing) = (None, false);
        }
        match (received, self.state) {
            (_, State::Closing) => {}
            (Ok(Some(lease)), State::Open) => self.input(around, &lease),
            (Ok(Some(lease)), State::Lingering { bytes }) => match bytes.checked_sub(lease.len()) {
                Some(bytes) => self.state = State::Lingering { bytes },
                // It floods. An orderly end would leave it to the driver whether it is told.
                None => self.close(around, true),
            },
            // The session said its last word: what else comes is not for it.
            (Ok(Some(_)), State::Finishing { .. }) => {}
            (Ok(None), state) => {
                self.ended = true;
                match state {
                    State::Open => self.go_on(around),
                    State::Lingering { .. } => self.close(around, false),
                    State::Finishing { .. } | State::Closing => {}
                }
            }
            // The pause that was asked for.
            (Err(error), _) if is_cancelled(&error) => {}
            (Err(_), _) => self.close(around, false),
        }
    }

    fn input<D: Driver>(&mut self, around: &mut Around<'_, D, S>, bytes: &[u8]) {
        if self.is_blocked() || !self.inbox.is_empty() {
            self.inbox.extend_from_slice(bytes);
            self.go_on(around);
        } else {
            // The common case: the session reads the driver's buffer, nothing is copied.
            let taken = self.advance(around, bytes);
            self.inbox.extend_from_slice(&bytes[taken..]);
        }
    }

    /// Whether the session has to wait for something other than input.
    fn is_blocked(&self) -> bool {
        self.sending || self.awaiting.is_some()
    }

    /// Lets the session go on with what is in the inbox, if it is its turn.
    fn go_on<D: Driver>(&mut self, around: &mut Around<'_, D, S>) {
        if self.is_blocked() || self.state != State::Open {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let taken = self.advance(around, &inbox);
        if taken < inbox.len() {
            inbox.drain(..taken);
            self.inbox = inbox;
        }
    }

    fn advance<D: Driver>(&mut self, around: &mut Around<'_, D, S>, bytes: &[u8]) -> usize {
        let mut inbox = Inbox::new(bytes, self.ended);
        let mut chain = around.spares.take();
        let step = self.session.advance(around.shared, around.now, &mut inbox, &mut chain);
        self.perform(around, step, chain);
        inbox.taken()
    }

    /// Turns a step, and what was written before it, into ops.
    fn perform<D: Driver>(&mut self, around: &mut Around<'_, D, S>, step: Step, chain: Box<Chain>) {
        self.flush = false;
        match step {
            Step::Receive(patience) => self.patience = patience,
            Step::Flush => {
                assert!(!chain.is_empty(), "a session that wants room has written something");
                self.flush = true;
            }
            Step::Open { root, path } => self.wait_for(around, Op::OpenFile { root, path }),
            Step::Run { job } => self.wait_for(around, Op::Run { job }),
            Step::Read { file, offset, buffer } => {
                self.wait_for(around, Op::ReadFile { file, offset, buffer });
            }
            Step::Finish { linger } => {
                self.state = State::Finishing { linger: linger && !self.ended };
            }
            Step::Abort => {
                around.spares.give(chain);
                return self.close(around, true);
            }
        }
        let linger = matches!(self.state, State::Finishing { linger: true });
        if !chain.is_empty() || linger {
            // Lingering needs the half-close even when there is nothing left to send.
            self.sending = true;
            let op = Op::Send { sock: self.sock, chain, fin: linger };
            around.driver.submit(around.token, op);
        } else {
            around.spares.give(chain);
            if self.state != State::Open {
                self.close(around, false);
            }
        }
    }

    fn wait_for<D: Driver>(&mut self, around: &mut Around<'_, D, S>, op: Op) {
        assert!(self.awaiting.is_none(), "a session waits for one answer at a time");
        self.awaiting = Some(around.driver.submit(around.token, op));
    }

    fn sent<D: Driver>(
        &mut self,
        around: &mut Around<'_, D, S>,
        sent: io::Result<()>,
        chain: Box<Chain>,
    ) {
        around.spares.give(chain);
        self.sending = false;
        match (sent, self.state) {
            (_, State::Closing) => {}
            // The peer is gone, or a file ended before its announced length: nobody may take
            // what was sent for the whole.
            (Err(_), _) => self.close(around, true),
            (Ok(()), State::Finishing { linger: true }) if !self.ended => {
                self.state = State::Lingering { bytes: LINGER_BYTES_MAX };
            }
            (Ok(()), State::Finishing { .. }) => self.close(around, false),
            (Ok(()), _) if self.flush || self.ended || !self.inbox.is_empty() => {
                self.go_on(around);
            }
            (Ok(()), _) => {}
        }
    }

    fn answered<D: Driver>(&mut self, around: &mut Around<'_, D, S>, reply: Reply) {
        self.awaiting = None;
        if self.state != State::Open {
            return;
        }
        self.session.resume(around.shared, around.now, reply);
        self.go_on(around);
        // If a send is still in flight, the session goes on after it.
        self.flush |= self.sending;
    }

    /// The deadline has come.
    pub(super) fn expired<D: Driver>(&mut self, around: &mut Around<'_, D, S>) {
        match self.phase {
            Phase::Closing => {}
            Phase::Idle | Phase::Lingering => self.close(around, false),
            Phase::Awaiting => self.close(around, true),
            Phase::Busy if self.ended => self.close(around, false),
            Phase::Busy => {
                let mut chain = around.spares.take();
                let step = self.session.expire(around.shared, around.now, &mut chain);
                self.perform(around, step, chain);
            }
            Phase::Sending => {
                let acknowledged = around.driver.acknowledged(self.sock).ok();
                if self.acknowledged != acknowledged {
                    (self.acknowledged, self.progressed) = (acknowledged, around.tick);
                }
                let stalled = around.tick - self.progressed >= around.timeouts.send;
                if stalled || acknowledged.is_none() {
                    self.close(around, true);
                } else {
                    self.deadline = around.tick + around.timeouts.send.div_ceil(SEND_LOOKS);
                }
            }
        }
        self.settle(around);
    }

    /// The server is about to stop.
    pub(super) fn drain<D: Driver>(&mut self, around: &mut Around<'_, D, S>) {
        self.draining = true;
        self.session.drain();
        // A request may be on its way; without a while for it, its client would see a reset.
        if matches!(self.phase, Phase::Idle | Phase::Busy) && self.inbox.is_empty() {
            self.phase = Phase::Idle;
            self.deadline = self.deadline.min(around.tick + around.timeouts.drain_idle);
        }
    }

    /// Ends the connection because there is no time left: visibly as a failure when an answer is
    /// cut off by it.
    pub(super) fn give_up<D: Driver>(&mut self, around: &mut Around<'_, D, S>) {
        self.close(around, self.sending);
    }

    /// Ends the connection: the session is not asked again.
    fn close<D: Driver>(&mut self, around: &mut Around<'_, D, S>, reset: bool) {
        if self.state != State::Closing {
            (self.state, self.phase) = (State::Closing, Phase::Closing);
            self.inbox = Vec::new();
            // Nobody is there to be answered, and others may wait for the place in a queue.
            if let Some(op) = self.awaiting {
                around.driver.cancel(op);
            }
            around.driver.submit(around.token, Op::Close { sock: self.sock, reset });
        }
    }

    fn receive<D: Driver>(&mut self, around: &mut Around<'_, D, S>) {
        let op = Op::RecvMany { sock: self.sock };
        self.receiving = Some(around.driver.submit(around.token, op));
    }

    /// After every event: receives or pauses as the inbox demands, and sets the deadline.
    fn settle<D: Driver>(&mut self, around: &mut Around<'_, D, S>) {
        if self.state == State::Closing {
            self.phase = Phase::Closing;
            return;
        }
        if self.state != State::Open {
            // The session has said its last word: nobody will read this.
            self.inbox = Vec::new();
        }
        let full = self.inbox.len() > INBOX_MAX;
        match self.receiving {
            None if !full && !self.ended => self.receive(around),
            Some(op) if full && !self.pausing => {
                self.pausing = true;
                around.driver.cancel(op);
            }
            _ => {}
        }
        let phase = match (self.state, self.patience) {
            (State::Lingering { .. }, _) => Phase::Lingering,
            _ if self.sending => Phase::Sending,
            _ if self.awaiting.is_some() => Phase::Awaiting,
            (_, Patience::Idle) => Phase::Idle,
            (_, Patience::Busy) => Phase::Busy,
        };
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        self.acknowledged = None;
        let timeouts = around.timeouts;
        self.deadline = around.tick
            + match phase {
                Phase::Idle if self.draining => timeouts.drain_idle,
                Phase::Idle => timeouts.idle,
                Phase::Busy => timeouts.header,
                Phase::Sending => timeouts.send.div_ceil(SEND_LOOKS),
                Phase::Awaiting => timeouts.send,
                Phase::Lingering | Phase::Closing => timeouts.linger,
            };
    }
}

/// Chains that are not in use, so that a busy worker allocates none.
#[derive(Debug, Default)]
pub(super) struct Spares {
    #[expect(clippy::vec_box, reason = "chains travel through the driver in their boxes")]
    chains: Vec<Box<Chain>>,
}

impl Spares {
    const MAX: usize = 64;

    pub(super) fn take(&mut self) -> Box<Chain> {
        self.chains.pop().unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut chain: Box<Chain>) {
        // Lets go of leases and files, whether or not it is kept.
        chain.clear();
        if self.chains.len() < Self::MAX {
            self.chains.push(chain);
        }
    }
}
