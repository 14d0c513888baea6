//! The mailbox on which the driver sleeps: threads post their answers to it, and wakers their
//! wakes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::job::{Calls, JobResult};
use crate::driver::call_log::done;
use crate::driver::slot_map::Handle;
use crate::driver::waker::Notifier;

/// Marks the handles of threads.
#[derive(Debug)]
pub(super) enum IoThread {}

/// The result of a job.
#[derive(Debug)]
pub(super) struct ThreadAnswer {
    /// The thread, which is idle now.
    pub(super) thread: Handle<IoThread>,
    pub(super) result: JobResult,
    pub(super) calls: Calls,
}

/// A mailbox with one reader; see the module documentation.
#[derive(Debug, Default)]
pub(super) struct ThreadMailbox {
    mail: Mutex<Mail>,
    changed: Condvar,
}

/// Invariant: each thread has at most one answer here.
#[derive(Debug, Default)]
struct Mail {
    answers: Vec<ThreadAnswer>,
    woken: bool,
    /// The job thread has answers, which it stores itself.
    jobs_done: bool,
    /// The reader is gone.
    closed: bool,
    /// The reader sleeps and must be notified. If it does not sleep, that system call is saved.
    asleep: bool,
    /// Jobs that threads have begun.
    begun: u64,
    /// The value of `begun` that the reader waits for; 0 for none.
    begun_awaited: u64,
}

/// What the mailbox received besides the answers of threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    /// A wake.
    pub(super) woken: bool,
    /// The job thread has answers.
    pub(super) jobs_done: bool,
}

/// Notifies the mailbox that the job thread has answers.
#[derive(Debug)]
pub(super) struct JobNotifier(pub(super) Arc<ThreadMailbox>);

impl Notifier for JobNotifier {
    fn notify(&self) {
        self.0.change(|mail| mail.jobs_done = true);
    }
}

impl ThreadMailbox {
    /// Posts an answer, or drops it if the reader is gone.
    pub(super) fn post(&self, answer: ThreadAnswer) {
        let unread = self.change(|mail| match mail.closed {
            true => Some(answer),
            false => {
                mail.answers.push(answer);
                None
            }
        });
        // Outside the lock, because this may close files.
        drop(unread);
    }

    /// Drops the unread answers, and all later ones: wakers may keep the mailbox alive for any
    /// time, but must not keep connections and files open.
    pub(super) fn close(&self) {
        let unread = self.change(|mail| {
            mail.closed = true;
            std::mem::take(&mut mail.answers)
        });
        drop(unread);
    }

    /// Notes that a thread has begun its job.
    pub(super) fn begin(&self) {
        let mut mail = self.lock();
        mail.begun += 1;
        let awaited = mail.begun == mail.begun_awaited;
        drop(mail);
        if awaited {
            self.changed.notify_one();
        }
    }

    /// Waits until `count` jobs have been begun. Returns whether it slept.
    pub(super) fn wait_begun(&self, count: u64) -> bool {
        let mut mail = self.lock();
        let slept = mail.begun < count;
        mail.begun_awaited = count;
        while mail.begun < count {
            mail = self.changed.wait(mail).unwrap_or_else(PoisonError::into_inner);
        }
        mail.begun_awaited = 0;
        slept
    }

    /// Moves the answers to `answers`, which is empty, and returns what else has arrived.
    pub(super) fn collect(&self, answers: &mut Vec<ThreadAnswer>) -> News {
        let mut mail = self.lock();
        std::mem::swap(&mut mail.answers, answers);
        let (woken, jobs_done) = (mail.woken, mail.jobs_done);
        (mail.woken, mail.jobs_done) = (false, false);
        News { woken, jobs_done }
    }

    /// Waits until the mailbox has something, at most until `until`. Returns whether it slept.
    pub(super) fn sleep(&self, until: Option<Instant>) -> bool {
        let mut mail = self.lock();
        let mut slept = false;
        while mail.answers.is_empty() && !mail.woken && !mail.jobs_done {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            (mail.asleep, slept) = (true, true);
            mail = match left {
                None => {
                    let woken = done("futex", || self.changed.wait(mail));
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Some(left) => {
                    let woken = done("futex", || self.changed.wait_timeout(mail, left));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            mail.asleep = false;
        }
        slept
    }

    fn change<T>(&self, change: impl FnOnce(&mut Mail) -> T) -> T {
        let mut mail = self.lock();
        let result = change(&mut mail);
        let asleep = std::mem::take(&mut mail.asleep);
        drop(mail);
        if asleep {
            self.changed.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        // A panic under the lock cannot leave the mail half changed.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier for ThreadMailbox {
    fn notify(&self) {
        self.change(|mail| mail.woken = true);
    }
}
