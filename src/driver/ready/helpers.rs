//! Helper threads perform the calls that may wait for a disk, so the loop never blocks on one.
//!
//! The driver first tries a non-blocking call inline; if that would block, it makes a [`DiskJob`].
//! Jobs go to the helpers through a bounded queue, and wait in the driver while the queue is full.
//! Answers come back through a channel. A separate eventfd reports them to the poller, so an answer
//! is not mistaken for a wake.
//!
//! A job owns everything it uses, so dropping the driver does not wait for the helpers: they finish
//! the jobs left in the channel, free what those own, and exit when they find the channel closed.
//! The first job starts the threads: a server whose files are in memory has none.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::driver::call_log::InheritedLog;
use crate::driver::disk::{self, BufferRead};
use crate::driver::file_copy::read_piece;
use crate::driver::transfer::PIECE_BYTES;
use crate::driver::waker::{EventFd, Notifier};
use crate::driver::{File, OpId, Outcome, sys};

/// Threads per driver: more than one, so a slow directory does not stop all other jobs; no more,
/// because one disk gains little from them.
const THREADS: usize = 2;

/// Capacity of the queue between the driver and the helpers.
const QUEUE: usize = 16;

/// A call that may wait for a disk.
#[derive(Debug)]
pub(super) enum DiskJob {
    /// Open a path beneath a directory.
    Open { root: Arc<File>, path: CString },
    /// Fill a buffer.
    Read(BufferRead),
    /// Bring a piece of a file into the page cache.
    Fetch { file: Arc<File>, range: Range<u64> },
    /// Read a piece of a file that `sendfile(2)` does not send.
    Copy { file: Arc<File>, range: Range<u64> },
}

/// The answer of a helper.
#[derive(Debug)]
pub(super) struct DiskAnswer {
    pub(super) op: OpId,
    pub(super) result: DiskResult,
    pub(super) system_calls: u64,
}

/// The result of a [`DiskJob`].
#[derive(Debug)]
pub(super) enum DiskResult {
    Opened(io::Result<Arc<File>>),
    Read(io::Result<()>, BufferRead),
    /// What was read of a file, from this offset on.
    Copied(Arc<File>, u64, io::Result<Vec<u8>>),
    /// The fetch has ended. It ignores read errors: the send of the piece reports them.
    Fetched,
}

/// The driver's end; see the module documentation.
#[derive(Debug)]
pub(super) struct Helpers {
    jobs: Option<SyncSender<(OpId, DiskJob)>>,
    /// Jobs that do not fit into the queue. At most `overflow_max`: one for each op on a file, and
    /// one for each socket, whose send may fetch.
    overflow: VecDeque<(OpId, DiskJob)>,
    overflow_max: usize,
    answers: Receiver<DiskAnswer>,
    answer: Sender<DiskAnswer>,
    notifier: EventFd,
}

impl Helpers {
    /// Creates the helpers of a driver that has at most `jobs_max` jobs at a time.
    pub(super) fn new(jobs_max: usize) -> io::Result<Self> {
        let (answer, answers) = mpsc::channel();
        let notifier = EventFd::new()?;
        sys::set_nonblocking(&notifier)?;
        let (jobs, overflow, overflow_max) = (None, VecDeque::new(), jobs_max);
        Ok(Self { jobs, overflow, overflow_max, answers, answer, notifier })
    }

    /// Becomes readable when there are answers.
    pub(super) fn notifier(&self) -> &EventFd {
        &self.notifier
    }

    /// Queues a job for the helpers.
    pub(super) fn submit(&mut self, op: OpId, job: DiskJob) {
        if self.jobs.is_none() {
            match start(&self.answer, &self.notifier) {
                Ok(jobs) => self.jobs = Some(jobs),
                // No thread can be started. Block the loop: failing the op would be worse.
                Err(_) => return answer(&self.answer, &self.notifier, op, job),
            }
        }
        assert!(self.overflow.len() < self.overflow_max, "more jobs wait than ops can exist");
        self.overflow.push_back((op, job));
        self.feed();
    }

    /// Takes back a job that is not in the helpers' queue yet.
    pub(super) fn cancel(&mut self, op: OpId) -> Option<DiskJob> {
        let position = self.overflow.iter().position(|(other, _)| *other == op)?;
        self.overflow.remove(position).map(|(_, job)| job)
    }

    /// Returns the next answer, if there is one, and refills the queue.
    pub(super) fn next_answer(&mut self) -> Option<DiskAnswer> {
        let answer = self.answers.try_recv().ok()?;
        self.feed();
        Some(answer)
    }

    fn feed(&mut self) {
        let Some(jobs) = &self.jobs else { return };
        while let Some(job) = self.overflow.pop_front() {
            match jobs.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                    return self.overflow.push_front(job);
                }
            }
        }
    }
}

