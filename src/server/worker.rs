//! A worker: one thread with one driver, one table of connections, one wheel, and one service that
//! its sessions share.
//!
//! Each turn: wait for completions, look at the clock once, hand every completion to its
//! connection or to the service, deal with deadlines, then do what the service wants. Workers
//! share settings; everything else they are told comes by their mailbox.

mod deadlines;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain_pool::ChainPool;
use super::connection::Connection;
use super::env::{Env, Timeouts, tag};
use super::mailbox::{Mailbox, Message};
use super::monitor::{Published, WorkerStats};
use super::timers::{TICK, Tick, Wheel};
use crate::ask::{Ask, AskId, Reply};
use crate::driver::slot_map::{CAPACITY_MAX, Handle, SlotMap};
use crate::driver::{Completion, Driver, Op, OpId, Outcome, Sock, Token};
use crate::service::{Service, SessionId, Task};
use crate::session::{Addresses, ConnectionInfo, Now, Session};

/// Room, per listener, for connections that come before the accept can be stopped.
pub(crate) const ACCEPT_SLACK: u32 = crate::driver::ACCEPTS_PER_WAIT;

/// After the drain timeout, how long the last closes may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a token of a worker names, for a person.
pub(super) fn name(token: Token) -> String {
    let (handle, tag) = Handle::<()>::unpack(token.0);
    let kind = match tag {
        tag::LISTENER => "listener",
        tag::SURPLUS => return "one too many".to_owned(),
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
    /// Connections at a time; at least one.
    pub connections_max: u32,
    /// How long a request may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// How long a peer may leave what is sent unacknowledged.
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
    /// The ops that answer the service's questions.
    service_ops: HashMap<AskId, OpId, foldhash::fast::RandomState>,
    wheel: Wheel,
    chains: ChainPool,
    now: Now,
    tick: Tick,
    /// Set while draining: when the drain timeout ends.
    drain_until: Option<Instant>,
    /// Ops that were submitted and have not had their last completion.
    ops: usize,
    /// Of those, the ones whose owner is gone.
    forsaken: usize,
    batch: Vec<Completion>,
    due: Vec<u32>,
    asks: Vec<(AskId, Ask)>,
}

#[derive(Debug)]
struct Listener {
    sock: Sock,
    accepting: Option<OpId>,
    /// The accept was asked to end.
    pausing: bool,
    closing: bool,
    closed: bool,
}

/// Where a session finds the addresses of its connection.
struct SocketAddresses<'a, D> {
    driver: &'a D,
    sock: Sock,
}

impl<D: Driver> Addresses for SocketAddresses<'_, D> {
    fn peer(&self) -> io::Result<SocketAddr> {
        self.driver.peer(self.sock)
    }

    fn local(&self) -> io::Result<SocketAddr> {
        self.driver.local(self.sock)
    }
}

