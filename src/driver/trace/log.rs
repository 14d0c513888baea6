//! The output of a trace: a bounded buffer, and a thread that writes it out.
//!
//! A driver must not wait for the reader of its trace: a pager that is left open would stop the
//! server. So appending never blocks. If the reader is too slow, the buffer fills up, and lines
//! that do not fit are counted instead. If the reader is gone, all lines are discarded.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The most bytes that wait to be written.
const WAITING_MAX: usize = 1 << 20;

/// Stack size of the thread, in bytes. What it writes is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// How long dropping a log waits for its reader.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A log; see the module documentation. Dropping it waits a moment for unwritten lines.
#[derive(Debug)]
pub(super) struct TraceLog {
    shared: Arc<SharedLog>,
}

#[derive(Debug, Default)]
struct SharedLog {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogState {
    waiting: String,
    /// Lines that did not fit since the last one that did.
    lost: usize,
    /// Whether nothing more will be appended.
    over: bool,
    /// Whether the thread has ended.
    ended: bool,
}

impl TraceLog {
    /// Starts a thread that writes to `to`.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn new(to: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_stack(to, STACK_BYTES)
    }

    fn with_stack(to: impl Write + Send + 'static, stack_bytes: usize) -> io::Result<Self> {
        let shared = Arc::new(SharedLog::default());
        let its = Arc::clone(&shared);
        let write = move || {
            its.write_out(to);
            its.lock().ended = true;
            its.changed.notify_all();
        };
        thread::Builder::new().name("trace".into()).stack_size(stack_bytes).spawn(write)?;
        Ok(Self { shared })
    }

    /// Appends whole lines.
    pub(super) fn append(&self, lines: &str) {
        let mut state = self.shared.lock();
        if state.ended || lines.is_empty() {
            return;
        }
        if state.waiting.len() + lines.len() > WAITING_MAX {
            state.lost += lines.lines().count();
            return;
        }
        state.write_loss();
        state.waiting.push_str(lines);
        self.shared.changed.notify_all();
    }
}

impl Drop for TraceLog {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.write_loss();
        state.over = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, LAST_WAIT, |state| !state.ended);
        drop(waited);
    }
}

impl LogState {
    fn write_loss(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            self.waiting += &format!("# {lost} lines are missing: the reader was too slow\n");
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
            drop(state);
            if to.write_all(writing.as_bytes()).and_then(|()| to.flush()).is_err() {
                return;
            }
            writing.clear();
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

    fn slow() -> (TraceLog, mpsc::Sender<()>, mpsc::Receiver<String>) {
        let ((allow, allowed), (written, writes)) = (mpsc::channel(), mpsc::channel());
        (TraceLog::new(Slow { allowed, written }).unwrap(), allow, writes)
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
        assert!(TraceLog::with_stack(io::sink(), 1 << 47).is_err());
    }
}
