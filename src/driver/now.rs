//! The two clocks.

use std::time::{Instant, SystemTime};

/// The time, read once per turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For intervals (monotonic).
    pub instant: Instant,
    /// For dates (wall clock).
    pub system: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        Self { instant: Instant::now(), system: SystemTime::now() }
    }
}
