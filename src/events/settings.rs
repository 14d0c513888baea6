//! The settings of an error log.

use super::kind::EventLevel;
use crate::log_output::LogTarget;

/// What an error log is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventSettings {
    /// Where it is written.
    pub target: LogTarget,
    /// How events are written.
    pub format: EventFormat,
    /// Less serious events are only counted.
    pub level: EventLevel,
}

/// How events are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventFormat {
    /// `2026-11-29T13:41:03.123Z warn file_denied: the message`. On a standard stream only
    /// `ringd: the message`, because whoever collects such lines adds the time, and knows the
    /// program.
    Text,
    /// An object of JSON with `ts` (RFC 3339, UTC), `level`, `event` and `message`.
    Json,
}
