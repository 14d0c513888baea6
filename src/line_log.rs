//! Lines for a reader who may not read: a bounded buffer, and a thread that writes it out.
//!
//! A server must not wait for whoever reads its trace or its messages: a pager that is left open
//! would stop it. So appending never blocks. If the reader is too slow, the buffer fills up, and
//! lines that do not fit are counted instead; a line with their number follows as soon as there is
//! room. Lines whose write fails are counted too, because the next write may succeed: a disk gets
//! room, and a pipe that somebody has made non-blocking is emptied. If the reader is gone, all
//! lines are discarded.
//!
//! A thread is needed because a descriptor from outside cannot be made non-blocking: `O_NONBLOCK`
//! belongs to the open file, which other processes share, and a terminal that is stopped blocks a
//! write even after `poll(2)` has reported room.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::late_thread::LateThread;
use crate::signal_mask::block_signals;

/// Stack size of the thread, in bytes. What it writes is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// How long the thread waits after a write that failed.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long dropping a log waits for its reader.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What distinguishes one log from another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSettings {
    /// The name of the thread that writes.
    pub(crate) thread: &'static str,
    /// The beginning of a line that the log itself adds.
    pub(crate) mark: &'static str,
    /// The most bytes that wait to be written. The thread holds as many again while it writes.
    pub(crate) waiting_max: usize,
}

/// A log; see the module documentation. Dropping it waits a moment for unwritten lines.
#[derive(Debug)]
pub(crate) struct LineLog {
    settings: LogSettings,
    shared: Arc<SharedLog>,
    thread: LateThread,
}

#[derive(Debug, Default)]
struct SharedLog {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    waiting: String,
    /// Whether the thread is writing lines that it has taken from `waiting`.
    writing: bool,
    /// Lines that did not fit since the last one that did.
    lost: usize,
    /// Whether nothing more will be appended.
    over: bool,
    /// Whether the thread has ended.
    ended: bool,
}

impl LineLog {
    /// Starts a thread that writes to `to`.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn new(settings: LogSettings, to: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self::waiting(settings, to);
        log.start()?;
        Ok(log)
    }

    /// A log whose thread does not run yet: its lines wait.
    pub(crate) fn waiting(settings: LogSettings, to: impl Write + Send + 'static) -> Self {
        Self::with_stack(settings, to, STACK_BYTES)
    }

    fn with_stack(
        settings: LogSettings,
        to: impl Write + Send + 'static,
        stack_bytes: usize,
    ) -> Self {
        let shared = Arc::new(SharedLog::default());
        let its = Arc::clone(&shared);
        let write = move || {
            block_signals();
            its.write_out(to);
            let mut state = its.lock();
            (state.ended, state.writing) = (true, false);
            its.changed.notify_all();
        };
        Self { settings, shared, thread: LateThread::new(settings.thread, stack_bytes, write) }
    }

    /// Starts the thread, unless it runs.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.thread.start()
    }

    /// Appends whole lines.
    pub(crate) fn append(&self, lines: &str) {
        let mut state = self.shared.lock();
        if state.ended || lines.is_empty() {
            return;
        }
        // A message that is longer than the limit, such as a backtrace, is taken if it is alone.
        if !state.waiting.is_empty()
            && state.waiting.len() + lines.len() > self.settings.waiting_max
        {
            state.lost += lines.lines().count();
            return;
        }
        state.write_loss(self.settings.mark);
        state.waiting.push_str(lines);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, at most for this time.
    #[cfg(feature = "cli")]
    pub(crate) fn flush(&self, wait_max: Duration) {
        // If it cannot be started, the wait ends in vain.
        let _ = self.start();
        let mut state = self.shared.lock();
        state.write_loss(self.settings.mark);
        self.shared.changed.notify_all();
        let unwritten =
            |state: &mut LogState| !state.ended && (state.writing || !state.waiting.is_empty());
        drop(self.shared.changed.wait_timeout_while(state, wait_max, unwritten));
    }
}

impl Drop for LineLog {
    fn drop(&mut self) {
        let _ = self.start();
        let mut state = self.shared.lock();
        state.write_loss(self.settings.mark);
        state.over = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, LAST_WAIT, |state| !state.ended);
        drop(waited);
    }
}

impl LogState {
    fn write_loss(&mut self, mark: &str) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 && !self.ended {
            self.waiting +=
                &format!("{mark}{lost} lines are missing: they could not be written in time\n");
        }
    }
}

