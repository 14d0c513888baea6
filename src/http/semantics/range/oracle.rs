//! A second, naive implementation of the selection of ranges, and a fuzz entry that compares both.

use super::{GAP_MIN, RANGES_MAX, SPECS_MAX, Selection, select};
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::Validators;

/// First and last byte of each requested range that exists; `None` if the field is malformed.
///
/// Numbers are compared as strings, padded to equal length, so they cannot overflow.
pub(super) fn asked(value: &str, len: u64) -> Option<Vec<(u64, u64)>> {
    let width = value.len() + 20;
    let padded = |text: &str| {
        let is_number = !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit());
        is_number.then(|| format!("{text:0>width$}"))
    };
    let end = padded(&len.to_string())?;
    let (unit, set) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let members = set.split(',').map(|member| member.trim_matches([' ', '\t']));
    let mut found = Vec::new();
    let mut count = 0;
    for member in members.filter(|member| !member.is_empty()) {
        count += 1;
        let (first, last) = member.split_once('-')?;
        if first.is_empty() {
            let suffix = padded(last)?;
            let taken = if suffix >= end { len } else { suffix.parse().ok()? };
            if taken > 0 {
                found.push((len - taken, len - 1));
            }
            continue;
        }
        let first = padded(first)?;
        let last = if last.is_empty() { "9".repeat(width) } else { padded(last)? };
        if first > last {
            return None;
        }
        if first < end {
            let last = if last < end { last.parse().ok()? } else { len - 1 };
            found.push((first.parse().ok()?, last));
        }
    }
    (1..=SPECS_MAX).contains(&count).then_some(found)
}

/// What [`select`] has to return for a representation without validators.
pub(super) fn naive(value: &str, len: u64) -> Selection {
    let Some(mut ranges) = asked(value, len).filter(|_| len > 0) else { return Selection::Whole };
    let sum: u128 = ranges.iter().map(|(first, last)| u128::from(last - first) + 1).sum();
    // Joins pairs of ranges that are near, until there are none.
    let near = |ranges: &[(u64, u64)]| {
        let pairs = (0..ranges.len()).flat_map(|i| (i + 1..ranges.len()).map(move |j| (i, j)));
        pairs.into_iter().find(|&(i, j)| {
            let ((a, b), (c, d)) = (ranges[i], ranges[j]);
            let [a, b, c, d] = [a, b, c, d].map(i128::from);
            (a - d).max(c - b) - 1 < i128::from(GAP_MIN)
        })
    };
    while let Some((i, j)) = near(&ranges) {
        let (first, last) = ranges.remove(j);
        ranges[i] = (ranges[i].0.min(first), ranges[i].1.max(last));
    }
    let mut ranges = ranges.into_iter().map(|(first, last)| first..last + 1).collect::<Vec<_>>();
    match ranges.len() {
        _ if sum > u128::from(len) => Selection::Whole,
        0 => Selection::Unsatisfiable,
        1 => Selection::One(ranges.remove(0)),
        2..=RANGES_MAX => Selection::Many(ranges.into()),
        _ => Selection::Whole,
    }
}

/// Fuzz entry: the naive implementation selects the same. The first byte says how many of the next
/// seven bytes are the length of the representation; the rest is the field.
///
/// # Panics
///
/// If the two differ.
#[doc(hidden)]
pub fn fuzz_range(data: &[u8]) {
    let Some(([used, number @ ..], value)) = data.split_first_chunk::<8>() else { return };
    let used = usize::from(used % 8);
    let len = number[..used].iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
    let text = String::from_utf8_lossy(value);
    // The parser of heads removes surrounding white space and rejects control characters.
    if text.trim() != text || text.contains(|letter| letter < ' ' && letter != '\t') {
        return;
    }
    let selection = select(Field::one(value), Field::ABSENT, &Validators::default(), len);
    assert_eq!(selection, naive(&text, len), "{text:?} of {len}");
}
