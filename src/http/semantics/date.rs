//! Dates in fields (RFC 9110 section 5.6.7): formats them, and parses them in each of the three
//! formats that a recipient must accept.
//!
//! The crate httpdate formats the dates that this server sends, through [`format_date`], because it
//! panics outside of the years that a date can have. It does not parse the dates that this server
//! receives: httpdate assumes a fixed century for two-digit years, where the RFC requires one that
//! depends on the clock, and rejects leap seconds and years before 1970. The tests use it as an
//! oracle.
//!
//! The parser is strict about case and white space, and requires that the day of the week fits the
//! date. A condition with a malformed date is ignored, so the worst effect is one needless
//! transfer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(test)]
mod tests;

/// The first second of the year 10000. Years in dates have four digits.
const END: u64 = 253_402_300_800;

const DAYS: [&[u8]; 7] =
    [b"Sunday", b"Monday", b"Tuesday", b"Wednesday", b"Thursday", b"Friday", b"Saturday"];

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Days of each month in a year without a leap day.
const MONTH_DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The mean length of a Gregorian year.
const YEAR_SECONDS: u64 = 31_556_952;

/// Formats seconds since the epoch as a date. `None` after the year 9999.
pub(in crate::http) fn format_date(seconds: u64) -> Option<httpdate::HttpDate> {
    (seconds < END).then(|| (UNIX_EPOCH + Duration::from_secs(seconds)).into())
}

/// The whole seconds of a clock since the epoch. `None` if the clock is before 1970 or after 9999:
/// it is not set, and a server with such a clock has none (RFC 9110 section 6.6.1).
pub(in crate::http) fn clock_seconds(now: SystemTime) -> Option<u64> {
    let since = now.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs()).filter(|seconds| *seconds < END)
}

/// Parses a date into seconds since the epoch, or returns `None` if it is malformed.
///
/// Dates before the epoch become the epoch; no file that is served is older, so comparisons stay
/// correct. `now`, in seconds since the epoch, selects the century of a two-digit year: the latest
/// one in which the date is at most 50 years ahead.
#[must_use]
pub fn parse_date(value: &[u8], now: u64) -> Option<u64> {
    let date = match value.len() {
        24 => asctime(value)?,
        29 => fixdate(value)?,
        _ => rfc850(value, now)?,
    };
    date.is_valid().then(|| u64::try_from(date.seconds()).unwrap_or(0))
}

