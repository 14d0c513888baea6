//! Restrictions on a child process: system calls, descriptors, memory, privileges.
//!
//! All are set in the child, between `fork` and `exec`, by system calls alone, so the test
//! process and its other threads are not affected.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The number of the user `nobody`.
const NOBODY: u32 = 65534;

/// The restrictions on a child.
#[derive(Clone, Copy, Default)]
pub(crate) struct Jail {
    /// A system call that fails, and the error that it returns.
    pub(crate) denied: Option<(libc::c_long, i32)>,
    /// Another one.
    pub(crate) also_denied: Option<(libc::c_long, i32)>,
    /// Whether `getsockopt(2)` of `TCP_INFO` fails with `EPERM`.
    pub(crate) no_tcp_info: bool,
    /// The limit on descriptors.
    pub(crate) nofile: Option<u64>,
    /// The limit on locked memory, in bytes.
    pub(crate) memlock: Option<u64>,
    /// The number of the user that the child becomes, and the limit on processes and threads of
    /// this user; see [`new_user`].
    pub(crate) processes: Option<(u32, u64)>,
    /// Whether the child drops root privileges.
    pub(crate) unprivileged: bool,
}

impl Jail {
    /// Sets the restrictions in the child that `command` starts.
    pub(crate) fn hold(self, command: &mut Command) -> &mut Command {
        // SAFETY: between fork and exec, `lock` makes system calls on data of its own stack and
        // nothing else: it neither allocates nor takes a lock.
        unsafe { command.pre_exec(move || self.lock()) }
    }

    fn lock(self) -> io::Result<()> {
        if let Some(bytes) = self.memlock {
            limit(libc::RLIMIT_MEMLOCK, bytes)?;
        }
        if let Some(count) = self.nofile {
            limit(libc::RLIMIT_NOFILE, count)?;
        }
        if let Some((user, count)) = self.processes {
            limit(libc::RLIMIT_NPROC, count)?;
            drop_privileges(user)?;
        } else if self.unprivileged {
            drop_privileges(NOBODY)?;
        }
        if self.no_tcp_info {
            // The second and the third argument: `level` and `optname`.
            let option = [(1, libc::IPPROTO_TCP as u32), (2, libc::TCP_INFO as u32)];
            deny(libc::SYS_getsockopt, option, libc::EPERM)?;
        }
        for (call, code) in self.denied.into_iter().chain(self.also_denied) {
            deny(call, [], code)?;
        }
        Ok(())
    }
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn kill(process: u32, signal: i32) {
    // SAFETY: `kill` takes two numbers; the process is a child that has not been waited for, so
    // its number refers to no other process.
    let result = unsafe { libc::kill(process as libc::pid_t, signal) };
    check(result).expect("a child accepts signals");
}

/// Sends a signal to one thread of a child that has not been waited for. The thread may have ended.
pub(crate) fn kill_thread(process: u32, thread: u32, signal: i32) {
    // SAFETY: `tgkill` takes three numbers; the process is a child that has not been waited for, so
    // its number refers to no other process, and the thread is one of its own.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

/// The number of a user who has no processes yet.
pub(crate) fn new_user() -> u32 {
    static USERS: AtomicU32 = AtomicU32::new(0);
    // Several test processes may run at the same time.
    100_000 + std::process::id() % 10_000 * 100 + USERS.fetch_add(1, Ordering::Relaxed) % 100
}

/// Whether this process may become another user.
pub(crate) fn is_root() -> bool {
    // SAFETY: `geteuid` takes no argument and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: `limit` is a valid structure that outlives the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn drop_privileges(user: u32) -> io::Result<()> {
    // SAFETY: the count is zero, so no groups are read and the list may be null.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: the call takes a number.
    check(unsafe { libc::setgid(user) })?;
    // SAFETY: the call takes a number.
    check(unsafe { libc::setuid(user) })
}

/// Makes one system call fail, in this process and in the program that it executes (seccomp(2)), if
/// its `arguments`, by index, have the values that are given.
///
/// The test and the server are built for the same architecture, so the filter need not check the
/// architecture of a call.
fn deny<const N: usize>(
    call: libc::c_long,
    arguments: [(u32, u32); N],
    code: i32,
) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    /// Where the arguments begin in `struct seccomp_data`, behind the number of the call, the
    /// architecture and the instruction pointer.
    const ARGUMENTS: u32 = 16;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let allow = step(RETURN, 0, libc::SECCOMP_RET_ALLOW);
    let mut filter = [allow; 8];
    let length = 4 + 2 * N;
    assert!(length <= filter.len(), "the filter is too long");
    // The number of the system call is the first field. Each comparison that fails jumps to the
    // last step.
    let tests = [(0, call as u32)].into_iter();
    let tests = tests.chain(arguments.map(|(index, value)| (ARGUMENTS + 8 * index, value)));
    for (number, (offset, value)) in tests.enumerate() {
        filter[2 * number] = step(LOAD, 0, offset);
        filter[2 * number + 1] = step(JUMP_IF_EQUAL, (length - 2 * number - 3) as u8, value);
    }
    filter[length - 2] = step(RETURN, 0, libc::SECCOMP_RET_ERRNO | code as u32);
    let program = libc::sock_fprog { len: length as libc::c_ushort, filter: filter.as_mut_ptr() };
    // Without it, only root may install a filter.
    // SAFETY: the call takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: `program` points to `filter`; both are valid and outlive the call, which copies.
    check(unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
