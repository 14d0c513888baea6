//! What is under test: a driver and its environment.
//!
//! The contract is about sockets, peers and files, not about a kernel. So the tests get these
//! from a [`Subject`]: for the kernel's drivers they are real (`kernel.rs`), and the simulator
//! has its own (`simulated.rs`).

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{Driver, File, Limits, Sock};

/// A driver under test.
pub(crate) trait Subject: Driver + Sized + 'static {
    /// The other end of a connection.
    type Peer: Peer;
    /// Connects to a listener.
    type Dialer: Dial<Peer = Self::Peer>;
    /// A directory.
    type Files: Files;

    /// System calls of a wait that reports an event; one that reports none takes fewer. `None` is
    /// for a driver without notification, which polls sockets by trying: its calls cannot be
    /// bounded.
    fn calls_for_events() -> Option<u64>;

    /// Whether the driver itself decides whose turn it is. If the kernel's scheduler does, every
    /// socket is served, but nothing bounds how many others come first.
    fn gives_turns() -> bool;

    fn open(limits: &Limits) -> io::Result<Self>;

    /// A connection: the driver's socket, and a peer with a deadline.
    fn connect(&mut self) -> (Sock, Self::Peer);

    /// A listener, and a dialer for it.
    fn listen(&mut self) -> (Sock, Self::Dialer);

    /// A listener that the driver holds twice, as two processes would, and a dialer for it.
    fn listen_twice(&mut self) -> ([Sock; 2], Self::Dialer);

    /// An empty directory for this test.
    fn files(&self) -> Self::Files;

    /// Runs a test where the driver gets descriptors that it can use.
    fn run(test: impl FnOnce());

    /// Runs a test where it can take all descriptors without harm to other tests.
    fn alone(test: impl FnOnce());

    /// Takes descriptors until there is none left.
    fn take_descriptors(&mut self) -> Vec<std::fs::File>;

    /// Releases them.
    fn give_descriptors(&mut self, taken: Vec<std::fs::File>);
}

/// The other end of a connection: blocking, with a deadline of [`WAIT_MAX`](crate::harness).
pub(crate) trait Peer: Read + Write + Send + 'static {
    /// Ends its output.
    fn half_close(&self);

    /// Resets the connection.
    fn reset(self);

    /// A second handle to the same end.
    fn twin(&self) -> Self;

    /// How long a read waits from now on.
    fn set_timeout(&mut self, timeout: Duration);

    /// Whether reads and writes fail with `WouldBlock` instead of waiting.
    fn set_nonblocking(&mut self, nonblocking: bool);
}

/// Connects to a listener.
pub(crate) trait Dial: Clone + Send + 'static {
    type Peer: Peer;

    fn dial(&self) -> io::Result<Self::Peer>;
}

/// A directory of files, by name.
pub(crate) trait Files: Clone + Send + 'static {
    /// Creates a file, or overwrites one in place.
    fn write(&self, name: &str, bytes: &[u8]);

    /// Writes far beyond the end, which leaves a hole.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]);

    fn truncate(&self, name: &str, len: u64);

    fn remove(&self, name: &str);

    /// Renames a file, replacing any file with the new name.
    fn rename(&self, from: &str, to: &str);

    /// The directory itself, open.
    fn root(&self) -> Arc<File>;

    /// Opens a file.
    fn open(&self, name: &str) -> Arc<File>;
}