/// A date as it was written. It may not exist, like 30 February.
#[derive(Clone, Copy)]
struct Date {
    year: i64,
    /// From 0.
    month: usize,
    day: i64,
    /// From Sunday, which is 0.
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn fixdate(value: &[u8]) -> Option<Date> {
    let date = value.strip_suffix(b" GMT")?;
    separated(date, &[(3, b','), (4, b' '), (7, b' '), (11, b' '), (16, b' ')])?;
    let [hour, minute, second] = time(&date[17..])?;
    let (weekday, month) = (short_day(&date[..3])?, month(&date[8..11])?);
    let (day, year) = (number(&date[5..7])?, number(&date[12..16])?);
    Some(Date { year, month, day, weekday, hour, minute, second })
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(value: &[u8], now: u64) -> Option<Date> {
    let name_len = value.iter().position(|&byte| byte == b',')?;
    let weekday = DAYS.iter().position(|name| *name == &value[..name_len])?;
    let date = value[name_len..].strip_suffix(b" GMT").filter(|date| date.len() == 20)?;
    separated(date, &[(1, b' '), (4, b'-'), (8, b'-'), (11, b' ')])?;
    let [hour, minute, second] = time(&date[12..])?;
    let (day, month) = (number(&date[2..4])?, month(&date[5..8])?);
    // Later clocks are wrong, and would make dates with years of five digits.
    let now = now.min(7900 * YEAR_SECONDS).cast_signed();
    // The year 50 years ahead, or the year after it: years of mean length are off by a day at most.
    let ahead = 1970 + now / YEAR_SECONDS.cast_signed() + 51;
    let digits = number(&date[9..11])?;
    let year = ahead - (ahead - digits).rem_euclid(100);
    let latest = Date { year, month, day, weekday, hour, minute, second };
    let is_too_late = Date { year: year - 50, ..latest }.seconds() > now;
    Some(if is_too_late { Date { year: year - 100, ..latest } } else { latest })
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(date: &[u8]) -> Option<Date> {
    separated(date, &[(3, b' '), (7, b' '), (10, b' '), (19, b' ')])?;
    let [hour, minute, second] = time(&date[11..19])?;
    let (weekday, month) = (short_day(&date[..3])?, month(&date[4..7])?);
    let day = number(if date[8] == b' ' { &date[9..10] } else { &date[8..10] })?;
    Some(Date { year: number(&date[20..])?, month, day, weekday, hour, minute, second })
}

impl Date {
    fn is_valid(&self) -> bool {
        let is_leap_year = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let leap_day = i64::from(self.month == 1 && is_leap_year);
        let is_leap_second = (self.hour, self.minute, self.second) == (23, 59, 60);
        (1..=MONTH_DAYS[self.month] + leap_day).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && (self.second < 60 || is_leap_second)
            // The epoch was a Thursday.
            && (self.days() + 4).rem_euclid(7) == self.weekday as i64
    }

    /// Seconds since the epoch. A leap second is the first second of the next day.
    fn seconds(&self) -> i64 {
        self.days() * DAY_SECONDS + (self.hour * 60 + self.minute) * 60 + self.second
    }

    /// Days since the epoch.
    fn days(&self) -> i64 {
        // Years that begin in March have their leap day at their end.
        let year = if self.month < 2 { self.year - 1 } else { self.year };
        let month = (self.month + 10) % 12;
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let days_before_month: i64 = (0..month).map(|month| MONTH_DAYS[(month + 2) % 12]).sum();
        // From the first of March of the year 0.
        year * 365 + leap_days + days_before_month + self.day - 1 - 719_468
    }
}

/// `08:49:37`
fn time(text: &[u8]) -> Option<[i64; 3]> {
    if text.len() != 8 {
        return None;
    }
    separated(text, &[(2, b':'), (5, b':')])?;
    Some([number(&text[..2])?, number(&text[3..5])?, number(&text[6..])?])
}

/// `Some` if each separator stands at its position in `text`.
fn separated(text: &[u8], separators: &[(usize, u8)]) -> Option<()> {
    separators.iter().all(|&(at, byte)| text.get(at) == Some(&byte)).then_some(())
}

fn short_day(text: &[u8]) -> Option<usize> {
    DAYS.iter().position(|name| name[..3] == *text)
}

fn month(text: &[u8]) -> Option<usize> {
    MONTHS.iter().position(|name| *name == text)
}

/// A number of up to four digits, and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// A date before the year 10000 in the three formats that [`parse_date`] accepts, by httpdate.
#[doc(hidden)]
#[must_use]
pub fn forms(seconds: u64) -> [String; 3] {
    let fixdate = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let (weekday, day, month) = (&fixdate[..3], &fixdate[5..7], &fixdate[8..11]);
    let (year, time) = (&fixdate[12..16], &fixdate[17..25]);
    let long = DAYS.iter().find(|name| name.starts_with(weekday.as_bytes()));
    let long = long.map_or_else(String::new, |name| String::from_utf8_lossy(name).into_owned());
    let rfc850 = format!("{long}, {day}-{month}-{} {time} GMT", &year[2..]);
    let padded = format!("{:>2}", day.trim_start_matches('0'));
    let asctime = format!("{weekday} {month} {padded} {time} {year}");
    [fixdate, rfc850, asctime]
}

/// Fuzz entry: a date that parses is equal to one of the formats of its second, and a date that
/// httpdate parses has the same value here. The first five bytes are the clock, the rest is the
/// date.
///
/// # Panics
///
/// If one of the two does not hold.
#[doc(hidden)]
#[cfg(any(test, feature = "simulation"))]
pub fn fuzz_date(data: &[u8]) {
    let Some((clock, text)) = data.split_first_chunk::<5>() else { return };
    let now = clock.iter().fold(0, |now, byte| now << 8 | u64::from(*byte));
    let read = parse_date(text, now);
    let text = String::from_utf8_lossy(text);
    if let Some(seconds) = read.filter(|seconds| *seconds > 0 && !text.contains(":60")) {
        let [fixdate, rfc850, asctime] = forms(seconds);
        // The parser also accepts a zero in the place of the padding.
        let with_zero = format!("{}0{}", &asctime[..8], &asctime[9..]);
        let is_form = [&*fixdate, &rfc850, &asctime, &with_zero].contains(&&*text);
        assert!(is_form, "{text:?} is not {fixdate:?}");
        if text == rfc850 {
            let ahead = i128::from(seconds) - i128::from(now);
            assert!(ahead <= 50 * 365 * 86400 + 13 * 86400, "{text:?} at {now} is {fixdate}");
        }
    }
    if let Ok(time) = httpdate::parse_http_date(&text)
        && text.trim() == text
        && !text.contains('-')
    {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        assert_eq!(read, Some(seconds), "{text:?}");
    }
}
