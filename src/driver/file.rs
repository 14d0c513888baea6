//! An open file, shared by the caches that hold it and the ops that read it.
//!
//! The descriptor is closed when the last owner drops the file, so an op in flight keeps its file
//! open whatever happens to the cache entry.

use std::ffi::CStr;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::open_files::{CountedFile, OpenFiles};
use super::replaced::ReplacedCall;
use super::{Links, sys};
use crate::driver::call_log::made;

/// How long a file that was found completely in the page cache is assumed to stay there.
///
/// During this time, sends skip the residency check (`preadv2`, about 0.7 µs per 256 KiB).
pub(super) const RESIDENT_FOR: Duration = Duration::from_secs(1);

/// An open file, and its metadata when it was opened.
#[derive(Debug)]
pub struct File {
    content: FileContent,
    metadata: Metadata,
    links: Links,
    resident_until_ms: AtomicU64,
    refuses_sendfile: AtomicBool,
    /// Set by [`File::count_in`].
    counted: OnceLock<CountedFile>,
}

/// Where the content is.
#[derive(Debug)]
pub(super) enum FileContent {
    Kernel(fs::File),
    #[cfg(any(test, feature = "simulation"))]
    Simulated(Box<dyn SimulatedFile>),
}

/// A file of the simulator.
#[cfg(any(test, feature = "simulation"))]
pub(super) trait SimulatedFile: Debug + Send + Sync {
    /// The name by which it was opened.
    fn name(&self) -> &[u8];

    /// Reads at an offset, in bytes; reads less than asked for only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The present metadata.
    fn metadata(&self) -> Metadata;

    /// See [`File::entries`].
    fn entries(&self, limit: usize) -> io::Result<super::Entries>;

    /// See [`File::describe`].
    fn describe(&self, path: &[u8], links: Links) -> io::Result<Metadata>;

    /// Opens a path beneath this directory.
    fn open(&self, path: &[u8], links: Links) -> io::Result<File>;
}

/// The metadata that decides how a file is served. Two opens with equal metadata have the same
/// content, as far as the file system can tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Metadata {
    /// The kind of file.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// Last change of the content: seconds and nanoseconds since the epoch.
    pub modified: (i64, u32),
    /// Last change of the content or the inode: seconds and nanoseconds since the epoch.
    pub changed: (i64, u32),
    /// Inode number.
    pub inode: u64,
    /// Device number of the file system.
    pub device: u64,
}

/// The kinds of files that a server distinguishes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// Content that can be sent.
    Regular,
    /// A directory.
    Directory,
    /// FIFO, socket, device: never served.
    Other,
}

impl Metadata {
    fn of(found: &fs::Metadata) -> Self {
        let kind = match found.file_type() {
            kind if kind.is_file() => FileKind::Regular,
            kind if kind.is_dir() => FileKind::Directory,
            _ => FileKind::Other,
        };
        Self {
            kind,
            len: found.len(),
            modified: (found.mtime(), found.mtime_nsec() as u32),
            changed: (found.ctime(), found.ctime_nsec() as u32),
            inode: found.ino(),
            device: found.dev(),
        }
    }
}

impl File {
    /// System calls that [`File::new`] makes for a regular file: `statx(2)` and `fcntl(2)`.
    pub(super) const CALLS_OF_NEW: u64 = 2;

