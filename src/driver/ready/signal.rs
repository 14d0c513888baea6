//! Safe wrappers of the system calls of signal-driven I/O.
//!
//! While [`Signals`] exists, two signals are blocked in its thread and read from a descriptor
//! (`signalfd(2)`) instead. Such a read returns signals sent to the reading thread or to the
//! process. [`Signals::direct`] has them sent to this thread, so no thread reads those of another.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::thread::Pid;

use crate::driver::call_log::{done, made};
use crate::driver::sys;

/// A signal as read from the descriptor; see `signalfd(2)` for the fields.
pub(super) type Signal = libc::signalfd_siginfo;

/// Signals that one read returns at most. The rest stay in the kernel's queue.
const BATCH: usize = 256;

/// Reads that the drop makes at most to empty the queue. They suffice for any queue; the bound
/// protects against a process that keeps sending signals.
const DRAINS_MAX: usize = 4096;

// Constants that the `libc` crate lacks (asm-generic/fcntl.h).
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;
const F_OWNER_TID: i32 = 0;

/// `struct f_owner_ex` of `fcntl(2)`.
#[repr(C)]
struct Owner {
    kind: i32,
    id: libc::pid_t,
}

thread_local! {
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// The signals of this thread; see the module documentation.
#[derive(Debug)]
pub(super) struct Signals {
    descriptor: OwnedFd,
    batch: Box<[Signal]>,
    thread: Pid,
    /// Of our signals, those that were not blocked before, and that the drop unblocks.
    unblock: libc::sigset_t,
    /// Makes the type neither `Send` nor `Sync`: the signal mask belongs to this thread.
    _here: PhantomData<*const ()>,
}

/// The signal that reports one event of one descriptor. The kernel queues each instance of a
/// real-time signal, and would merge those of another.
fn number() -> i32 {
    libc::SIGRTMIN()
}

impl Signals {
    /// Blocks the signals in this thread. Fails if the thread has a `Signals` already: each of the
    /// two would read the other's signals.
    pub(super) fn block() -> io::Result<Self> {
        if TAKEN.get() {
            let message = "this thread has a signal-driven driver, and can have no second one";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        let ours = set(|_| true);
        // SAFETY: the set is a live local; with -1, the call creates a descriptor.
        let descriptor = check(unsafe {
            libc::signalfd(-1, &raw const ours, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
        })?;
        // SAFETY: `signalfd` has just created the descriptor, and nothing else owns it.
        let descriptor = unsafe { sys::own(descriptor) };
        let thread = rustix::thread::gettid();
        let before = mask(libc::SIG_BLOCK, &ours)?;
        TAKEN.set(true);
        // SAFETY: the set is initialised.
        let unblock = set(|signal| unsafe { libc::sigismember(&raw const before, signal) } == 0);
        // SAFETY: the struct has integer fields only, for which zero is a valid value.
        let none: Signal = unsafe { MaybeUninit::zeroed().assume_init() };
        let batch = vec![none; BATCH].into_boxed_slice();
        Ok(Self { descriptor, batch, thread, unblock, _here: PhantomData })
    }

    /// Makes a descriptor send its events to this thread. Returns `false` if this kind of file
    /// sends no signals. Events that occur during this call may be lost, so the caller polls once
    /// afterwards.
    pub(super) fn direct(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let fd = fd.as_raw_fd();
        match set_async(fd, true) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => return Ok(false),
            Err(error) => return Err(error),
        }
        // SAFETY: the call takes no pointer.
        let set_signal = || check(unsafe { libc::fcntl(fd, F_SETSIG, number()) });
        let owner = Owner { kind: F_OWNER_TID, id: self.thread.as_raw_nonzero().get() };
        // SAFETY: the owner is a live local, which the kernel only reads.
        let set_owner = || check(unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const owner) });
        let directed = made("fcntl", set_signal).and_then(|_| made("fcntl", set_owner));
        directed.inspect_err(|_| {
            // Nobody releases what was not directed.
            let _ = self.release(fd);
        })?;
        Ok(true)
    }

    /// Reverts [`Signals::direct`]. Queued signals stay queued.
    pub(super) fn release(&self, fd: RawFd) -> io::Result<()> {
        set_async(fd, false)
    }

    /// Reads queued signals, at most [`BATCH`].
    pub(super) fn take(&mut self) -> io::Result<&[Signal]> {
        let (address, len) = (self.batch.as_mut_ptr().cast(), size_of_val(&*self.batch));
        // SAFETY: pointer and length describe an exclusive slice of structs that accept any bytes.
        let call = || unsafe { libc::read(self.descriptor.as_raw_fd(), address, len) };
        let count = done("read", call);
        match usize::try_from(count) {
            Ok(count) => Ok(&self.batch[..count / size_of::<Signal>()]),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(&[]),
                error => Err(error),
            },
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// By now, no descriptor sends signals to this thread. A signal left in the queue would end the
/// process when it is unblocked, so the drop empties the queue first.
impl Drop for Signals {
    fn drop(&mut self) {
        TAKEN.set(false);
        let is_empty = |taken: io::Result<&[Signal]>| taken.is_ok_and(<[Signal]>::is_empty);
        if (0..DRAINS_MAX).any(|_| is_empty(self.take())) {
            // Cannot fail with a valid set; and signals that stay blocked do no harm.
            let _ = mask(libc::SIG_UNBLOCK, &self.unblock);
        }
    }
}

/// Whether this is the `SIGIO` that the kernel sends if the queue is full.
pub(super) fn is_overflow(signal: &Signal) -> bool {
    signal.ssi_signo == libc::SIGIO as u32
}

/// The set of our signals for which `member` returns true.
fn set(member: impl Fn(i32) -> bool) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call writes to the set only, and initializes it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: `sigemptyset` has just initialised the set.
    let mut set = unsafe { set.assume_init() };
    for signal in [number(), libc::SIGIO].into_iter().filter(|signal| member(*signal)) {
        // SAFETY: the set is initialised and exclusive.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Changes this thread's signal mask and returns the previous mask.
fn mask(how: i32, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = *set;
    // SAFETY: both sets are initialised, and `before` is exclusive.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut before) } {
        0 => Ok(before),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Sets or clears `O_ASYNC`. Unlike `F_SETFL`, the call fails for files that send no signals.
fn set_async(fd: RawFd, on: bool) -> io::Result<()> {
    let on = i32::from(on);
    // SAFETY: the argument is a live local, which the kernel only reads.
    let call = || unsafe { libc::ioctl(fd, libc::FIOASYNC, &raw const on) };
    made("ioctl", || check(call()).map(drop))
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
