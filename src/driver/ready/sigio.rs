//! Signal-driven I/O: the kernel sends a signal for every event (`O_ASYNC`, `fcntl(2)`).
//!
//! Each socket is told once to send its events to this thread (`F_SETOWN_EX`, `F_OWNER_TID`), as
//! a real-time signal that names the descriptor and the event (`F_SETSIG`). The signals are
//! blocked and taken in batches from a descriptor (`signalfd(2)`), so no handler runs. They are
//! edges ([`Trigger::Edge`]): one comes for each event and none for what is so already, which is
//! why adding asks `poll(2)` once. One event is one signal: two pieces of data are two reports.
//!
//! *Cost*: four system calls to add a socket and one to remove it; two for a wait that brings
//! news, whatever the number of sockets, and one for a wait that does not. The kernel allocates,
//! queues and copies 128 bytes for each segment that arrives, where epoll marks a socket once.
//!
//! *Limits*: the queue of signals is bounded, for all processes of a user together
//! (`RLIMIT_SIGPENDING`). An event that finds it full becomes a plain `SIGIO`, which names
//! nobody: then one `poll(2)` asks all sources. So in the worst case this is `poll`, and nothing
//! is lost. A thread can have one such driver. Files without signals, such as the eventfds of the
//! driver itself, are polled beside the queue in every wait: there must be few of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use super::poll::{entry, event};
use super::poller::{Event, Interest, Poller, Trigger};
use super::signal::{Signal, Signals, is_overflow};
use super::sparse_set::SparseSet;
use crate::driver::{Limits, sys};

#[cfg(test)]
mod tests;

/// No key: nobody's descriptor, and the entry of the queue.
const NOBODY: u32 = u32::MAX;

/// The sources and the queue of signals.
#[derive(Debug)]
pub struct SigioPoller {
    signals: Signals,
    /// All sources that have signals, for when these do not suffice.
    sources: SparseSet<libc::pollfd>,
    /// By descriptor: whose it is.
    keys: Vec<u32>,
    /// What is polled in every wait: first the queue, then the sources without signals; and
    /// their keys.
    beside: (Vec<libc::pollfd>, Vec<u32>),
    /// What adding found, for the next wait.
    found: Vec<Event>,
    system_calls: u64,
}

impl Poller for SigioPoller {
    const TRIGGER: Trigger = Trigger::Edge;
    const FORGETS_CLOSED: bool = false;

    fn open(_limits: &Limits) -> io::Result<Self> {
        let signals = Signals::block()?;
        let beside = (vec![entry(signals.as_fd(), Interest::READ)], vec![NOBODY]);
        let (sources, keys, found) = (SparseSet::new(), Vec::new(), Vec::new());
        Ok(Self { signals, sources, keys, beside, found, system_calls: 3 })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.system_calls += 1;
        let mut source = entry(fd, want);
        if !self.signals.direct(fd)? {
            self.beside.0.push(source);
            self.beside.1.push(key);
            return Ok(());
        }
        // Events from now on are signals; those before are for poll to tell.
        self.system_calls += 3;
        sys::poll_now(std::slice::from_mut(&mut source))?;
        self.found.extend((source.revents != 0).then(|| event(key, source.revents)));
        let index = fd.as_raw_fd() as usize;
        if index >= self.keys.len() {
            self.keys.resize(index + 1, NOBODY);
        }
        self.keys[index] = key;
        self.sources.insert(key, source);
        Ok(())
    }

    /// Signals come for both directions, whichever is wanted.
    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        *self.sources.get_mut(key)? = entry(fd, want);
        Ok(())
    }

    /// Signals that are queued may still be taken for the next owner of the descriptor. They are
    /// reports too many, which cost an attempt.
    fn remove(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
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
        let polled = self.beside.0.iter().zip(&self.beside.1).skip(1);
        let ready = polled.filter(|(entry, _)| entry.revents != 0);
        out.extend(ready.map(|(entry, key)| event(*key, entry.revents)));
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
        self.system_calls
    }
}

impl SigioPoller {
    /// Asks all sources. What happens from now on is a signal again, or another overflow.
    fn poll_all(&mut self, out: &mut Vec<Event>) -> io::Result<()> {
        self.system_calls += 1;
        sys::poll_now(self.sources.records_mut())?;
        let ready = self.sources.iter().filter(|(_, entry)| entry.revents != 0);
        out.extend(ready.map(|(key, entry)| event(key, entry.revents)));
        Ok(())
    }
}

/// The sources are open, since each is removed before it is closed; and they are others' as well
/// where they have duplicates. From now on, nothing is to send signals.
impl Drop for SigioPoller {
    fn drop(&mut self) {
        for (_, source) in self.sources.iter() {
            // It fails only for a source that is not there, which is what is wanted.
            let _ = self.signals.release(source.fd);
        }
    }
}

/// The report of a signal, unless its descriptor is nobody's any more. Its band has the bits of
/// `poll(2)`.
fn translate(signal: &Signal, keys: &[u32]) -> Option<Event> {
    let index = usize::try_from(signal.ssi_fd).ok().filter(|_| !is_overflow(signal))?;
    let key = keys.get(index).copied().filter(|key| *key != NOBODY)?;
    Some(event(key, signal.ssi_band as libc::c_short))
}
