//! A worker: one thread with one driver, one table of connections, one timing wheel, and one
//! service that its sessions share.
//!
//! In each turn it waits for completions, reads the clock once, passes each completion to its
//! connection or to the service, handles deadlines, and performs the tasks of the service. Workers
//! share their settings; everything else reaches them as a message in their mailbox.

mod deadlines;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain_pool::ChainPool;
use super::connection::Connection;
use super::env::{Env, Timeouts, tag};
use super::failure;
use super::mailbox::{Mailbox, Message};
use super::monitor::{Published, WorkerStats};
use super::timers::{TICK, Tick, Wheel};
use crate::ask::{Ask, AskId, Reply};
use crate::driver::slot_map::{CAPACITY_MAX, Handle, SlotMap};
use crate::driver::{Completion, Driver, Op, OpId, Outcome, Sock, SocketAddress, Token};
use crate::service::{Service, SessionId, Task};
use crate::session::{Addresses, ConnectionInfo, Now, Session};

/// Room per listener for connections that the driver accepts before an accept can be stopped.
pub(crate) const ACCEPT_SLACK: u32 = crate::driver::ACCEPTS_PER_WAIT;

/// How long the last closes may take after the drain timeout.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// A hundred years: forever, without an overflow of an [`Instant`].
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The failed step in the error of a worker whose driver fails.
const WAIT: &str = "waiting for completions";

/// Describes a token of a worker in a trace.
pub(super) fn name(token: Token) -> String {
    let (handle, tag) = Handle::<()>::unpack(token.0);
    let kind = match tag {
        tag::LISTENER => "listener",
        tag::SURPLUS => return "surplus".to_owned(),
        tag::SERVICE => return "service".to_owned(),
        _ => "connection",
    };
    match handle.generation() {
        0 => format!("{kind} {}", handle.slot()),
        before => format!("{kind} {}#{}", handle.slot(), before + 1),
    }
}

/// Settings of a worker, validated; see [`ServerSettings`](super::ServerSettings).
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Maximum number of concurrent connections; at least one.
    pub connections_max: u32,
    /// How long a request may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long a peer may acknowledge nothing of what is sent.
    pub send_timeout: Duration,
    /// How long a drain waits for connections to finish.
    pub drain_timeout: Duration,
}

/// A worker; see the module documentation.
pub struct Worker<D, S: Session> {
    driver: D,
    shared: S::Shared,
    mailbox: Arc<Mailbox<<S::Shared as Service>::Message>>,
    published: Arc<Published>,
    settings: WorkerSettings,
    timeouts: Timeouts,
    listeners: Vec<Listener>,
    connections: SlotMap<Connection<S>, SessionId>,
    /// The ops of the service's open questions.
    service_ops: HashMap<AskId, OpId, foldhash::fast::RandomState>,
    wheel: Wheel,
    chains: ChainPool,
    now: Now,
    tick: Tick,
    /// The end of the drain timeout; set while draining.
    drain_until: Option<Instant>,
    /// The number of ops that have not had their last completion.
    ops: usize,
    /// The number of these ops whose connection is gone.
    orphaned: usize,
    batch: Vec<Completion>,
    due: Vec<u32>,
    asks: Vec<(AskId, Ask)>,
}

#[derive(Debug)]
struct Listener {
    sock: Sock,
    accepting: Option<OpId>,
    /// The accept has been cancelled and has not completed yet.
    pausing: bool,
    closing: bool,
    closed: bool,
}

