//! Failures of setting a driver up: which step failed, with which error, and what mends it.

use std::fmt;
use std::io;

/// A step of setting a driver up that failed.
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

/// Says which step of setting up failed, with which error, and what mends it.
pub(super) fn step_failed(step: &'static str, error: &io::Error) -> io::Error {
    let code = error.raw_os_error();
    let reason = match code.and_then(|code| explain(step, code)) {
        Some(reason) => reason.to_owned(),
        None => error.to_string(),
    };
    io::Error::new(error.kind(), StepFailed { step, code, reason })
}

/// The errors that set-up meets, by name, and what is behind them.
fn explain(step: &str, code: i32) -> Option<&'static str> {
    Some(match code {
        libc::EMFILE => "EMFILE; descriptors are short, raise the limit with ulimit -n",
        libc::ENFILE => "ENFILE; descriptors are short, raise the sysctl fs.file-max",
        // The others mean this when a ring was asked for.
        _ if !step.starts_with("io_uring") => return None,
        libc::EPERM => "EPERM; blocked by seccomp or kernel.io_uring_disabled, see ringd doctor",
        libc::EACCES => "EACCES; forbidden by a security module (SELinux, AppArmor)",
        libc::ENOSYS => "ENOSYS; the kernel is built without it, or a sandbox hides it",
        libc::EOPNOTSUPP => "EOPNOTSUPP; a sandbox hides it",
        libc::EINVAL => "EINVAL; it needs Linux 6.1 or newer",
        libc::ENOMEM => "ENOMEM; locked memory is short, raise it with ulimit -l",
        _ => return None,
    })
}

/// The number of the error behind a failure, for whoever has to tell them apart.
pub fn code_of(error: &io::Error) -> Option<i32> {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<StepFailed>()) {
        Some(step) => step.code,
        None => error.raw_os_error(),
    }
}
