//! The lookups of a worker: one for each name, whoever asks, and a bounded number at a time.
//!
//! ```text
//! join --> in line --> starting (perhaps the root is asked for) --> running --> done
//! ```
//!
//! A session that asks for a name joins the lookup of that name if there is one that tells what the
//! name is now: not one that began longer ago than answers may be old, and not one that a change
//! has overtaken ([`Lookups::doubt`]). Such a lookup goes on for those who wait for it, and a newer
//! one takes its place. When nobody waits any more, what it has asked is cancelled.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::lookup::Lookup;
use crate::ask::AskId;
use crate::driver::slot_map::{Handle, SlotMap};
use crate::service::{SessionId, Waiter};

/// Lookups at a time, those in line included. A session that needs one more is told to try again.
pub(super) const LOOKUPS_MAX: u32 = 1 << 16;

/// Parts of a lookup, at most: an [`AskId`] is the slot of the lookup times this, plus the part.
const PARTS_MAX: u32 = 16;

/// Names a lookup, for who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(Handle<Self>);

/// The table; see the module documentation.
#[derive(Debug)]
pub(super) struct Lookups {
    entries: SlotMap<Entry, Ticket>,
    /// The lookup that a session may join, by the key of its name.
    current: HashMap<Rc<[u8]>, Handle<Ticket>, foldhash::fast::RandomState>,
    line: VecDeque<Handle<Ticket>>,
    /// Those that are not in line. At most `running_max` of them do not wait for a listing.
    running: Vec<Handle<Ticket>>,
    running_max: u32,
}

/// One lookup, and who waits for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Rc<[u8]>,
    pub(super) lookup: Lookup,
    waiters: Vec<Waiter>,
    state: State,
    /// Parts that have been asked for and not replied to, a bit each.
    open: u16,
    /// A change was heard of since it began, which it may have missed.
    pub(super) in_doubt: bool,
    /// It began before its directory was watched.
    pub(super) unwatched: bool,
    /// Since when the root that it looks in was known to be the root.
    pub(super) root_known: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    InLine,
    /// It has its turn, and has not looked at any file.
    Starting,
    Running,
    /// Its outcome is known, or nobody wants it. What it has asked is still to be replied to.
    Done,
}

impl Lookups {
    pub(super) fn new(running_max: u32) -> Self {
        assert!(running_max > 0, "somebody has to look names up");
        Self {
            entries: SlotMap::marked(LOOKUPS_MAX),
            current: HashMap::default(),
            line: VecDeque::new(),
            running: Vec::new(),
            running_max,
        }
    }

    /// Joins the lookup of a name, unless there is none or it began more than `age_max` ago.
    pub(super) fn join(
        &mut self,
        key: &[u8],
        now: Instant,
        age_max: Duration,
        waiter: Waiter,
    ) -> Option<Ticket> {
        let handle = *self.current.get(key)?;
        let entry = self.entries.get_mut(handle).expect("what is current is there");
        let age = now.saturating_duration_since(entry.lookup.begun());
        if entry.state != State::InLine && age > age_max {
            return None;
        }
        entry.waiters.push(waiter);
        Some(Ticket(handle))
    }

    /// Puts the lookup of a name in line; `None` when there are too many.
    pub(super) fn add(&mut self, key: &[u8], lookup: Lookup, waiter: Waiter) -> Option<Ticket> {
        let key: Rc<[u8]> = key.into();
        let entry = Entry {
            key: Rc::clone(&key),
            lookup,
            waiters: vec![waiter],
            state: State::InLine,
            open: 0,
            in_doubt: false,
            unwatched: false,
            root_known: None,
        };
        let handle = self.entries.insert(entry).ok()?;
        self.current.insert(key, handle);
        self.line.push_back(handle);
        Some(Ticket(handle))
    }

    /// Whether a lookup waits in line.
    #[inline]
    pub(super) fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// The next lookup that may begin.
    pub(super) fn next_in_line(&mut self) -> Option<Handle<Ticket>> {
        if self.opening() >= self.running_max as usize {
            return None;
        }
        while let Some(handle) = self.line.pop_front() {
            // It is gone if nobody waits for it any more.
            if let Some(entry) = self.entries.get_mut(handle) {
                entry.state = State::Starting;
                self.running.push(handle);
                return Some(handle);
            }
        }
        None
    }

    /// Lookups that have files open, or may open some. One that waits for a listing does not count:
    /// it holds its directory only, and may wait for long.
    fn opening(&self) -> usize {
        let entries = self.running.iter().filter_map(|handle| self.entries.get(*handle));
        entries.filter(|entry| !entry.lookup.waits_for_listing()).count()
    }

