//! Pages whose content is compressed on the fly.
//!
//! A page does not change. So when a compressed form is there, a new page takes the place of the
//! old one in the cache; both share what they have in common. The compressed form lives as long as
//! the page, and with it as long as the plain file is the same.

use std::rc::Rc;
use std::sync::Arc;

use super::demand::Demand;
use super::resource::{Groups, Page, Resource, Variant};
use crate::driver::Metadata;
use crate::http::compress::{CompressSource, CompressedBody, CompressedContent, CompressedId};
use crate::http::semantics::fields::{Fields, PreparedFields};
use crate::http::semantics::negotiate::Codings;

impl Resource {
    /// What may be compressed on the fly, if it is a page that has something of the kind.
    #[inline]
    pub(super) fn demand(&self) -> Option<&Demand> {
        match self {
            Self::Page(page) => page.demand(),
            Self::Moved(_) | Self::Listing | Self::Refused(_) => None,
        }
    }
}

impl Page {
    /// The same page, of which something may be compressed.
    pub(super) fn with_demand(self, demand: Option<Demand>) -> Self {
        let demand = demand.map(Rc::new);
        Self { demand, ..self }
    }

    /// What may be compressed on the fly; `None` for nothing.
    #[inline]
    pub(super) fn demand(&self) -> Option<&Demand> {
        self.demand.as_deref()
    }

    /// The metadata of the plain file, if another content would have another metadata. A file that
    /// has just changed is not compressed: its page is made again soon.
    pub(super) fn settled(&self) -> Option<&Metadata> {
        self.plain.origin.as_ref().filter(|_| self.plain.settled)
    }

    /// The plain content, to be compressed.
    pub(super) fn source(&self) -> CompressSource {
        match self.plain.file() {
            Some(file) => CompressSource::File(Arc::clone(file)),
            None => CompressSource::Memory(self.plain.prepared().body().to_vec()),
        }
    }

    /// The page with a compressed form.
    pub(super) fn with(&self, body: &Arc<CompressedBody>) -> Self {
        let coding = body.id().coding;
        let mut encoded = self.encoded.clone();
        encoded.retain(|(other, _)| *other != coding);
        let has_tag = self.demand.as_ref().is_none_or(|demand| demand.has_tags());
        encoded.push((coding, self.plain.compressed(body, has_tag)));
        let page = Self::new(&self.path, self.plain.clone(), encoded);
        Self { demand: self.demand.clone(), ..page }
    }

    /// The codings of the compressed files beside the plain one.
    pub(super) fn codings_of_files(&self) -> Codings {
        let files = self.encoded.iter().filter(|(_, variant)| variant.body.is_none());
        files.map(|(coding, _)| *coding).collect()
    }

    /// Whether the page has the compressed form that is made of this.
    pub(super) fn has(&self, id: &CompressedId) -> bool {
        self.encoded.iter().any(|(_, variant)| variant.is_made_of(id))
    }

    /// The page without the compressed form that is made of this; `None` if it has none.
    pub(super) fn without(&self, id: &CompressedId) -> Option<Self> {
        if !self.has(id) {
            return None;
        }
        let mut encoded = self.encoded.clone();
        encoded.retain(|(_, variant)| !variant.is_made_of(id));
        let page = Self::new(&self.path, self.plain.clone(), encoded);
        Some(Self { demand: self.demand.clone(), ..page })
    }
}

impl Variant {
    /// Notes that the content is sent, so that it stays if it was compressed on the fly.
    #[inline]
    pub(super) fn note_use(&self) {
        if let Some(body) = &self.body {
            body.note_use();
        }
    }

    fn is_made_of(&self, id: &CompressedId) -> bool {
        self.body.as_ref().is_some_and(|body| body.id() == id)
    }

    /// The compressed form of this variant, which is the plain one. It has the same fields, but for
    /// its length, its coding and its tag. With `has_tag`, it has a tag even if the plain one has
    /// none because its modification time says nothing.
    fn compressed(&self, body: &Arc<CompressedBody>, has_tag: bool) -> Self {
        let (old, mut fields) = (&self.groups, Fields::new());
        let copy = |fields: &mut Fields, run: std::ops::Range<usize>| {
            for (name, value) in self.prepared.some(run).iter() {
                // They were made of text.
                fields.push(&String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            }
        };
        fields.push("Content-Length", body.bytes());
        let kind = fields.len() as u8;
        copy(&mut fields, old.kind.into()..old.coding.into());
        let coding = fields.len() as u8;
        fields.push("Content-Encoding", body.id().coding.name());
        let ranges = fields.len() as u8;
        // All validators but the tag, with the date at the end; see [`Groups`].
        let end = if self.tag().is_some() { old.tag.into() } else { old.rest.into() };
        let dated = usize::from(old.ranges)..end;
        let has_date = self.prepared.some(dated.clone()).get("Last-Modified").is_some();
        copy(&mut fields, dated);
        let mut tag = fields.len() as u8;
        if has_tag {
            fields.push("ETag", body.tag());
        } else {
            tag -= u8::from(has_date);
        }
        let rest = fields.len() as u16;
        copy(&mut fields, old.rest.into()..self.prepared.len());
        let groups = Groups { kind, coding, ranges, tag, rest };
        let (content, file) = match body.content() {
            CompressedContent::Memory(bytes) => (&bytes[..], None),
            CompressedContent::File(file) => (&[][..], Some(Arc::clone(file))),
        };
        let (mut bytes, table) = fields.into_buffer(content.len());
        bytes.extend_from_slice(content);
        Self {
            prepared: Rc::new(PreparedFields::new(&bytes, table)),
            groups,
            len: body.bytes(),
            file,
            body: Some(Arc::clone(body)),
            ..self.clone()
        }
    }
}
