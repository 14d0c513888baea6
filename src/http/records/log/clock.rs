//! The time in lines of the log, as text that is made once per second.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What stands for a time that cannot be written, because the clock is far from any real time.
const UNKNOWN: &str = "-";

/// Writes times in the time zone of the process.
#[derive(Debug)]
pub(super) struct LogClock {
    zone: TimeZone,
    second: Option<i64>,
    milliseconds: u64,
    /// As in `29/Nov/2026:13:04:05 +0100`.
    local: String,
    /// As in `2026-11-29T13:04:05+01:00`.
    iso: String,
}

impl LogClock {
    /// A clock with the zone of the environment variable `TZ`, or else of the system.
    pub(super) fn new() -> Self {
        Self::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self { zone, second: None, milliseconds: 0, local: String::new(), iso: String::new() }
    }

    /// Sets the time of the next lines.
    pub(super) fn set(&mut self, now: SystemTime) {
        self.milliseconds = milliseconds(now);
        let time = Timestamp::try_from(now).ok();
        let second = time.map_or(i64::MIN, Timestamp::as_second);
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        self.local.clear();
        self.iso.clear();
        match time.map(|time| time.to_zoned_datetime(self.zone.clone())) {
            Some(time) => {
                self.local += &time.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
                self.iso += &time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
            }
            None => {
                self.local += UNKNOWN;
                self.iso += UNKNOWN;
            }
        }
    }

    /// Milliseconds since the epoch.
    pub(super) fn milliseconds(&self) -> u64 {
        self.milliseconds
    }

    /// The time in the form of Apache and nginx.
    pub(super) fn local(&self) -> &str {
        &self.local
    }

    /// The time in the form of RFC 3339.
    pub(super) fn iso(&self) -> &str {
        &self.iso
    }
}

/// Milliseconds since the epoch; zero before it.
fn milliseconds(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().saturating_mul(1000).saturating_add(u64::from(since.subsec_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_in_the_zone() {
        let mut clock = LogClock::in_zone(TimeZone::fixed(jiff::tz::offset(-3)));
        clock.set(UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(clock.local(), "06/Nov/1994:05:49:37 -0300");
        assert_eq!(clock.iso(), "1994-11-06T05:49:37-03:00");
        clock.set(UNIX_EPOCH + Duration::from_millis(784_111_778_999));
        assert_eq!(clock.local(), "06/Nov/1994:05:49:38 -0300");
        clock.set(UNIX_EPOCH - Duration::from_millis(1));
        assert_eq!(clock.iso(), "1969-12-31T20:59:59-03:00");
    }

    #[test]
    fn a_clock_far_from_any_time_is_no_reason_to_fail() {
        let mut clock = LogClock::new();
        for seconds in [1 << 40, 1 << 60] {
            let Some(now) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { continue };
            clock.set(now);
            assert!(!clock.local().is_empty());
        }
    }
}