impl<D: Driver, S: Session> Worker<D, S> {
    /// Creates a worker that serves the connections of `listeners`.
    pub fn new(
        driver: D,
        listeners: Vec<Sock>,
        shared: S::Shared,
        settings: WorkerSettings,
        mailbox: Arc<Mailbox<<S::Shared as Service>::Message>>,
        published: Arc<Published>,
    ) -> Self {
        let now = driver.now();
        let ticks = |time: Duration| {
            Tick::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(Tick::MAX / 4) + 1
        };
        let timeouts = Timeouts {
            header: ticks(settings.header_timeout),
            idle: ticks(settings.idle_timeout),
            send: ticks(settings.send_timeout),
            linger: ticks(Duration::from_secs(2)),
            drain_idle: ticks(Duration::from_secs(1)),
        };
        let slack = ACCEPT_SLACK * listeners.len() as u32;
        let listener = |sock| Listener {
            sock,
            accepting: None,
            pausing: false,
            closing: false,
            closed: false,
        };
        let mut worker = Self {
            driver,
            shared,
            mailbox,
            published,
            settings,
            timeouts,
            listeners: listeners.into_iter().map(listener).collect(),
            connections: SlotMap::marked(settings.connections_max + slack),
            service_ops: HashMap::default(),
            wheel: Wheel::new(now.instant),
            chains: ChainPool::default(),
            now,
            tick: 0,
            drain_until: None,
            ops: 0,
            orphaned: 0,
            batch: Vec::new(),
            due: Vec::new(),
            asks: Vec::new(),
        };
        worker.regulate_accepts();
        worker
    }

    /// The driver, for tests that control a simulated machine.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Serves until a drain is complete.
    ///
    /// # Errors
    ///
    /// When the driver or a listener fails.
    pub fn run(mut self) -> io::Result<()> {
        while !self.is_done() {
            self.turn()?;
        }
        Ok(())
    }

