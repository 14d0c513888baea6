//! The line of listings: those that wait to be made, in turn for each client.
//!
//! A listing of a large directory takes long, and one worker makes one at a time. If they were made
//! in the order of requests, a client with many requests would delay all others. So clients take
//! turns: one listing of a client is made at a time, and then the client is last in the ring. The
//! wait of a client is bounded by the number of clients, whatever each of them requests.

use std::collections::{HashMap, VecDeque};

use crate::clients::ClientKey;

/// How many listings are made at a time, each for another client: one by the thread for jobs, and
/// the others are prepared meanwhile. Fewer than the driver's queue of jobs holds.
pub(super) const RUNNING_MAX: usize = 4;

/// How many listings of a client may wait. A request for another one gets 503.
pub(super) const CLIENT_WAITING_MAX: usize = 32;

/// How many listings may wait in all. A request for another one gets 503.
pub(super) const WAITING_MAX: usize = 4096;

/// The line; see the module documentation. `T` names what waits.
#[derive(Debug)]
pub(super) struct ListingLine<T> {
    /// The clients for which something waits or runs, and some that have left.
    clients: HashMap<ClientKey, ClientLine<T>, foldhash::fast::RandomState>,
    /// The clients that may have a turn, the next one first.
    ring: VecDeque<ClientKey>,
    waiting: usize,
    running: usize,
}

#[derive(Debug)]
struct ClientLine<T> {
    waiting: VecDeque<T>,
    /// Whether a listing is made for the client. Then it is not in the ring.
    running: bool,
}

/// The result of [`ListingLine::enter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entered {
    /// It waits now.
    Yes,
    /// It has been waiting for this client already.
    Already,
    /// Too many are waiting.
    Full,
}

impl<T> Default for ListingLine<T> {
    fn default() -> Self {
        Self { clients: HashMap::default(), ring: VecDeque::new(), waiting: 0, running: 0 }
    }
}

impl<T: Copy + PartialEq> ListingLine<T> {
    /// Appends an element to the line of a client. An element may be in the lines of several
    /// clients.
    pub(super) fn enter(&mut self, client: ClientKey, element: T) -> Entered {
        let known = self.clients.get(&client);
        let in_line = known.map_or(0, |known| known.waiting.len());
        if known.is_some_and(|known| known.waiting.contains(&element)) {
            return Entered::Already;
        }
        if in_line >= CLIENT_WAITING_MAX || self.waiting >= WAITING_MAX {
            return Entered::Full;
        }
        let line = self.clients.entry(client).or_insert_with(|| {
            self.ring.push_back(client);
            ClientLine { waiting: VecDeque::new(), running: false }
        });
        line.waiting.push_back(element);
        self.waiting += 1;
        Entered::Yes
    }

    /// Removes an element from the line of a client.
    pub(super) fn leave(&mut self, client: ClientKey, element: T) {
        let Some(line) = self.clients.get_mut(&client) else { return };
        let Some(place) = line.waiting.iter().position(|other| *other == element) else { return };
        line.waiting.remove(place);
        self.waiting -= 1;
        // A client whose line is empty stays in the ring until its turn, but the ring stays short,
        // even if clients come and go and no turn ends.
        if self.ring.len() > 2 * self.waiting + RUNNING_MAX {
            let Self { clients, ring, .. } = self;
            ring.retain(|client| {
                let waits = clients.get(client).is_some_and(|line| !line.waiting.is_empty());
                if !waits {
                    clients.remove(client);
                }
                waits
            });
        }
    }

    /// Whether [`ListingLine::next`] may have something.
    pub(super) fn may_begin(&self) -> bool {
        self.running < RUNNING_MAX && !self.ring.is_empty()
    }

    /// Takes the next element out of the line, and the client whose turn it is. The turn lasts
    /// until [`ListingLine::end`].
    pub(super) fn next(&mut self) -> Option<(ClientKey, T)> {
        if self.running >= RUNNING_MAX {
            return None;
        }
        while let Some(client) = self.ring.pop_front() {
            let line = self.clients.get_mut(&client).expect("each client of the ring has a line");
            debug_assert!(!line.running, "a client has one turn at a time");
            if let Some(element) = line.waiting.pop_front() {
                line.running = true;
                self.running += 1;
                self.waiting -= 1;
                return Some((client, element));
            }
            self.clients.remove(&client);
        }
        None
    }

