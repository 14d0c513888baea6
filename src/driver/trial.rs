//! Trials: single requests to the kernel that show whether a feature works on this machine.
//!
//! Each trial runs on a thread of its own, because a ring belongs to its thread, and for a bounded
//! time, because a call in a sandbox may never return. A thread that hangs is abandoned.

use std::fmt;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::setup::code_of;

/// How long one trial may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(2);

/// The kernel returns the locked memory of a closed ring a little later. So a trial that lacks
/// locked memory is repeated: this many times, each after this pause.
const SHORT_MEMORY: (u32, Duration) = (10, Duration::from_millis(20));

/// A feature of the kernel, and how to try it.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Its name in output for machines.
    pub id: &'static str,
    /// Its name in output for people.
    pub title: &'static str,
    /// The system call that provides it.
    pub call: &'static str,
    /// The first version of Linux that has it.
    pub since: (u32, u32),
    /// Who needs it.
    pub need: Need,
    /// The consequence of its absence.
    pub without: &'static str,
    pub(super) attempt: fn() -> io::Result<()>,
}

/// Who needs a feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Every server.
    Serving,
    /// The proactor; without it, a reactor takes its place.
    Uring,
    /// No server, but the service is worse without it.
    Quality,
    /// No server: there is another way, at a small cost.
    Extra,
}

impl Trial {
    /// Tries the feature.
    ///
    /// # Errors
    ///
    /// The error of the kernel; `TimedOut` after two seconds without an answer; or an error that
    /// [`is_untried`] recognises.
    pub fn run(&self) -> io::Result<()> {
        let attempt = self.attempt;
        bounded(TIME_MAX, move || with_memory(attempt)).and_then(|result| result)
    }
}

/// Why a trial could not run: something that only the trial needs is missing.
#[derive(Debug)]
struct Untried(io::Error);

impl fmt::Display for Untried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Untried {}

/// Marks an error as one of the trial, not of the feature.
pub(super) fn untried(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Untried(error))
}

/// Whether an error means that the trial could not run, rather than that the feature does not work.
pub fn is_untried(error: &io::Error) -> bool {
    error.get_ref().and_then(|cause| cause.downcast_ref::<Untried>()).is_some()
}

/// Runs `work` on a thread of its own.
///
/// # Errors
///
/// If no thread can be started, if the work panics, or if `time` is over first.
pub(super) fn bounded<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = channel();
    let started = thread::Builder::new().name("trial".into()).spawn(move || {
        // The receiver is gone if the time is over.
        let _ = done.send(work());
    });
    started.map_err(|error| untried(no_thread(&error)))?;
    result.recv_timeout(time).map_err(|error| match error {
        RecvTimeoutError::Timeout => no_answer(time),
        RecvTimeoutError::Disconnected => io::Error::other("the trial panicked"),
    })
}

/// The error of a trial for which no thread could be started.
pub(super) fn no_thread(error: &io::Error) -> io::Error {
    let message = format!("cannot start a thread: {error}; raise the limit with ulimit -u");
    io::Error::new(error.kind(), message)
}

/// The error of a result that did not come in time.
pub(super) fn no_answer(time: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", time.as_secs()))
}

/// Repeats, for a while, an attempt that fails for lack of locked memory.
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
        let panics = bounded(TIME_MAX, || assert_eq!(1, 2, "an intended panic"));
        assert_eq!(panics.unwrap_err().to_string(), "the trial panicked");
        assert_eq!(bounded(TIME_MAX, || 7).unwrap(), 7);
    }

    #[test]
    fn only_a_lack_of_memory_is_retried() {
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
