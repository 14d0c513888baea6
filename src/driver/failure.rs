//! Kinds of errors, as far as callers handle them differently.

use std::io;

/// The kind of an error of an open, a read or a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileFailure {
    /// There is no such file, or nothing that can be read: `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`;
    /// also a FIFO, socket or device with nothing at the other end (`ENXIO`, `ENODEV`).
    NotFound,
    /// Reading is forbidden, or a link leads where links are not followed: `EACCES`, `EPERM`,
    /// `ELOOP`, `EXDEV`.
    Denied,
    /// Descriptors or memory ran out: `EMFILE`, `ENFILE`, `ENOMEM`. Closing files helps.
    Shortage,
    /// Too much is in progress at the moment: `EAGAIN`, or a full queue.
    Busy,
    /// An error of the disk, or an unexpected one.
    Other,
}

impl FileFailure {
    /// Classifies an error.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ENXIO | libc::ENODEV,
            ) => Self::NotFound,
            Some(libc::EACCES | libc::EPERM | libc::ELOOP | libc::EXDEV) => Self::Denied,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Self::Shortage,
            Some(libc::EAGAIN) => Self::Busy,
            _ => match error.kind() {
                io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => Self::Busy,
                io::ErrorKind::OutOfMemory => Self::Shortage,
                _ => Self::Other,
            },
        }
    }
}

/// Why a file is [`FileFailure::Denied`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenialCause {
    /// The rights of the file, or of a directory above it.
    Rights,
    /// It is a symbolic link, or beneath one, and those are not followed: `ELOOP`.
    Link,
    /// A symbolic link leads out of the root: `EXDEV`.
    Outside,
}

impl DenialCause {
    /// The cause of an error.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ELOOP) => Self::Link,
            Some(libc::EXDEV) => Self::Outside,
            _ => Self::Rights,
        }
    }
}

/// Why an accept failed (`accept(2)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AcceptFailure {
    /// The queue is empty: `EAGAIN`.
    WouldBlock,
    /// Descriptors or memory ran out: `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`; or a security module
    /// forbids it: `EPERM`, before the connection leaves the queue, so an accept at once would fail
    /// again. The accept is tried again after [`ACCEPT_RETRY`](super::ACCEPT_RETRY).
    Shortage,
    /// The accept can be tried again at once: the connection ended before it was accepted, its
    /// network failed, or a signal came.
    Transient,
    /// The listener itself fails.
    Broken,
}

impl AcceptFailure {
    /// Classifies an error number.
    pub(super) fn of(code: i32) -> Self {
        match code {
            libc::EAGAIN => Self::WouldBlock,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EPERM => {
                Self::Shortage
            }
            libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT => Self::Transient,
            _ => Self::Broken,
        }
    }

    /// Classifies an error of a system call.
    pub(super) fn of_error(error: &io::Error) -> Self {
        Self::of(error.raw_os_error().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_fall_into_kinds() {
        for (code, failure) in [
            (libc::ENOENT, FileFailure::NotFound),
            (libc::ENOTDIR, FileFailure::NotFound),
            (libc::ENAMETOOLONG, FileFailure::NotFound),
            (libc::ENXIO, FileFailure::NotFound),
            (libc::EACCES, FileFailure::Denied),
            (libc::EXDEV, FileFailure::Denied),
            (libc::ELOOP, FileFailure::Denied),
            (libc::EMFILE, FileFailure::Shortage),
            (libc::EAGAIN, FileFailure::Busy),
            (libc::EIO, FileFailure::Other),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(FileFailure::of(&error), failure, "{code}");
        }
        for (kind, failure) in [
            (io::ErrorKind::ResourceBusy, FileFailure::Busy),
            (io::ErrorKind::OutOfMemory, FileFailure::Shortage),
        ] {
            assert_eq!(FileFailure::of(&kind.into()), failure);
        }
        // As when no thread can be started: the text replaces the number, and the kind stays.
        let no_thread = io::Error::from_raw_os_error(libc::EAGAIN);
        let explained = io::Error::new(no_thread.kind(), "raise the limit");
        assert_eq!(FileFailure::of(&explained), FileFailure::Busy);
    }

    /// An accept that a security module forbids fails again at once: it must not be a busy loop.
    #[test]
    fn an_accept_that_is_forbidden_pauses() {
        for code in [libc::EPERM, libc::EMFILE, libc::ENOMEM] {
            assert_eq!(AcceptFailure::of(code), AcceptFailure::Shortage, "{code}");
        }
    }
}
