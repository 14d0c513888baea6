//! Validators: what tells one state of a representation from another (RFC 9110 section 8.8).
//!
//! An entity tag is read byte by byte and never split at commas first, because its opaque part
//! may have commas in it. [`list`] reads lists of them.

use std::fmt;

use crate::http::semantics::field::Field;

#[cfg(test)]
mod tests;

/// What is known of the state of the representation that would be sent.
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
    /// Seconds since the epoch, as they are sent: a later change within the second is not seen.
    pub seconds: u64,
    /// Whether there cannot have been a change since that has the same date (RFC 9110 section
    /// 8.8.2.2). The caller knows, from the age of the file.
    pub is_strong: bool,
}

/// An entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    opaque: &'a [u8],
    is_weak: bool,
}

impl<'a> EntityTag<'a> {
    /// Reads an entity tag and nothing else: `"opaque"` or `W/"opaque"`.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::split(text)?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the entity tag that `text` begins with, and returns what follows it.
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

    /// What stands between the quotes.
    #[must_use]
    pub const fn opaque(&self) -> &'a [u8] {
        self.opaque
    }

    /// Whether the tag promises the same meaning only, and not the same bytes.
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
    /// As it stands in a field, save that bytes outside of UTF-8 are replaced.
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
    /// `*`, which stands for any tag if it stands alone.
    Any,
    /// Anything else, up to the comma that ends it.
    Malformed,
}

/// The members of a list of entity tags, over all lines of the field. Empty ones do not count.
pub fn list<'a>(field: Field<'a>) -> impl Iterator<Item = Member<'a>> {
    field.values().flat_map(|value| Members { rest: value })
}

/// What is left of one line of a list.
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
