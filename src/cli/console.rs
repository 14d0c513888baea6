//! What a server tells its operator: its first line, and the error log. A reader that is slow or
//! gone does not affect the server.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::observe_args::cannot_open;
use super::{CommandError, ObserveArgs};
use crate::events::{EventFormat, EventKind, Events};
use crate::line_log::{LineLog, LogSettings};
use crate::log_output::LogTarget;

/// Maximum number of bytes that wait for the reader of standard output: a few dozen lines.
const WAITING_MAX: usize = 16 * 1024;

/// How long the end of the process waits for readers.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Writes lines without waiting for their readers: the first line of a server to standard output,
/// everything else to the error log. Its clones write to the same places.
#[derive(Clone, Debug)]
pub(super) struct Console {
    /// `None` if standard output belongs to a log.
    output: Option<Arc<LineLog>>,
    events: Events,
    error_log: LogTarget,
    format: EventFormat,
}

impl Console {
    /// Opens the error log. Lines wait until [`Console::start`].
    ///
    /// # Errors
    ///
    /// When the log cannot be opened.
    pub(super) fn open(observe: &ObserveArgs) -> Result<Self, CommandError> {
        let error_log = observe.error_log.clone();
        let format = observe.events().format;
        let events = Events::open_waiting(observe.events())
            .map_err(|error| cannot_open("--error-log", &error_log, &error))?;
        let settings = LogSettings { thread: "stdout", mark: "ringd: ", waiting_max: WAITING_MAX };
        let output = match observe.takes_stdout() {
            true => None,
            false => Some(Arc::new(LineLog::waiting(settings, io::stdout()))),
        };
        Ok(Self { output, events, error_log, format })
    }

    /// Starts a thread for the error log, and one for standard output.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(super) fn start(&self) -> Result<(), CommandError> {
        let failed = |error| cannot_open("--error-log", &self.error_log, &error);
        self.events.start().map_err(failed)?;
        let started = self.output.as_ref().map_or(Ok(()), |output| output.start());
        started.map_err(|error| CommandError::no_thread("output", &error))
    }

    /// The error log.
    pub(super) fn events(&self) -> &Events {
        &self.events
    }

    /// Says that the server accepts connections.
    pub(super) fn say_started(&self, line: impl Display) {
        if let Some(output) = &self.output {
            output.append(&format!("ringd: {line}\n"));
        }
        // Not twice on a terminal.
        let is_for_people = self.error_log == LogTarget::Stderr && self.format == EventFormat::Text;
        if self.output.is_some() && is_for_people {
            self.events.count(EventKind::Started);
        } else {
            self.tell(EventKind::Started, line);
        }
    }

    /// Writes text for people to standard output, if that belongs to no log.
    pub(super) fn say(&self, text: &str) {
        if let Some(output) = &self.output {
            output.append(text);
        }
    }

    /// Tells an event.
    pub(super) fn tell(&self, kind: EventKind, line: impl Display) {
        self.events.tell(kind, || line.to_string());
    }

    /// Tells a note about the settings.
    pub(super) fn note(&self, line: impl Display) {
        self.tell(EventKind::Note, line);
    }

    /// Tells why the command has failed. Whoever has started it looks at standard error.
    pub(super) fn fail(&self, error: &CommandError) {
        self.tell(EventKind::Failed, error);
        if self.error_log != LogTarget::Stderr {
            // Not `eprintln`, which panics if standard error is closed.
            let _ = writeln!(io::stderr(), "ringd: {error}");
        }
    }

    /// Reports panics in the same way. The default hook would block a worker that panics if nobody
    /// reads standard error, and the server would never learn of it.
    pub(super) fn report_panics(&self) {
        let console = self.clone();
        panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            let backtrace = Backtrace::capture();
            let line = match backtrace.status() {
                BacktraceStatus::Captured => format!("thread '{thread}' {panic}\n{backtrace}"),
                _ => format!("thread '{thread}' {panic}"),
            };
            console.tell(EventKind::Panic, line);
        }));
    }

    /// Waits for the readers of what is not written yet, at most [`LAST_WAIT`].
    pub(super) fn flush(&self) {
        let until = Instant::now() + LAST_WAIT;
        if let Some(output) = &self.output {
            output.flush(LAST_WAIT);
        }
        self.events.flush(until.saturating_duration_since(Instant::now()));
    }
}
