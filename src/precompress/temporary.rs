//! A file under a temporary name, which becomes a compressed file by a rename.
//!
//! A temporary file is locked (`flock(2)`) as long as its process writes it, and the kernel
//! releases the lock when that process ends. So the next run can tell what is left over from what
//! another run is writing.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FlockOperation, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, fchmod, fchown,
    flock, fstat, fsync, futimens, openat, renameat, unlinkat,
};
use rustix::io::Errno;

/// Hidden names are not served.
const PREFIX: &str = ".ringd-precompress-";

/// How many names are tried. Names are random, so one is enough in practice.
const ATTEMPTS: usize = 16;

/// A file that is removed when the value is dropped, unless it was installed.
#[derive(Debug)]
pub(super) struct TemporaryFile<'a> {
    directory: BorrowedFd<'a>,
    name: String,
    pub(super) file: File,
    is_installed: bool,
}

impl<'a> TemporaryFile<'a> {
    /// Creates an empty file in a directory, which only its owner may read.
    pub(super) fn create(directory: BorrowedFd<'a>) -> io::Result<Self> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..ATTEMPTS {
            let name = format!("{PREFIX}{:016x}", fastrand::u64(..));
            let file = match openat(directory, &*name, flags, Mode::RUSR | Mode::WUSR) {
                Ok(file) => File::from(file),
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error.into()),
            };
            let temporary = Self { directory, name, file, is_installed: false };
            // Some file systems have no locks. Then nothing that is left over is removed either.
            let _ = flock(&temporary.file, FlockOperation::LockExclusive);
            // Another run may have taken it for left over before it was locked.
            if fstat(&temporary.file)?.st_nlink > 0 {
                return Ok(temporary);
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Gives the file what the plain file has, writes it to the disk, and renames it.
    pub(super) fn install(mut self, name: &OsStr, plain: &Stat) -> io::Result<()> {
        let mode = keep_owner(&self.file, plain)?;
        fchmod(&self.file, mode)?;
        futimens(&self.file, &times_of(plain))?;
        // Otherwise the disk might get the new name before the bytes.
        fsync(&self.file)?;
        renameat(self.directory, &*self.name, self.directory, name)?;
        self.is_installed = true;
        Ok(())
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        if !self.is_installed {
            // If it fails, the next run removes the file.
            let _ = unlinkat(self.directory, &*self.name, AtFlags::empty());
        }
    }
}

/// Gives a new file the owner and group of the plain file, as far as that is allowed; returns the
/// mode that it may have.
fn keep_owner(file: &File, plain: &Stat) -> io::Result<Mode> {
    let own = fstat(file)?;
    if (own.st_uid, own.st_gid) != (plain.st_uid, plain.st_gid) {
        let (user, group) = (Uid::from_raw(plain.st_uid), Gid::from_raw(plain.st_gid));
        let both = fchown(file, Some(user), Some(group));
        if both.is_err() {
            // Everybody may give a file to a group that they are in.
            let _ = fchown(file, None, Some(group));
        }
    }
    let own = fstat(file)?;
    let mut bits = plain.st_mode & 0o777;
    if own.st_gid != plain.st_gid {
        // This group may read no more than all users.
        bits &= 0o707 | (bits & 0o007) << 3;
    }
    Ok(Mode::from_raw_mode(bits))
}

fn times_of(plain: &Stat) -> Timestamps {
    // The types of these fields differ between architectures.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    let timespec = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: timespec(plain.st_atime as _, plain.st_atime_nsec as _),
        last_modification: timespec(plain.st_mtime as _, plain.st_mtime_nsec as _),
    }
}

/// Whether a name is that of a temporary file.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Removes a temporary file, unless another run writes it; returns whether it was removed.
pub(super) fn remove_left_over(directory: impl AsFd, name: &OsStr) -> io::Result<bool> {
    let open = |access: OFlags| {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        openat(&directory, name, flags, Mode::empty())
    };
    // Network file systems lock only what is open for writing; it may be read-only already.
    let Ok(file) = open(OFlags::RDWR).or_else(|_| open(OFlags::RDONLY)) else {
        // It is gone, or belongs to somebody else.
        return Ok(false);
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    match unlinkat(&directory, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        // The other run has just finished it.
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
