//! Threads that take no signals.
//!
//! The kernel runs a handler on top of the one that it interrupts. So as many stack frames lie on
//! top of each other as there are different signals, each with all registers of the processor,
//! which are several KiB. That is more than the small stack of a helper thread holds. The handlers
//! run in the threads of the program instead.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

/// Blocks all signals in this thread, and in those that it starts from now on, but not those that
/// report a fault of the thread itself.
pub(crate) fn block_signals() {
    const FAULTS: [i32; 7] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
    ];
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call writes to the set only, and initialises it.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: `sigfillset` has just initialised the set.
    let mut set = unsafe { set.assume_init() };
    for signal in FAULTS {
        // SAFETY: the set is initialised and exclusive.
        unsafe { libc::sigdelset(&raw mut set, signal) };
    }
    // SAFETY: the set is initialised; a null pointer asks for no previous mask. The call cannot
    // fail with a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}
