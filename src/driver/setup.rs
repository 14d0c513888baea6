//! Errors of a driver as a whole: which step or call failed, with which error, and what to do about
//! it.

use std::fmt;
use std::io;

/// A step of opening or using a driver that failed.
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

/// Adds to an error which step failed, often a system call, and what to do about it.
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
    macro_rules! denied {
        ($code:literal) => {
            concat!(
                $code,
                "; denied by a seccomp filter, such as the profile of a container: allow the \
                 call, as ringd doctor explains"
            )
        };
    }
    let of_ring = step.starts_with("io_uring");
    Some(match code {
        libc::EMFILE => "EMFILE; out of descriptors, raise the limit with ulimit -n",
        libc::ENFILE => "ENFILE; out of descriptors, raise the sysctl fs.file-max",
        // The errors have other causes when a ring is set up.
        libc::EPERM if !of_ring => denied!("EPERM"),
        libc::EACCES if !of_ring => denied!("EACCES"),
        libc::ENOSYS if !of_ring => denied!("ENOSYS"),
        _ if !of_ring => return None,
        libc::EPERM => "EPERM; blocked by seccomp or kernel.io_uring_disabled, see ringd doctor",
        libc::EACCES => "EACCES; forbidden by a security module (SELinux, AppArmor)",
        libc::ENOSYS => "ENOSYS; the kernel is built without it, or a sandbox hides it",
        libc::EOPNOTSUPP => "EOPNOTSUPP; a sandbox hides it",
        libc::EINVAL => "EINVAL; it needs Linux 6.1 or newer",
        libc::ENOMEM => "ENOMEM; not enough locked memory, raise the limit with ulimit -l",
        _ => return None,
    })
}

/// The symbolic name of an error with which a sandbox or a limit refuses a call.
pub fn errno_name(code: i32) -> Option<&'static str> {
    Some(match code {
        libc::EPERM => "EPERM",
        libc::EACCES => "EACCES",
        libc::ENOSYS => "ENOSYS",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EINVAL => "EINVAL",
        libc::ENOMEM => "ENOMEM",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::EAGAIN => "EAGAIN",
        libc::ETIME => "ETIME",
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
