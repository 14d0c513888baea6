//! The system calls of a traced driver, by name: for `--trace` and `ringd tour`.
//!
//! A thread that works for a traced driver has a [`CallLog`], and the threads that it starts
//! inherit it. The wrappers of system calls add to it what they do, with the time it takes. While
//! no driver of the process is traced, a call costs one load and a branch that always goes the same
//! way.
//!
//! The log keeps the last calls only, and counts those before by name: a driver that spins makes
//! hundreds of thousands in a second.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Calls that are kept with their times until they are taken.
const KEPT_MAX: usize = 512;

/// Remarks that are kept until they are taken.
const REMARKS_MAX: usize = 16;

/// Whether a driver of this process is, or was, traced.
static IS_ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    static LOG: RefCell<Option<(CallLog, Caller)>> = const { RefCell::new(None) };
}

/// Who makes a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Caller {
    /// The thread that runs the driver.
    Worker,
    /// A thread that the driver has started, to block in its place.
    Helper,
    /// The kernel, for a submission to the ring. It takes no time of a thread that is known here.
    Ring,
}

/// One system call, or one submission to a ring.
#[derive(Clone, Copy, Debug)]
pub struct MadeCall {
    /// The name in the manual pages; of a submission, that of its operation.
    pub name: &'static str,
    /// Who made it.
    pub by: Caller,
    /// When it began.
    pub began: Instant,
    /// When it returned.
    pub ended: Instant,
    /// Whether it returned "would block" (`EAGAIN`).
    pub would_block: bool,
}

/// What has happened since the last look.
#[derive(Clone, Default, Debug)]
pub(super) struct Calls {
    /// The last calls, in the order of their ends.
    pub(super) last: VecDeque<MadeCall>,
    /// How many came before those, by name.
    pub(super) earlier: Vec<(&'static str, u64)>,
    /// Why the driver does what it does, where that is not obvious.
    pub(super) remarks: Vec<&'static str>,
}

impl Calls {
    /// These calls, and those that came after them.
    pub(super) fn then(mut self, later: Self) -> Self {
        self.last.extend(later.last);
        for (name, more) in later.earlier {
            count(&mut self.earlier, name, more);
        }
        let excess = self.last.len().saturating_sub(KEPT_MAX);
        for call in self.last.drain(..excess) {
            count(&mut self.earlier, call.name, 1);
        }
        self.remarks.extend(later.remarks);
        self
    }
}

/// The calls of one driver. Its clones are the same log.
#[derive(Clone, Default, Debug)]
pub(super) struct CallLog(Arc<Mutex<Calls>>);

impl CallLog {
    /// The log of this thread, which gets one if it has none.
    pub(super) fn of_this_thread() -> Self {
        IS_ON.store(true, Ordering::Relaxed);
        LOG.with_borrow_mut(|log| {
            log.get_or_insert_with(|| (Self::default(), Caller::Worker)).0.clone()
        })
    }

    /// What has happened since the last look.
    pub(super) fn take(&self) -> Calls {
        std::mem::take(&mut *self.lock())
    }

    /// Only the remarks since the last look.
    pub(super) fn take_remarks(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.lock().remarks)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // A panic under the lock cannot leave the log half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, call: MadeCall) {
        let mut calls = self.lock();
        if calls.last.len() == KEPT_MAX
            && let Some(oldest) = calls.last.pop_front()
        {
            count(&mut calls.earlier, oldest.name, 1);
        }
        calls.last.push_back(call);
    }
}

/// Adds to the count of a name. There are few names.
pub(super) fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str, more: u64) {
    match counts.iter_mut().find(|(other, _)| *other == name) {
        Some((_, count)) => *count += more,
        None => counts.push((name, more)),
    }
}

/// What a thread passes on to one that it starts: its log, if it has one.
#[derive(Debug)]
pub(super) struct InheritedLog(Option<CallLog>);

