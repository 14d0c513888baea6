//! Events: what the operator of a server should know. They make up the error log.
//!
//! Whoever tells an event never waits: a thread writes the lines, and lines are dropped and counted
//! if it is too slow. Of each kind that clients may cause, at most [`LINES_MAX`] lines are written
//! per [`WINDOW`]; then a line says how many more there were. All events are counted, for metrics.
//!
//! | file | content |
//! | --- | --- |
//! | `kind.rs` | the kinds of events, and their levels |
//! | `rate.rs` | how often events were told, and how many lines of a kind may be written |
//! | `settings.rs` | the settings of an error log |
//! | `message.rs`, `line.rs` | what an event says; its line of text or JSON |
//! | `unsent.rs` | the event of an answer that was cut off because of its file |
//! | `writer.rs` | the thread |

mod kind;
mod line;
mod message;
mod rate;
mod settings;
mod unsent;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use crate::late_thread::LateThread;
use crate::log_output::LogOutput;
use crate::signal_mask::block_signals;
use rate::Kinds;
use writer::{Work, Writer};

pub use kind::{EventKind, EventLevel};
pub use message::EventMessage;
pub use rate::{LINES_MAX, WINDOW};
pub use settings::{EventFormat, EventSettings};

/// Stack size of the thread, in bytes. What it writes is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// How long a flush waits for room among the lines.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How many lines wait for the thread.
const WAITING_MAX: usize = 256;

/// Where events are told. Its clones tell the same log; the default one tells nobody.
#[derive(Clone, Default, Debug)]
pub struct Events(Option<Arc<EventLog>>);

#[derive(Debug)]
struct EventLog {
    settings: EventSettings,
    lines: SyncSender<Work>,
    kinds: Arc<Kinds>,
    thread: LateThread,
}

impl Events {
    /// Opens an error log, and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened, or the thread not be started.
    pub fn open(settings: EventSettings) -> io::Result<Self> {
        let events = Self::open_waiting(settings)?;
        events.start()?;
        Ok(events)
    }

    /// Opens an error log whose thread does not run yet: its lines wait, as far as there is room.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened.
    pub fn open_waiting(settings: EventSettings) -> io::Result<Self> {
        let output = LogOutput::open(settings.target.clone())?;
        let (lines, waiting) = mpsc::sync_channel(WAITING_MAX);
        let kinds = Arc::<Kinds>::default();
        let writer = Writer::new(output, waiting, settings.clone(), Arc::clone(&kinds));
        let thread = LateThread::new("events", STACK_BYTES, move || {
            block_signals();
            writer.run();
        });
        Ok(Self(Some(Arc::new(EventLog { settings, lines, kinds, thread }))))
    }

