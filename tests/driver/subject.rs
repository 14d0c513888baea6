//! What is under test: a driver, and the world that it lives in.
//!
//! The contract speaks of sockets, peers and files, not of a kernel. So the tests ask a
//! [`Subject`] for them: the kernel's drivers get those of the machine (`kernel.rs`), the
//! simulator has its own (`simulated.rs`).

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{Driver, File, Limits, Sock};

/// A driver under test.
pub(crate) trait Subject: Driver + Sized + 'static {
    /// The other end of a connection.
    type Peer: Peer;
    /// The way to a listener.
    type Dialer: Dial<Peer = Self::Peer>;
    /// A directory.
    type Files: Files;

    /// System calls of a wait that brings news; one that brings none takes fewer. `None` is for a
    /// driver that nobody tells any news: it looks for them by attempts without end, and only
    /// that it finds them can be tested, not how often it looked.
    const CALLS_FOR_NEWS: Option<u64>;

    /// Whether the driver itself says who is next. Where the kernel's scheduler does, everybody
    /// is served, but nothing tells after how many others.
    const GIVES_TURNS: bool;

    fn open(limits: &Limits) -> io::Result<Self>;

    /// A connection: the driver's end, and a peer with a deadline.
    fn connect(&mut self) -> (Sock, Self::Peer);

    /// A listener, and the way to it.
    fn listen(&mut self) -> (Sock, Self::Dialer);

    /// A directory of its own, empty.
    fn files(&self) -> Self::Files;

    /// Runs a test where the driver gets descriptors that it can use.
    fn run(test: impl FnOnce());

    /// Runs a test where it can take all descriptors without harm to others.
    fn alone(test: impl FnOnce());

    /// Takes descriptors until there is none left.
    fn take_descriptors(&mut self) -> Vec<std::fs::File>;

    /// Gives them back.
    fn give_descriptors(&mut self, taken: Vec<std::fs::File>);
}

/// The other end of a connection: blocking, with a deadline of [`PATIENCE`](crate::harness).
pub(crate) trait Peer: Read + Write + Send + 'static {
    /// Ends its output.
    fn half_close(&self);

    /// Goes away with a reset.
    fn reset(self);

    /// A second handle to the same end.
    fn twin(&self) -> Self;

    /// How long a read waits from now on.
    fn set_timeout(&mut self, timeout: Duration);

    /// Whether reads and writes fail with `WouldBlock` instead of waiting.
    fn set_nonblocking(&mut self, nonblocking: bool);
}

/// The way to a listener.
pub(crate) trait Dial: Clone + Send + 'static {
    type Peer: Peer;

    fn dial(&self) -> io::Result<Self::Peer>;
}

/// A directory of files, by name.
pub(crate) trait Files: Clone + Send + 'static {
    /// Makes a file anew, or writes one anew in place.
    fn write(&self, name: &str, bytes: &[u8]);

    /// Writes far behind the end; what lies between is a hole.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]);

    fn truncate(&self, name: &str, len: u64);

    fn remove(&self, name: &str);

    /// Gives a file another name, in place of what had it.
    fn rename(&self, from: &str, to: &str);

    /// The directory itself, open.
    fn root(&self) -> Arc<File>;

    /// Opens a file.
    fn open(&self, name: &str) -> Arc<File>;
}
