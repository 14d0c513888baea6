//! Whether the administration accepts clients. While a new server takes the place of another one,
//! both have the listening sockets, and only one of them accepts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{retry_on_intr, write};
use socket2::Socket;

/// Decides for all threads that accept.
#[derive(Debug)]
pub(super) struct Gate {
    accepting: Mutex<Accepting>,
    changed: Condvar,
    /// Readable for good when no more clients are accepted. Wakes the threads that wait for one.
    end: OwnedFd,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Accepting {
    NotYet,
    Yes,
    NoMore,
}

impl Gate {
    /// No client is accepted yet.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(super) fn new() -> io::Result<Self> {
        let end = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (accepting, changed) = (Mutex::new(Accepting::NotYet), Condvar::new());
        Ok(Self { accepting, changed, end })
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Accepting> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, clients are accepted.
    pub(super) fn open(&self) {
        *self.lock() = Accepting::Yes;
        self.changed.notify_all();
    }

    /// No client is accepted after this has returned.
    pub(super) fn close(&self) {
        *self.lock() = Accepting::NoMore;
        self.changed.notify_all();
        // A counter from zero has room for one.
        let _ = write(&self.end, &1_u64.to_ne_bytes());
    }

    /// Waits for a client, and then for a place; accepts the client. `None` when no more are
    /// accepted. Without a place, the client stays in the backlog. The socket does not block, since
    /// another process may accept the client that this one has seen.
    ///
    /// # Errors
    ///
    /// As for `poll(2)` and `accept(2)`, for instance when no descriptor is left.
    pub(super) fn accept<P>(
        &self,
        socket: &Socket,
        take_place: impl Fn() -> P,
    ) -> io::Result<Option<(Socket, P)>> {
        let not_yet = |accepting: &mut Accepting| *accepting == Accepting::NotYet;
        drop(self.changed.wait_while(self.lock(), not_yet));
        loop {
            let mut waits = [socket.as_fd(), self.end.as_fd()]
                .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
            retry_on_intr(|| poll(&mut waits, None))?;
            // Not before there is a client: a thread that waits for one needs no place.
            let place = take_place();
            // Held until the client is accepted, so that none is after the end.
            let accepting = self.lock();
            if *accepting == Accepting::NoMore {
                return Ok(None);
            }
            match socket.accept() {
                Ok((client, _)) => return Ok(Some((client, place))),
                Err(error) if is_in_vain(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether there was no client after all.
fn is_in_vain(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | Interrupted | WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_client_without_a_place_stays_in_the_backlog() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let _waits = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let other = listener.try_clone().unwrap();
        let gate = Gate::new().unwrap();
        gate.open();
        let take_place = || {
            other.accept().expect("the client is still there");
            gate.close();
        };
        assert!(gate.accept(&Socket::from(listener), take_place).unwrap().is_none());
    }

    #[test]
    fn clients_are_accepted_between_beginning_and_end_only() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        // Another process with the same socket.
        let other = listener.try_clone().unwrap();
        let (gate, socket) = (Arc::new(Gate::new().unwrap()), Socket::from(listener));
        let _waits = TcpStream::connect(address).unwrap();
        let accepts = Arc::clone(&gate);
        let accepting = thread::spawn(move || {
            let first = accepts.accept(&socket, || ()).unwrap();
            (first.is_some(), accepts.accept(&socket, || ()).unwrap().is_some())
        });
        assert!(!accepting.is_finished());
        gate.open();
        let closes = Arc::clone(&gate);
        // The second call waits, or has not begun: it ends in both cases.
        let closing = thread::spawn(move || closes.close());
        closing.join().unwrap();
        let (first, second) = accepting.join().unwrap();
        assert!(!second);
        let _too_late = TcpStream::connect(address).unwrap();
        if !first {
            // The end came before the first client: the other process gets it.
            other.accept().unwrap();
        }
        other.set_nonblocking(false).unwrap();
        other.accept().unwrap();
    }
}
