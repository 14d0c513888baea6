//! Reads the file of `-c` and those that it includes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

use super::draft::Draft;
use super::include::Included;
use super::parse_cost::{PARSE_BYTES_MAX, parse_cost};
use super::problem::{Problem, quoted};
use super::reader::Reader;
use super::source::Place;

/// How long a file may be.
const FILE_BYTES_MAX: usize = 4 << 20;

/// How long all files together may be.
const BYTES_MAX: usize = 64 << 20;

/// How long a file may be that is searched for all errors of its syntax. The parser finds up to
/// three in two bytes, and the memory for each is about 250 bytes. Of a longer file, the first
/// error is reported.
const RECOVERED_BYTES_MAX: usize = 64 << 10;

impl Reader<'_> {
    /// Reads a file and those that it includes.
    pub(super) fn read(&mut self, path: &Path) -> Draft {
        let mut draft = Draft::default();
        let bytes = match read_bytes(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.begin(path.to_owned(), Arc::default());
                let title = format!("cannot read {}: {error}", path.display());
                let remedy = "name a file that the user of ringd can read";
                self.problems.push(Problem::new(None, title, remedy));
                return draft;
            }
        };
        let globs =
            self.parse(path, bytes, |reader, table| reader.top(table, directory(path), &mut draft));
        let mut left = BYTES_MAX;
        let mut included = Included::new(path);
        for glob in globs {
            included.find(&glob, directory(path), &mut self.problems);
        }
        draft.notes.append(&mut included.notes);
        for (path, glob) in included.paths {
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

    /// Parses a file, reports its syntax errors, and reads its tables.
    pub(super) fn parse<T: Default>(
        &mut self,
        path: &Path,
        bytes: Vec<u8>,
        read: impl FnOnce(&mut Self, &DeTable<'_>) -> T,
    ) -> T {
        let Some(text) = self.text_of(path, bytes) else { return T::default() };
        let (table, errors) = match DeTable::parse(&text) {
            Ok(table) => (Some(table), Vec::new()),
            Err(_) if text.len() <= RECOVERED_BYTES_MAX => {
                let (table, errors) = DeTable::parse_recoverable(&text);
                (Some(table), errors)
            }
            Err(first) => {
                self.problems.end_early();
                (None, vec![first])
            }
        };
        self.has_syntax_errors = !errors.is_empty();
        let mut wrong = BTreeSet::new();
        for error in errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            wrong.insert(self.sources.line_number(&self.place(span.clone())));
            let (title, remedy) = syntax_error(error.message(), &text[span.clone()]);
            self.complain(span, title, remedy);
        }
        let Some(table) = table else { return T::default() };
        let before = self.problems.len();
        let content = read(self, table.get_ref());
        if !wrong.is_empty() {
            // What the parser makes of a line with an error is a guess, so nothing else is said of
            // it.
            let Self { problems, sources, file, .. } = self;
            let is_wrong =
                |place: &Place| place.file == *file && wrong.contains(&sources.line_number(place));
            problems.retain_after(before, |it| !it.place.as_ref().is_some_and(is_wrong));
        }
        content
    }

    /// The text of a file, if it can be parsed with the memory that is allowed.
    fn text_of(&mut self, path: &Path, bytes: Vec<u8>) -> Option<Arc<str>> {
        let mut refuse = |what: &str, bound: String| {
            let title = format!("{} is {what}", path.display());
            let remedy =
                format!("{bound}; distribute the sites over several files, and `include` them");
            self.problems.push(Problem::new(None, title, remedy));
        };
        if bytes.len() > FILE_BYTES_MAX {
            refuse("too long", format!("a file has at most {} MiB", FILE_BYTES_MAX >> 20));
            self.begin(path.to_owned(), Arc::default());
            return None;
        }
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let bytes = error.into_bytes();
                // The bytes before the mistake are UTF-8, so nothing of them is replaced.
                let text = String::from_utf8_lossy(&bytes[..valid]).into_owned();
                self.begin(path.to_owned(), text.into());
                let title = "the file is not UTF-8 here";
                self.complain(valid..valid, title, "save the file as UTF-8");
                return None;
            }
        };
        let cost = parse_cost(&text);
        if cost > PARSE_BYTES_MAX {
            let bound = format!(
                "reading its tables and values takes about {} MiB of memory, and at most {} are \
                 allowed",
                cost >> 20,
                PARSE_BYTES_MAX >> 20
            );
            refuse("too complex", bound);
            self.begin(path.to_owned(), Arc::default());
            return None;
        }
        let text: Arc<str> = text.into();
        self.begin(path.to_owned(), Arc::clone(&text));
        Some(text)
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
