//! The standard streams of a server. A reader that is slow or gone does not affect the server.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::CommandError;
use crate::line_log::{LineLog, LogSettings};

/// Maximum number of bytes that wait for a reader of one stream: a few dozen lines.
const WAITING_MAX: usize = 16 * 1024;

/// How long the end of the process waits for readers.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Writes lines to the standard streams without waiting for their readers. Its clones write to the
/// same place.
#[derive(Clone, Debug)]
pub(super) struct Console {
    output: Arc<LineLog>,
    errors: Arc<LineLog>,
}

impl Console {
    /// Starts a thread for each stream.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(super) fn open() -> Result<Self, CommandError> {
        let log = |thread, to: Box<dyn Write + Send>| {
            let settings = LogSettings { thread, mark: "ringd: ", waiting_max: WAITING_MAX };
            let log = LineLog::new(settings, to);
            log.map(Arc::new).map_err(|error| CommandError::no_thread("output", &error))
        };
        Ok(Self {
            output: log("stdout", Box::new(io::stdout()))?,
            errors: log("stderr", Box::new(io::stderr()))?,
        })
    }

    /// Writes a line to standard output.
    pub(super) fn say(&self, line: impl Display) {
        self.output.append(&format!("ringd: {line}\n"));
    }

    /// Writes a line to standard error.
    pub(super) fn note(&self, line: impl Display) {
        self.errors.append(&format!("ringd: {line}\n"));
    }

    /// Reports panics in the same way. The default hook would block a worker that panics if nobody
    /// reads standard error, and the server would never learn of it.
    pub(super) fn report_panics(&self) {
        let console = self.clone();
        panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            let backtrace = Backtrace::capture();
            console.note(match backtrace.status() {
                BacktraceStatus::Captured => format!("thread '{thread}' {panic}\n{backtrace}"),
                _ => format!("thread '{thread}' {panic}"),
            });
        }));
    }

    /// Waits for the readers of what is not written yet, at most [`LAST_WAIT`].
    pub(super) fn flush(&self) {
        let until = Instant::now() + LAST_WAIT;
        for log in [&self.output, &self.errors] {
            log.flush(until.saturating_duration_since(Instant::now()));
        }
    }
}
