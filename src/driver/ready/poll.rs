//! `poll(2)`: every wait passes the whole array of watched descriptors to the kernel.
//!
//! The kernel keeps no state between two waits. So a change of interest is a store to memory and
//! costs no system call. But each wait copies the whole array in, polls every socket, adds itself
//! to the wait queue of every socket if none is ready, and copies the array out.
//!
//! *Cost*: one system call per wait, whose work grows with the number of armed sources, not of
//! ready ones. Adding and removing take constant time: the array has no gaps ([`SparseSet`]). 20
//! bytes per source.
//!
//! *Limits*: only the process' own limit of descriptors (`RLIMIT_NOFILE`). It suits a few hundred
//! sockets, or many sockets that are all busy.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::poller::{Event, Interest, Poller, Trigger};
use super::sparse_set::SparseSet;
use crate::driver::{Limits, sys};

/// The sources, in the layout of `poll(2)`.
#[derive(Debug)]
pub struct PollPoller {
    sources: SparseSet<libc::pollfd>,
    system_calls: u64,
}

impl Poller for PollPoller {
    const TRIGGER: Trigger = Trigger::Level;
    const FORGETS_CLOSED: bool = false;
    const CALLS: (&'static str, &'static str) = ("ppoll", "ppoll");

    fn open(_limits: &Limits) -> io::Result<Self> {
        Ok(Self { sources: SparseSet::new(), system_calls: 0 })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.sources.insert(key, entry(fd, want));
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        *self.sources.get_mut(key)? = entry(fd, want);
        Ok(())
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        self.sources.remove(key).map(drop)
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        self.system_calls += 1;
        let count = sys::poll(self.sources.records_mut(), timeout)?;
        let ready = self.sources.iter().filter(|(_, entry)| entry.revents != 0);
        out.extend(ready.take(count).map(|(key, entry)| event(key, entry.revents)));
        Ok(())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

/// The `pollfd` of a descriptor and an interest.
pub(super) fn entry(fd: BorrowedFd<'_>, want: Interest) -> libc::pollfd {
    let read = if want.read { libc::POLLIN | libc::POLLRDHUP } else { 0 };
    let write = if want.write { libc::POLLOUT } else { 0 };
    libc::pollfd { fd: fd.as_raw_fd(), events: read | write, revents: 0 }
}

/// Converts the result of `poll(2)` for a source. `poll(2)` always reports `POLLERR`, `POLLHUP` and
/// `POLLNVAL`; after any of them, a receive and a send both return at once.
pub(super) fn event(key: u32, flags: libc::c_short) -> Event {
    let broken = flags & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0;
    Event {
        key,
        readable: broken || flags & (libc::POLLIN | libc::POLLRDHUP) != 0,
        writable: broken || flags & libc::POLLOUT != 0,
        hangup: broken || flags & libc::POLLRDHUP != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    fn reports(poll: &mut PollPoller) -> Vec<Event> {
        let mut out = Vec::new();
        poll.wait(Some(Duration::ZERO), &mut out).unwrap();
        out
    }

    #[test]
    fn a_level_is_reported_until_the_interest_ends() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"x").unwrap();
        let mut poll = PollPoller::open(&Limits::default()).unwrap();
        poll.add(theirs.as_fd(), 7, Interest::READ).unwrap();
        let event = Event { key: 7, readable: true, writable: false, hangup: false };
        assert_eq!(reports(&mut poll), [event]);
        assert_eq!(reports(&mut poll), [event]);
        poll.modify(theirs.as_fd(), 7, Interest { read: false, write: true }).unwrap();
        let event = Event { key: 7, readable: false, writable: true, hangup: false };
        assert_eq!(reports(&mut poll), [event]);
        drop(ours);
        let event = Event { key: 7, readable: true, writable: true, hangup: true };
        assert_eq!(reports(&mut poll), [event]);
        poll.remove(theirs.as_fd(), 7).unwrap();
        assert_eq!(reports(&mut poll), []);
    }

    /// A removal moves another entry; its reports must still have the right key.
    #[test]
    fn keys_stay_correct_after_removals() {
        let mut pairs: Vec<_> = (0..10).map(|_| UnixStream::pair().unwrap()).collect();
        let mut poll = PollPoller::open(&Limits::default()).unwrap();
        for (key, (_, theirs)) in pairs.iter().enumerate() {
            poll.add(theirs.as_fd(), key as u32, Interest::READ).unwrap();
        }
        for removed in [0, 9, 4, 5] {
            poll.remove(pairs[removed].1.as_fd(), removed as u32).unwrap();
        }
        poll.add(pairs[4].1.as_fd(), 4, Interest::READ).unwrap();
        for (ours, _) in &mut pairs {
            ours.write_all(b"x").unwrap();
        }
        let mut keys: Vec<u32> = reports(&mut poll).iter().map(|event| event.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, [1, 2, 3, 4, 6, 7, 8]);
    }

    #[test]
    fn a_wait_lasts_until_its_timeout() {
        let mut poll = PollPoller::open(&Limits::default()).unwrap();
        let (timeout, start) = (Duration::from_micros(1500), Instant::now());
        poll.wait(Some(timeout), &mut Vec::new()).unwrap();
        assert!(start.elapsed() >= timeout);
    }
}
