//! Compares the table of lookups with a model: which lookups can be joined, in which order they
//! begin, and when they are removed.

use std::collections::VecDeque;
use std::time::Instant;

use super::*;
use crate::driver::slot_map::Handle;
use crate::http::site::lookups::Lookups;

const RUNNING_MAX: u32 = 3;
const AGE_MAX: Duration = Duration::from_secs(2);
const KEYS: [&[u8]; 3] = [b"a", b"b", b"c"];

/// A lookup in the model.
#[derive(Debug)]
struct One {
    key: &'static [u8],
    ticket: Ticket,
    /// `None` while the lookup is in line.
    handle: Option<Handle<Ticket>>,
    begun: Instant,
    /// Whether it may be joined.
    current: bool,
    over: bool,
    waiters: Vec<Waiter>,
    open: Vec<(u8, AskId)>,
    /// Whether it has asked any question.
    has_asked: bool,
}

impl One {
    fn runs(&self) -> bool {
        self.handle.is_some() && !self.over
    }

    fn may_be_joined(&self, now: Instant) -> bool {
        self.current && !(self.runs() && now - self.begun > AGE_MAX)
    }
}

/// The table and its model. Each operation is applied to both, and the results are compared.
#[derive(Debug)]
struct Pair {
    table: Lookups,
    all: Vec<One>,
    /// The lookups in line.
    line: VecDeque<Ticket>,
    settings: SiteSettings,
    now: Instant,
    sessions: u32,
}

impl Pair {
    fn new() -> Self {
        let settings = SiteSettings::new(open_root(Path::new("/")));
        let table = Lookups::new(RUNNING_MAX);
        let (all, line) = (Vec::new(), VecDeque::new());
        Self { table, all, line, settings, now: Instant::now(), sessions: 0 }
    }

    fn find(&mut self, key: &'static [u8]) {
        self.sessions += 1;
        let session = SessionId::detached(self.sessions);
        let waiter = Waiter { session, id: AskId(self.sessions) };
        let joined = self.table.join(key, self.now, AGE_MAX, waiter);
        let now = self.now;
        let expected = self.all.iter_mut().find(|one| one.key == key && one.may_be_joined(now));
        assert_eq!(joined, expected.as_ref().map(|one| one.ticket));
        if let Some(one) = expected {
            return one.waiters.push(waiter);
        }
        let name = ResourceName::Target { path: key, directory: false };
        let lookup = Lookup::new(&self.settings, &self.settings.root.0, &name, self.now);
        let ticket = self.table.add(key, lookup, waiter).unwrap();
        self.all.iter_mut().filter(|one| one.key == key).for_each(|one| one.current = false);
        self.line.push_back(ticket);
        let (handle, open, waiters) = (None, Vec::new(), vec![waiter]);
        let (begun, current, over) = (self.now, true, false);
        let has_asked = false;
        self.all.push(One { key, ticket, handle, begun, current, over, waiters, open, has_asked });
    }

    fn begin(&mut self) {
        let begun = self.all.iter().filter(|one| one.handle.is_some()).count();
        let next = self.table.next_in_line();
        let may = begun < RUNNING_MAX as usize;
        let expected = if may { self.line.pop_front() } else { None };
        assert_eq!(next.is_some(), expected.is_some());
        if let (Some(handle), Some(ticket)) = (next, expected) {
            assert_eq!(format!("Ticket({handle:?})"), format!("{ticket:?}"));
            let one = self.all.iter_mut().find(|one| one.ticket == ticket).unwrap();
            one.handle = Some(handle);
        }
    }

    /// Asks the question of one more part.
    fn open(&mut self, number: usize, part: u8) {
        let one = &mut self.all[number];
        let is_free = one.open.iter().all(|(other, _)| *other != part);
        if let Some(handle) = one.handle.filter(|_| one.runs() && is_free) {
            let id = self.table.opened(handle, part);
            let all = self.all.iter().flat_map(|one| &one.open);
            assert!(all.into_iter().all(|(_, other)| *other != id), "{id:?} is open");
            self.all[number].open.push((part, id));
            self.all[number].has_asked = true;
        }
    }

    fn reply(&mut self, number: usize) {
        let one = &mut self.all[number];
        if let Some((part, id)) = one.open.pop() {
            assert_eq!(self.table.replied(id), (one.handle.unwrap(), part));
            self.drop_if_over(number);
        }
    }

    fn finish(&mut self, number: usize) {
        let one = &mut self.all[number];
        if let Some(handle) = one.handle.filter(|_| one.runs()) {
            assert_eq!(self.table.finish(handle), std::mem::take(&mut one.waiters));
            (one.over, one.current) = (true, false);
            self.drop_if_over(number);
        }
    }

    fn leave(&mut self, number: usize, waiter: usize) {
        let one = &mut self.all[number];
        if one.waiters.is_empty() {
            return;
        }
        let session = one.waiters.swap_remove(waiter % one.waiters.len()).session;
        let mut cancelled = self.table.leave(one.ticket, session);
        let mut expected = Vec::new();
        if one.waiters.is_empty() {
            expected.extend(one.open.iter().map(|(_, id)| *id));
            (one.over, one.current) = (true, false);
            let ticket = one.ticket;
            self.line.retain(|other| *other != ticket);
        }
        cancelled.sort_unstable();
        expected.sort_unstable();
        assert_eq!(cancelled, expected);
        // `swap_remove` has changed the order of the waiters.
        one.waiters.sort_unstable_by_key(|waiter| waiter.id);
        self.drop_if_over(number);
    }

    fn doubt(&mut self, key: &[u8]) {
        self.table.doubt(|other| other == key);
        for one in &mut self.all {
            one.current &= !(one.runs() && one.has_asked && one.key == key);
        }
    }

    fn drop_if_over(&mut self, number: usize) {
        if self.all[number].over && self.all[number].open.is_empty() {
            self.all.remove(number);
        }
    }
}

#[test]
fn the_table_agrees_with_its_model() {
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..20 {
        let mut pair = Pair::new();
        for _ in 0..if cfg!(miri) { 50 } else { 2000 } {
            let number = random.usize(..pair.all.len().max(1));
            let is_there = !pair.all.is_empty();
            match random.u8(..16) {
                0..4 => pair.find(KEYS[random.usize(..KEYS.len())]),
                4..6 => pair.begin(),
                6..9 if is_there => pair.open(number, random.u8(..4)),
                9..12 if is_there => pair.reply(number),
                12 if is_there => pair.finish(number),
                13 if is_there => pair.leave(number, random.usize(..4)),
                14 => pair.doubt(KEYS[random.usize(..KEYS.len())]),
                _ => pair.now += Duration::from_millis(random.u64(..1000)),
            }
            assert_eq!(pair.table.len() as usize, pair.all.len());
        }
    }
}

#[test]
fn a_cancelled_lookup_leaves_the_line() {
    let mut pair = Pair::new();
    let mut sizes = Vec::new();
    for _ in 0..100 {
        pair.find(KEYS[0]);
        pair.leave(0, 0);
        // The debug text contains all elements of the table.
        sizes.push(format!("{:?}", pair.table).len());
    }
    assert!(sizes[99] < 2 * sizes[0], "the table grows: {sizes:?}");
}
