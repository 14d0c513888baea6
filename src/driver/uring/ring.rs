//! The ring: set up with the right flags, fed with submissions, emptied of completions.
//!
//! One system call per turn: [`Ring::enter`] submits what was pushed, and waits, with a timeout. A
//! push never fails: if the submission queue is full, it is handed to the kernel, and what the
//! kernel does not take yet waits in order.
//!
//! The ring belongs to the thread that made it (`IORING_SETUP_SINGLE_ISSUER`), and completions are
//! produced only inside `enter` (`IORING_SETUP_DEFER_TASKRUN`), so nothing interrupts the loop.
//!
//! Invariant: `outstanding` is the number of submissions that were pushed and whose last completion
//! has not come. So it is never negative, and never above `submitted`. A drop relies on it.

#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::register::Restriction;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, cqueue, opcode, squeue};

use crate::driver::call_log::{made, submitted};

/// The most submissions in one system call; more are split over several.
const SUBMISSIONS: u32 = 512;

/// The size of the completion queue. The kernel keeps any more aside, which ends multishot ops.
const COMPLETIONS: u32 = 4096;

/// The smallest queues worth running with, if locked memory is short (`RLIMIT_MEMLOCK`).
const SUBMISSIONS_MIN: u32 = 64;

/// The most completions that an `enter` waits for. With thousands of connections, a greater number
/// uses up all receive buffers in one turn, and the receives that find none have to be armed again.
/// Fewer completions at a time also stay in the caches until they are handled.
const WAITED_MAX: u32 = 128;

/// The ops that the driver submits; its accepts of one and of many connections are one op.
const OPS: [u8; 8] = [
    opcode::AcceptMulti::CODE,
    opcode::AsyncCancel::CODE,
    opcode::OpenAt2::CODE,
    opcode::PollAdd::CODE,
    opcode::Read::CODE,
    opcode::RecvMulti::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
];

/// `IORING_REGISTER_SYNC_CANCEL` (linux/io_uring.h).
const REGISTER_SYNC_CANCEL: u8 = 24;

/// A set-up flag: its names, the first version of Linux that has it, and how to set it.
pub(super) struct Flag {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) since: (u32, u32),
    pub(super) set: fn(&mut Builder) -> &mut Builder,
}

/// The flags that the driver requires. Some need those before them.
pub(super) const FLAGS: [Flag; 5] = [
    Flag {
        id: "flag.single_issuer",
        title: "flag SINGLE_ISSUER",
        since: (6, 0),
        set: Builder::setup_single_issuer,
    },
    Flag {
        id: "flag.defer_taskrun",
        title: "flag DEFER_TASKRUN",
        since: (6, 1),
        set: Builder::setup_defer_taskrun,
    },
    Flag {
        id: "flag.taskrun_flag",
        title: "flag TASKRUN_FLAG",
        since: (5, 19),
        set: Builder::setup_taskrun_flag,
    },
    Flag {
        id: "flag.submit_all",
        title: "flag SUBMIT_ALL",
        since: (5, 18),
        set: Builder::setup_submit_all,
    },
    Flag { id: "flag.clamp", title: "flag CLAMP", since: (5, 6), set: Builder::setup_clamp },
];

/// An io_uring instance; see the module documentation.
pub(super) struct Ring {
    ring: IoUring,
    waiting: VecDeque<squeue::Entry>,
    enter_flags: EnterFlags,
    /// Submissions since the last `enter` that complete without waiting for anything.
    certain: u32,
    /// Submissions whose last completion has not come.
    pub(super) outstanding: u64,
    pub(super) enters: u64,
    pub(super) submitted: u64,
}

