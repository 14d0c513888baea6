//! Connections in memory, between a driver on one side and peers on the other.
//!
//! They behave like TCP on loopback: bytes wait for their reader in a bounded buffer, and an end or
//! a reset arrives after them. Closing with unread input resets the connection.
//!
//! One lock protects everything, with one condition variable for all waiting threads: the driver's
//! and the peers'.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::driver::Sock;
use crate::driver::slot_map::{CAPACITY_MAX, Handle, SlotMap};
use crate::driver::waker::Notifier;

/// The size of the buffer of one direction of a connection.
const BUFFER_BYTES: usize = 64 * 1024;

/// The most connections that wait to be accepted.
const BACKLOG: usize = 4096;

/// The network; see the module documentation.
#[derive(Debug)]
pub(super) struct Net {
    state: Mutex<Network>,
    changed: Condvar,
}

/// The state that the lock protects.
#[derive(Debug)]
pub(super) struct Network {
    connections: SlotMap<SimConnection>,
    listeners: SlotMap<SimListener>,
    /// The driver's sockets that peers have changed since its last look.
    pub(super) touched: Vec<Handle<Sock>>,
    /// A waker was called.
    pub(super) woken: bool,
    /// The watcher has work.
    pub(super) noted: bool,
    /// Threads that wait for a change.
    sleepers: u32,
}

#[derive(Debug)]
pub(super) struct SimConnection {
    /// From the peer to the driver.
    up: Pipe,
    /// From the driver to the peer.
    down: Pipe,
    /// The driver's socket, once the connection is accepted.
    owner: Option<Handle<Sock>>,
    peer_gone: bool,
    driver_gone: bool,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// Bytes read since the connection began.
    taken: u64,
    /// The end of input follows the bytes.
    ended: bool,
    /// A reset follows the bytes.
    broken: bool,
}

#[derive(Debug)]
pub(super) struct SimListener {
    owner: Handle<Sock>,
    backlog: VecDeque<Handle<SimConnection>>,
    /// The listener refuses new connections.
    closing: bool,
}

/// The result of a read or a write.
#[derive(Debug)]
pub(super) enum Moved {
    Bytes(usize),
    End,
    Blocked,
    Broken,
}

