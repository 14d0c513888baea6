//! What a drain means for a connection.

use super::state::{State, Wants};
use super::{Connection, Sending};
use crate::driver::Driver;
use crate::server::env::Env;
use crate::session::Session;

impl<S: Session> Connection<S> {
    /// Tells the session that the server will stop, so that it ends after its next answer.
    pub(in crate::server) fn announce_drain(&mut self) {
        if self.state == State::Open {
            self.session.drain();
        }
    }

    /// Tells the session that the server is about to stop, and shortens the wait for input. A
    /// request may be on its way, so the wait does not end at once: closing now would reset it.
    pub(in crate::server) fn drain<D: Driver>(&mut self, env: &mut Env<'_, D, S>) {
        self.begin_drain(env);
        if self.state == State::Open {
            self.session.drain();
            if matches!(self.wants, Wants::Input(_)) {
                self.advance_with_inbox(env);
            }
        }
        self.settle(env);
    }

    /// Closes the connection because the drain timeout is over. Resets it if a send is in flight,
    /// so the peer notices that the answer is incomplete. Returns whether this cuts a request or
    /// its answer off.
    pub(in crate::server) fn give_up<D: Driver>(&mut self, env: &mut Env<'_, D, S>) -> bool {
        let cut_off = self.phase.is_busy(&self.inbox);
        if cut_off {
            env.tell_cut_off();
        }
        self.close(env, self.sending != Sending::No);
        self.settle(env);
        cut_off
    }
}
