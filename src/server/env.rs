//! What a connection needs of its worker while it handles one event.

use super::chain_pool::ChainPool;
use super::timers::{Tick, Wheel};
use crate::ask::{Ask, AskId};
use crate::driver::slot_map::Handle;
use crate::driver::{Driver, Op, OpId, Token};
use crate::service::SessionId;
use crate::session::{self, Now, Session};

/// The timeouts of connections, in ticks of the wheel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For a request to arrive, from its first byte or the connection's beginning.
    pub(super) header: Tick,
    /// Between two requests.
    pub(super) idle: Tick,
    /// For the peer to acknowledge something of what is sent; and for a reply or an answer to come.
    pub(super) send: Tick,
    /// For what a peer still sends after the last answer.
    pub(super) linger: Tick,
    /// For a request to arrive that was on its way when the server began to drain.
    pub(super) drain_idle: Tick,
}

/// Tags of a worker's tokens: what the rest of the token names.
pub(super) mod tag {
    /// The table of connections: an op on its socket.
    pub(crate) const CONNECTION: u16 = 0;
    /// A listener.
    pub(crate) const LISTENER: u16 = 1;
    /// A connection that was one too many.
    pub(crate) const SURPLUS: u16 = 2;
    /// A question of the service.
    pub(crate) const SERVICE: u16 = 3;
    /// The table of connections: question 0 of its session; the others follow.
    pub(crate) const ASK: u16 = 8;
}

/// See the module documentation.
pub(super) struct Env<'a, D, S: Session> {
    pub(super) driver: &'a mut D,
    pub(super) shared: &'a mut S::Shared,
    pub(super) chains: &'a mut ChainPool,
    /// Questions that the session has asked in this event.
    pub(super) asks: &'a mut Vec<(AskId, Ask)>,
    /// Ops that the worker has submitted and not heard the last of.
    pub(super) ops: &'a mut usize,
    pub(super) wheel: &'a Wheel,
    pub(super) now: Now,
    pub(super) tick: Tick,
    pub(super) timeouts: &'a Timeouts,
    /// Names the connection.
    pub(super) handle: Handle<SessionId>,
}

impl<D: Driver, S: Session> Env<'_, D, S> {
    /// Submits an op of the connection.
    pub(super) fn submit(&mut self, tag: u16, op: Op) -> OpId {
        *self.ops += 1;
        self.driver.submit(Token(self.handle.pack(tag)), op)
    }

    /// What a call of the session needs.
    pub(super) fn session(&mut self, sending: bool) -> session::Context<'_, S::Shared> {
        let session = SessionId(self.handle);
        session::Context::new(self.shared, self.now, session, sending, self.asks)
    }
}