    /// A lookup that has its turn and is not over.
    pub(super) fn get_mut(&mut self, handle: Handle<Ticket>) -> Option<&mut Entry> {
        let is_active =
            |entry: &&mut Entry| matches!(entry.state, State::Starting | State::Running);
        self.entries.get_mut(handle).filter(is_active)
    }

    /// Notes that a part was asked for; gives the name of the question.
    pub(super) fn opened(&mut self, handle: Handle<Ticket>, part: u8) -> AskId {
        let entry = self.entries.get_mut(handle).expect("it runs");
        assert!(u32::from(part) < PARTS_MAX && entry.open & 1 << part == 0, "part {part} is free");
        entry.open |= 1 << part;
        entry.state = State::Running;
        AskId(handle.slot() * PARTS_MAX + u32::from(part))
    }

    /// Notes that a question was replied to: which lookup and part it was. The lookup may be over.
    pub(super) fn replied(&mut self, id: AskId) -> (Handle<Ticket>, u8) {
        let (slot, part) = (id.0 / PARTS_MAX, id.0 % PARTS_MAX);
        let handle = self.entries.handle_at(slot).expect("a lookup outlives its questions");
        let entry = self.entries.get_mut(handle).expect("it was just found");
        assert!(entry.open & 1 << part != 0, "a question is replied to once");
        entry.open &= !(1 << part);
        if entry.state == State::Done && entry.open == 0 {
            self.remove(handle);
        }
        (handle, part as u8)
    }

    /// Ends a lookup whose outcome is known; gives those who wait for it.
    pub(super) fn finish(&mut self, handle: Handle<Ticket>) -> Vec<Waiter> {
        let entry = self.entries.get_mut(handle).expect("it runs");
        assert!(entry.state != State::Done, "a lookup has one outcome");
        entry.state = State::Done;
        let waiters = std::mem::take(&mut entry.waiters);
        if self.current.get(&entry.key) == Some(&handle) {
            self.current.remove(&entry.key);
        }
        if entry.open == 0 {
            self.remove(handle);
        }
        waiters
    }

    fn remove(&mut self, handle: Handle<Ticket>) {
        self.entries.remove(handle);
        self.running.retain(|other| *other != handle);
    }

    /// A session does not wait any more. If nobody else does, the lookup ends; gives the names of
    /// the questions that are not needed then.
    pub(super) fn leave(&mut self, ticket: Ticket, session: SessionId) -> Vec<AskId> {
        let Ticket(handle) = ticket;
        let Some(entry) = self.entries.get_mut(handle) else { return Vec::new() };
        entry.waiters.retain(|waiter| waiter.session != session);
        if entry.state == State::Done || !entry.waiters.is_empty() {
            return Vec::new();
        }
        if self.current.get(&entry.key) == Some(&handle) {
            self.current.remove(&entry.key);
        }
        if entry.state == State::InLine {
            // The line is bounded by the table only if it keeps no names of lookups that are gone.
            self.entries.remove(handle);
            self.line.retain(|other| *other != handle);
            return Vec::new();
        }
        entry.state = State::Done;
        let open = entry.open;
        if open == 0 {
            self.remove(handle);
        }
        let parts = (0..PARTS_MAX).filter(|part| open & 1 << part != 0);
        parts.map(|part| AskId(handle.slot() * PARTS_MAX + part)).collect()
    }

    /// A change concerns the names of these keys: lookups that run may have missed it.
    pub(super) fn doubt(&mut self, concerns: impl Fn(&[u8]) -> bool) {
        for handle in &self.running {
            let entry = self.entries.get_mut(*handle).expect("what runs is there");
            if entry.state == State::Running && concerns(&entry.key) {
                entry.in_doubt = true;
                if self.current.get(&entry.key) == Some(handle) {
                    self.current.remove(&entry.key);
                }
            }
        }
    }

    /// Directories with these names are watched from now on: lookups in them have begun before.
    pub(super) fn note_unwatched(&mut self, concerns: impl Fn(&[u8]) -> bool) {
        for handle in &self.running {
            let entry = self.entries.get_mut(*handle).expect("what runs is there");
            entry.unwatched |= entry.state == State::Running && concerns(&entry.key);
        }
    }

    /// Lookups, for the figures of a test.
    #[cfg(test)]
    pub(super) fn len(&self) -> u32 {
        self.entries.len()
    }
}
