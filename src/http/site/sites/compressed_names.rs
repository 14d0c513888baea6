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

    /// Notes that the page of a key is about to get a body. Returns whether it is noted: there may
    /// be too many.
    pub(super) fn note(
        &mut self,
        id: CompressedId,
        key: &[u8],
        cache: &Cache<Rc<Resource>>,
    ) -> bool {
        let keys = self.pages.entry(id).or_default();
        if keys.len() >= NAMES_MAX {
            // Sites have other keys after a reload.
            keys.retain(|key| page_of(cache, key).is_some_and(|page| page.has(&id)));
        }
        if keys.iter().any(|known| **known == *key) {
            return true;
        }
        let has_room = keys.len() < NAMES_MAX;
        if has_room {
            keys.push(key.into());
        }
        has_room
    }
}

#[cfg(all(test, feature = "compress"))]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::driver::{FileKind, Metadata};
    use crate::http::compress::{
        AskedBody, CompressBounds, CompressLevel, CompressSource, CompressedBody,
    };
    use crate::http::semantics::fields::Fields;
    use crate::http::semantics::negotiate::Coding;
    use crate::http::site::resource::{Description, Variant};

    const TEXT: [u8; 5000] = [b'a'; 5000];

    fn body(compressor: &Compressor) -> Arc<CompressedBody> {
        let plain = Metadata {
            kind: FileKind::Regular,
            len: TEXT.len() as u64,
            modified: (1, 0),
            changed: (1, 0),
            inode: 1,
            device: 1,
        };
        let id = CompressedId { plain, coding: Coding::Gzip, level: CompressLevel::Fast };
        let ask = || compressor.ask(&id, Instant::now(), || CompressSource::Memory(TEXT.to_vec()));
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match ask() {
                AskedBody::Found(body) => return body,
                other => assert!(Instant::now() < until, "{other:?}"),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A page that is not noted would keep its body for ever.
    #[test]
    fn a_page_is_noted_or_it_is_said_that_it_is_not() {
        let compressor = Arc::new(Compressor::new(CompressBounds::default(), Box::new(|_| {})));
        let body = body(&compressor);
        let fields = Fields::new();
        let about =
            Description { content_type: "text/plain", coding: None, vary: "", fields: &fields };
        let plain = Variant::made(about, &TEXT, true);
        let page = || Page::new(b"a", plain.clone(), Vec::new()).with(&body);
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut cache = Cache::new(100, 1 << 20, second, second);
        let mut compression = Compression::new(compressor);
        let id = *body.id();
        let insert = |cache: &mut Cache<Rc<Resource>>, number: u8| {
            let page = Resource::Page(page());
            let weight = page.weight(&[number]);
            cache.insert(&[number], Rc::new(page), weight, now);
        };
        for number in 0..NAMES_MAX as u8 {
            assert!(compression.note(id, &[number], &cache), "{number}");
            insert(&mut cache, number);
        }
        assert!(compression.note(id, &[0], &cache), "it is known");
        assert!(!compression.note(id, &[99], &cache), "there are too many");
        cache.remove(&[3]);
        assert!(compression.note(id, &[99], &cache), "one is gone");
        insert(&mut cache, 99);
        assert!(!compression.note(id, &[100], &cache));
    }
}
