//! The table of a worker's lookups. Sessions share lookups, and a limited number runs at a time.
//! Lookups of listings wait in a line of their own, where clients take turns.
//!
//! ```text
//! add --> InLine --> Starting (may wait for the root) --> Running --> Done --> removed
//! ```
//!
//! A session that needs a name joins the lookup of that name, unless the lookup began too long ago,
//! or the name changed after it began ([`Lookups::doubt`]). Then a new lookup starts, and the old
//! one goes on for the sessions that wait for it. When the last session leaves a lookup, its
//! questions are cancelled. It is removed when all its questions have replies.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::listing_line::ListingLine;
use super::lookup::Lookup;
use crate::ask::AskId;
use crate::clients::ClientKey;
use crate::driver::slot_map::{Handle, SlotMap};
use crate::service::{SessionId, Waiter};
use waiters::Waiters;

mod listings;
mod waiters;

/// The capacity of the table. A request for another lookup gets 503.
pub(super) const LOOKUPS_MAX: u32 = 1 << 16;

/// The most parts of a lookup. An [`AskId`] is the slot of the lookup times this, plus the part.
const PARTS_MAX: u32 = 16;

/// The ids of all questions of lookups are smaller.
pub(super) const ASKS_MAX: u32 = LOOKUPS_MAX * PARTS_MAX;

/// Identifies a lookup for a session that waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(Handle<Self>);

/// The table of lookups; see the module documentation.
#[derive(Debug)]
pub(super) struct Lookups {
    entries: SlotMap<LookupEntry, Ticket>,
    /// The newest lookup of each name, which sessions may join, by key.
    current: HashMap<Rc<[u8]>, Handle<Ticket>, foldhash::fast::RandomState>,
    /// The lookups in line, except those of listings, and some that have left it.
    line: VecDeque<Handle<Ticket>>,
    /// How many of `line` have left it.
    left: usize,
    listings: ListingLine<Handle<Ticket>>,
    /// All lookups that have left the line. At most `running_max` of them may open files.
    running: Vec<Handle<Ticket>>,
    running_max: u32,
}

/// One lookup, and the sessions that wait for it.
#[derive(Debug)]
pub(super) struct LookupEntry {
    pub(super) key: Rc<[u8]>,
    pub(super) lookup: Lookup,
    waiters: Waiters,
    state: LookupState,
    /// For a listing in line: the clients that wait for it.
    clients: Vec<ClientKey>,
    /// For a listing that has left the line: the client whose turn it is.
    turn_of: Option<ClientKey>,
    /// A bit for each part whose question has no reply yet.
    open: u16,
    /// A change was reported after the lookup began, so its result may be outdated.
    pub(super) in_doubt: bool,
    /// It began before its directory was watched.
    pub(super) unwatched: bool,
    /// When its root was last known to be the root of the site.
    pub(super) root_known: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LookupState {
    InLine,
    /// It has left the line, and has asked nothing yet.
    Starting,
    Running,
    /// Its outcome is known or no longer needed, but some questions have no reply yet.
    Done,
}

impl LookupEntry {
    /// Whether the lookup has left the line and is not done.
    fn is_active(&self) -> bool {
        matches!(self.state, LookupState::Starting | LookupState::Running)
    }
}

impl Lookups {
    pub(super) fn new(running_max: u32) -> Self {
        assert!(running_max > 0, "with a limit of 0, no lookup would ever begin");
        Self {
            entries: SlotMap::marked(LOOKUPS_MAX),
            current: HashMap::default(),
            line: VecDeque::new(),
            left: 0,
            listings: ListingLine::default(),
            running: Vec::new(),
            running_max,
        }
    }

    /// Joins the lookup of a name. `None` if there is none, or if it began more than `age_max` ago.
    pub(super) fn join(
        &mut self,
        key: &[u8],
        now: Instant,
        age_max: Duration,
        waiter: Waiter,
    ) -> Option<Ticket> {
        let handle = self.joinable(key, now, age_max)?;
        self.entries.get_mut(handle).expect("it was just found").waiters.add(waiter);
        Some(Ticket(handle))
    }

    /// The lookup of a name, unless it began more than `age_max` ago.
    fn joinable(&self, key: &[u8], now: Instant, age_max: Duration) -> Option<Handle<Ticket>> {
        let handle = *self.current.get(key)?;
        let entry = self.entries.get(handle).expect("a current lookup is in the table");
        let age = now.saturating_duration_since(entry.lookup.begun());
        (entry.state == LookupState::InLine || age <= age_max).then_some(handle)
    }

