//! `epoll(7)`, edge- and level-triggered.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use super::poller::{Event, Interest, Poller, Trigger};
use crate::driver::Limits;
use crate::driver::call_log::made;
use crate::driver::setup::step_failed;

/// Events that one system call returns. The rest stay in the kernel's ready list, which is a queue,
/// so no source starves.
const EVENTS_MAX: usize = 256;

/// Edge-triggered epoll: one `epoll_ctl` for the life of a socket.
pub type Edge = EpollPoller<true>;

/// Level-triggered epoll: one `epoll_ctl` for each change of interest.
pub type Level = EpollPoller<false>;

/// An epoll instance; `EDGE` selects edge-triggered registration.
pub struct EpollPoller<const EDGE: bool> {
    instance: OwnedFd,
    events: Vec<epoll::Event>,
    system_calls: u64,
}

impl<const EDGE: bool> fmt::Debug for EpollPoller<EDGE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpollPoller({:?})", self.instance)
    }
}

impl<const EDGE: bool> Poller for EpollPoller<EDGE> {
    const TRIGGER: Trigger = if EDGE { Trigger::Edge } else { Trigger::Level };
    const FORGETS_CLOSED: bool = true;
    const CALLS: (&'static str, &'static str) = ("epoll_ctl", "epoll_pwait");

    fn open(_limits: &Limits) -> io::Result<Self> {
        let instance = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|error| step_failed("epoll_create1", &error.into()))?;
        Ok(Self { instance, events: Vec::with_capacity(EVENTS_MAX), system_calls: 1 })
    }

    fn add(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.system_calls += 1;
        let data = EventData::new_u64(key.into());
        made("epoll_ctl", || Ok(epoll::add(&self.instance, fd, data, flags::<EDGE>(want))?))
    }

    /// A connection wakes the first thread in the kernel's list that waits (`EPOLLEXCLUSIVE`,
    /// `epoll_ctl(2)`), and adding appends to the list.
    fn add_shared(&mut self, fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        self.system_calls += 1;
        let edge = if EDGE { EventFlags::ET } else { EventFlags::empty() };
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE | edge;
        let data = EventData::new_u64(key.into());
        made("epoll_ctl", || Ok(epoll::add(&self.instance, fd, data, flags)?))
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.system_calls += 1;
        let data = EventData::new_u64(key.into());
        made("epoll_ctl", || Ok(epoll::modify(&self.instance, fd, data, flags::<EDGE>(want))?))
    }

    fn remove(&mut self, fd: BorrowedFd<'_>, _key: u32) -> io::Result<()> {
        self.system_calls += 1;
        made("epoll_ctl", || Ok(epoll::delete(&self.instance, fd)?))
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        self.system_calls += 1;
        self.events.clear();
        let timeout = timeout.map(time);
        let room = spare_capacity(&mut self.events);
        made("epoll_pwait", || Ok(epoll::wait(&self.instance, room, timeout.as_ref())?))?;
        out.extend(self.events.iter().map(translate));
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

/// The epoll flags of an interest.
fn flags<const EDGE: bool>(want: Interest) -> EventFlags {
    let mut flags = if EDGE { EventFlags::ET } else { EventFlags::empty() };
    if want.read {
        flags |= EventFlags::IN | EventFlags::RDHUP;
        if EDGE {
            flags |= EventFlags::PRI;
        }
    }
    if want.write {
        flags |= EventFlags::OUT;
    }
    flags
}

/// Converts an event. epoll always reports `EPOLLERR` and `EPOLLHUP`; after either, a receive and a
/// send both return at once.
fn translate(event: &epoll::Event) -> Event {
    // The struct is packed: copy its fields, because references to them may be unaligned.
    let (flags, data) = (event.flags, event.data);
    let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
    Event {
        key: data.u64() as u32,
        readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
        writable: broken || flags.contains(EventFlags::OUT),
        // A receive stops at urgent data, and what follows it makes no edge of its own.
        hangup: broken || flags.intersects(EventFlags::RDHUP | EventFlags::PRI),
    }
}

/// Rounds a timeout up to the whole milliseconds that `epoll_pwait(2)` takes; rounding down would
/// turn the last fraction of a millisecond into a busy loop. Limits it to what an `i32` holds.
fn time(timeout: Duration) -> Timespec {
    let timeout = timeout.min(Duration::from_millis(i32::MAX as u64));
    let milliseconds = timeout.subsec_nanos().div_ceil(1_000_000);
    let (seconds, milliseconds) =
        (timeout.as_secs() + u64::from(milliseconds / 1000), milliseconds % 1000);
    Timespec { tv_sec: seconds as i64, tv_nsec: (milliseconds * 1_000_000).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn timeouts_are_rounded_up() {
        let parts = |timeout| (time(timeout).tv_sec, time(timeout).tv_nsec);
        assert_eq!(parts(Duration::ZERO), (0, 0));
        assert_eq!(parts(Duration::from_nanos(1)), (0, 1_000_000));
        assert_eq!(parts(Duration::from_micros(1001)), (0, 2_000_000));
        assert_eq!(parts(Duration::from_micros(1_999_001)), (2, 0));
        assert_eq!(parts(Duration::MAX), (2_147_483, 647_000_000));
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
        let [event] = reports(&mut poller)[..] else { panic!("expected exactly one event") };
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
