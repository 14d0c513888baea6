//! Why a file or a connection could not be had, as far as somebody does different things about it.

use std::io;

/// The kind of an error of an open, a read or a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileFailure {
    /// There is nothing of that name, or nothing that could be read: `ENOENT`, `ENOTDIR`,
    /// `ENAMETOOLONG`; and a FIFO, socket or device without anybody behind it (`ENXIO`, `ENODEV`).
    NotFound,
    /// It may not be read, or a link leads where links are not followed: `EACCES`, `EPERM`,
    /// `ELOOP`, `EXDEV`.
    Denied,
    /// Descriptors or memory are short: `EMFILE`, `ENFILE`, `ENOMEM`. Closing files mends it.
    Shortage,
    /// Too much is going on at the moment: `EAGAIN`, or a queue that is full.
    Busy,
    /// The disk, or something else that nobody expects.
    Other,
}

impl FileFailure {
    /// What an error is.
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG | libc::ENXIO | libc::ENODEV,
            ) => Self::NotFound,
            Some(libc::EACCES | libc::EPERM | libc::ELOOP | libc::EXDEV) => Self::Denied,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Self::Shortage,
            Some(libc::EAGAIN) => Self::Busy,
            _ if error.kind() == io::ErrorKind::ResourceBusy => Self::Busy,
            _ => Self::Other,
        }
    }
}

/// Why an accept failed (`accept(2)`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AcceptFailure {
    /// Nobody waits in the queue: `EAGAIN`.
    Nobody,
    /// Descriptors or memory are short: `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`. It is tried again
    /// after [`ACCEPT_RETRY`](super::ACCEPT_RETRY).
    Shortage,
    /// It is to be tried again at once: the connection was gone before it was accepted, the network
    /// failed under it, or a signal came.
    Passing,
    /// The listener fails.
    Broken,
}

impl AcceptFailure {
    /// What an error number is.
    pub(super) fn of(code: i32) -> Self {
        match code {
            libc::EAGAIN => Self::Nobody,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => Self::Shortage,
            libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::EPERM
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT => Self::Passing,
            _ => Self::Broken,
        }
    }

    /// What an error of a system call is.
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
        assert_eq!(FileFailure::of(&io::ErrorKind::ResourceBusy.into()), FileFailure::Busy);
    }
}
