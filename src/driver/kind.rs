//! The names of the drivers.

use std::fmt;
use std::io;

use libc::FD_SETSIZE;

use super::ready::{Epoll, EpollLevel, Poll, Select, Sigio, Spin};
use super::threads::{SOCKETS_MAX, Threads};
use super::uring::Uring;
use super::{Driver, Limits};

/// The drivers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DriverKind {
    /// The proactor on io_uring.
    Uring,
    /// The reactor on epoll, edge-triggered.
    Epoll,
    /// The reactor on epoll, level-triggered.
    EpollLevel,
    /// The reactor on real-time signals.
    Sigio,
    /// The reactor on `poll(2)`.
    Poll,
    /// The reactor on `select(2)`.
    Select,
    /// The reactor without a poller.
    Spin,
    /// Blocking calls, one thread for each.
    Threads,
}

impl DriverKind {
    /// All drivers, from the best to the oldest.
    pub const ALL: [Self; 8] = [
        Self::Uring,
        Self::Epoll,
        Self::EpollLevel,
        Self::Sigio,
        Self::Poll,
        Self::Select,
        Self::Spin,
        Self::Threads,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::EpollLevel => "epoll-lt",
            Self::Sigio => "sigio",
            Self::Poll => "poll",
            Self::Select => "select",
            Self::Spin => "spin",
            Self::Threads => "threads",
        }
    }

    /// A summary in one line, for users who choose a driver.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Uring => "Proactor on io_uring (Linux 6.1 or newer)",
            Self::Epoll => "Reactor on epoll, edge-triggered",
            Self::EpollLevel => "Reactor on epoll, level-triggered",
            Self::Sigio => "Reactor on real-time signals, one per event",
            Self::Poll => "Reactor on poll, which checks every socket in every wait",
            Self::Select => "Reactor on select, limited to descriptors below 1024",
            Self::Spin => {
                "Reactor without a poller: tries every socket in every turn (uses a whole CPU)"
            }
            Self::Threads => "Blocking calls, one thread for each",
        }
    }

    /// The number below which all descriptors of the process must be; `None` if only the limit of
    /// the process counts.
    pub fn descriptors_max(self) -> Option<u64> {
        (self == Self::Select).then_some(FD_SETSIZE as u64)
    }

    /// The most sockets of one driver of this kind, even if [`Limits::sockets_max`] is higher;
    /// `None` if it has no such limit.
    pub fn sockets_max(self) -> Option<u32> {
        (self == Self::Threads).then_some(SOCKETS_MAX)
    }

    /// Passes the constructor of this driver to `visitor`. The only place that names them all.
    pub fn visit<V: Visitor>(self, visitor: V) -> V::Out {
        match self {
            Self::Uring => visitor.visit(Uring::open),
            Self::Epoll => visitor.visit(Epoll::open),
            Self::EpollLevel => visitor.visit(EpollLevel::open),
            Self::Sigio => visitor.visit(Sigio::open),
            Self::Poll => visitor.visit(Poll::open),
            Self::Select => visitor.visit(Select::open),
            Self::Spin => visitor.visit(Spin::open),
            Self::Threads => visitor.visit(Threads::open),
        }
    }
}

/// A function of a driver whose type is known only at run time; see [`DriverKind::visit`].
pub trait Visitor {
    /// The result.
    type Out;

    /// Runs with the driver that `open` opens on the calling thread.
    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> Self::Out;
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
