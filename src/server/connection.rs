//! A connection: joins one session to one socket.
//!
//! Bytes that arrive go to the session; what it writes and asks becomes ops. A socket has room for
//! one send at a time. What the session writes while one is in flight is *queued*: one chain,
//! which is sent next. Input that the session does not take waits in the inbox, up to a bound:
//! then receiving pauses.
//!
//! ```text
//! Open -- Finish --> Finishing (what is written leaves) -- linger --> Lingering --> Closing
//!   |                    |                            `-- no linger --------------> Closing
//!   `-- Abort, error, ---+-- error, deadline ---------------------------------------> Closing
//!       deadline
//! ```
//!
//! `Lingering` ends with the peer's last byte, an error, its deadline or [`LINGER_BYTES_MAX`].
//! `Closing` lasts until the driver says `Closed`; then the worker drops the record. From the
//! beginning of `Closing` on, the session is only told how far the send in flight has come, and of
//! the end. Questions that are open then are cancelled; their replies find nobody.

mod deadlines;
mod questions;
mod state;

use std::io;

use super::env::{Env, tag};
use super::timers::Tick;
use crate::ask::{AskId, Reply};
use crate::driver::{Chain, Driver, Lease, Op, Outcome, Sock, is_cancelled};
use crate::service::Service;
use crate::session::{Inbox, ReceiveTimeout, Sent, Session, Step};
use questions::Questions;
use state::{Phase, Receiving, Sending, State, Wants};

/// Input that a session has not taken: beyond this, receiving pauses.
pub(super) const INBOX_MAX: usize = 64 * 1024;

/// What a lingering connection reads and throws away at most.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// One connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Connection<S> {
    sock: Sock,
    session: S,
    state: State,
    /// What the session waits for.
    wants: Wants,
    phase: Phase,
    /// When the phase ends, if nothing happens.
    phase_ends: Tick,
    /// When the worker has to look at the connection: the end of the phase, or the session's own
    /// deadline if that is sooner.
    pub(super) deadline: Tick,
    /// Input that the session has not taken.
    inbox: Vec<u8>,
    receiving: Receiving,
    /// Whether the peer has sent its last byte.
    ended: bool,
    sending: Sending,
    /// What the session has written behind the send in flight.
    queued: Option<Box<Chain>>,
    questions: Questions,
    draining: bool,
    /// What the peer had acknowledged when that was last looked at, while sending.
    acknowledged: Option<u64>,
    /// When that was last seen to have changed.
    progressed: Tick,
}

impl<S: Session> Connection<S> {
    /// Joins a session to a socket; [`Connection::begin`] follows.
    pub(super) fn new(sock: Sock, session: S) -> Self {
        Self {
            sock,
            session,
            state: State::Open,
            wants: Wants::Input(ReceiveTimeout::Header),
            phase: Phase::Receiving(ReceiveTimeout::Header),
            phase_ends: 0,
            deadline: 0,
            inbox: Vec::new(),
            receiving: Receiving::No,
            ended: false,
            sending: Sending::No,
            queued: None,
            questions: Questions::default(),
            draining: false,
            acknowledged: None,
            progressed: 0,
        }
    }

    /// Begins the conversation.
    pub(super) fn begin<D: Driver>(&mut self, env: &mut Env<'_, D, S>, draining: bool) {
        self.begin_phase(env, Phase::Receiving(ReceiveTimeout::Header));
        self.receive(env);
        if draining {
            self.drain(env);
        } else {
            self.settle(env);
        }
    }

