//! Closes sockets: ends the other ops, makes the threads leave, then closes the descriptor.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use super::super::abort::abort;
use super::Threads;
use super::job::{Calls, SharedSocket, accept};
use super::socket::{Close, ClosePhase, Held};
use crate::driver::call_log::done;
use crate::driver::drain::ListenerDrain;
use crate::driver::failure::AcceptFailure;
use crate::driver::name::OpName;
use crate::driver::op::cancelled;
use crate::driver::slot_map::Handle;
use crate::driver::{ACCEPT_RETRY, ACCEPTS_PER_WAIT, Outcome, Sock, sys};

impl Threads {
    /// Delivers the backlog of a listener, as far as one turn allows. Returns whether the backlog
    /// is delivered; at once `true` for a socket without an accept in flight.
    fn drain(&mut self, handle: Handle<Sock>, now: Instant) -> bool {
        let socket = self.sockets.get_mut(handle).expect("a socket is closed once");
        let Some(read) = socket.read.op.get().filter(|read| read.accept) else {
            return true;
        };
        if socket.joint {
            let token = read.token;
            let held = std::mem::replace(&mut socket.held, Held::Nothing);
            if let Held::Connection(connection) = held {
                self.admit(connection, token);
            }
            return true;
        }
        let (token, shared) = (read.token, Arc::clone(&socket.shared));
        let close = socket.close.as_mut().expect("a close was submitted");
        if matches!(close.phase, ClosePhase::Submitted) {
            self.stats.system_calls += 1;
            if sys::set_nonblocking(&*shared).is_err() {
                return true;
            }
            close.phase =
                ClosePhase::Draining(ListenerDrain::begin(shared.as_fd(), &mut self.stats));
        }
        // It was accepted before the drain began, so it has inherited nothing.
        if let Held::Connection(connection) = std::mem::replace(&mut socket.held, Held::Nothing) {
            self.admit(connection, token);
        }
        let mut calls = Calls::default();
        let drained = self.accept_queued(handle, &shared, &mut calls, now);
        self.stats.system_calls += calls.made;
        drained
    }

    /// Accepts without blocking: one connection less than a turn may deliver, because the
    /// listener's thread may have accepted one.
    fn accept_queued(
        &mut self,
        handle: Handle<Sock>,
        shared: &SharedSocket,
        calls: &mut Calls,
        now: Instant,
    ) -> bool {
        let op = OpName::Close(handle).id();
        for _ in 1..ACCEPTS_PER_WAIT {
            let socket = self.sockets.get_mut(handle).expect("its close is under way");
            let token = socket.read.op.get().expect("`drain` has found an accept").token;
            let Some(Close { phase: ClosePhase::Draining(drain), .. }) = &mut socket.close else {
                unreachable!("`drain` has begun the drain")
            };
            if !drain.may_accept() {
                return true;
            }
            let error = match accept(shared, calls) {
                Ok(connection) => {
                    drain.release(connection.as_fd(), &mut self.stats);
                    self.admit(connection, token);
                    continue;
                }
                Err(error) => error,
            };
            match AcceptFailure::of_error(&error) {
                AcceptFailure::Transient => {}
                AcceptFailure::Shortage if drain.may_pause() => {
                    self.backoff.push((now + ACCEPT_RETRY, op));
                    return false;
                }
                // An empty backlog is the goal here, so `would_block` does not count it.
                _ => return true,
            }
        }
        self.runnable.push_back(op);
        false
    }

    /// Processes the answer of a thread that was in an accept on a listener that is being closed.
    pub(super) fn accepted_last(&mut self, handle: Handle<Sock>, accepted: io::Result<OwnedFd>) {
        let socket = self.sockets.get_mut(handle).expect("a thread was in a call on it");
        let begun =
            socket.close.is_some_and(|close| matches!(close.phase, ClosePhase::Ending { .. }));
        let drain = socket.drain();
        let token = socket.read.op.get().map(|read| read.token);
        if let (Ok(connection), Some(token)) = (accepted, token) {
            if let Some(drain) = drain {
                drain.release(connection.as_fd(), &mut self.stats);
            }
            self.admit(connection, token);
        }
        if begun {
            if token.is_some() {
                self.end_read(handle, Err(cancelled()));
            }
            self.close_if_idle(handle);
        }
    }