    /// Takes ownership of an open descriptor and reads its metadata (`fstat`, which does not wait
    /// for a disk once the file is open). If the file is used as a root, its links are
    /// [`Links::Beneath`].
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)` and `fcntl(2)`.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let file = fs::File::from(descriptor);
        let metadata = Metadata::of(&made("statx", || file.metadata())?);
        if metadata.kind == FileKind::Regular {
            sys::set_blocking(file.as_fd())?;
        }
        Ok(Self::of(FileContent::Kernel(file), metadata))
    }

    /// Whether the metadata is still what it was when the file was opened.
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)`.
    pub(crate) fn is_unchanged(&self) -> io::Result<bool> {
        match &self.content {
            FileContent::Kernel(file) => Ok(Metadata::of(&file.metadata()?) == self.metadata),
            #[cfg(any(test, feature = "simulation"))]
            FileContent::Simulated(file) => Ok(file.metadata() == self.metadata),
        }
    }

    /// A file that only the simulator can read.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn simulated(file: Box<dyn SimulatedFile>, metadata: Metadata) -> Self {
        Self::of(FileContent::Simulated(file), metadata)
    }

    fn of(content: FileContent, metadata: Metadata) -> Self {
        let (links, resident_until_ms) = (Links::Beneath, AtomicU64::new(0));
        let (refuses_sendfile, counted) = (AtomicBool::new(false), OnceLock::new());
        Self { content, metadata, links, resident_until_ms, refuses_sendfile, counted }
    }

    /// Counts the file among the open files of a worker, until it is closed. A file is counted only
    /// once.
    pub fn count_in(&self, files: &OpenFiles) {
        self.counted.get_or_init(|| files.add());
    }

    /// Whether [`File::count_in`] was called.
    pub fn is_counted(&self) -> bool {
        self.counted.get().is_some()
    }

    /// Opens a directory to serve from. Symbolic links on the way to it are followed; `links`
    /// decides about those beneath it. May wait for a disk, so it is for use before serving.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    pub fn open_root(path: &std::path::Path, links: Links) -> io::Result<Self> {
        Ok(Self::new(fs::File::open(path)?.into())?.with_links(links))
    }

    /// Opens a directory only as a place where paths begin, which follow all links: it cannot be
    /// read, and need not be readable.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    pub fn open_base(path: &std::path::Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path)?;
        Ok(Self::new(file.into())?.with_links(Links::Follow))
    }

    /// Opens a path beneath `root` as [`Op::OpenFile`](super::Op::OpenFile) does, but may wait for
    /// a disk: for tests, and to find out before serving whether the kernel can do it.
    ///
    /// # Errors
    ///
    /// Those of `openat2(2)`; the [`Links`] of `root` decide which links are refused.
    pub fn open_beneath(root: &Self, path: &CStr) -> io::Result<Self> {
        Self::found(root, sys::openat2(root.as_fd(), path, root.links, false)?)
    }

    /// Opens a path beneath `root` if there are no links on the way and the kernel has all its
    /// names in memory, so it does not wait for a disk.
    ///
    /// # Errors
    ///
    /// Those of `openat2(2)` with `RESOLVE_CACHED`: `WouldBlock` if a name is not in memory,
    /// `EINVAL` before Linux 5.12, `ELOOP` for links.
    pub fn open_in_memory(root: &Self, path: &CStr) -> io::Result<OwnedFd> {
        sys::openat2(root.as_fd(), path, Links::Never, true)
    }

    /// Opens a path beneath `root` if there are no links on the way. May wait for a disk.
    ///
    /// # Errors
    ///
    /// Those of `openat2(2)`; `ELOOP` for links.
    pub fn open_without_links(root: &Self, path: &CStr) -> io::Result<OwnedFd> {
        sys::openat2(root.as_fd(), path, Links::Never, false)
    }

    /// A file from a descriptor that was opened beneath a root; it has the root's [`Links`].
    pub(super) fn found(root: &Self, descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(descriptor)?.with_links(root.links))
    }

    /// The same file. If it is a directory, opens beneath it obey `links` from now on.
    pub fn with_links(self, links: Links) -> Self {
        Self { links, ..self }
    }

    /// Which links are followed beneath this directory.
    pub fn links(&self) -> Links {
        self.links
    }

    /// The metadata when the file was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Where the content is.
    pub(super) fn content(&self) -> &FileContent {
        &self.content
    }

    /// This file as the simulator knows it. Panics if it is a file of the kernel.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn as_simulated(&self) -> &dyn SimulatedFile {
        match &self.content {
            FileContent::Simulated(file) => &**file,
            FileContent::Kernel(_) => panic!("a kernel file was given to the simulator"),
        }
    }

    /// This file as the kernel knows it. Panics if it is a file of the simulator.
    pub(super) fn as_file(&self) -> &fs::File {
        match &self.content {
            FileContent::Kernel(file) => file,
            #[cfg(any(test, feature = "simulation"))]
            FileContent::Simulated(_) => {
                panic!("a simulated file was given to a real driver")
            }
        }
    }

    /// Reads at an offset, in bytes; may wait for a disk. It may read less than asked for, and
    /// reads nothing only at the end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.content {
            FileContent::Kernel(file) => made("pread64", || file.read_at(buffer, offset)),
            #[cfg(any(test, feature = "simulation"))]
            FileContent::Simulated(file) => file.read_at(buffer, offset),
        }
    }

    /// Whether `sendfile(2)` can send this file, as far as is known. If not, it must be read and
    /// sent.
    pub(super) fn may_sendfile(&self) -> bool {
        !self.refuses_sendfile.load(Ordering::Relaxed) && !ReplacedCall::Sendfile.is_denied()
    }

    /// Notes an error of `sendfile(2)`. Returns whether reading and sending may succeed
    /// nevertheless: the call is denied, or this file does not support it (`EINVAL`; a module of
    /// the kernel or a file system in user space may also give one of the others).
    pub(super) fn refuses_sendfile(&self, error: &io::Error) -> bool {
        ReplacedCall::Sendfile.failed(error);
        let codes = [libc::EINVAL, libc::EOPNOTSUPP, libc::EACCES, libc::EPERM, libc::ENOSYS];
        if error.raw_os_error().is_some_and(|code| codes.contains(&code)) {
            self.refuses_sendfile.store(true, Ordering::Relaxed);
        }
        !self.may_sendfile()
    }

    /// The present path of the file, for messages. `None` if the kernel does not tell it, as
    /// without `/proc`.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.content {
            FileContent::Kernel(file) => {
                fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
            }
            #[cfg(any(test, feature = "simulation"))]
            FileContent::Simulated(_) => None,
        }
    }

    /// Whether a send of this file may skip the residency check.
    pub(super) fn is_resident(&self, now: Instant) -> bool {
        milliseconds(now) < self.resident_until_ms.load(Ordering::Relaxed)
    }

    /// Notes that every part of the file was found in the page cache.
    pub(super) fn mark_resident(&self, now: Instant) {
        let until = milliseconds(now + RESIDENT_FOR);
        self.resident_until_ms.store(until, Ordering::Relaxed);
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.as_file().as_fd()
    }
}

/// Milliseconds since the first call in this process.
fn milliseconds(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(Instant::now)).as_millis() as u64
}
