//! Keeps compressed bodies within bounds.
//!
//! Eviction is CLOCK, as in the cache of names: bodies form a circle, a use sets a mark, and the
//! hand evicts the first one without a mark, clearing marks on its way. A body that was evicted
//! still takes memory as long as a worker or a response holds it, so it counts until then
//! ([`VariantStore::has_room`]). For [`RETRY_AFTER`] it is refused; if it is asked for after that
//! and is still held, it comes back.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::body::{CompressedBody, CompressedContent, CompressedId};
use super::settings::CompressBounds;
use crate::driver::File;

/// How long a body that was evicted, or could not be made, is not made again.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How many ids are remembered that are not made again for a while. If there are more, nothing is
/// made until the first of them may be.
const REFUSED_MAX: usize = 16_384;

/// What an entry takes besides its bytes: its place in the tables, and its tag.
const ENTRY_BYTES: u64 = 512;

/// What the store knows of an id.
#[derive(Debug)]
pub(super) enum Stored {
    Body(Arc<CompressedBody>),
    /// It would hardly be smaller than the plain file.
    NotWorth,
    /// It is not made before this time.
    Refused(Instant),
    Unknown,
}

/// The store; see the module documentation.
#[derive(Debug)]
pub(super) struct VariantStore {
    bounds: CompressBounds,
    index: HashMap<CompressedId, usize>,
    /// The circle.
    entries: Vec<StoredVariant>,
    hand: usize,
    size: StoreSize,
    /// What was evicted and is still held by somebody.
    lingering: Vec<LingeringBody>,
    lingering_size: StoreSize,
    /// By the time until when they are refused.
    refused: VecDeque<(Instant, CompressedId)>,
    refused_until: HashMap<CompressedId, Instant>,
    evictions: u64,
}

#[derive(Debug)]
struct StoredVariant {
    id: CompressedId,
    /// `None` if it is not worth it.
    body: Option<Arc<CompressedBody>>,
    /// The mark of CLOCK of an entry without a body.
    is_used: bool,
}

#[derive(Debug)]
struct LingeringBody {
    id: CompressedId,
    tag: Box<str>,
    body: Weak<CompressedBody>,
    /// Responses hold only the file.
    file: Option<Weak<File>>,
    size: StoreSize,
}

/// What entries take.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct StoreSize {
    pub(super) bytes: u64,
    pub(super) files: usize,
}

impl StoreSize {
    fn of(body: Option<&CompressedBody>) -> Self {
        let is_file = body.is_some_and(|body| matches!(body.content(), CompressedContent::File(_)));
        let bytes = body.map_or(0, CompressedBody::bytes);
        Self { bytes: ENTRY_BYTES + bytes, files: usize::from(is_file) }
    }

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, files: self.files + other.files }
    }

    fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes - other.bytes, files: self.files - other.files }
    }

    fn fits(self, bounds: &CompressBounds) -> bool {
        self.bytes <= bounds.bytes && self.files <= bounds.files
    }
}

impl LingeringBody {
    /// The body, if all of it is still there.
    fn body(&self) -> Option<Arc<CompressedBody>> {
        self.body.upgrade().or_else(|| {
            let content = CompressedContent::File(self.file.as_ref()?.upgrade()?);
            Some(Arc::new(CompressedBody::new(self.id, self.tag.clone(), content)))
        })
    }

    fn is_held(&self) -> bool {
        self.body.strong_count() > 0
            || self.file.as_ref().is_some_and(|file| file.strong_count() > 0)
    }
}

impl VariantStore {
    pub(super) fn new(bounds: CompressBounds) -> Self {
        Self {
            bounds,
            index: HashMap::new(),
            entries: Vec::new(),
            hand: 0,
            size: StoreSize::default(),
            lingering: Vec::new(),
            lingering_size: StoreSize::default(),
            refused: VecDeque::new(),
            refused_until: HashMap::new(),
            evictions: 0,
        }
    }

    /// What is known of an id. A body that is found counts as used.
    pub(super) fn find(&mut self, id: &CompressedId, now: Instant) -> Stored {
        if let Some(place) = self.index.get(id) {
            let entry = &mut self.entries[*place];
            entry.is_used = true;
            return match &entry.body {
                Some(body) => {
                    body.note_use();
                    Stored::Body(Arc::clone(body))
                }
                None => Stored::NotWorth,
            };
        }
        self.forget_refused(now);
        match self.refused_until.get(id) {
            Some(until) => Stored::Refused(*until),
            None if self.refused.len() >= REFUSED_MAX => {
                Stored::Refused(self.refused.front().map_or(now, |(until, _)| *until))
            }
            None => self.take_back(id).map_or(Stored::Unknown, Stored::Body),
        }
    }

    /// Makes a body that was evicted and is still held an entry again. It counts already. Made
    /// anew, it would count twice.
    fn take_back(&mut self, id: &CompressedId) -> Option<Arc<CompressedBody>> {
        let (place, body) = self.lingering.iter().enumerate().find_map(|(place, lingering)| {
            let body = (lingering.id == *id).then(|| lingering.body())?;
            Some((place, body?))
        })?;
        let LingeringBody { size, .. } = self.lingering.swap_remove(place);
        self.lingering_size = self.lingering_size.minus(size);
        self.add(*id, Some(Arc::clone(&body)));
        Some(body)
    }

