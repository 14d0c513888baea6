//! A trace as data.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::MadeCall;

/// Events that are kept until they are taken; later ones are dropped.
const EVENTS_MAX: usize = 100_000;

/// What a driver has done.
#[derive(Clone, Debug)]
pub enum TraceEvent {
    /// An op was submitted.
    Submitted {
        /// When.
        at: Instant,
        /// The name of the op.
        op: &'static str,
        /// The op and its arguments.
        what: String,
    },
    /// A completion came.
    Completed {
        /// When.
        at: Instant,
        /// The name of the op.
        op: &'static str,
        /// The op and its result.
        what: String,
    },
    /// The driver has waited.
    Waited(TraceWait),
}

/// A wait of a driver, or several without completions between them.
#[derive(Clone, Debug)]
pub struct TraceWait {
    /// How many waits.
    pub waits: u32,
    /// When the last of them ended.
    pub until: Instant,
    /// How long all of them took.
    pub took: Duration,
    /// Completions that the last of them returned.
    pub completions: usize,
    /// "Would block" results since the wait before.
    pub would_block: u64,
    /// The last system calls since the wait before, by the time of their end.
    pub calls: Vec<MadeCall>,
    /// How many came before those, by name.
    pub earlier: Vec<(&'static str, u64)>,
}

/// Takes what the drivers do that are traced into it. Its clones are the same record.
#[derive(Clone, Default, Debug)]
pub struct TraceRecord(Arc<Mutex<Vec<TraceEvent>>>);

impl TraceRecord {
    /// What has happened since the last look, in order.
    #[must_use]
    pub fn take(&self) -> Vec<TraceEvent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, event: TraceEvent) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < EVENTS_MAX {
            events.push(event);
        }
    }
}