    /// Appends a lookup to the line. `None` if the table is full.
    pub(super) fn add(&mut self, key: &[u8], lookup: Lookup, waiter: Waiter) -> Option<Ticket> {
        let handle = self.insert(key, lookup, waiter)?;
        self.line.push_back(handle);
        Some(Ticket(handle))
    }

    /// Adds a lookup to the table. `None` if the table is full.
    fn insert(&mut self, key: &[u8], lookup: Lookup, waiter: Waiter) -> Option<Handle<Ticket>> {
        let key: Rc<[u8]> = key.into();
        let mut entry = LookupEntry {
            key: Rc::clone(&key),
            lookup,
            waiters: Waiters::default(),
            state: LookupState::InLine,
            clients: Vec::new(),
            turn_of: None,
            open: 0,
            in_doubt: false,
            unwatched: false,
            root_known: None,
        };
        entry.waiters.add(waiter);
        let handle = self.entries.insert(entry).ok()?;
        self.current.insert(key, handle);
        Some(handle)
    }

    /// Whether any lookup is in line and may be next.
    #[inline]
    pub(super) fn has_line(&self) -> bool {
        self.line.len() > self.left || self.listings.may_begin()
    }

    /// Takes the next lookup out of the line, if it may begin.
    pub(super) fn next_in_line(&mut self) -> Option<Handle<Ticket>> {
        if self.opening() >= self.running_max as usize {
            return None;
        }
        // Listings first: only a few of them are out of the line at a time.
        let handle = self.next_listing().or_else(|| self.next_other())?;
        let entry = self.entries.get_mut(handle).expect("a lookup in line is in the table");
        assert_eq!(entry.state, LookupState::InLine, "a lookup begins once");
        entry.state = LookupState::Starting;
        self.running.push(handle);
        debug_assert!(self.opening() <= self.running_max as usize, "too many lookups open files");
        Some(handle)
    }

    /// Takes the next lookup that is not of a listing out of the line.
    fn next_other(&mut self) -> Option<Handle<Ticket>> {
        while let Some(handle) = self.line.pop_front() {
            if self.entries.get(handle).is_some() {
                return Some(handle);
            }
            self.left -= 1;
        }
        None
    }

    /// The number of lookups that may open files. A lookup that waits for a listing does not count:
    /// it only has its directory open, and may wait for long.
    fn opening(&self) -> usize {
        let entries = self.running.iter().filter_map(|handle| self.entries.get(*handle));
        entries.filter(|entry| !entry.lookup.waits_for_listing()).count()
    }

    /// A lookup that has left the line and is not done.
    pub(super) fn get_mut(&mut self, handle: Handle<Ticket>) -> Option<&mut LookupEntry> {
        self.entries.get_mut(handle).filter(|entry| entry.is_active())
    }

    /// Records that a part has a question, and returns the id of the question.
    pub(super) fn opened(&mut self, handle: Handle<Ticket>, part: u8) -> AskId {
        let entry = self.get_mut(handle).expect("only an active lookup asks");
        let is_free = u32::from(part) < PARTS_MAX && entry.open & 1 << part == 0;
        assert!(is_free, "part {part} has one question at a time");
        entry.open |= 1 << part;
        entry.state = LookupState::Running;
        AskId(handle.slot() * PARTS_MAX + u32::from(part))
    }

    /// Records that a question has its reply. Returns the lookup, which may be done, and the part.
    pub(super) fn replied(&mut self, id: AskId) -> (Handle<Ticket>, u8) {
        let (slot, part) = (id.0 / PARTS_MAX, id.0 % PARTS_MAX);
        let handle = self.entries.handle_at(slot).expect("a lookup outlives its questions");
        let entry = self.entries.get_mut(handle).expect("the slot is in use");
        assert!(entry.open & 1 << part != 0, "a question has one reply");
        entry.open &= !(1 << part);
        if entry.state == LookupState::Done && entry.open == 0 {
            self.remove(handle);
        }
        (handle, part as u8)
    }

    /// Ends a lookup whose outcome is known, and returns the sessions that wait for it.
    pub(super) fn finish(&mut self, handle: Handle<Ticket>) -> Vec<Waiter> {
        let entry = self.entries.get_mut(handle).expect("a lookup ends once");
        assert!(entry.is_active(), "a lookup has one outcome");
        entry.state = LookupState::Done;
        let waiters = entry.waiters.take();
        if self.current.get(&entry.key) == Some(&handle) {
            self.current.remove(&entry.key);
        }
        if entry.open == 0 {
            self.remove(handle);
        }
        waiters
    }

