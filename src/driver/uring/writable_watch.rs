//! Waiting for room in sockets whose peer has half-closed.
//!
//! The ring's poll reports a half-close whatever it was asked for, again and again: waiting for
//! room would be a busy loop. epoll reports only what it was asked for. So these sockets wait in an
//! epoll instance, and the ring polls that. Other sockets never come here.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::super::Limits;
use super::super::ready::epoll::Level;
use super::super::ready::poller::{Event, Interest, Poller};

/// The results of a poll for room that let a send go on: room, or an error that the send returns.
const ROOM: i32 = (libc::POLLOUT | libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) as i32;

/// Sockets that wait for room; see the module documentation.
#[derive(Debug, Default)]
pub(super) struct WritableWatch {
    poller: Option<Level>,
    watched: u32,
    /// Whether the ring polls the instance.
    pub(super) armed: bool,
}

impl WritableWatch {
    /// Whether the result of a poll means that a send may go on.
    pub(super) fn reports_room(result: i32) -> bool {
        result < 0 || result & ROOM != 0
    }

    /// Watches a socket, by its slot.
    pub(super) fn watch(
        &mut self,
        socket: BorrowedFd<'_>,
        slot: u32,
        limits: &Limits,
    ) -> io::Result<()> {
        let poller = match &mut self.poller {
            Some(poller) => poller,
            none => none.insert(Level::open(limits)?),
        };
        poller.add(socket, slot, Interest { read: false, write: true })?;
        self.watched += 1;
        Ok(())
    }

    /// Stops watching a socket.
    pub(super) fn forget(&mut self, socket: BorrowedFd<'_>, slot: u32) {
        if let Some(poller) = &mut self.poller {
            // It fails only if the socket is not watched, which is the goal.
            let _ = poller.remove(socket, slot);
            assert!(self.watched > 0, "a socket is forgotten that was not watched");
            self.watched -= 1;
        }
    }

    /// The slots of sockets with room, or with an error.
    pub(super) fn found(&mut self) -> Vec<u32> {
        let mut events: Vec<Event> = Vec::new();
        if let Some(poller) = &mut self.poller {
            // The next call finds what an interrupted or failed one has missed.
            let _ = poller.wait(Some(Duration::ZERO), &mut events);
        }
        events.iter().map(|event| event.key).collect()
    }

    /// The epoll instance, if the ring should poll it and does not yet.
    pub(super) fn to_poll(&self) -> Option<RawFd> {
        let poller = self.poller.as_ref().filter(|_| self.watched > 0 && !self.armed)?;
        Some(poller.as_fd().as_raw_fd())
    }

    /// System calls made so far.
    pub(super) fn system_calls(&self) -> u64 {
        self.poller.as_ref().map_or(0, Poller::system_calls)
    }
}
