//! Time, real or virtual: virtual time passes by being slept through.

use std::io;
use std::sync::MutexGuard;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::network::{Net, Network};
use crate::driver::Now;

/// Time since the machine was started.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Virtual time; `None` for real time.
    elapsed: Option<Duration>,
    /// The wall clock at the start, since the epoch.
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

    /// Lets virtual time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        *self.elapsed.as_mut().expect("real time passes by itself") += time;
    }

    /// Lets time pass until `next`, and virtual time for `window` more; real time, at the longest
    /// until a peer does something.
    ///
    /// # Errors
    ///
    /// When virtual time would have to pass for ever.
    pub(super) fn sleep<'a>(
        &mut self,
        net: &'a Net,
        network: MutexGuard<'a, Network>,
        next: Option<Duration>,
        window: Duration,
    ) -> io::Result<MutexGuard<'a, Network>> {
        match (&mut self.elapsed, next) {
            (Some(_), None) => {
                Err(io::Error::new(io::ErrorKind::Deadlock, "nothing can happen any more"))
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
