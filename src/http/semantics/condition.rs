//! Conditional requests (RFC 9110 section 13).
//!
//! [`judge`] is for a GET or HEAD request whose response would be 200 without conditions; with any
//! other status, conditions are ignored (section 13.2.1). It evaluates the fields in the order of
//! section 13.2.2. The last step of that order, `If-Range`, is [`if_range_holds`], which
//! [`range`](super::range) calls.
//!
//! Malformed fields have the effect that costs the client least. `If-None-Match` ignores malformed
//! members, so the client at worst receives a representation that it already has. A malformed
//! `If-Match` does not match, so the client does not receive a state that it excluded. Malformed
//! dates are ignored, as the RFC requires.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::semantics::date::parse_date;
use crate::http::semantics::field::Field;
use crate::http::semantics::validator::{EntityTag, Member, Validators, list};

#[cfg(any(test, feature = "simulation"))]
mod laws;
#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "simulation"))]
pub use laws::fuzz_condition;

/// The fields that make a request conditional, except `If-Range`.
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
    /// None of them.
    pub const ABSENT: Self = Self {
        if_match: Field::ABSENT,
        if_unmodified_since: Field::ABSENT,
        if_none_match: Field::ABSENT,
        if_modified_since: Field::ABSENT,
    };

    /// Whether the request has none of these fields.
    #[must_use]
    pub const fn are_absent(&self) -> bool {
        self.if_match.is_absent()
            && self.if_unmodified_since.is_absent()
            && self.if_none_match.is_absent()
            && self.if_modified_since.is_absent()
    }
}

/// The result of evaluating the conditions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Respond as if there were no conditions.
    Proceed,
    /// Respond with 304: the client has this state already.
    NotModified,
    /// Respond with 412: the representation is not in a state that the client accepts.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD request (RFC 9110 section 13.2.2).
#[must_use]
pub fn judge(conditions: &Conditions<'_>, validators: &Validators<'_>, now: SystemTime) -> Verdict {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let date = |field: Field<'_>| field.single().and_then(|value| parse_date(value, now));
    let modified = validators.modified.map(|modified| modified.seconds);
    // If the modification date is unknown, fields with dates are ignored (13.1.3, 13.1.4).
    let unmodified_since = |date| modified.is_none_or(|modified| modified <= date);

    let precondition_holds = if conditions.if_match.is_absent() {
        date(conditions.if_unmodified_since).is_none_or(unmodified_since)
    } else {
        matches_strongly(conditions.if_match, validators.tag)
    };
    if !precondition_holds {
        return Verdict::Failed;
    }
    let client_is_current = if conditions.if_none_match.is_absent() {
        // A date in the future counts too: section 13.1.3 has no exception for it.
        let date = date(conditions.if_modified_since);
        date.zip(modified).is_some_and(|(date, modified)| modified <= date)
    } else {
        matches_weakly(conditions.if_none_match, validators.tag)
    };
    if client_is_current { Verdict::NotModified } else { Verdict::Proceed }
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
    is_any(field) || is_listed(field, tag)
}

/// Whether the tag of a representation is in a list of tags, such as `If-None-Match`.
#[must_use]
pub fn is_listed(field: Field<'_>, tag: Option<EntityTag<'_>>) -> bool {
    let is_it = |member| match (member, tag) {
        (Member::Tag(member), Some(tag)) => tag.matches_weakly(&member),
        _ => false,
    };
    list(field).any(is_it)
}

/// Whether the field is a single `*`. In a list with tags, `*` is malformed.
fn is_any(field: Field<'_>) -> bool {
    let mut members = list(field);
    members.next() == Some(Member::Any) && members.next().is_none()
}

/// `If-Range`: whether the representation is still in the state of which the client has parts
/// (RFC 9110 section 13.1.5). True if the field is absent, false if it is malformed.
///
/// Both tags and dates must be strong validators here, because the client would otherwise join
/// parts of two states.
#[must_use]
pub fn if_range_holds(if_range: Field<'_>, validators: &Validators<'_>) -> bool {
    if if_range.is_absent() {
        return true;
    }
    let Some(value) = if_range.single() else { return false };
    if let Some(known) = EntityTag::parse(value) {
        return validators.tag.is_some_and(|tag| tag.matches_strongly(&known));
    }
    // Only an equal date matches, so the known date also selects the century of a two-digit year.
    validators.modified.is_some_and(|modified| {
        modified.is_strong && parse_date(value, modified.seconds) == Some(modified.seconds)
    })
}
