//! No readiness interface: non-blocking sockets, tried again and again.
//!
//! What a program did before the kernel could tell it anything: it marks its sockets
//! non-blocking, asks each whether it can go on, and begins anew. Most answers are "would block".
//! The poller makes the guess ([`Trigger::Guess`]); the driver's attempts are the asking.
//!
//! *Cost*: one system call for every socket that waits for something, in every turn, ready or
//! not; and all of one CPU, even when nothing happens. No state is kept in the kernel.
//!
//! *Limits*: none of its own. It suits a thread that has a CPU to itself and sockets that are
//! nearly always ready. On a machine that is shared, a turn that found nothing should not keep
//! the others from running. What a turn found is not for a poller to see, but the driver says it
//! when it has nothing else to do: it allows a wait. Then the thread offers its CPU
//! (`sched_yield(2)`), once, and sleeps never.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use super::poller::{Event, Interest, Poller, Trigger};
use super::sparse_set::SparseSet;
use crate::driver::Limits;

/// The sources and what is wanted of them.
#[derive(Debug)]
pub struct SpinPoller {
    sources: SparseSet<Interest>,
    system_calls: u64,
}

impl Poller for SpinPoller {
    const TRIGGER: Trigger = Trigger::Guess;
    const FORGETS_CLOSED: bool = false;

    fn open(_limits: &Limits) -> io::Result<Self> {
        Ok(Self { sources: SparseSet::new(), system_calls: 0 })
    }

    fn add(&mut self, _fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        self.sources.insert(key, want);
        Ok(())
    }

    fn modify(&mut self, _fd: BorrowedFd<'_>, key: u32, want: Interest) -> io::Result<()> {
        *self.sources.get_mut(key)? = want;
        Ok(())
    }

    fn remove(&mut self, _fd: BorrowedFd<'_>, key: u32) -> io::Result<()> {
        self.sources.remove(key).map(drop)
    }

    /// Returns at once. A caller that waits for the end of `timeout` calls again.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        if timeout != Some(Duration::ZERO) {
            self.system_calls += 1;
            thread::yield_now();
        }
        out.extend(self.sources.iter().map(|(key, want)| Event {
            key,
            readable: want.read,
            writable: want.write,
            hangup: false,
        }));
        Ok(())
    }

    fn system_calls(&self) -> u64 {
        self.system_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn reports(spin: &mut SpinPoller, timeout: Option<Duration>) -> Vec<Event> {
        let mut out = Vec::new();
        spin.wait(timeout, &mut out).unwrap();
        out
    }

    #[test]
    fn every_armed_source_is_reported_in_every_wait() {
        let (idle, other) = UnixStream::pair().unwrap();
        let mut spin = SpinPoller::open(&Limits::default()).unwrap();
        spin.add(idle.as_fd(), 2, Interest::READ).unwrap();
        spin.add(other.as_fd(), 5, Interest::BOTH).unwrap();
        let event = |key, writable| Event { key, readable: true, writable, hangup: false };
        for timeout in [None, Some(Duration::ZERO), Some(Duration::MAX)] {
            assert_eq!(reports(&mut spin, timeout), [event(2, false), event(5, true)]);
        }
        spin.modify(idle.as_fd(), 2, Interest::BOTH).unwrap();
        spin.remove(other.as_fd(), 5).unwrap();
        assert_eq!(reports(&mut spin, None), [event(2, true)]);
    }

    #[test]
    fn the_cpu_is_offered_only_when_the_driver_would_wait() {
        let mut spin = SpinPoller::open(&Limits::default()).unwrap();
        for (timeout, calls) in [
            (Some(Duration::ZERO), 0),
            (Some(Duration::from_nanos(1)), 1),
            (None, 2),
            (Some(Duration::ZERO), 2),
        ] {
            reports(&mut spin, timeout);
            assert_eq!(spin.system_calls(), calls);
        }
    }
}
