//! A timing wheel: one deadline per connection; postponing a deadline is free.
//!
//! Deadlines are counted in ticks of [`TICK`]. An entry is in the bucket of the tick at which its
//! owner checks its deadline; the owner keeps the deadline itself. When a deadline moves later, as
//! it does with every request, the entry stays: its owner is called too early, finds that the
//! deadline has moved, and inserts the entry again. Only a deadline that moves earlier moves its
//! entry.
//!
//! Buckets are linked lists within one table, so an entry costs 12 bytes. The table has room for
//! all connections from the start, so nothing is allocated while the server runs.

use std::time::{Duration, Instant};

use crate::driver::slot_map::reserve;

/// The resolution of deadlines.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The number of buckets. A deadline further ahead is first checked after one round of the wheel.
const BUCKETS: u32 = 1024;

const NONE: u32 = u32::MAX;

/// A point in time, in ticks since the wheel was created.
pub(super) type Tick = u32;

/// The wheel. An entry is identified by the slot of its connection in the table.
#[derive(Debug)]
pub(super) struct Wheel {
    start: Instant,
    /// The last tick whose bucket was emptied.
    current: Tick,
    /// When the tick after it is.
    next_at: Instant,
    buckets: Box<[u32]>,
    links: Vec<Link>,
    /// One bit per bucket that is not empty.
    occupied: [u64; BUCKETS as usize / 64],
}

#[derive(Clone, Copy, Debug)]
struct Link {
    /// The tick whose bucket holds the entry; `NONE` when it is in no bucket.
    tick: Tick,
    previous: u32,
    next: u32,
}

impl Wheel {
    /// An empty wheel whose tick 0 is `now`, with room for so many entries; it may get more.
    pub(super) fn new(now: Instant, entries_max: u32) -> Self {
        Self {
            start: now,
            current: 0,
            next_at: now + TICK,
            buckets: vec![NONE; BUCKETS as usize].into(),
            links: reserve(entries_max),
            occupied: [0; BUCKETS as usize / 64],
        }
    }

    /// The first tick that is not before `time`.
    pub(super) fn tick_at(&self, time: Instant) -> Tick {
        let elapsed = time.saturating_duration_since(self.start).as_nanos();
        Tick::try_from(elapsed.div_ceil(TICK.as_nanos())).unwrap_or(Tick::MAX / 2)
    }