    /// Handles a completion of one of the connection's ops on its socket, other than its close.
    pub(super) fn complete<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        outcome: Outcome,
        more: bool,
    ) {
        match outcome {
            Outcome::Received(received) => self.received(env, received, more),
            Outcome::Sent(sent, chain) => self.sent(env, sent, chain),
            outcome => unreachable!("{outcome:?} is not of a connection's socket"),
        }
        self.settle(env);
    }

    /// Brings the reply to a question of the session.
    pub(super) fn reply<D: Driver>(&mut self, env: &mut Env<'_, D, S>, place: u16, reply: Reply) {
        let id = self.questions.remove(place);
        if matches!(self.state, State::Open) {
            self.session.resume(&mut env.session(self.sending != Sending::No), id, reply);
            self.go_on(env);
        }
        self.settle(env);
    }

    /// Brings an answer of the service, if the session may still be called.
    pub(super) fn answer<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        id: AskId,
        answer: <S::Shared as Service>::Answer,
    ) {
        if matches!(self.state, State::Open) {
            self.session.answered(&mut env.session(self.sending != Sending::No), id, answer);
            self.go_on(env);
        }
        self.settle(env);
    }

    fn received<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        received: io::Result<Option<Lease>>,
        more: bool,
    ) {
        assert!(self.receiving != Receiving::No, "only a receive in flight brings bytes");
        if !more {
            self.receiving = Receiving::No;
        }
        match (received, self.state) {
            (_, State::Closing) => {}
            (Ok(Some(lease)), State::Open) => self.input(env, &lease),
            (Ok(Some(lease)), State::Lingering { bytes }) => match bytes.checked_sub(lease.len()) {
                Some(bytes) => self.state = State::Lingering { bytes },
                // The peer sends on beyond the bound. After an orderly close it would depend on the
                // driver whether the peer hears of it.
                None => self.close(env, true),
            },
            // The session said its last word: what else comes is not for it.
            (Ok(Some(_)), State::Finishing { .. }) => {}
            (Ok(None), state) => {
                self.ended = true;
                match state {
                    State::Open if self.wants != Wants::News => self.go_on(env),
                    State::Lingering { .. } => self.close(env, false),
                    State::Open | State::Finishing { .. } | State::Closing => {}
                }
            }
            // The pause that was asked for.
            (Err(error), _) if is_cancelled(&error) => {}
            (Err(_), _) => self.close(env, false),
        }
    }

    fn input<D: Driver>(&mut self, env: &mut Env<'_, D, S>, bytes: &[u8]) {
        let wanted = self.wants != Wants::News;
        if wanted && self.inbox.is_empty() {
            // The common case: the session reads the driver's buffer, nothing is copied.
            let taken = self.advance(env, bytes);
            if self.state == State::Open {
                self.inbox.extend_from_slice(&bytes[taken..]);
            }
            return;
        }
        self.inbox.extend_from_slice(bytes);
        if wanted {
            self.go_on(env);
        }
    }

    /// Lets the session go on with what is in the inbox.
    fn go_on<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if self.state != State::Open {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let taken = self.advance(env, &inbox);
        if taken < inbox.len() && self.state == State::Open {
            inbox.drain(..taken);
            self.inbox = inbox;
        }
    }

    fn advance<D: Driver>(&mut self, env: &mut Env<'_, D, S>, bytes: &[u8]) -> usize {
        let mut inbox = Inbox::new(bytes, self.ended);
        let mut chain = self.queued.take().unwrap_or_else(|| env.chains.take());
        let cx = &mut env.session(self.sending != Sending::No);
        let step = self.session.advance(cx, &mut inbox, &mut chain);
        self.perform(env, step, chain);
        inbox.taken()
    }

    /// Turns a step, what was written before it and what was asked into ops.
    fn perform<D: Driver>(&mut self, env: &mut Env<'_, D, S>, step: Step, chain: Box<Chain>) {
        match step {
            Step::Receive(timeout) => self.wants = Wants::Input(timeout),
            Step::Wait => self.wants = Wants::News,
            Step::Flush => {
                assert!(!chain.is_empty(), "a session that wants room has written something");
                self.wants = Wants::Room;
            }
            Step::Finish { linger } => {
                self.state = State::Finishing { linger: linger && !self.ended };
            }
            Step::Abort => {
                env.chains.put(chain);
                return self.close(env, true);
            }
        }
        self.ask(env);
        if self.sending != Sending::No {
            self.queue(env, chain);
        } else {
            self.send(env, chain);
        }
    }

    /// Submits the session's questions, unless nobody is there to be told the replies.
    #[inline]
    fn ask<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if !env.asks.is_empty() {
            self.submit_asks(env);
        }
    }

    #[inline(never)]
    fn submit_asks<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        let mut asks = std::mem::take(env.asks);
        for (id, ask) in asks.drain(..) {
            if self.state == State::Open {
                self.questions.add(id, |place| env.submit(tag::ASK + place, ask.into_op()));
            }
        }
        *env.asks = asks;
    }

    /// Keeps what is to be sent next.
    fn queue<D: Driver>(&mut self, env: &mut Env<'_, D, S>, chain: Box<Chain>) {
        if chain.is_empty() {
            env.chains.put(chain);
        } else {
            self.queued = Some(chain);
        }
    }

    /// Sends a chain, or goes on to what follows the last one.
    fn send<D: Driver>(&mut self, env: &mut Env<'_, D, S>, chain: Box<Chain>) {
        let fin = self.state == State::Finishing { linger: true };
        // Lingering needs the half-close even when there is nothing left to send.
        if !chain.is_empty() || fin {
            self.sending = if fin { Sending::Last } else { Sending::Yes };
            env.submit(tag::CONNECTION, Op::Send { sock: self.sock, chain, fin });
            return;
        }
        env.chains.put(chain);
        if self.state != State::Open {
            self.close(env, false);
        }
    }

    fn sent<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        sent: io::Result<()>,
        chain: Box<Chain>,
    ) {
        let was = std::mem::replace(&mut self.sending, Sending::No);
        assert!(was != Sending::No, "only a send in flight ends");
        let told = Sent { bytes: chain.sent(), complete: sent.is_ok() };
        self.session.sent(&mut env.session(self.queued.is_some()), told);
        env.chains.put(chain);
        if self.state == State::Closing {
            return self.tell_end(env);
        }
        self.ask(env);
        match (sent, self.state) {
            (_, State::Closing) => unreachable!("nothing follows it"),
            // The peer is gone, or a file ended before its announced length: nobody may take
            // what was sent for the whole.
            (Err(_), _) => self.close(env, true),
            (Ok(()), State::Finishing { .. }) if was == Sending::Last && !self.ended => {
                self.state = State::Lingering { bytes: LINGER_BYTES_MAX };
            }
            (Ok(()), State::Finishing { .. }) if was == Sending::Last => self.close(env, false),
            (Ok(()), State::Finishing { .. }) => self.send_next(env),
            (Ok(()), State::Open | State::Lingering { .. }) => {
                if self.queued.is_some() {
                    self.send_next(env);
                }
                let left = self.ended || !self.inbox.is_empty();
                if left || !matches!(self.wants, Wants::Input(_)) {
                    self.go_on(env);
                }
            }
        }
    }

    /// Sends what the session has written while the last send was in flight.
    fn send_next<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        let chain = self.queued.take().unwrap_or_else(|| env.chains.take());
        self.send(env, chain);
    }

    /// The server is about to stop.
    pub(super) fn drain<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if self.state == State::Open {
            self.draining = true;
            self.session.drain();
            if matches!(self.wants, Wants::Input(_)) {
                self.go_on(env);
            }
        }
        self.settle(env);
        // A request may be on its way; without a while for it, its client would see a reset.
        if matches!(self.phase, Phase::Receiving(_)) && self.inbox.is_empty() {
            self.wants = Wants::Input(ReceiveTimeout::KeepAlive);
            self.phase = Phase::Receiving(ReceiveTimeout::KeepAlive);
            self.phase_ends = self.phase_ends.min(env.tick + env.timeouts.drain_idle);
            self.look_ahead(env);
        }
    }

    /// Ends the connection because there is no time left: visibly as a failure when an answer is
    /// cut off by it.
    pub(super) fn give_up<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        self.close(env, self.sending != Sending::No);
        self.settle(env);
    }

    /// Ends the connection: the session has nothing more to say.
    fn close<D: Driver>(&mut self, env: &mut Env<'_, D, S>, reset: bool) {
        if self.state == State::Closing {
            return;
        }
        (self.state, self.phase) = (State::Closing, Phase::Closing);
        self.deadline = Tick::MAX;
        self.inbox = Vec::new();
        if let Some(chain) = self.queued.take() {
            env.chains.put(chain);
        }
        // Nobody is there to be told, and others may wait for the place in a queue.
        self.questions.ops().for_each(|op| env.driver.cancel(op));
        env.submit(tag::CONNECTION, Op::Close { sock: self.sock, reset });
        // Otherwise the send in flight, which ends before the close, brings its last word.
        if self.sending == Sending::No {
            self.tell_end(env);
        }
    }

    /// The last call of the session.
    fn tell_end<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        self.session.closed(&mut env.session(false));
        env.asks.clear();
    }

    fn receive<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        let op = env.submit(tag::CONNECTION, Op::RecvMany { sock: self.sock });
        self.receiving = Receiving::Yes(op);
    }

    /// After every event: receives or pauses as the inbox demands, and sets the deadline.
    fn settle<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if self.state == State::Closing {
            return self.check();
        }
        if self.state != State::Open {
            // The session has said its last word: nobody will read this.
            self.inbox = Vec::new();
        }
        let full = self.inbox.len() > INBOX_MAX;
        match self.receiving {
            Receiving::No if !full && !self.ended => self.receive(env),
            Receiving::Yes(op) if full => {
                self.receiving = Receiving::Pausing;
                env.driver.cancel(op);
            }
            _ => {}
        }
        let phase = Phase::of(self.state, self.sending, self.wants);
        if phase != self.phase {
            self.begin_phase(env, phase);
        }
        self.look_ahead(env);
        self.check();
    }

    /// What holds after every event.
    fn check(&self) {
        let sending = self.sending != Sending::No;
        match self.state {
            State::Open => {
                assert!(sending || self.wants != Wants::Room, "nobody will say that there is room");
                assert!(self.sending != Sending::Last, "more may be written");
            }
            State::Finishing { linger } => {
                assert!(sending, "what is written leaves, or the connection closes");
                assert!(linger || self.sending == Sending::Yes, "the end is not announced");
            }
            State::Lingering { .. } => assert!(!sending && !self.ended, "the peer may send"),
            State::Closing => assert!(self.phase == Phase::Closing, "nothing else follows"),
        }
        assert!(self.queued.is_none() || sending, "what is written is sent at once");
        assert!(self.state == State::Open || self.inbox.is_empty(), "nobody reads the inbox");
        assert!(!self.ended || self.receiving == Receiving::No, "nothing comes after the end");
    }

    /// Ops that are in flight for the connection.
    pub(super) fn ops(&self) -> usize {
        usize::from(self.receiving != Receiving::No)
            + usize::from(self.sending != Sending::No)
            + usize::from(self.state == State::Closing)
            + self.questions.ops().count()
    }
}
