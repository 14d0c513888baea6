//! The thread that writes the error log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::kind::EventKind;
use super::line;
use super::rate::{Kinds, WINDOW};
use super::settings::EventSettings;
use crate::log_output::{CHECK_EVERY, LogOutput};

/// How long the thread waits for the reader of a pipe that does not block.
const BUSY_WAIT: Duration = Duration::from_millis(10);

/// How long the thread waits after a write that failed, before it writes the next line.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the thread has to do.
#[derive(Debug)]
pub(super) enum Work {
    /// Write this.
    Line(String),
    /// Open the path again.
    Reopen,
    /// Say when everything before this is written.
    Flush(Sender<()>),
}

/// The thread; see the module documentation of `events`.
pub(super) struct Writer {
    output: LogOutput,
    work: Receiver<Work>,
    settings: EventSettings,
    kinds: Arc<Kinds>,
    checked: Instant,
    /// Whether the last line has no end.
    torn: bool,
}

impl Writer {
    pub(super) fn new(
        output: LogOutput,
        work: Receiver<Work>,
        settings: EventSettings,
        kinds: Arc<Kinds>,
    ) -> Self {
        Self { output, work, settings, kinds, checked: Instant::now(), torn: false }
    }

    /// Writes until nobody is left who could tell an event.
    pub(super) fn run(mut self) {
        loop {
            let work = self.work.recv_timeout(CHECK_EVERY);
            if self.checked.elapsed() >= CHECK_EVERY {
                self.check();
            }
            match work {
                Ok(Work::Line(line)) => {
                    self.write(&line);
                    self.write_loss();
                }
                Ok(Work::Reopen) => self.reopen(),
                Ok(Work::Flush(done)) => {
                    // The process may end.
                    self.write_rest();
                    // Whoever waits may have given up.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.write_rest(),
            }
        }
    }

    /// Says what was not written, also in windows that are not over.
    fn write_rest(&mut self) {
        self.write_held_back(Instant::now() + WINDOW);
        self.write_loss();
    }

    /// Does what has to be done from time to time.
    fn check(&mut self) {
        self.checked = Instant::now();
        if self.output.has_moved() {
            self.reopen();
        }
        self.write_held_back(self.checked);
        self.write_loss();
    }

    /// Says how many lines of each kind were held back in windows that are over by then.
    fn write_held_back(&mut self, by: Instant) {
        for (kind, count) in self.kinds.held_back(by) {
            let message = match count {
                1 => format!("1 more event of the kind {}", kind.name()),
                many => format!("{many} more events of the kind {}", kind.name()),
            };
            self.write(&line::write(&self.settings, kind, &message.into()));
        }
    }

    /// Says how many lines there was no room for.
    fn write_loss(&mut self) {
        let lost = self.kinds.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let message = match lost {
            1 => "1 line is missing: it could not be written in time".to_owned(),
            many => format!("{many} lines are missing: they could not be written in time"),
        };
        let line = line::write(&self.settings, EventKind::ErrorLog, &message.into());
        if self.try_write(&line).is_err() {
            self.kinds.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    fn reopen(&mut self) {
        match self.output.reopen() {
            Ok(is_new) => self.torn &= !is_new,
            // The old file is written on. Nobody else can be told.
            Err(_) => self.count_trouble(),
        }
    }

    /// Writes a line, or loses it.
    fn write(&mut self, line: &str) {
        if let Err(error) = self.try_write(line) {
            // If the reader of a pipe is gone, nobody misses the line.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.kinds.lost.fetch_add(1, Ordering::Relaxed);
                thread::sleep(RETRY_AFTER);
            }
        }
    }

    /// Writes a line. After a line of which only a part could be written, ends that first.
    fn try_write(&mut self, line: &str) -> io::Result<()> {
        if self.torn {
            self.write_all(b"\n")?;
            self.torn = false;
        }
        self.write_all(line.as_bytes())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.output.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process has made the pipe non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(BUSY_WAIT);
                }
                Err(error) => {
                    self.torn |= rest.len() < bytes.len();
                    self.count_trouble();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn count_trouble(&self) {
        self.kinds.told[EventKind::ErrorLog as usize].fetch_add(1, Ordering::Relaxed);
    }
}
