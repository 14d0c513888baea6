//! Errors of opening a driver: which step failed, with which error, and what to do about it.

use std::fmt;
use std::io;

/// A step of opening a driver that failed.
#[derive(Debug)]
struct StepFailed {
    step: &'static str,
    code: Option<i32>,
    reason: String,
}

impl fmt::Display for StepFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

impl std::error::Error for StepFailed {}

/// Adds to an error which step of opening a driver failed, and what to do about it.
pub(super) fn step_failed(step: &'static str, error: &io::Error) -> io::Error {
    let code = error.raw_os_error();
    let reason = match code.and_then(|code| explain(step, code)) {
        Some(reason) => reason.to_owned(),
        None => error.to_string(),
    };
    io::Error::new(error.kind(), StepFailed { step, code, reason })
}

/// The common errors, by name, with their causes and remedies.
fn explain(step: &str, code: i32) -> Option<&'static str> {
    Some(match code {
        libc::EMFILE => "EMFILE; out of descriptors, raise the limit with ulimit -n",
        libc::ENFILE => "ENFILE; out of descriptors, raise the sysctl fs.file-max",
        // The other errors have these causes only when a ring is set up.
        _ if !step.starts_with("io_uring") => return None,
        libc::EPERM => "EPERM; blocked by seccomp or kernel.io_uring_disabled, see ringd doctor",
        libc::EACCES => "EACCES; forbidden by a security module (SELinux, AppArmor)",
        libc::ENOSYS => "ENOSYS; the kernel is built without it, or a sandbox hides it",
        libc::EOPNOTSUPP => "EOPNOTSUPP; a sandbox hides it",
        libc::EINVAL => "EINVAL; it needs Linux 6.1 or newer",
        libc::ENOMEM => "ENOMEM; not enough locked memory, raise the limit with ulimit -l",
        _ => return None,
    })
}

/// The number of the system's error behind a failure, also of a failed step of opening a driver.
pub fn code_of(error: &io::Error) -> Option<i32> {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<StepFailed>()) {
        Some(step) => step.code,
        None => error.raw_os_error(),
    }
}