    /// Starts the thread that writes the log, unless it runs.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |log| log.thread.start())
    }

    /// Tells an event. The message is asked for only if it is written.
    pub fn tell<M: Into<EventMessage>>(&self, kind: EventKind, message: impl FnOnce() -> M) {
        let Some(log) = &self.0 else { return };
        self.count(kind);
        let may_write = || !kind.is_limited() || log.kinds.may_write(kind, Instant::now());
        if kind.level() > log.settings.level || !may_write() {
            return;
        }
        let line = line::write(&log.settings, kind, &message().into());
        if let Err(TrySendError::Full(_)) = log.lines.try_send(Work::Line(line)) {
            log.kinds.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an event that is told elsewhere.
    pub fn count(&self, kind: EventKind) {
        if let Some(log) = &self.0 {
            log.kinds.told[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events of each kind were told, written or not.
    #[must_use]
    pub fn counts(&self) -> Vec<(EventKind, u64)> {
        let count = |kind: EventKind| match &self.0 {
            Some(log) => log.kinds.told[kind as usize].load(Ordering::Relaxed),
            None => 0,
        };
        EventKind::ALL.into_iter().map(|kind| (kind, count(kind))).collect()
    }

    /// Opens the path again, soon.
    pub fn reopen(&self) {
        if let Some(log) = &self.0 {
            // If the thread is busy, it looks within a second where the path leads.
            let _ = log.lines.try_send(Work::Reopen);
        }
    }

    /// Waits until all lines are written, at most for this time.
    pub fn flush(&self, wait_max: Duration) {
        let Some(log) = &self.0 else { return };
        // If it cannot be started, the wait ends in vain.
        let _ = log.thread.start();
        let until = Instant::now() + wait_max;
        let (done, wait) = mpsc::channel();
        while log.lines.try_send(Work::Flush(done.clone())).is_err() {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(TRY_AGAIN_AFTER);
        }
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::log_output::LogTarget;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    fn open(path: &std::path::Path, level: EventLevel) -> Events {
        let target = LogTarget::File(path.to_owned());
        Events::open(EventSettings { target, format: EventFormat::Text, level }).unwrap()
    }

    fn lines(events: &Events, path: &std::path::Path) -> Vec<String> {
        events.flush(Duration::from_secs(60));
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn events_beyond_the_rate_of_their_kind_are_counted_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let events = open(&path, EventLevel::Warn);
        for _ in 0..15 {
            events.tell(EventKind::FileDenied, || "denied");
        }
        events.tell(EventKind::FileFailed, || "failed");
        events.tell(EventKind::Started, || -> &str { unreachable!("it is below the level") });
        let lines = lines(&events, &path);
        assert_eq!(lines.iter().filter(|line| line.ends_with(": denied")).count(), 10);
        assert_eq!(lines.iter().filter(|line| line.ends_with(": failed")).count(), 1);
        let held_back = "5 more events of the kind file_denied";
        assert!(lines.iter().any(|line| line.ends_with(held_back)), "{lines:?}");
        assert_eq!(lines.len(), 12, "{lines:?}");
        let counts: Vec<_> = events.counts().into_iter().filter(|(_, count)| *count > 0).collect();
        let expected =
            [(EventKind::Started, 1), (EventKind::FileDenied, 15), (EventKind::FileFailed, 1)];
        assert_eq!(counts, expected);
    }

    #[test]
    fn what_was_held_back_is_counted_at_the_end_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let events = open(&path, EventLevel::Warn);
        for _ in 0..15 {
            events.tell(EventKind::FileDenied, || "denied");
        }
        drop(events);
        let until = Instant::now() + Duration::from_secs(20);
        let mut text = String::new();
        while !text.ends_with("5 more events of the kind file_denied\n") {
            assert!(Instant::now() < until, "{text}");
            thread::sleep(Duration::from_millis(5));
            text = fs::read_to_string(&path).unwrap();
        }
    }

    #[test]
    fn what_an_operator_causes_is_written_however_often() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let events = open(&path, EventLevel::Info);
        for _ in 0..15 {
            events.tell(EventKind::Reloaded, || "reloaded");
        }
        assert_eq!(lines(&events, &path).len(), 15);
    }

    #[test]
    fn a_log_that_was_renamed_is_opened_again_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("error.log"), folder.path().join("error.log.1"));
        let events = open(&path, EventLevel::Info);
        events.tell(EventKind::Reloaded, || "first");
        events.flush(Duration::from_secs(60));
        fs::rename(&path, &old).unwrap();
        events.reopen();
        events.tell(EventKind::Reloaded, || "second");
        assert!(lines(&events, &path)[0].ends_with("second"));
        assert!(lines(&events, &old)[0].ends_with("first"));
    }

    #[test]
    fn a_reader_that_never_reads_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _reader =
            fs::OpenOptions::new().read(true).write(true).open(&path).expect("it does not wait");
        let events = open(&path, EventLevel::Info);
        for kind in EventKind::ALL {
            for _ in 0..20 {
                events.tell(kind, || "x".repeat(20_000));
            }
        }
        events.flush(Duration::from_millis(10));
        assert!(events.counts().iter().all(|(_, count)| *count == 20));
    }

    #[test]
    fn events_of_nobody_are_nothing() {
        let events = Events::default();
        events.tell(EventKind::Panic, || -> &str { unreachable!("nobody reads it") });
        events.flush(Duration::from_secs(60));
        assert!(events.counts().iter().all(|(_, count)| *count == 0));
    }
}
