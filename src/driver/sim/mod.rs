//! A simulated machine: implements the [`Driver`] contract in memory, for tests without a kernel.
//!
//! There are two kinds. [`Sim::open`] runs in real time without latency and faults, and its peers
//! may be threads. [`Sim::seeded`] runs in virtual time with faults: steps take long and overtake
//! each other, bytes move in small pieces, connections are reset, descriptors run out, disks fail,
//! the wall clock jumps. A seed determines the run, so a failure can be replayed.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | the driver: its ops, and the schedule of their steps |
//! | `clock.rs` | real or virtual time |
//! | `steps.rs` | which ops take a step in a wait |
//! | `step.rs` | what an op does in a step |
//! | `network.rs` | connections, and the peers' ends of them |
//! | `files.rs`, `log.rs` | files, and the log of their changes |
//! | `watch.rs` | the watcher, which reports these changes |
//! | `faults.rs` | the faults |
//!
//! A step of a job ([`Op::Run`]) runs the job on the driver's thread, so a job must neither wait
//! for this machine nor use its peers.
//!
//! An op in flight has an [`OpPlace`]. A step is only a hint: when it is due, its op may have ended
//! or be in another place.
//!
//! Invariants, which are asserted: an op is in `waits_for_buffer` exactly while that is its place;
//! a socket is removed after its ops have ended; `jobs` and `file_ops` count those in flight.

mod clock;
mod faults;
mod files;
mod log;
mod network;
mod step;
mod steps;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fastrand::Rng;

use super::completions::Completions;
use super::drain::ListenerDrain;
use super::pool::Pool;
use super::slot_map::{CAPACITY_MAX, Handle, SlotMap};
use super::{
    Chain, Completion, Driver, DriverStats, File, Job, Limits, Now, Op, OpId, SendEnd, Sock,
    SocketAddress, Token, Waker, job_thread,
};
use clock::Clock;
use network::{Net, SimConnection, SimListener};
use watch::Watching;

pub use faults::Faults;
pub use files::Files;
pub use network::{Dialer, Peer};
pub use watch::Watch;

/// The port of the driver's ends.
const LOCAL_PORT: u16 = 80;

/// The simulated machine, as a driver; see the module documentation.
#[derive(Debug)]
pub struct Sim {
    net: Arc<Net>,
    files: Files,
    clock: Clock,
    faults: Faults,
    random: Rng,
    limits: Limits,
    /// The most sockets and files open at a time.
    descriptors_max: Option<u32>,
    pool: Rc<Pool>,
    sockets: SlotMap<SimSocket, Sock>,
    ops: SlotMap<SimOp>,
    /// The schedule: by time, and by number for steps at the same time.
    steps: BTreeMap<(Duration, u64), Handle<SimOp>>,
    steps_made: u64,
    /// Receives that wait for a buffer, oldest first.
    waits_for_buffer: VecDeque<Handle<SimOp>>,
    /// Ops that have had their turn in this wait.
    spent: Vec<Handle<SimOp>>,
    /// Jobs in flight.
    jobs: usize,
    /// Ops on files in flight.
    file_ops: u32,
    done: Completions,
    waits: u64,
    /// A time at which a wait returns, whatever its timeout.
    alarm: Option<Duration>,
    watching: Watching,
    stats: DriverStats,
}

#[derive(Debug)]
struct SimSocket {
    end: SocketEnd,
    read: Option<Handle<SimOp>>,
    write: Option<Handle<SimOp>>,
    /// The close that was submitted; it waits until the other ops have ended.
    close: Option<Handle<SimOp>>,
    /// A listener that somebody else holds too: it is left as it is.
    joint: bool,
    /// Set while a listener that is being closed delivers its backlog.
    drain: Option<ListenerDrain>,
}

/// The end of a socket in the network.
#[derive(Clone, Copy, Debug)]
enum SocketEnd {
    Listener(Handle<SimListener>),
    Connection(Handle<SimConnection>),
}

/// An op in flight.
#[derive(Debug)]
struct SimOp {
    token: Token,
    work: SimWork,
    place: OpPlace,
    cancelled: bool,
    /// The number of a wait, and the bytes or connections that the op has moved in that wait.
    turn: (u64, u64),
}

