//! The access log: a line for each response that has left, or has been cut off.
//!
//! ```text
//! WorkerLog -- pages --> writer thread -- write(2) --> file, pipe
//!     ^------- empty pages --'
//! ```
//!
//! Workers never wait for the log, and allocate nothing per line: lines go into pages that come
//! back. If the thread is too slow, lines are dropped and counted.
//!
//! | file | content |
//! | --- | --- |
//! | `format.rs` | which values a line has |
//! | `line.rs`, `escape.rs`, `clock.rs` | the line; its texts and its times |
//! | `pages.rs`, `writer.rs` | lines on their way to the file, and the thread that writes them |

mod clock;
mod escape;
pub(super) mod format;
mod line;
mod pages;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use crate::driver::Now;
use crate::late_thread::LateThread;
use crate::log_output::LogTarget;
use crate::signal_mask::block_signals;
use clock::LogClock;
use pages::{LineCounts, PAGES_MAX, Work, WorkerPages};
use writer::Writer;

pub use format::{FormatError, LogFormat};
pub(super) use line::LogLine;
pub use writer::LogTrouble;

/// Stack size of the thread, in bytes. What it writes is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// How long a flush waits for room among what the thread has to do.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How many requests to the thread wait besides pages.
const REQUESTS_MAX: usize = 8;

/// An access log that is open: its format, and the thread that writes it. The workers share it.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    work: SyncSender<Work>,
    reopen: Arc<AtomicBool>,
    counts: Arc<LineCounts>,
    connections: AtomicU64,
    thread: LateThread,
}

impl AccessLog {
    /// Opens a log for so many workers, and starts the thread that writes it, which tells what
    /// hinders it.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened, or the thread not be started.
    pub fn open(
        target: LogTarget,
        format: LogFormat,
        workers: usize,
        tell: impl Fn(LogTrouble) + Send + 'static,
    ) -> io::Result<Self> {
        let log = Self::open_waiting(target, format, workers, tell)?;
        log.start()?;
        Ok(log)
    }

    /// Opens a log as [`AccessLog::open`] does, but does not start the thread yet.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened.
    pub fn open_waiting(
        target: LogTarget,
        format: LogFormat,
        workers: usize,
        tell: impl Fn(LogTrouble) + Send + 'static,
    ) -> io::Result<Self> {
        let (work, waiting) = mpsc::sync_channel(workers * PAGES_MAX + REQUESTS_MAX);
        let (reopen, counts) = (Arc::<AtomicBool>::default(), Arc::<LineCounts>::default());
        let (its, its_counts) = (Arc::clone(&reopen), Arc::clone(&counts));
        let writer = Writer::open(target, waiting, its, its_counts, Box::new(tell))?;
        let thread = LateThread::new("access-log", STACK_BYTES, move || {
            block_signals();
            writer.run();
        });
        Ok(Self { format, work, reopen, counts, connections: AtomicU64::new(0), thread })
    }

    /// Starts the thread that writes the log, unless it runs.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(&self) -> io::Result<()> {
        self.thread.start()
    }

    /// Opens the path again, soon.
    pub fn reopen(&self) {
        // One request is enough, and more would take the room of pages.
        if !self.reopen.swap(true, Ordering::Relaxed) {
            // If the thread is busy, it looks when it has written what it has.
            let _ = self.work.try_send(Work::Reopen);
        }
    }

    /// Waits until everything is written that workers have passed on, at most for this time.
    /// Returns whether it is.
    pub fn flush(&self, wait_max: Duration) -> bool {
        let until = Instant::now() + wait_max;
        let (done, wait) = mpsc::channel();
        while self.work.try_send(Work::Flush(done.clone())).is_err() {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(TRY_AGAIN_AFTER);
        }
        wait.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok()
    }

    /// The number of lines that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// The number of lines that were dropped, because they could not be written in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }
}

/// The part of a log that belongs to a worker; see the module documentation.
#[derive(Debug)]
pub(super) struct WorkerLog {
    log: Arc<AccessLog>,
    pages: WorkerPages,
    clock: LogClock,
}

impl WorkerLog {
    /// The part of a worker.
    pub(super) fn new(log: &Arc<AccessLog>) -> Self {
        let pages = WorkerPages::new(log.work.clone(), Arc::clone(&log.counts));
        Self { log: Arc::clone(log), pages, clock: LogClock::new() }
    }

    /// What lines contain.
    pub(super) fn format(&self) -> &LogFormat {
        &self.log.format
    }

    /// The number of a new connection, from 1, over all workers.
    pub(super) fn next_connection(&self) -> u64 {
        self.log.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Sets the time of the next lines.
    #[inline]
    pub(super) fn set_time(&mut self, now: Now) {
        self.clock.set(now);
    }

    /// Appends a line, or drops it.
    pub(super) fn append(&mut self, now: Instant, line: &LogLine<'_>) {
        let Self { log, pages, clock } = self;
        pages.append(now, |page| line.write(&log.format, clock, page));
    }

    /// When [`WorkerLog::flush_due`] has to be called.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pages.deadline()
    }

    /// Passes lines on that have waited long enough for others.
    #[inline]
    pub(super) fn flush_due(&mut self, now: Instant) {
        self.pages.flush_due(now);
    }
}
