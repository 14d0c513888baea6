//! The threads: they grow in number when a job finds none idle, and leave when they are idle for
//! long.
//!
//! Each thread has a channel of its own for jobs, and tells by its answer that it is idle. So who
//! is idle is known to the driver alone, without a lock. The thread that became idle last is
//! taken first: its stack is in the caches, and the others can be let go.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::job::{BlockingJob, Calls};
use super::mailbox::{IoThread, ThreadAnswer, ThreadMailbox};
use crate::driver::slot_map::{Handle, SlotMap};

/// Stack of a thread, in bytes. It makes system calls and little else.
const STACK_BYTES: usize = 64 * 1024;

/// The name of the threads, as `top -H` shows it.
pub(super) const NAME: &str = "ringd-io";

/// How long an idle thread is kept.
pub(super) const IDLE_KEPT: Duration = Duration::from_secs(5);

/// How long a drop waits for the threads to end.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// The threads of one driver; see the module documentation.
#[derive(Debug)]
pub(super) struct ThreadPool {
    threads: SlotMap<PoolThread, IoThread>,
    /// Since when they are idle, in this order.
    idle: VecDeque<(Instant, Handle<IoThread>)>,
    /// Jobs given so far.
    given: u64,
    mailbox: Arc<ThreadMailbox>,
    /// Shared with other pools.
    budget: &'static Budget,
}

#[derive(Debug)]
struct PoolThread {
    /// The thread ends when this is dropped.
    jobs: SyncSender<(Handle<IoThread>, BlockingJob)>,
    thread: JoinHandle<()>,
}

impl ThreadPool {
    /// No thread yet, and at most `threads_max` of them, each with a place in `budget`. They
    /// answer to `mailbox`.
    pub(super) fn new(
        threads_max: u32,
        budget: &'static Budget,
        mailbox: Arc<ThreadMailbox>,
    ) -> Self {
        let threads = SlotMap::marked(threads_max);
        Self { threads, idle: VecDeque::new(), given: 0, mailbox, budget }
    }

    /// A thread that is to be given a job at once.
    ///
    /// # Errors
    ///
    /// When none is idle, and one more cannot be had.
    pub(super) fn acquire(&mut self) -> io::Result<Handle<IoThread>> {
        if let Some((_, thread)) = self.idle.pop_back() {
            return Ok(thread);
        }
        if self.threads.is_full() {
            let reason = format!("all {} threads are blocked", self.threads.len());
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        let place = self.budget.take()?;
        // Room for one: whoever has a job is not given another.
        let (jobs, receiver) = sync_channel(1);
        let mailbox = Arc::clone(&self.mailbox);
        let thread = thread::Builder::new()
            .name(NAME.into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                work(&receiver, &mailbox);
                drop(place);
            })
            .map_err(|error| refused(self.threads.len(), &error))?;
        let pool_thread = PoolThread { jobs, thread };
        Ok(self.threads.insert(pool_thread).expect("there is room, as was just seen"))
    }

    /// Gives a thread that was just acquired its job.
    pub(super) fn submit(&mut self, thread: Handle<IoThread>, job: BlockingJob) {
        let pool_thread = self.threads.get(thread).expect("it was just acquired");
        let given = pool_thread.jobs.try_send((thread, job));
        given.expect("an idle thread waits for a job");
        self.given += 1;
    }

    /// Waits until the threads have begun what they were given, and leaves them the CPU for it;
    /// gives the number of system calls.
    pub(super) fn wait_begun(&self) -> u64 {
        let slept = self.mailbox.wait_begun(self.given);
        // Whoever has just told that it begins may have lost its CPU to this thread.
        thread::yield_now();
        1 + u64::from(slept)
    }

    /// Notes that a thread has answered.
    pub(super) fn release(&mut self, thread: Handle<IoThread>, now: Instant) {
        self.idle.push_back((now, thread));
        let (idle, all) = (self.idle.len(), self.threads.len());
        assert!(idle <= all as usize, "{idle} idle threads of {all}");
    }

    /// When the next thread will have been idle for long.
    pub(super) fn next_leave(&self) -> Option<Instant> {
        self.idle.front().map(|(since, _)| *since + IDLE_KEPT)
    }

    /// Lets threads go that have been idle for long.
    pub(super) fn let_go(&mut self, now: Instant) {
        while self.next_leave().is_some_and(|due| due <= now) {
            let Some((_, thread)) = self.idle.pop_front() else { break };
            // It ends by itself and at once. Its stack is freed then, as nobody can join it.
            drop(self.threads.remove(thread).expect("it is idle"));
        }
    }

    /// Lets all threads go and waits for their end, within a bound. What they wait for was ended
    /// before, except for disks: a thread that is stuck there ends later, with all that it holds.
    pub(super) fn shut_down(&mut self) {
        let threads = std::mem::replace(&mut self.threads, SlotMap::marked(0));
        let leaving: Vec<_> = threads.into_values().map(|pool_thread| pool_thread.thread).collect();
        self.idle.clear();
        let until = Instant::now() + DROP_WAIT;
        while !leaving.iter().all(JoinHandle::is_finished) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        for thread in leaving.into_iter().filter(JoinHandle::is_finished) {
            // It returns nothing, and nothing follows from a panic any more.
            let _ = thread.join();
        }
    }
}

/// The life of a thread.
fn work(jobs: &Receiver<(Handle<IoThread>, BlockingJob)>, mailbox: &ThreadMailbox) {
    while let Ok((thread, job)) = jobs.recv() {
        mailbox.begin();
        let mut calls = Calls::default();
        let result = job.perform(&mut calls);
        mailbox.post(ThreadAnswer { thread, result, calls });
    }
}

/// The machine gives no more threads.
fn refused(threads: u32, error: &io::Error) -> io::Error {
    let reason = format!(
        "no thread for a blocking call beside {threads} others: {error}; raise the limit \
         (ulimit -u, pids.max of the control group), or take another driver"
    );
    io::Error::new(error.kind(), reason)
}
