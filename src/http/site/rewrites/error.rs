//! Why a rule for paths is refused, and what to do about it.

use std::fmt;

use super::limits::{LITERALS_MAX, PATTERNS_MAX, PLACEHOLDERS_MAX};
use super::limits::{REDIRECT_STATUSES, REWRITE_STATUSES};

/// Why a rule for paths cannot be used. The text names the cause and the remedy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PathRuleError {
    /// The pattern does not begin with a slash.
    FromWithoutSlash,
    /// The pattern or the destination is longer than its limit.
    TooLong {
        /// Which of them.
        part: RulePart,
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// The pattern has an empty segment.
    EmptySegment(RulePart),
    /// The pattern has a segment that no resolved path has.
    DotSegment(RulePart),
    /// The pattern has a query or a fragment.
    FromWithQuery,
    /// An asterisk that is not the whole last segment of the pattern.
    MisplacedSplat,
    /// A name that is no name.
    MalformedName(String),
    /// A name twice in the pattern.
    RepeatedName(String),
    /// More names than the limit.
    TooManyNames,
    /// `%` without two hexadecimal digits, or an encoded slash or NUL byte.
    MalformedEncoding(RulePart),
    /// A character that an address cannot have.
    ForbiddenCharacter(char),
    /// The destination is neither a path nor a full address.
    MalformedTo,
    /// The host of the destination is missing, or has other characters than a host.
    MalformedHost,
    /// The destination has a name that the pattern does not have.
    UnknownName(String),
    /// The destination leads above the root, or to a hidden name.
    Unserved,
    /// A rewrite to another server.
    Proxy,
    /// The destination of a rewrite has a fragment.
    Fragment,
    /// The status is not one of a redirect.
    RedirectStatus(u16),
    /// The status is not one of a rewrite.
    RewriteStatus(u16),
    /// The rule applies to its own destination.
    LeadsToItself,
    /// `navigations` with another status than 200.
    NavigationsOfError,
    /// More rules without placeholders than the limit.
    TooManyLiterals,
    /// More rules with placeholders than the limit.
    TooManyPatterns,
}

/// A part of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RulePart {
    /// The pattern.
    From,
    /// The destination.
    To,
}

impl fmt::Display for RulePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::From => "`from`",
            Self::To => "`to`",
        })
    }
}

impl fmt::Display for PathRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromWithoutSlash => {
                f.write_str("`from` is a path and begins with a slash, as in /old/*")
            }
            Self::TooLong { part, bytes_max } => {
                write!(f, "{part} has at most {bytes_max} bytes; shorten it")
            }
            Self::EmptySegment(part) => {
                write!(f, "{part} has two slashes in a row; write one, since paths have one")
            }
            Self::DotSegment(part) => {
                write!(f, "{part} has a segment . or ..; write the path without it")
            }
            Self::FromWithQuery => {
                f.write_str("`from` is a path without query and fragment; leave them out")
            }
            Self::MisplacedSplat => f.write_str(
                "an asterisk is the whole last segment, as in /old/*; write :name for one segment",
            ),
            Self::MalformedName(name) => write!(
                f,
                ":{name} is no name; a name is a whole segment, begins with a letter, and has \
                 letters, digits and underscores; a colon is written %3A"
            ),
            Self::RepeatedName(name) => {
                write!(f, "`from` has :{name} twice; choose another name for one of them")
            }
            Self::TooManyNames => write!(f, "`from` has at most {PLACEHOLDERS_MAX} names"),
            Self::MalformedEncoding(part) => write!(
                f,
                "{part} has a % without two hexadecimal digits, or an encoded slash; a percent \
                 sign is written %25"
            ),
            Self::ForbiddenCharacter(character) => {
                write!(f, "`to` has the character {character:?}; write it with % and two digits")
            }
            other => other.write_about_destination(f),
        }
    }
}

impl PathRuleError {
    /// Writes what is wrong with the destination, or with the rule as a whole.
    fn write_about_destination(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedTo => f.write_str(
                "`to` is a path with one slash at its beginning, as in /new, or an address, as in \
                 https://example.com/new",
            ),
            Self::MalformedHost => f.write_str(
                "the host of `to` is written out, without a placeholder, as in \
                 https://example.com/:splat",
            ),
            Self::UnknownName(name) => write!(
                f,
                "`to` has :{name}, which `from` does not have; :splat stands for what * matches, \
                 and a colon is written %3A"
            ),
            Self::Unserved => f.write_str(
                "`to` leads above the root or to a name that begins with a dot, which is not \
                 served; choose another path",
            ),
            Self::Proxy => f.write_str(
                "ringd is no proxy: a rewrite serves a file of the site; write a path, or make it \
                 a redirect",
            ),
            Self::Fragment => {
                f.write_str("a file has no fragment; leave out what begins with the #")
            }
            Self::RedirectStatus(status) => {
                write!(f, "a redirect cannot have the status {status}; ")?;
                one_of(f, &REDIRECT_STATUSES)
            }
            Self::RewriteStatus(status) => {
                write!(f, "a rewrite cannot have the status {status}; ")?;
                one_of(f, &REWRITE_STATUSES)
            }
            Self::LeadsToItself => f.write_str(
                "the rule leads to itself: `from` matches the path in `to`; change one of them",
            ),
            Self::NavigationsOfError => {
                f.write_str("`navigations` is about rewrites with the status 200; leave it out")
            }
            Self::TooManyLiterals => write!(
                f,
                "a site has at most {LITERALS_MAX} rules without placeholders; merge some by \
                 :name or *"
            ),
            Self::TooManyPatterns => write!(
                f,
                "a site has at most {PATTERNS_MAX} rules with :name or *; write paths in full, of \
                 which there may be {LITERALS_MAX}"
            ),
            Self::FromWithoutSlash
            | Self::TooLong { .. }
            | Self::EmptySegment(_)
            | Self::DotSegment(_)
            | Self::FromWithQuery
            | Self::MisplacedSplat
            | Self::MalformedName(_)
            | Self::RepeatedName(_)
            | Self::TooManyNames
            | Self::MalformedEncoding(_)
            | Self::ForbiddenCharacter(_) => unreachable!("`fmt` has written it"),
        }
    }
}

/// Lists the statuses that are allowed.
fn one_of(f: &mut fmt::Formatter<'_>, statuses: &[u16]) -> fmt::Result {
    let statuses: Vec<String> = statuses.iter().map(u16::to_string).collect();
    write!(f, "write one of {}", statuses.join(", "))
}

impl std::error::Error for PathRuleError {}