impl Net {
    pub(super) fn new() -> Arc<Self> {
        let network = Network {
            connections: SlotMap::new(CAPACITY_MAX),
            listeners: SlotMap::new(CAPACITY_MAX),
            touched: Vec::new(),
            woken: false,
            noted: false,
            sleepers: 0,
        };
        Arc::new(Self { state: Mutex::new(network), changed: Condvar::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Network> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all waiting threads after a change.
    pub(super) fn tell(&self, network: &Network) {
        if network.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// Waits for a change, for at most `time`.
    pub(super) fn wait<'a>(
        &self,
        mut network: MutexGuard<'a, Network>,
        time: Option<Duration>,
    ) -> MutexGuard<'a, Network> {
        network.sleepers += 1;
        let mut network = match time {
            None => self.changed.wait(network).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.changed.wait_timeout(network, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        network.sleepers -= 1;
        network
    }
}

impl Net {
    /// Notifies the watcher that it has work.
    pub(super) fn note(&self) {
        let mut network = self.lock();
        network.noted = true;
        self.tell(&network);
    }
}

impl Notifier for Net {
    fn notify(&self) {
        let mut network = self.lock();
        network.woken = true;
        self.tell(&network);
    }
}

impl Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> Moved {
        if self.bytes.is_empty() {
            return match (self.broken, self.ended) {
                (true, _) => Moved::Broken,
                (false, true) => Moved::End,
                (false, false) => Moved::Blocked,
            };
        }
        let count = self.bytes.read(buffer).unwrap_or(0);
        self.taken += count as u64;
        Moved::Bytes(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Moved {
        if self.broken || self.ended {
            return Moved::Broken;
        }
        match bytes.len().min(BUFFER_BYTES - self.bytes.len()) {
            0 => Moved::Blocked,
            count => {
                self.bytes.extend(&bytes[..count]);
                Moved::Bytes(count)
            }
        }
    }
}

impl SimConnection {
    /// Breaks both directions. `keep` maps the number of bytes in transit to how many still arrive.
    fn reset(&mut self, keep: impl Fn(usize) -> usize) {
        for pipe in [&mut self.up, &mut self.down] {
            pipe.bytes.truncate(keep(pipe.bytes.len()));
            pipe.broken = true;
        }
    }
}

/// The driver's side.
impl Network {
    /// Creates a connection; `owner` is the driver's socket, if it is accepted already.
    pub(super) fn connect(&mut self, owner: Option<Handle<Sock>>) -> Handle<SimConnection> {
        let connection = SimConnection {
            up: Pipe::default(),
            down: Pipe::default(),
            owner,
            peer_gone: false,
            driver_gone: false,
        };
        self.connections.insert(connection).expect("the table of connections is full")
    }

    pub(super) fn listen(&mut self, owner: Handle<Sock>) -> Handle<SimListener> {
        let listener = SimListener { owner, backlog: VecDeque::new(), closing: false };
        self.listeners.insert(listener).expect("the table of listeners is full")
    }

    pub(super) fn has_backlog(&self, listener: Handle<SimListener>) -> bool {
        self.listeners.get(listener).is_some_and(|listener| !listener.backlog.is_empty())
    }

    /// Reports new connections of a listener to another socket of the driver.
    pub(super) fn own_listener(&mut self, listener: Handle<SimListener>, owner: Handle<Sock>) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.owner = owner;
        }
    }

    /// Makes a listener refuse new connections.
    pub(super) fn hold_off(&mut self, listener: Handle<SimListener>) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.closing = true;
        }
    }

    pub(super) fn accept(
        &mut self,
        listener: Handle<SimListener>,
    ) -> Option<Handle<SimConnection>> {
        self.listeners.get_mut(listener)?.backlog.pop_front()
    }

    /// Assigns an accepted connection to the driver's socket.
    pub(super) fn own(&mut self, connection: Handle<SimConnection>, owner: Handle<Sock>) {
        self.connection(connection).owner = Some(owner);
    }

    pub(super) fn receive(
        &mut self,
        connection: Handle<SimConnection>,
        buffer: &mut [u8],
    ) -> Moved {
        self.connection(connection).up.read(buffer)
    }

    pub(super) fn send(&mut self, connection: Handle<SimConnection>, bytes: &[u8]) -> Moved {
        let connection = self.connection(connection);
        if connection.peer_gone {
            connection.reset(|len| len);
        }
        connection.down.write(bytes)
    }

    /// Ends the driver's output.
    pub(super) fn end(&mut self, connection: Handle<SimConnection>) {
        self.connection(connection).down.ended = true;
    }

    /// Bytes that the peer has read.
    pub(super) fn has_input(&self, connection: Handle<SimConnection>) -> bool {
        let connection = self.connections.get(connection);
        connection.is_some_and(|connection| !connection.up.bytes.is_empty())
    }

    pub(super) fn acknowledged(&self, connection: Handle<SimConnection>) -> u64 {
        self.connections.get(connection).map_or(0, |connection| connection.down.taken)
    }

    pub(super) fn reset(
        &mut self,
        connection: Handle<SimConnection>,
        keep: impl Fn(usize) -> usize,
    ) {
        self.change(connection, |connection| connection.reset(keep));
    }

    /// Closes the driver's end.
    pub(super) fn close(
        &mut self,
        handle: Handle<SimConnection>,
        reset: bool,
        keep: impl Fn(usize) -> usize,
    ) {
        let connection = self.connection(handle);
        if reset || !connection.up.bytes.is_empty() {
            connection.reset(keep);
        }
        connection.down.ended = true;
        connection.driver_gone = true;
        connection.owner = None;
        if connection.peer_gone {
            self.connections.remove(handle);
        }
    }

    /// Closes a listener, and resets the connections in its backlog.
    pub(super) fn close_listener(&mut self, listener: Handle<SimListener>) {
        let Some(listener) = self.listeners.remove(listener) else { return };
        for connection in listener.backlog {
            self.close(connection, true, |_| 0);
        }
    }

    fn connection(&mut self, handle: Handle<SimConnection>) -> &mut SimConnection {
        self.connections.get_mut(handle).expect("a connection exists until both ends are closed")
    }

    /// Changes a connection on behalf of a peer, and marks its socket as touched.
    fn change<R>(
        &mut self,
        handle: Handle<SimConnection>,
        change: impl FnOnce(&mut SimConnection) -> R,
    ) -> R {
        let connection = self.connection(handle);
        let result = change(connection);
        let owner = connection.owner;
        self.touched.extend(owner);
        result
    }
}

/// The client's end of a connection. It blocks, like the streams of `std`.
#[derive(Debug)]
pub struct Peer {
    end: Arc<PeerEnd>,
    timeout: Option<Duration>,
    nonblocking: bool,
}

/// The peer's end, shared by its [`Peer`]s; dropping the last one closes it.
#[derive(Debug)]
struct PeerEnd {
    net: Arc<Net>,
    connection: Handle<SimConnection>,
}

impl Drop for PeerEnd {
    fn drop(&mut self) {
        self.change(|connection| {
            if !connection.down.bytes.is_empty() {
                connection.reset(|len| len);
            }
            connection.up.ended = true;
            connection.peer_gone = true;
        });
        let mut network = self.net.lock();
        if network.connections.get(self.connection).is_some_and(|connection| connection.driver_gone)
        {
            network.connections.remove(self.connection);
        }
    }
}

impl PeerEnd {
    /// Changes the connection, and wakes all waiting threads.
    fn change(&self, change: impl FnOnce(&mut SimConnection)) {
        let mut network = self.net.lock();
        network.change(self.connection, change);
        self.net.tell(&network);
    }
}

impl Peer {
    pub(super) fn new(net: Arc<Net>, connection: Handle<SimConnection>) -> Self {
        let end = Arc::new(PeerEnd { net, connection });
        Self { end, timeout: None, nonblocking: false }
    }

