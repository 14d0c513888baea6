//! Dates in fields, in each of the three forms that a recipient must know (RFC 9110 section
//! 5.6.7).
//!
//! The crate httpdate, which writes the dates of this server, is not used to read them: it has a
//! fixed century for two-digit years, where the RFC wants one that moves with the clock, and knows
//! neither leap seconds nor years before 1970. It serves as the oracle of the tests.
//!
//! Reading is strict: names of days and months in their own case, one space where the grammar has
//! one, and a day of the week that is the day of that date. What is not such a date is none, and a
//! condition with it is ignored, which costs the client no more than a transfer.

#[cfg(test)]
mod tests;

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

/// Parses a date: seconds since the epoch, or `None` if it is not a valid one.
///
/// A date before the epoch is taken for the epoch: nothing that is served has a date so early, so
/// it compares with all of them as it should. `now`, in seconds as well, gives two-digit years
/// their century: the last one that does not put the date more than 50 years ahead.
#[must_use]
pub fn parse_date(value: &[u8], now: u64) -> Option<u64> {
    let date = match value.len() {
        24 => asctime(value)?,
        29 => fixdate(value)?,
        _ => rfc850(value, now)?,
    };
    date.is_valid().then(|| u64::try_from(date.seconds()).unwrap_or(0))
}

/// A date as it is written, which need not exist.
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
    // A clock near the year 9999 is no clock.
    let now = now.min(7900 * YEAR_SECONDS).cast_signed();
    // At least the year that is 50 years ahead: the mean year is a day off at most.
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

/// Whether the bytes at these places are these.
fn separated(text: &[u8], separators: &[(usize, u8)]) -> Option<()> {
    separators.iter().all(|&(at, byte)| text.get(at) == Some(&byte)).then_some(())
}

fn short_day(text: &[u8]) -> Option<usize> {
    DAYS.iter().position(|name| name[..3] == *text)
}

fn month(text: &[u8]) -> Option<usize> {
    MONTHS.iter().position(|name| *name == text)
}

/// A few digits and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0'))
    })
}

/// The three forms of a date before the year 10000, by httpdate: what [`parse_date`] has to read.
#[doc(hidden)]
#[must_use]
pub fn forms(seconds: u64) -> [String; 3] {
    use std::time::{Duration, UNIX_EPOCH};
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

/// Fuzz entry: a date that is understood is one of the forms of that second, and what httpdate
/// understands means the same here. The first five bytes are the clock, the rest is the date.
///
/// # Panics
///
/// If one of the two does not hold.
#[doc(hidden)]
pub fn fuzz_date(data: &[u8]) {
    let Some((clock, text)) = data.split_first_chunk::<5>() else { return };
    let now = clock.iter().fold(0, |now, byte| now << 8 | u64::from(*byte));
    let read = parse_date(text, now);
    let text = String::from_utf8_lossy(text);
    if let Some(seconds) = read.filter(|seconds| *seconds > 0 && !text.contains(":60")) {
        let [fixdate, rfc850, asctime] = forms(seconds);
        // The grammar has a zero for the padding of this form, too.
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
        let seconds = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        assert_eq!(read, Some(seconds), "{text:?}");
    }
}
