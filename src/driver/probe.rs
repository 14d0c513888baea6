//! Tests whether a driver works on this machine, by using it.
//!
//! Kernel versions and feature bits say little about a sandbox that allows one io_uring call and
//! denies another. So the probe makes a driver do what the server will ask of it, step by step, on
//! sockets of its own: on the chosen driver before the server starts ([`self_test`]), and for
//! `ringd doctor` on all drivers.

mod step;
mod steps;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::trial::{TIME_MAX, bounded, is_untried, no_answer, no_thread, untried, with_memory};
use super::{Driver, DriverKind, Limits, Visitor};
use steps::Tester;

pub use step::ProbeStep;

/// More free sockets than the proactor needs to use a multishot accept.
const LIMITS: Limits = Limits {
    sockets_max: 2048,
    buffers: 4,
    buffer_bytes: 4096,
    turn_bytes_max: 1 << 20,
    restricted: false,
};

/// The result of each step that was taken.
pub type Taken = Vec<(ProbeStep, io::Result<()>)>;

/// Tests a driver before the server starts, with a ring that is as restricted as that of the
/// server.
///
/// # Errors
///
/// The error of the first step that failed, which names the system call if that is known. A step
/// that could not be tried is no error: something failed that the server does not need.
pub(super) fn self_test(kind: DriverKind, restricted: bool) -> io::Result<()> {
    for (step, result) in exercise_with(kind, Limits { restricted, ..LIMITS }) {
        match result {
            Err(error) if step == ProbeStep::Open || !is_untried(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Takes all steps on a driver. Ends early if it cannot be opened or does not complete a step in
/// time.
pub fn exercise(kind: DriverKind) -> Taken {
    exercise_with(kind, LIMITS)
}

fn exercise_with(kind: DriverKind, limits: Limits) -> Taken {
    let (sender, receiver) = channel();
    let course = Course { kind, limits, sender };
    let thread = thread::Builder::new().name("trial".into());
    if let Err(error) = thread.spawn(move || kind.visit(course)) {
        return vec![(ProbeStep::Open, Err(untried(no_thread(&error))))];
    }
    take(&receiver)
}

/// Opens `count` drivers at the same time, as that many workers do.
///
/// # Errors
///
/// The error of the first driver that cannot be opened.
pub fn open_many(kind: DriverKind, count: usize) -> io::Result<()> {
    let time = TIME_MAX + Duration::from_millis(10) * count as u32;
    bounded(time, move || kind.visit(Many(count))).and_then(|result| result)
}

struct Many(usize);

impl Visitor for Many {
    type Out = io::Result<()>;

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> io::Result<()> {
        let limits = Limits { sockets_max: 64, ..Limits::default() };
        with_memory(|| (0..self.0).map(|_| open(&limits)).collect::<io::Result<Vec<_>>>().map(drop))
    }
}

/// Receives the results of the steps, as far as they come.
fn take(receiver: &Receiver<io::Result<()>>) -> Taken {
    let mut taken = Taken::new();
    for step in std::iter::once(&ProbeStep::Open).chain(&ProbeStep::USES) {
        let result = wait_for_step(receiver);
        let failed = result.as_ref().err().map(io::Error::kind);
        taken.push((*step, result));
        match failed {
            // The step may take long, or forever.
            Some(io::ErrorKind::TimedOut) => return taken,
            Some(_) if *step == ProbeStep::Open => break,
            _ => {}
        }
    }
    // The sender is dropped after the driver, whose locked memory the next driver may need.
    let _ = receiver.recv_timeout(TIME_MAX);
    taken
}

/// The result of a step. A step limits its own time; this limit is for calls that never return.
fn wait_for_step(receiver: &Receiver<io::Result<()>>) -> io::Result<()> {
    receiver.recv_timeout(2 * TIME_MAX).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => no_answer(2 * TIME_MAX),
            RecvTimeoutError::Disconnected => io::Error::other("the probe of the driver panicked"),
        })
    })
}

/// The driver to test, and the receiver of the results. Outlives the driver.
struct Course {
    kind: DriverKind,
    limits: Limits,
    sender: Sender<io::Result<()>>,
}

impl Visitor for Course {
    type Out = ();

    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) {
        let driver = match with_memory(|| open(&self.limits)) {
            Ok(driver) => driver,
            Err(error) => return drop(self.sender.send(Err(error))),
        };
        // The receiver is gone if a step took too long.
        let mut listens = self.sender.send(Ok(())).is_ok();
        let mut tester = Tester::new(driver, self.kind);
        for step in ProbeStep::USES {
            if !listens {
                return;
            }
            listens = self.sender.send(tester.take(step)).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_that_opens_passes_every_step() {
        for kind in DriverKind::ALL {
            let taken = exercise(kind);
            if let [(ProbeStep::Open, Err(error))] = &taken[..] {
                println!("skipped: {kind} does not work here: {error}");
                continue;
            }
            let failed: Vec<_> = taken.iter().filter(|(_, result)| result.is_err()).collect();
            assert!(failed.is_empty(), "{kind}: {failed:?}");
            assert_eq!(taken.len(), 1 + ProbeStep::USES.len());
            // A thread has one queue of signals, so it can have only one such driver.
            if kind != DriverKind::Sigio {
                open_many(kind, 2).unwrap();
            }
        }
    }
}
