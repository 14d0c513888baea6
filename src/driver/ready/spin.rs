//! No readiness interface: non-blocking sockets, tried again and again.
//!
//! Programs did this before there was `select(2)`: they try each non-blocking socket in a loop, and
//! most attempts return "would block". This poller reports every armed source as ready
//! ([`Trigger::Guess`]); the driver makes the attempts.
//!
//! *Cost*: one system call in every turn for each socket with a blocked op, ready or not; and a
//! whole CPU, even without traffic. The kernel keeps no state.
//!
//! *Limits*: none of its own. It suits a thread that has a CPU to itself and sockets that are
//! nearly always ready. On a shared machine, a turn without progress should let other threads run.
//! A poller does not see the progress of a turn, but the driver passes a timeout other than zero
//! only if it has nothing else to do. The poller then yields the CPU once (`sched_yield(2)`); it
//! never sleeps.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use super::poller::{Event, Interest, Poller, Trigger};
use super::sparse_set::SparseSet;
use crate::driver::Limits;
use crate::driver::call_log::done;

/// The sources and their interest.
#[derive(Debug)]
pub struct SpinPoller {
    sources: SparseSet<Interest>,
    system_calls: u64,
}

impl Poller for SpinPoller {
    const TRIGGER: Trigger = Trigger::Guess;
    const FORGETS_CLOSED: bool = false;
    const CALLS: (&'static str, &'static str) = ("sched_yield", "sched_yield");

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

    /// Returns at once; the driver calls again until its deadline.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Event>) -> io::Result<()> {
        if timeout != Some(Duration::ZERO) {
            self.system_calls += 1;
            done("sched_yield", thread::yield_now);
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
    fn the_cpu_is_yielded_only_when_the_driver_would_wait() {
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
