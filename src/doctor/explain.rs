//! The cause of an error of the kernel, and the remedies.

use super::facts::{System, TrialError};
use super::remedies::{ROOT, bytes, more_descriptors, more_locked_memory};
use super::report::Remedy;
use crate::driver::errno_name;

/// `CAP_SYS_ADMIN` and `CAP_IPC_LOCK` (`capabilities(7)`), as bits.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_IPC_LOCK: u64 = 1 << 14;

/// The value of `Seccomp` in `/proc/pid/status` if there is a filter.
const SECCOMP_FILTER: i64 = 2;

const FILTER: &str = "as an additional line in the systemd unit that has a SystemCallFilter";

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

/// Explains why `call` failed, or a feature of it that Linux has had since version `since`.
pub(super) fn explain(
    call: &str,
    since: (u32, u32),
    error: &TrialError,
    system: &System,
) -> Explanation {
    let ring = call.starts_with("io_uring_");
    let old = system.version().is_some_and(|version| version < since);
    let (major, minor) = since;
    match error.code {
        Some(libc::EPERM) if call == "io_uring_setup" => forbidden_ring(system),
        Some(libc::EPERM) => denied(call, "EPERM", system),
        Some(libc::EACCES) if system.seccomp == Ok(SECCOMP_FILTER) => {
            denied(call, "EACCES", system)
        }
        Some(libc::EACCES) => security_module(call),
        Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) if old => Explanation::of(
            format!("it needs Linux {major}.{minor}, and this kernel is older"),
            vec![newer_kernel(ring, since)],
        ),
        Some(code @ (libc::ENOSYS | libc::EOPNOTSUPP))
            if system.seccomp == Ok(SECCOMP_FILTER) && (ring || code == libc::ENOSYS) =>
        {
            denied(call, errno_name(code).unwrap_or("an error"), system)
        }
        Some(libc::ENOSYS | libc::EOPNOTSUPP) if ring => Explanation::of(
            "the kernel is built without CONFIG_IO_URING, or a sandbox such as gVisor hides it",
            Vec::new(),
        ),
        Some(libc::ENOSYS) => Explanation::of("a sandbox such as gVisor hides it", Vec::new()),
        Some(libc::EOPNOTSUPP) => {
            Explanation::of("the file system does not support it", Vec::new())
        }
        Some(libc::ENOMEM) if ring => Explanation::of(
            match &system.memlock {
                Ok((soft, _)) => format!("the limit of locked memory is too low: {}", bytes(*soft)),
                Err(_) => "the limit of locked memory is too low".into(),
            },
            more_locked_memory(),
        ),
        Some(libc::EMFILE) => {
            Explanation::of("the process has reached its limit of descriptors", more_descriptors())
        }
        Some(libc::ENFILE) => Explanation::of(
            "the machine has reached its limit of open files",
            vec![Remedy::new("sysctl -w fs.file-max=1000000", ROOT)],
        ),
        _ => Explanation::of(error.text.clone(), Vec::new()),
    }
}

/// Explains `EPERM` of `io_uring_setup(2)`: by the sysctl, seccomp, or a security module.
fn forbidden_ring(system: &System) -> Explanation {
    let allow_all = || Remedy::new("sysctl -w kernel.io_uring_disabled=0", ROOT);
    let also = match system.seccomp {
        Ok(SECCOMP_FILTER) => "; a seccomp filter is active and may deny it as well",
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
                remedies.push(Remedy::new(line, "instead, to allow it only to this group"));
            }
            let who = "only processes with CAP_SYS_ADMIN and members of kernel.io_uring_group may \
                       use it";
            Explanation::of(format!("kernel.io_uring_disabled is 1: {who}{also}"), remedies)
        }
        Err(_) if system.seccomp.is_err() => {
            let mut remedies = vec![allow_all()];
            remedies.extend(allow_calls("io_uring_setup"));
            let cause = "a seccomp filter or kernel.io_uring_disabled denies it; /proc cannot be \
                         read, so it is not known which";
            Explanation::of(cause, remedies)
        }
        _ => denied("io_uring_setup", "EPERM", system),
    }
}

/// Explains an error with which a seccomp filter or a security module denies a call.
fn denied(call: &str, code: &str, system: &System) -> Explanation {
    match &system.seccomp {
        Ok(SECCOMP_FILTER) => Explanation::of(
            match call.starts_with("io_uring_") && code == "EPERM" {
                true => format!("a seccomp filter denies {call}, as in most containers"),
                false => format!("a seccomp filter denies {call} with {code}"),
            },
            allow_calls(call),
        ),
        Ok(_) => security_module(call),
        Err(_) => Explanation::of(
            format!(
                "a seccomp filter or a security module denies {call}; /proc cannot be read, so it \
                 is not known which"
            ),
            allow_calls(call),
        ),
    }
}

fn security_module(call: &str) -> Explanation {
    Explanation::of(
        format!("a security module (SELinux, AppArmor, BPF) denies {call}"),
        vec![Remedy::new(
            "journalctl -k --grep 'avc|apparmor'",
            "as root, to see which rule it is",
        )],
    )
}

fn allow_calls(call: &str) -> Vec<Remedy> {
    if call.starts_with("io_uring_") {
        return vec![
            Remedy::new(
                "docker run --security-opt seccomp=profile.json",
                "profile.json is the runtime's default profile with io_uring_setup, io_uring_enter \
                 and io_uring_register allowed",
            ),
            Remedy::new("SystemCallFilter=io_uring_setup io_uring_enter io_uring_register", FILTER),
        ];
    }
    let mut remedies = vec![
        Remedy::new(
            "docker run --security-opt seccomp=profile.json",
            "profile.json is the runtime's default profile with this call allowed; the defaults of \
             newer versions of the runtime and of libseccomp allow it",
        ),
        Remedy::new(format!("SystemCallFilter={call}"), FILTER),
    ];
    // A filter cannot see which mode the call would give a new file, so this option denies it.
    if call == "openat2" {
        remedies.push(Remedy::new(
            "RestrictSUIDSGID=no",
            "in the systemd unit that has it; DynamicUser=yes includes it, so name a User=",
        ));
    }
    remedies
}

fn newer_kernel(ring: bool, since: (u32, u32)) -> Remedy {
    let (major, minor) = if ring { since.max((6, 1)) } else { since };
    let line = format!("install Linux {major}.{minor} or newer");
    Remedy::new(line, "from your distribution, then restart the machine")
}

impl System {
    /// The version of the kernel; `None` if its release does not begin with one.
    pub(super) fn version(&self) -> Option<(u32, u32)> {
        let mut parts = self.release.as_ref().ok()?.split(|c: char| !c.is_ascii_digit());
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// Whether this process may use io_uring although `kernel.io_uring_disabled` is 1.
    fn may_despite_sysctl(&self) -> bool {
        let member = match (&self.uring_group, &self.groups) {
            (Ok(group), Ok(groups)) => groups.contains(group),
            _ => false,
        };
        member || self.has_capability(CAP_SYS_ADMIN)
    }

    /// Whether the kernel counts the memory of rings against the user's limit of locked memory:
    /// since Linux 6.14, unless the process has `CAP_IPC_LOCK`.
    pub(super) fn locks_memory_for_rings(&self) -> bool {
        self.version().is_some_and(|version| version >= (6, 14))
            && !self.has_capability(CAP_IPC_LOCK)
    }

    fn has_capability(&self, capability: u64) -> bool {
        self.capabilities.as_ref().is_ok_and(|bits| bits & capability != 0)
    }
}
