//! Performs a task: one file in one coding.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;

use super::decode::decodes_to;
use super::encode::encode;
use super::report::SidecarFault;
use super::settings::PrecompressSettings;
use super::state::SidecarHeader;
use super::temporary::TemporaryFile;
use super::tree::{self, PlainFile, Tree};
use crate::http::semantics::negotiate::{Coding, is_as_new};

/// Bytes that are read or written at a time.
const PIECE: usize = 64 * 1024;

/// The clock of file systems ticks at least this often. Within a tick, two changes of a file may
/// have the same time.
const TICK: Duration = Duration::from_millis(20);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskKind {
    /// Write the compressed file.
    Make,
    /// Compare the compressed file with the plain one.
    Verify,
    /// Find out whether there should be a compressed file.
    Try,
}

/// One file in one coding.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// The plain file, relative to the root.
    pub(super) path: Arc<Path>,
    pub(super) coding: Coding,
    pub(super) kind: TaskKind,
    /// The size of the plain file when it was found.
    pub(super) bytes: u64,
}

/// How a task ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is a valid compressed file, which was written or had been there.
    Good { plain_bytes: u64, coded_bytes: u64 },
    /// A compressed file would not be smaller, or hardly. Whether one was removed.
    NotWorthIt { removed: bool },
    /// The file has a problem.
    Faulty(SidecarFault, String),
    /// Nothing can be written to the file system.
    Full(io::Error),
    /// The run is to end.
    Stopped,
}

/// What the threads of a run share while they read.
pub(super) trait Watcher {
    /// Takes note of bytes that were read.
    fn advance(&self, bytes: u64);
    /// Whether the run is to end.
    fn is_stopped(&self) -> bool;
}

/// The path of the compressed file beside a plain file.
pub(super) fn sidecar_path(plain: &Path, coding: Coding) -> PathBuf {
    let mut path = OsString::from(plain);
    path.push(coding.suffix());
    path.into()
}

/// A task, with what it needs.
struct Work<'a> {
    settings: &'a PrecompressSettings,
    task: &'a Task,
    directory: BorrowedFd<'a>,
    name: &'a OsStr,
    sidecar_name: &'a OsStr,
    plain: PlainFile,
}

/// Performs a task.
pub(super) fn perform(
    settings: &PrecompressSettings,
    tree: &Tree,
    task: &Task,
    watcher: &dyn Watcher,
) -> Outcome {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Outcome::Faulty(SidecarFault::Changed, error.to_string()),
        _ => Outcome::Faulty(SidecarFault::Unreadable, error.to_string()),
    };
    let sidecar = sidecar_path(&task.path, task.coding);
    let (Some(name), Some(sidecar_name)) = (task.path.file_name(), sidecar.file_name()) else {
        return unreadable(Errno::INVAL.into());
    };
    let directory = match tree.directory(task.path.parent().unwrap_or(Path::new(""))) {
        Ok(directory) => directory,
        Err(error) => return unreadable(error),
    };
    let directory = directory.as_fd();
    let plain = match PlainFile::open(directory, name) {
        Ok(plain) => plain,
        Err(error) => return unreadable(error),
    };
    let work = Work { settings, task, directory, name, sidecar_name, plain };
    match task.kind {
        TaskKind::Make => work.make(watcher),
        TaskKind::Verify => work.verify(watcher),
        TaskKind::Try => work.attempt(watcher),
    }
}

