//! Which files are compressed: by default those of types that compress well, otherwise those that
//! globs name. Hidden names and compressed files are never among them.
//!
//! A glob that does not begin with a slash matches at any depth, as those of rules do.

use std::fmt;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::http::semantics::encoded::EncodedNames;
use crate::http::semantics::mime;
use crate::http::semantics::negotiate::Coding;

/// How many globs there may be of a kind, and how long each may be.
const GLOBS_MAX: usize = 256;
const GLOB_BYTES_MAX: usize = 1024;

/// Files that hosting services read, and that are not content.
const CONTROL_FILES: [&[u8]; 2] = [b"_headers", b"_redirects"];

/// Which files are compressed.
#[derive(Clone, Debug, Default)]
pub struct FileFilter {
    include: GlobSet,
    exclude: GlobSet,
}

impl FileFilter {
    /// Without globs in `include`, files of types that compress well are included.
    ///
    /// # Errors
    ///
    /// When a glob is malformed, or there are too many.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, FilterError> {
        Ok(Self { include: glob_set(include)?, exclude: glob_set(exclude)? })
    }

    /// Whether to compress the file at this path, which is relative to the root.
    pub(super) fn wants(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        if is_hidden(name) || split_sidecar(name).is_some() || CONTROL_FILES.contains(&name) {
            return false;
        }
        let content_type = mime::content_type(name);
        // The server looks for no compressed files of such types and names.
        if mime::is_compressed(&content_type) || EncodedNames::default().coding(name).is_some() {
            return false;
        }
        if self.include.is_empty() && self.exclude.is_empty() {
            return mime::is_compressible(&content_type);
        }
        let absolute = [b"/", path].concat();
        let candidate = Candidate::from_bytes(&absolute);
        let included = match self.include.is_empty() {
            true => mime::is_compressible(&content_type),
            false => self.include.is_match_candidate(&candidate),
        };
        included && !self.exclude.is_match_candidate(&candidate)
    }
}

/// Whether a name is hidden: such files are not served.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    name.first() == Some(&b'.')
}

/// The name of the plain file, and the coding, of a name that may be that of a compressed file.
pub(super) fn split_sidecar(name: &[u8]) -> Option<(&[u8], Coding)> {
    let split = |coding: Coding| {
        let plain = name.strip_suffix(coding.suffix().as_bytes())?;
        (!plain.is_empty()).then_some((plain, coding))
    };
    Coding::ALL.into_iter().find_map(split)
}

fn glob_set(globs: &[String]) -> Result<GlobSet, FilterError> {
    if globs.len() > GLOBS_MAX {
        return Err(FilterError::TooMany);
    }
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if glob.is_empty() || glob.len() > GLOB_BYTES_MAX {
            return Err(FilterError::Length(glob.clone()));
        }
        let anchored = if glob.starts_with('/') { glob.clone() } else { format!("/**/{glob}") };
        let built = GlobBuilder::new(&anchored).literal_separator(true).build();
        let malformed = |error: globset::Error| FilterError::Malformed {
            glob: glob.clone(),
            cause: error.kind().clone(),
        };
        set.add(built.map_err(malformed)?);
    }
    set.build().map_err(FilterError::TooComplex)
}

/// Why globs cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// A glob violates the grammar of globs.
    Malformed {
        /// The glob as it was given.
        glob: String,
        /// What is wrong with it.
        cause: globset::ErrorKind,
    },
    /// A glob is empty or too long.
    Length(String),
    /// There are too many globs.
    TooMany,
    /// All globs together are too large to be compiled.
    TooComplex(globset::Error),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { glob, cause } => {
                write!(f, "the glob {glob} is malformed: {cause}; correct it, as in 'docs/**'")
            }
            Self::Length(glob) if glob.is_empty() => {
                f.write_str("a glob is empty; write one, as in '*.html'")
            }
            Self::Length(_) => write!(f, "a glob has more than {GLOB_BYTES_MAX} bytes; split it"),
            Self::TooMany => {
                write!(f, "there are more than {GLOBS_MAX} globs; join some, as in '*.{{js,css}}'")
            }
            Self::TooComplex(error) => {
                write!(f, "the globs are too complex together: {error}; use simpler ones")
            }
        }
    }
}

impl std::error::Error for FilterError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> FileFilter {
        let owned = |globs: &[&str]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
        FileFilter::new(&owned(include), &owned(exclude)).unwrap()
    }

    #[test]
    fn types_decide_without_globs() {
        let filter = FileFilter::default();
        for path in ["a.html", "x/y.js", "x/a.svg", "A.CSS", "x y/\u{e4}.json"] {
            assert!(filter.wants(path.as_bytes()), "{path}");
        }
        for path in
            ["a.png", "a", "a.bin", "a.svgz", "a.html.gz", "x/.a.html", "_headers", "x/_redirects"]
        {
            assert!(!filter.wants(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn globs_include_and_exclude() {
        let data = filter(&["*.bin", "/top.html"], &["/x/**"]);
        for path in ["a.bin", "y/a.bin", "top.html"] {
            assert!(data.wants(path.as_bytes()), "{path}");
        }
        for path in ["x/a.bin", "x/y/a.bin", "y/top.html", "a.html"] {
            assert!(!data.wants(path.as_bytes()), "{path}");
        }
        let less = filter(&[], &["*.min.js"]);
        assert!(less.wants(b"a.js") && !less.wants(b"x/a.min.js") && !less.wants(b"a.png"));
        // The server would not look for them.
        assert!(!filter(&["**"], &[]).wants(b"a.png") && filter(&["**"], &[]).wants(b"a.bin"));
        assert!(!filter(&["**"], &[]).wants(b"a.js.br"));
    }

    #[test]
    fn bad_globs_name_the_remedy() {
        let error = |globs: &[String]| FileFilter::new(globs, &[]).unwrap_err().to_string();
        assert!(error(&["{a".into()]).contains("{a is malformed"));
        assert!(error(&[String::new()]).contains("'*.html'"));
        assert!(error(&["a".repeat(2000)]).contains("split it"));
        assert!(error(&vec!["a".to_owned(); 300]).contains("join some"));
    }

    #[test]
    fn names_of_compressed_files_are_split() {
        assert_eq!(split_sidecar(b"a.js.br"), Some((&b"a.js"[..], Coding::Brotli)));
        assert_eq!(split_sidecar(b"a.gz"), Some((&b"a"[..], Coding::Gzip)));
        assert_eq!((split_sidecar(b".gz"), split_sidecar(b"a.js")), (None, None));
    }
}
