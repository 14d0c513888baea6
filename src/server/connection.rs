//! A connection: joins one session to one socket.
//!
//! Received bytes go to the session; its output and its questions become ops. A socket has at most
//! one send in flight. What the session writes meanwhile goes into one *queued* chain, which is
//! sent next. Input that the session does not take waits in the inbox. When the inbox exceeds
//! [`INBOX_MAX`], receiving pauses.
//!
//! ```text
//! Open -- Finish --> Finishing (sends what is written) -- linger ----> Lingering --> Closing
//!   |                    |                             `-- no linger --------------> Closing
//!   `-- Abort, error, ---+-- error, deadline --------------------------------------> Closing
//!       deadline
//! ```
//!
//! `Lingering` ends when the peer ends its output, on an error, at its deadline, or after
//! [`LINGER_BYTES_MAX`]. `Closing` lasts until the driver returns `Closed`; the worker then removes
//! the connection. In `Closing` the session gets only two more calls: [`Session::sent`] if a send
//! was in flight, then [`Session::closed`]. Its open questions are cancelled, and their replies are
//! discarded.

mod deadlines;
mod drain;
mod inbox;
mod questions;
mod state;

use std::io;

use super::env::{Env, tag};
use super::timers::Tick;
use crate::ask::{AskId, Reply};
use crate::driver::{Chain, Driver, Lease, Op, SendEnd, Sock, is_cancelled};
use crate::limits::ConnectionPermit;
use crate::service::Service;
use crate::session::{Inbox, Sent, Session, Step};
use inbox::Untaken;
pub use inbox::{INBOX_MAX, INBOX_MEMORY_MAX};
use questions::Questions;
use state::{InputTimeout, Phase, Receiving, Sending, State, Wants};

/// Maximum number of bytes that a lingering connection reads and discards.
const LINGER_BYTES_MAX: u32 = 64 * 1024;

/// One connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Connection<S> {
    sock: Sock,
    session: S,
    state: State,
    /// What the session waits for.
    wants: Wants,
    phase: Phase,
    /// The deadline of the phase.
    phase_ends: Tick,
    /// How many times that deadline was moved because of input that the driver has not returned.
    postponed: u8,
    /// When the worker must call [`Connection::expired`]: at the deadline of the phase or at that
    /// of the session, whichever is earlier.
    pub(super) deadline: Tick,
    /// Input that the session has not taken.
    inbox: Untaken,
    receiving: Receiving,
    /// Whether the peer has ended its output.
    ended: bool,
    /// The memory of the chain that is being sent.
    #[cfg(any(test, feature = "simulation"))]
    sent_memory: usize,
    sending: Sending,
    /// What the session has written since the send in flight was submitted.
    queued: Option<Box<Chain>>,
    questions: Questions,
    draining: bool,
    /// During a send, and while a draining connection receives: the number of bytes that the peer
    /// had acknowledged at the last check, modulo 2^32. It only serves to notice a change.
    acknowledged: Option<u32>,
    /// When `acknowledged` last changed, or, while a draining connection receives, the last input
    /// came.
    progressed: Tick,
    /// Counts the connection for its client, if that is limited.
    permit: Option<Box<ConnectionPermit>>,
}

// What a connection takes besides its session. There may be very many, and most of them are idle.
#[cfg(not(any(test, feature = "simulation")))]
const _: () = assert!(size_of::<Connection<()>>() <= 104);

/// How many more bytes a lingering connection discards after these; `None` if they are too many.
fn left_after(left: u32, bytes: &[u8]) -> Option<u32> {
    left.checked_sub(u32::try_from(bytes.len()).ok()?)
}

impl<S: Session> Connection<S> {
    /// Joins a session to a socket. The caller then calls [`Connection::begin`].
    pub(super) fn new(sock: Sock, session: S) -> Self {
        Self {
            sock,
            session,
            state: State::Open,
            wants: Wants::Input(InputTimeout::Header),
            phase: Phase::Receiving(InputTimeout::Header),
            phase_ends: 0,
            postponed: 0,
            deadline: 0,
            inbox: Untaken::default(),
            receiving: Receiving::No,
            ended: false,
            #[cfg(any(test, feature = "simulation"))]
            sent_memory: 0,
            sending: Sending::No,
            queued: None,
            questions: Questions::default(),
            draining: false,
            acknowledged: None,
            progressed: 0,
            permit: None,
        }
    }

    /// Keeps what counts the connection, until it is gone.
    pub(super) fn keep_permit(&mut self, permit: Option<ConnectionPermit>) {
        self.permit = permit.map(Box::new);
    }

    /// Its socket.
    pub(super) fn sock(&self) -> Sock {
        self.sock
    }

    /// Submits the receive and starts the first deadline.
    pub(super) fn begin<D: Driver>(&mut self, env: &mut Env<'_, D, S>, draining: bool) {
        self.begin_phase(env, Phase::Receiving(InputTimeout::Header));
        self.receive(env);
        if draining {
            self.drain(env);
        } else {
            self.settle(env);
        }
    }

