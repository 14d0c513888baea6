//! Patterns of file names, and what the name of a file gets by them.
//!
//! | pattern | matches |
//! | --- | --- |
//! | `*.min.js`, `LICENSE*` | names by a glob |
//! | `gltf`, `tar.gz` | names that end in `.gltf`, and a file of just this name |
//! | `.gltf` | names that end in `.gltf` |
//!
//! A whole name takes precedence over globs, and globs over endings. Of several globs the last one
//! that matches applies; of endings the longest one, and of equal ones the last one. Letters match
//! in either case, except in whole names and globs: names of files are case-sensitive.

use std::fmt;
use std::sync::Arc;

use globset::{Candidate, GlobBuilder, GlobMatcher};

/// How long a pattern may be, in bytes: as long as the name of a file.
pub const PATTERN_BYTES_MAX: usize = 255;

/// A pattern; see the module documentation.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: Box<str>,
    /// The ending in lower case, with its dot, if it is no glob.
    ending: Box<str>,
    glob: Option<Arc<GlobMatcher>>,
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

/// Why a pattern is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PatternError {
    /// It has a slash, a NUL or an empty part.
    Malformed,
    /// It violates the grammar of globs.
    MalformedGlob(globset::ErrorKind),
    /// It is longer than [`PATTERN_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str(
                "the name contains a slash or an empty part; write an ending such as gltf, a name \
                 such as LICENSE, or a glob of names such as *.min.js",
            ),
            Self::MalformedGlob(cause) => write!(
                f,
                "the glob is malformed: {cause}; write a glob of names, as in *.min.js or LICENSE*"
            ),
            Self::TooLong => {
                write!(f, "a name or glob has at most {PATTERN_BYTES_MAX} bytes; shorten it")
            }
        }
    }
}

impl std::error::Error for PatternError {}

impl NamePattern {
    /// A pattern from its text.
    ///
    /// # Errors
    ///
    /// When the text is malformed or too long.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        if text.is_empty() || text.contains(['/', '\0']) {
            return Err(PatternError::Malformed);
        }
        if text.contains(['*', '?', '[', '{']) {
            let glob = GlobBuilder::new(text).build();
            let glob = glob.map_err(|error| PatternError::MalformedGlob(error.kind().clone()))?;
            let glob = Some(Arc::new(glob.compile_matcher()));
            return Ok(Self { text: text.into(), ending: "".into(), glob });
        }
        let ending = text.strip_prefix('.').unwrap_or(text);
        if ending.split('.').any(str::is_empty) {
            return Err(PatternError::Malformed);
        }
        let ending = format!(".{}", ending.to_ascii_lowercase());
        Ok(Self { text: text.into(), ending: ending.into(), glob: None })
    }

    fn is_name(&self, name: &[u8]) -> bool {
        self.glob.is_none() && self.text.as_bytes() == name
    }

    fn is_glob_of(&self, name: &Candidate<'_>) -> bool {
        self.glob.as_ref().is_some_and(|glob| glob.is_match_candidate(name))
    }

    fn is_ending_of(&self, name: &[u8]) -> bool {
        let start = name.len().checked_sub(self.ending.len());
        let ends = |start: usize| name[start..].eq_ignore_ascii_case(self.ending.as_bytes());
        self.glob.is_none() && start.is_some_and(ends)
    }
}

/// A table from patterns to values. Clones share it.
#[derive(Clone, PartialEq, Debug)]
pub struct NameTable<T> {
    /// The globs, then the others; of each kind, what takes precedence comes first.
    entries: Arc<[(NamePattern, T)]>,
    globs: usize,
}

impl<T> Default for NameTable<T> {
    fn default() -> Self {
        Self { entries: Arc::from(Vec::new()), globs: 0 }
    }
}

impl<T> NameTable<T> {
    /// A table of patterns in the order in which they were given.
    pub fn new(mut entries: Vec<(NamePattern, T)>) -> Self {
        // The sort is stable, so of equal endings the last one given comes first.
        entries.reverse();
        let rank = |(pattern, _): &(NamePattern, T)| (pattern.glob.is_none(), pattern.ending.len());
        entries.sort_by_key(|entry| {
            let (is_plain, len) = rank(entry);
            (is_plain, std::cmp::Reverse(len))
        });
        let globs = entries.iter().filter(|(pattern, _)| pattern.glob.is_some()).count();
        Self { entries: entries.into(), globs }
    }

    /// The value for a file of this name or path.
    pub fn get(&self, path: &[u8]) -> Option<&T> {
        if self.entries.is_empty() {
            return None;
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let (globs, others) = self.entries.split_at(self.globs);
        let by_name = others.iter().find(|(pattern, _)| pattern.is_name(name));
        let by_glob = || {
            let candidate = (!globs.is_empty()).then(|| Candidate::from_bytes(name))?;
            globs.iter().find(|(pattern, _)| pattern.is_glob_of(&candidate))
        };
        let by_ending = || others.iter().find(|(pattern, _)| pattern.is_ending_of(name));
        by_name.or_else(by_glob).or_else(by_ending).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> NameTable<usize> {
        let pattern = |(at, text): (usize, &&str)| (NamePattern::new(text).unwrap(), at);
        NameTable::new(patterns.iter().enumerate().map(pattern).collect())
    }

    #[test]
    fn names_precede_globs_and_those_endings() {
        let patterns =
            ["js", "min.js", "*.min.js", "app*", "app.min.js", "LICENSE*", ".bare", "gz", "tar.gz"];
        let table = table(&patterns);
        for (path, expected) in [
            ("a.js", Some("js")),
            ("a.JS", Some("js")),
            // The whole name is that of an ending, too.
            ("js", Some("js")),
            ("min.js", Some("min.js")),
            ("b.min.js", Some("*.min.js")),
            // Whole names and globs are case-sensitive.
            ("b.MIN.js", Some("min.js")),
            ("application.js", Some("app*")),
            // Of globs, the last one that matches.
            ("apple.min.js", Some("app*")),
            ("x/app.min.js", Some("app.min.js")),
            ("LICENSE", Some("LICENSE*")),
            ("x/LICENSE-MIT", Some("LICENSE*")),
            ("license", None),
            ("bare", None),
            ("a.bare", Some(".bare")),
            (".bare", Some(".bare")),
            ("x.tar.gz", Some("tar.gz")),
            ("x.gz", Some("gz")),
            // Globs are of names, not of paths.
            ("app/b.css", None),
            ("", None),
        ] {
            let found = table.get(path.as_bytes()).map(|at| patterns[*at]);
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(NameTable::<()>::default().get(b"a"), None);
    }

    #[test]
    fn the_last_of_equal_patterns_applies() {
        for pattern in ["js", "*.js", "a.js"] {
            assert_eq!(table(&[pattern, pattern, "css"]).get(b"a.js"), Some(&1), "{pattern}");
        }
    }

    #[test]
    fn mistakes_name_the_remedy() {
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        for (text, expected) in [
            ("", "empty part"),
            (".", "empty part"),
            ("a..b", "empty part"),
            ("a/*.js", "slash"),
            ("a\0", "slash"),
            ("{a", "glob is malformed"),
            ("[", "glob is malformed"),
            (&*long, "shorten it"),
        ] {
            let error = NamePattern::new(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
