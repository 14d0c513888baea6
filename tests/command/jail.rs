//! What a process is denied before it starts: system calls, descriptors, memory, privileges.
//!
//! Everything is done in the child, between `fork` and `exec`, by system calls alone: the test
//! process and its other threads are not touched.

#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The number of the user `nobody`.
const NOBODY: u32 = 65534;

/// What a child has to do without.
#[derive(Clone, Copy, Default)]
pub(crate) struct Jail {
    /// A system call that fails, and with which error.
    pub(crate) denied: Option<(libc::c_long, i32)>,
    /// Whether `getsockopt(2)` of `TCP_INFO` fails with `EPERM`.
    pub(crate) no_tcp_info: bool,
    /// Descriptors.
    pub(crate) nofile: Option<u64>,
    /// Bytes of locked memory.
    pub(crate) memlock: Option<u64>,
    /// Whether the child gives up being root.
    pub(crate) unprivileged: bool,
}

impl Jail {
    /// Puts the child that `command` starts into this jail.
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
        if self.unprivileged {
            drop_privileges()?;
        }
        if self.no_tcp_info {
            // The second and the third argument: `level` and `optname`.
            let option = [(1, libc::IPPROTO_TCP as u32), (2, libc::TCP_INFO as u32)];
            deny(libc::SYS_getsockopt, option, libc::EPERM)?;
        }
        match self.denied {
            Some((call, code)) => deny(call, [], code),
            None => Ok(()),
        }
    }
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn kill(process: u32, signal: i32) {
    // SAFETY: `kill` takes two numbers; the process is a child that nobody has waited for, so
    // its number names nobody else.
    let result = unsafe { libc::kill(process as libc::pid_t, signal) };
    check(result).expect("a child can be signalled");
}

/// Whether this process may become somebody else.
pub(crate) fn is_root() -> bool {
    // SAFETY: `geteuid` takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: `limit` is a valid structure that outlives the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn drop_privileges() -> io::Result<()> {
    // SAFETY: no groups are read, so the list may be null.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: the call takes a number.
    check(unsafe { libc::setgid(NOBODY) })?;
    // SAFETY: the call takes a number.
    check(unsafe { libc::setuid(NOBODY) })
}

/// Makes one system call fail, in this process and what it executes (seccomp(2)): if each of its
/// `arguments`, by index, has the value that is given here.
///
/// The numbers are those of the architecture that this test is built for, as are the calls that
/// the server makes; so the filter need not tell architectures apart.
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
    // The number of the call is the first field. Each comparison that fails jumps to the last step.
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