    /// Evicts entries until one with this body fits as soon as nobody holds those that were
    /// evicted. Returns their ids. `None` if it never fits.
    pub(super) fn make_room(
        &mut self,
        body: Option<&CompressedBody>,
        now: Instant,
    ) -> Option<Vec<CompressedId>> {
        self.evict_for(StoreSize::of(body), now)
    }

    /// Evicts further entries until one with this body fits beside what was evicted and is still
    /// held: a client that reads slowly may hold that for long. Returns their ids; none if the rest
    /// would not be enough.
    pub(super) fn make_more_room(
        &mut self,
        body: Option<&CompressedBody>,
        now: Instant,
    ) -> Vec<CompressedId> {
        let needed = StoreSize::of(body).plus(self.lingering_size);
        self.evict_for(needed, now).unwrap_or_default()
    }

    /// Evicts entries until there is room for so much beside the others. Returns the ids of those
    /// that had a body. `None`, and evicts nothing, if the store is too small.
    fn evict_for(&mut self, needed: StoreSize, now: Instant) -> Option<Vec<CompressedId>> {
        if !needed.fits(&self.bounds) {
            return None;
        }
        let mut evicted = Vec::new();
        while !self.size.plus(needed).fits(&self.bounds) {
            evicted.extend(self.evict(now));
        }
        Some(evicted)
    }

    /// Whether an entry with this body fits into the empty store.
    pub(super) fn may_fit(&self, body: Option<&CompressedBody>) -> bool {
        StoreSize::of(body).fits(&self.bounds)
    }

    /// Whether an entry with this body fits now, with all that was evicted and is still held.
    pub(super) fn has_room(&mut self, body: Option<&CompressedBody>) -> bool {
        let mut size = StoreSize::default();
        self.lingering.retain(|body| {
            let is_held = body.is_held();
            if is_held {
                size = size.plus(body.size);
            }
            is_held
        });
        self.lingering_size = size;
        self.taken().plus(StoreSize::of(body)).fits(&self.bounds)
    }

    /// Adds an entry, for which [`VariantStore::has_room`]. Without a body, it is not worth it.
    pub(super) fn insert(&mut self, id: CompressedId, body: Option<Arc<CompressedBody>>) {
        if !self.index.contains_key(&id) {
            self.add(id, body);
        }
    }

    fn add(&mut self, id: CompressedId, body: Option<Arc<CompressedBody>>) {
        self.size = self.size.plus(StoreSize::of(body.as_deref()));
        self.index.insert(id, self.entries.len());
        self.entries.push(StoredVariant { id, body, is_used: false });
        assert!(self.taken().fits(&self.bounds), "the store is larger than its bounds");
    }

    /// Refuses an id for a while.
    pub(super) fn refuse(&mut self, id: CompressedId, now: Instant) {
        self.forget_refused(now);
        if self.refused.len() >= REFUSED_MAX {
            // Only evictions, and jobs that were asked for before: [`VariantStore::find`] refuses
            // all others until the first id is forgotten. So what is not remembered here is made
            // again then at the earliest.
            return;
        }
        let until = now + RETRY_AFTER;
        if self.refused_until.insert(id, until).is_none() {
            self.refused.push_back((until, id));
        }
    }

    /// What everything takes, also what was evicted and is still held.
    pub(super) fn taken(&self) -> StoreSize {
        self.size.plus(self.lingering_size)
    }

    /// How many bodies there are.
    pub(super) fn bodies(&self) -> usize {
        self.entries.iter().filter(|entry| entry.body.is_some()).count()
    }

    /// How many entries were evicted.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Evicts one entry, and returns its id if it had a body.
    fn evict(&mut self, now: Instant) -> Option<CompressedId> {
        assert!(!self.entries.is_empty(), "an empty store is within its bounds");
        // Ends within two rounds, because the first one clears all marks, unless workers keep
        // setting them; so there is no third one.
        let rounds_end = 2 * self.entries.len();
        for step in 0..=rounds_end {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let entry = &mut self.entries[self.hand];
            let was_used = match &entry.body {
                Some(body) => body.take_use(),
                None => std::mem::take(&mut entry.is_used),
            };
            if !was_used || step == rounds_end {
                break;
            }
            self.hand += 1;
        }
        let place = self.hand;
        // The newest entry moves to this place. The hand goes on, so that it has a whole round.
        self.hand += 1;
        let StoredVariant { id, body, .. } = self.entries.swap_remove(place);
        self.index.remove(&id);
        if let Some(moved) = self.entries.get(place) {
            self.index.insert(moved.id, place);
        }
        let size = StoreSize::of(body.as_deref());
        self.size = self.size.minus(size);
        self.evictions += 1;
        self.refuse(id, now);
        let body = body?;
        let file = match body.content() {
            CompressedContent::File(file) => Some(Arc::downgrade(file)),
            CompressedContent::Memory(_) => None,
        };
        let (tag, body) = (body.tag().into(), Arc::downgrade(&body));
        self.lingering.push(LingeringBody { id, tag, body, file, size });
        self.lingering_size = self.lingering_size.plus(size);
        Some(id)
    }

    fn forget_refused(&mut self, now: Instant) {
        while let Some((until, id)) = self.refused.front() {
            if *until > now {
                break;
            }
            self.refused_until.remove(id);
            self.refused.pop_front();
        }
    }
}