/// Where an op in flight is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OpPlace {
    /// The op has a step in `steps`, or is in `spent`.
    Planned,
    /// The op waits until a peer touches its socket; a close waits until the other ops end.
    Blocked,
    /// The op is in `waits_for_buffer`.
    WaitsForBuffer,
}

/// What an op does. A job that is to be refused is not kept.
#[derive(Debug)]
enum SimWork {
    Accept { sock: Handle<Sock> },
    Receive { sock: Handle<Sock> },
    Send { sock: Handle<Sock>, chain: Box<Chain>, end: SendEnd },
    Read { file: Arc<File>, offset: u64, buffer: Vec<u8> },
    Open { root: Arc<File>, path: CString },
    Run { job: Option<Job> },
    Close { sock: Handle<Sock>, reset: bool },
}

impl SimSocket {
    fn new(end: SocketEnd) -> Self {
        Self { end, read: None, write: None, close: None, joint: false, drain: None }
    }
}

impl Sim {
    /// Opens a machine in real time, without latency and faults.
    ///
    /// # Errors
    ///
    /// Never; the signature is that of the other drivers.
    pub fn open(limits: &Limits) -> io::Result<Self> {
        let now = Now::read();
        let wall = now.system.duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = Clock::real(now.instant, wall);
        Ok(Self::new(limits, clock, Faults::NONE, Rng::with_seed(0)))
    }

    /// Opens a machine in virtual time, with faults.
    pub fn seeded(limits: &Limits, seed: u64, faults: Faults) -> Self {
        // A day in 2033, the same for all seeds.
        let wall = Duration::from_secs(2_000_000_000);
        let clock = Clock::simulated(Instant::now(), wall);
        Self::new(limits, clock, faults, Rng::with_seed(seed))
    }

    fn new(limits: &Limits, clock: Clock, faults: Faults, random: Rng) -> Self {
        let files = Files::default();
        files.set_time(clock.wall);
        Self {
            net: Net::new(),
            files,
            clock,
            faults,
            random,
            limits: *limits,
            descriptors_max: None,
            pool: Pool::new(limits.buffers, limits.buffer_bytes),
            sockets: SlotMap::marked(limits.sockets_max),
            // No tighter bound: jobs beyond the limit are ops too, until their step refuses them.
            ops: SlotMap::new(CAPACITY_MAX),
            steps: BTreeMap::new(),
            steps_made: 0,
            waits_for_buffer: VecDeque::new(),
            spent: Vec::new(),
            jobs: 0,
            file_ops: 0,
            done: Completions::default(),
            waits: 0,
            alarm: None,
            watching: Watching::default(),
            stats: DriverStats::default(),
        }
    }

    /// The machine's files.
    pub fn files(&self) -> Files {
        self.files.clone()
    }

