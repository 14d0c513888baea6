//! `poll(2)`: an array that says what is watched, handed over anew in every wait.
//!
//! The kernel keeps nothing between two waits. So a change of interest is a store to memory and
//! costs no system call, while each wait copies the whole array in, asks every socket, queues
//! itself at every socket when none is ready, and copies the array out.
//!
//! *Cost*: one system call for a wait, whose work grows with the number of armed sources, not
//! with the number of those that are ready. Adding and removing take constant time: the array
//! has no gaps ([`SparseSet`]). 20 bytes for a source.
//!
//! *Limits*: none for descriptors, other than the process' own (`RLIMIT_NOFILE`), which no array
//! of open descriptors exceeds. It suits a few hundred sockets, or many that are all busy.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::poller::{Event, Interest, Poller, Trigger};
use super::sparse_set::SparseSet;
use crate::driver::{Limits, sys};

/// The sources, as `poll(2)` wants them.
#[derive(Debug)]
pub struct PollPoller {
    sources: SparseSet<libc::pollfd>,
    system_calls: u64,
}

impl Poller for PollPoller {
    const TRIGGER: Trigger = Trigger::Level;
    const FORGETS_CLOSED: bool = false;

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

/// What asks `poll(2)` for these directions of a descriptor.
pub(super) fn entry(fd: BorrowedFd<'_>, want: Interest) -> libc::pollfd {
    let read = if want.read { libc::POLLIN | libc::POLLRDHUP } else { 0 };
    let write = if want.write { libc::POLLOUT } else { 0 };
    libc::pollfd { fd: fd.as_raw_fd(), events: read | write, revents: 0 }
}

/// The report of what `poll(2)` says of a source. `POLLERR`, `POLLHUP` and `POLLNVAL` come
/// unasked; each means that either direction has something to say.
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

    /// The array moves entries when others are removed: reports must not change their owners.
    #[test]
    fn keys_stay_right_after_removals() {
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
    fn a_timeout_is_waited_for() {
        let mut poll = PollPoller::open(&Limits::default()).unwrap();
        let (timeout, start) = (Duration::from_micros(1500), Instant::now());
        poll.wait(Some(timeout), &mut Vec::new()).unwrap();
        assert!(start.elapsed() >= timeout);
    }
}
