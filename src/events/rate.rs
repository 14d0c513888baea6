//! How often events of each kind were told, and how many lines of a kind may be written.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::kind::EventKind;

/// How many lines of a kind are written in a window.
pub const LINES_MAX: u32 = 10;

/// The length of a window. It begins with an event, not with the clock.
pub const WINDOW: Duration = Duration::from_secs(10);

/// The lines of one kind.
#[derive(Default, Debug)]
pub(super) struct Rate {
    /// When the window began; `None` if there is none.
    since: Option<Instant>,
    /// The lines in the window, written or held back.
    lines: u64,
}

impl Rate {
    /// Counts a line. Returns whether it may be written.
    pub(super) fn may_write(&mut self, now: Instant) -> bool {
        self.since.get_or_insert(now);
        self.lines += 1;
        self.lines <= LINES_MAX.into()
    }

    /// Ends the window if it is over. Returns how many lines were held back, if any.
    pub(super) fn end_window(&mut self, now: Instant) -> Option<u64> {
        let since = self.since?;
        if now.saturating_duration_since(since) < WINDOW {
            return None;
        }
        let held_back = self.lines.saturating_sub(LINES_MAX.into());
        *self = Self::default();
        (held_back > 0).then_some(held_back)
    }
}

/// What is known of each kind of event.
#[derive(Default, Debug)]
pub(super) struct Kinds {
    pub(super) told: [AtomicU64; EventKind::ALL.len()],
    rates: Mutex<[Rate; EventKind::ALL.len()]>,
    /// Lines for which there was no room since the last one that was written.
    pub(super) lost: AtomicU64,
}

impl Kinds {
    /// Counts a line of a kind. Returns whether it may be written.
    pub(super) fn may_write(&self, kind: EventKind, now: Instant) -> bool {
        self.rates()[kind as usize].may_write(now)
    }

    /// Of each kind whose window is over, how many lines were held back in it.
    pub(super) fn held_back(&self, now: Instant) -> Vec<(EventKind, u64)> {
        let mut rates = self.rates();
        let held_back = |kind: EventKind| Some((kind, rates[kind as usize].end_window(now)?));
        EventKind::ALL.into_iter().filter_map(held_back).collect()
    }

    /// No code panics while it holds the lock.
    fn rates(&self) -> MutexGuard<'_, [Rate; EventKind::ALL.len()]> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_held_back_and_counted() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let written = (0..25).filter(|_| rate.may_write(now)).count();
        assert_eq!(written, 10);
        assert_eq!(rate.end_window(now + WINDOW - Duration::from_millis(1)), None);
        assert_eq!(rate.end_window(now + WINDOW), Some(15));
        assert_eq!(rate.end_window(now + 2 * WINDOW), None, "they are reported once");
        assert!(rate.may_write(now + WINDOW), "another window has begun");
        assert_eq!(rate.end_window(now + 2 * WINDOW), None, "nothing was held back");
    }
}
