//! Which driver works here: found out by using it, once, before the server starts.
//!
//! Kernel versions and feature bits say little about a sandbox that allows one of io_uring's
//! calls and denies another. So the proactor is made to receive, send, wait and wake on a pair
//! of sockets; only then is it chosen.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::setup::{code_of, step_failed};
use super::uring::Uring;
use super::{Chain, Driver, Limits, Op, Outcome, Token};

/// How long the self-test may take before the driver counts as broken.
const SELF_TEST: Duration = Duration::from_secs(2);

/// The drivers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The proactor on io_uring.
    Uring,
    /// The reactor on epoll, edge-triggered.
    Epoll,
    /// The reactor on epoll, level-triggered.
    EpollLevel,
}

impl Kind {
    /// All drivers, the best first.
    pub const ALL: [Self; 3] = [Self::Uring, Self::Epoll, Self::EpollLevel];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::EpollLevel => "epoll-lt",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A driver, and why it is this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The driver.
    pub kind: Kind,
    /// Why, in a few words.
    pub why: String,
    /// Whether another driver may take its place.
    pub replaceable: bool,
}

impl Choice {
    /// Chooses a driver: the one that is asked for, or the best that works.
    ///
    /// # Errors
    ///
    /// When the driver that is asked for does not work here.
    pub fn make(wish: Option<Kind>) -> io::Result<Self> {
        match wish {
            Some(kind) => {
                if kind == Kind::Uring {
                    test_uring()?;
                }
                Ok(Self { kind, why: "as asked".into(), replaceable: false })
            }
            None => {
                let why = "io_uring passed its self-test".into();
                let best = Self { kind: Kind::Uring, why, replaceable: true };
                match test_uring() {
                    Ok(()) => Ok(best),
                    Err(error) => match best.fall_back(&error) {
                        Some(choice) => Ok(choice),
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
        Some(Self { kind: Kind::Epoll, why: error.to_string(), replaceable: false })
    }
}

/// Uses the proactor once, on a thread of its own, because a ring belongs to its thread.
fn test_uring() -> io::Result<()> {
    let test = thread::Builder::new().name("self-test".into()).spawn(use_uring)?;
    test.join().unwrap_or_else(|_| Err(io::Error::other("the self-test of io_uring panicked")))
}

fn use_uring() -> io::Result<()> {
    let limits = Limits { sockets_max: 4, buffers: 4, buffer_bytes: 4096, ..Limits::default() };
    let mut driver = Uring::open(&limits)?;
    let (mut peer, socket) = UnixStream::pair()?;
    let sock = driver.adopt(socket.into())?;
    driver.submit(Token(0), Op::RecvMany { sock });
    peer.write_all(b"ping")?;
    let mut received = false;
    let mut woken = false;
    driver.waker().wake();
    let mut batch = Vec::new();
    let until = Instant::now() + SELF_TEST;
    while !(received && woken) {
        if Instant::now() > until {
            return Err(step_failed("io_uring", &io::ErrorKind::TimedOut.into()));
        }
        driver.wait(Some(Duration::from_millis(10)), &mut batch)?;
        for completion in batch.drain(..) {
            match completion.outcome {
                Outcome::Received(lease) => {
                    received |= lease?.is_some_and(|lease| *lease == *b"ping");
                }
                Outcome::Woken => woken = true,
                _ => {}
            }
        }
    }
    let mut chain = Box::new(Chain::new());
    chain.copy(b"pong");
    driver.submit(Token(0), Op::Send { sock, chain, fin: false });
    driver.wait(Some(SELF_TEST), &mut batch)?;
    let mut answer = [0; 4];
    peer.set_read_timeout(Some(SELF_TEST))?;
    peer.read_exact(&mut answer)?;
    match &answer {
        b"pong" => Ok(()),
        _ => Err(io::Error::other("io_uring sent something else than it was given")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(replaceable: bool) -> Choice {
        Choice { kind: Kind::Uring, why: String::new(), replaceable }
    }

    #[test]
    fn a_driver_that_was_asked_for_is_never_replaced() {
        let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(choice(false).fall_back(&error), None);
    }

    #[test]
    fn a_fallback_says_which_step_failed_and_why() {
        let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(libc::EPERM));
        let fallback = choice(true).fall_back(&error).unwrap();
        assert_eq!(fallback.kind, Kind::Epoll);
        assert_eq!(
            fallback.why,
            "io_uring_setup: EPERM; blocked by seccomp or kernel.io_uring_disabled, \
             see ringd --help"
        );
    }

    #[test]
    fn short_descriptors_are_an_error_and_no_reason_to_fall_back() {
        for code in [libc::EMFILE, libc::ENFILE] {
            let error = step_failed("io_uring_setup", &io::Error::from_raw_os_error(code));
            assert_eq!(choice(true).fall_back(&error), None);
        }
    }
}
