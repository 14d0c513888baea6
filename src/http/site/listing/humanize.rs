//! Formats sizes, counts and times for people.
//!
//! Sizes have SI units, as disks do: a kB has 1000 bytes. Times are UTC, because the server does
//! not know the reader's time zone.

use std::time::{Duration, UNIX_EPOCH};

/// Formats a number of bytes, rounded to one decimal: `1.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit: u128 = 1;
    for name in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        unit *= 1000;
        let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
        // Rounding may require the next unit: 999,950 bytes are 1.0 MB.
        if tenths < 10_000 {
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    unreachable!("64-bit sizes are below 19 EB")
}

/// Formats a number with groups of digits: `1,433,600`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats seconds since the epoch by RFC 3339: `2026-01-02T03:04:05Z`.
///
/// `None` before 1970, which the library does not support, and after 9999, which RFC 3339 does not.
/// Files can have such times.
pub(super) fn time(seconds: i64) -> Option<String> {
    /// The first second of the year 10000.
    const END: u64 = 253_402_300_800;
    let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds < END)?;
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    Some(humantime::format_rfc3339_seconds(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_rounded() {
        let table = [
            (0, "0 B"),
            (1, "1 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1024, "1.0 kB"),
            (1049, "1.0 kB"),
            (1050, "1.1 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (1_433_600, "1.4 MB"),
            (999_949_999, "999.9 MB"),
            (999_950_000, "1.0 GB"),
            (5_000_000_000_000, "5.0 TB"),
            (999_950_000_000_000_000, "1.0 EB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        let table = [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456")];
        for (number, text) in table {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(1_433_600), "1,433,600");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn times_outside_of_rfc_3339_are_omitted() {
        let table = [
            (0, Some("1970-01-01T00:00:00Z")),
            (1_709_164_799, Some("2024-02-28T23:59:59Z")),
            (1_709_251_199, Some("2024-02-29T23:59:59Z")),
            (253_402_300_799, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800, None),
            (-1, None),
            (i64::MIN, None),
            (i64::MAX, None),
        ];
        for (seconds, text) in table {
            assert_eq!(time(seconds).as_deref(), text, "{seconds}");
        }
    }
}
