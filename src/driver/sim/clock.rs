//! Real or virtual time. Virtual time advances when the driver sleeps.

use std::io;
use std::sync::MutexGuard;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::network::{Net, Network};
use crate::driver::Now;

/// The clock of a simulated machine.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Virtual time since the start; `None` for real time.
    elapsed: Option<Duration>,
    /// The wall clock at the start, as time since the epoch.
    pub(super) wall: Duration,
}

impl Clock {
    pub(super) fn real(start: Instant, wall: Duration) -> Self {
        Self { start, elapsed: None, wall }
    }

    pub(super) fn simulated(start: Instant, wall: Duration) -> Self {
        Self { start, elapsed: Some(Duration::ZERO), wall }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.elapsed.unwrap_or_else(|| self.start.elapsed())
    }

    pub(super) fn now(&self) -> Now {
        let elapsed = self.elapsed();
        Now { instant: self.start + elapsed, system: UNIX_EPOCH + self.wall + elapsed }
    }

    /// Advances virtual time.
    pub(super) fn pass(&mut self, time: Duration) {
        *self.elapsed.as_mut().expect("only virtual time can be advanced") += time;
    }

    /// Advances virtual time to `next + window`. In real time, sleeps until `next` or until a peer
    /// changes something.
    ///
    /// # Errors
    ///
    /// When virtual time has no next event: the sleep would never end.
    pub(super) fn sleep<'a>(
        &mut self,
        net: &'a Net,
        network: MutexGuard<'a, Network>,
        next: Option<Duration>,
        window: Duration,
    ) -> io::Result<MutexGuard<'a, Network>> {
        match (&mut self.elapsed, next) {
            (Some(_), None) => {
                Err(io::Error::new(io::ErrorKind::Deadlock, "the simulation has no next event"))
            }
            (Some(elapsed), Some(next)) => {
                *elapsed = (next + window).max(*elapsed);
                Ok(network)
            }
            (None, next) => {
                let now = self.start.elapsed();
                Ok(net.wait(network, next.map(|next| next.saturating_sub(now))))
            }
        }
    }
}
