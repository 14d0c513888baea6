//! The compressor of a worker, and where its bodies are.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::super::cache::Cache;
use super::super::resource::{Page, Resource};
use crate::http::compress::{CompressedId, Compressor};

/// Under how many names the pages with a body are found again. A file has few: its own, those of a
/// directory whose index it is, and those of an error or fallback page.
const NAMES_MAX: usize = 16;

/// The compressor, and where its bodies are.
#[derive(Debug)]
pub(super) struct Compression {
    pub(super) compressor: Arc<Compressor>,
    /// The keys of pages that have had a body.
    pub(super) pages: HashMap<CompressedId, Vec<Rc<[u8]>>, foldhash::fast::RandomState>,
}

/// The page that is cached under a key.
pub(super) fn page_of<'c>(cache: &'c Cache<Rc<Resource>>, key: &[u8]) -> Option<&'c Page> {
    match cache.peek(key).map(|known| &**known) {
        Some(Resource::Page(page)) => Some(page),
        _ => None,
    }
}

impl Compression {
    pub(super) fn new(compressor: Arc<Compressor>) -> Self {
        Self { compressor, pages: HashMap::default() }
    }

    /// Notes that the page of a key has a body.
    pub(super) fn note(&mut self, id: CompressedId, key: &[u8], cache: &Cache<Rc<Resource>>) {
        let keys = self.pages.entry(id).or_default();
        if keys.len() >= NAMES_MAX {
            // Sites have other keys after a reload.
            keys.retain(|key| page_of(cache, key).is_some_and(|page| page.has(&id)));
        }
        if keys.len() < NAMES_MAX && !keys.iter().any(|known| **known == *key) {
            keys.push(key.into());
        }
    }
}
