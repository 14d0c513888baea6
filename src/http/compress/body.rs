//! Compressed bytes, and what they are made of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::settings::CompressLevel;
use crate::driver::{File, Metadata};
use crate::http::semantics::negotiate::Coding;

/// What bytes are made of. Equal ids mean equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompressedId {
    /// The metadata of the plain file.
    pub plain: Metadata,
    /// The coding.
    pub coding: Coding,
    /// How hard it is compressed.
    pub level: CompressLevel,
}

/// The compressed form of a file.
#[derive(Debug)]
pub struct CompressedBody {
    id: CompressedId,
    tag: Box<str>,
    len: u64,
    content: CompressedContent,
    /// The mark of CLOCK.
    used: AtomicBool,
}

/// Where the bytes are.
#[derive(Debug)]
pub enum CompressedContent {
    /// In this memory.
    Memory(Box<[u8]>),
    /// In a file in memory, which can be sent like any other one.
    File(Arc<File>),
}

impl CompressedBody {
    /// A body with this strong entity tag, as in the field.
    pub(super) fn new(
        id: CompressedId,
        tag: impl Into<Box<str>>,
        content: CompressedContent,
    ) -> Self {
        let len = match &content {
            CompressedContent::Memory(bytes) => bytes.len() as u64,
            CompressedContent::File(file) => file.metadata().len,
        };
        Self { id, tag: tag.into(), len, content, used: AtomicBool::new(false) }
    }

    /// What it is made of.
    pub fn id(&self) -> &CompressedId {
        &self.id
    }

    /// The entity tag, as in the field: a hash of the bytes.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Where the bytes are.
    pub fn content(&self) -> &CompressedContent {
        &self.content
    }

    /// Notes that it was sent, so it stays rather than others. Writes only once per round of the
    /// store, since all workers share this memory.
    pub fn note_use(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the mark of [`CompressedBody::note_use`] away, and returns whether it was there.
    pub(super) fn take_use(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}