    /// Ends the other ops of a socket, and makes the threads leave their calls on it.
    pub(super) fn begin_close(&mut self, handle: Handle<Sock>, now: Instant) {
        if !self.drain(handle, now) {
            return;
        }
        let socket = self.sockets.get_mut(handle).expect("a socket is closed once");
        let drain = socket.drain();
        let accepts = (drain.is_some() || socket.joint) && socket.read.busy;
        let close = socket.close.as_mut().expect("a close was submitted");
        close.phase = ClosePhase::Ending { drain };
        let reset = close.reset;
        if socket.joint {
            self.stats.system_calls += 1;
            socket.shared.leave_accept();
        } else if socket.is_busy() {
            // Both calls fail if the peer is gone, and then no call blocks.
            self.stats.system_calls += 1;
            let _ = match reset {
                true => abort(socket.shared.as_fd()),
                false => sys::shutdown(socket.shared.as_fd(), Shutdown::Both),
            };
        }
        socket.shared.give_up_send(true);
        let (receives, sends) = (socket.read.op.get().is_some(), socket.write.op.get().is_some());
        let sent_by_thread = socket.write.busy;
        // A thread in an accept may return one more connection, see `accepted_last`.
        if receives && !accepts {
            self.end_read(handle, Err(cancelled()));
        }
        if sends && !sent_by_thread {
            self.end_send(handle, Err(cancelled()));
        }
        self.close_if_idle(handle);
    }

    /// Closes a socket whose close has begun, once no thread is in a system call on it.
    pub(super) fn close_if_idle(&mut self, handle: Handle<Sock>) {
        let socket = self.sockets.get(handle).expect("callers have just used it");
        let Some(close @ Close { phase: ClosePhase::Ending { .. }, .. }) = socket.close else {
            return;
        };
        if socket.is_busy() {
            return;
        }
        let socket = self.sockets.remove(handle).expect("it was just found");
        // Both calls fail if the peer is gone already.
        if close.reset {
            // The second attempt, if a thread was in a call: kernels 6.4 and 6.5 refuse the first.
            self.stats.system_calls += 1;
            let _ = abort(socket.shared.as_fd());
        } else if socket.adopted && !socket.listener {
            // A duplicate of an adopted socket would keep the connection open.
            self.stats.system_calls += 1;
            let _ = sys::shutdown(socket.shared.as_fd(), Shutdown::Both);
        }
        // No thread holds the descriptor any more, so this closes it.
        done("close", || drop(socket));
        self.stats.system_calls += 1;
        self.done.finish(close.token, Outcome::Closed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::*;
    use crate::driver::drain::unprivileged;
    use crate::driver::{Driver, Limits, Op, Token};

    const ACCEPT: Token = Token(1);
    const WAIT_MAX: Duration = Duration::from_secs(10);

    /// The listener's thread was in an accept when the drain began, and returns a connection that
    /// has inherited the demand for hops.
    #[test]
    fn the_last_connection_of_the_listeners_thread_is_released() {
        unprivileged::run(|| {
            let mut driver = Threads::open(&Limits::default()).unwrap();
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let listener = driver.adopt(listener.into()).unwrap();
            driver.submit(ACCEPT, Op::AcceptMany { listener });
            driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
            let socket = driver.sockets.get_mut(listener.0).unwrap();
            let drain = ListenerDrain::begin(socket.shared.as_fd(), &mut driver.stats);
            let (token, phase) = (Token(2), ClosePhase::Draining(drain));
            socket.close = Some(Close { token, reset: false, phase });
            let _client = unprivileged::late_client(address, b"question");
            let deadline = Instant::now() + WAIT_MAX;
            let mut all = Vec::new();
            while all.len() < 2 {
                assert!(Instant::now() < deadline, "{all:?}");
                driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
                if let (1, Some(Outcome::Accepted(Ok(sock)))) =
                    (all.len(), all.first().map(|one| &one.outcome))
                    && driver.in_flight() == 1
                {
                    driver.submit(Token(3), Op::RecvMany { sock: *sock });
                }
            }
            let received = matches!(&all[1].outcome, Outcome::Received(Ok(Some(bytes)))
                if **bytes == *b"question");
            assert!(received, "{all:?}");
        });
    }
}