impl SharedLog {
    fn write_out(&self, mut to: impl Write) {
        let mut writing = String::new();
        loop {
            let state = self.lock();
            let idle = |state: &mut LogState| state.waiting.is_empty() && !state.over;
            let state = self.changed.wait_while(state, idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            if state.waiting.is_empty() {
                return;
            }
            std::mem::swap(&mut writing, &mut state.waiting);
            state.writing = true;
            drop(state);
            let written = to.write_all(writing.as_bytes()).and_then(|()| to.flush());
            if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                return;
            }
            if written.is_err() {
                self.lock().lost += writing.lines().count();
                thread::sleep(RETRY_AFTER);
            }
            writing.clear();
            self.lock().writing = false;
            self.changed.notify_all();
        }
    }

    /// No code panics while it holds the lock, but a worker may panic and drop its log.
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    const WAITING_MAX: usize = 1 << 20;

    const SETTINGS: LogSettings =
        LogSettings { thread: "log", mark: "# ", waiting_max: WAITING_MAX };

    /// A reader that accepts a write when the test allows it.
    struct Slow {
        allowed: mpsc::Receiver<()>,
        written: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.written.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (LineLog, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let ((allow, allowed), (written, writes)) = (mpsc::channel(), mpsc::channel());
        (LineLog::new(SETTINGS, Slow { allowed, written }).unwrap(), allow, writes)
    }

    /// Fails as often as the test says, for a reason that may pass.
    struct Failing {
        failures: usize,
        written: mpsc::Sender<String>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.failures > 0 {
                self.failures -= 1;
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            let _ = self.written.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_fails_loses_its_lines_only() {
        let (written, writes) = mpsc::channel();
        let log = LineLog::new(SETTINGS, Failing { failures: 1, written }).unwrap();
        log.append("lost\n");
        while log.shared.lock().lost == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        log.append("kept\n");
        drop(log);
        let all: String = writes.iter().collect();
        assert!(all.starts_with("# 1 lines are missing") && all.ends_with("kept\n"), "{all}");
    }

    /// Such as the backtrace of a panic.
    #[test]
    fn a_message_longer_than_the_limit_is_written_if_it_is_alone() {
        let (log, allow, writes) = slow();
        let long = "x".repeat(2 * WAITING_MAX) + "\n";
        log.append(&long);
        allow.send(()).unwrap();
        assert_eq!(writes.recv().unwrap(), long);
        drop(allow);
    }

    #[test]
    fn dropping_a_log_writes_everything_out() {
        let (log, allow, writes) = slow();
        for _ in 0..100 {
            allow.send(()).unwrap();
            log.append("a line\n");
        }
        drop(log);
        assert_eq!(writes.iter().collect::<String>(), "a line\n".repeat(100));
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_but_blocks_nothing() {
        let (log, allow, writes) = slow();
        let line = "x".repeat(1023) + "\n";
        // The thread holds what it has already taken in a buffer of its own.
        for _ in 0..3 * WAITING_MAX / line.len() {
            log.append(&line);
        }
        for _ in 0..10 {
            allow.send(()).unwrap();
        }
        drop(log);
        let written = writes.iter().collect::<String>();
        assert!(written.len() <= 2 * WAITING_MAX + 100, "{} bytes", written.len());
        // There are several such lines if the thread takes what waits while lines are appended.
        let is_gap = |line: &&str| line.contains("lines are missing");
        let lost = |line: &str| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
        let lost: usize = written.lines().filter(is_gap).map(lost).sum();
        assert!(lost > 0, "nothing was lost");
        let whole = written.lines().filter(|line| !is_gap(line)).count();
        assert_eq!(whole + lost, 3 * WAITING_MAX / line.len());
    }

    #[test]
    fn lines_are_discarded_when_the_reader_is_gone() {
        let (log, allow, _writes) = slow();
        drop(allow);
        log.append("a line\n");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !log.shared.lock().ended {
            assert!(Instant::now() < deadline, "the thread goes on without its reader");
            thread::sleep(Duration::from_millis(1));
        }
        log.append("a line\n");
        assert_eq!(log.shared.lock().waiting, "");
    }

    #[test]
    fn without_a_thread_there_is_no_log() {
        // More than the address space holds.
        assert!(LineLog::with_stack(SETTINGS, io::sink(), 1 << 47).start().is_err());
    }

    #[test]
    fn a_flush_waits_for_the_reader_and_not_forever() {
        let (log, allow, writes) = slow();
        log.append("a line\n");
        log.flush(Duration::from_millis(20));
        assert_eq!(writes.try_iter().count(), 0, "the reader has not read");
        allow.send(()).unwrap();
        log.flush(Duration::from_secs(10));
        assert_eq!(writes.try_iter().collect::<String>(), "a line\n");
    }
}
