//! Dates in the three formats, malformed dates, and a comparison with httpdate.

use super::{forms, fuzz_date, parse_date};

/// 2026-11-21 12:00:00.
const NOW: u64 = 1_795_262_400;

fn parse(text: &str) -> Option<u64> {
    fuzz_date(&[&NOW.to_be_bytes()[3..], text.as_bytes()].concat());
    parse_date(text.as_bytes(), NOW)
}

#[test]
fn the_three_formats_of_the_rfc_give_the_same_date() {
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
    ] {
        assert_eq!(parse(text), Some(784_111_777), "{text}");
    }
}

#[test]
fn malformed_dates_are_rejected() {
    for text in [
        "",
        "0",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 NOV 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "     Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT; length=5",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Wed, 00 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "Thu, 31 Apr 2026 00:00:00 GMT",
        // This date is a Sunday.
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Monday, 06-Nov-94 08:49:37 GMT",
        "Mon Nov  6 08:49:37 1994",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-94  08:49:37 GMT",
        "Sunday, 06 Nov 94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 6  08:49:37 1994",
        "Sun Nov  6 08:49:37 94  ",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn leap_days_and_leap_seconds_are_accepted() {
    assert_eq!(parse("Tue, 29 Feb 2000 00:00:00 GMT"), Some(951_782_400));
    assert_eq!(parse("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    assert_eq!(parse("Mon, 29 Feb 2100 00:00:00 GMT"), None);
    assert_eq!(parse("Sat, 31 Dec 2016 23:59:60 GMT"), parse("Sun, 01 Jan 2017 00:00:00 GMT"));
    assert_eq!(parse("Sat Dec 31 23:59:60 2016"), Some(1_483_228_800));
    assert_eq!(parse("Saturday, 31-Dec-16 23:59:60 GMT"), Some(1_483_228_800));
    assert_eq!(parse("Sat, 31 Dec 2016 23:59:61 GMT"), None);
}

#[test]
fn dates_before_the_epoch_become_the_epoch() {
    for text in [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
        "Mon, 01 Jan 1900 00:00:00 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
    ] {
        assert_eq!(parse(text), Some(0), "{text}");
    }
}

#[test]
fn two_digit_years_are_at_most_fifty_years_ahead() {
    // One day less than 50 years ahead; one day more, which becomes 50 years ago.
    assert_eq!(parse("Friday, 20-Nov-76 12:00:00 GMT"), Some(NOW - 86_400 + 1_577_923_200));
    assert_eq!(parse("Monday, 22-Nov-76 12:00:00 GMT"), Some(NOW + 86_400 - 1_577_836_800));
    // The bound is exact to the second.
    assert_eq!(parse("Saturday, 21-Nov-76 12:00:00 GMT"), Some(3_373_185_600));
    assert_eq!(parse("Sunday, 21-Nov-76 12:00:01 GMT"), Some(217_425_601));
    assert_eq!(parse("Saturday, 21-Nov-76 12:00:01 GMT"), None);
    // If the clock says 1994, then 44 means 2044, and 45 means 1945.
    let at = |text: &str| parse_date(text.as_bytes(), 784_111_777);
    assert_eq!(at("Friday, 01-Jan-44 00:00:00 GMT"), Some(2_335_219_200));
    assert_eq!(at("Monday, 01-Jan-45 00:00:00 GMT"), Some(0));
}

#[test]
fn every_format_of_any_time_parses_to_that_time() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let seconds = random.u64(..7800 * 31_556_952);
        // Any clock within 50 years of the time, less a day because of leap years.
        let years = 50 * 31_556_952 - 86_400;
        let now = random.u64(seconds.saturating_sub(years)..seconds + years);
        for text in forms(seconds) {
            assert_eq!(parse_date(text.as_bytes(), now), Some(seconds), "{text} at {now}");
        }
    }
}

#[test]
fn an_absurd_clock_gives_no_absurd_date() {
    for now in [0, 1, u64::MAX / 2, u64::MAX] {
        let year = parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT", now);
        assert!(year.is_none_or(|seconds| seconds < 10_000 * 31_556_952), "{now}: {year:?}");
    }
}
