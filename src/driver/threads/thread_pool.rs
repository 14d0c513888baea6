//! The thread pool: it grows if no thread is idle, and ends threads that have been idle for long.
//!
//! Each thread has its own channel of jobs, and is idle again when it answers. So the driver knows
//! the idle threads without a lock. It reuses the thread that became idle last: its stack is still
//! in the caches, and the other threads stay idle until they end.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::job::{BlockingJob, Calls};
use super::mailbox::{IoThread, ThreadAnswer, ThreadMailbox};
use crate::driver::call_log::InheritedLog;
use crate::driver::slot_map::{Handle, SlotMap};

/// The stack of a thread, in bytes. A thread does little besides system calls.
const STACK_BYTES: usize = 64 * 1024;

/// The name of the threads, which `top -H` shows.
const NAME: &str = "ringd-io";

/// How long an idle thread is kept.
pub(super) const IDLE_KEPT: Duration = Duration::from_secs(5);

/// How long a drop waits for the threads to end.
const DROP_WAIT: Duration = Duration::from_secs(1);

/// The threads of one driver; see the module documentation.
#[derive(Debug)]
pub(super) struct ThreadPool {
    threads: SlotMap<PoolThread, IoThread>,
    /// Idle threads, and since when; the longest idle first.
    idle: VecDeque<(Instant, Handle<IoThread>)>,
    /// Jobs submitted so far.
    given: u64,
    mailbox: Arc<ThreadMailbox>,
    /// Shared with the pools of other drivers.
    budget: &'static Budget,
}

#[derive(Debug)]
struct PoolThread {
    /// The thread ends when this is dropped.
    jobs: SyncSender<(Handle<IoThread>, BlockingJob)>,
    thread: JoinHandle<()>,
}

impl ThreadPool {
    /// An empty pool of at most `threads_max` threads, each with a permit of `budget`. The threads
    /// post their answers to `mailbox`.
    pub(super) fn new(
        threads_max: u32,
        budget: &'static Budget,
        mailbox: Arc<ThreadMailbox>,
    ) -> Self {
        let threads = SlotMap::marked(threads_max);
        Self { threads, idle: VecDeque::new(), given: 0, mailbox, budget }
    }

    /// Takes an idle thread, or starts one. The caller submits a job to it at once.
    ///
    /// # Errors
    ///
    /// When no thread is idle, and none can be started.
    pub(super) fn acquire(&mut self) -> io::Result<Handle<IoThread>> {
        if let Some((_, thread)) = self.idle.pop_back() {
            return Ok(thread);
        }
        if self.threads.is_full() {
            let reason = format!("all {} threads are blocked", self.threads.len());
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        let place = self.budget.take()?;
        // Capacity one suffices, because a thread has at most one job.
        let (jobs, receiver) = sync_channel(1);
        let mailbox = Arc::clone(&self.mailbox);
        let log = InheritedLog::here();
        let thread = thread::Builder::new()
            .name(NAME.into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                log.accept();
                work(&receiver, &mailbox);
                drop(place);
            })
            .map_err(|error| refused(self.threads.len(), &error))?;
        let pool_thread = PoolThread { jobs, thread };
        Ok(self.threads.insert(pool_thread).expect("the table is not full"))
    }

    /// Starts `count` threads, which are idle.
    ///
    /// # Errors
    ///
    /// When one of them cannot be started.
    pub(super) fn start(&mut self, count: usize) -> io::Result<()> {
        let started: Vec<_> = (0..count).map(|_| self.acquire()).collect::<io::Result<_>>()?;
        let now = Instant::now();
        started.into_iter().for_each(|thread| self.release(thread, now));
        Ok(())
    }

    /// Submits a job to a thread that was just acquired.
    pub(super) fn submit(&mut self, thread: Handle<IoThread>, job: BlockingJob) {
        let pool_thread = self.threads.get(thread).expect("it was just acquired");
        let given = pool_thread.jobs.try_send((thread, job));
        given.expect("the channel of an idle thread is empty");
        self.given += 1;
    }

    /// Waits until the threads have begun all submitted jobs, and yields the CPU to them. Returns
    /// the number of system calls.
    pub(super) fn wait_begun(&self) -> u64 {
        let slept = self.mailbox.wait_begun(self.given);
        // The thread that began last may have lost its CPU to this one.
        thread::yield_now();
        1 + u64::from(slept)
    }

    /// Notes that a thread has answered.
    pub(super) fn release(&mut self, thread: Handle<IoThread>, now: Instant) {
        self.idle.push_back((now, thread));
        let (idle, all) = (self.idle.len(), self.threads.len());
        assert!(idle <= all as usize, "{idle} idle threads of {all}");
    }

    /// When the next idle thread is due to end.
    pub(super) fn next_leave(&self) -> Option<Instant> {
        self.idle.front().map(|(since, _)| *since + IDLE_KEPT)
    }

    /// Ends the threads that have been idle for [`IDLE_KEPT`].
    pub(super) fn end_idle(&mut self, now: Instant) {
        while self.next_leave().is_some_and(|due| due <= now) {
            let Some((_, thread)) = self.idle.pop_front() else { break };
            // The thread ends when its channel closes. Detached, it frees its own stack.
            drop(self.threads.remove(thread).expect("it is idle"));
        }
    }

    /// Ends all threads and waits for them, within a bound. The caller has ended all blocked calls,
    /// except on disks: a thread that is stuck there ends later, and then drops what it holds.
    pub(super) fn shut_down(&mut self) {
        let threads = std::mem::replace(&mut self.threads, SlotMap::marked(0));
        let leaving: Vec<_> = threads.into_values().map(|pool_thread| pool_thread.thread).collect();
        self.idle.clear();
        let until = Instant::now() + DROP_WAIT;
        while !leaving.iter().all(JoinHandle::is_finished) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        for thread in leaving.into_iter().filter(JoinHandle::is_finished) {
            // The thread returns nothing, and a panic no longer matters here.
            let _ = thread.join();
        }
    }
}

/// The loop of a thread: performs jobs until the pool drops its channel.
fn work(jobs: &Receiver<(Handle<IoThread>, BlockingJob)>, mailbox: &ThreadMailbox) {
    while let Ok((thread, job)) = jobs.recv() {
        mailbox.begin();
        let mut calls = Calls::default();
        let result = job.perform(&mut calls);
        mailbox.post(ThreadAnswer { thread, result, calls });
    }
}

/// The error if the machine refuses to start another thread.
fn refused(threads: u32, error: &io::Error) -> io::Error {
    let reason = format!(
        "cannot start a thread for a blocking call in addition to {threads} others: {error}; \
         raise the limit (ulimit -u, pids.max of the control group), or use another driver"
    );
    io::Error::new(error.kind(), reason)
}