/// The operation of a submission, as `io_uring_enter(2)` names it.
fn operation(entry: &squeue::Entry) -> &'static str {
    let opcode = u8::try_from(entry.get_opcode()).unwrap_or(u8::MAX);
    let known = [
        (opcode::Accept::CODE, "ACCEPT"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
        (opcode::OpenAt2::CODE, "OPENAT2"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::Read::CODE, "READ"),
        (opcode::Recv::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
    ];
    known.iter().find(|(code, _)| *code == opcode).map_or("another operation", |(_, name)| name)
}

impl Ring {
    /// Makes a ring for this thread.
    ///
    /// If the kernel lacks an optional flag, the ring does without it. If it lacks one that the
    /// driver requires (`DEFER_TASKRUN`, Linux 6.1), that is an error. If locked memory is short,
    /// the queues are halved until they fit.
    ///
    /// A `restricted` ring takes nothing before [`Ring::enable`].
    pub(super) fn open(restricted: bool) -> io::Result<Self> {
        let (mut submissions, mut completions) = (SUBMISSIONS, COMPLETIONS);
        let mut array = false;
        loop {
            match build(submissions, completions, array, restricted) {
                Ok(ring) => return Ok(Self::new(ring)),
                // Before Linux 6.6 there is no ring without the index array.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !array => array = true,
                Err(error)
                    if error.raw_os_error() == Some(libc::ENOMEM)
                        && submissions > SUBMISSIONS_MIN =>
                {
                    (submissions, completions) = (submissions / 2, completions / 2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn new(ring: IoUring) -> Self {
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            // Otherwise an idle server is accounted as a CPU that waits for a disk (iowait).
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        Self {
            ring,
            waiting: VecDeque::new(),
            enter_flags,
            certain: 0,
            outstanding: 0,
            enters: 0,
            submitted: 0,
        }
    }

    /// Lets a restricted ring take the ops of the driver, and nothing else for good. What is
    /// registered later is only a cancel.
    pub(super) fn enable(&self) -> io::Result<()> {
        let ops = OPS.iter().map(|op| Restriction::sqe_op(*op));
        let flags = squeue::Flags::ASYNC | squeue::Flags::BUFFER_SELECT;
        let rest = [
            Restriction::sqe_flags_allowed(flags.bits()),
            Restriction::register_op(REGISTER_SYNC_CANCEL),
        ];
        let submitter = self.ring.submitter();
        submitter.register_restrictions(&mut ops.chain(rest).collect::<Vec<_>>())?;
        submitter.register_enable_rings()
    }

    /// Whether the kernel takes an op that is none of the driver's.
    pub(super) fn takes_others(&mut self) -> io::Result<bool> {
        // SAFETY: the entry points to nothing.
        unsafe { self.push(&opcode::Nop::new().build()) };
        let mut reaped = Vec::new();
        self.enter(true, Some(Duration::from_secs(1)), &mut reaped)?;
        reaped.iter().for_each(|_| self.answered());
        Ok(reaped.first().is_none_or(|entry| entry.result() >= 0))
    }

    /// The registration interface of the ring.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues a submission.
    ///
    /// # Safety
    ///
    /// What the entry points to stays at its address, valid and (if the kernel writes it)
    /// untouched, until the entry's last completion has been reaped.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        self.outstanding += 1;
        self.submitted += 1;
        submitted(|| operation(entry));
        assert!(self.outstanding <= self.submitted);
        if self.waiting.is_empty() {
            // SAFETY: the caller keeps the contract of this function, which is that of `push`.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            // The kernel takes what is queued; the next `enter` deals with the result.
            self.enters += 1;
            let _ = made("io_uring_enter", || self.ring.submitter().submit());
            // SAFETY: as above.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
        }
        self.waiting.push_back(entry.clone());
    }

    /// Submits, waits until something completes or the timeout is over, and appends the completions
    /// to `reaped`. Without `wait`, it only submits and reaps.
    pub(super) fn enter(
        &mut self,
        wait: bool,
        timeout: Option<Duration>,
        reaped: &mut Vec<cqueue::Entry>,
    ) -> io::Result<()> {
        while let Some(entry) = self.waiting.front() {
            // SAFETY: the entry was given to `push`, whose contract lasts until its completion.
            if unsafe { self.ring.submission().push(entry) }.is_err() {
                break;
            }
            self.waiting.pop_front();
        }
        let timespec = timeout.map(Timespec::from);
        let mut arguments = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            arguments = arguments.timespec(timespec);
        }
        // The kernel performs about 20 items of work in an `enter`, or as many as the completions
        // that it is asked to wait for. A busy loop waits for those that are certain to come, and
        // so needs fewer turns; their number is limited, or each turn would ask for more.
        let certain = std::mem::take(&mut self.certain);
        let want =
            if self.waiting.is_empty() { certain.min(WAITED_MAX).max(u32::from(wait)) } else { 0 };
        let to_submit = self.ring.submission().len() as u32;
        self.enters += 1;
        // SAFETY: `SubmitArgs` is `io_uring_getevents_arg`, as `EXT_ARG` asks for, and it and
        // the timespec it points to outlive the call.
        let enter = || unsafe {
            self.ring.submitter().enter(to_submit, want, self.enter_flags.bits(), Some(&arguments))
        };
        let result = made("io_uring_enter", enter);
        if let Err(error) = result {
            // The timeout is over, a signal came, or the kernel wants completions reaped first.
            let harmless = [libc::ETIME, libc::EINTR, libc::EAGAIN, libc::EBUSY];
            if !error.raw_os_error().is_some_and(|code| harmless.contains(&code)) {
                return Err(error);
            }
        }
        reaped.extend(self.ring.completion());
        Ok(())
    }

    /// Notes that the last submission completes at once, whatever its result, so the next `enter`
    /// may wait for it.
    pub(super) fn certain(&mut self) {
        self.certain += 1;
    }

    /// Counts the last completion of a submission.
    pub(super) fn answered(&mut self) {
        assert!(self.outstanding > 0, "a completion without a submission");
        self.outstanding -= 1;
    }
}

fn build(submissions: u32, completions: u32, array: bool, restricted: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    FLAGS.iter().fold(&mut builder, |builder, flag| (flag.set)(builder));
    builder.setup_cqsize(completions).dontfork();
    if !array {
        builder.setup_no_sqarray();
    }
    if restricted {
        builder.setup_r_disabled();
    }
    builder.build(submissions)
}
