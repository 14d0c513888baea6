//! The files of a page: the one itself, those beside it in other codings, and their content.
//!
//! A file `a.css` may stand beside `a.css.br`, `a.css.zst` and `a.css.gz`, which hold the same in
//! another coding. One that is older than the file itself is of an earlier version, and does not
//! count. What is small is read; what is large stays in its file.

use std::io;
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use crate::driver::{File, FileKind, Metadata};
use crate::http::semantics::mime;
use crate::http::semantics::negotiate::Coding;
use crate::http::semantics::status::Status;
use crate::http::site::lookup::open;
use crate::http::site::resource::{Description, Head, HeadMarks, Page, Variant, status_of};
use crate::http::site::rules::AnswerKind;
use crate::http::site::sites::Site;
use crate::session::{Now, Reply, Step};

/// A page in the making.
#[derive(Debug)]
pub(in crate::http) struct Loading {
    /// Where the file is, relative to the root.
    path: Vec<u8>,
    /// Whether it brings the fields that rules add for its path: not if it answers for others.
    by_rule: bool,
    plain: Arc<File>,
    encoded: Vec<(Coding, Arc<File>)>,
    /// Codings that were not asked for yet, the next one last.
    unasked: Option<Vec<Coding>>,
    /// What is ready: the plain one, then those of `encoded`.
    ready: Vec<Variant>,
    reading: Option<HeadMarks>,
}

/// How it goes on.
#[derive(Debug)]
pub(in crate::http) enum Next {
    Ask(Loading, Step),
    Page(Page),
    /// All files are those that the known page was made of.
    Unchanged,
}

impl Loading {
    pub(in crate::http) fn new(path: Vec<u8>, by_rule: bool, plain: Arc<File>) -> Self {
        let (encoded, ready) = (Vec::new(), Vec::new());
        Self { path, by_rule, plain, encoded, unasked: None, ready, reading: None }
    }

    /// Asks for what is still needed, or is done. `known` is what the page was so far.
    pub(in crate::http) fn step(
        mut self,
        site: &Site,
        root: &Arc<File>,
        now: Now,
        known: Option<&Page>,
    ) -> Next {
        let content_type = site.settings.content.types.content_type(&self.path);
        let mut unasked = self.unasked.take().unwrap_or_else(|| {
            let wanted = site.settings.content.precompressed
                && !mime::is_compressed(&content_type)
                && self.plain.metadata().len > 0;
            if wanted { Coding::ALL.into_iter().rev().collect() } else { Vec::new() }
        });
        if let Some(coding) = unasked.last() {
            let path = [&self.path, coding.suffix().as_bytes()].concat();
            self.unasked = Some(mem::take(&mut unasked));
            return Next::Ask(self, open(root, &path));
        }
        self.unasked = Some(unasked);
        if self.ready.is_empty()
            && known.is_some_and(|page| page.is_of(&self.path, &self.plain, &self.encoded))
        {
            return Next::Unchanged;
        }
        while self.ready.len() <= self.encoded.len() {
            let (coding, file) = self.file_at(self.ready.len());
            let metadata = *file.metadata();
            let head = self.head(site, &content_type, coding, &metadata, now.system);
            if metadata.len == 0 {
                // There is nothing to read, and no reason to keep a file open.
                let (wire, marks) = head.into_buffer(0);
                self.ready.push(Variant::of_memory(&wire, marks, metadata, now.system));
                continue;
            }
            if metadata.len <= site.settings.memory_file_max {
                // One byte more, to notice a file that grew meanwhile.
                let (buffer, marks) = head.into_buffer(metadata.len as usize + 1);
                self.reading = Some(marks);
                return Next::Ask(self, Step::Read { file, offset: 0, buffer });
            }
            let (wire, marks) = head.into_buffer(0);
            self.ready.push(Variant::of_file(&wire, marks, file, now.system));
        }
        let mut ready = self.ready.into_iter();
        let Some(plain) = ready.next() else { unreachable!("the plain one is always ready") };
        let codings = self.encoded.into_iter().map(|(coding, _)| coding);
        Next::Page(Page::new(&self.path, plain, codings.zip(ready).collect()))
    }

    /// Takes in what was asked for.
    pub(in crate::http) fn resume(mut self, now: Now, reply: Reply) -> io::Result<Self> {
        match (reply, self.reading.take()) {
            (Reply::Opened(opened), None) => {
                let coding = self.unasked.as_mut().and_then(Vec::pop);
                let Some(coding) = coding else { unreachable!("a coding was asked for") };
                match opened {
                    Ok(file) if self.counts(&file) => self.encoded.push((coding, file)),
                    Ok(_) => {}
                    // A shortage must not be remembered as a page without its codings.
                    Err(error) if status_of(&error) == Err(Status::ServiceUnavailable) => {
                        return Err(error);
                    }
                    Err(_) => {}
                }
            }
            (Reply::Read(Ok(read), wire), Some(marks)) => {
                let (_, file) = self.file_at(self.ready.len());
                let metadata = *file.metadata();
                self.ready.push(if read as u64 == metadata.len {
                    Variant::of_memory(&wire, marks, metadata, now.system)
                } else {
                    // It grows or shrinks while we look: the length that was announced is kept
                    // or the connection breaks, as for any file that changes while it is sent.
                    Variant::of_file(&wire[..marks.len()], marks, file, now.system)
                });
            }
            (Reply::Read(Err(error), _), Some(_)) => return Err(error),
            (reply, reading) => unreachable!("{reply:?} does not answer {reading:?}"),
        }
        Ok(self)
    }

    /// Whether a file beside the plain one is of the same version, as far as times tell.
    fn counts(&self, beside: &File) -> bool {
        let (plain, beside) = (self.plain.metadata(), beside.metadata());
        beside.kind == FileKind::Regular && is_as_new(beside.modified, plain.modified)
    }

    fn file_at(&self, place: usize) -> (Option<Coding>, Arc<File>) {
        match place.checked_sub(1) {
            None => (None, Arc::clone(&self.plain)),
            Some(at) => {
                let (coding, file) = &self.encoded[at];
                (Some(*coding), Arc::clone(file))
            }
        }
    }

    fn head(
        &self,
        site: &Site,
        content_type: &str,
        coding: Option<Coding>,
        metadata: &Metadata,
        now: SystemTime,
    ) -> Head {
        let rules = &site.settings.content.rules;
        let fields = if self.by_rule {
            rules.fields(&[b"/", &self.path[..]].concat(), AnswerKind::Page { content_type })
        } else {
            String::new()
        };
        let vary = if self.encoded.is_empty() { "" } else { "Accept-Encoding" };
        Head::of_file(Description { content_type, coding, vary, fields: &fields }, metadata, now)
    }
}

/// Whether a time, in seconds and nanoseconds, is at or after that of the plain file.
///
/// `brotli` gives its output the time of its input, but in whole seconds, so that a time without
/// a fraction stands for its whole second.
fn is_as_new(beside: (i64, u32), plain: (i64, u32)) -> bool {
    let whole_second = beside.1 == 0 && beside.0 == plain.0;
    whole_second || beside >= plain
}

#[cfg(test)]
mod tests;
