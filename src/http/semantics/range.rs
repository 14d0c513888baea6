//! Range requests: which bytes of a representation to send (RFC 9110 section 14).
//!
//! [`select`] is for GET only, and for an answer that would be 200 otherwise; with any other
//! method, `Range` has no meaning (section 14.2).
//!
//! A server may ignore `Range` whenever it likes, and this one does so for whatever it does not
//! understand and whatever would cost it more than the whole: many small ranges, and ranges whose
//! bytes are asked for again and again. The work is bounded by [`SPECS_MAX`], however long the
//! field is.

use std::fmt;
use std::ops::Range;

use crate::http::semantics::condition::if_range_holds;
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::Validators;

mod oracle;
#[cfg(test)]
mod tests;

pub use oracle::fuzz_range;

/// More ranges than this are not looked at: the whole is sent.
pub const SPECS_MAX: usize = 64;

/// More ranges than this are not sent: the whole is.
pub const RANGES_MAX: usize = 16;

/// Ranges that are this many bytes apart stay two. Nearer ones become one with the gap, which
/// costs less than the head of another part (RFC 9110 section 15.3.7.2).
pub const GAP_MIN: u64 = 80;

/// What to send of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with 200: nothing else is asked for, or it is not understood.
    Whole,
    /// These bytes, with 206. They may be all there are.
    One(Range<u64>),
    /// Two to [`RANGES_MAX`] ranges, with 206 and as [`multipart`](super::multipart). None is
    /// empty, no two are less than [`GAP_MIN`] apart. They stand in the order in which they were
    /// asked for.
    Many(Box<[Range<u64>]>),
    /// Nothing of what is asked for exists: 416, with [`ContentRange::Unsatisfied`].
    Unsatisfiable,
}

/// Selects from a representation of `len` bytes what the fields `Range` and `If-Range` ask for.
#[must_use]
pub fn select(
    range: Field<'_>,
    if_range: Field<'_>,
    validators: &Validators<'_>,
    len: u64,
) -> Selection {
    // Of nothing there are no ranges, not even by 416: section 14.2 allows to ignore them.
    if range.is_absent() || len == 0 || !if_range_holds(if_range, validators) {
        return Selection::Whole;
    }
    range.single().and_then(|value| selected(value, len)).unwrap_or(Selection::Whole)
}

/// What a `Range` field asks for; `None` if it is malformed or asks for too much.
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

/// One range as it is asked for (RFC 9110 section 14.1.2). Numbers past `u64` are its maximum,
/// which is past the end of any file.
enum Spec {
    /// `first-last` or `first-`, both inclusive.
    From { first: u64, last: u64 },
    /// `-count`: so many bytes at the end.
    Suffix { count: u64 },
}

impl Spec {
    /// `None` if it is malformed, which makes the whole field so (section 14.1.1).
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

    /// What there is of it in `len` bytes, if anything.
    fn within(&self, len: u64) -> Option<Range<u64>> {
        let range = match *self {
            Self::From { first, last } => first..last.saturating_add(1).min(len),
            Self::Suffix { count } => len.saturating_sub(count)..len,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// `1*DIGIT`, or the greatest number if it is too large for one.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        Some(value.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// Compares digits of any number.
fn is_greater(left: &[u8], right: &[u8]) -> bool {
    let significant = |digits: &[u8]| digits.iter().take_while(|byte| **byte == b'0').count();
    let (left, right) = (&left[significant(left)..], &right[significant(right)..]);
    (left.len(), left) > (right.len(), right)
}

/// Ranges that are at least [`GAP_MIN`] apart, in the order of their first appearance.
struct Apart {
    ranges: [Range<u64>; SPECS_MAX],
    count: usize,
}

impl Apart {
    const NONE: Self = Self { ranges: [const { 0..0 }; SPECS_MAX], count: 0 };

    fn as_slice(&self) -> &[Range<u64>] {
        &self.ranges[..self.count]
    }

    /// Adds a range, joined with those that it comes near to. One pass is enough: what is near to
    /// the joined range but not to the added one would be near to one of those that are apart.
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

/// Whether two ranges overlap or have less than [`GAP_MIN`] bytes between them.
fn is_near(left: &Range<u64>, right: &Range<u64>) -> bool {
    let gap = left.start.max(right.start).saturating_sub(left.end.min(right.end));
    gap < GAP_MIN
}

/// The value of `Content-Range` (RFC 9110 section 14.4), by its `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// The bytes that are sent, which are not none, and how many there are.
    Satisfied(Range<u64>, u64),
    /// How many bytes there are, for an answer with 416.
    Unsatisfied(u64),
}

impl fmt::Display for ContentRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Satisfied(range, len) => {
                let last = range.end.saturating_sub(1);
                write!(formatter, "bytes {}-{last}/{len}", range.start)
            }
            Self::Unsatisfied(len) => write!(formatter, "bytes */{len}"),
        }
    }
}
