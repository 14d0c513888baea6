//! Where a log is written: a standard stream, a file or a named pipe.
//!
//! A file is opened again when its path leads elsewhere, so whoever rotates logs only renames them.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};

/// How often whoever writes a log should look whether its path leads elsewhere.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The most bytes that are written into a pipe at once (`PIPE_BUF`).
pub(crate) const PIPE_WRITE_MAX: usize = 4096;

/// The mode of a log that is created: addresses of clients are not for everybody.
const MODE: u32 = 0o640;

/// Where a log is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, which is created if it is missing, or a named pipe.
    File(PathBuf),
}

/// An open log.
#[derive(Debug)]
pub(crate) struct LogOutput {
    target: LogTarget,
    /// `None` for a standard stream.
    file: Option<File>,
}

impl LogOutput {
    /// Opens a log.
    pub(crate) fn open(target: LogTarget) -> io::Result<Self> {
        let file = match &target {
            LogTarget::Stdout | LogTarget::Stderr => None,
            LogTarget::File(path) => Some(open(path)?),
        };
        Ok(Self { target, file })
    }

    /// Writes a part of the bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.target, &mut self.file) {
            (_, Some(file)) => file.write(bytes),
            (LogTarget::Stderr, None) => Ok(rustix::io::write(io::stderr(), bytes)?),
            (_, None) => Ok(rustix::io::write(io::stdout(), bytes)?),
        }
    }

    /// Opens the path again. Returns whether it leads to another file now.
    ///
    /// # Errors
    ///
    /// When it cannot be opened. Then the old file stays.
    pub(crate) fn reopen(&mut self) -> io::Result<bool> {
        let (LogTarget::File(path), Some(file)) = (&self.target, &mut self.file) else {
            return Ok(false);
        };
        let new = open(path)?;
        let is_other = identity(&file.metadata()?) != identity(&new.metadata()?);
        *file = new;
        Ok(is_other)
    }

    /// Whether other processes may write into the same pipe. A write of up to [`PIPE_WRITE_MAX`]
    /// bytes is not interrupted by theirs (`pipe(7)`).
    pub(crate) fn is_pipe(&self) -> bool {
        let metadata = match (&self.target, &self.file) {
            (_, Some(file)) => fstat(file),
            (LogTarget::Stderr, None) => fstat(io::stderr()),
            (_, None) => fstat(io::stdout()),
        };
        metadata.is_ok_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Fifo)
    }

    /// Whether the path leads to another file than the open one, or to none.
    pub(crate) fn has_moved(&self) -> bool {
        let (LogTarget::File(path), Some(file)) = (&self.target, &self.file) else { return false };
        let Ok(open) = file.metadata() else { return false };
        let same = |now: Metadata| identity(&now) == identity(&open);
        let kind = open.file_type();
        (kind.is_file() || kind.is_fifo()) && !std::fs::metadata(path).is_ok_and(same)
    }
}

/// What distinguishes a file from all others.
fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Opens a file to append lines. Opening a named pipe does not wait for a reader.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        // `/dev/stdout` may lead to a socket, as under systemd.
        Some(libc::ENXIO) if std::fs::metadata(path).is_ok_and(|it| it.file_type().is_socket()) => {
            io::Error::new(io::ErrorKind::InvalidInput, "this is a socket; write stdout or stderr")
        }
        Some(libc::ENXIO) => io::Error::new(io::ErrorKind::NotConnected, "nobody reads this pipe"),
        _ => error,
    })?;
    let kind = file.metadata()?.file_type();
    if kind.is_block_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is a disk, not a file"));
    }
    let flags = fcntl_getfl(file.as_fd())?;
    fcntl_setfl(file.as_fd(), flags - OFlags::NONBLOCK)?;
    Ok(file)
}
