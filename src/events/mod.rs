//! Events: what the operator of a server should know. They make up the error log.
//!
//! Whoever tells an event never waits: a thread writes the lines, and lines are dropped and counted
//! if it is too slow. Of each kind, at most [`LINES_MAX`] lines are written per [`WINDOW`]; then a
//! line says how many more there were. All events are counted, for metrics.
//!
//! | file | content |
//! | --- | --- |
//! | `kind.rs` | the kinds of events, and their levels |
//! | `rate.rs` | how many lines of a kind may be written |
//! | `line.rs` | an event as a line of text or JSON |
//! | `writer.rs` | the thread |

mod kind;
mod line;
mod rate;
mod writer;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::log_output::{LogOutput, LogTarget};
use crate::signal_mask::block_signals;
use rate::Rate;
use writer::{Work, Writer};

pub use kind::{EventKind, Level};
pub use line::EventFormat;
pub use rate::{LINES_MAX, WINDOW};

/// Stack size of the thread, in bytes. What it writes is on the heap.
const STACK_BYTES: usize = 256 * 1024;

/// How many lines wait for the thread.
const WAITING_MAX: usize = 256;

/// The most bytes of a message, such as the backtrace of a panic. The rest is cut off.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What an error log is like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventSettings {
    /// Where it is written.
    pub target: LogTarget,
    /// How events are written.
    pub format: EventFormat,
    /// Less serious events are only counted.
    pub level: Level,
}

/// Where events are told. Its clones tell the same log; the default one tells nobody.
#[derive(Clone, Default, Debug)]
pub struct Events(Option<Arc<EventLog>>);

#[derive(Debug)]
struct EventLog {
    settings: EventSettings,
    lines: SyncSender<Work>,
    kinds: Arc<Kinds>,
}

/// What is known of each kind of event.
#[derive(Debug)]
struct Kinds {
    told: [AtomicU64; EventKind::ALL.len()],
    rates: Mutex<[Rate; EventKind::ALL.len()]>,
    /// Lines for which there was no room since the last one that was written.
    lost: AtomicU64,
}

impl Events {
    /// Opens an error log, and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened, or the thread not be started.
    pub fn open(settings: EventSettings) -> io::Result<Self> {
        let output = LogOutput::open(settings.target.clone())?;
        let (lines, waiting) = mpsc::sync_channel(WAITING_MAX);
        let kinds = Arc::new(Kinds {
            told: Default::default(),
            rates: Mutex::default(),
            lost: AtomicU64::new(0),
        });
        let writer = Writer::new(output, waiting, settings.clone(), Arc::clone(&kinds));
        let thread = thread::Builder::new().name("events".into()).stack_size(STACK_BYTES);
        thread.spawn(move || {
            block_signals();
            writer.run();
        })?;
        Ok(Self(Some(Arc::new(EventLog { settings, lines, kinds }))))
    }

    /// Tells an event. The message is asked for only if it is written.
    pub fn tell<M: Into<String>>(&self, kind: EventKind, message: impl FnOnce() -> M) {
        let Some(log) = &self.0 else { return };
        log.kinds.told[kind as usize].fetch_add(1, Ordering::Relaxed);
        if kind.level() > log.settings.level || !log.kinds.may_write(kind, Instant::now()) {
            return;
        }
        let message: String = message().into();
        let line = line::write(&log.settings, kind, beginning(&message));
        if let Err(TrySendError::Full(_)) = log.lines.try_send(Work::Line(line)) {
            log.kinds.lost.fetch_add(1, Ordering::Relaxed);
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
        let (done, wait) = mpsc::channel();
        if log.lines.try_send(Work::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(wait_max);
        }
    }
}

/// As much of a message as is written.
fn beginning(message: &str) -> &str {
    let is_end = |end: &usize| message.is_char_boundary(*end);
    let end = (0..=MESSAGE_BYTES_MAX.min(message.len())).rev().find(is_end);
    &message[..end.unwrap_or(0)]
}

impl Kinds {
    fn may_write(&self, kind: EventKind, now: Instant) -> bool {
        self.rates()[kind as usize].may_write(now)
    }

    /// Of each kind whose window is over, how many lines were held back in it.
    fn held_back(&self, now: Instant) -> Vec<(EventKind, u64)> {
        let mut rates = self.rates();
        let held_back = |kind: EventKind| Some((kind, rates[kind as usize].end_window(now)?));
        EventKind::ALL.into_iter().filter_map(held_back).collect()
    }

    /// No code panics while it holds the lock.
    fn rates(&self) -> MutexGuard<'_, [Rate; EventKind::ALL.len()]> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    fn open(path: &std::path::Path, level: Level) -> Events {
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
        let events = open(&path, Level::Warn);
        for _ in 0..15 {
            events.tell(EventKind::FileDenied, || "denied");
        }
        events.tell(EventKind::FileFailed, || "failed");
        events.tell(EventKind::Started, || -> String { unreachable!("it is below the level") });
        let lines = lines(&events, &path);
        assert_eq!(lines.iter().filter(|line| line.ends_with("denied")).count(), 10);
        assert_eq!(lines.iter().filter(|line| line.ends_with("failed")).count(), 1);
        assert_eq!(lines.len(), 11, "{lines:?}");
        let counts: Vec<_> = events.counts().into_iter().filter(|(_, count)| *count > 0).collect();
        let expected =
            [(EventKind::Started, 1), (EventKind::FileDenied, 15), (EventKind::FileFailed, 1)];
        assert_eq!(counts, expected);
        let log = events.0.as_ref().unwrap();
        let later = Instant::now() + WINDOW;
        assert_eq!(log.kinds.held_back(later), [(EventKind::FileDenied, 5)]);
    }

    #[test]
    fn a_log_that_was_renamed_is_opened_again_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("error.log"), folder.path().join("error.log.1"));
        let events = open(&path, Level::Info);
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
        let events = open(&path, Level::Info);
        for kind in EventKind::ALL {
            for _ in 0..20 {
                events.tell(kind, || "x".repeat(2 * MESSAGE_BYTES_MAX));
            }
        }
        events.flush(Duration::from_millis(10));
        assert!(events.counts().iter().all(|(_, count)| *count == 20));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let long = "ü".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(beginning(&long).len(), MESSAGE_BYTES_MAX);
        let odd = format!("x{long}");
        assert_eq!(beginning(&odd).len(), MESSAGE_BYTES_MAX - 1);
        assert_eq!(beginning("short"), "short");
    }

    #[test]
    fn events_of_nobody_are_nothing() {
        let events = Events::default();
        events.tell(EventKind::Panic, || -> String { unreachable!("nobody reads it") });
        events.flush(Duration::from_secs(60));
        assert!(events.counts().iter().all(|(_, count)| *count == 0));
    }
}
