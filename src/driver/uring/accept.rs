//! Connections: accepting them while there is room, pausing, and closing a listener.
//!
//! If a listener is closed while its accept is armed, the driver first cancels the accept in the
//! ring. The connections that the ring has accepted by then come before its last completion. Then
//! the driver accepts from the queue inline, since the descriptor does not block: in turns, as
//! clause 13 requires, until the queue is empty.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use super::super::drain::ListenerDrain;
use super::super::failure::AcceptFailure;
use super::super::op::{Outcome, Sock, Token, cancelled};
use super::super::slot_map::Handle;
use super::super::{ACCEPT_RETRY, ACCEPTS_PER_WAIT, sys};
use super::Uring;
use super::socket::{RingSocket, Stream, StreamState};

/// Below this number of free sockets, connections are accepted one by one. A multishot accept takes
/// all connections that wait in the backlog, and those that find no room are refused instead of
/// waiting. A burst of more connections than this is rare enough.
const ACCEPT_MULTI_ROOM: u32 = 1024;

impl Uring {
    /// Registers an accepted connection, or closes it if the table is full.
    pub(super) fn admit(&mut self, token: Token, descriptor: OwnedFd) {
        match self.sockets.insert(RingSocket::new(descriptor)) {
            Ok(new) => self.done.progress(token, Outcome::Accepted(Ok(Sock(new)))),
            Err(refused) => {
                self.stats.refused += 1;
                self.stats.system_calls += 1;
                drop(refused);
            }
        }
    }

    /// Whether there is room for a burst of connections.
    pub(super) fn is_roomy(&self) -> bool {
        self.limits.sockets_max - self.sockets.len() > ACCEPT_MULTI_ROOM
    }

    /// Ends a multishot accept if room is short; it is armed again for one connection at a time.
    pub(super) fn accept_singly_when_short(&mut self, handle: Handle<Sock>) {
        let roomy = self.is_roomy();
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(Stream { state: StreamState::Armed { multishot, .. }, .. }) =
            socket.read.get_mut()
        else {
            return;
        };
        if *multishot && !roomy {
            *multishot = false;
            self.cancel_in_kernel(handle);
        }
    }

    /// Arms the accepts whose pause is over.
    pub(super) fn wake_accepts(&mut self, now: Instant) {
        let backoff = std::mem::take(&mut self.backoff);
        for (handle, due) in backoff {
            if due <= now {
                self.arm_stream(handle);
            } else {
                self.backoff.push((handle, due));
            }
        }
    }

