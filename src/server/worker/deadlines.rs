//! Handles the deadlines of connections.

use std::io;
use std::time::Duration;

use super::{WAIT, Worker};
use crate::driver::{Completion, Driver};
use crate::server::failure;
use crate::session::Session;

/// Before deadlines expire, the worker waits this long for completions of events that were in time.
const LAST_WAIT: Duration = Duration::from_millis(10);

/// Maximum number of such waits, in addition to one for each deadline that is due. The first wait
/// without a completion is the last one.
const LAST_WAITS: usize = 8;

/// How many times the driver may return early without a completion within one such wait.
const EARLY_RETURNS_MAX: usize = 32;

/// Maximum total time of these waits.
const LAST_WAITS_TIME: Duration = Duration::from_secs(1);

impl<D: Driver, S: Session> Worker<D, S> {
    /// Checks the deadlines of the entries that the wheel has returned.
    pub(super) fn check_deadlines(
        &mut self,
        due: &mut Vec<u32>,
        batch: &mut Vec<Completion>,
    ) -> io::Result<()> {
        // A connection may be waiting for an answer that the service has ready.
        self.serve();
        // Most deadlines have moved since, and their entries are only inserted again.
        let count = due.iter().filter(|slot| self.is_due(**slot)).count();
        if count > 0 {
            // The last wait may not have returned everything, or the process may have been stopped
            // for a while. Handle input that arrived in time before its deadline counts as missed.
            for _ in 0..LAST_WAITS + count {
                self.wait_once_more(batch)?;
                if batch.is_empty() {
                    break;
                }
                self.dispatch_all(batch)?;
                self.serve();
                if self.driver.now().instant > self.now.instant + LAST_WAITS_TIME {
                    break;
                }
            }
        }
        for slot in due.drain(..) {
            self.check_deadline(slot);
        }
        Ok(())
    }

    /// Waits until something completes, or [`LAST_WAIT`] is over.
    fn wait_once_more(&mut self, batch: &mut Vec<Completion>) -> io::Result<()> {
        let until = self.driver.now().instant + LAST_WAIT;
        for _ in 0..EARLY_RETURNS_MAX {
            let left = until.saturating_duration_since(self.driver.now().instant);
            self.driver.wait(Some(left), batch).map_err(|error| failure::at(WAIT, &error))?;
            if !batch.is_empty() || left.is_zero() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the deadline of a connection has passed.
    fn is_due(&self, slot: u32) -> bool {
        let connection = self.connections.handle_at(slot).and_then(|at| self.connections.get(at));
        connection.is_some_and(|connection| connection.deadline <= self.tick)
    }

    /// Handles the deadline of a connection if it has passed, and inserts the entry into the wheel
    /// again.
    fn check_deadline(&mut self, slot: u32) {
        let Some(handle) = self.connections.handle_at(slot) else { return };
        let tick = self.tick;
        self.with_connection(handle, |connection, env| {
            if connection.deadline <= tick {
                connection.expired(env);
            }
        });
    }
}