/// Starts the threads. One is enough; fails if there is none.
fn start(
    answers: &Sender<DiskAnswer>,
    notifier: &EventFd,
) -> io::Result<SyncSender<(OpId, DiskJob)>> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let jobs = Arc::new(Mutex::new(receiver));
    for started in 0..THREADS {
        let (jobs, answers, notifier) = (Arc::clone(&jobs), answers.clone(), notifier.clone());
        let helper = thread::Builder::new().name("disk helper".into());
        let log = InheritedLog::here();
        let started_helper = helper.spawn(move || {
            log.accept();
            help(&jobs, &answers, &notifier);
        });
        match started_helper {
            Err(error) if started == 0 => return Err(error),
            _ => {}
        }
    }
    Ok(sender)
}

/// The loop of a helper: performs jobs until the driver is dropped.
fn help(jobs: &Mutex<Receiver<(OpId, DiskJob)>>, answers: &Sender<DiskAnswer>, notifier: &EventFd) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((op, job)) = job else { return };
        answer(answers, notifier, op, job);
    }
}

fn answer(answers: &Sender<DiskAnswer>, notifier: &EventFd, op: OpId, job: DiskJob) {
    let mut system_calls = 0;
    let result = job.perform(&mut system_calls);
    // The send fails if the driver has been dropped; then nobody needs the answer.
    if answers.send(DiskAnswer { op, result, system_calls }).is_ok() {
        notifier.notify();
    }
}

impl DiskJob {
    /// Performs the job; blocks for as long as the disk takes.
    fn perform(self, system_calls: &mut u64) -> DiskResult {
        match self {
            Self::Open { root, path } => DiskResult::Opened(disk::open(&root, &path, system_calls)),
            Self::Read(mut read) => {
                let result = read.advance(usize::MAX, |file, room, offset| {
                    *system_calls += 1;
                    file.read_at(room, offset)
                });
                DiskResult::Read(result.map(drop), read)
            }
            Self::Fetch { file, range } => {
                fetch(&file, range, system_calls);
                DiskResult::Fetched
            }
            Self::Copy { file, range } => {
                let read = read_piece(&file, &range, system_calls);
                DiskResult::Copied(file, range.start, read)
            }
        }
    }

    /// The outcome of an op whose job was not performed.
    pub(super) fn end(self, error: io::Error) -> Outcome {
        match self {
            Self::Open { .. } => Outcome::Opened(Err(error)),
            Self::Read(read) => read.end(Err(error)),
            Self::Fetch { .. } | Self::Copy { .. } => {
                unreachable!("it is part of a send, not an op")
            }
        }
    }
}

/// Reads a piece to bring it into the page cache; discards the bytes.
fn fetch(file: &File, range: Range<u64>, system_calls: &mut u64) {
    let mut scratch = vec![0; PIECE_BYTES.min(range.end - range.start) as usize];
    let mut offset = range.start;
    while offset < range.end {
        let len = scratch.len().min((range.end - offset) as usize);
        *system_calls += 1;
        match file.read_at(&mut scratch[..len], offset) {
            Ok(0) => return,
            Ok(count) => offset += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::Files;

    const JOBS_MAX: usize = 3;

    /// Helpers without threads: the test reads the queue itself.
    fn idle() -> (Helpers, Receiver<(OpId, DiskJob)>) {
        let (jobs, queue) = mpsc::sync_channel(QUEUE);
        (Helpers { jobs: Some(jobs), ..Helpers::new(JOBS_MAX).unwrap() }, queue)
    }

    fn submit(helpers: &mut Helpers, number: usize) {
        let job = DiskJob::Open { root: Files::default().root(), path: c".".into() };
        helpers.submit(OpId(number as u64), job);
    }

    #[test]
    fn jobs_beyond_the_queue_wait_in_order() {
        let (mut helpers, queue) = idle();
        (0..QUEUE + JOBS_MAX).for_each(|number| submit(&mut helpers, number));
        assert_eq!(helpers.overflow.len(), JOBS_MAX);
        assert!(helpers.cancel(OpId(QUEUE as u64 + 1)).is_some());
        submit(&mut helpers, 99);
        let mut order = Vec::new();
        while let Ok((op, _)) = queue.try_recv() {
            order.push(op.0);
            helpers.feed();
        }
        let expected = (0..=QUEUE as u64).chain([QUEUE as u64 + 2, 99]);
        assert_eq!(order, expected.collect::<Vec<_>>());
    }

    #[test]
    #[should_panic = "more jobs wait than ops can exist"]
    fn one_job_too_many_panics() {
        let (mut helpers, _queue) = idle();
        (0..=QUEUE + JOBS_MAX).for_each(|number| submit(&mut helpers, number));
    }
}