    /// Ends the accept of a joint listener, which is being closed, as a cancel does. Of accepts
    /// that are armed on one socket, the kernel tells a single one of a new connection
    /// (`EPOLLEXCLUSIVE`). That may be this one, whose cancel comes first: the other holder would
    /// not learn of the connection before the next one comes. So the queue is delivered, in one
    /// turn: it is still fed, and it is the other holder that should take what comes from now on.
    pub(super) fn end_joint_accept(&mut self, handle: Handle<Sock>) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(stream) = socket.read.get_mut() else { return };
        match stream.state {
            StreamState::Cancelled(_) => {}
            StreamState::Armed { .. } => {
                stream.state = StreamState::Recalled(ListenerDrain::new());
                self.cancel_in_kernel(handle);
            }
            StreamState::Parked => {
                self.backoff.retain(|(other, _)| *other != handle);
                self.finish_stream(handle, Err(cancelled()));
            }
            StreamState::Recalled(_) | StreamState::Draining(_) => {
                unreachable!("a socket is closed once")
            }
        }
    }

    /// Begins to close a listener. If an accept is in flight, it delivers the queue first.
    pub(super) fn begin_drain(&mut self, handle: Handle<Sock>) {
        let Some(socket) = self.sockets.get_mut(handle) else { return };
        let Some(stream) = socket.read.get_mut() else { return };
        let mut begin = || ListenerDrain::begin(socket.fd.as_fd(), &mut self.stats);
        match stream.state {
            StreamState::Cancelled(_) => {}
            StreamState::Armed { .. } => {
                stream.state = StreamState::Recalled(begin());
                self.cancel_in_kernel(handle);
            }
            StreamState::Parked => {
                stream.state = StreamState::Draining(begin());
                self.backoff.retain(|(other, _)| *other != handle);
                self.draining.push_back(handle);
            }
            StreamState::Recalled(_) | StreamState::Draining(_) => {
                unreachable!("a socket is closed once")
            }
        }
    }

    /// Gives each closed listener its turn.
    pub(super) fn drain_listeners(&mut self, now: Instant) {
        for _ in 0..self.draining.len() {
            let Some(handle) = self.draining.pop_front() else { break };
            self.drain_listener(handle, now);
        }
    }

    fn drain_listener(&mut self, handle: Handle<Sock>, now: Instant) {
        for _ in 0..ACCEPTS_PER_WAIT {
            let is_full = self.sockets.is_full();
            let Some(socket) = self.sockets.get_mut(handle) else { return };
            let is_left = socket.joint && is_full;
            let Some(Stream { token, state: StreamState::Draining(drain), .. }) =
                socket.read.get_mut()
            else {
                return;
            };
            let token = *token;
            if is_left || !drain.may_accept() {
                return self.end_drain(handle);
            }
            self.stats.system_calls += 1;
            let error = match sys::accept(socket.fd.as_fd()) {
                Ok(descriptor) => {
                    drain.release(descriptor.as_fd(), &mut self.stats);
                    self.admit(token, descriptor);
                    continue;
                }
                Err(error) => error,
            };
            match AcceptFailure::of_error(&error) {
                AcceptFailure::Transient => {}
                AcceptFailure::Shortage if drain.may_pause() => {
                    return self.backoff.push((handle, now + ACCEPT_RETRY));
                }
                // An empty queue is the goal, and no failed attempt.
                _ => return self.end_drain(handle),
            }
        }
        match self.sockets.get(handle).is_some_and(|socket| socket.joint) {
            true => self.end_drain(handle),
            false => self.draining.push_back(handle),
        }
    }

    fn end_drain(&mut self, handle: Handle<Sock>) {
        self.finish_stream(handle, Err(cancelled()));
        self.close_when_idle(handle);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::super::super::drain::unprivileged;
    use super::super::super::{Driver, Limits, Op, OpId, Outcome, Sock, Token};
    use super::*;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    /// A driver whose kernel has an accept on a listener that demands hops, and a client that the
    /// accept has taken meanwhile. `None` if io_uring does not work.
    fn recalled() -> Option<(Uring, Handle<Sock>, OpId, TcpStream)> {
        let mut uring = match Uring::open(&Limits::default()) {
            Ok(uring) => uring,
            Err(error) => {
                println!("skipped: {error}");
                return None;
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = uring.adopt(listener.into()).unwrap();
        let op = uring.submit(Token(1), Op::AcceptMany { listener });
        uring.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
        let socket = uring.sockets.get_mut(listener.0).unwrap();
        let drain = ListenerDrain::begin(socket.fd.as_fd(), &mut uring.stats);
        socket.read.get_mut().unwrap().state = StreamState::Recalled(drain);
        let client = unprivileged::late_client(address, b"question");
        Some((uring, listener.0, op, client))
    }

    /// Checks that the connection is delivered, and receives what its client sends.
    fn check_is_served(uring: &mut Uring) {
        let deadline = Instant::now() + WAIT_MAX;
        let (mut all, mut received) = (Vec::new(), Vec::new());
        while received.len() < b"question".len() {
            assert!(Instant::now() < deadline, "{received:?}");
            uring.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
            for done in all.drain(..) {
                match done.outcome {
                    Outcome::Accepted(Ok(sock)) => {
                        uring.submit(Token(2), Op::RecvMany { sock });
                    }
                    Outcome::Accepted(Err(error)) => assert!(!done.more, "{error}"),
                    Outcome::Received(Ok(Some(lease))) => received.extend_from_slice(&lease),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(received, b"question");
    }

    /// The kernel accepts a connection before it cancels the accept.
    #[test]
    fn a_connection_accepted_by_a_recalled_accept_is_released() {
        unprivileged::run(|| {
            let Some((mut uring, _, _, _client)) = recalled() else { return };
            check_is_served(&mut uring);
        });
    }

    /// The same if the caller cancels the accept before the driver looks at the completion.
    #[test]
    fn a_connection_accepted_before_a_cancel_is_released() {
        unprivileged::run(|| {
            let Some((mut uring, handle, op, _client)) = recalled() else { return };
            let (deadline, mut reaped) = (Instant::now() + WAIT_MAX, Vec::new());
            while reaped.is_empty() {
                assert!(Instant::now() < deadline, "the accept does not complete");
                let timeout = Some(Duration::from_millis(20));
                uring.ring.enter(true, timeout, &mut reaped).unwrap();
            }
            uring.cancel(op);
            let stream = uring.sockets.get(handle).unwrap().read.get().unwrap();
            assert!(matches!(stream.state, StreamState::Cancelled(Some(_))), "{stream:?}");
            reaped.iter().for_each(|entry| uring.complete(entry));
            check_is_served(&mut uring);
        });
    }
}
