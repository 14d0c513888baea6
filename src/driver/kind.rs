//! The names of the drivers, and which of them to take.

use std::fmt;
use std::io;

use libc::FD_SETSIZE;

use super::ready::{Epoll, EpollLevel, Poll, Select, Sigio, Spin};
use super::setup::code_of;
use super::threads::Threads;
use super::uring::Uring;
use super::{Driver, Limits, probe};

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

/// A driver, and why it is this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DriverSelection {
    /// The driver.
    pub kind: DriverKind,
    /// Why, in a few words.
    pub why: String,
    /// Whether another driver may take its place.
    pub replaceable: bool,
}

impl DriverSelection {
    /// Chooses a driver: the one that is asked for, or the best that works.
    ///
    /// # Errors
    ///
    /// When the driver that is asked for does not work here.
    pub fn make(wish: Option<DriverKind>) -> io::Result<Self> {
        match wish {
            Some(kind) => {
                if kind == DriverKind::Uring {
                    probe::self_test(kind)?;
                }
                Ok(Self { kind, why: "as asked".into(), replaceable: false })
            }
            None => {
                let why = "io_uring passed its self-test".into();
                let best = Self { kind: DriverKind::Uring, why, replaceable: true };
                match probe::self_test(best.kind) {
                    Ok(()) => Ok(best),
                    Err(error) => match best.fall_back(&error) {
                        Some(selection) => Ok(selection),
                        None => Err(error),
                    },
                }
            }
        }
    }

    /// What to take instead when this driver fails with `error`; `None` when it was asked for,
    /// when it is the last one, or when the error is not the driver's: without descriptors
    /// nothing works.
    pub fn fall_back(&self, error: &io::Error) -> Option<Self> {
        if !self.replaceable || matches!(code_of(error), Some(libc::EMFILE | libc::ENFILE)) {
            return None;
        }
        Some(Self { kind: DriverKind::Epoll, why: error.to_string(), replaceable: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::setup::step_failed;

    fn selection(replaceable: bool) -> DriverSelection {
        DriverSelection { kind: DriverKind::Uring, why: String::new(), replaceable }
    }

    #[test]
    fn a_driver_that_was_asked_for_is_never_replaced() {
        let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(selection(false).fall_back(&error), None);
    }

    #[test]
    fn a_fallback_says_which_step_failed_and_why() {
        let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(libc::EPERM));
        let fallback = selection(true).fall_back(&error).unwrap();
        assert_eq!(fallback.kind, DriverKind::Epoll);
        assert_eq!(
            fallback.why,
            "io_uring_setup: EPERM; blocked by seccomp or kernel.io_uring_disabled, \
             see ringd doctor"
        );
    }

    #[test]
    fn short_descriptors_are_an_error_and_no_reason_to_fall_back() {
        for code in [libc::EMFILE, libc::ENFILE] {
            let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(code));
            assert_eq!(selection(true).fall_back(&error), None);
        }
    }
}
