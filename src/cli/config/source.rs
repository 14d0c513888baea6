//! The files that a configuration was read from, and places in them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memchr_iter;

/// A range of bytes in one of the files of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The index of the file in the order of reading.
    pub(super) file: usize,
    /// Where the range begins and ends. Both lie at boundaries of characters.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Place {
    pub(super) fn new(file: usize, span: Range<usize>) -> Self {
        Self { file, start: span.start, end: span.end }
    }
}

/// The part of a place that lies in its first line, as messages show it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt<'a> {
    /// Without its end of line.
    pub(super) line: &'a str,
    /// The number of the line; the first one is 1.
    pub(super) number: usize,
    /// The bytes of `line` that belong to the place.
    pub(super) span: Range<usize>,
}

/// All files of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    files: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    /// As messages show it.
    path: PathBuf,
    text: Arc<str>,
    /// Where each line begins. A file is shorter than 4 GiB.
    lines: Vec<u32>,
}

impl Sources {
    /// Adds a file; returns its index.
    pub(super) fn add(&mut self, path: PathBuf, text: Arc<str>) -> usize {
        let ends = memchr_iter(b'\n', text.as_bytes()).map(|end| end as u32 + 1);
        let lines = std::iter::once(0).chain(ends).collect();
        self.files.push(Source { path, text, lines });
        self.files.len() - 1
    }

    /// The path of a file.
    pub(super) fn path(&self, file: usize) -> &Path {
        &self.files[file].path
    }

    /// The paths of all files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|source| &*source.path)
    }

    /// The text of a file; empty after [`Sources::drop_texts`].
    pub(super) fn text(&self, file: usize) -> &str {
        &self.files[file].text
    }

    /// The number of the line in which a place begins; the first one is 1.
    pub(super) fn line_number(&self, place: &Place) -> usize {
        self.files[place.file].lines.partition_point(|begin| *begin as usize <= place.start)
    }

    /// The line in which a place begins.
    pub(super) fn excerpt(&self, place: &Place) -> Excerpt<'_> {
        let source = &self.files[place.file];
        let number = self.line_number(place);
        let begin = source.lines[number - 1] as usize;
        let end = source.lines.get(number).map_or(source.text.len(), |end| *end as usize);
        let line = source.text[begin..end].trim_end_matches(['\n', '\r']);
        let within = |position: usize| (position - begin).min(line.len());
        Excerpt { line, number, span: within(place.start)..within(place.end.max(place.start)) }
    }

    /// A place as `FILE:LINE`.
    pub(super) fn name(&self, place: &Place) -> String {
        format!("{}:{}", self.path(place.file).display(), self.line_number(place))
    }

    /// Frees the texts when no message needs them any more. Lines keep their numbers.
    pub(super) fn drop_texts(&mut self) {
        for source in &mut self.files {
            source.text = Arc::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_by_its_first_line() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml".into(), "one\r\ntwo = [\n 3,\n]".into());
        let excerpt = |span| {
            let Excerpt { line, number, span } = sources.excerpt(&Place::new(file, span));
            (line.to_owned(), number, span)
        };
        assert_eq!(excerpt(0..1), ("one".into(), 1, 0..1));
        assert_eq!(excerpt(4..5), ("one".into(), 1, 3..3));
        assert_eq!(excerpt(11..18), ("two = [".into(), 2, 6..7));
        assert_eq!(excerpt(18..18), ("]".into(), 4, 1..1));
        assert_eq!(sources.name(&Place::new(file, 13..14)), "a.toml:3");
    }

    #[test]
    fn an_empty_file_has_a_first_line() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml".into(), Arc::default());
        let excerpt = sources.excerpt(&Place::new(file, 0..0));
        assert_eq!(excerpt, Excerpt { line: "", number: 1, span: 0..0 });
    }
}
