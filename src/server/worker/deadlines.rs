//! What a worker does when the deadlines of connections may have come.

use std::io;
use std::time::Duration;

use super::Worker;
use crate::driver::{Completion, Driver};
use crate::session::Session;

/// Before deadlines expire, how long the driver is asked for completions that came in time.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// How often it is asked at most, besides once for each deadline that is due. It ends when nothing
/// has come for [`LAST_LOOK`].
const LAST_LOOKS: usize = 8;

/// How often a wait may return early with nothing during one such time.
const EARLY_RETURNS_MAX: usize = 32;

/// How long all of that may take.
const LAST_LOOKS_TIME: Duration = Duration::from_secs(1);

impl<D: Driver, S: Session> Worker<D, S> {
    /// Deals with the entries of the wheel that have come up.
    pub(super) fn look_at_all(
        &mut self,
        due: &mut Vec<u32>,
        batch: &mut Vec<Completion>,
    ) -> io::Result<()> {
        // What a service has to tell may be what a connection waits for.
        self.serve();
        // Mostly a deadline has moved since, and its entry is only put back.
        let count = due.iter().filter(|slot| self.is_due(**slot)).count();
        if count > 0 {
            // The wait may have returned early, or the process may have been stopped for long:
            // input that arrived in time is handled before its deadline counts as missed.
            for _ in 0..LAST_LOOKS + count {
                self.look_once(batch)?;
                if batch.is_empty() {
                    break;
                }
                self.dispatch_all(batch)?;
                self.serve();
                if self.driver.now().instant > self.now.instant + LAST_LOOKS_TIME {
                    break;
                }
            }
        }
        for slot in due.drain(..) {
            self.look_at(slot);
        }
        Ok(())
    }

    /// Waits until something has come, or [`LAST_LOOK`] is over.
    fn look_once(&mut self, batch: &mut Vec<Completion>) -> io::Result<()> {
        let until = self.driver.now().instant + LAST_LOOK;
        for _ in 0..EARLY_RETURNS_MAX {
            let left = until.saturating_duration_since(self.driver.now().instant);
            self.driver.wait(Some(left), batch)?;
            if !batch.is_empty() || left.is_zero() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the deadline that an entry of the wheel stands for has come.
    fn is_due(&self, slot: u32) -> bool {
        let connection = self.connections.handle_at(slot).and_then(|at| self.connections.get(at));
        connection.is_some_and(|connection| connection.deadline <= self.tick)
    }

    /// An entry of the wheel has come up: its deadline is due, or has moved.
    fn look_at(&mut self, slot: u32) {
        let Some(handle) = self.connections.handle_at(slot) else { return };
        let tick = self.tick;
        self.with_connection(handle, |connection, env| {
            if connection.deadline <= tick {
                connection.expired(env);
            }
        });
    }
}
