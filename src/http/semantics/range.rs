//! Range requests: which bytes of a representation to send (RFC 9110 section 14).
//!
//! [`select`] is for a GET request whose response would be 200 without `Range`; the field has no
//! meaning for other methods (section 14.2).
//!
//! A server may always ignore `Range`. This one ignores malformed fields, and requests that would
//! cost more than the whole representation: many small ranges, and ranges that overlap so much that
//! they add up to more than the representation. [`SPECS_MAX`] bounds the work, however long the
//! field is.

use std::fmt;
use std::ops::Range;

use crate::http::semantics::condition::if_range_holds;
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::Validators;

#[cfg(any(test, feature = "simulation"))]
mod oracle;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "simulation"))]
pub use oracle::fuzz_range;

/// If a field has more ranges than this, it is ignored.
pub const SPECS_MAX: usize = 64;

/// If more ranges than this remain after joining, the field is ignored.
pub const RANGES_MAX: usize = 16;

/// Ranges that are less than this many bytes apart are joined: sending the gap costs less than the
/// head of another part (RFC 9110 section 15.3.7.2).
pub const GAP_MIN: u64 = 80;

/// What to send of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with 200, because `Range` is absent or ignored.
    Whole,
    /// These bytes, with 206. They may be the whole representation.
    One(Range<u64>),
    /// Two to [`RANGES_MAX`] ranges, with 206, as [`multipart`](super::multipart), in the order of
    /// the request. None is empty, and no two are less than [`GAP_MIN`] bytes apart.
    Many(Box<[Range<u64>]>),
    /// No requested range exists. Respond with 416 and [`ContentRange::Unsatisfied`].
    Unsatisfiable,
}

/// Selects the bytes of a representation of `len` bytes that `Range` and `If-Range` request.
#[must_use]
pub fn select(
    range: Field<'_>,
    if_range: Field<'_>,
    validators: &Validators<'_>,
    len: u64,
) -> Selection {
    // An empty representation has no ranges. Ignoring the field is allowed (section 14.2), and more
    // useful than 416.
    if range.is_absent() || len == 0 || !if_range_holds(if_range, validators) {
        return Selection::Whole;
    }
    range.single().and_then(|value| selected(value, len)).unwrap_or(Selection::Whole)
}

/// What a `Range` field requests; `None` if the field is malformed, or requests too much.
fn selected(value: &[u8], len: u64) -> Option<Selection> {
    let equals = memchr::memchr(b'=', value)?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    // Units are case-insensitive (section 14.1).
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let mut specs = 0;
    let mut asked: u64 = 0;
    let mut ranges = Apart::NONE;
    for spec in Field::one(set).members() {
        specs += 1;
        if specs > SPECS_MAX {
            return None;
        }
        if let Some(range) = Spec::parse(spec)?.within(len) {
            let sum = asked.checked_add(range.end - range.start);
            asked = sum.filter(|&sum| sum <= len)?;
            ranges.add(range);
        }
    }
    match ranges.as_slice() {
        _ if specs == 0 => None,
        [] => Some(Selection::Unsatisfiable),
        [range] => Some(Selection::One(range.clone())),
        ranges if ranges.len() > RANGES_MAX => None,
        ranges => Some(Selection::Many(ranges.into())),
    }
}

/// A range as requested (RFC 9110 section 14.1.2). Numbers that do not fit saturate, since no file
/// is that long.
enum Spec {
    /// `first-last` or `first-`; both ends are inclusive.
    From { first: u64, last: u64 },
    /// `-count`: the last `count` bytes.
    Suffix { count: u64 },
}

impl Spec {
    /// `None` if the range is malformed, which makes the whole field malformed (section 14.1.1).
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = memchr::memchr(b'-', text)?;
        match (&text[..dash], &text[dash + 1..]) {
            ([], count) => Some(Self::Suffix { count: number(count)? }),
            (first, []) => Some(Self::From { first: number(first)?, last: u64::MAX }),
            (first, last) => {
                let spec = Self::From { first: number(first)?, last: number(last)? };
                (!is_greater(first, last)).then_some(spec)
            }
        }
    }

    /// The part of the range that exists in `len` bytes, if any.
    fn within(&self, len: u64) -> Option<Range<u64>> {
        let range = match *self {
            Self::From { first, last } => first..last.saturating_add(1).min(len),
            Self::Suffix { count } => len.saturating_sub(count)..len,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// Parses `1*DIGIT`, and saturates.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(value.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// Compares two decimal numbers of any length.
fn is_greater(left: &[u8], right: &[u8]) -> bool {
    let zeros = |digits: &[u8]| digits.iter().take_while(|byte| **byte == b'0').count();
    let (left, right) = (&left[zeros(left)..], &right[zeros(right)..]);
    (left.len(), left) > (right.len(), right)
}

/// Ranges that are at least [`GAP_MIN`] bytes apart, in the order in which they first occur.
struct Apart {
    ranges: [Range<u64>; SPECS_MAX],
    count: usize,
}

impl Apart {
    const NONE: Self = Self { ranges: [const { 0..0 }; SPECS_MAX], count: 0 };

    fn as_slice(&self) -> &[Range<u64>] {
        &self.ranges[..self.count]
    }

    /// Adds a range, joined with those that are near to it. One pass is enough: a range that is
    /// near to the joined range, but not to the added one, would be near to one of the ranges that
    /// were joined; but those were at least [`GAP_MIN`] apart from it.
    fn add(&mut self, range: Range<u64>) {
        let mut joined = range.clone();
        let mut place = None;
        let mut kept = 0;
        for index in 0..self.count {
            let other = self.ranges[index].clone();
            if is_near(&range, &other) {
                place.get_or_insert(kept);
                joined = joined.start.min(other.start)..joined.end.max(other.end);
            } else {
                self.ranges[kept] = other;
                kept += 1;
            }
        }
        self.ranges[kept] = joined;
        self.ranges[place.unwrap_or(kept)..=kept].rotate_right(1);
        self.count = kept + 1;
    }
}

/// Whether two ranges overlap, or have less than [`GAP_MIN`] bytes between them.
fn is_near(left: &Range<u64>, right: &Range<u64>) -> bool {
    let gap = left.start.max(right.start).saturating_sub(left.end.min(right.end));
    gap < GAP_MIN
}

/// The value of `Content-Range` (RFC 9110 section 14.4), for `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// The range that is sent, which is not empty, and the length of the representation.
    Satisfied(Range<u64>, u64),
    /// The length of the representation, for a response with 416.
    Unsatisfied(u64),
}

impl fmt::Display for ContentRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every response with 206 has this, so it is written without the machinery of `write!`.
        let mut number = itoa::Buffer::new();
        formatter.write_str("bytes ")?;
        let len = match self {
            Self::Satisfied(range, len) => {
                formatter.write_str(number.format(range.start))?;
                formatter.write_str("-")?;
                formatter.write_str(number.format(range.end.saturating_sub(1)))?;
                len
            }
            Self::Unsatisfied(len) => {
                formatter.write_str("*")?;
                len
            }
        };
        formatter.write_str("/")?;
        formatter.write_str(number.format(*len))
    }
}
