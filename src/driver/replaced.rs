//! System calls that the drivers can replace, and which of them are denied to this process.
//!
//! A seccomp filter stays for the life of a process (`seccomp(2)`), so a call that was denied once
//! is denied to all drivers for good. A call that one file system does not support is another case:
//! [`File::may_sendfile`](super::File::may_sendfile) remembers that for each file.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

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

    /// Notes the error of a call. `EPERM` and `ENOSYS` are the answers of sandboxes: the manual
    /// pages of these calls know neither for a file that is open for reading.
    pub(super) fn failed(self, error: &io::Error) {
        if let Some(code @ (libc::EPERM | libc::ENOSYS)) = error.raw_os_error() {
            DENIED_WITH[self as usize].store(code, Ordering::Relaxed);
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
