//! The time in lines of the log, as text that is made once per second. If the clock of the system
//! is set, lines show it within a second.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::driver::Now;

/// What stands for a time that cannot be written, because the clock is far from any real time.
const UNKNOWN: &str = "-";

/// Writes times in the time zone of the process.
#[derive(Debug)]
pub(super) struct LogClock {
    zone: TimeZone,
    now: Instant,
    /// When the texts were made, and until when they are right. `None` before the first time.
    made: Option<(Instant, Instant)>,
    /// When the texts were made, in milliseconds since the epoch.
    made_at: u64,
    /// As in `29/Nov/2026:13:04:05 +0100`.
    local: String,
    /// What is between the client and the request in lines of nginx.
    before_request: String,
    /// As in `2026-11-29T13:04:05+01:00`.
    iso: String,
    /// As in `2026-11-29T12:04:05`, in UTC.
    utc: String,
}

impl LogClock {
    /// A clock with the zone of the environment variable `TZ`, or else of the system.
    pub(super) fn new() -> Self {
        Self::in_zone(TimeZone::system())
    }

    fn in_zone(zone: TimeZone) -> Self {
        Self {
            zone,
            now: Instant::now(),
            made: None,
            made_at: 0,
            local: String::new(),
            before_request: String::new(),
            iso: String::new(),
            utc: String::new(),
        }
    }

    /// Sets the time of the next lines.
    #[inline]
    pub(super) fn set(&mut self, now: Now) {
        self.now = now.instant;
        if self.made.is_none_or(|(_, until)| until <= now.instant) {
            self.make(now);
        }
    }

    #[inline(never)]
    fn make(&mut self, now: Now) {
        self.made_at = milliseconds(now.system);
        let left = Duration::from_millis(1000 - self.made_at % 1000);
        self.made = Some((now.instant, now.instant + left));
        let time = Timestamp::try_from(now.system).ok();
        self.local.clear();
        self.iso.clear();
        self.utc.clear();
        self.utc += &time.map_or("1970-01-01T00:00:00".to_owned(), |time| {
            time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
        });
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
        self.before_request = format!(" - - [{}] \"", self.local);
    }

    /// Milliseconds since the epoch.
    pub(super) fn milliseconds(&self) -> u64 {
        let made = self.made.map_or(self.now, |(made, _)| made);
        self.made_at + self.now.saturating_duration_since(made).as_millis() as u64
    }

    /// The text between the client and the request in the formats of Apache and nginx. The user is
    /// unknown.
    pub(super) fn before_request(&self) -> &str {
        &self.before_request
    }

    /// The time in the form of Apache and nginx.
    pub(super) fn local(&self) -> &str {
        &self.local
    }

    /// The time in UTC, without a fraction of the second and without its zone.
    pub(super) fn utc(&self) -> &str {
        &self.utc
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

    /// Sets a clock that has last been set in another second.
    fn set(clock: &mut LogClock, system: SystemTime) {
        let instant = clock.now + Duration::from_secs(1);
        clock.set(Now { instant, system });
    }

    #[test]
    fn times_are_written_in_the_zone() {
        let mut clock = LogClock::in_zone(TimeZone::fixed(jiff::tz::offset(-3)));
        set(&mut clock, UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(clock.local(), "06/Nov/1994:05:49:37 -0300");
        assert_eq!(clock.iso(), "1994-11-06T05:49:37-03:00");
        set(&mut clock, UNIX_EPOCH + Duration::from_millis(784_111_778_998));
        assert_eq!(clock.local(), "06/Nov/1994:05:49:38 -0300");
        assert_eq!(clock.before_request(), " - - [06/Nov/1994:05:49:38 -0300] \"");
        let system = UNIX_EPOCH + Duration::from_millis(784_111_778_999);
        clock.set(Now { instant: clock.now + Duration::from_millis(1), system });
        assert_eq!(
            (clock.local(), clock.milliseconds()),
            ("06/Nov/1994:05:49:38 -0300", 784_111_778_999)
        );
        let system = UNIX_EPOCH + Duration::from_secs(784_111_779);
        clock.set(Now { instant: clock.now + Duration::from_millis(1), system });
        assert_eq!(clock.local(), "06/Nov/1994:05:49:39 -0300");
        set(&mut clock, UNIX_EPOCH - Duration::from_millis(1));
        assert_eq!(clock.iso(), "1969-12-31T20:59:59-03:00");
    }

    #[test]
    fn a_clock_far_from_any_time_is_no_reason_to_fail() {
        let mut clock = LogClock::new();
        for seconds in [1 << 40, 1 << 60] {
            let Some(now) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)) else { continue };
            set(&mut clock, now);
            assert_eq!((clock.local(), clock.iso()), (UNKNOWN, UNKNOWN));
        }
    }
}
