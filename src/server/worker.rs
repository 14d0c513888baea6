//! A worker: one thread with one driver, one table of connections, one wheel, one set of caches.
//!
//! Each turn: wait for completions, look at the clock once, hand every completion to its
//! connection, then deal with deadlines. Workers share settings and a [`Control`], nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Gauges;
use super::connection::{Around, Connection, Spares, Timeouts};
use super::timers::{TICK, Tick, Wheel};
use crate::driver::slots::{Handle, Slots};
use crate::driver::{Completion, Driver, Op, OpId, Outcome, Sock, Stats, Token};
use crate::files::Figures;
use crate::session::{Now, Session};

/// Room, per listener, for connections that come before the accept can be stopped.
pub(crate) const ACCEPT_SLACK: u32 = crate::driver::ACCEPTS_PER_WAIT;

/// After the drain timeout, how long the last closes may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Before deadlines are looked at, how long what came before them may take to be told.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// How often that is waited for, as long as something is told.
const LAST_LOOKS: u32 = 8;

/// What a token's tag says of its slot.
const CONNECTION: u16 = 0;
const LISTENER: u16 = 1;
const ORPHAN: u16 = 2;

/// What a token of a worker names, for a person.
pub(super) fn name(token: Token) -> String {
    let (handle, tag) = Handle::unpack(token.0);
    let kind = match tag {
        CONNECTION => "connection",
        LISTENER => "listener",
        _ => return "one too many".to_owned(),
    };
    match handle.generation() {
        0 => format!("{kind} {}", handle.slot()),
        before => format!("{kind} {}#{}", handle.slot(), before + 1),
    }
}

/// Settings of a worker, validated; see [`server::Settings`](super::Settings).
#[derive(Clone, Copy, Debug)]
pub struct Settings {
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

/// How the rest of the process tells a worker to stop, and sees how it is doing.
#[derive(Debug, Default)]
pub struct Control {
    draining: AtomicU8,
    connections: AtomicU32,
    leased: AtomicU32,
    in_flight: AtomicU32,
    stats: [AtomicU64; Stats::COUNTERS],
    cache: [AtomicU64; Figures::COUNT],
}

impl Control {
    /// Asks for a drain; a wake of the worker's driver must follow.
    pub fn drain(&self) {
        self.draining.store(1, Ordering::Release);
    }

    /// What the worker had open at the end of its last turn.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            connections: self.connections.load(Ordering::Relaxed),
            leased: self.leased.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// What the worker's driver had done at the end of the worker's last turn.
    pub fn stats(&self) -> Stats {
        Stats::from_array(self.stats.each_ref().map(|counter| counter.load(Ordering::Relaxed)))
    }

    /// What the worker's cache held and had done then.
    pub fn cache(&self) -> Figures {
        Figures::from_array(self.cache.each_ref().map(|figure| figure.load(Ordering::Relaxed)))
    }

