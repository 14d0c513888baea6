//! Conditional requests: whether to do what a request asks, given what the client knows already
//! (RFC 9110 section 13).
//!
//! [`judge`] is for GET and HEAD of a representation that exists and would be answered with 200;
//! with any other status, conditions do not count (section 13.2.1). The fields are evaluated in
//! the order of section 13.2.2. Its last step, `If-Range`, belongs to [`range`](super::range).
//!
//! Doubt ends where it costs least. In `If-None-Match` a malformed member is passed over, so that
//! at worst the client gets what it has. A malformed `If-Match` matches nothing, so that a client
//! that wants one state only does not get another. Dates that are none are ignored, as the RFC has
//! it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::semantics::date::parse_date;
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::{EntityTag, Member, Validators, list};

mod laws;
#[cfg(test)]
mod tests;

pub use laws::fuzz_condition;

/// The fields of a request that make it conditional, save `If-Range`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// `If-Match`
    pub if_match: Field<'a>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Field<'a>,
    /// `If-None-Match`
    pub if_none_match: Field<'a>,
    /// `If-Modified-Since`
    pub if_modified_since: Field<'a>,
}

impl Conditions<'_> {
    /// Whether the request has none.
    #[must_use]
    pub const fn are_absent(&self) -> bool {
        self.if_match.is_absent()
            && self.if_unmodified_since.is_absent()
            && self.if_none_match.is_absent()
            && self.if_modified_since.is_absent()
    }
}

/// What the conditions of a request lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were no conditions.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// It is not what the client wants: 412.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD request (RFC 9110 section 13.2.2).
#[must_use]
pub fn judge(conditions: &Conditions<'_>, validators: &Validators<'_>, now: SystemTime) -> Verdict {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let date = |field: Field<'_>| field.single().and_then(|value| parse_date(value, now));
    let modified = validators.modified.map(|modified| modified.seconds);
    // Without a date of the representation, fields with dates are ignored (13.1.3, 13.1.4).
    let unmodified_since = |date| modified.is_none_or(|modified| modified <= date);

    let goes_on = if conditions.if_match.is_absent() {
        date(conditions.if_unmodified_since).is_none_or(unmodified_since)
    } else {
        matches_strongly(conditions.if_match, validators.tag)
    };
    if !goes_on {
        return Verdict::Failed;
    }
    let has_it = if conditions.if_none_match.is_absent() {
        // A date that is still to come cannot be one that this server has sent.
        let date = date(conditions.if_modified_since).filter(|&date| date <= now);
        date.zip(modified).is_some_and(|(date, modified)| modified <= date)
    } else {
        matches_weakly(conditions.if_none_match, validators.tag)
    };
    if has_it { Verdict::NotModified } else { Verdict::Proceed }
}

/// `If-Match` (RFC 9110 section 13.1.1).
fn matches_strongly(field: Field<'_>, tag: Option<EntityTag<'_>>) -> bool {
    let same = |member| match (member, tag) {
        (Member::Tag(member), Some(tag)) => tag.matches_strongly(&member),
        _ => false,
    };
    let is_list = || list(field).all(|member| matches!(member, Member::Tag(_)));
    is_any(field) || (list(field).any(same) && is_list())
}

/// `If-None-Match` (RFC 9110 section 13.1.2).
fn matches_weakly(field: Field<'_>, tag: Option<EntityTag<'_>>) -> bool {
    let same = |member| match (member, tag) {
        (Member::Tag(member), Some(tag)) => tag.matches_weakly(&member),
        _ => false,
    };
    is_any(field) || list(field).any(same)
}

/// Whether the field is `*`. Among tags it is only malformed.
fn is_any(field: Field<'_>) -> bool {
    let mut members = list(field);
    members.next() == Some(Member::Any) && members.next().is_none()
}

/// `If-Range`: whether the ranges of a request still belong to the state that the client knows
/// (RFC 9110 section 13.1.5). It holds if the field is absent, and not if it is malformed.
///
/// Both kinds of validator must be strong here, since parts of two states would be joined.
#[must_use]
pub fn if_range_holds(if_range: Field<'_>, validators: &Validators<'_>) -> bool {
    if if_range.is_absent() {
        return true;
    }
    let Some(value) = if_range.single() else { return false };
    if let Some(known) = EntityTag::parse(value) {
        return validators.tag.is_some_and(|tag| tag.matches_strongly(&known));
    }
    // There is one date that it can be equal to. That gives a two-digit year its century, too.
    validators.modified.is_some_and(|modified| {
        modified.is_strong && parse_date(value, modified.seconds) == Some(modified.seconds)
    })
}
