//! Loads the files of a page: the plain file, and the compressed files beside it.
//!
//! Beside a file `a.css` there may be `a.css.br`, `a.css.zst` and `a.css.gz` with the same content.
//! One that is older than the plain file is outdated, and is ignored. Small files are read into
//! memory, all at once; large files are kept open.

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

/// A page whose files are being loaded.
#[derive(Debug)]
pub(super) struct PageLoader {
    /// The path of the plain file, relative to the root.
    path: Vec<u8>,
    /// Whether to prepare the fields that rules add for the path. Not for fallback and error pages,
    /// whose fields depend on the response.
    by_rule: bool,
    /// The plain file, then the compressed ones.
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
    /// Its content is being read into a buffer that begins with the fields.
    Reading(HeadTable),
    Ready(Variant),
}

/// What a loader needs next.
#[derive(Debug)]
pub(super) enum LoadStep {
    /// Replies to these reads, each with the number of its file.
    Read(PageLoader, Vec<(u8, Ask)>),
    /// Nothing: the page is complete.
    Page(Page),
    /// Nothing: all files are the same as those of the known page.
    Unchanged,
}

/// The codings in which compressed files are looked for beside this path.
pub(super) fn codings_beside(settings: &SiteSettings, path: &[u8]) -> &'static [Coding] {
    let content_type = settings.content.types.content_type(path);
    let wanted = settings.content.precompressed && !mime::is_compressed(&content_type);
    if wanted { &Coding::ALL } else { &[] }
}

impl PageLoader {
    /// A page of an open file and of the results of opening the compressed files beside it.
    ///
    /// # Errors
    ///
    /// If a compressed file could not be opened for a reason that may pass: the page would be
    /// cached without it.
    pub(super) fn new(
        path: Vec<u8>,
        by_rule: bool,
        plain: Arc<File>,
        beside: Vec<(Coding, io::Result<Arc<File>>)>,
    ) -> io::Result<Self> {
        let mut parts = vec![PageFile { coding: None, file: plain, state: PageFileState::Opened }];
        // An empty file cannot be compressed.
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
                Err(error) if is_transient(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(Self { path, by_rule, parts })
    }

    /// Starts to read the small files, unless `known`, the cached page, has the same files.
    pub(super) fn load(
        mut self,
        settings: &SiteSettings,
        memory_file_max: u64,
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
            // The same file may be open already. Then the new descriptor is not needed.
            let file = known.and_then(|page| page.same_file(*coding, file)).unwrap_or(file);
            let (file, metadata) = (Arc::clone(file), *file.metadata());
            let head = self.head(settings, *coding, &metadata, now);
            self.parts[number].state = if metadata.len == 0 {
                // Nothing has to be read, and the file need not be kept open.
                let (bytes, table) = head.into_buffer(0);
                PageFileState::Ready(Variant::of_memory(&bytes, table, metadata, now))
            } else if metadata.len <= memory_file_max {
                // The capacity for one more byte shows if the file has grown.
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

    /// Takes the content of a file. `bytes` are the fields and then `read` bytes of content.
    pub(super) fn take(&mut self, number: u8, read: usize, bytes: &[u8], now: SystemTime) {
        let PageFile { file, state, .. } = &mut self.parts[usize::from(number)];
        let PageFileState::Reading(table) = std::mem::replace(state, PageFileState::Opened) else {
            unreachable!("file {number} is not being read")
        };
        let metadata = *file.metadata();
        *state = PageFileState::Ready(if read as u64 == metadata.len {
            Variant::of_memory(bytes, table, metadata, now)
        } else {
            // The file grew or shrank after its length was put into the fields. Send it from the
            // file: the driver sends exactly that length, or closes the connection.
            Variant::of_file(&bytes[..table.len()], table, Arc::clone(file), now)
        });
    }

    /// The page, when all files are ready.
    pub(super) fn finish(self) -> LoadStep {
        let mut ready = self.parts.into_iter().map(|part| match part.state {
            PageFileState::Ready(variant) => (part.coding, variant),
            state => unreachable!("a file is not ready: {state:?}"),
        });
        let Some((_, plain)) = ready.next() else { unreachable!("a page has a plain file") };
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

/// Whether a compressed file is not outdated, by its modification time.
fn is_of_this_version(beside: &File, plain: &File) -> bool {
    let (beside, plain) = (beside.metadata(), plain.metadata());
    beside.kind == FileKind::Regular && is_as_new(beside.modified, plain.modified)
}

/// Whether a time, in seconds and nanoseconds, is not before that of the plain file.
///
/// `brotli` sets the time of its output to that of its input, but truncates it to seconds. So a
/// time without a fraction may lie anywhere within its second.
fn is_as_new(beside: (i64, u32), plain: (i64, u32)) -> bool {
    let whole_second = beside.1 == 0 && beside.0 == plain.0;
    whole_second || beside >= plain
}

/// Whether an error may pass, so its result must not be cached.
fn is_transient(error: &io::Error) -> bool {
    matches!(FileFailure::of(error), FileFailure::Shortage | FileFailure::Busy)
}
