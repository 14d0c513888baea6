//! Globs that choose files by their paths. They are written as those of rules (`rules.rs`).

use std::sync::Arc;

use globset::{Candidate, GlobSet};

use super::rules::{RULES_MAX, RuleError, RuleForm, anchored};

/// Globs of paths. Clones share them.
#[derive(Clone, Debug)]
pub struct FileGlobs {
    given: Arc<[String]>,
    set: GlobSet,
}

impl PartialEq for FileGlobs {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl FileGlobs {
    /// Globs of which a file has to match one.
    ///
    /// # Errors
    ///
    /// When a glob is malformed, or there are too many.
    pub fn new(globs: &[String]) -> Result<Self, RuleError> {
        if globs.len() > RULES_MAX {
            return Err(RuleError::TooMany { rules_max: RULES_MAX });
        }
        let built: Result<Vec<_>, _> =
            globs.iter().map(|glob| anchored(glob, RuleForm::Files)).collect();
        let set = GlobSet::new(built?).map_err(RuleError::GlobsTooComplex)?;
        Ok(Self { given: globs.into(), set })
    }

    /// Whether a path, which is relative to the root, matches a glob.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.set.is_match_candidate(&Candidate::from_bytes(&[b"/", path].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(globs: &[&str]) -> Result<FileGlobs, RuleError> {
        FileGlobs::new(&globs.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn globs_match_as_those_of_rules() {
        let files = globs(&["/assets/**", "*.js"]).unwrap();
        for (path, is_one) in [
            ("assets/a.css", true),
            ("assets/b/a.css", true),
            ("b/assets/a.css", false),
            ("a.js", true),
            ("b/a.js", true),
            ("a.html", false),
        ] {
            assert_eq!(files.matches(path.as_bytes()), is_one, "{path}");
        }
        assert!(!globs(&[]).unwrap().matches(b"a"));
        assert!(globs(&["a"]).unwrap() == globs(&["a"]).unwrap());
        assert!(globs(&["a"]).unwrap() != globs(&["b"]).unwrap());
    }

    #[test]
    fn mistakes_are_named() {
        for (glob, expected) in [("", "/assets/**"), ("{a", "malformed")] {
            let error = globs(&[glob]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(globs(&["a"; RULES_MAX + 1]).is_err());
    }
}
