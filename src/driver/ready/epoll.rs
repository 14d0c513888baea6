//! `epoll(7)`, edge- and level-triggered.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::CreateFlags;

use super::poller::{Event, Interest, Poller, Trigger};
use crate::driver::Limits;

/// Events taken by one system call. What does not fit stays in the kernel's list, which is
/// served in turn.
const EVENTS_MAX: usize = 256;

/// Edge-triggered epoll: one `epoll_ctl` for the life of a socket.
pub type Edge = EpollPoller<true>;

/// Level-triggered epoll: one `epoll_ctl` for each change of interest.
pub type Level = EpollPoller<false>;

/// An epoll instance; `EDGE` tells how sources are registered.
#[derive(Debug)]
pub struct EpollPoller<const EDGE: bool> {
    instance: OwnedFd,
    events: Box<[libc::epoll_event]>,
    system_calls: u64,
}

impl<const EDGE: bool> Poller for EpollPoller<EDGE> {
    const TRIGGER: Trigger = if EDGE { Trigger::Edge } else { Trigger::Level };
    const FORGETS_CLOSED: bool = true;

    fn open(_limits: &Limits) -> io::Result<Self> {
        let instance = rustix::event::epoll::create(CreateFlags::CLOEXEC)?;
        let nothing = libc::epoll_event { events: 0, u64: 0 };
        let events = vec![nothing; EVENTS_MAX].into_boxed_slice();
        Ok(Self { instance, events, system_calls: 1 })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, key, want)
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, key, want)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, key, Interest::NONE)
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        let (instance, timeout_ms) = (self.instance.as_raw_fd(), milliseconds(timeout));
        self.system_calls += 1;
        let (address, len) = (self.events.as_mut_ptr(), self.events.len() as i32);
        // SAFETY: pointer and length are those of a slice that outlives the call.
        let count = check(unsafe { libc::epoll_wait(instance, address, len, timeout_ms) })?;
        out.extend(self.events[..count as usize].iter().map(translate));
        Ok(())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

impl<const EDGE: bool> AsFd for EpollPoller<EDGE> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

impl<const EDGE: bool> EpollPoller<EDGE> {
    fn control(
        &mut self,
        operation: i32,
        fd: BorrowedFd<'_>,
        key: u32,
        want: Interest,
    ) -> io::Result<()> {
        let mut flags = if EDGE { libc::EPOLLET } else { 0 };
        if want.read {
            flags |= libc::EPOLLIN | libc::EPOLLRDHUP;
        }
        if want.write {
            flags |= libc::EPOLLOUT;
        }
        let mut event = libc::epoll_event { events: flags as u32, u64: u64::from(key) };
        let (instance, fd) = (self.instance.as_raw_fd(), fd.as_raw_fd());
        self.system_calls += 1;
        // SAFETY: `event` is a live local, which the kernel only reads.
        check(unsafe { libc::epoll_ctl(instance, operation, fd, &raw mut event) }).map(drop)
    }
}

/// `EPOLLERR` and `EPOLLHUP` come unasked; both mean that either direction has something to say.
fn translate(event: &libc::epoll_event) -> Event {
    let flags = event.events as i32;
    let broken = flags & (libc::EPOLLERR | libc::EPOLLHUP) != 0;
    Event {
        key: event.u64 as u32,
        readable: broken || flags & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0,
        writable: broken || flags & libc::EPOLLOUT != 0,
        hangup: broken || flags & libc::EPOLLRDHUP != 0,
    }
}

/// Whole milliseconds for `epoll_wait(2)`, rounded up, or less than a millisecond of waiting
/// would become a loop that does not wait.
fn milliseconds(timeout: Option<Duration>) -> i32 {
    match timeout {
        None => -1,
        Some(timeout) => timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(i32::MAX),
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn timeouts_are_rounded_up() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_micros(1001))), 2);
        assert_eq!(milliseconds(Some(Duration::MAX)), i32::MAX);
    }

    fn reports<const EDGE: bool>(poller: &mut EpollPoller<EDGE>) -> Vec<Event> {
        let mut out = Vec::new();
        poller.wait(Some(Duration::ZERO), &mut out).unwrap();
        out
    }

    #[test]
    fn an_edge_is_reported_once_and_adding_counts_as_one() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"x").unwrap();
        let mut poller = Edge::open(&Limits::default()).unwrap();
        poller.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
        let event = Event { key: 7, readable: true, writable: true, hangup: false };
        assert_eq!(reports(&mut poller), [event]);
        assert_eq!(reports(&mut poller), []);
        drop(ours);
        let [event] = reports(&mut poller)[..] else { panic!("one source, one report") };
        assert!(event.readable && event.hangup);
    }

    #[test]
    fn a_level_is_reported_until_the_interest_ends() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"x").unwrap();
        let mut poller = Level::open(&Limits::default()).unwrap();
        poller.add(theirs.as_fd(), 7, Interest::READ).unwrap();
        assert_eq!(reports(&mut poller), reports(&mut poller));
        let write = Interest { read: false, write: true };
        poller.modify(theirs.as_fd(), 7, write).unwrap();
        let event = Event { key: 7, readable: false, writable: true, hangup: false };
        assert_eq!(reports(&mut poller), [event]);
        poller.remove(theirs.as_fd(), 7).unwrap();
        assert_eq!(reports(&mut poller), []);
    }
}