impl<D: Driver, S: Session> Worker<D, S> {
    /// A worker that serves what `listeners` bring.
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
            forsaken: 0,
            batch: Vec::new(),
            due: Vec::new(),
            asks: Vec::new(),
        };
        worker.regulate_accepts();
        worker
    }

    /// The driver, for whoever simulates the machine that it is.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Serves until it has drained.
    ///
    /// # Errors
    ///
    /// When the driver is broken, or a listener fails.
    pub fn run(mut self) -> io::Result<()> {
        while !self.is_done() {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn: waits, at the longest until the next deadline, and does what is to be done then.
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
        let mut batch = std::mem::take(&mut self.batch);
        self.driver.wait(timeout, &mut batch)?;
        self.now = self.driver.now();
        let mut due = std::mem::take(&mut self.due);
        self.tick = self.wheel.advance(self.now.instant, &mut due);
        self.dispatch_all(&mut batch)?;
        self.look_at_all(&mut due, &mut batch)?;
        (self.batch, self.due) = (batch, due);
        if self.drain_until.is_some_and(|until| until <= self.now.instant) {
            self.close_all();
        }
        self.serve();
        self.regulate_accepts();
        assert_eq!(self.ops, self.driver.in_flight(), "every op has an owner who counts it");
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
            (tag::SURPLUS, _) => self.forsaken -= 1,
            (tag::SERVICE, outcome) => {
                let id = AskId(handle.slot());
                self.service_ops.remove(&id);
                self.shared.resume(self.now, id, Reply::from_outcome(outcome));
            }
            (tag::CONNECTION, Outcome::Closed) => {
                let gone = self.connections.remove(handle).expect("a connection closes once");
                self.forsaken += gone.ops() - 1;
                self.wheel.forget(handle.slot());
            }
            (tag::CONNECTION, outcome) => {
                self.with_connection(handle, |connection, env| {
                    connection.complete(env, outcome, more);
                });
            }
            (_, _) if self.connections.get(handle).is_none() => self.forsaken -= 1,
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

    /// Does what the service wants, which is mostly nothing.
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
                assert!(before.is_none(), "the service asked {id:?} before the reply");
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

    /// Runs `act` on a connection, unless it is gone, and watches its deadline.
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
            // It is closed in any case, and what was accepted before is served.
            Err(_) if self.listeners[listener].closing => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn open(&mut self, listener: usize, sock: Sock) {
        if self.connections.is_full() {
            let token = Token(Handle::<()>::at(0).pack(tag::SURPLUS));
            self.ops += 1;
            self.forsaken += 1;
            self.driver.submit(token, Op::Close { sock, reset: false });
            return;
        }
        let draining = self.drain_until.is_some();
        let info = SocketAddresses { driver: &self.driver, sock };
        let session = S::new(&mut self.shared, &ConnectionInfo::new(listener as u16, &info));
        let connection = Connection::new(sock, session);
        let Ok(handle) = self.connections.insert(connection) else {
            unreachable!("there is room, as was just seen")
        };
        self.with_connection(handle, |connection, env| connection.begin(env, draining));
    }

    /// Accepts while there is room for connections: the kernel's backlog is the queue. While
    /// draining, a listener is closed once its accept is in flight, which delivers what waits.
    fn regulate_accepts(&mut self) {
        let max = self.settings.connections_max;
        let full = self.connections.len() >= max;
        // A gap between stopping and starting, so that a full server does not do both in turn.
        let room = self.connections.len() < max - max / 16;
        let draining = self.drain_until.is_some();
        for (slot, listener) in self.listeners.iter_mut().enumerate() {
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
                listener.closing = true;
                self.ops += 1;
                self.driver.submit(token, Op::Close { sock: listener.sock, reset: false });
            }
        }
    }

    fn drain(&mut self) {
        if self.drain_until.is_some() {
            return;
        }
        self.drain_until = Some(self.now.instant + self.settings.drain_timeout);
        for handle in self.connections.handles() {
            self.with_connection(handle, Connection::drain);
        }
    }

    /// The drain timeout is over: what is still there ends now.
    fn close_all(&mut self) {
        for handle in self.connections.handles() {
            self.with_connection(handle, Connection::give_up);
        }
        for (slot, listener) in self.listeners.iter_mut().enumerate() {
            if !std::mem::replace(&mut listener.closing, true) {
                let token = Token(Handle::<()>::at(slot as u32).pack(tag::LISTENER));
                self.ops += 1;
                self.driver.submit(token, Op::Close { sock: listener.sock, reset: false });
            }
        }
    }

    /// Whether it has drained.
    pub fn is_done(&self) -> bool {
        let Some(until) = self.drain_until else { return false };
        let empty =
            self.connections.is_empty() && self.listeners.iter().all(|listener| listener.closed);
        empty || self.now.instant > until + CLOSE_WAIT
    }

    /// Checks that the ops of all owners add up to what the driver has in flight. For
    /// simulations: it looks at every connection.
    ///
    /// # Panics
    ///
    /// When they do not.
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
        assert_eq!(owned + self.forsaken, in_flight, "an op has no owner, or is not in flight");
    }
}
