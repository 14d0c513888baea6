//! Descriptors that the program which started this one has opened and passed (`sd_listen_fds(3)`).

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sys;

/// Takes ownership of the descriptors that `LISTEN_FDS` announces to this process, with their names
/// in `LISTEN_FDNAMES`, or `unknown`. Makes them close-on-exec. A second call returns none.
///
/// # Errors
///
/// When the variables contradict each other, or a descriptor is not open.
pub fn take_inherited() -> io::Result<Vec<(u32, String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Ok(Vec::new());
    }
    let all = sd_notify::listen_fds_with_names()?;
    let own = |(number, name): (i32, String)| {
        // SAFETY: the variables name this process (`LISTEN_PID`), so its parent has opened these
        // descriptors for it, and nothing in this process can own them: descriptors that it opens
        // itself get numbers that are free. They were found open just now, and each is taken once.
        let descriptor = unsafe { sys::own(number) };
        (number.unsigned_abs(), name, descriptor)
    };
    Ok(all.map(own).collect())
}
