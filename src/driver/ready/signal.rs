//! The system calls of signal-driven I/O, each wrapped so that the poller itself is safe.
//!
//! Two signals are blocked in the thread for as long as [`Signals`] exist, and read from a
//! descriptor (`signalfd(2)`) instead. A thread reads those that were sent to itself and those
//! that were sent to the process; the owner that [`Signals::direct`] sets is this very thread, so
//! those of other threads stay with them.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::thread::Pid;

use crate::driver::sys;

/// A signal that was taken; see `signalfd(2)` for the fields.
pub(super) type Signal = libc::signalfd_siginfo;

/// Signals that one read takes. More wait in the kernel's queue.
const BATCH: usize = 256;

/// Reads that empty the queue in the end, more than any queue is long; whoever sends signals
/// without end must not keep us.
const DRAINS_MAX: usize = 4096;

// What the `libc` crate lacks (asm-generic/fcntl.h).
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
    /// Those of ours that this thread did not have blocked before.
    unblock: libc::sigset_t,
    /// They are this thread's.
    _here: PhantomData<*const ()>,
}

/// The real-time signal that tells of one event of one descriptor. Of these, each is queued.
fn number() -> i32 {
    libc::SIGRTMIN()
}

impl Signals {
    /// Blocks the signals in this thread. An error when it has done so already: the owners of
    /// two would take each other's.
    pub(super) fn block() -> io::Result<Self> {
        if TAKEN.get() {
            let message = "this thread has a signal-driven driver, and can have no second one";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
        }
        let ours = set(|_| true);
        // SAFETY: the set is live; with -1, a new descriptor is made.
        let descriptor = check(unsafe {
            libc::signalfd(-1, &raw const ours, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
        })?;
        // SAFETY: `signalfd` has just made it, and it is taken here only.
        let descriptor = unsafe { sys::own(descriptor) };
        let thread = rustix::thread::gettid();
        let before = mask(libc::SIG_BLOCK, &ours)?;
        TAKEN.set(true);
        // SAFETY: the set is initialized.
        let unblock = set(|signal| unsafe { libc::sigismember(&raw const before, signal) } == 0);
        // SAFETY: the signal is plain data for which zero is a value.
        let none: Signal = unsafe { MaybeUninit::zeroed().assume_init() };
        let batch = vec![none; BATCH].into_boxed_slice();
        Ok(Self { descriptor, batch, thread, unblock, _here: PhantomData })
    }

    /// Makes a descriptor send its events to this thread, and says whether it can: not every
    /// kind of file has signals. Those of the first moment may miss their way: the caller asks
    /// once what is ready afterwards.
    pub(super) fn direct(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let fd = fd.as_raw_fd();
        match set_async(fd, true) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => return Ok(false),
            Err(error) => return Err(error),
        }
        // SAFETY: the call takes no pointer.
        check(unsafe { libc::fcntl(fd, F_SETSIG, number()) })?;
        let owner = Owner { kind: F_OWNER_TID, id: self.thread.as_raw_nonzero().get() };
        // SAFETY: the owner is a live local, which the kernel only reads.
        check(unsafe { libc::fcntl(fd, F_SETOWN_EX, &raw const owner) })?;
        Ok(true)
    }

    /// Ends what [`Signals::direct`] began. Signals that are queued stay so.
    pub(super) fn release(&self, fd: RawFd) -> io::Result<()> {
        set_async(fd, false)
    }

    /// Takes the signals that are queued, or so many of them as one read brings.
    pub(super) fn take(&mut self) -> io::Result<&[Signal]> {
        let (address, len) = (self.batch.as_mut_ptr().cast(), size_of_val(&*self.batch));
        // SAFETY: pointer and length are those of an exclusive slice, whose fields take any bytes.
        let count = unsafe { libc::read(self.descriptor.as_raw_fd(), address, len) };
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

/// By now nothing sends to this thread any more. A signal that is left in the queue would end
/// the process when it is unblocked.
impl Drop for Signals {
    fn drop(&mut self) {
        TAKEN.set(false);
        let is_empty = |taken: io::Result<&[Signal]>| taken.is_ok_and(<[Signal]>::is_empty);
        if (0..DRAINS_MAX).any(|_| is_empty(self.take())) {
            // It fails for no set of signals. Blocked signals are no harm.
            let _ = mask(libc::SIG_UNBLOCK, &self.unblock);
        }
    }
}

/// `SIGIO` tells that the queue was full.
pub(super) fn is_overflow(signal: &Signal) -> bool {
    signal.ssi_signo == libc::SIGIO as u32
}

/// The set of those of our signals that are `member`s.
fn set(member: impl Fn(i32) -> bool) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call initializes the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it was initialized in the line before.
    let mut set = unsafe { set.assume_init() };
    for signal in [number(), libc::SIGIO].into_iter().filter(|signal| member(*signal)) {
        // SAFETY: the set is initialized and exclusive.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

/// Changes this thread's mask; returns the mask before.
fn mask(how: i32, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = *set;
    // SAFETY: both sets are initialized, and `before` is exclusive.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut before) } {
        0 => Ok(before),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Sets or clears `O_ASYNC` alone; unlike `F_SETFL`, it fails for files without signals.
fn set_async(fd: RawFd, on: bool) -> io::Result<()> {
    let on = i32::from(on);
    // SAFETY: the argument is a live local, which the kernel only reads.
    check(unsafe { libc::ioctl(fd, libc::FIOASYNC, &raw const on) }).map(drop)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
