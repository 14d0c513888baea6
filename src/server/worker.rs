//! A worker: one thread with one driver, one table of connections, one timing wheel, and one
//! service that its sessions share.
//!
//! In each turn it waits for completions, reads the clock once, passes each completion to its
//! connection or to the service, handles deadlines, and performs the tasks of the service. Workers
//! share their settings; everything else reaches them as a message in their mailbox.

mod deadlines;
mod drain;
mod listeners;
mod state;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::chain_pool::ChainPool;
use super::connection::Connection;
use super::env::{Env, Timeouts, tag};
use super::failure;
use super::mailbox::{Mailbox, Message, WorkerSocket};
use super::published::{Published, WorkerStats};
use super::settings::ServerTimeouts;
use super::timers::{TICK, Tick, Wheel};
use crate::ask::{Ask, AskId, Reply};
use crate::driver::slot_map::{CAPACITY_MAX, Handle, SlotMap};
use crate::driver::{Completion, Driver, OpId, Outcome, Sock, Token};
use crate::service::{Service, SessionId, Task};
use crate::session::{Now, Session};
use state::{Draining, Listener};

/// Room per listener for connections that the driver accepts before an accept can be stopped, and
/// for those in the queue of a listener that is dropped.
pub(crate) const ACCEPT_SLACK: u32 = crate::driver::ACCEPTS_PER_WAIT;

/// The failed step in the error of a worker whose driver fails.
const WAIT: &str = "waiting for completions";

/// The earlier one of two times that may not be known.
fn earlier(one: Option<Instant>, two: Option<Instant>) -> Option<Instant> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.min(two)),
        (one, two) => one.or(two),
    }
}

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
    /// Maximum number of listeners, those that updates add included.
    pub listeners_max: u32,
    /// How long things may take.
    pub timeouts: ServerTimeouts,
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
    /// Sockets for which there is no place yet; as many as there are listeners.
    waiting_listeners: Vec<WorkerSocket>,
    /// Whether something has changed that decides whether listeners accept.
    accepts_changed: bool,
    connections: SlotMap<Connection<S>, SessionId>,
    /// The ops of the service's open questions.
    service_ops: HashMap<AskId, OpId, foldhash::fast::RandomState>,
    wheel: Wheel,
    chains: ChainPool,
    now: Now,
    tick: Tick,
    draining: Draining,
    /// Another process accepts in place of this one.
    is_replaced: bool,
    /// The number of ops that have not had their last completion.
    ops: usize,
    /// The number of these ops whose connection is gone.
    orphaned: usize,
    batch: Vec<Completion>,
    due: Vec<u32>,
    asks: Vec<(AskId, Ask)>,
}

impl<D: Driver, S: Session> Worker<D, S> {
    /// Creates a worker that serves the connections of `listeners`, which have these numbers.
    pub fn new(
        driver: D,
        listeners: Vec<(u32, Sock)>,
        shared: S::Shared,
        settings: WorkerSettings,
        mailbox: Arc<Mailbox<<S::Shared as Service>::Message>>,
        published: Arc<Published>,
    ) -> Self {
        let now = driver.now();
        let connections_max = settings.connections_max + ACCEPT_SLACK * settings.listeners_max;
        let mut worker = Self {
            driver,
            shared,
            mailbox,
            published,
            settings,
            timeouts: Timeouts::of(&settings.timeouts),
            listeners: listeners
                .into_iter()
                .map(|(number, sock)| Listener::new(number, sock))
                .collect(),
            waiting_listeners: Vec::new(),
            accepts_changed: true,
            connections: SlotMap::reserved(connections_max),
            service_ops: HashMap::default(),
            wheel: Wheel::new(now.instant, connections_max),
            chains: ChainPool::default(),
            now,
            tick: 0,
            draining: Draining::No,
            is_replaced: false,
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
        let mut until = earlier(self.wheel.next_check(), self.shared.deadline());
        if let Some(end) = self.draining.until() {
            until = earlier(until, Some(end.max(self.now.instant + TICK)));
        }
        let timeout = until.map(|until| until.saturating_duration_since(self.now.instant));
        let mut batch = std::mem::take(&mut self.batch);
        self.driver.wait(timeout, &mut batch).map_err(|error| failure::at(WAIT, &error))?;
        self.now = self.driver.now();
        let mut due = std::mem::take(&mut self.due);
        self.tick = self.wheel.advance(self.now.instant, &mut due);
        self.dispatch_all(&mut batch)?;
        self.check_deadlines(&mut due, &mut batch)?;
        (self.batch, self.due) = (batch, due);
        self.check_drain();
        self.serve();
        // The server goes on without a listener that could not be taken so late.
        let _ = self.place_listeners();
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
        // They are taken out one by one where they are, because moving whole ones is slow.
        for completion in &mut *batch {
            self.dispatch(completion)?;
        }
        batch.clear();
        Ok(())
    }

    /// Handles a completion, and takes its outcome.
    #[inline]
    fn dispatch(&mut self, completion: &mut Completion) -> io::Result<()> {
        let Completion { token, more, .. } = *completion;
        let outcome = std::mem::replace(&mut completion.outcome, Outcome::Woken);
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
            (tag::LISTENER, _) => self.listeners[handle.slot() as usize].set_closed(),
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
                self.accepts_changed = true;
            }
            // The outcome is taken apart here, because moving a whole one is slow.
            (tag::CONNECTION, Outcome::Received(received)) => {
                self.with_connection(handle, |connection, env| {
                    connection.receive_completed(env, received, more);
                });
            }
            (tag::CONNECTION, Outcome::Sent(sent, chain)) => {
                self.with_connection(handle, |connection, env| {
                    connection.send_completed(env, sent, chain);
                });
            }
            (tag::CONNECTION, outcome) => {
                unreachable!("{outcome:?} is not the outcome of a receive or a send")
            }
            (_, _) if self.connections.get(handle).is_none() => self.orphaned -= 1,
            (ask, outcome) => self.with_connection(handle, |connection, env| {
                connection.reply(env, ask - tag::ASK, Reply::from_outcome(outcome));
            }),
        }
        Ok(())
    }

    fn read_mail(&mut self) {
        self.accepts_changed = true;
        while let Some(message) = self.mailbox.take() {
            match message {
                Message::Drain => self.drain(),
                Message::Update(update) => self.update(*update),
                Message::Listeners(order) => self.order(order),
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
            published: &self.published,
            handle,
            sock: connection.sock(),
        };
        act(connection, &mut env);
        self.wheel.watch(handle.slot(), connection.deadline);
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
        let listeners = self.listeners.iter().map(Listener::ops);
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
