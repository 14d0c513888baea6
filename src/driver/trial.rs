//! Trials: something is asked of the kernel, once, to see whether it works here.
//!
//! Each runs on a thread of its own, because a ring belongs to its thread, and for a bounded time,
//! because a sandbox may leave a call without an answer. A thread that hangs is left behind.

use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::setup::code_of;

/// How long one trial may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(2);

/// Locked memory of a ring that was closed comes back a little later: how often, and after which
/// pause, a trial that found it short is repeated.
const SHORT_MEMORY: (u32, Duration) = (10, Duration::from_millis(20));

/// Something that may be asked of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Its name for machines.
    pub id: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The system call that it is about.
    pub call: &'static str,
    /// The version of Linux that brought it.
    pub since: (u32, u32),
    /// Who needs it.
    pub need: Need,
    /// What it is like without it.
    pub without: &'static str,
    pub(super) attempt: fn() -> io::Result<()>,
}

/// Who needs something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Whoever serves.
    Serving,
    /// The proactor; without it, a reactor takes its place.
    Uring,
    /// Who wants to be served well.
    Quality,
    /// Nobody: there is another way, at a small cost.
    Extra,
}

impl Trial {
    /// Tries it.
    ///
    /// # Errors
    ///
    /// What the kernel said; that it said nothing for two seconds (`TimedOut`); or an error
    /// that [`is_untried`] knows.
    pub fn run(&self) -> io::Result<()> {
        let attempt = self.attempt;
        bounded(TIME_MAX, move || with_memory(attempt)).and_then(|result| result)
    }
}

/// The reason why something could not be tried: what the trial itself needs is not there.
#[derive(Debug)]
struct Untried(io::Error);

impl fmt::Display for Untried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Untried {}

/// Marks an error as one of the trial, not of what is tried.
pub(super) fn untried(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Untried(error))
}

/// Whether an error says that something could not be tried, rather than that it does not work.
pub fn is_untried(error: &io::Error) -> bool {
    error.get_ref().and_then(|cause| cause.downcast_ref::<Untried>()).is_some()
}

/// Runs `work` on a thread of its own.
///
/// # Errors
///
/// When there can be no thread, when the work panics, or when `time` is over first.
pub(super) fn bounded<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = channel();
    let started = thread::Builder::new().name("trial".into()).spawn(move || {
        // Nobody listens any more when the time is over.
        let _ = done.send(work());
    });
    started.map_err(|error| untried(no_thread(&error)))?;
    result.recv_timeout(time).map_err(|error| match error {
        RecvTimeoutError::Timeout => no_answer(time),
        RecvTimeoutError::Disconnected => io::Error::other("the trial panicked"),
    })
}

/// The error of a trial that has no thread to run on.
pub(super) fn no_thread(error: &io::Error) -> io::Error {
    let message = format!("no thread for it: {error}; ulimit -u raises the limit of processes");
    io::Error::new(error.kind(), message)
}

/// The error of what did not come in time.
pub(super) fn no_answer(time: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", time.as_secs()))
}

/// Repeats what fails for want of locked memory, for a while.
pub fn with_memory<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let (times, pause) = SHORT_MEMORY;
    for _ in 0..times {
        match attempt() {
            Err(error) if code_of(&error) == Some(libc::ENOMEM) => thread::sleep(pause),
            result => return result,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_or_panics_is_an_error() {
        let (hold, held) = channel::<()>();
        let hangs = bounded(Duration::from_millis(10), move || held.recv());
        assert_eq!(hangs.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(hold);
        let panics = bounded(TIME_MAX, || assert_eq!(1, 2, "a panic that is meant to be"));
        assert_eq!(panics.unwrap_err().to_string(), "the trial panicked");
        assert_eq!(bounded(TIME_MAX, || 7).unwrap(), 7);
    }

    #[test]
    fn short_memory_is_waited_for_and_other_errors_are_not() {
        let mut left = vec![Ok(()), Err(libc::ENOMEM), Err(libc::ENOMEM)];
        let mut next = || left.pop().unwrap().map_err(io::Error::from_raw_os_error);
        assert!(with_memory(&mut next).is_ok());
        let mut calls = 0;
        let denied = with_memory::<()>(|| {
            calls += 1;
            Err(io::Error::from_raw_os_error(libc::EPERM))
        });
        assert_eq!((denied.unwrap_err().raw_os_error(), calls), (Some(libc::EPERM), 1));
    }
}
