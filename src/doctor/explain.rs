//! What is behind an error of the kernel, and the lines that mend it.

use super::facts::{Failure, System};
use super::remedies::{ROOT, bytes, more_descriptors, more_locked_memory};
use super::report::Remedy;

/// `CAP_SYS_ADMIN` and `CAP_IPC_LOCK` (`capabilities(7)`), as bits.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_IPC_LOCK: u64 = 1 << 14;

/// The mode of seccomp with a filter (`Seccomp` in `/proc/pid/status`).
const SECCOMP_FILTER: i64 = 2;

const FILTER: &str = "as one more line of the systemd unit that has a SystemCallFilter";

/// A cause and its remedies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Explanation {
    pub(super) cause: String,
    pub(super) remedies: Vec<Remedy>,
}

impl Explanation {
    fn of(cause: impl Into<String>, remedies: Vec<Remedy>) -> Self {
        Self { cause: cause.into(), remedies }
    }
}

/// Explains why `call`, or the part of it that came with Linux `since`, failed.
pub(super) fn explain(
    call: &str,
    since: (u32, u32),
    failure: &Failure,
    system: &System,
) -> Explanation {
    let ring = call.starts_with("io_uring_");
    let old = system.version().is_some_and(|version| version < since);
    let (major, minor) = since;
    match failure.code {
        Some(libc::EPERM) if call == "io_uring_setup" => forbidden_ring(system),
        Some(libc::EPERM) => denied(call, "EPERM", system),
        Some(libc::EACCES) if system.seccomp == Ok(SECCOMP_FILTER) => {
            denied(call, "EACCES", system)
        }
        Some(libc::EACCES) => security_module(call),
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) if old => Explanation::of(
            format!("it came with Linux {major}.{minor}, and this kernel is older"),
            vec![newer_kernel(ring, since)],
        ),
        Some(code @ (libc::ENOSYS | libc::EOPNOTSUPP))
            if system.seccomp == Ok(SECCOMP_FILTER) && (ring || code == libc::ENOSYS) =>
        {
            denied(call, name(code).unwrap_or("an error"), system)
        }
        Some(libc::ENOSYS | libc::EOPNOTSUPP) if ring => Explanation::of(
            "the kernel is built without CONFIG_IO_URING, or a sandbox such as gVisor hides it",
            Vec::new(),
        ),
        Some(libc::ENOSYS) => Explanation::of("a sandbox such as gVisor hides it", Vec::new()),
        Some(libc::EOPNOTSUPP) => Explanation::of("the file system has no such thing", Vec::new()),
        Some(libc::ENOMEM) if ring => Explanation::of(
            match &system.memlock {
                Ok((soft, _)) => format!("locked memory is short: {}", bytes(*soft)),
                Err(_) => "locked memory is short".into(),
            },
            more_locked_memory(),
        ),
        Some(libc::EMFILE) => {
            Explanation::of("the process is out of descriptors", more_descriptors())
        }
        Some(libc::ENFILE) => Explanation::of(
            "the machine is out of open files",
            vec![Remedy::new("sysctl -w fs.file-max=1000000", ROOT)],
        ),
        _ => Explanation::of(failure.text.clone(), Vec::new()),
    }
}

