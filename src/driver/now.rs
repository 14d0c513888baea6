//! The time.

use std::time::{Instant, SystemTime};

/// The time, looked at once a turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For intervals.
    pub instant: Instant,
    /// For people: dates.
    pub system: SystemTime,
}

impl Now {
    /// Looks at both clocks.
    pub fn read() -> Self {
        Self { instant: Instant::now(), system: SystemTime::now() }
    }
}
