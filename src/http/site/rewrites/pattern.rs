//! The pattern of a rule: which paths it matches, and what it captures.

use percent_encoding::percent_decode_str;

use super::error::{PathRuleError, RulePart};
use super::limits::{FROM_BYTES_MAX, PLACEHOLDERS_MAX};

/// The name of what an asterisk matches.
pub(super) const SPLAT: &str = "splat";

/// A pattern of paths; see [`super`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PathPattern {
    segments: Box<[PatternSegment]>,
    has_splat: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum PatternSegment {
    /// A decoded segment.
    Literal(Box<[u8]>),
    /// A placeholder, by its name.
    Any(Box<str>),
}

/// What the placeholders of a pattern have matched, in their order; that of the asterisk is last.
/// They are slices of a resolved path, so a placeholder is not empty and contains no slash.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Captures<'p> {
    values: Vec<&'p [u8]>,
}

impl<'p> Captures<'p> {
    /// What a placeholder has matched, by its number.
    pub(super) fn get(&self, number: usize) -> &'p [u8] {
        self.values.get(number).copied().unwrap_or_default()
    }
}

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// If it does not conform to the grammar.
    pub fn parse(text: &str) -> Result<Self, PathRuleError> {
        if text.len() > FROM_BYTES_MAX {
            let (part, bytes_max) = (RulePart::From, FROM_BYTES_MAX);
            return Err(PathRuleError::TooLong { part, bytes_max });
        }
        let path = text.strip_prefix('/').ok_or(PathRuleError::FromWithoutSlash)?;
        if path.contains(['?', '#']) {
            return Err(PathRuleError::FromWithQuery);
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let (mut segments, mut has_splat) = (Vec::new(), false);
        // The root has no segment, but splitting the empty text yields one.
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            match segment {
                _ if has_splat => return Err(PathRuleError::MisplacedSplat),
                "" => return Err(PathRuleError::EmptySegment(RulePart::From)),
                "*" => has_splat = true,
                _ => segments.push(PatternSegment::parse(segment)?),
            }
        }
        // `/a/*/` is no pattern: a slash at the end of a path makes no difference, and whoever
        // writes one means something else.
        if has_splat && text.ends_with('/') {
            return Err(PathRuleError::MisplacedSplat);
        }
        let pattern = Self { segments: segments.into(), has_splat };
        pattern.check_names()?;
        Ok(pattern)
    }

    fn check_names(&self) -> Result<(), PathRuleError> {
        let names: Vec<&str> = self.names().collect();
        if names.len() > PLACEHOLDERS_MAX {
            return Err(PathRuleError::TooManyNames);
        }
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(PathRuleError::RepeatedName((*name).to_owned()));
            }
            // Only the asterisk has this name.
            if *name == SPLAT {
                return Err(PathRuleError::MisplacedSplat);
            }
        }
        Ok(())
    }

    /// The names of the placeholders, in order, without that of the asterisk.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            PatternSegment::Any(name) => Some(&**name),
            PatternSegment::Literal(_) => None,
        })
    }

    /// The number of a name among the captures.
    pub(super) fn number_of(&self, name: &str) -> Option<usize> {
        if name == SPLAT {
            return self.has_splat.then(|| self.names().count());
        }
        self.names().position(|other| other == name)
    }

    /// Whether the pattern ends with an asterisk.
    pub(super) fn has_splat(&self) -> bool {
        self.has_splat
    }

    /// Whether the pattern has no placeholder, so it matches one path.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.has_splat && self.segments.iter().all(|segment| segment.literal().is_some())
    }

    /// The only path that the pattern matches, if it has no placeholder.
    pub(super) fn literal(&self) -> Option<Vec<u8>> {
        let literals: Option<Vec<&[u8]>> =
            self.segments.iter().map(PatternSegment::literal).collect();
        literals.filter(|_| !self.has_splat).map(|literals| literals.join(&b'/'))
    }

    /// The first segment of all paths that the pattern matches, if they have the same one.
    pub(super) fn first_literal(&self) -> Option<&[u8]> {
        self.segments.first().and_then(PatternSegment::literal)
    }

    /// What the placeholders match in a resolved path, which has no slash at either end. `None` if
    /// the pattern does not match.
    #[must_use]
    pub fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        let (mut values, mut rest) = (Vec::new(), path);
        for segment in &self.segments {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            let (value, tail) = rest.split_at(end);
            rest = tail.strip_prefix(b"/").unwrap_or(tail);
            match segment {
                PatternSegment::Literal(literal) if **literal != *value => return None,
                PatternSegment::Literal(_) => {}
                PatternSegment::Any(_) => values.push(value),
            }
        }
        if self.has_splat {
            values.push(rest);
        } else if !rest.is_empty() {
            return None;
        }
        Some(Captures { values })
    }
}

impl PatternSegment {
    fn parse(segment: &str) -> Result<Self, PathRuleError> {
        if let Some(name) = segment.strip_prefix(':') {
            return match is_name(name) {
                true => Ok(Self::Any(name.into())),
                false => Err(PathRuleError::MalformedName(name.to_owned())),
            };
        }
        if segment.contains('*') {
            return Err(PathRuleError::MisplacedSplat);
        }
        if !has_valid_encoding(segment) {
            return Err(PathRuleError::MalformedEncoding(RulePart::From));
        }
        let literal: Vec<u8> = percent_decode_str(segment).collect();
        match &literal[..] {
            b"." | b".." => Err(PathRuleError::DotSegment(RulePart::From)),
            other if other.contains(&b'/') || other.contains(&0) => {
                Err(PathRuleError::MalformedEncoding(RulePart::From))
            }
            _ => Ok(Self::Literal(literal.into())),
        }
    }

    fn literal(&self) -> Option<&[u8]> {
        match self {
            Self::Literal(literal) => Some(literal),
            Self::Any(_) => None,
        }
    }
}

/// Whether a text is the name of a placeholder.
fn is_name(text: &str) -> bool {
    name_len(text) == text.len() && !text.is_empty()
}

/// The length of the name with which a text begins; zero if it begins with none.
pub(super) fn name_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match bytes.first() {
        Some(first) if first.is_ascii_alphabetic() => {
            bytes.iter().position(|byte| !is_of_name(byte)).unwrap_or(bytes.len())
        }
        _ => 0,
    }
}

/// Whether two hexadecimal digits follow each percent sign.
pub(super) fn has_valid_encoding(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'%', bytes).all(|at| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}