/// `EPERM` of `io_uring_setup(2)`: the sysctl, seccomp, or something that cannot be seen.
fn forbidden_ring(system: &System) -> Explanation {
    let allow_all = || Remedy::new("sysctl -w kernel.io_uring_disabled=0", ROOT);
    let also = match system.seccomp {
        Ok(SECCOMP_FILTER) => "; a seccomp filter is on and may deny it as well",
        _ => "",
    };
    match system.uring_disabled {
        Ok(2) => Explanation::of(
            format!("kernel.io_uring_disabled is 2: nobody may use io_uring{also}"),
            vec![allow_all()],
        ),
        Ok(1) if !system.may_despite_sysctl() => {
            let mut remedies = vec![allow_all()];
            if let Some(group) = system.groups.as_ref().ok().and_then(|groups| groups.first()) {
                let line = format!("sysctl -w kernel.io_uring_group={group}");
                remedies.push(Remedy::new(line, "instead, to allow it to this group alone"));
            }
            let who = "only CAP_SYS_ADMIN and the members of kernel.io_uring_group may use it";
            Explanation::of(format!("kernel.io_uring_disabled is 1: {who}{also}"), remedies)
        }
        Err(_) if system.seccomp.is_err() => {
            let mut remedies = vec![allow_all()];
            remedies.extend(allow_calls("io_uring_setup"));
            let cause = "a seccomp filter or kernel.io_uring_disabled, /proc does not tell which";
            Explanation::of(cause, remedies)
        }
        _ => denied("io_uring_setup", "EPERM", system),
    }
}

/// A call that somebody denies to this process.
fn denied(call: &str, code: &str, system: &System) -> Explanation {
    match &system.seccomp {
        Ok(SECCOMP_FILTER) => Explanation::of(
            match call.starts_with("io_uring_") && code == "EPERM" {
                true => format!("a seccomp filter denies {call}, as that of most containers does"),
                false => format!("a seccomp filter denies {call} with {code}"),
            },
            allow_calls(call),
        ),
        Ok(_) => security_module(call),
        Err(_) => Explanation::of(
            format!("a seccomp filter denies {call}, or a security module; /proc does not tell"),
            allow_calls(call),
        ),
    }
}

fn security_module(call: &str) -> Explanation {
    Explanation::of(
        format!("a security module (SELinux, AppArmor, BPF) forbids {call}"),
        vec![Remedy::new("journalctl -k --grep 'avc|apparmor'", "as root, shows which rule it is")],
    )
}

fn allow_calls(call: &str) -> Vec<Remedy> {
    if call.starts_with("io_uring_") {
        return vec![
            Remedy::new(
                "docker run --security-opt seccomp=profile.json",
                "profile.json being the runtime's default with io_uring_setup, io_uring_enter \
                 and io_uring_register allowed",
            ),
            Remedy::new("SystemCallFilter=io_uring_setup io_uring_enter io_uring_register", FILTER),
        ];
    }
    vec![
        Remedy::new(
            "docker run --security-opt seccomp=profile.json",
            "profile.json being the runtime's default with this call allowed; newer versions of \
             the runtime and of libseccomp allow it",
        ),
        Remedy::new(format!("SystemCallFilter={call}"), FILTER),
    ]
}

fn newer_kernel(ring: bool, since: (u32, u32)) -> Remedy {
    let (major, minor) = if ring { since.max((6, 1)) } else { since };
    let line = format!("install Linux {major}.{minor} or newer");
    Remedy::new(line, "a kernel of your distribution, then restart the machine")
}

impl System {
    /// The kernel's version, where its release begins with one.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.release.as_ref().ok()?.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// Whether `kernel.io_uring_disabled=1` leaves io_uring to this process.
    fn may_despite_sysctl(&self) -> bool {
        let member = match (&self.uring_group, &self.groups) {
            (Ok(group), Ok(groups)) => groups.contains(group),
            _ => false,
        };
        member || self.can(CAP_SYS_ADMIN)
    }

    /// Whether the memory of rings counts as locked memory of this process's user: on Linux 6.14
    /// and newer, but for the privileged.
    pub(super) fn pays_for_rings(&self) -> bool {
        self.version().is_some_and(|version| version >= (6, 14)) && !self.can(CAP_IPC_LOCK)
    }

    fn can(&self, capability: u64) -> bool {
        self.capabilities.as_ref().is_ok_and(|bits| bits & capability != 0)
    }
}

/// The names of the errors that mean something here.
pub(super) fn name(code: i32) -> Option<&'static str> {
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
