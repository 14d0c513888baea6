//! Loads the files of a page: the plain file, and the compressed files beside it.
//!
//! Beside a file `a.css` there may be `a.css.br`, `a.css.zst` and `a.css.gz` with the same content.
//! One that is older than the plain file is outdated, and is ignored. Small files are read into
//! memory, all at once; large files are kept open. If tags are made of content (`tags.rs`), jobs
//! read the large files meanwhile.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::demand::Demand;
use super::resource::{Description, HeadTable, Page, Variant, VariantHead};
use super::rules::AnswerKind;
use super::settings::SiteSettings;
use super::tags::{self, FileTag, TagJobs, TagSource, TagStep};
use crate::ask::{Ask, Reply};
use crate::driver::{File, FileFailure, FileKind, Metadata};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::mime;
use crate::http::semantics::negotiate::{Coding, is_as_new};

#[cfg(test)]
mod tests;

/// A page whose files are being loaded.
#[derive(Debug)]
pub(super) struct PageLoader {
    /// The path of the plain file, relative to the root.
    path: Vec<u8>,
    /// The path of the request, with a slash at its beginning, if rules need it and it is another.
    asked: Option<Vec<u8>>,
    /// Whether to prepare the fields that rules add for the path. Not for fallback and error pages,
    /// whose fields depend on the response.
    by_rule: bool,
    /// The plain file, then the compressed ones.
    parts: Vec<PageFile>,
    /// What may be compressed on the fly.
    demand: Option<Demand>,
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
    /// Its tag is made of its content, which is being read into an empty buffer, or by a job.
    Tagging(Arc<File>),
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
    let content = &settings.content;
    let is_compressed = || {
        content.encoded.coding(path).is_some() || mime::is_compressed(&content.content_type(path))
    };
    let wanted = content.precompressed && !is_compressed();
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
        Ok(Self { path, asked: None, by_rule, parts, demand: None })
    }

    /// The same page, asked for by another path, which begins with a slash.
    pub(super) fn asked_as(self, asked: Option<Vec<u8>>) -> Self {
        Self { asked, ..self }
    }

    /// Starts to read the small files, unless `known`, the cached page, has the same files.
    pub(super) fn load(
        mut self,
        settings: &SiteSettings,
        memory_file_max: u64,
        now: SystemTime,
        known: Option<&Page>,
        jobs: &TagJobs,
    ) -> LoadStep {
        let encoded = self.parts[1..].iter().filter_map(|part| Some((part.coding?, &*part.file)));
        if known.is_some_and(|page| page.is_of(&self.path, &self.parts[0].file, encoded)) {
            return LoadStep::Unchanged;
        }
        self.demand = self.demand(settings);
        let mut reads = Vec::new();
        for number in 0..self.parts.len() {
            let PageFile { coding, file, .. } = &self.parts[number];
            // The same file may be open already. Then the new descriptor is not needed.
            let file = known.and_then(|page| page.same_file(*coding, file)).unwrap_or(file);
            let (file, metadata) = (Arc::clone(file), *file.metadata());
            if settings.content.etag == TagSource::Content {
                let tag = known.and_then(|page| page.same_tag(*coding, &file));
                let is_small = metadata.len <= memory_file_max;
                self.parts[number].state = match jobs.begin(&file, is_small, tag) {
                    TagStep::Ask(ask) => {
                        reads.push((number as u8, ask));
                        PageFileState::Tagging(file)
                    }
                    TagStep::Done(tag) => {
                        let variant = self.tagged(settings, *coding, &file, now, (tag, None));
                        PageFileState::Ready(variant)
                    }
                };
                continue;
            }
            let head = self.head(settings, *coding, &metadata, now, FileTag::None);
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

    /// Takes the reply for a file.
    ///
    /// # Errors
    ///
    /// Those of reading the file.
    pub(super) fn take_reply(
        &mut self,
        settings: &SiteSettings,
        number: u8,
        reply: Reply,
        now: SystemTime,
    ) -> io::Result<()> {
        let by_name = settings.content.encoded.coding(&self.path);
        let PageFile { coding, file, state } = &mut self.parts[usize::from(number)];
        let coding = coding.or(by_name);
        let variant = match (std::mem::replace(state, PageFileState::Opened), reply) {
            (PageFileState::Reading(table), Reply::Read(read, bytes)) => {
                of_bytes(file, table, read?, &bytes, now)
            }
            (PageFileState::Tagging(file), Reply::Read(read, bytes)) => {
                let is_whole = read? as u64 == file.metadata().len;
                let tag = is_whole.then(|| tags::tag_of(&bytes, coding));
                let made = (FileTag::of(tag.as_deref()), Some(&bytes[..]).filter(|_| is_whole));
                self.tagged(settings, coding, &file, now, made)
            }
            (PageFileState::Tagging(file), Reply::Ran(ran)) => {
                let tag = tags::tag_of_job(ran, coding)?;
                self.tagged(settings, coding, &file, now, (FileTag::of(tag.as_deref()), None))
            }
            (state, reply) => unreachable!("{reply:?} is not for a file that is {state:?}"),
        };
        self.parts[usize::from(number)].state = PageFileState::Ready(variant);
        Ok(())
    }

    /// A file with this tag, and with its bytes if they are in memory.
    fn tagged(
        &self,
        settings: &SiteSettings,
        coding: Option<Coding>,
        file: &Arc<File>,
        now: SystemTime,
        (tag, body): (FileTag<'_>, Option<&[u8]>),
    ) -> Variant {
        let metadata = *file.metadata();
        let head = self.head(settings, coding, &metadata, now, tag);
        // An empty file need not be kept open.
        let body = if metadata.len == 0 { Some(&b""[..]) } else { body };
        let (mut bytes, table) = head.into_buffer(body.map_or(0, <[u8]>::len));
        match body {
            Some(body) => {
                bytes.extend_from_slice(body);
                Variant::of_memory(&bytes, table, metadata, now)
            }
            None => Variant::of_file(&bytes, table, Arc::clone(file), now),
        }
    }

    /// The page, when all files are ready.
    pub(super) fn finish(self) -> LoadStep {
        let Self { path, parts, demand, .. } = self;
        let mut ready = parts.into_iter().map(|part| match part.state {
            PageFileState::Ready(variant) => (part.coding, variant),
            state => unreachable!("a file is not ready: {state:?}"),
        });
        let Some((_, plain)) = ready.next() else { unreachable!("a page has a plain file") };
        let encoded = ready.filter_map(|(coding, variant)| Some((coding?, variant))).collect();
        LoadStep::Page(Page::new(&path, plain, encoded).with_demand(demand))
    }

    /// What may be compressed on the fly: codings without a compressed file. Nothing of a file that
    /// is compressed itself, such as `logo.svgz`, whose media type is that of its content.
    fn demand(&self, settings: &SiteSettings) -> Option<Demand> {
        let compress = &settings.content.compress;
        if compress.codings.is_empty() || settings.content.encoded.coding(&self.path).is_some() {
            return None;
        }
        let content_type = settings.content.types.content_type(&self.path);
        let len = self.parts[0].file.metadata().len;
        let mut possible = compress.codings_of(&content_type, len);
        self.parts.iter().filter_map(|part| part.coding).for_each(|beside| possible.remove(beside));
        Demand::new(possible, compress.level, settings.content.etag != TagSource::Off)
    }

    fn head(
        &self,
        settings: &SiteSettings,
        coding: Option<Coding>,
        metadata: &Metadata,
        now: SystemTime,
        tag: FileTag<'_>,
    ) -> VariantHead {
        let content_type = settings.content.content_type(&self.path);
        // The file itself is compressed, or is one beside it.
        let coding = coding.or_else(|| settings.content.encoded.coding(&self.path));
        let content_type = &*content_type;
        let fields = if self.by_rule {
            let path = [b"/", &self.path[..]].concat();
            let asked = self.asked.as_deref().unwrap_or(&path);
            settings.content.rules.fields_of(&path, asked, AnswerKind::Page { content_type })
        } else {
            Fields::new()
        };
        // From the beginning for whatever may be compressed: caches keep this response.
        let varies = self.parts.len() > 1 || self.demand.is_some();
        let vary = if varies { "Accept-Encoding" } else { "" };
        VariantHead::of_file(
            Description { content_type, coding, vary, fields: &fields },
            metadata,
            now,
            settings.content.etag.validators(tag, settings.content.last_modified),
        )
    }
}

/// A file whose content was read behind its fields.
fn of_bytes(
    file: &Arc<File>,
    table: HeadTable,
    read: usize,
    bytes: &[u8],
    now: SystemTime,
) -> Variant {
    let metadata = *file.metadata();
    if read as u64 == metadata.len {
        Variant::of_memory(bytes, table, metadata, now)
    } else {
        // The file grew or shrank after its length was put into the fields. Send it from the file:
        // the driver sends exactly that length, or closes the connection.
        Variant::of_file(&bytes[..table.len()], table, Arc::clone(file), now)
    }
}

/// Whether a compressed file is not outdated, by its modification time.
fn is_of_this_version(beside: &File, plain: &File) -> bool {
    let (beside, plain) = (beside.metadata(), plain.metadata());
    beside.kind == FileKind::Regular && is_as_new(beside.modified, plain.modified)
}

/// Whether an error may pass, so its result must not be cached.
fn is_transient(error: &io::Error) -> bool {
    matches!(FileFailure::of(error), FileFailure::Shortage | FileFailure::Busy)
}
