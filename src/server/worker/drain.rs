//! How a worker drains: it announces the drain, closes its listeners, lets connections finish, and
//! at last closes those that are left.

use std::time::Duration;

use super::Worker;
use super::state::Draining;
use crate::driver::Driver;
use crate::server::connection::Connection;
use crate::session::Session;

/// How long the last closes may take after the drain timeout.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A hundred years: forever, without an overflow of an `Instant`.
const TIMEOUT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl<D: Driver, S: Session> Worker<D, S> {
    /// Begins to drain, unless that was asked before.
    pub(super) fn drain(&mut self) {
        if self.draining != Draining::No {
            return;
        }
        let delay = self.settings.timeouts.drain_delay.min(TIMEOUT_MAX);
        if delay.is_zero() || self.is_replaced {
            return self.begin_drain();
        }
        self.draining = Draining::Announced(self.now.instant + delay);
        for handle in self.connections.handles() {
            self.with_connection(handle, |connection, _| connection.announce_drain());
        }
    }

    fn begin_drain(&mut self) {
        let timeout = self.settings.timeouts.drain.min(TIMEOUT_MAX);
        self.draining = Draining::Begun(self.now.instant + timeout);
        self.accepts_changed = true;
        for handle in self.connections.handles() {
            self.with_connection(handle, Connection::drain);
        }
    }

    /// Goes on with the drain if it is time.
    #[inline]
    pub(super) fn check_drain(&mut self) {
        if self.draining.until().is_some_and(|until| until <= self.now.instant) {
            self.go_on_draining();
        }
    }

    #[inline(never)]
    fn go_on_draining(&mut self) {
        match self.draining {
            Draining::No => {}
            Draining::Announced(_) => self.begin_drain(),
            Draining::Begun(_) => self.close_all(),
        }
    }

    /// Closes everything that is still open, because the drain timeout is over.
    fn close_all(&mut self) {
        let mut cut_off = 0;
        for handle in self.connections.handles() {
            self.with_connection(handle, |connection, env| {
                cut_off += u32::from(connection.give_up(env));
            });
        }
        if cut_off > 0 {
            self.published.count_cut_off(cut_off);
        }
        self.close_listeners();
    }

    /// Whether the drain is complete.
    pub fn is_done(&self) -> bool {
        let Draining::Begun(until) = self.draining else { return false };
        let empty =
            self.connections.is_empty() && self.listeners.iter().all(|listener| listener.closed);
        empty || self.now.instant > until + CLOSE_WAIT
    }
}
