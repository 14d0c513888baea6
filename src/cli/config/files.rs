//! Reads the file of `-c` and those that it includes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};
use toml::de::DeTable;

use super::draft::Draft;
use super::problem::{Problem, quoted};
use super::reader::Reader;
use super::setting::Sourced;

/// How long a file may be.
const FILE_BYTES_MAX: usize = 4 << 20;

/// How long all files together may be.
const BYTES_MAX: usize = 64 << 20;

/// How many files may be included.
const INCLUDES_MAX: usize = 1000;

impl Reader<'_> {
    /// Reads a file and those that it includes.
    pub(super) fn read(&mut self, path: &Path) -> Draft {
        let mut draft = Draft::default();
        let bytes = match read_bytes(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.begin(path.to_owned(), String::new());
                let title = format!("cannot read {}: {error}", path.display());
                let remedy = "name a file that the user of ringd can read";
                self.problems.push(Problem::new(None, title, remedy));
                return draft;
            }
        };
        let globs =
            self.parse(path, bytes, |reader, table| reader.top(table, directory(path), &mut draft));
        let mut left = BYTES_MAX;
        let mut paths = Vec::new();
        for glob in globs {
            self.find_included(&glob, directory(path), &mut paths, &mut draft.notes);
        }
        for (path, glob) in paths {
            match read_bytes(&path) {
                Ok(bytes) if bytes.len() > left => {
                    let title = format!("{} and the files before it are too long", path.display());
                    let remedy = format!("all files together have at most {} MiB", BYTES_MAX >> 20);
                    self.problems.push(Problem::new(glob.origin.place(), title, remedy));
                    break;
                }
                Ok(bytes) => {
                    left -= bytes.len();
                    self.parse(&path, bytes, |reader, table| {
                        reader.included(table, directory(&path), &mut draft);
                    });
                }
                Err(error) => {
                    let title = format!("cannot read {}: {error}", path.display());
                    let remedy = "allow it, or exclude the file";
                    self.problems.push(Problem::new(glob.origin.place(), title, remedy));
                }
            }
        }
        draft
    }

    /// Parses a file, reports all syntax errors, and reads its tables.
    pub(super) fn parse<T: Default>(
        &mut self,
        path: &Path,
        bytes: Vec<u8>,
        read: impl FnOnce(&mut Self, &DeTable<'_>) -> T,
    ) -> T {
        if bytes.len() > FILE_BYTES_MAX {
            self.begin(path.to_owned(), String::new());
            let title = format!("{} is too long", path.display());
            let remedy = format!(
                "a file has at most {} MiB; distribute the sites over several, and `include` them",
                FILE_BYTES_MAX >> 20
            );
            self.problems.push(Problem::new(None, title, remedy));
            return T::default();
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let bytes = error.into_bytes();
                // The bytes before the mistake are UTF-8, so nothing of them is replaced.
                let text = String::from_utf8_lossy(&bytes[..valid]).into_owned();
                self.begin(path.to_owned(), text);
                let title = "the file is not UTF-8 here";
                self.complain(valid..valid, title, "save the file as UTF-8");
                return T::default();
            }
        };
        let file = self.begin(path.to_owned(), text.clone());
        let (table, errors) = DeTable::parse_recoverable(&text);
        let first = self.problems.len();
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let (title, remedy) = syntax_error(error.message(), &text[span.clone()]);
            self.complain(span, title, remedy);
        }
        let last = self.problems.len();
        self.has_syntax_errors = last > first;
        let content = read(self, table.get_ref());
        // What the parser makes of a line with an error is a guess, so nothing else is said of it.
        let line = |reader: &Self, problem: &Problem| {
            let place = problem.place.as_ref().filter(|place| place.file == file);
            place.map(|place| reader.sources.line_number(place))
        };
        let wrong = self.problems[first..last].iter();
        let wrong: BTreeSet<_> = wrong.filter_map(|problem| line(self, problem)).collect();
        if !wrong.is_empty() {
            let later = self.problems.split_off(last);
            let is_sure = |problem: &Problem| {
                line(self, problem).is_none_or(|number| !wrong.contains(&number))
            };
            let later: Vec<_> = later.into_iter().filter(is_sure).collect();
            self.problems.extend(later);
        }
        content
    }

    /// Adds the files that a glob matches, in the order of their names.
    fn find_included(
        &mut self,
        glob: &Sourced<String>,
        directory: &Path,
        paths: &mut Vec<(PathBuf, Sourced<String>)>,
        notes: &mut Vec<String>,
    ) {
        let mut complain = |title: String, remedy: &str| {
            self.problems.push(Problem::new(glob.origin.place(), title, remedy));
        };
        let quoted = quoted(&glob.value);
        // The directory is a name, in which an asterisk is an asterisk.
        let pattern = match directory.to_str() {
            Some("") => glob.value.clone(),
            _ if Path::new(&glob.value).is_absolute() => glob.value.clone(),
            Some(directory) => format!("{}/{}", Pattern::escape(directory), glob.value),
            None => {
                let title = format!("the directory {} is not UTF-8", directory.display());
                complain(title, "write an absolute path");
                return;
            }
        };
        let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::default() };
        let found = match glob_with(&pattern, options) {
            Ok(found) => found,
            Err(error) => {
                let remedy = "write a glob such as \"sites.d/*.toml\"";
                return complain(format!("`include` cannot be {quoted}: {}", error.msg), remedy);
            }
        };
        let before = paths.len();
        for path in found {
            let path = match path {
                Ok(path) => path,
                Err(error) => {
                    complain(format!("cannot read a directory: {error}"), "allow it");
                    continue;
                }
            };
            if path.is_dir() || paths.iter().any(|(other, _)| *other == path) {
                continue;
            }
            if paths.len() == INCLUDES_MAX {
                let remedy = format!("at most {INCLUDES_MAX} files may be included");
                return complain("`include` matches too many files".to_owned(), &remedy);
            }
            paths.push((path, glob.clone()));
        }
        if paths.len() == before && !glob.value.contains(['*', '?', '[']) {
            let title = format!("there is no file {quoted}");
            complain(title, "correct the name; only a glob may match nothing");
        } else if paths.len() == before {
            notes.push(format!("include = {quoted} matches no file yet"));
        }
    }
}

/// What is wrong in a text that does not parse, and what would be right, by the message of the
/// parser. `found` is the text at the place of the error.
fn syntax_error(message: &str, found: &str) -> (String, String) {
    let (title, remedy) = match message.split_once(", expected ") {
        // The parser takes any other value for a string that lacks its quotation marks.
        Some(("string values must be quoted", _)) if found.is_empty() => {
            ("there is no value", "write one after the equals sign".to_owned())
        }
        Some((title @ "string values must be quoted", _)) => {
            (title, format!("write {}", quoted(found)))
        }
        Some((title, expected)) => (title, format!("expected {expected}")),
        None if message == "duplicate key" => (message, "remove one of them".to_owned()),
        None => (message, String::new()),
    };
    (title.to_owned(), remedy)
}

/// The directory where relative paths in a file begin.
fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// Reads a file, at most one byte more than is allowed.
fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Without waiting, since a FIFO would wait for a writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