    /// Schedules a check of the entry no later than at `deadline`.
    pub(super) fn watch(&mut self, entry: u32, deadline: Tick) {
        if self.links.len() <= entry as usize {
            let unlinked = Link { tick: NONE, previous: NONE, next: NONE };
            self.links.resize(entry as usize + 1, unlinked);
        }
        let tick = deadline.clamp(self.current + 1, self.current + BUCKETS - 1);
        let link = self.links[entry as usize];
        if link.tick <= tick {
            return;
        }
        self.unlink(entry);
        let bucket = (tick % BUCKETS) as usize;
        let next = std::mem::replace(&mut self.buckets[bucket], entry);
        if next != NONE {
            self.links[next as usize].previous = entry;
        }
        self.links[entry as usize] = Link { tick, previous: NONE, next };
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Removes an entry.
    pub(super) fn forget(&mut self, entry: u32) {
        if (entry as usize) < self.links.len() {
            self.unlink(entry);
        }
    }

    fn unlink(&mut self, entry: u32) {
        let link = self.links[entry as usize];
        if link.tick == NONE {
            return;
        }
        let bucket = (link.tick % BUCKETS) as usize;
        match link.previous {
            NONE => self.buckets[bucket] = link.next,
            previous => self.links[previous as usize].next = link.next,
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
        if self.buckets[bucket] == NONE {
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        }
        self.links[entry as usize].tick = NONE;
    }

    /// Moves the entries that are to be checked by `now` into `due`; returns the current tick.
    #[inline]
    pub(super) fn advance(&mut self, now: Instant, due: &mut Vec<u32>) -> Tick {
        if now >= self.next_at {
            self.empty_buckets(now, due);
        }
        self.current
    }

    #[inline(never)]
    fn empty_buckets(&mut self, now: Instant, due: &mut Vec<u32>) {
        let elapsed = now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos();
        let target = Tick::try_from(elapsed).unwrap_or(Tick::MAX - 1).max(self.current);
        // After a pause of more than one round of the wheel, every bucket is emptied once.
        let from = (self.current + 1).max(target.saturating_sub(BUCKETS - 1));
        for tick in from..=target {
            let bucket = (tick % BUCKETS) as usize;
            let mut entry = self.buckets[bucket];
            while entry != NONE {
                due.push(entry);
                let next = self.links[entry as usize].next;
                self.links[entry as usize].tick = NONE;
                entry = next;
            }
            self.buckets[bucket] = NONE;
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
        }
        self.current = target;
        self.next_at = self.start + TICK * (target + 1);
    }

    /// When the next check is; `None` if there are no entries. It may have passed.
    pub(super) fn next_check(&self) -> Option<Instant> {
        Some(self.next_at + TICK * self.distance_to_next()?)
    }

    /// The distance from the next tick to the first occupied bucket. Scans a word of bits at a
    /// time.
    fn distance_to_next(&self) -> Option<u32> {
        let first = (self.current + 1) % BUCKETS;
        let mut distance = 0;
        // The first word is scanned twice: first from bit `first` on, at the end before that bit.
        while distance < BUCKETS {
            let bucket = (first + distance) % BUCKETS;
            let word = self.occupied[(bucket / 64) as usize] >> (bucket % 64);
            if word != 0 {
                return Some(distance + word.trailing_zeros());
            }
            distance += 64 - bucket % 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(now, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn an_entry_is_due_at_its_tick_and_not_before() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start, 0);
        wheel.watch(3, 3);
        assert_eq!(wheel.next_check(), Some(start + Duration::from_millis(300)));
        assert!(due(&mut wheel, start + Duration::from_millis(299)).is_empty());
        assert_eq!(due(&mut wheel, start + Duration::from_millis(300)), [3]);
        assert_eq!(wheel.next_check(), None);
    }

    #[test]
    fn a_time_is_rounded_up_to_a_tick() {
        let start = Instant::now();
        let wheel = Wheel::new(start, 0);
        for (nanoseconds, tick) in [(0, 0), (1, 1), (100_000_000, 1), (100_000_001, 2)] {
            assert_eq!(wheel.tick_at(start + Duration::from_nanos(nanoseconds)), tick);
        }
        assert_eq!(wheel.tick_at(start + Duration::from_secs(1 << 40)), Tick::MAX / 2);
    }

    #[test]
    fn a_deadline_that_moves_later_does_not_move_the_entry() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start, 0);
        wheel.watch(0, 5);
        wheel.watch(0, 50);
        assert_eq!(due(&mut wheel, start + TICK * 5), [0]);
    }

    #[test]
    fn a_deadline_that_moves_earlier_moves_the_entry() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start, 0);
        wheel.watch(0, 50);
        wheel.watch(1, 50);
        wheel.watch(0, 5);
        assert_eq!(due(&mut wheel, start + TICK * 5), [0]);
        assert_eq!(due(&mut wheel, start + TICK * 50), [1]);
    }

    #[test]
    fn after_a_long_pause_everything_is_due_once() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start, 0);
        for entry in 0..100 {
            wheel.watch(entry, entry * 10 + 1);
        }
        assert_eq!(due(&mut wheel, start + TICK * 1_000_000), (0..100).collect::<Vec<_>>());
        assert!(due(&mut wheel, start + TICK * 2_000_000).is_empty());
    }

    /// Compares random insertions and removals with a simple model. As a worker does, it inserts an
    /// entry again if its deadline has moved.
    #[test]
    fn no_deadline_is_missed_and_none_comes_early() {
        let mut random = fastrand::Rng::with_seed(5);
        let start = Instant::now();
        let mut wheel = Wheel::new(start, 0);
        let mut deadlines = [None::<Tick>; 64];
        for now in 1..5_000u32 {
            for _ in 0..random.usize(..4) {
                let entry = random.usize(..64);
                if random.u8(..4) == 0 {
                    wheel.forget(entry as u32);
                    deadlines[entry] = None;
                } else {
                    let deadline = now + random.u32(..3_000);
                    let deadline = deadline.max(wheel.current + 1);
                    wheel.watch(entry as u32, deadline);
                    deadlines[entry] = Some(deadline);
                }
            }
            for entry in due(&mut wheel, start + TICK * now) {
                let deadline = deadlines[entry as usize].expect("a forgotten entry is not due");
                if deadline > now {
                    wheel.watch(entry, deadline);
                } else {
                    deadlines[entry as usize] = None;
                }
            }
            assert!(deadlines.iter().flatten().all(|deadline| *deadline > now));
            let watched = wheel.links.iter().map(|link| link.tick).filter(|tick| *tick != NONE);
            let next = watched.min().map(|tick| start + TICK * tick);
            assert_eq!(wheel.next_check(), next);
        }
    }
}
