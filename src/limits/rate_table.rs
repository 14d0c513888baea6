//! The table of the rates of clients, which all workers share without a lock.
//!
//! Each client has one word: a tag of 24 bits, and the time in microseconds at which its bucket is
//! full again (the generic cell rate algorithm). The hash of a client, with a key of the process,
//! chooses a set of four words.
//!
//! If a set is full, a new client takes the word whose bucket is fullest, *with its content*. Words
//! whose bucket is full say nothing any more, so this loses something only if four clients of a set
//! have been busy just before. Then those who come and go share one bucket: neither does a client
//! that is known for too much begin anew, nor does one that is not known have no limit. However
//! many clients there are, a set lets no more through than four clients may.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rate::{FILL_MAX, RateLimit};
use crate::clients::ClientKey;

/// How many words a table has, if nothing else is said, and at least and at most.
pub const SLOTS_DEFAULT: u32 = 65_536;
/// See [`SLOTS_DEFAULT`].
pub const SLOTS_MIN: u32 = 1024;
/// See [`SLOTS_DEFAULT`].
pub const SLOTS_MAX: u32 = 1 << 24;

/// How many words a client may have.
const WAYS: usize = 4;

/// How many bits of a word are the time.
const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// How long after the last time the words whose bucket is full are emptied, in microseconds. The
/// clock of a word goes round in twelve days, and then its time would lie ahead again.
const SWEEP_AFTER: u64 = FILL_MAX;

/// After this time it is not known which words are of long ago, so all are emptied.
const CLEAR_AFTER: u64 = 6 * FILL_MAX;

const _: () = assert!(CLEAR_AFTER + 2 * FILL_MAX < TIME_MASK, "times ahead and past are distinct");

/// How far the time of the table may be behind that of a worker, in microseconds. If each request
/// wrote it, the workers would wait for each other.
const CLOCK_STEP: u64 = 10_000;

/// How much emptier than empty a bucket may look to a worker that is behind, in microseconds. If a
/// worker is stopped for longer while it takes, the client gets that time back.
const CLOCKS_APART: u64 = 2 * CLOCK_STEP;

/// How often a word is tried again that another worker has changed meanwhile.
const TRIES_MAX: usize = 64;

/// What a client has a bucket for: a site, for example. Those of different scopes are independent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scope(u64);

impl Scope {
    /// The scope with a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        // FNV-1a: the same in all workers, and stable over reloads.
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, step))
    }
}

/// The client has sent too many requests. It may send one after this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany(pub Duration);

impl TooMany {
    /// The time in whole seconds, for `Retry-After` (RFC 9110 section 10.2.3); at least one.
    #[must_use]
    pub fn seconds(self) -> u64 {
        (self.0.as_micros().div_ceil(1_000_000) as u64).max(1)
    }
}

/// The table; see the module documentation. It takes memory only from its first use on.
#[derive(Debug)]
pub struct RateTable {
    slots: OnceLock<Box<[AtomicU64]>>,
    sets: usize,
    hasher: RandomState,
    begun: Instant,
    /// The latest time of all workers, or at most [`CLOCK_STEP`] before it. A worker reads the time
    /// once for many requests, so one that is busy for long is behind. By its own time, a bucket
    /// that others have emptied would look like one of another limit.
    latest: AtomicU64,
    /// When the last sweep was.
    swept: AtomicU64,
    evicted: AtomicU64,
}

impl Default for RateTable {
    fn default() -> Self {
        Self::new(SLOTS_DEFAULT, Instant::now())
    }
}

/// Where a client is in the table.
struct Place<'t> {
    set: &'t [AtomicU64],
    tag: u64,
    now: u64,
}

