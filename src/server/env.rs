//! The parts of a worker that a connection uses while it handles an event.

use std::io;
use std::time::Duration;

use super::chain_pool::ChainPool;
use super::published::Published;
use super::settings::ServerTimeouts;
use super::timers::{TICK, Tick, Wheel};
use crate::ask::{Ask, AskId};
use crate::driver::slot_map::Handle;
use crate::driver::{Chain, Driver, File, Op, OpId, Sock, SocketAddress, Token};
use crate::events::{EventKind, EventMessage};
use crate::service::SessionId;
use crate::session::{self, Addresses, Now, Session};

/// The longest timeout, in ticks: more than three years.
const TIMEOUT_MAX: Tick = Tick::MAX / 4;

/// The timeouts of connections, in ticks of the wheel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// How long a request may take to arrive, from its first byte or from the start of the
    /// connection.
    pub(super) header: Tick,
    /// How long a connection may be idle between two requests.
    pub(super) idle: Tick,
    /// How long the peer may acknowledge nothing of what is sent, and how long a reply or an answer
    /// may take.
    pub(super) send: Tick,
    /// How long input is read and discarded after the last answer.
    pub(super) linger: Tick,
    /// During a drain, how long a connection waits for a request that may be on its way, and for
    /// the next bytes of one that has begun.
    pub(super) drain_idle: Tick,
}

impl Timeouts {
    /// Those of a worker with these settings.
    pub(super) fn of(timeouts: &ServerTimeouts) -> Self {
        // Small enough for the sum with any tick that a server lives to see.
        let ticks = |time: Duration| {
            let ticks = time.as_millis().div_ceil(TICK.as_millis()) + 1;
            Tick::try_from(ticks).map_or(TIMEOUT_MAX, |ticks| ticks.min(TIMEOUT_MAX))
        };
        Self {
            header: ticks(timeouts.header),
            idle: ticks(timeouts.idle),
            send: ticks(timeouts.send),
            linger: ticks(Duration::from_secs(2)),
            drain_idle: ticks(Duration::from_secs(1)),
        }
    }
}

/// The tags of a worker's tokens. A tag says what the handle in the token stands for.
pub(super) mod tag {
    /// A connection; the op is on its socket.
    pub(crate) const CONNECTION: u16 = 0;
    /// A listener.
    pub(crate) const LISTENER: u16 = 1;
    /// The close of a connection that was accepted beyond the capacity of the table.
    pub(crate) const SURPLUS: u16 = 2;
    /// A question of the service.
    pub(crate) const SERVICE: u16 = 3;
    /// A connection; the op is question 0 of its session. Question n has the tag `ASK + n`.
    pub(crate) const ASK: u16 = 8;
}

/// See the module documentation.
pub(super) struct Env<'a, D, S: Session> {
    pub(super) driver: &'a mut D,
    pub(super) shared: &'a mut S::Shared,
    pub(super) chains: &'a mut ChainPool,
    /// The questions that the session has asked during this event.
    pub(super) asks: &'a mut Vec<(AskId, Ask)>,
    /// The number of ops of the worker that have not had their last completion.
    pub(super) ops: &'a mut usize,
    pub(super) wheel: &'a Wheel,
    pub(super) now: Now,
    pub(super) tick: Tick,
    pub(super) timeouts: &'a Timeouts,
    pub(super) published: &'a Published,
    /// The handle of the connection.
    pub(super) handle: Handle<SessionId>,
    /// Its socket.
    pub(super) sock: Sock,
}

impl<D: Driver, S: Session> Env<'_, D, S> {
    /// Submits an op of the connection.
    pub(super) fn submit(&mut self, tag: u16, op: Op) -> OpId {
        *self.ops += 1;
        self.driver.submit(Token(self.handle.pack(tag)), op)
    }

    /// Tells the operator that an answer was cut off because of its file, if it was.
    #[inline(never)]
    pub(super) fn tell_unsent(&self, error: &io::Error, chain: &Chain) {
        let path = chain.file_in_progress().and_then(File::path);
        self.published.events.tell_unsent(error, path.as_deref());
    }

    /// Tells the operator that a drain cuts the connection off.
    pub(super) fn tell_cut_off(&self) {
        self.published.events.tell(EventKind::DrainCutOff, || {
            let peer = match self.driver.peer(self.sock) {
                Ok(SocketAddress::Internet(address)) => address.to_string(),
                Ok(SocketAddress::Unix) => "a Unix socket".to_owned(),
                Err(_) => "a client that is gone".to_owned(),
            };
            let text = format!(
                "--drain-timeout is over: the connection of {peer} was cut off in a request"
            );
            EventMessage::new(text).with("client", peer)
        });
    }

    /// The context for a call of the session.
    pub(super) fn session(&mut self, sending: bool) -> session::Context<'_, S::Shared> {
        let session = SessionId(self.handle);
        let addresses = Addresses::of(&*self.driver, self.sock);
        session::Context::new(self.shared, self.now, session, sending, self.asks)
            .with_addresses(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of a timeout and the present tick has to be a tick.
    #[test]
    fn a_timeout_without_an_end_is_bounded() {
        let near = TICK * Tick::MAX;
        for time in [near - TICK, near, near + TICK, Duration::MAX] {
            let timeouts =
                ServerTimeouts { header: time, idle: time, send: time, ..Default::default() };
            let Timeouts { header, idle, send, .. } = Timeouts::of(&timeouts);
            assert_eq!([header, idle, send], [TIMEOUT_MAX; 3], "{time:?}");
        }
    }
}
