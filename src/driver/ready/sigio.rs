//! Signal-driven I/O: the kernel sends a signal for every event (`O_ASYNC`, `fcntl(2)`).
//!
//! `add` makes a socket send its events to this thread (`F_SETOWN_EX`, `F_OWNER_TID`), as a
//! real-time signal that carries the descriptor and the event (`F_SETSIG`). The signals are blocked
//! and read in batches from a descriptor (`signalfd(2)`), so no handler runs. They are edges
//! ([`Trigger::Edge`]): the kernel sends one for each event, and none for a state that exists
//! already, so `add` also calls `poll(2)` once. Each event is a signal of its own: two segments are
//! two reports.
//!
//! *Cost*: four system calls to add a socket and one to remove it; two for a wait with events,
//! whatever the number of sockets, and one for a wait without. The kernel allocates, queues and
//! copies 128 bytes for each segment that arrives, where epoll marks a socket once.
//!
//! *Limits*: the signal queue is bounded, for all processes of a user together
//! (`RLIMIT_SIGPENDING`). If it is full, the kernel sends a plain `SIGIO`, which carries no
//! descriptor; the wait then polls all sources once. So the worst case is as slow as `poll`, and no
//! event is lost. A thread can have only one such driver. Files that send no signals, such as the
//! driver's own eventfds, are polled together with the queue in every wait: there must be few. The
//! signals of a socket go to one thread, whatever duplicates there are (`F_SETOWN`, `fcntl(2)`). So
//! a listener that other threads share is watched by epoll, whose descriptor is polled like these.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::epoll::Edge;
use super::poll::{entry, event};
use super::poller::{Event, Interest, Poller, Trigger};
use super::signal::{Signal, Signals, is_overflow};
use super::sparse_set::SparseSet;
use crate::driver::setup::step_failed;
use crate::driver::{Limits, sys};

#[cfg(test)]
mod tests;

/// The key of a descriptor without a source, and of the signal queue.
const NOBODY: u32 = u32::MAX;

/// The key of the epoll instance of shared listeners.
const SHARED: u32 = u32::MAX - 1;

/// The sources and the signal queue.
#[derive(Debug)]
pub struct SigioPoller {
    signals: Signals,
    /// All sources that send signals, to be polled after an overflow.
    sources: SparseSet<libc::pollfd>,
    /// The key of each descriptor.
    keys: Vec<u32>,
    /// The entries that every wait polls, and their keys: first the signal queue, then the sources
    /// that send no signals.
    beside: (Vec<libc::pollfd>, Vec<u32>),
    /// Watches shared listeners, if there are any, whose keys follow.
    shared: Option<(Edge, Vec<u32>)>,
    /// Events that `add` found, for the next wait.
    found: Vec<Event>,
    system_calls: u64,
}

impl Poller for SigioPoller {
    const TRIGGER: Trigger = Trigger::Edge;
    const FORGETS_CLOSED: bool = false;
    const CALLS: (&'static str, &'static str) = ("fcntl", "ppoll");

    fn open(_limits: &Limits) -> io::Result<Self> {
        let signals = Signals::block().map_err(|error| step_failed("signalfd", &error))?;
        let beside = (vec![entry(signals.as_fd(), Interest::READ)], vec![NOBODY]);
        let (sources, keys, found) = (SparseSet::new(), Vec::new(), Vec::new());
        Ok(Self { signals, sources, keys, beside, shared: None, found, system_calls: 3 })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.system_calls += 1;
        let mut source = entry(fd, want);
        if !self.signals.direct(fd)? {
            self.beside.0.push(source);
            self.beside.1.push(key);
            return Ok(());
        }
        // Events from now on are sent as signals; this poll finds the earlier ones.
        self.system_calls += 3;
        sys::poll_now(std::slice::from_mut(&mut source)).inspect_err(|_| {
            // The caller does not remove what was not added.
            self.system_calls += 1;
            let _ = self.signals.release(fd.as_raw_fd());
        })?;
        self.found.extend((source.revents != 0).then(|| event(key, source.revents)));
        let index = fd.as_raw_fd() as usize;
        if index >= self.keys.len() {
            self.keys.resize(index + 1, NOBODY);
        }
        self.keys[index] = key;
        self.sources.insert(key, source);
        Ok(())
    }