impl RateTable {
    /// A table with about so many words; no time is before `begun`.
    #[must_use]
    pub fn new(slots: u32, begun: Instant) -> Self {
        let slots = slots.clamp(SLOTS_MIN, SLOTS_MAX).next_power_of_two() as usize;
        Self {
            slots: OnceLock::new(),
            sets: slots / WAYS,
            hasher: RandomState::new(),
            begun,
            latest: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// How many clients have lost their word to another one, although their bucket was not full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Takes one out of the bucket of a client.
    ///
    /// # Errors
    ///
    /// When it is empty; then nothing is taken.
    pub fn take(
        &self,
        scope: Scope,
        client: ClientKey,
        limit: RateLimit,
        now: Instant,
    ) -> Result<(), TooMany> {
        let Place { set, tag, now } = self.place(scope, client, now);
        let too_many =
            |ahead: u64| Err(TooMany(Duration::from_micros(ahead.saturating_sub(limit.tolerance))));
        for _ in 0..TRIES_MAX {
            let words: [u64; WAYS] = std::array::from_fn(|at| set[at].load(Ordering::Relaxed));
            let own = words.iter().position(|word| word >> TIME_BITS == tag);
            let fullest = || (0..WAYS).min_by_key(|at| ahead(words[*at], now)).unwrap_or(0);
            let at = own.unwrap_or_else(fullest);
            let mut ahead = ahead(words[at], now);
            let is_lossy = own.is_none() && ahead > 0;
            // The word may be of another limit: one of another client, or the client's own one
            // before a reload. No bucket is emptier than empty.
            let empty = limit.tolerance + limit.interval;
            let is_of_other = own.is_none() || ahead > empty + CLOCKS_APART;
            if is_of_other {
                ahead = ahead.min(empty);
            }
            let put = |ahead: u64| {
                let word = tag << TIME_BITS | (now + ahead) & TIME_MASK;
                let order = Ordering::Relaxed;
                set[at].compare_exchange(words[at], word, order, order).is_ok()
            };
            if ahead > limit.tolerance {
                // The client's own bucket fills at its new rate from now on.
                if own.is_some() && is_of_other && !put(ahead) {
                    continue;
                }
                return too_many(ahead);
            }
            if put(ahead + limit.interval) {
                if is_lossy {
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
                return Ok(());
            }
        }
        // Others of the set are busy all the time. No client is let through unlimited.
        too_many(limit.tolerance + limit.interval)
    }

    /// Puts back what was taken out of the bucket of a client.
    pub fn put_back(&self, scope: Scope, client: ClientKey, limit: RateLimit, now: Instant) {
        let Place { set, tag, now } = self.place(scope, client, now);
        for slot in set {
            let order = Ordering::Relaxed;
            let _ = slot.fetch_update(order, order, |word| {
                let left = ahead(word, now).saturating_sub(limit.interval);
                (word >> TIME_BITS == tag).then_some(tag << TIME_BITS | (now + left) & TIME_MASK)
            });
        }
    }

    /// Empties the words whose bucket is full. For the usual table, it takes less than a
    /// millisecond once a day.
    #[cold]
    fn sweep(&self, slots: &[AtomicU64], swept: u64, now: u64) {
        let order = Ordering::Relaxed;
        if self.swept.compare_exchange(swept, now, order, order).is_err() {
            // Another worker does it.
            return;
        }
        for slot in slots {
            let word = slot.load(order);
            if ahead(word, now) == 0 || now - swept > CLEAR_AFTER {
                let _ = slot.compare_exchange(word, 0, order, order);
            }
        }
    }

    /// The time for a worker whose clock says `now`: that of the table, if the worker is behind.
    fn advance(&self, now: u64) -> u64 {
        let latest = self.latest.load(Ordering::Relaxed);
        if now > latest + CLOCK_STEP {
            self.latest.fetch_max(now, Ordering::Relaxed);
        }
        now.max(latest)
    }

    fn place(&self, scope: Scope, client: ClientKey, now: Instant) -> Place<'_> {
        let slots = self.slots.get_or_init(|| {
            std::iter::repeat_with(AtomicU64::default).take(self.sets * WAYS).collect()
        });
        let hash = self.hasher.hash_one((scope, client));
        let start = hash as usize % self.sets * WAYS;
        // No tag is zero, which stands for a word that nobody has.
        let tag = (hash >> TIME_BITS).max(1);
        let now = self.advance(now.saturating_duration_since(self.begun).as_micros() as u64);
        let swept = self.swept.load(Ordering::Relaxed);
        if now.saturating_sub(swept) > SWEEP_AFTER {
            self.sweep(slots, swept, now);
        }
        Place { set: &slots[start..start + WAYS], tag, now }
    }
}

/// How many microseconds after now the bucket of a word is full.
fn ahead(word: u64, now: u64) -> u64 {
    match word.wrapping_sub(now) & TIME_MASK {
        ahead if ahead <= FILL_MAX && word != 0 => ahead,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