impl Work<'_> {
    fn make(&self, watcher: &dyn Watcher) -> Outcome {
        let temporary = match TemporaryFile::create(self.directory) {
            Ok(temporary) => temporary,
            Err(error) => return unwritable(error),
        };
        let coded_bytes = match self.encode(&temporary.file, watcher) {
            Ok(coded_bytes) => coded_bytes,
            Err(Outcome::NotWorthIt { .. }) => return self.without(),
            Err(outcome) => return outcome,
        };
        match tree::stat(self.directory, self.sidecar_name) {
            Ok(None) => {}
            Ok(Some(stat)) if FileType::from_raw_mode(stat.st_mode).is_file() => {}
            Ok(_) => return Outcome::Faulty(SidecarFault::Occupied, String::new()),
            Err(error) => return unwritable(error),
        }
        if let Err(error) = temporary.install(self.sidecar_name, &self.plain.stat) {
            return unwritable(error);
        }
        // Between the last look and the rename, the file may have changed within a tick.
        if !self.is_unchanged() {
            let _ = unlinkat(self.directory, self.sidecar_name, AtFlags::empty());
            return Outcome::Faulty(SidecarFault::Changed, String::new());
        }
        Outcome::Good { plain_bytes: self.plain.version.bytes, coded_bytes }
    }

    /// Encodes the plain file; returns the number of coded bytes. The error is an outcome.
    fn encode(&self, output: impl Write, watcher: &dyn Watcher) -> Result<u64, Outcome> {
        let bytes = self.plain.version.bytes;
        self.settle();
        let mut source = Source::new(&self.plain, watcher);
        let allowed = self.settings.coded_bytes_max(bytes);
        let mut sink = Sink {
            output: BufWriter::with_capacity(PIECE, output),
            written: 0,
            allowed,
            is_over: false,
            has_failed: false,
        };
        let how = (self.task.coding, self.settings.level);
        let encoded = encode(how, bytes, &mut source, &mut sink);
        let (read, is_unreadable) = (source.read, source.has_failed);
        source.skip_rest();
        let encoded = encoded.and_then(|()| sink.flush());
        if watcher.is_stopped() {
            return Err(Outcome::Stopped);
        }
        if !self.is_unchanged() || (encoded.is_ok() && read != bytes) {
            return Err(Outcome::Faulty(SidecarFault::Changed, String::new()));
        }
        match encoded {
            Ok(()) => Ok(sink.written),
            Err(_) if sink.is_over => Err(Outcome::NotWorthIt { removed: false }),
            Err(error) if is_unreadable => {
                Err(Outcome::Faulty(SidecarFault::Unreadable, error.to_string()))
            }
            Err(error) => Err(unwritable(error)),
        }
    }

    /// Waits until a further change of the file would show in its times.
    fn settle(&self) {
        let (seconds, nanoseconds) = self.plain.version.changed;
        let Ok(seconds) = u64::try_from(seconds) else { return };
        let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        if let Ok(age) = SystemTime::now().duration_since(changed)
            && let Some(rest) = TICK.checked_sub(age)
        {
            thread::sleep(rest);
        }
    }

    fn is_unchanged(&self) -> bool {
        self.plain.is_unchanged(self.directory, self.name).unwrap_or(false)
    }

    /// There should be no compressed file. If there is one, it is not current.
    fn without(&self) -> Outcome {
        let is_file = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode).is_file();
        let is_there = tree::stat(self.directory, self.sidecar_name);
        if !self.settings.prune || !is_there.is_ok_and(|stat| stat.is_some_and(is_file)) {
            return Outcome::NotWorthIt { removed: false };
        }
        match unlinkat(self.directory, self.sidecar_name, AtFlags::empty()) {
            Ok(()) => Outcome::NotWorthIt { removed: true },
            Err(error) => unwritable(error.into()),
        }
    }

    fn attempt(&self, watcher: &dyn Watcher) -> Outcome {
        match self.encode(io::sink(), watcher) {
            Ok(_) => Outcome::Faulty(SidecarFault::Missing, String::new()),
            Err(outcome) => outcome,
        }
    }

    fn verify(&self, watcher: &dyn Watcher) -> Outcome {
        let fault = |fault| Outcome::Faulty(fault, String::new());
        let failed =
            |error: io::Error| Outcome::Faulty(SidecarFault::UnreadableSidecar, error.to_string());
        let coding = self.task.coding;
        let sidecar = match PlainFile::open(self.directory, self.sidecar_name) {
            Ok(sidecar) => sidecar,
            Err(error) => return failed(error),
        };
        if !is_as_new(sidecar.version.modified, self.plain.version.modified) {
            return fault(SidecarFault::Stale);
        }
        match SidecarHeader::read(&sidecar.file) {
            Ok(header) if header.has_large_window(coding) => {
                return fault(SidecarFault::LargeWindow);
            }
            Ok(_) => {}
            Err(error) => return failed(error),
        }
        let mut source = Source::new(&self.plain, watcher);
        let is_same = decodes_to(coding, &sidecar.file, &mut source);
        source.skip_rest();
        let (plain_bytes, coded_bytes) = (self.plain.version.bytes, sidecar.version.bytes);
        match is_same {
            _ if watcher.is_stopped() => Outcome::Stopped,
            _ if !self.is_unchanged() => fault(SidecarFault::Changed),
            Err(error) => failed(error),
            Ok(false) => fault(SidecarFault::Different),
            Ok(true) if coded_bytes >= plain_bytes => fault(SidecarFault::NotSmaller),
            Ok(true) => Outcome::Good { plain_bytes, coded_bytes },
        }
    }
}

fn unwritable(error: io::Error) -> Outcome {
    match Errno::from_io_error(&error) {
        // The next files would fail in the same way.
        Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => Outcome::Full(error),
        _ => Outcome::Faulty(SidecarFault::Unwritable, error.to_string()),
    }
}

/// The bytes of a plain file. No more are read than it had when it was opened.
struct Source<'a> {
    file: &'a File,
    bytes: u64,
    read: u64,
    has_failed: bool,
    watcher: &'a dyn Watcher,
}

impl<'a> Source<'a> {
    fn new(plain: &'a PlainFile, watcher: &'a dyn Watcher) -> Self {
        let (file, bytes) = (&plain.file, plain.version.bytes);
        Self { file, bytes, read: 0, has_failed: false, watcher }
    }

    /// The rest will not be read, but counts as progress.
    fn skip_rest(&self) {
        self.watcher.advance(self.bytes - self.read);
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watcher.is_stopped() {
            return Err(io::Error::other("the run is to end"));
        }
        let left = usize::try_from(self.bytes - self.read).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read(&mut buffer[..wanted]).inspect_err(|error| {
            self.has_failed = error.kind() != io::ErrorKind::Interrupted;
        })?;
        self.read += read as u64;
        self.watcher.advance(read as u64);
        Ok(read)
    }
}

/// Counts what is written. Fails as soon as it is too much to be worth it.
struct Sink<W: Write> {
    output: BufWriter<W>,
    written: u64,
    allowed: u64,
    is_over: bool,
    has_failed: bool,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // After an error, some encoders go on until they are dropped.
        if self.has_failed || self.is_over {
            return Err(io::Error::other("an earlier write has failed"));
        }
        if bytes.len() as u64 > self.allowed - self.written {
            self.is_over = true;
            return Err(io::Error::other("the compressed file is not smaller"));
        }
        self.output.write_all(bytes).inspect_err(|_| self.has_failed = true)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