    /// Ends the turn of a client, which is last now.
    pub(super) fn end(&mut self, client: ClientKey) {
        let line = self.clients.get_mut(&client).expect("a client with a turn has a line");
        assert!(line.running, "a turn ends once");
        line.running = false;
        self.running -= 1;
        if line.waiting.is_empty() {
            self.clients.remove(&client);
        } else {
            self.ring.push_back(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u16) -> ClientKey {
        let [high, low] = number.to_be_bytes();
        ClientKey::V4([10, 0, high, low])
    }

    /// One client has as much in line as it may; others come later, and wait for one element of
    /// each client before them.
    #[test]
    fn the_wait_depends_on_the_number_of_clients_only() {
        let mut line = ListingLine::default();
        for number in 0..CLIENT_WAITING_MAX {
            assert_eq!(line.enter(client(0), (0, number)), Entered::Yes);
        }
        assert_eq!(line.enter(client(0), (0, 99)), Entered::Full);
        assert_eq!(line.next(), Some((client(0), (0, 0))));
        assert_eq!(line.next(), None, "one at a time for a client");
        for other in 1..=20 {
            for number in 0..3 {
                assert_eq!(line.enter(client(other), (other, number)), Entered::Yes);
            }
        }
        // One is made at a time, for clarity.
        let mut order = Vec::new();
        line.end(client(0));
        while let Some((client, (number, _))) = line.next() {
            order.push(number);
            line.end(client);
        }
        let round: Vec<u16> = (1..=20).chain([0]).collect();
        assert_eq!(order[..63], round.repeat(3));
        assert!(order[63..].iter().all(|number| *number == 0));
        assert_eq!(order.len(), 60 + CLIENT_WAITING_MAX - 1);
        assert!(line.clients.is_empty() && line.waiting == 0 && !line.may_begin());
    }

    #[test]
    fn a_limited_number_has_a_turn_each_for_another_client() {
        let mut line = ListingLine::default();
        for number in 0..10 {
            line.enter(client(number % 5), number);
        }
        let turns: Vec<(ClientKey, u16)> = std::iter::from_fn(|| line.next()).collect();
        let expected: Vec<_> = (0..4).map(|number| (client(number), number)).collect();
        assert_eq!(turns, expected);
        assert!(!line.may_begin());
        line.end(client(2));
        assert_eq!(line.next(), Some((client(4), 4)));
        line.end(client(4));
        assert_eq!(line.next(), Some((client(2), 7)));
    }

    #[test]
    fn the_line_is_bounded_in_all() {
        let mut line = ListingLine::default();
        let mut entered = 0;
        for number in 0..200 {
            for element in 0..CLIENT_WAITING_MAX {
                entered += usize::from(line.enter(client(number), element) == Entered::Yes);
            }
        }
        assert_eq!(entered, WAITING_MAX);
        line.leave(client(0), 5);
        line.leave(client(0), 5);
        assert_eq!(line.enter(client(300), 0), Entered::Yes);
        assert_eq!(line.enter(client(300), 0), Entered::Already);
        assert_eq!(line.enter(client(300), 1), Entered::Full);
    }

    /// Also while no turn ends.
    #[test]
    fn clients_that_have_left_are_forgotten() {
        let mut line = ListingLine::default();
        for number in 0..RUNNING_MAX as u16 {
            line.enter(client(number), 0);
            line.next();
        }
        for number in 10..10_000 {
            line.enter(client(number), 0);
            line.leave(client(number), 0);
            let entries = line.clients.len() + line.ring.len();
            assert!(entries <= 4 * RUNNING_MAX, "{entries} after {number}");
        }
        for number in 0..RUNNING_MAX as u16 {
            line.end(client(number));
        }
        assert_eq!(line.next(), None);
        assert!(line.clients.is_empty());
    }

    /// Compares the line with a list of all elements.
    #[test]
    fn the_line_agrees_with_a_naive_one() {
        let mut random = fastrand::Rng::with_seed(23);
        for _ in 0..50 {
            let (mut line, mut waiting) = (ListingLine::default(), Vec::new());
            let mut running: Vec<ClientKey> = Vec::new();
            for step in 0..500_u16 {
                let client = client(random.u16(..8));
                match random.u8(..4) {
                    0 | 1 => {
                        let element = random.u16(..20);
                        let before = waiting.contains(&(client, element));
                        let expected = if before { Entered::Already } else { Entered::Yes };
                        assert_eq!(line.enter(client, element), expected, "{step}");
                        if !before {
                            waiting.push((client, element));
                        }
                    }
                    2 if !waiting.is_empty() => {
                        let (client, element) = waiting.remove(random.usize(..waiting.len()));
                        line.leave(client, element);
                    }
                    _ if random.bool() && !running.is_empty() => {
                        line.end(running.swap_remove(random.usize(..running.len())));
                    }
                    _ => {
                        let may = |client: &ClientKey| !running.contains(client);
                        let any = waiting.iter().any(|(client, _)| may(client));
                        let expected = any && running.len() < RUNNING_MAX;
                        let next = line.next();
                        assert_eq!(next.is_some(), expected, "{step}");
                        if let Some((client, element)) = next {
                            assert!(may(&client));
                            let first = waiting.iter().position(|(other, _)| *other == client);
                            assert_eq!(waiting.remove(first.unwrap()), (client, element));
                            running.push(client);
                        }
                    }
                }
                assert_eq!((line.waiting, line.running), (waiting.len(), running.len()));
            }
        }
    }
}
