//! What differs between readiness interfaces: how to learn which descriptors can make progress.
//!
//! A [`Poller`] only watches. It performs no I/O, owns no socket and knows no op; the driver
//! above it ([`Ready`](super::Ready)) asks nothing of it but this trait, and never its name.
//!
//! The three kinds of [`Trigger`] are used in three ways:
//!
//! * *Level*: a source is added with the interest it needs, and reported again in every wait for
//!   as long as it is ready. The driver keeps it armed only while an op is blocked. It disarms
//!   lazily, when a report comes that no op wants: most sockets that blocked once block again,
//!   and until then two changes of interest are saved.
//! * *Edge*: a source is added once, for both directions, and reported when it *becomes* ready.
//!   Adding counts as becoming. The driver remembers a report until the kernel says "would block".
//! * *Guess*: as level, but every armed source is reported, ready or not.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::driver::Limits;

/// Watches descriptors; see the module documentation. It is dropped while what it watches is open.
pub trait Poller: Sized + 'static {
    /// What a report means.
    const TRIGGER: Trigger;

    /// Whether a descriptor that nobody else holds is forgotten when it is closed. Otherwise
    /// every source is removed before its descriptor is closed.
    const FORGETS_CLOSED: bool;

    /// Sets up a poller for at most `limits.sockets_max + KEYS_RESERVED` sources.
    fn open(limits: &Limits) -> io::Result<Self>;

    /// Begins to watch a descriptor.
    ///
    /// `key` comes back in events. Keys are dense and below `sockets_max + KEYS_RESERVED`, so
    /// that they can index a table; one key names one source at a time. `want` is not empty.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be watched, or a limit of the machine is reached.
    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()>;

    /// Changes what is wanted of a source that was added. `want` is not empty.
    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()>;

    /// Stops watching a source that was added.
    fn remove(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()>;

    /// Appends what can make progress, after waiting for it until `timeout`.
    ///
    /// A timeout is rounded up, never down, or the driver would spin through the rest. Returning
    /// early with nothing is allowed, and so is the error `Interrupted`. A source that fits no
    /// more into one wait is reported by the next.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()>;

    /// System calls made so far.
    fn system_calls(&self) -> u64;
}

/// Keys that the driver uses for itself, beside one for each socket.
pub const KEYS_RESERVED: u32 = 2;

/// What the reports of a [`Poller`] mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// The source is ready.
    Level,
    /// The source has become ready since the last report.
    Edge,
    /// The source is armed, and might be ready.
    Guess,
}

/// Directions of a source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Interest {
    /// Input, connections to accept, or the end of input.
    pub read: bool,
    /// Room for output.
    pub write: bool,
}

impl Interest {
    /// No direction.
    pub const NONE: Self = Self { read: false, write: false };
    /// Input.
    pub const READ: Self = Self { read: true, write: false };
    /// Both directions.
    pub const BOTH: Self = Self { read: true, write: true };

    /// Whether all directions of `other` are in this.
    pub fn contains(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

/// A report of one source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Event {
    /// The key that the source was added with.
    pub key: u32,
    /// A receive or an accept may make progress: with data, with the end of input or an error.
    pub readable: bool,
    /// A send may make progress, if only with an error.
    pub writable: bool,
    /// The end of input or an error may lie behind the data. An edge comes once for both, so a
    /// receive must not stop after a short read. An edge poller that cannot tell says `true`,
    /// unless it makes one report for each cause: then the second report tells it, as the next
    /// one does for pollers of other kinds.
    pub hangup: bool,
}