    /// Tells the rest of the process how the worker is doing.
    fn publish(&self, gauges: Gauges, stats: Stats, cache: Figures) {
        self.connections.store(gauges.connections, Ordering::Relaxed);
        self.leased.store(gauges.leased, Ordering::Relaxed);
        self.in_flight.store(gauges.in_flight, Ordering::Relaxed);
        for (counter, value) in self.stats.iter().zip(stats.to_array()) {
            counter.store(value, Ordering::Relaxed);
        }
        for (figure, value) in self.cache.iter().zip(cache.to_array()) {
            figure.store(value, Ordering::Relaxed);
        }
    }
}

/// A worker; see the module documentation.
pub struct Worker<D, S: Session> {
    driver: D,
    shared: S::Shared,
    control: Arc<Control>,
    settings: Settings,
    timeouts: Timeouts,
    listeners: Vec<Listener>,
    connections: Slots<Connection<S>>,
    wheel: Wheel,
    spares: Spares,
    now: Now,
    tick: Tick,
    /// Set while draining: when patience ends.
    drain_until: Option<Instant>,
    batch: Vec<Completion>,
    due: Vec<u32>,
}

#[derive(Debug)]
struct Listener {
    sock: Sock,
    accepting: Option<OpId>,
    closed: bool,
}

impl<D: Driver, S: Session> Worker<D, S> {
    /// A worker that serves what `listeners` bring.
    pub fn new(
        driver: D,
        listeners: Vec<Sock>,
        shared: S::Shared,
        settings: Settings,
        control: Arc<Control>,
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
        let listener = |sock| Listener { sock, accepting: None, closed: false };
        let mut worker = Self {
            driver,
            shared,
            control,
            settings,
            timeouts,
            listeners: listeners.into_iter().map(listener).collect(),
            connections: Slots::new(settings.connections_max + slack),
            wheel: Wheel::new(now.instant),
            spares: Spares::default(),
            now,
            tick: 0,
            drain_until: None,
            batch: Vec::new(),
            due: Vec::new(),
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
        if !due.is_empty() {
            // A wait may end before anybody looked at the sockets, and the process may have been
            // stopped for long: what has come in time must not find its deadline past.
            for _ in 0..LAST_LOOKS {
                self.driver.wait(Some(LAST_LOOK), &mut batch)?;
                if batch.is_empty() {
                    break;
                }
                self.dispatch_all(&mut batch)?;
            }
        }
        for slot in due.drain(..) {
            self.look_at(slot);
        }
        (self.batch, self.due) = (batch, due);
        if self.drain_until.is_some_and(|until| until <= self.now.instant) {
            self.close_all();
        }
        self.regulate_accepts();
        let gauges = Gauges {
            connections: self.connections.len(),
            leased: self.driver.leased() as u32,
            in_flight: self.driver.in_flight() as u32,
        };
        self.control.publish(gauges, self.driver.stats(), S::figures(&self.shared));
        Ok(())
    }

    fn dispatch_all(&mut self, batch: &mut Vec<Completion>) -> io::Result<()> {
        batch.drain(..).try_for_each(|completion| self.dispatch(completion))
    }

    fn dispatch(&mut self, completion: Completion) -> io::Result<()> {
        if completion.token == Token::WAKE {
            if self.control.draining.load(Ordering::Acquire) != 0 {
                self.drain();
            }
            return Ok(());
        }
        let (handle, tag) = Handle::unpack(completion.token.0);
        match (tag, completion.outcome) {
            (LISTENER, Outcome::Accepted(accepted)) => {
                self.accepted(handle.slot() as usize, accepted, completion.more)
            }
            (LISTENER, _) => {
                self.listeners[handle.slot() as usize].closed = true;
                Ok(())
            }
            (ORPHAN, _) => Ok(()),
            (_, Outcome::Closed) => {
                self.connections.remove(handle);
                self.wheel.forget(handle.slot());
                Ok(())
            }
            (_, outcome) => {
                self.with_connection(handle, |connection, around| {
                    connection.complete(around, outcome, completion.more);
                });
                Ok(())
            }
        }
    }

    /// Runs `act` on a connection, unless it is gone, and watches its deadline.
    fn with_connection(
        &mut self,
        handle: Handle,
        act: impl FnOnce(&mut Connection<S>, &mut Around<'_, D, S>),
    ) {
        let Some(connection) = self.connections.get_mut(handle) else { return };
        let mut around = Around {
            driver: &mut self.driver,
            shared: &mut self.shared,
            spares: &mut self.spares,
            now: self.now,
            tick: self.tick,
            timeouts: &self.timeouts,
            token: Token(handle.pack(CONNECTION)),
        };
        act(connection, &mut around);
        self.wheel.watch(handle.slot(), connection.deadline);
    }

    fn accepted(
        &mut self,
        listener: usize,
        accepted: io::Result<Sock>,
        more: bool,
    ) -> io::Result<()> {
        if !more {
            self.listeners[listener].accepting = None;
        }
        match accepted {
            Ok(sock) => {
                self.open(sock);
                Ok(())
            }
            Err(error) if crate::driver::is_cancelled(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn open(&mut self, sock: Sock) {
        let draining = self.drain_until.is_some();
        let (driver, shared, spares) = (&mut self.driver, &mut self.shared, &mut self.spares);
        let (now, tick, timeouts) = (self.now, self.tick, &self.timeouts);
        let inserted = self.connections.insert_with(|handle| {
            let token = Token(handle.pack(CONNECTION));
            let mut around = Around { driver, shared, spares, now, tick, timeouts, token };
            Connection::new(sock, draining, &mut around)
        });
        match inserted {
            Some(handle) => self.with_connection(handle, |_, _| {}),
            None => {
                let token = Token(Handle::at(0).pack(ORPHAN));
                self.driver.submit(token, Op::Close { sock, reset: false });
            }
        }
    }

    /// An entry of the wheel has come up: its deadline is due, or has moved.
    fn look_at(&mut self, slot: u32) {
        let Some(handle) = self.connections.handle_at(slot) else { return };
        let tick = self.tick;
        self.with_connection(handle, |connection, around| {
            if connection.deadline <= tick {
                connection.expired(around);
            }
        });
    }

    /// Accepts while there is room for connections: the kernel's backlog is the queue.
    fn regulate_accepts(&mut self) {
        let max = self.settings.connections_max;
        let full = self.connections.len() >= max;
        // A gap between stopping and starting, so that a full server does not do both in turn.
        let room = self.connections.len() < max - max / 16;
        let draining = self.drain_until.is_some();
        for (slot, listener) in self.listeners.iter_mut().enumerate() {
            match listener.accepting {
                Some(op) if full => self.driver.cancel(op),
                None if room && !draining => {
                    let token = Token(Handle::at(slot as u32).pack(LISTENER));
                    let op = Op::AcceptMany { listener: listener.sock };
                    listener.accepting = Some(self.driver.submit(token, op));
                }
                _ => {}
            }
        }
    }

    fn drain(&mut self) {
        if self.drain_until.is_some() {
            return;
        }
        self.drain_until = Some(self.now.instant + self.settings.drain_timeout);
        for (slot, listener) in self.listeners.iter().enumerate() {
            let token = Token(Handle::at(slot as u32).pack(LISTENER));
            self.driver.submit(token, Op::Close { sock: listener.sock, reset: false });
        }
        for handle in self.connections.handles() {
            self.with_connection(handle, Connection::drain);
        }
    }

    fn close_all(&mut self) {
        for handle in self.connections.handles() {
            self.with_connection(handle, Connection::give_up);
        }
    }

    /// Whether it has drained.
    pub fn is_done(&self) -> bool {
        let Some(until) = self.drain_until else { return false };
        let empty =
            self.connections.is_empty() && self.listeners.iter().all(|listener| listener.closed);
        empty || self.now.instant > until + CLOSE_WAIT
    }
}