    fn remove(&mut self, handle: Handle<Ticket>) {
        let removed = self.entries.remove(handle);
        self.running.retain(|other| *other != handle);
        if let Some(client) = removed.and_then(|entry| entry.turn_of) {
            self.listings.end(client);
        }
    }

    /// Removes a lookup that is in line.
    fn withdraw(&mut self, handle: Handle<Ticket>) {
        let Some(removed) = self.entries.remove(handle) else { return };
        if self.current.get(&removed.key) == Some(&handle) {
            self.current.remove(&removed.key);
        }
        self.leave_listings(handle, &removed.clients);
    }

    /// Notes that a lookup was withdrawn from the line. It stays there until at least half of the
    /// line have left, because thousands may leave at once, and finding each would take long.
    fn shorten_line(&mut self) {
        self.left += 1;
        if 2 * self.left > self.line.len() {
            let Self { line, entries, .. } = self;
            line.retain(|handle| entries.get(*handle).is_some());
            self.left = 0;
        }
    }

    /// All lookups in the table that are not done.
    pub(super) fn tickets(&self) -> Vec<Ticket> {
        let is_done = |handle: &Handle<Ticket>| {
            self.entries.get(*handle).is_none_or(|entry| entry.state == LookupState::Done)
        };
        self.entries.handles().into_iter().filter(|it| !is_done(it)).map(Ticket).collect()
    }

    /// The key of a lookup that is in the table.
    pub(super) fn key(&self, ticket: Ticket) -> Option<Rc<[u8]>> {
        self.entries.get(ticket.0).map(|entry| Rc::clone(&entry.key))
    }

    /// Ends a lookup without an outcome. Returns the sessions that wait for it, and the ids of its
    /// questions without a reply, to be cancelled.
    pub(super) fn end(&mut self, ticket: Ticket) -> (Vec<Waiter>, Vec<AskId>) {
        let Some(entry) = self.entries.get_mut(ticket.0) else { return Default::default() };
        let waiters = entry.waiters.take();
        (waiters, self.abandon(ticket.0))
    }

    /// Stops waiting. If no other session waits for the lookup, it ends, and the ids of its
    /// questions without a reply are returned to be cancelled.
    pub(super) fn leave(&mut self, ticket: Ticket, session: SessionId) -> Vec<AskId> {
        let Ticket(handle) = ticket;
        let Some(entry) = self.entries.get_mut(handle) else { return Vec::new() };
        entry.waiters.remove(session);
        if entry.state == LookupState::Done || !entry.waiters.is_empty() {
            return Vec::new();
        }
        self.abandon(handle)
    }

    /// Ends a lookup for which no session waits, and returns the ids of its questions without a
    /// reply.
    fn abandon(&mut self, handle: Handle<Ticket>) -> Vec<AskId> {
        let entry = self.entries.get_mut(handle).expect("the lookup is in the table");
        if entry.state == LookupState::InLine {
            let is_listing = !entry.clients.is_empty();
            self.withdraw(handle);
            if !is_listing {
                self.shorten_line();
            }
            return Vec::new();
        }
        if self.current.get(&entry.key) == Some(&handle) {
            self.current.remove(&entry.key);
        }
        entry.state = LookupState::Done;
        let open = entry.open;
        if open == 0 {
            self.remove(handle);
        }
        let parts = (0..PARTS_MAX).filter(|part| open & 1 << part != 0);
        parts.map(|part| AskId(handle.slot() * PARTS_MAX + part)).collect()
    }

    /// Marks running lookups of keys that a change concerns: they may have read the state before
    /// the change, so no more sessions may join them.
    pub(super) fn doubt(&mut self, concerns: impl Fn(&[u8]) -> bool) {
        for handle in &self.running {
            let entry = self.entries.get_mut(*handle).expect("a running lookup is in the table");
            if entry.state == LookupState::Running && concerns(&entry.key) {
                entry.in_doubt = true;
                if self.current.get(&entry.key) == Some(handle) {
                    self.current.remove(&entry.key);
                }
            }
        }
    }

    /// Marks running lookups of keys whose directory is watched only from now on: they may have
    /// missed a change.
    pub(super) fn note_unwatched(&mut self, concerns: impl Fn(&[u8]) -> bool) {
        for handle in &self.running {
            let entry = self.entries.get_mut(*handle).expect("a running lookup is in the table");
            entry.unwatched |= entry.state == LookupState::Running && concerns(&entry.key);
        }
    }

    /// The number of lookups in the table.
    #[cfg(test)]
    pub(super) fn len(&self) -> u32 {
        self.entries.len()
    }
}
