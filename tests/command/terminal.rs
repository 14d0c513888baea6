//! A terminal for a program.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
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
