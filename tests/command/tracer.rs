//! Stops one thread of a child, as a thread is stopped that waits for a disk that hangs.

#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::ptr;

use crate::process::Server;

/// A thread that is stopped. Dropping it lets the thread go on.
pub(crate) struct StoppedThread(libc::pid_t);

impl StoppedThread {
    /// Stops the thread of a server with this name. `None` if this machine forbids it; then the
    /// reason is printed.
    ///
    /// Only the thread of this process that has called this can let the thread go on (ptrace(2)).
    pub(crate) fn stop(server: &Server, name: &str) -> Option<Self> {
        let threads = fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
        let is_it = |path: &std::path::PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let path = threads.map(|thread| thread.unwrap().path()).find(is_it).expect("a thread");
        let id: libc::pid_t = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: the request takes no memory; the thread is one of a child of this process that
        // has not been waited for.
        if unsafe { libc::ptrace(libc::PTRACE_SEIZE, id, none, none) } < 0 {
            println!("skipped: no process may be traced: {}", io::Error::last_os_error());
            return None;
        }
        let thread = Self(id);
        // SAFETY: the request takes no memory; this thread traces that one.
        let result = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, id, none, none) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        // SAFETY: the status is not asked for, so no memory is written.
        let stopped = unsafe { libc::waitpid(id, ptr::null_mut(), libc::__WALL) };
        assert_eq!(stopped, id, "{}", io::Error::last_os_error());
        Some(thread)
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: the request takes no memory. It fails only if the child has ended.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}
