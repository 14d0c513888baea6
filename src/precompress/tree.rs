//! Directories and files beneath the root, opened without following a symbolic link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, statat,
};
use rustix::io::Errno;

/// How many names of a directory are read.
const NAMES_MAX: usize = 1_000_000;

/// How many times a path is resolved, at most, if directories are renamed meanwhile (`openat2(2)`,
/// `EAGAIN`).
const ATTEMPTS: usize = 16;

/// The root of a run.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

/// What identifies a version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileVersion {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    /// In seconds and nanoseconds, as all times here.
    pub(super) modified: (i64, u32),
    pub(super) changed: (i64, u32),
}

impl FileVersion {
    /// The version of a regular file; `None` for everything else.
    pub(super) fn of(stat: &Stat) -> Option<Self> {
        // The types of these fields differ between architectures.
        #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
        let version = Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            bytes: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        };
        (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(version)
    }
}

impl Tree {
    /// Opens the root, which may be a link.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = Self { root: openat(CWD, root, flags, Mode::empty())? };
        // Shows at once whether the call works here.
        tree.directory(Path::new(""))?;
        Ok(tree)
    }

    /// Opens a directory; the path is relative to the root.
    pub(super) fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let confined =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(&self.root, path, flags, Mode::empty(), confined) {
                Err(Errno::AGAIN) => {}
                opened => return Ok(opened?),
            }
        }
        Err(Errno::AGAIN.into())
    }
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(super) struct PlainFile {
    pub(super) file: File,
    pub(super) stat: Stat,
    pub(super) version: FileVersion,
}

impl PlainFile {
    /// Opens a file of a directory. A link is not followed.
    pub(super) fn open(directory: impl AsFd, name: &OsStr) -> io::Result<Self> {
        // Opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(directory, name, flags, Mode::empty())?);
        let stat = fstat(&file)?;
        match FileVersion::of(&stat) {
            Some(version) => Ok(Self { file, stat, version }),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
        }
    }

    /// Whether the name still leads to this version of the file.
    pub(super) fn is_unchanged(&self, directory: impl AsFd, name: &OsStr) -> io::Result<bool> {
        let named = stat(directory, name)?.as_ref().and_then(FileVersion::of);
        let opened = FileVersion::of(&fstat(&self.file)?);
        Ok(named == Some(self.version) && opened == Some(self.version))
    }
}

/// What a name of a directory leads to; links are not followed. `None` if it does not exist.
pub(super) fn stat(directory: impl AsFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory, sorted, each with the type of its file.
pub(super) fn names(directory: impl AsFd) -> io::Result<Vec<(OsString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == NAMES_MAX {
            let text = format!("it has more than {NAMES_MAX} names");
            return Err(io::Error::other(text));
        }
        let kind = match entry.file_type() {
            // Some file systems do not say it here.
            FileType::Unknown => match stat(&directory, OsStr::from_bytes(name))? {
                Some(stat) => FileType::from_raw_mode(stat.st_mode),
                None => continue,
            },
            kind => kind,
        };
        names.push((OsString::from_vec(name.to_vec()), kind));
    }
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(names)
}
