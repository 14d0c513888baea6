//! Which driver works here: found out by using it, once, before the server starts.

use std::io;

/// Says which step of setting up failed, and with which error, by its name.
pub(super) fn step_failed(step: &str, error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error().and_then(errno_name) {
        Some(name) => format!("{step}: {name}"),
        None => format!("{step}: {error}"),
    };
    io::Error::new(error.kind(), reason)
}

/// The names of the errors that set-up meets.
fn errno_name(code: i32) -> Option<&'static str> {
    Some(match code {
        libc::EPERM => "EPERM",
        libc::EACCES => "EACCES",
        libc::ENOSYS => "ENOSYS",
        libc::EINVAL => "EINVAL",
        libc::ENOMEM => "ENOMEM",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        _ => return None,
    })
}
