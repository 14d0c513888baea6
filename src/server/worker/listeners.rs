//! The listeners of a worker: accepts connections while there is room for them.

use std::io;

use super::Worker;
use super::state::{Draining, Listener};
use crate::clients::{Client, ClientKey};
use crate::driver::slot_map::Handle;
use crate::driver::{Driver, Op, Sock, SocketAddress, Token};
use crate::limits::ConnectionPermit;
use crate::server::connection::Connection;
use crate::server::env::{Timeouts, tag};
use crate::server::failure;
use crate::server::mailbox::{Closing, Duplicates, ListenerOrder, MessageOf, Update, WorkerSocket};
use crate::service::Service;
use crate::session::{Addresses, Admission, ConnectionInfo, Session};

/// The token of the ops of the listener at a place.
fn token(place: usize) -> Token {
    Token(Handle::<()>::at(place as u32).pack(tag::LISTENER))
}

impl<D: Driver, S: Session> Worker<D, S> {
    /// Takes the completion of an accept.
    pub(super) fn accepted(
        &mut self,
        listener: usize,
        accepted: io::Result<Sock>,
        more: bool,
    ) -> io::Result<()> {
        self.accepts_changed = true;
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

    fn close_listener(&mut self, place: usize) {
        let listener = &mut self.listeners[place];
        listener.closing = true;
        self.ops += 1;
        self.driver.submit(token(place), Op::Close { sock: listener.sock, reset: false });
    }

    fn open(&mut self, listener: usize, sock: Sock) {
        if self.connections.is_full() {
            self.published.count_surplus();
            return self.turn_away(sock);
        }
        let draining = self.draining;
        let number = self.listeners[listener].number;
        let info = ConnectionInfo::new(number, self.now, Addresses::of(&self.driver, sock));
        let permit = match S::admit(&self.shared, &info) {
            Admission::Denied => {
                self.published.count_denied();
                return self.turn_away(sock);
            }
            Admission::Client => match self.permit(&info) {
                Some(permit) => permit,
                None => return self.turn_away(sock),
            },
            Admission::Proxy => None,
        };
        self.published.count_accepted();
        let session = S::new(&mut self.shared, &info);
        let mut connection = Connection::new(sock, session);
        connection.keep_permit(permit);
        if matches!(draining, Draining::Announced(_)) {
            connection.announce_drain();
        }
        let Ok(handle) = self.connections.insert(connection) else {
            unreachable!("the table is not full, as checked above")
        };
        let drains = matches!(draining, Draining::Begun(_));
        self.with_connection(handle, |connection, env| connection.begin(env, drains));
    }

    /// Closes a connection that was accepted, and is not served.
    fn turn_away(&mut self, sock: Sock) {
        let token = Token(Handle::<()>::at(0).pack(tag::SURPLUS));
        self.ops += 1;
        self.orphaned += 1;
        self.driver.submit(token, Op::Close { sock, reset: false });
    }

    /// Counts a connection for its client: the peer. `None` if the client has too many.
    #[inline]
    fn permit(&self, info: &ConnectionInfo<'_>) -> Option<Option<ConnectionPermit>> {
        let clients = &self.published.clients;
        if !clients.is_limited() {
            return Some(None);
        }
        clients.enter(ClientKey::of(Client::of(info.addresses()), clients.prefix()))
    }

    /// Accepts while there is room for connections; the others wait in the kernel's backlog. A
    /// listener that has to be closed is closed while its accept is in flight, so the connections
    /// in the backlog are delivered first.
    ///
    /// A listener that is dropped does not wait for room, which may never come: its address has to
    /// become free. The connections in its backlog get the places of
    /// [`ACCEPT_SLACK`](super::ACCEPT_SLACK); those that find none are closed. A drain does wait
    /// for room, because it makes some: idle connections end soon, and the drain timeout is the
    /// bound.
    #[inline]
    pub(super) fn regulate_accepts(&mut self) {
        if std::mem::take(&mut self.accepts_changed) {
            self.regulate_each();
        }
    }

    #[inline(never)]
    fn regulate_each(&mut self) {
        let max = self.settings.connections_max;
        let full = self.connections.len() >= max;
        // Resume below 15/16 of the maximum, so a full server does not stop and resume all the
        // time.
        let room = self.connections.len() < max - max / 16;
        let draining = matches!(self.draining, Draining::Begun(_));
        let mut has_paused = false;
        for place in 0..self.listeners.len() {
            let listener = &mut self.listeners[place];
            let (token, dropped) = (token(place), listener.dropped.is_some());
            match listener.accepting {
                Some(op) if full && !dropped && !listener.closing && !listener.pausing => {
                    listener.pausing = true;
                    self.driver.cancel(op);
                    has_paused = true;
                }
                None if (room || dropped) && !listener.closing => {
                    let op = Op::AcceptMany { listener: listener.sock };
                    self.ops += 1;
                    listener.accepting = Some(self.driver.submit(token, op));
                }
                _ => {}
            }
            let accepting = listener.accepting.is_some() && !listener.pausing;
            if (draining || dropped) && !listener.closing && accepting {
                self.close_listener(place);
            }
        }
        if has_paused {
            self.published.tell_full(max);
        }
    }

    /// Closes the listeners without their queues.
    pub(super) fn close_listeners(&mut self) {
        for place in 0..self.listeners.len() {
            if !self.listeners[place].closing {
                self.close_listener(place);
            }
        }
    }

    /// Takes new settings.
    pub(super) fn update(&mut self, update: Update<MessageOf<S>>) {
        let Update { timeouts, added, dropped, closing, service, result } = update;
        self.settings.timeouts = timeouts;
        self.timeouts = Timeouts::of(&timeouts);
        if let Some(message) = service {
            self.shared.receive(self.now, message);
        }
        self.drop_listeners(&dropped, &closing);
        self.waiting_listeners.extend(added);
        // The sender may have given up waiting.
        let _ = result.send(self.place_listeners());
    }

    /// Lets listeners be closed, though the server goes on.
    fn drop_listeners(&mut self, dropped: &[u32], closing: &Closing) {
        for listener in self.listeners.iter_mut().filter(|listener| !listener.closed) {
            if dropped.contains(&listener.number) {
                listener.dropped = Some(closing.clone());
            }
        }
        self.waiting_listeners.retain(|waiting| !dropped.contains(&waiting.number));
    }

    /// Carries out an order about listeners.
    pub(super) fn order(&mut self, order: ListenerOrder) {
        // Whoever waits for a reply may have given up.
        match order {
            ListenerOrder::Replaced => self.is_replaced = true,
            ListenerOrder::Close(numbers, closing) => self.drop_listeners(&numbers, &closing),
            ListenerOrder::AreOpen(numbers, reply) => {
                let placed = self.listeners.iter().filter(|it| !it.closed).map(|it| it.number);
                let waiting = self.waiting_listeners.iter().map(|it| it.number);
                let is_open = placed.chain(waiting).any(|number| numbers.contains(&number));
                let _ = reply.send(is_open);
            }
            ListenerOrder::Join { numbers, joint, duplicates } => {
                self.set_joint(&numbers, joint);
                if let Some(reply) = duplicates {
                    let _ = reply.send(self.duplicates(&numbers));
                }
            }
        }
    }

    /// Those of these listeners that are not being closed.
    fn kept(&self, numbers: &[u32]) -> impl Iterator<Item = &Listener> {
        let is_kept = |it: &&Listener| !it.closing && !it.closed && it.dropped.is_none();
        self.listeners.iter().filter(is_kept).filter(|it| numbers.contains(&it.number))
    }

    fn set_joint(&mut self, numbers: &[u32], joint: bool) {
        let waiting = self.waiting_listeners.iter_mut();
        waiting.filter(|it| numbers.contains(&it.number)).for_each(|it| it.joint = joint);
        let socks: Vec<Sock> = self.kept(numbers).map(|listener| listener.sock).collect();
        socks.into_iter().for_each(|sock| self.driver.set_joint(sock, joint));
    }

    /// Duplicates of the sockets of these listeners, those included that wait for a place.
    fn duplicates(&self, numbers: &[u32]) -> Duplicates {
        let placed = self.kept(numbers);
        let placed = placed.map(|it| Ok((it.number, self.driver.duplicate(it.sock)?)));
        let waiting = self.waiting_listeners.iter().filter(|it| numbers.contains(&it.number));
        let waiting = waiting.map(|it| Ok((it.number, it.socket.try_clone()?)));
        placed.chain(waiting).collect()
    }

    /// Gives new listeners the places of closed ones, and free places. A listener that is being
    /// closed still has its place, so the others wait, and their clients in the kernel's backlog.
    /// One that the driver cannot take is closed; the last error is returned.
    #[inline]
    pub(super) fn place_listeners(&mut self) -> io::Result<()> {
        if self.waiting_listeners.is_empty() { Ok(()) } else { self.place_some_listeners() }
    }

    #[inline(never)]
    fn place_some_listeners(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        while let Some(waiting) = self.waiting_listeners.pop() {
            let free = self.listeners.iter().position(|listener| listener.closed);
            if free.is_none() && self.listeners.len() >= self.settings.listeners_max as usize {
                self.waiting_listeners.push(waiting);
                break;
            }
            let WorkerSocket { number, socket, joint } = waiting;
            let sock = match self.driver.adopt(socket) {
                Ok(sock) => sock,
                Err(error) => {
                    outcome = Err(failure::at("taking a listener", &error));
                    continue;
                }
            };
            if joint {
                self.driver.set_joint(sock, true);
            }
            self.accepts_changed = true;
            let listener = Listener::new(number, sock);
            match free {
                Some(place) => {
                    debug_assert_eq!(self.listeners[place].ops(), 0, "a closed one has no ops");
                    self.listeners[place] = listener;
                }
                None => self.listeners.push(listener),
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
