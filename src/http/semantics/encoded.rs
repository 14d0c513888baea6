//! Files that are compressed by name: `logo.svgz`, `game.js.gz`, `game.wasm.br`. A request for such
//! a name gets the file with `Content-Encoding`, and the type of what is in it.
//!
//! There is no other form of the file. So it is sent to all clients, also to one that does not
//! accept the coding: RFC 9110 section 12.5.3 allows that, and such a client could do nothing with
//! an error either. The response does not depend on `Accept-Encoding`, so it has no `Vary`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::http::semantics::file_names::{NamePattern, NameTable, PatternError};
use crate::http::semantics::mime::Types;
use crate::http::semantics::negotiate::Coding;

/// How many rules a site may have.
pub const ENCODED_MAX: usize = 256;

/// Files of this ending are compressed: their type has no other meaning (SVG 1.1 section 1.2).
const SVGZ: &[u8] = b".svgz";

/// A rule that gives names a coding, in the form `NAME=CODING`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedName {
    pattern: NamePattern,
    /// `None` if the files are not compressed, whatever other rules say.
    coding: Option<Coding>,
}

/// Why a rule is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EncodedError {
    /// There is no equals sign.
    NoEqualsSign,
    /// The pattern is malformed.
    Pattern(PatternError),
    /// There is no such coding.
    UnknownCoding,
    /// There are more than [`ENCODED_MAX`] rules.
    TooMany,
}

impl fmt::Display for EncodedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORM: &str = "write NAME=CODING, as in *.js.gz=gzip";
        match self {
            Self::NoEqualsSign => write!(f, "there is no equals sign; {FORM}"),
            Self::Pattern(error) => error.fmt(f),
            Self::UnknownCoding => {
                write!(f, "the coding must be gzip, br, zstd, or identity for none; {FORM}")
            }
            Self::TooMany => write!(f, "there may be {ENCODED_MAX} codings; leave some out"),
        }
    }
}

impl std::error::Error for EncodedError {}

impl EncodedName {
    /// Gives names that match a pattern a coding; `identity` stands for none.
    ///
    /// # Errors
    ///
    /// When the pattern is malformed, or there is no such coding.
    pub fn new(pattern: &str, coding: &str) -> Result<Self, EncodedError> {
        let pattern = NamePattern::new(pattern).map_err(EncodedError::Pattern)?;
        let known = || Coding::ALL.into_iter().find(|known| known.name() == coding);
        let coding = match coding {
            "identity" => None,
            _ => Some(known().ok_or(EncodedError::UnknownCoding)?),
        };
        Ok(Self { pattern, coding })
    }
}

impl FromStr for EncodedName {
    type Err = EncodedError;

    fn from_str(text: &str) -> Result<Self, EncodedError> {
        let (pattern, coding) = text.split_once('=').ok_or(EncodedError::NoEqualsSign)?;
        Self::new(pattern, coding)
    }
}

/// Which files of a site are compressed by name. By default those that end in `.svgz`. Clones share
/// the rules.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EncodedNames {
    table: NameTable<Option<Coding>>,
}

impl EncodedNames {
    /// Files by rules, whose precedence is that of patterns (`file_names.rs`).
    ///
    /// # Errors
    ///
    /// If there are more than [`ENCODED_MAX`] rules.
    pub fn new(rules: Vec<EncodedName>) -> Result<Self, EncodedError> {
        if rules.len() > ENCODED_MAX {
            return Err(EncodedError::TooMany);
        }
        let entries = rules.into_iter().map(|rule| (rule.pattern, rule.coding)).collect();
        Ok(Self { table: NameTable::new(entries) })
    }

    /// The coding of a file of this name or path, by its name alone.
    pub fn coding(&self, path: &[u8]) -> Option<Coding> {
        match self.table.get(path) {
            Some(coding) => *coding,
            None => {
                let start = path.len().checked_sub(SVGZ.len())?;
                path[start..].eq_ignore_ascii_case(SVGZ).then_some(Coding::Gzip)
            }
        }
    }

    /// The value of `Content-Type` for a file of this path: that of its name without the suffix of
    /// its coding.
    pub fn content_type<'t>(&self, types: &'t Types, path: &[u8]) -> Cow<'t, str> {
        let plain = self.coding(path).and_then(|coding| {
            let start = path.len().checked_sub(coding.suffix().len())?;
            let (plain, suffix) = path.split_at(start);
            let is_it = suffix.eq_ignore_ascii_case(coding.suffix().as_bytes());
            (is_it && !matches!(plain.last(), None | Some(b'/'))).then_some(plain)
        });
        types.content_type(plain.unwrap_or(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_coding_and_the_type_of_their_content() {
        let rules = ["*.{js,wasm,data}.gz=gzip", "*.br=br", "js.zst=zstd", "plain.svgz=identity"];
        let rules = rules.map(|rule| rule.parse().unwrap()).to_vec();
        let names = EncodedNames::new(rules).unwrap();
        let types = Types::new(vec!["data=application/x-data".parse().unwrap()]).unwrap();
        for (path, coding, content_type) in [
            ("Build/game.js.gz", Some(Coding::Gzip), "text/javascript; charset=utf-8"),
            ("game.wasm.gz", Some(Coding::Gzip), "application/wasm"),
            ("game.wasm.br", Some(Coding::Brotli), "application/wasm"),
            ("game.data.gz", Some(Coding::Gzip), "application/x-data"),
            ("game.js.ZST", Some(Coding::Zstd), "text/javascript; charset=utf-8"),
            ("logo.svgz", Some(Coding::Gzip), "image/svg+xml"),
            ("x/LOGO.SVGZ", Some(Coding::Gzip), "image/svg+xml"),
            ("plain.svgz", None, "image/svg+xml"),
            ("game.js", None, "text/javascript; charset=utf-8"),
            ("x.tar.gz", None, "application/gzip"),
            ("x.zst", None, "application/zstd"),
            ("x/.br", Some(Coding::Brotli), "application/octet-stream"),
        ] {
            assert_eq!(names.coding(path.as_bytes()), coding, "{path}");
            assert_eq!(names.content_type(&types, path.as_bytes()), content_type, "{path}");
        }
        assert_eq!(EncodedNames::default().coding(b"a.js.gz"), None);
        assert_eq!(EncodedNames::default().coding(b"a.svgz"), Some(Coding::Gzip));
    }

    #[test]
    fn mistakes_name_the_remedy() {
        for (text, expected) in [
            ("*.gz", "equals sign"),
            ("=gzip", "empty part"),
            ("a/b=gzip", "slash"),
            ("*.gz=deflate", "gzip, br, zstd"),
            ("*.gz=", "gzip, br, zstd"),
        ] {
            let error = text.parse::<EncodedName>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let many = vec!["a=gzip".parse().unwrap(); ENCODED_MAX + 1];
        assert_eq!(EncodedNames::new(many), Err(EncodedError::TooMany));
    }
}