impl InheritedLog {
    /// That of this thread.
    pub(super) fn here() -> Self {
        if !IS_ON.load(Ordering::Relaxed) {
            return Self(None);
        }
        Self(LOG.with_borrow(|log| log.as_ref().map(|(log, _)| log.clone())))
    }

    /// Makes it the log of this thread.
    pub(super) fn accept(self) {
        if let Some(log) = self.0 {
            LOG.set(Some((log, Caller::Helper)));
        }
    }
}

/// Makes a call that returns an error if it would block.
#[inline]
pub(super) fn made<T>(name: &'static str, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if !IS_ON.load(Ordering::Relaxed) {
        return call();
    }
    let began = Instant::now();
    let result = call();
    let would_block = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    enter(name, began, would_block);
    result
}

/// Makes a call that returns no error that matters here.
#[inline]
pub(super) fn done<T>(name: &'static str, call: impl FnOnce() -> T) -> T {
    if !IS_ON.load(Ordering::Relaxed) {
        return call();
    }
    let began = Instant::now();
    let result = call();
    enter(name, began, false);
    result
}

/// Notes a submission to a ring.
#[inline]
pub(super) fn submitted(name: impl FnOnce() -> &'static str) {
    if IS_ON.load(Ordering::Relaxed) {
        let (name, now) = (name(), Instant::now());
        with_log(|log, _| {
            log.add(MadeCall {
                name,
                by: Caller::Ring,
                began: now,
                ended: now,
                would_block: false,
            });
        });
    }
}

/// Says why the driver does what it does.
#[inline]
pub(super) fn remark(why: &'static str) {
    if IS_ON.load(Ordering::Relaxed) {
        with_log(|log, _| {
            let mut calls = log.lock();
            if calls.remarks.len() < REMARKS_MAX {
                calls.remarks.push(why);
            }
        });
    }
}

#[cold]
fn enter(name: &'static str, began: Instant, would_block: bool) {
    let ended = Instant::now();
    with_log(|log, by| log.add(MadeCall { name, by, began, ended, would_block }));
}

fn with_log(then: impl FnOnce(&CallLog, Caller)) {
    LOG.with_borrow(|log| {
        if let Some((log, by)) = log {
            then(log, *by);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn calls_of_a_thread_and_of_those_that_it_starts_are_in_one_log() {
        let in_thread = thread::spawn(|| {
            let log = CallLog::of_this_thread();
            let blocked: io::Result<()> = made("recv", || Err(io::ErrorKind::WouldBlock.into()));
            blocked.unwrap_err();
            let inherited = InheritedLog::here();
            let helper = thread::spawn(move || {
                inherited.accept();
                done("close", || ());
                remark("because");
            });
            helper.join().unwrap();
            log.take()
        });
        // A thread without a log makes the call, and notes nothing.
        assert_eq!(done("sendto", || 5), 5);
        let calls = in_thread.join().unwrap();
        let seen: Vec<_> =
            calls.last.iter().map(|call| (call.name, call.by, call.would_block)).collect();
        let expected = [("recv", Caller::Worker, true), ("close", Caller::Helper, false)];
        assert_eq!((seen.as_slice(), calls.remarks.as_slice()), (&expected[..], &["because"][..]));
        assert!(calls.last.iter().all(|call| call.began <= call.ended));
    }

    #[test]
    fn the_log_is_bounded() {
        let calls = thread::spawn(|| {
            let log = CallLog::of_this_thread();
            (0..2 * KEPT_MAX).for_each(|_| done("sched_yield", || ()));
            (0..2 * REMARKS_MAX).for_each(|_| remark("again"));
            log.take()
        });
        let calls = calls.join().unwrap();
        assert_eq!((calls.last.len(), calls.remarks.len()), (KEPT_MAX, REMARKS_MAX));
        assert_eq!(calls.earlier, [("sched_yield", KEPT_MAX as u64)]);
    }
}
