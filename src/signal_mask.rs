//! Threads that take no signals, or that take them later.
//!
//! The kernel runs a handler on top of the one that it interrupts. So as many stack frames lie on
//! top of each other as there are different signals, each with all registers of the processor,
//! which are several KiB. That is more than the small stack of a helper thread holds. The handlers
//! run in the threads of the program instead.

#![allow(unsafe_code)]

#[cfg(feature = "cli")]
use std::io;
#[cfg(feature = "cli")]
use std::marker::PhantomData;
use std::mem::MaybeUninit;
#[cfg(feature = "cli")]
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

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

/// Signals that wait. The descriptor is readable if one does (`signalfd(2)`), and nobody reads it.
/// So when this is dropped, each signal does what it would have done, with the same handler and in
/// the same way, before the drop returns: it may end the process, or suspend it.
///
/// Other threads of the process must not take these signals.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct HeldSignals {
    descriptor: OwnedFd,
    before: libc::sigset_t,
    /// Makes the type neither `Send` nor `Sync`: the signal mask belongs to this thread.
    _here: PhantomData<*const ()>,
}

#[cfg(feature = "cli")]
impl HeldSignals {
    /// Holds these signals back, except those that are blocked already: they would wait for ever.
    ///
    /// # Errors
    ///
    /// When no descriptor is left.
    pub(crate) fn hold(signals: &[i32]) -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the call writes to the set only, and initialises it.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: `sigemptyset` has just initialised the set.
        let mut set = unsafe { set.assume_init() };
        let mut before = set;
        // SAFETY: both sets are initialised, and `before` is exclusive. An empty set changes
        // nothing.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before) };
        for signal in signals {
            // SAFETY: the set is initialised.
            if unsafe { libc::sigismember(&raw const before, *signal) } == 0 {
                // SAFETY: the set is initialised and exclusive.
                unsafe { libc::sigaddset(&raw mut set, *signal) };
            }
        }
        // SAFETY: the set is a live local; with -1, the call creates a descriptor.
        let descriptor = match unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) } {
            -1 => return Err(io::Error::last_os_error()),
            // SAFETY: `signalfd` has just created the descriptor, and nothing else owns it.
            descriptor => unsafe { OwnedFd::from_raw_fd(descriptor) },
        };
        // SAFETY: the set is initialised; a null pointer asks for no previous mask. The call cannot
        // fail with a valid set.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        Ok(Self { descriptor, before, _here: PhantomData })
    }
}

#[cfg(feature = "cli")]
impl AsFd for HeldSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(feature = "cli")]
impl Drop for HeldSignals {
    fn drop(&mut self) {
        let before = &raw const self.before;
        // SAFETY: the set is initialised; a null pointer asks for no previous mask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
    }
}
