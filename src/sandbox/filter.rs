//! Which system calls a server may make (`seccomp(2)`).
//!
//! Two filters are loaded, because a start needs more than a server that runs:
//!
//! | filter | when | what it denies |
//! | --- | --- | --- |
//! | [`first`] | before the driver is tested | all calls that no server makes |
//! | [`last`] | when every worker has its driver | connecting, making rings, further filters |
//!
//! A call that is denied fails with `EPERM`: a version of the C library may make a call that is not
//! in the table and do without it, and killing the server would help nobody.
//!
//! The calls that requests are served with are allowed whatever their arguments are. Since Linux
//! 5.11, the kernel notices that when a filter is loaded, and does not run the filter for them. So
//! arguments are looked at only where that does not happen for each request.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, apply_filter_all_threads,
};

use super::SandboxNeeds;
use super::coverage::{Coverage, Rings};

/// The rules of a filter; no rule for a call means that it matches with all arguments.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Bytes of the address with which `connect(2)` ends a connection: `AF_UNSPEC` alone. An address of
/// any other family is longer, so this length allows nothing else.
const UNSPECIFIED_BYTES: u64 = 2;

/// `SOCK_STREAM` and its like, without the flags beside them.
const SOCKET_TYPE: u64 = 0xf;

/// The protocols of stream sockets: the one that the family has, and TCP. Landlock rules on ports
/// hold for TCP only, so others such as `IPPROTO_MPTCP` would listen on ports of all numbers.
const PROTOCOLS: [i32; 2] = [0, libc::IPPROTO_TCP];

/// The calls of a driver, of the C library and of the runtime that are allowed with all arguments.
const CALLS: &[i64] = &[
    // Sockets.
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_listen,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_signalfd4,
    // Files.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fadvise64,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_lseek,
    libc::SYS_memfd_create,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readahead,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, signals and time.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getcpu,
    libc::SYS_getpriority,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_setpriority,
    libc::SYS_sigaltstack,
    // What the process is and may.
    libc::SYS_capget,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getresgid,
    libc::SYS_getresuid,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_uname,
    // The rest of the sandbox, which the last filter denies.
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    libc::SYS_seccomp,
];

/// Calls that only this architecture has, since others have newer ones for the same.
#[cfg(target_arch = "x86_64")]
const OLD_CALLS: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getrlimit,
    libc::SYS_lstat,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CALLS: &[i64] = &[];

/// The calls with which a reload makes a Unix socket and gives it its rights and its name, and with
/// which the file of a socket is removed.
const UNIX_CALLS: &[i64] = &[
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Requests of `ioctl(2)`: what a socket has received and what it has sent, whether a descriptor
/// blocks and whether it sends signals, whether it is a terminal, and how wide that is.
#[allow(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
const IOCTLS: [u64; 6] = [
    libc::FIONREAD as u64,
    libc::TIOCOUTQ as u64,
    libc::FIONBIO as u64,
    libc::FIOASYNC as u64,
    libc::TCGETS as u64,
    libc::TIOCGWINSZ as u64,
];

/// Options of `prctl(2)`: the names of threads and of memory, and what a filter needs.
const PRCTLS: [i32; 5] = [
    libc::PR_SET_NAME,
    libc::PR_GET_NAME,
    libc::PR_SET_VMA,
    libc::PR_SET_NO_NEW_PRIVS,
    libc::PR_GET_NO_NEW_PRIVS,
];

/// Why a filter cannot be loaded.
type Failed = seccompiler::Error;

/// Loads the filter that denies what no server does. Returns how many calls it allows.
pub(super) fn first(coverage: Coverage, needs: &SandboxNeeds) -> Result<usize, Failed> {
    let rules = allowed(needs)?;
    let count = rules.len();
    load(coverage, rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;
    // The C library makes threads with clone3(2) and, if there is no such call, with clone(2). Only
    // of the latter can a filter see the flags.
    let hidden = Rules::from([(libc::SYS_clone3, Vec::new())]);
    load(coverage, hidden, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    Ok(count)
}

/// Loads the filter that denies what only a start does.
pub(super) fn last(coverage: Coverage, rings: Rings) -> Result<(), Failed> {
    let denied = denied(rings)?;
    load(coverage, denied, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))
}

/// What the first filter allows.
fn allowed(needs: &SandboxNeeds) -> Result<Rules, Failed> {
    let all = CALLS.iter().chain(OLD_CALLS);
    let unix = UNIX_CALLS.iter().filter(|_| needs.has_unix);
    let mut rules: Rules = all.chain(unix).map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, sockets(needs)?);
    // A datagram could be sent from one of a pair to any socket that has an address.
    let pair = rule(&[equal(0, libc::AF_UNIX as u64)?, is_stream()?])?;
    rules.insert(libc::SYS_socketpair, vec![pair]);
    rules.insert(libc::SYS_ioctl, any(1, IOCTLS)?);
    rules.insert(libc::SYS_prctl, any(0, PRCTLS.map(|option| option as u64))?);
    // Signals only to this process.
    let own = || any(0, [u64::from(std::process::id())]);
    rules.insert(libc::SYS_kill, own()?);
    rules.insert(libc::SYS_tgkill, own()?);
    // Threads and no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![rule(&[masked(0, thread, thread)?])?]);
    // Memory that holds data holds no code.
    let execute = libc::PROT_EXEC as u64;
    rules.insert(libc::SYS_mmap, vec![rule(&[masked(2, execute, 0)?])?]);
    rules.insert(libc::SYS_mprotect, vec![rule(&[masked(2, execute, 0)?])?]);
    Ok(rules)
}

/// The sockets that a server makes.
fn sockets(needs: &SandboxNeeds) -> Result<Vec<SeccompRule>, Failed> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in PROTOCOLS {
            let protocol = equal(2, protocol as u64)?;
            rules.push(rule(&[equal(0, family as u64)?, is_stream()?, protocol])?);
        }
    }
    if needs.has_unix {
        rules.push(rule(&[equal(0, libc::AF_UNIX as u64)?, is_stream()?])?);
    }
    Ok(rules)
}