    /// Handles a completion of the receive.
    pub(super) fn receive_completed<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        received: io::Result<Option<Lease>>,
        more: bool,
    ) {
        self.received(env, received, more);
        self.settle(env);
    }

    /// Handles the completion of a send.
    pub(super) fn send_completed<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        sent: io::Result<()>,
        chain: Box<Chain>,
    ) {
        self.sent(env, sent, chain);
        self.settle(env);
    }

    /// Passes the reply to a question to the session.
    pub(super) fn reply<D: Driver>(&mut self, env: &mut Env<'_, D, S>, place: u16, reply: Reply) {
        let id = self.questions.remove(place);
        if matches!(self.state, State::Open) {
            self.session.resume(&mut env.session(self.sending != Sending::No), id, reply);
            self.advance_with_inbox(env);
        }
        self.settle(env);
    }

    /// Passes an answer of the service to the session, unless the session has finished.
    pub(super) fn answer<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        id: AskId,
        answer: <S::Shared as Service>::Answer,
    ) {
        if matches!(self.state, State::Open) {
            self.session.answered(&mut env.session(self.sending != Sending::No), id, answer);
            self.advance_with_inbox(env);
        }
        self.settle(env);
    }

    fn received<D: Driver>(
        &mut self,
        env: &mut Env<'_, D, S>,
        received: io::Result<Option<Lease>>,
        more: bool,
    ) {
        assert!(self.receiving != Receiving::No, "bytes arrive only while a receive is in flight");
        if !more {
            self.receiving = Receiving::No;
        }
        match (received, self.state) {
            (_, State::Closing) => {}
            (Ok(Some(lease)), State::Open) => self.input(env, &lease),
            (Ok(Some(lease)), State::Lingering { bytes }) => match left_after(bytes, &lease) {
                Some(bytes) => self.state = State::Lingering { bytes },
                // The peer sends more than the bound. Reset the connection: after an orderly close,
                // it would depend on the driver whether the peer gets a reset.
                None => self.close(env, true),
            },
            // The session has finished, so further input is discarded.
            (Ok(Some(_)), State::Finishing { .. }) => {}
            (Ok(None), state) => {
                self.ended = true;
                match state {
                    State::Open if self.wants != Wants::News => self.advance_with_inbox(env),
                    State::Lingering { .. } => self.close(env, false),
                    State::Open | State::Finishing { .. } | State::Closing => {}
                }
            }
            // The receive was cancelled to pause receiving.
            (Err(error), _) if is_cancelled(&error) => {}
            (Err(_), _) => self.close(env, false),
        }
    }

    fn input<D: Driver>(&mut self, env: &mut Env<'_, D, S>, bytes: &[u8]) {
        if self.draining {
            self.heard(env);
        }
        let wanted = self.wants != Wants::News;
        if wanted && self.inbox.is_empty() {
            // The common case: the session reads the driver's buffer without a copy.
            let taken = self.advance(env, bytes);
            if self.state == State::Open {
                self.inbox.append(&bytes[taken..]);
            }
            return;
        }
        self.inbox.append(bytes);
        if wanted {
            self.advance_with_inbox(env);
        }
    }

    /// Calls the session with the content of the inbox.
    fn advance_with_inbox<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if self.state != State::Open {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let taken = self.advance(env, &inbox);
        if taken < inbox.len() && self.state == State::Open {
            inbox.remove(taken);
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

    /// Turns the result of a call of the session into ops: its step, its output, its questions.
    fn perform<D: Driver>(&mut self, env: &mut Env<'_, D, S>, step: Step, chain: Box<Chain>) {
        match step {
            Step::Receive(timeout) => self.wants = Wants::of(timeout, env.wheel),
            Step::Wait => self.wants = Wants::News,
            Step::Flush => {
                let is_sending = self.sending != Sending::No;
                assert!(is_sending || !chain.is_empty(), "there is nothing to wait for");
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

    /// Submits the questions of the session. Most calls ask none, so only this check is inlined.
    #[inline]
    fn ask<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if !env.asks.is_empty() {
            self.submit_asks(env);
        }
    }

    /// Submits the questions, or discards them if the session has finished and takes no replies.
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

    /// Queues a chain behind the send in flight.
    fn queue<D: Driver>(&mut self, env: &mut Env<'_, D, S>, chain: Box<Chain>) {
        if chain.is_empty() {
            env.chains.put(chain);
        } else {
            self.queued = Some(chain);
        }
    }

    /// Sends a chain. If it is empty and the session has finished, closes the connection.
    fn send<D: Driver>(&mut self, env: &mut Env<'_, D, S>, chain: Box<Chain>) {
        let end = match self.state {
            State::Finishing { linger: true } => SendEnd::HalfClose,
            State::Finishing { linger: false } => SendEnd::Close,
            _ => SendEnd::Open,
        };
        // Lingering needs the half-close even when there is nothing left to send.
        let half_close = end == SendEnd::HalfClose;
        if !chain.is_empty() || half_close {
            self.sending = if half_close { Sending::Last } else { Sending::Yes };
            #[cfg(any(test, feature = "simulation"))]
            (self.sent_memory = chain.memory_in_use());
            env.submit(tag::CONNECTION, Op::Send { sock: self.sock, chain, end });
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
        assert!(was != Sending::No, "only a send in flight completes");
        #[cfg(any(test, feature = "simulation"))]
        (self.sent_memory = 0);
        let report = Sent { bytes: chain.sent(), complete: sent.is_ok() };
        match &sent {
            // The kernel took it all, which is progress even if it does not say what the peer has.
            Ok(()) => self.progressed = env.tick,
            Err(error) => env.tell_unsent(error, &chain),
        }
        self.session.sent(&mut env.session(self.queued.is_some()), report);
        env.chains.put(chain);
        if self.state == State::Closing {
            return self.end_session(env);
        }
        self.ask(env);
        match (sent, self.state) {
            (_, State::Closing) => unreachable!("this state returns above"),
            // The peer is gone, or a file ended before its announced length. Reset the connection,
            // so the peer does not take the part for the whole.
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
                let has_input = self.ended || !self.inbox.is_empty();
                if has_input || !matches!(self.wants, Wants::Input(_)) {
                    self.advance_with_inbox(env);
                }
            }
        }
    }

    /// Sends the queued chain, or an empty one if nothing is queued.
    fn send_next<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        let chain = self.queued.take().unwrap_or_else(|| env.chains.take());
        self.send(env, chain);
    }

    /// Closes the connection, unless it is closing already.
    fn close<D: Driver>(&mut self, env: &mut Env<'_, D, S>, reset: bool) {
        if self.state == State::Closing {
            return;
        }
        (self.state, self.phase) = (State::Closing, Phase::Closing);
        self.deadline = Tick::MAX;
        self.inbox = Untaken::default();
        if let Some(chain) = self.queued.take() {
            env.chains.put(chain);
        }
        // The replies are not needed any more, and cancelled ops make room in the queues of the
        // driver.
        self.questions.ops().for_each(|op| env.driver.cancel(op));
        env.submit(tag::CONNECTION, Op::Close { sock: self.sock, reset });
        // A send in flight completes before the close; `sent` then makes the last call.
        if self.sending == Sending::No {
            self.end_session(env);
        }
    }

    /// Makes the last call of the session.
    fn end_session<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        self.session.closed(&mut env.session(false));
        env.asks.clear();
    }

    fn receive<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        let op = env.submit(tag::CONNECTION, Op::RecvMany { sock: self.sock });
        self.receiving = Receiving::Yes(op);
    }

    /// Called after every event: resumes or pauses receiving, depending on the inbox, and sets the
    /// deadline.
    fn settle<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        if self.state == State::Closing {
            return self.check_invariants();
        }
        if self.state != State::Open {
            // The session has finished and will not read it.
            self.inbox = Untaken::default();
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
        self.set_deadline(env);
        self.check_invariants();
    }

    /// Checks the invariants that hold after every event.
    fn check_invariants(&self) {
        let sending = self.sending != Sending::No;
        match self.state {
            State::Open => {
                assert!(sending || self.wants != Wants::Room, "only a send in flight makes room");
                assert!(self.sending != Sending::Last, "an open session may write more");
            }
            State::Finishing { linger } => {
                assert!(sending, "without a send, the connection would be closed");
                assert!(
                    linger || self.sending == Sending::Yes,
                    "without lingering, the send does not end the output"
                );
            }
            State::Lingering { .. } => {
                assert!(
                    !sending && !self.ended,
                    "the last send is complete, and the peer may send"
                );
            }
            State::Closing => {
                assert!(self.phase == Phase::Closing, "a closing connection has no other phase");
            }
        }
        assert!(self.queued.is_none() || sending, "a chain is queued only behind a send");
        assert!(
            self.state == State::Open || self.inbox.is_empty(),
            "only an open session reads the inbox"
        );
        assert!(
            !self.ended || self.receiving == Receiving::No,
            "no receive is in flight after the end of input"
        );
    }

    /// Memory of input that was not taken and of output that was not sent. Buffers that the driver
    /// lends are not included, because they have a limit of their own.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn memory_in_use(&self) -> usize {
        let queued = self.queued.as_ref().map_or(0, |chain| chain.memory_in_use());
        self.inbox.capacity() + queued + self.sent_memory
    }

    /// The number of ops in flight for the connection.
    pub(super) fn ops(&self) -> usize {
        usize::from(self.receiving != Receiving::No)
            + usize::from(self.sending != Sending::No)
            + usize::from(self.state == State::Closing)
            + self.questions.ops().count()
    }
}
