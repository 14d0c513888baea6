//! The names of the drivers.

use std::fmt;
use std::io;

use libc::FD_SETSIZE;

use super::ready::{Epoll, EpollLevel, Poll, Select, Sigio, Spin};
use super::threads::Threads;
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
    /// The reactor on signals.
    Sigio,
    /// The reactor on `poll(2)`.
    Poll,
    /// The reactor on `select(2)`.
    Select,
    /// The reactor that tries every socket.
    Spin,
    /// Blocking calls in threads.
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

    /// What it is, in one line for a person who has to choose.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Uring => "The proactor on io_uring (Linux 6.1)",
            Self::Epoll => "The reactor on epoll, edge-triggered",
            Self::EpollLevel => "The reactor on epoll, level-triggered",
            Self::Sigio => "The reactor on signals, one for each event",
            Self::Poll => "The reactor on poll, which asks all sockets in every wait",
            Self::Select => "The reactor on select, with descriptors below 1024",
            Self::Spin => "The reactor without help, which tries all sockets all the time",
            Self::Threads => "Blocking calls, each in a thread",
        }
    }

    /// The descriptors of the process, numbered from 0, among which its sockets must be, when
    /// that is not for the process's own limit to say.
    pub fn descriptors_max(self) -> Option<u64> {
        (self == Self::Select).then_some(FD_SETSIZE as u64)
    }

    /// Gives `visitor` the constructor of this driver. The one place that names them all.
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

/// What is done with a driver whose type is known only at run time; see [`DriverKind::visit`].
pub trait Visitor {
    /// What it comes to.
    type Out;

    /// Does it, with the driver that `open` opens on the calling thread.
    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> Self::Out;
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
