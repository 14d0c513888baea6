//! Mistakes in a configuration, and how they are shown.
//!
//! All mistakes of all files are collected and shown at once, in the order of the files and lines.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::{Place, Sources};

/// How many problems are shown. A file of the wrong kind has one in each line.
pub(super) const SHOWN_MAX: usize = 1000;

/// How long a line may be to be rendered as a whole, which takes time for each of its problems. Of
/// a longer one, a part is rendered, so the column that is shown counts from the beginning of that
/// part.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How many characters of a value are quoted in a message.
const QUOTED_CHARS_MAX: usize = 60;

/// How many mistakes are kept. A file may have one in every few bytes.
const KEPT_MAX: usize = 10_000;

/// How many characters a title has, and a remedy: the messages of parsers repeat what they refuse.
const MESSAGE_CHARS_MAX: usize = 300;

/// A mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// What is wrong.
    pub(super) title: String,
    /// What would be right; stands beside the mark in the line.
    pub(super) remedy: String,
    /// `None` if the mistake is not in a line, as when a file cannot be read.
    pub(super) place: Option<Place>,
    /// Another place that the mistake is about, and what is there.
    pub(super) other: Option<(Place, &'static str)>,
}

impl Problem {
    pub(super) fn new(
        place: Option<&Place>,
        title: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let title = first(&title.into(), MESSAGE_CHARS_MAX);
        let remedy = first(&remedy.into(), MESSAGE_CHARS_MAX);
        Self { title, remedy, place: place.cloned(), other: None }
    }

    pub(super) fn and(mut self, other: Option<&Place>, what: &'static str) -> Self {
        self.other = other.map(|place| (place.clone(), what));
        self
    }

    /// Writes the problem with its line.
    fn render(&self, renderer: &Renderer, sources: &Sources) -> String {
        let title = Level::ERROR.primary_title(&self.title);
        let mut group = match &self.place {
            Some(place) => {
                let annotation = (AnnotationKind::Primary, &*self.remedy);
                title.element(snippet(sources, place, annotation))
            }
            None => Group::with_title(title).element(Level::HELP.message(&self.remedy)),
        };
        if let Some((place, what)) = &self.other {
            group = group.element(snippet(sources, place, (AnnotationKind::Context, what)));
        }
        renderer.render(&[group])
    }
}

/// The line of a place with a mark.
fn snippet<'a>(
    sources: &'a Sources,
    place: &Place,
    (kind, label): (AnnotationKind, &'a str),
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let excerpt = sources.excerpt(place);
    // Only the line is passed on: the renderer would look through the whole file for each problem.
    let (begin, end) = window(excerpt.line, excerpt.span.start);
    let within = |position: usize| position.clamp(begin, end) - begin;
    let span = within(excerpt.span.start)..within(excerpt.span.end);
    Snippet::source(&excerpt.line[begin..end])
        .line_start(excerpt.number)
        .path(sources.path(place.file).to_string_lossy())
        .annotation(kind.span(span).label(label))
}

/// The part of a long line that is shown: it contains `position`.
fn window(line: &str, position: usize) -> (usize, usize) {
    if line.len() <= LINE_BYTES_MAX {
        return (0, line.len());
    }
    let boundary = |position: usize| {
        let position = position.min(line.len());
        (0..=position).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0)
    };
    let begin = boundary(position.saturating_sub(LINE_BYTES_MAX / 2));
    (begin, boundary(begin + LINE_BYTES_MAX))
}

/// A text of a file in a message: in quotation marks, shortened, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A text as it is written in a file, shortened for a message.
pub(super) fn shortened(written: &str) -> String {
    first(written, QUOTED_CHARS_MAX)
}

fn first(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The mistakes that are known so far.
#[derive(Debug, Default)]
pub(super) struct ProblemList {
    /// The first [`KEPT_MAX`] ones.
    kept: Vec<Problem>,
    /// How many there are beyond them.
    dropped: usize,
    /// Whether a file was not searched for all of its mistakes.
    is_partial: bool,
}

impl ProblemList {
    pub(super) fn push(&mut self, problem: Problem) {
        match self.kept.len() {
            KEPT_MAX => self.dropped += 1,
            _ => self.kept.push(problem),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len() + self.dropped
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Says that a file was not searched for all of its mistakes.
    pub(super) fn end_early(&mut self) {
        self.is_partial = true;
    }

    /// Removes problems for which `is_wanted` is false from those that came after the first
    /// `before` ones.
    pub(super) fn retain_after(&mut self, before: usize, is_wanted: impl Fn(&Problem) -> bool) {
        let later = self.kept.split_off(before.min(self.kept.len()));
        self.kept.extend(later.into_iter().filter(is_wanted));
    }
}

/// Why there is no configuration: all its problems, with the files that they are in.
#[derive(Debug)]
pub struct Problems {
    pub(super) sources: Sources,
    /// At least one.
    pub(super) list: Vec<Problem>,
    /// How many there are besides those of the list.
    dropped: usize,
    /// Whether a file may have more.
    is_partial: bool,
}

impl Problems {
    /// Sorts the problems by their places.
    pub(super) fn new(sources: Sources, list: ProblemList) -> Self {
        let ProblemList { kept: mut list, dropped, is_partial } = list;
        list.sort_by(|a, b| a.place.cmp(&b.place));
        list.dedup();
        Self { sources, list, dropped, is_partial }
    }

    /// The number of problems.
    pub fn count(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// All problems with their lines, with colours for a terminal or without. Ends with a line that
    /// counts them.
    pub fn render(&self, colours: bool) -> String {
        self.render_all(colours) + &format!("ringd: {self}\n")
    }

    /// The problems alone.
    pub(in crate::cli) fn render_all(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in self.list.iter().take(SHOWN_MAX) {
            text += problem.render(&renderer, &self.sources).trim_end();
            text += "\n\n";
        }
        text
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => f.write_str("the configuration has 1 problem")?,
            count => write!(f, "the configuration has {count} problems")?,
        }
        if self.count() > SHOWN_MAX {
            write!(f, "; the first {SHOWN_MAX} are shown")?;
        }
        if self.is_partial {
            write!(
                f,
                "; of a long file, the first error of its syntax is shown, and there may be more \
                 after it"
            )?;
        }
        Ok(())
    }
}
