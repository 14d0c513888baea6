//! The thread that writes the access log.
//!
//! It writes each page with one `write(2)` if it can. If a write fails, it tries again each second,
//! from the byte where it stopped; meanwhile the pages of the workers run out, and they drop lines.
//! If the reader of a pipe is gone, its lines are dropped.
//!
//! The file is opened again on request, and when its path leads to another file, so a log can be
//! rotated by renaming it. If that fails, the old file is written on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use super::pages::{LineCounts, Page, Work, count_lines};
use crate::log_output::{CHECK_EVERY, LogOutput, LogTarget, PIPE_WRITE_MAX};

/// How long the thread waits for the reader of a pipe that does not block.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// What hinders the log. Whoever is told decides how often to say it.
#[derive(Debug)]
pub enum LogTrouble {
    /// Lines cannot be written.
    Write(io::Error),
    /// The path cannot be opened again.
    Reopen(io::Error),
}

impl fmt::Display for LogTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                write!(f, "nobody reads the access log any more; its lines are dropped")
            }
            Self::Write(error) => write!(
                f,
                "the access log cannot be written: {error}; this is tried again each second, and \
                 lines are dropped meanwhile"
            ),
            Self::Reopen(error) => write!(
                f,
                "the access log cannot be opened again: {error}; the old file is written on"
            ),
        }
    }
}

/// The thread; see the module documentation.
pub(super) struct Writer {
    output: LogOutput,
    work: Receiver<Work>,
    /// Whether the path has to be opened again.
    reopen: Arc<AtomicBool>,
    counts: Arc<LineCounts>,
    tell: Box<dyn Fn(LogTrouble) + Send>,
    checked: Instant,
    is_pipe: bool,
    /// Whether the last line has no end.
    torn: bool,
}

impl Writer {
    /// Opens the log.
    pub(super) fn open(
        target: LogTarget,
        work: Receiver<Work>,
        reopen: Arc<AtomicBool>,
        counts: Arc<LineCounts>,
        tell: Box<dyn Fn(LogTrouble) + Send>,
    ) -> io::Result<Self> {
        let output = LogOutput::open(target)?;
        let (checked, is_pipe) = (Instant::now(), output.is_pipe());
        Ok(Self { output, work, reopen, counts, tell, checked, is_pipe, torn: false })
    }

    /// Writes until no worker and no handle is left.
    pub(super) fn run(mut self) {
        loop {
            let work = self.work.recv_timeout(CHECK_EVERY);
            if self.checked.elapsed() >= CHECK_EVERY {
                self.check();
            }
            match work {
                Ok(Work::Page(page)) => self.write(page),
                Ok(Work::Reopen) => {
                    self.check();
                }
                // Whoever waits may have given up.
                Ok(Work::Flush(done)) => drop(done.send(())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Opens the path again if that was asked for or if it leads elsewhere. Returns whether another
    /// file is open now.
    fn check(&mut self) -> bool {
        self.checked = Instant::now();
        let asked = self.reopen.swap(false, Ordering::Relaxed);
        if !asked && !self.output.has_moved() {
            return false;
        }
        match self.output.reopen() {
            Ok(is_other) => {
                self.is_pipe = self.output.is_pipe();
                self.torn &= !is_other;
                return is_other;
            }
            // A pipe without a reader, which was told before.
            Err(error) if self.is_pipe && error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => (self.tell)(LogTrouble::Reopen(error)),
        }
        false
    }

    /// Writes all lines of a page, however long it takes.
    fn write(&mut self, page: Page) {
        if self.torn {
            // Another reader may have come since a line was torn. This may fail like any write.
            self.torn = self.output.write(b"\n").is_err();
        }
        let mut at = 0;
        while let Some(rest) = page.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let part = if self.is_pipe { whole_lines(rest) } else { rest };
            match self.output.write(part) {
                Ok(count) => {
                    self.counts.written.fetch_add(count_lines(&rest[..count]), Ordering::Relaxed);
                    at += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process has made the pipe non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(BUSY_WAIT);
                }
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.counts.dropped.fetch_add(count_lines(rest), Ordering::Relaxed);
                    self.torn |= is_within_line(&page.bytes, at);
                    (self.tell)(LogTrouble::Write(error));
                    self.reopen.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    (self.tell)(LogTrouble::Write(error));
                    thread::sleep(CHECK_EVERY);
                    if self.check() && is_within_line(&page.bytes, at) {
                        at += self.skip_torn_line(rest);
                    }
                }
            }
        }
        page.give_back();
    }

    /// The bytes of a line whose beginning is in another file. The line counts as dropped.
    fn skip_torn_line(&self, rest: &[u8]) -> usize {
        self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)
    }
}

/// Whether a line has begun before this place, and does not end there.
fn is_within_line(bytes: &[u8], at: usize) -> bool {
    at > 0 && bytes[at - 1] != b'\n'
}

/// As many whole lines as may be written into a pipe at once; one line if it is longer than that.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let beginning = &bytes[..bytes.len().min(PIPE_WRITE_MAX)];
    let end = memchr::memrchr(b'\n', beginning).or_else(|| memchr::memchr(b'\n', bytes));
    &bytes[..end.map_or(bytes.len(), |end| end + 1)]
}
