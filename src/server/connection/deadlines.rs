//! The deadlines of a connection: that of its phase, and that of its session.

use super::state::{InputTimeout, Phase, State};
use super::{Connection, Sending};
use crate::driver::Driver;
use crate::server::TimeoutKind;
use crate::server::env::Env;
use crate::server::timers::Tick;
use crate::session::{Session, Timer};

/// How many times the progress of a send is checked within the send timeout. A stalled peer is
/// detected late by at most a quarter of the timeout, and never early.
const SEND_CHECKS: Tick = 4;

/// How many times, during a drain, the progress of a connection that waits for input is checked
/// within the time that it has.
const DRAIN_CHECKS: Tick = 4;

/// How many times a deadline is moved by a tick for input that the driver has not returned.
const POSTPONED_MAX: u8 = 20;

/// A time that is never over, and to which others can be added.
const FOREVER: Tick = Tick::MAX / 2;

impl<S: Session> Connection<S> {
    /// Handles the deadlines that are over.
    pub(in crate::server) fn expired<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        let open = self.state == State::Open;
        if open && self.session.deadline().is_some_and(|deadline| deadline <= env.now.instant) {
            self.expire_session(env, Timer::Deadline);
            // The session may have begun another phase, so its deadline is set before it is
            // checked.
            self.settle(env);
        }
        if self.draining {
            self.check_reading(env);
        }
        if self.state != State::Closing && self.phase_deadline(env) <= env.tick {
            self.phase_expired(env);
        }
        self.settle(env);
    }

    fn phase_expired<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        match self.phase {
            Phase::Closing => {}
            Phase::Lingering => self.close(env, false),
            Phase::Waiting => {
                env.published.count_timeout(TimeoutKind::Lookup);
                self.close(env, true);
            }
            Phase::Receiving(_) if self.ended => self.close(env, false),
            // The input was in time, but the driver could not return it yet: a thread that receives
            // had no turn, or there was no buffer.
            Phase::Receiving(_)
                if self.postponed < POSTPONED_MAX && env.driver.has_input(self.sock) =>
            {
                self.postponed += 1;
                self.phase_ends = env.tick + 1;
                self.progressed = env.tick;
            }
            Phase::Receiving(timeout) => {
                let kind = match timeout {
                    InputTimeout::KeepAlive | InputTimeout::KeepAliveSince(_) => {
                        Some(TimeoutKind::Idle)
                    }
                    InputTimeout::Header | InputTimeout::Body => Some(TimeoutKind::Request),
                    // A drain looks for progress; the session says whether there is some.
                    InputTimeout::Own => None,
                };
                if let Some(kind) = kind {
                    env.published.count_timeout(kind);
                }
                self.expire_session(env, Timer::Receive);
                if self.state != State::Closing {
                    self.begin_phase(env, self.phase);
                }
            }
            Phase::Sending => {
                self.check_acknowledged(env);
                let stalled = env.tick - self.progressed >= env.timeouts.send;
                if stalled {
                    env.published.count_timeout(TimeoutKind::Send);
                    self.close(env, true);
                } else {
                    self.phase_ends = env.tick + env.timeouts.send.div_ceil(SEND_CHECKS);
                }
            }
        }
    }

    /// Notes whether the peer has acknowledged more than at the last check, and returns it.
    fn check_acknowledged<D: Driver>(&mut self, env: &Env<'_, D, S>) -> bool {
        // A sandbox may deny the call. Then there is no progress.
        let acknowledged = env.driver.acknowledged(self.sock).ok().map(|bytes| bytes as u32);
        let has_changed = self.acknowledged != acknowledged;
        if has_changed {
            (self.acknowledged, self.progressed) = (acknowledged, env.tick);
        }
        has_changed
    }

    /// During a drain: a peer that still reads the last answer, which only the kernel has, counts
    /// as heard. If the connection were closed now, whatever this peer sends next would reset it,
    /// and the rest of the answer would be lost.
    fn check_reading<D: Driver>(&mut self, env: &Env<'_, D, S>) {
        if self.is_listening() && self.check_acknowledged(env) && self.phase == Phase::Lingering {
            self.phase_ends = self.phase_ends.max(env.tick + env.timeouts.linger);
        }
    }

    /// Whether it waits for the peer, with nothing left to send.
    fn is_listening(&self) -> bool {
        matches!(self.phase, Phase::Receiving(_) | Phase::Lingering)
    }

    fn expire_session<D: Driver>(&mut self, env: &mut Env<'_, D, S>, timer: Timer) {
        let mut chain = self.queued.take().unwrap_or_else(|| env.chains.take());
        let cx = &mut env.session(self.sending != Sending::No);
        let step = self.session.expire(cx, timer, &mut chain);
        self.perform(env, step, chain);
    }

    pub(super) fn begin_phase<D: Driver>(&mut self, env: &Env<'_, D, S>, phase: Phase) {
        (self.phase, self.acknowledged, self.progressed) = (phase, None, env.tick);
        self.postponed = 0;
        self.begin_reading(env);
        let timeouts = env.timeouts;
        let since = match phase {
            Phase::Receiving(InputTimeout::KeepAliveSince(since)) => since,
            _ => env.tick,
        };
        let time = match phase {
            Phase::Receiving(InputTimeout::KeepAlive | InputTimeout::KeepAliveSince(_)) => {
                timeouts.idle
            }
            Phase::Receiving(InputTimeout::Header | InputTimeout::Body) => timeouts.header,
            Phase::Receiving(InputTimeout::Own) => FOREVER,
            Phase::Sending => timeouts.send.div_ceil(SEND_CHECKS),
            Phase::Waiting => timeouts.send,
            Phase::Lingering => timeouts.linger,
            Phase::Closing => unreachable!("only the driver ends this phase"),
        };
        self.phase_ends = since + time;
    }

    /// Begins to count the time of a connection that drains.
    pub(super) fn begin_drain<D: Driver>(&mut self, env: &Env<'_, D, S>) {
        self.draining = true;
        self.heard(env);
        self.begin_reading(env);
    }

    /// During a drain, notes what the peer has acknowledged so far.
    fn begin_reading<D: Driver>(&mut self, env: &Env<'_, D, S>) {
        if self.draining && self.is_listening() {
            self.check_acknowledged(env);
        }
    }

    /// Notes that input has come, which matters to a draining connection.
    pub(super) fn heard<D: Driver>(&mut self, env: &Env<'_, D, S>) {
        if self.is_listening() {
            self.progressed = env.tick;
        }
    }

    /// When the phase ends. During a drain, a peer that sends and acknowledges nothing for a while
    /// ends it sooner: a request that arrives steadily may finish, and one that stalls does not
    /// hold the drain. Nor does lingering, whose end the client decides.
    fn phase_deadline<D: Driver>(&self, env: &Env<'_, D, S>) -> Tick {
        if self.draining && self.is_listening() {
            return self.phase_ends.min(self.progressed + env.timeouts.drain_idle);
        }
        self.phase_ends
    }

    /// Sets the time of the next call of [`Connection::expired`].
    pub(super) fn set_deadline<D: Driver>(&mut self, env: &Env<'_, D, S>) {
        let mut phase_deadline = self.phase_deadline(env);
        if self.draining && self.is_listening() {
            // To see progress soon after it was made.
            let check = env.tick + env.timeouts.drain_idle.div_ceil(DRAIN_CHECKS);
            phase_deadline = phase_deadline.min(check);
        }
        self.deadline = match self.session.deadline() {
            Some(deadline) if self.state == State::Open => {
                phase_deadline.min(env.wheel.tick_at(deadline))
            }
            _ => phase_deadline,
        };
    }
}
