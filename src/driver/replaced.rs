//! System calls that the drivers can replace, and which of them are denied to this process.
//!
//! A seccomp filter stays for the life of a process (`seccomp(2)`), so a call that it denies once
//! is denied to all drivers for good. A call that one file system does not support, or that a
//! program such as a virus scanner denies for one file (`fanotify(7)`), is another case:
//! [`File::may_sendfile`](super::File::may_sendfile) remembers that for each file.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::setup::errno_name;

/// A system call that has a replacement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReplacedCall {
    /// `sendfile(2)`: files are read and sent instead.
    Sendfile,
    /// `preadv2(2)`: files are read on another thread instead.
    Preadv2,
}

/// The error with which each call was denied, or 0; in the order of [`ReplacedCall::ALL`].
static DENIED_WITH: [AtomicI32; 2] = [AtomicI32::new(0), AtomicI32::new(0)];

impl ReplacedCall {
    const ALL: [Self; 2] = [Self::Sendfile, Self::Preadv2];

    /// Whether the call is known to be denied.
    pub(super) fn is_denied(self) -> bool {
        self.code() != 0
    }

    /// Notes the error of a call. `EPERM` and `ENOSYS` are the answers of sandboxes, but may also
    /// be about the file. So the call is repeated with descriptors that the kernel refuses before
    /// it looks at any file: only a filter answers that with the same error.
    pub(super) fn failed(self, error: &io::Error) {
        let Some(code @ (libc::EPERM | libc::ENOSYS)) = error.raw_os_error() else { return };
        if self.repeat_in_vain().is_err_and(|again| again.raw_os_error() == code) {
            DENIED_WITH[self as usize].store(code, Ordering::Relaxed);
        }
    }

    /// Makes the call with descriptors that only stand for a path (`O_PATH`, `open(2)`), for which
    /// the kernel returns `EBADF`.
    fn repeat_in_vain(self) -> Result<(), Errno> {
        let path = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        // Without a descriptor it is not known whether there is a filter.
        let Ok(path) = path else { return Ok(()) };
        match self {
            Self::Sendfile => rustix::fs::sendfile(&path, &path, None, 1).map(drop),
            Self::Preadv2 => {
                let mut byte = [0];
                let buffers = &mut [IoSliceMut::new(&mut byte)];
                rustix::io::preadv2(&path, buffers, 0, ReadWriteFlags::NOWAIT).map(drop)
            }
        }
    }

    // Relaxed: the number does not synchronize any other memory.
    fn code(self) -> i32 {
        DENIED_WITH[self as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Display for ReplacedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, consequence) = match self {
            Self::Sendfile => ("sendfile", "files are read and sent instead, which costs more CPU"),
            Self::Preadv2 => ("preadv2", "a file that is not in memory may block a worker"),
        };
        let code = errno_name(self.code()).unwrap_or("an error");
        write!(f, "{name} is denied ({code}): {consequence}; run `ringd doctor` for the remedy")
    }
}

/// What is known to be denied, one note for each call.
pub(super) fn notes() -> Vec<String> {
    let denied = ReplacedCall::ALL.iter().filter(|call| call.is_denied());
    denied.map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A virus scanner may answer `EPERM` for one file. This process has no filter.
    #[test]
    fn an_error_of_one_file_denies_nothing_to_the_process() {
        for call in ReplacedCall::ALL {
            for code in [libc::EPERM, libc::ENOSYS] {
                call.failed(&io::Error::from_raw_os_error(code));
                assert!(!call.is_denied(), "{call:?}");
            }
            assert_eq!(call.repeat_in_vain(), Err(Errno::BADF));
        }
    }
}
