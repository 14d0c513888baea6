//! How many requests of a client are answered.

use std::fmt;
use std::str::FromStr;

/// The highest rate: at higher ones, the interval in whole microseconds would be too coarse.
const PER_SECOND_MAX: u64 = 10_000;

/// The longest time in which a bucket fills, in microseconds: a day.
pub(super) const FILL_MAX: u64 = 24 * 60 * 60 * 1_000_000;

/// Requests per second, minute or hour, as in `50/s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    count: u32,
    /// Microseconds in which so many are allowed.
    period: u64,
}

impl Rate {
    /// So many per second.
    ///
    /// # Errors
    ///
    /// When there are none, or too many.
    pub fn per_second(count: u32) -> Result<Self, String> {
        Self::new(count, 1_000_000)
    }

    fn new(count: u32, period: u64) -> Result<Self, String> {
        if count == 0 {
            return Err("a rate is at least 1; leave it out for no limit".to_owned());
        }
        if u64::from(count) * 1_000_000 > PER_SECOND_MAX * period {
            return Err(format!("a rate is at most {PER_SECOND_MAX}/s"));
        }
        Ok(Self { count, period })
    }

    /// The time from one request to the next, in microseconds.
    fn interval(self) -> u64 {
        (self.period + u64::from(self.count) / 2) / u64::from(self.count)
    }

    /// How many come at once if nothing else is said: those of two seconds, and at least ten.
    #[must_use]
    pub fn usual_burst(self) -> u32 {
        let two_seconds = 2_000_000 * u64::from(self.count) / self.period;
        two_seconds.max(10) as u32
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim_ascii() {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err("the unit is s, min or h, as in 50/s or 100/min".to_owned()),
        };
        let count = count.trim_ascii().parse();
        let count = count.map_err(|_| "it must be a number and a unit, as in 50/s".to_owned())?;
        Self::new(count, seconds * 1_000_000)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.period {
            1_000_000 => "s",
            60_000_000 => "min",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// A bucket: it fills at a rate, and each request takes one of what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// In how many microseconds one more request is allowed.
    pub(super) interval: u64,
    /// How many microseconds the next free time may lie ahead: the content of the bucket, except
    /// the one that a request takes.
    pub(super) tolerance: u64,
}

impl RateLimit {
    /// A bucket that fills at this rate, and holds so many requests.
    ///
    /// # Errors
    ///
    /// When it holds none, or takes more than a day to fill.
    pub fn new(rate: Rate, burst: u32) -> Result<Self, String> {
        let interval = rate.interval();
        if burst == 0 {
            return Err("a burst is at least 1, or no request would be answered".to_owned());
        }
        if interval * u64::from(burst) > FILL_MAX {
            return Err("a burst must fill again within a day; lower it, or raise the rate".into());
        }
        Ok(Self { interval, tolerance: interval * (u64::from(burst) - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, interval, burst) in
            [("50/s", 20_000, 100), ("100/min", 600_000, 10), ("1/h", 3_600_000_000, 10)]
        {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.interval(), rate.usual_burst()), (interval, burst), "{text}");
            assert_eq!(rate.to_string(), text);
        }
        assert_eq!("7".parse::<Rate>(), "7/s".parse::<Rate>());
        for text in ["", "0/s", "-1/s", "a/s", "5/d", "10001/s", "99999999999/h", "1/s/s", "/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bucket_fills_within_a_day() {
        let rate: Rate = "1/h".parse().unwrap();
        assert!(RateLimit::new(rate, 24).is_ok());
        assert!(RateLimit::new(rate, 25).unwrap_err().contains("within a day"));
        assert!(RateLimit::new(rate, 0).is_err());
    }
}