    /// Creates a connection that is accepted already, and its peer.
    ///
    /// # Errors
    ///
    /// When the table of sockets is full.
    pub fn connect(&mut self) -> io::Result<(Sock, Peer)> {
        let connection = self.net.lock().connect(None);
        let peer = Peer::new(Arc::clone(&self.net), connection);
        let handle = self.insert(SocketEnd::Connection(connection));
        let Some(handle) = handle else {
            self.net.lock().close(connection, false, |len| len);
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        self.net.lock().own(connection, handle);
        Ok((Sock(handle), peer))
    }

    /// Limits the sockets and files open at a time. Beyond the limit, opens fail with `EMFILE`, and
    /// accepts pause.
    pub fn set_descriptors_max(&mut self, max: Option<u32>) {
        self.descriptors_max = max;
    }

    /// Sets a time since the start at which a wait returns, whatever its timeout. A wait does not
    /// advance virtual time past the alarm.
    pub fn set_alarm(&mut self, at: Option<Duration>) {
        self.alarm = at;
    }

    /// The number of open sockets.
    pub fn sockets(&self) -> u32 {
        self.sockets.len()
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Advances virtual time outside a wait, as if the process were stopped (SIGSTOP). The next
    /// wait handles what happens meanwhile.
    pub fn pass(&mut self, time: Duration) {
        self.clock.pass(time);
    }

    /// Turns all faults and latencies off. Time stays virtual.
    pub fn calm(&mut self) {
        self.faults = Faults::NONE;
    }

    fn insert(&mut self, end: SocketEnd) -> Option<Handle<Sock>> {
        self.sockets.insert(SimSocket::new(end)).ok()
    }

    /// A socket that accepts new ops.
    fn open_socket(&mut self, sock: Sock) -> &mut SimSocket {
        let socket = self.sockets.get_mut(sock.0);
        let socket = socket.unwrap_or_else(|| sock.stale());
        assert!(socket.close.is_none(), "an op on {sock:?}, whose close was submitted before");
        socket
    }

    /// The connection of a socket.
    fn connection(&self, sock: Sock) -> Option<Handle<SimConnection>> {
        match self.sockets.get(sock.0) {
            Some(SimSocket { end: SocketEnd::Connection(connection), .. }) => Some(*connection),
            Some(_) => None,
            None => sock.stale(),
        }
    }

    /// Schedules a step of an op after a random latency.
    fn plan(&mut self, op: Handle<SimOp>) {
        let mut latency = self.latency();
        if self.happens(self.faults.late) {
            latency *= 100;
        }
        self.plan_after(op, latency);
    }

    fn plan_after(&mut self, op: Handle<SimOp>, time: Duration) {
        self.steps_made += 1;
        let due = self.clock.elapsed() + time;
        self.steps.insert((due, self.steps_made), op);
    }

    fn latency(&mut self) -> Duration {
        let max = self.faults.latency_max.as_nanos() as u64;
        if max == 0 { Duration::ZERO } else { Duration::from_nanos(self.random.u64(..max)) }
    }

    /// Draws whether an event with this chance, per mille, happens.
    fn happens(&mut self, chance: u16) -> bool {
        chance > 0 && self.random.u16(..1000) < chance
    }
}

impl super::sealed::Sealed for Sim {}

impl Driver for Sim {
    fn adopt(&mut self, _: OwnedFd) -> io::Result<Sock> {
        Err(io::Error::other("the simulator has no sockets of the kernel; use Sim::connect"))
    }

    fn set_joint(&mut self, listener: Sock, joint: bool) {
        self.sockets.get_mut(listener.0).unwrap_or_else(|| listener.stale()).joint = joint;
    }

    fn submit(&mut self, token: Token, op: Op) -> OpId {
        self.done.begin();
        let (side, mut work) = match op {
            Op::AcceptMany { listener } => {
                (Some((listener, true)), SimWork::Accept { sock: listener.0 })
            }
            Op::RecvMany { sock } => (Some((sock, true)), SimWork::Receive { sock: sock.0 }),
            Op::Send { sock, chain, end } => {
                (Some((sock, false)), SimWork::Send { sock: sock.0, chain, end })
            }
            Op::ReadFile { file, offset, buffer } => (None, SimWork::Read { file, offset, buffer }),
            Op::OpenFile { root, path } => (None, SimWork::Open { root, path }),
            Op::Run { job } => {
                self.jobs += 1;
                // One more than the queue holds, because the job thread works on one.
                (None, SimWork::Run { job: (self.jobs <= 1 + job_thread::QUEUE).then_some(job) })
            }
            Op::Close { sock, reset } => {
                self.open_socket(sock);
                (None, SimWork::Close { sock: sock.0, reset })
            }
        };
        if let SimWork::Read { .. } | SimWork::Open { .. } = &work {
            if self.file_ops == self.limits.file_ops_max() {
                self.done.finish(token, work.end(Err(io::ErrorKind::ResourceBusy.into())));
                return OpId(Handle::<SimOp>::NOBODY.pack(0));
            }
            self.file_ops += 1;
        }
        let pending =
            SimOp { token, work, place: OpPlace::Planned, cancelled: false, turn: (0, 0) };
        if let Some((sock, reads)) = side {
            let socket = self.open_socket(sock);
            let side = if reads { socket.read } else { socket.write };
            assert!(side.is_none(), "a second op on one side of a socket");
        }
        let handle = self.ops.insert(pending).expect("the table of ops is full");
        match (&self.ops.get(handle).expect("just inserted").work, side) {
            (_, Some((sock, true))) => self.open_socket(sock).read = Some(handle),
            (_, Some((sock, false))) => self.open_socket(sock).write = Some(handle),
            (SimWork::Close { sock, .. }, _) => self.begin_close(*sock, handle),
            _ => {}
        }
        self.stats.submissions += 1;
        self.plan(handle);
        OpId(handle.pack(0))
    }

    fn cancel(&mut self, op: OpId) {
        let (handle, _) = Handle::unpack(op.0);
        let Some(pending) = self.ops.get_mut(handle) else { return };
        if !matches!(pending.work, SimWork::Close { .. }) {
            pending.cancelled = true;
            self.plan(handle);
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.waits += 1;
        let deadline = timeout.map(|timeout| self.clock.elapsed().saturating_add(timeout));
        let net = Arc::clone(&self.net);
        let mut network = net.lock();
        for op in std::mem::take(&mut self.spent) {
            self.plan(op);
        }
        loop {
            network = self.watch(&net, network);
            self.revive(&mut network);
            self.listen_to_peers(&mut network);
            self.run(&mut network);
            net.tell(&network);
            if std::mem::take(&mut network.woken) {
                self.done.wake();
            }
            let until = [deadline, self.alarm].into_iter().flatten().min();
            let over = until.is_some_and(|until| until <= self.clock.elapsed());
            if over || !self.done.is_empty() || !self.spent.is_empty() {
                break;
            }
            if network.noted {
                continue;
            }
            let next = self.steps.keys().next().map(|(due, _)| *due);
            let next = [next, self.watch_due(), until].into_iter().flatten().min();
            // Sleep a little longer, so steps at nearly the same time share a wait; but not past
            // the alarm.
            let window = self
                .latency()
                .min(self.alarm.unwrap_or(Duration::MAX).saturating_sub(next.unwrap_or_default()));
            network = self.clock.sleep(&net, network, next, window)?;
        }
        drop(network);
        self.done.deliver(out, &mut self.stats);
        if self.happens(self.faults.clock) {
            self.clock.wall = Duration::from_secs(1_900_000_000 + self.random.u64(..200_000_000));
            self.files.set_time(self.clock.wall);
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::new(self.net.clone())
    }

    fn acknowledged(&self, sock: Sock) -> io::Result<u64> {
        let connection = self.connection(sock).ok_or(io::ErrorKind::NotConnected)?;
        Ok(self.net.lock().acknowledged(connection))
    }

    fn peer(&self, sock: Sock) -> io::Result<SocketAddress> {
        let connection = self.connection(sock).ok_or(io::ErrorKind::NotConnected)?;
        let port = connection.slot() % 60_000 + 1024;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16)).into())
    }

    fn set_pace(&self, sock: Sock, _: Option<NonZero<u64>>) -> io::Result<()> {
        self.sockets.get(sock.0).unwrap_or_else(|| sock.stale());
        Ok(())
    }

    fn has_input(&self, sock: Sock) -> bool {
        self.connection(sock).is_some_and(|connection| self.net.lock().has_input(connection))
    }

    /// All sockets have the same address: the machine has one server.
    fn local(&self, sock: Sock) -> io::Result<SocketAddress> {
        self.sockets.get(sock.0).unwrap_or_else(|| sock.stale());
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, LOCAL_PORT)).into())
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn in_flight(&self) -> usize {
        self.done.in_flight()
    }

    fn leased(&self) -> usize {
        self.pool.lent()
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let net = Arc::clone(&self.net);
        let mut network = net.lock();
        for handle in self.sockets.handles() {
            let socket = self.sockets.get(handle).expect("its handle was just listed");
            match socket.end {
                SocketEnd::Listener(_) if socket.joint => {}
                SocketEnd::Listener(listener) => network.close_listener(listener),
                SocketEnd::Connection(connection) => network.close(connection, false, |len| len),
            }
        }
        net.tell(&network);
    }
}