    fn add_shared(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        let (mut edge, mut keys) = match self.shared.take() {
            Some(shared) => shared,
            None => {
                let edge = Edge::open(&Limits::default())?;
                self.beside.0.push(entry(edge.as_fd(), Interest::READ));
                self.beside.1.push(SHARED);
                (edge, Vec::new())
            }
        };
        let added = edge.add_shared(fd, key);
        keys.extend(added.is_ok().then_some(key));
        self.shared = Some((edge, keys));
        added
    }

    /// The interest matters for polls only: a socket sends signals for both directions.
    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        *self.sources.get_mut(key)? = entry(fd, want);
        Ok(())
    }

    /// Signals that are still queued may be attributed to the next source with this descriptor.
    /// Such a spurious report costs one attempt.
    fn remove(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        if let Some((edge, keys)) = &mut self.shared
            && let Some(place) = keys.iter().position(|other| *other == key)
        {
            keys.swap_remove(place);
            return edge.remove(fd, key);
        }
        if let Some(place) = self.beside.1.iter().position(|other| *other == key) {
            self.beside.0.swap_remove(place);
            self.beside.1.swap_remove(place);
            return Ok(());
        }
        self.sources.remove(key)?;
        self.keys[fd.as_raw_fd() as usize] = NOBODY;
        self.system_calls += 1;
        self.signals.release(fd.as_raw_fd())
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        let timeout = if self.found.is_empty() { timeout } else { Some(Duration::ZERO) };
        self.system_calls += 1;
        sys::poll(&mut self.beside.0, timeout)?;
        out.append(&mut self.found);
        for (entry, key) in self.beside.0.iter().zip(&self.beside.1).skip(1) {
            match &mut self.shared {
                _ if entry.revents == 0 => {}
                // Reports them once, as signals do: a listener may stay ready for long, because
                // this worker has no room or because another one is about to accept.
                Some((edge, _)) if *key == SHARED => edge.wait(Some(Duration::ZERO), out)?,
                _ => out.push(event(*key, entry.revents)),
            }
        }
        if self.beside.0[0].revents == 0 {
            return Ok(());
        }
        self.system_calls += 1;
        let signals = self.signals.take()?;
        out.extend(signals.iter().filter_map(|signal| translate(signal, &self.keys)));
        if signals.iter().any(is_overflow) {
            self.poll_all(out)?;
        }
        Ok(())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls + self.shared.as_ref().map_or(0, |(edge, _)| edge.system_calls())
    }
}

impl SigioPoller {
    /// Polls all sources. Later events are sent as signals again, or overflow the queue again.
    fn poll_all(&mut self, out: &mut Vec<Event>) -> io::Result<()> {
        self.system_calls += 1;
        sys::poll_now(self.sources.records_mut())?;
        let ready = self.sources.iter().filter(|(_, entry)| entry.revents != 0);
        out.extend(ready.map(|(key, entry)| event(key, entry.revents)));
        Ok(())
    }
}

/// Stops the signals of all sources: a duplicate of a descriptor would keep them coming. The
/// descriptors are still open, because the driver removes each before it closes it.
impl Drop for SigioPoller {
    fn drop(&mut self) {
        for (_, source) in self.sources.iter() {
            // Fails only if the descriptor sends no signals, which is the goal.
            let _ = self.signals.release(source.fd);
        }
    }
}

/// Converts a signal to an event; `None` if its descriptor has no source any more. The band of the
/// signal has the bits of `poll(2)`.
fn translate(signal: &Signal, keys: &[u32]) -> Option<Event> {
    let index = usize::try_from(signal.ssi_fd).ok().filter(|_| !is_overflow(signal))?;
    let key = keys.get(index).copied().filter(|key| *key != NOBODY)?;
    Some(event(key, signal.ssi_band as libc::c_short))
}
