//! Finds the files that `include` names.

use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};

use super::problem::{Problem, ProblemList, quoted};
use super::setting::Sourced;
use super::source::Place;

/// How many files may be included.
const INCLUDES_MAX: usize = 1000;

/// The files that are included.
pub(super) struct Included {
    /// The file that includes them, without links.
    own: Option<PathBuf>,
    /// In the order of reading, each with the text that names it first.
    pub(super) paths: Vec<(PathBuf, Sourced<String>)>,
    /// Notes for the operator.
    pub(super) notes: Vec<String>,
}

impl Included {
    /// None, for the file at this path.
    pub(super) fn new(own: &Path) -> Self {
        Self { own: own.canonicalize().ok(), paths: Vec::new(), notes: Vec::new() }
    }

    /// Adds the files that a glob matches, in the order of their names. `directory` is that of the
    /// file with the glob.
    pub(super) fn find(
        &mut self,
        glob: &Sourced<String>,
        directory: &Path,
        problems: &mut ProblemList,
    ) {
        let mut complain = |title: String, remedy: &str, first: Option<&Place>| {
            let problem = Problem::new(glob.origin.place(), title, remedy);
            problems.push(problem.and(first, "the first one"));
        };
        let shown = quoted(&glob.value);
        let pattern = match pattern(&glob.value, directory) {
            Ok(pattern) => pattern,
            Err(title) => return complain(title, "write an absolute path", None),
        };
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::default() };
        let found = match glob_with(&pattern, options) {
            Ok(found) => found,
            Err(error) => {
                let remedy = "write a glob such as \"sites.d/*.toml\"";
                return complain(
                    format!("`include` cannot be {shown}: {}", error.msg),
                    remedy,
                    None,
                );
            }
        };
        let is_name = !glob.value.contains(['*', '?', '[']);
        let mut is_empty = true;
        for path in found {
            let path = match path {
                Ok(path) => path,
                Err(error) => {
                    complain(format!("cannot read a directory: {error}"), "allow it", None);
                    continue;
                }
            };
            if path.is_dir() && !is_name {
                continue;
            }
            is_empty = false;
            let known = self.paths.iter().find(|(other, _)| *other == path);
            if path.is_dir() {
                let remedy = format!("include its files: \"{}/*.toml\"", glob.value);
                complain(format!("{shown} is a directory"), &remedy, None);
            } else if self.own.is_some() && path.canonicalize().ok() == self.own {
                let remedy = "include files of another directory, as in \"sites.d/*.toml\"";
                complain(format!("{shown} is this file, or matches it"), remedy, None);
            } else if let Some((_, first)) = known {
                // Globs may overlap.
                if is_name {
                    let title = format!("{shown} is included twice");
                    complain(title, "remove it", first.origin.place());
                }
            } else if self.paths.len() == INCLUDES_MAX {
                let remedy = format!("at most {INCLUDES_MAX} files may be included");
                return complain("`include` matches too many files".to_owned(), &remedy, None);
            } else {
                self.paths.push((path, glob.clone()));
            }
        }
        if is_empty && is_name {
            let title = format!("there is no file {shown}");
            complain(title, "correct the name; only a glob may match nothing", None);
        } else if is_empty {
            self.notes.push(format!("include = {shown} matches no file yet"));
        }
    }
}

/// A glob that begins at a directory, whose name has no asterisks that mean something else. The
/// error is what is wrong.
fn pattern(glob: &str, directory: &Path) -> Result<String, String> {
    match directory.to_str() {
        Some("") => Ok(glob.to_owned()),
        _ if Path::new(glob).is_absolute() => Ok(glob.to_owned()),
        Some(directory) => Ok(format!("{}/{glob}", Pattern::escape(directory))),
        None => Err(format!("the directory {} is not UTF-8", directory.display())),
    }
}
