//! A terminal for a program, or for a shell whose jobs its keys end and suspend.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// A new terminal: what a user holds, for typing, and what a program gets.
pub(crate) fn open() -> (File, File) {
    let (mut user, mut program) = (-1, -1);
    // SAFETY: the call writes two numbers to live locals; no name, modes or size are given.
    let result = unsafe {
        libc::openpty(
            &raw mut user,
            &raw mut program,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both descriptors are new, and nobody else owns them.
    let [user, program] = unsafe { [user, program].map(|fd| OwnedFd::from_raw_fd(fd)) };
    (user.into(), program.into())
}

/// Gives a program this terminal as that of its session, so that keys send signals.
pub(crate) fn control<'c>(command: &'c mut Command, terminal: &File) -> &'c mut Command {
    let begin = || {
        // Whoever runs the tests may ignore them.
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP] {
            // SAFETY: the call takes numbers.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // SAFETY: the call takes no argument.
        let is_leader = unsafe { libc::setsid() } != -1;
        // SAFETY: the call takes numbers. Descriptor 0 is the terminal.
        match is_leader && unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } == 0 {
            true => Ok(()),
            false => Err(std::io::Error::last_os_error()),
        }
    };
    command.stdin(terminal.try_clone().unwrap());
    // SAFETY: between fork and exec, the closure makes system calls with numbers, and nothing else.
    unsafe { command.pre_exec(begin) }
}