    /// Performs one turn: waits until something completes or the next deadline, then handles it.
    ///
    /// # Errors
    ///
    /// As for [`Worker::run`].
    pub fn turn(&mut self) -> io::Result<()> {
        let mut timeout = self.wheel.until_next(self.now.instant);
        if let Some(until) = self.drain_until {
            let left = until.saturating_duration_since(self.now.instant).max(TICK);
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        if let Some(deadline) = self.shared.deadline() {
            let left = deadline.saturating_duration_since(self.now.instant);
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.driver.wait(timeout, &mut batch).map_err(|error| failure::at(WAIT, &error))?;
        self.now = self.driver.now();
        let mut due = std::mem::take(&mut self.due);
        self.tick = self.wheel.advance(self.now.instant, &mut due);
        self.dispatch_all(&mut batch)?;
        self.check_deadlines(&mut due, &mut batch)?;
        (self.batch, self.due) = (batch, due);
        if self.drain_until.is_some_and(|until| until <= self.now.instant) {
            self.close_all();
        }
        self.serve();
        self.regulate_accepts();
        assert_eq!(self.ops, self.driver.in_flight(), "the worker counts every op in flight");
        let stats = WorkerStats {
            connections: self.connections.len(),
            leased: self.driver.leased() as u32,
            in_flight: self.ops as u32,
        };
        self.published.publish(stats, self.driver.stats());
        self.shared.publish();
        Ok(())
    }

    fn dispatch_all(&mut self, batch: &mut Vec<Completion>) -> io::Result<()> {
        batch.drain(..).try_for_each(|completion| self.dispatch(completion))
    }

    fn dispatch(&mut self, completion: Completion) -> io::Result<()> {
        let Completion { token, more, outcome } = completion;
        if token == Token::WAKE {
            self.read_mail();
            return Ok(());
        }
        self.ops -= usize::from(!more);
        let (handle, tag) = Handle::unpack(token.0);
        match (tag, outcome) {
            (tag::LISTENER, Outcome::Accepted(accepted)) => {
                return self.accepted(handle.slot() as usize, accepted, more);
            }
            (tag::LISTENER, _) => self.listeners[handle.slot() as usize].closed = true,
            (tag::SURPLUS, _) => self.orphaned -= 1,
            (tag::SERVICE, outcome) => {
                let id = AskId(handle.slot());
                self.service_ops.remove(&id);
                self.shared.resume(self.now, id, Reply::from_outcome(outcome));
            }
            (tag::CONNECTION, Outcome::Closed) => {
                let gone = self.connections.remove(handle).expect("a connection closes once");
                self.orphaned += gone.ops() - 1;
                self.wheel.forget(handle.slot());
            }
            (tag::CONNECTION, outcome) => {
                self.with_connection(handle, |connection, env| {
                    connection.complete(env, outcome, more);
                });
            }
            (_, _) if self.connections.get(handle).is_none() => self.orphaned -= 1,
            (ask, outcome) => self.with_connection(handle, |connection, env| {
                connection.reply(env, ask - tag::ASK, Reply::from_outcome(outcome));
            }),
        }
        Ok(())
    }

    fn read_mail(&mut self) {
        while let Some(message) = self.mailbox.take() {
            match message {
                Message::Drain => self.drain(),
                Message::Service(message) => self.shared.receive(self.now, message),
            }
        }
    }

    /// Performs the tasks of the service; most turns have none.
    #[inline]
    fn serve(&mut self) {
        while let Some(task) = self.shared.poll(self.now) {
            self.perform(task);
        }
    }

    #[inline(never)]
    fn perform(&mut self, task: Task<<S::Shared as Service>::Answer>) {
        match task {
            Task::Ask(id, ask) => {
                assert!(id.0 <= CAPACITY_MAX, "a token has no room for {id:?}");
                let token = Token(Handle::<()>::at(id.0).pack(tag::SERVICE));
                self.ops += 1;
                let op = self.driver.submit(token, ask.into_op());
                let before = self.service_ops.insert(id, op);
                assert!(before.is_none(), "the service asked {id:?} again before the reply");
            }
            Task::Cancel(id) => {
                if let Some(op) = self.service_ops.get(&id) {
                    self.driver.cancel(*op);
                }
            }
            Task::Answer(waiter, answer) => {
                self.with_connection(waiter.session.0, |connection, env| {
                    connection.answer(env, waiter.id, answer);
                });
            }
        }
    }

    /// Calls `act` with a connection and updates its deadline in the wheel. Does nothing if the
    /// connection is gone.
    fn with_connection(
        &mut self,
        handle: Handle<SessionId>,
        act: impl FnOnce(&mut Connection<S>, &mut Env<'_, D, S>),
    ) {
        let Some(connection) = self.connections.get_mut(handle) else { return };
        let mut env = Env {
            driver: &mut self.driver,
            shared: &mut self.shared,
            chains: &mut self.chains,
            asks: &mut self.asks,
            ops: &mut self.ops,
            wheel: &self.wheel,
            now: self.now,
            tick: self.tick,
            timeouts: &self.timeouts,
            handle,
            sock: connection.sock(),
        };
        act(connection, &mut env);
        self.wheel.watch(handle.slot(), connection.deadline);
    }

    fn accepted(
        &mut self,
        listener: usize,
        accepted: io::Result<Sock>,
        more: bool,
    ) -> io::Result<()> {
        if !more {
            let listener = &mut self.listeners[listener];
            (listener.accepting, listener.pausing) = (None, false);
        }
        match accepted {
            Ok(sock) => {
                self.open(listener, sock);
                Ok(())
            }
            Err(error) if crate::driver::is_cancelled(&error) => Ok(()),
            // The listener is being closed anyway. Connections accepted before are served.
            Err(_) if self.listeners[listener].closing => Ok(()),
            Err(error) if self.was_shut_down(listener, &error) => {
                self.close_listener(listener);
                Ok(())
            }
            Err(error) => Err(failure::at("accept(2) on a listener", &error)),
        }
    }

    /// Whether another worker has closed a listener that all workers share: that ends blocking
    /// accepts of the others with `EINVAL`. The message that makes this worker close it as well is
    /// on its way.
    fn was_shut_down(&self, listener: usize, error: &io::Error) -> bool {
        let local = || self.driver.local(self.listeners[listener].sock);
        error.raw_os_error() == Some(libc::EINVAL) && matches!(local(), Ok(SocketAddress::Unix))
    }

    fn close_listener(&mut self, listener: usize) {
        let token = Token(Handle::<()>::at(listener as u32).pack(tag::LISTENER));
        let listener = &mut self.listeners[listener];
        listener.closing = true;
        self.ops += 1;
        self.driver.submit(token, Op::Close { sock: listener.sock, reset: false });
    }

    fn open(&mut self, listener: usize, sock: Sock) {
        if self.connections.is_full() {
            let token = Token(Handle::<()>::at(0).pack(tag::SURPLUS));
            self.ops += 1;
            self.orphaned += 1;
            self.driver.submit(token, Op::Close { sock, reset: false });
            return;
        }
        let draining = self.drain_until.is_some();
        let info = ConnectionInfo::new(listener as u16, Addresses::of(&self.driver, sock));
        let session = S::new(&mut self.shared, &info);
        let connection = Connection::new(sock, session);
        let Ok(handle) = self.connections.insert(connection) else {
            unreachable!("the table is not full, as checked above")
        };
        self.with_connection(handle, |connection, env| connection.begin(env, draining));
    }

    /// Accepts while there is room for connections; the others wait in the kernel's backlog. While
    /// draining, closes a listener when its accept is in flight, so the connections in the backlog
    /// are delivered first.
    fn regulate_accepts(&mut self) {
        let max = self.settings.connections_max;
        let full = self.connections.len() >= max;
        // Resume below 15/16 of the maximum, so a full server does not stop and resume all the
        // time.
        let room = self.connections.len() < max - max / 16;
        let draining = self.drain_until.is_some();
        for slot in 0..self.listeners.len() {
            let listener = &mut self.listeners[slot];
            let token = Token(Handle::<()>::at(slot as u32).pack(tag::LISTENER));
            match listener.accepting {
                Some(op) if full && !listener.closing && !listener.pausing => {
                    listener.pausing = true;
                    self.driver.cancel(op);
                }
                None if room && !listener.closing => {
                    let op = Op::AcceptMany { listener: listener.sock };
                    self.ops += 1;
                    listener.accepting = Some(self.driver.submit(token, op));
                }
                _ => {}
            }
            let accepting = listener.accepting.is_some() && !listener.pausing;
            if draining && !listener.closing && accepting {
                self.close_listener(slot);
            }
        }
    }

    fn drain(&mut self) {
        if self.drain_until.is_some() {
            return;
        }
        let timeout = self.settings.drain_timeout.min(DRAIN_TIMEOUT_MAX);
        self.drain_until = Some(self.now.instant + timeout);
        for handle in self.connections.handles() {
            self.with_connection(handle, Connection::drain);
        }
    }

    /// Closes everything that is still open, because the drain timeout is over.
    fn close_all(&mut self) {
        let mut cut_off = 0;
        for handle in self.connections.handles() {
            self.with_connection(handle, |connection, env| {
                cut_off += u32::from(connection.give_up(env));
            });
        }
        if cut_off > 0 {
            self.published.add_cut_off(cut_off);
        }
        for slot in 0..self.listeners.len() {
            if !self.listeners[slot].closing {
                self.close_listener(slot);
            }
        }
    }

    /// Whether the drain is complete.
    pub fn is_done(&self) -> bool {
        let Some(until) = self.drain_until else { return false };
        let empty =
            self.connections.is_empty() && self.listeners.iter().all(|listener| listener.closed);
        empty || self.now.instant > until + CLOSE_WAIT
    }

    /// Checks that the ops of all connections, listeners and the service add up to the ops that the
    /// driver has in flight. For simulations only, because it visits every connection.
    ///
    /// # Panics
    ///
    /// If they do not add up.
    pub fn check_ops(&self) {
        let connections = self.connections.handles().into_iter();
        let connections = connections.filter_map(|handle| self.connections.get(handle));
        let listeners = self.listeners.iter().map(|listener| {
            usize::from(listener.accepting.is_some())
                + usize::from(listener.closing && !listener.closed)
        });
        let owned = connections.map(Connection::ops).sum::<usize>()
            + listeners.sum::<usize>()
            + self.service_ops.len();
        let in_flight = self.driver.in_flight();
        assert_eq!(
            owned + self.orphaned,
            in_flight,
            "an op has no owner, or an owner waits for none"
        );
    }

    /// The memory of the connection that uses most of it, in bytes: input that was not taken, and
    /// output that was not sent.
    #[cfg(any(test, feature = "simulation"))]
    pub fn connection_memory_max(&self) -> usize {
        let connections = self.connections.handles().into_iter();
        let connections = connections.filter_map(|handle| self.connections.get(handle));
        connections.map(Connection::memory_in_use).max().unwrap_or(0)
    }
}
