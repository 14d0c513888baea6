//! The interface of the pollers: how a reactor learns which descriptors are ready.
//!
//! A [`Poller`] only watches. It performs no I/O, owns no socket and knows no op. The driver above
//! it ([`Ready`](super::Ready)) uses this trait only, and never depends on which poller it has.
//!
//! The driver handles the three kinds of [`Trigger`] as follows:
//!
//! * *Level*: the driver adds a source with the interest it needs, and the poller reports it in
//!   every wait while it is ready. The driver arms a source when an op blocks on it. It disarms
//!   lazily, after a report that no op waits for: most sockets that blocked once block again, and
//!   staying armed until then saves two changes of interest.
//! * *Edge*: the driver adds a source once, for both directions, and the poller reports it when it
//!   *becomes* ready, or if it is ready when it is added. The driver remembers a report until the
//!   kernel returns "would block".
//! * *Guess*: as level, but the poller reports every armed source, ready or not.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::driver::Limits;

/// Watches descriptors; see the module documentation. The driver drops it before the descriptors.
pub trait Poller: Sized + 'static {
    /// What a report means.
    const TRIGGER: Trigger;

    /// Whether closing the last duplicate of a descriptor removes its source. If not, the driver
    /// removes every source before it closes the descriptor.
    const FORGETS_CLOSED: bool;

    /// The system calls that watch a source, and that wait, for errors.
    const CALLS: (&'static str, &'static str);

    /// Sets up a poller for at most `limits.sockets_max + KEYS_RESERVED` sources.
    fn open(limits: &Limits) -> io::Result<Self>;

    /// Begins to watch a descriptor.
    ///
    /// Events carry `key`. Keys are dense and below `sockets_max + KEYS_RESERVED`, so they can
    /// index a table; a key names one source at a time. `want` is not empty.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be watched, or a limit of the machine is reached.
    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()>;

    /// Begins to watch a listener that the pollers of other threads watch through duplicates of its
    /// descriptor. At least one of them reports each connection, if possible the one that has
    /// watched it for the longest time. The interest is never modified.
    ///
    /// # Errors
    ///
    /// As for [`Poller::add`].
    fn add_shared(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        self.add(fd, key, Interest::READ)
    }

    /// Changes the interest of a source that was added. `want` is not empty.
    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()>;

    /// Stops watching a source that was added.
    fn remove(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()>;

    /// Waits until a source is ready, at most until `timeout`, and appends the events to `out`.
    ///
    /// A poller rounds the timeout up, never down, because the driver would spin through the rest.
    /// It may return early without events, or with the error `Interrupted`. Sources that do not fit
    /// into one wait are reported by the next.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()>;

    /// System calls made so far.
    fn system_calls(&self) -> u64;
}

/// The number of keys that the driver uses for itself, in addition to one per socket.
pub const KEYS_RESERVED: u32 = 2;

/// What the reports of a [`Poller`] mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// The source is ready.
    Level,
    /// The source has become ready since the last report.
    Edge,
    /// The source is armed, and may or may not be ready.
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

    /// Whether this includes all directions of `other`.
    pub fn contains(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }
}

/// A report of one source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Event {
    /// The key that the source was added with.
    pub key: u32,
    /// A receive or an accept would not block: it returns data, the end of input, or an error.
    pub readable: bool,
    /// A send would not block, though it may fail.
    pub writable: bool,
    /// The end of input or an error may lie behind the data. One edge may report both, so a receive
    /// must not stop after a short read. An edge poller that cannot distinguish them sets `true`,
    /// unless it reports each cause separately. It may then set `false`, as level and guessing
    /// pollers may: another report follows.
    pub hangup: bool,
}
