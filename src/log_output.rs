//! Where a log is written: a standard stream, a file or a named pipe.
//!
//! A file is opened again when its path leads elsewhere, so whoever rotates logs only renames them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// How often whoever writes a log should look whether its path leads elsewhere.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(1);

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

    /// Opens the path again. Returns whether there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be opened. Then the old file stays.
    pub(crate) fn reopen(&mut self) -> io::Result<bool> {
        if let (LogTarget::File(path), Some(file)) = (&self.target, &mut self.file) {
            *file = open(path)?;
        }
        Ok(self.file.is_some())
    }

    /// Whether the path leads to another file than the open one, or to none.
    pub(crate) fn has_moved(&self) -> bool {
        let (LogTarget::File(path), Some(file)) = (&self.target, &self.file) else { return false };
        let Ok(open) = file.metadata() else { return false };
        let same = |now: std::fs::Metadata| (now.dev(), now.ino()) == (open.dev(), open.ino());
        open.is_file() && !std::fs::metadata(path).is_ok_and(same)
    }
}

/// Opens a file to append lines. Opening a named pipe does not wait for a reader.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32);
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::new(error.kind(), "nobody reads this pipe"),
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