/// The type of a socket is that of streams.
fn is_stream() -> Result<SeccompCondition, Failed> {
    masked(1, SOCKET_TYPE, libc::SOCK_STREAM as u64)
}

/// What the last filter denies.
fn denied(rings: Rings) -> Result<Rules, Failed> {
    let length = SeccompCmpArgLen::Dword;
    let other = SeccompCondition::new(2, length, SeccompCmpOp::Ne, UNSPECIFIED_BYTES)?;
    let mut rules = Rules::from([(libc::SYS_connect, vec![rule(&[other])?])]);
    let mut deny = |calls: &[i64]| calls.iter().for_each(|call| drop(rules.insert(*call, vec![])));
    deny(&[
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_restrict_self,
        libc::SYS_seccomp,
    ]);
    // Rings are made once.
    if matches!(rings, Rings::None | Rings::Made) {
        deny(&[libc::SYS_io_uring_setup]);
    }
    if rings == Rings::None {
        deny(&[libc::SYS_io_uring_enter, libc::SYS_io_uring_register]);
    }
    Ok(rules)
}

/// Loads a filter.
fn load(
    coverage: Coverage,
    rules: Rules,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> Result<(), Failed> {
    let architecture = TargetArch::try_from(ARCH)?;
    let filter = SeccompFilter::new(rules, otherwise, matching, architecture)?;
    let program = BpfProgram::try_from(filter)?;
    match coverage {
        Coverage::Process => apply_filter_all_threads(&program),
        Coverage::Thread => apply_filter(&program),
    }
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, Failed> {
    Ok(SeccompRule::new(conditions.to_vec())?)
}

/// A rule for each value that an argument may have.
fn any<const N: usize>(argument: u8, values: [u64; N]) -> Result<Vec<SeccompRule>, Failed> {
    values.iter().map(|value| rule(&[equal(argument, *value)?])).collect()
}

/// The lower half of an argument has this value: the kernel looks at no more of these arguments.
fn equal(argument: u8, value: u64) -> Result<SeccompCondition, Failed> {
    let value = value & u64::from(u32::MAX);
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?)
}

/// These bits of the lower half of an argument have this value.
fn masked(argument: u8, bits: u64, value: u64) -> Result<SeccompCondition, Failed> {
    let compared = SeccompCmpOp::MaskedEq(bits);
    Ok(SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compared, value)?)
}

/// Whether the kernel can filter system calls: an error if not. The filter of this trial allows
/// everything but one call that nobody makes, and holds for the thread that asks.
pub(super) fn attempt() -> Result<(), Failed> {
    let rules = Rules::from([(libc::SYS_kexec_load, Vec::new())]);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    load(Coverage::Thread, rules, SeccompAction::Allow, denied)
}
