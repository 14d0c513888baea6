//! Validators: entity tags and modification dates (RFC 9110 section 8.8).
//!
//! [`list`] parses lists of entity tags. It does not split at commas first, because the opaque part
//! of a tag may contain commas.

use std::fmt;

use crate::http::semantics::field::Field;

#[cfg(test)]
mod tests;

/// The validators of a representation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validators<'a> {
    /// The value of `ETag`.
    pub tag: Option<EntityTag<'a>>,
    /// The value of `Last-Modified`.
    pub modified: Option<Modified>,
}

/// When a representation was last modified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modified {
    /// Whole seconds since the epoch, as in the field.
    pub seconds: u64,
    /// Whether the date is a strong validator: the file cannot have changed again within the same
    /// second (RFC 9110 section 8.8.2.2). The caller decides that by the age of the file.
    pub is_strong: bool,
}

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    opaque: &'a [u8],
    is_weak: bool,
}

impl<'a> EntityTag<'a> {
    /// Parses text that is exactly one entity tag: `"opaque"` or `W/"opaque"`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::split(text)?;
        rest.is_empty().then_some(tag)
    }

    /// Parses the entity tag at the start of `text`, and also returns the text after it.
    fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (is_weak, quoted) = match text.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let inner = quoted.strip_prefix(b"\"")?;
        let is_opaque = |byte: u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        let len = inner.iter().position(|&byte| !is_opaque(byte))?;
        let (opaque, rest) = inner.split_at(len);
        Some((Self { opaque, is_weak }, rest.strip_prefix(b"\"")?))
    }

    /// The text between the quotes.
    #[must_use]
    pub const fn opaque(&self) -> &'a [u8] {
        self.opaque
    }

    /// Whether the tag is weak: equal tags mean equivalent content, but perhaps different bytes.
    #[must_use]
    pub const fn is_weak(&self) -> bool {
        self.is_weak
    }

    /// The strong comparison (RFC 9110 section 8.8.3.2): a weak tag matches nothing.
    #[must_use]
    pub fn matches_strongly(&self, other: &EntityTag<'_>) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// The weak comparison (RFC 9110 section 8.8.3.2).
    #[must_use]
    pub fn matches_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

impl fmt::Display for EntityTag<'_> {
    /// Formats the tag as in a field, but replaces bytes that are not UTF-8.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weak = if self.is_weak { "W/" } else { "" };
        write!(formatter, "{weak}\"{}\"", String::from_utf8_lossy(self.opaque))
    }
}

/// A member of a list of entity tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// An entity tag.
    Tag(EntityTag<'a>),
    /// `*`, which matches any tag if it is the only member.
    Any,
    /// Other text, up to the next comma.
    Malformed,
}

/// The members of a list of entity tags, from all lines of the field, without empty members.
pub fn list<'a>(field: Field<'a>) -> impl Iterator<Item = Member<'a>> {
    field.values().flat_map(|value| Members { rest: value })
}

/// The rest of one line of a list.
struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let is_between = |byte: u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.rest.iter().position(|&byte| !is_between(byte))?;
        let text = &self.rest[start..];
        let (member, after) = match (EntityTag::split(text), text) {
            (Some((tag, after)), _) => (Member::Tag(tag), after),
            (None, [b'*', after @ ..]) => (Member::Any, after),
            (None, _) => (Member::Malformed, text),
        };
        let end = memchr::memchr(b',', after).unwrap_or(after.len());
        let (junk, rest) = after.split_at(end);
        self.rest = rest;
        Some(if junk.trim_ascii().is_empty() { member } else { Member::Malformed })
    }
}