    /// Shuts down the peer's output; the read side needs nothing.
    pub fn shutdown(&self, how: Shutdown) {
        self.end.change(|connection| {
            if how != Shutdown::Read {
                connection.up.ended = true;
            }
        });
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.end.change(|connection| connection.reset(|len| len));
    }

    /// Returns another handle to the same end.
    pub fn try_clone(&self) -> Self {
        Self { end: Arc::clone(&self.end), timeout: self.timeout, nonblocking: self.nonblocking }
    }

    /// Sets how long a read or a write waits; by default, without limit.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Sets whether reads and writes fail with `WouldBlock` instead of waiting.
    pub fn set_nonblocking(&mut self, nonblocking: bool) {
        self.nonblocking = nonblocking;
    }

    /// Repeats an attempt until it does not block, or the timeout expires.
    fn wait_for(&self, mut attempt: impl FnMut(&mut SimConnection) -> Moved) -> io::Result<usize> {
        let PeerEnd { net, connection } = &*self.end;
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut network = net.lock();
        loop {
            let moved = attempt(network.connection(*connection));
            if !matches!(moved, Moved::Blocked) {
                network.change(*connection, |_| {});
                net.tell(&network);
            }
            match moved {
                Moved::Bytes(count) => return Ok(count),
                Moved::End => return Ok(0),
                Moved::Broken => return Err(io::ErrorKind::ConnectionReset.into()),
                Moved::Blocked if self.nonblocking => return Err(io::ErrorKind::WouldBlock.into()),
                Moved::Blocked => {}
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            network = net.wait(network, left);
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait_for(|connection| connection.down.read(buffer))
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait_for(|connection| {
            if connection.driver_gone {
                connection.reset(|len| len);
            }
            connection.up.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects clients to a listener.
#[derive(Clone, Debug)]
pub struct Dialer {
    net: Arc<Net>,
    listener: Handle<SimListener>,
}

impl Dialer {
    pub(super) fn new(net: Arc<Net>, listener: Handle<SimListener>) -> Self {
        Self { net, listener }
    }

    pub(super) fn listener(&self) -> Handle<SimListener> {
        self.listener
    }

    /// Creates a connection, which waits in the backlog until it is accepted.
    ///
    /// # Errors
    ///
    /// When the listener is closed, or its backlog is full.
    pub fn dial(&self) -> io::Result<Peer> {
        let network = &mut *self.net.lock();
        let Some(listener) = network.listeners.get(self.listener) else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        if listener.closing || listener.backlog.len() >= BACKLOG {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let connection = network.connect(None);
        let listener = network.listeners.get_mut(self.listener).expect("it was just found");
        listener.backlog.push_back(connection);
        network.touched.push(listener.owner);
        self.net.tell(network);
        Ok(Peer::new(Arc::clone(&self.net), connection))
    }
}
