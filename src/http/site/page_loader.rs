//! The files of a page: the one itself, those beside it in other codings, and their content.
//!
//! A file `a.css` may stand beside `a.css.br`, `a.css.zst` and `a.css.gz`, which hold the same in
//! another coding. One that is older than the file itself is of an earlier version, and does not
//! count. What is small is read, all at once; what is large stays in its file.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::resource::{Description, HeadTable, Page, Variant, VariantHead};
use super::rules::AnswerKind;
use super::settings::SiteSettings;
use crate::ask::Ask;
use crate::driver::{File, FileFailure, FileKind, Metadata};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::mime;
use crate::http::semantics::negotiate::Coding;

#[cfg(test)]
mod tests;

/// A page in the making.
#[derive(Debug)]
pub(super) struct PageLoader {
    /// Where the file is, relative to the root.
    path: Vec<u8>,
    /// Whether it brings the fields that rules add for its path: not if it answers for others.
    by_rule: bool,
    /// The file itself, then those in other codings.
    parts: Vec<PageFile>,
}

/// One file of a page.
#[derive(Debug)]
struct PageFile {
    coding: Option<Coding>,
    file: Arc<File>,
    state: PageFileState,
}

#[derive(Debug)]
enum PageFileState {
    Opened,
    /// Its content is being read behind the fields.
    Reading(HeadTable),
    Ready(Variant),
}

/// How it goes on.
#[derive(Debug)]
pub(super) enum LoadStep {
    /// The content of these parts is read, each by its number.
    Read(PageLoader, Vec<(u8, Ask)>),
    Page(Page),
    /// All files are those that the known page was made of.
    Unchanged,
}

/// The codings that a file at this path may stand beside, in the order of preference.
pub(super) fn codings_beside(settings: &SiteSettings, path: &[u8]) -> &'static [Coding] {
    let content_type = settings.content.types.content_type(path);
    let wanted = settings.content.precompressed && !mime::is_compressed(&content_type);
    if wanted { &Coding::ALL } else { &[] }
}

impl PageLoader {
    /// A page of an opened file and of what came of opening those beside it.
    ///
    /// # Errors
    ///
    /// A shortage: it must not be remembered as a page without its codings.
    pub(super) fn new(
        path: Vec<u8>,
        by_rule: bool,
        plain: Arc<File>,
        beside: Vec<(Coding, io::Result<Arc<File>>)>,
    ) -> io::Result<Self> {
        let mut parts = vec![PageFile { coding: None, file: plain, state: PageFileState::Opened }];
        // There is nothing shorter than nothing.
        let beside = if parts[0].file.metadata().len > 0 { beside } else { Vec::new() };
        for (coding, opened) in beside {
            match opened {
                Ok(file) if is_of_this_version(&file, &parts[0].file) => {
                    parts.push(PageFile {
                        coding: Some(coding),
                        file,
                        state: PageFileState::Opened,
                    });
                }
                Err(error) if is_passing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(Self { path, by_rule, parts })
    }

    /// Reads what is small. `known` is what the page was so far.
    pub(super) fn load(
        mut self,
        settings: &SiteSettings,
        now: SystemTime,
        known: Option<&Page>,
    ) -> LoadStep {
        let encoded = self.parts[1..].iter().filter_map(|part| Some((part.coding?, &*part.file)));
        if known.is_some_and(|page| page.is_of(&self.path, &self.parts[0].file, encoded)) {
            return LoadStep::Unchanged;
        }
        let mut reads = Vec::new();
        for number in 0..self.parts.len() {
            let PageFile { coding, file, .. } = &self.parts[number];
            let (file, metadata) = (Arc::clone(file), *file.metadata());
            let head = self.head(settings, *coding, &metadata, now);
            self.parts[number].state = if metadata.len == 0 {
                // There is nothing to read, and no reason to keep a file open.
                let (bytes, table) = head.into_buffer(0);
                PageFileState::Ready(Variant::of_memory(&bytes, table, metadata, now))
            } else if metadata.len <= settings.memory_file_max {
                // One byte more, to notice a file that grew meanwhile.
                let (buffer, table) = head.into_buffer(metadata.len as usize + 1);
                reads.push((number as u8, Ask::Read { file, offset: 0, buffer }));
                PageFileState::Reading(table)
            } else {
                let (bytes, table) = head.into_buffer(0);
                PageFileState::Ready(Variant::of_file(&bytes, table, file, now))
            };
        }
        if reads.is_empty() { self.finish() } else { LoadStep::Read(self, reads) }
    }

    /// Takes in the content of a part.
    pub(super) fn take(&mut self, number: u8, read: usize, bytes: &[u8], now: SystemTime) {
        let PageFile { file, state, .. } = &mut self.parts[usize::from(number)];
        let PageFileState::Reading(table) = std::mem::replace(state, PageFileState::Opened) else {
            unreachable!("the content of part {number} was not asked for")
        };
        let metadata = *file.metadata();
        *state = PageFileState::Ready(if read as u64 == metadata.len {
            Variant::of_memory(bytes, table, metadata, now)
        } else {
            // It grows or shrinks while we look: the length that was announced is kept or the
            // connection breaks, as for any file that changes while it is sent.
            Variant::of_file(&bytes[..table.len()], table, Arc::clone(file), now)
        });
    }

    /// The page, whose parts are all ready.
    pub(super) fn finish(self) -> LoadStep {
        let mut ready = self.parts.into_iter().map(|part| match part.state {
            PageFileState::Ready(variant) => (part.coding, variant),
            state => unreachable!("a part is {state:?}, and the page is to be finished"),
        });
        let Some((_, plain)) = ready.next() else { unreachable!("the file itself is a part") };
        let encoded = ready.filter_map(|(coding, variant)| Some((coding?, variant))).collect();
        LoadStep::Page(Page::new(&self.path, plain, encoded))
    }

    fn head(
        &self,
        settings: &SiteSettings,
        coding: Option<Coding>,
        metadata: &Metadata,
        now: SystemTime,
    ) -> VariantHead {
        let content_type = settings.content.types.content_type(&self.path);
        let content_type = &*content_type;
        let fields = if self.by_rule {
            let path = [b"/", &self.path[..]].concat();
            settings.content.rules.fields(&path, AnswerKind::Page { content_type })
        } else {
            Fields::new()
        };
        let vary = if self.parts.len() > 1 { "Accept-Encoding" } else { "" };
        VariantHead::of_file(
            Description { content_type, coding, vary, fields: &fields },
            metadata,
            now,
        )
    }
}

/// Whether a file beside the plain one is of the same version, as far as times tell.
fn is_of_this_version(beside: &File, plain: &File) -> bool {
    let (beside, plain) = (beside.metadata(), plain.metadata());
    beside.kind == FileKind::Regular && is_as_new(beside.modified, plain.modified)
}

/// Whether a time, in seconds and nanoseconds, is at or after that of the plain file.
///
/// `brotli` gives its output the time of its input, but in whole seconds, so that a time without
/// a fraction stands for its whole second.
fn is_as_new(beside: (i64, u32), plain: (i64, u32)) -> bool {
    let whole_second = beside.1 == 0 && beside.0 == plain.0;
    whole_second || beside >= plain
}

/// Whether an error may pass, so that nobody should remember it.
fn is_passing(error: &io::Error) -> bool {
    matches!(FileFailure::of(error), FileFailure::Shortage | FileFailure::Busy)
}
