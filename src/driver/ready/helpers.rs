//! Helper threads: what would wait for a disk is done aside, so that the loop never does.
//!
//! The driver first tries inline, in a way that does not wait; what is refused then becomes a
//! [`Job`]. Jobs go to the helpers through a bounded queue, and wait in the driver when it is
//! full. Answers come back through a channel; an eventfd of their own tells the poller, so that
//! an answer is not mistaken for a wake.
//!
//! A job owns all that it uses. So nobody waits for a helper: when the driver is dropped, the
//! helpers find their channel closed behind the jobs that are in it, and what those own is freed
//! there. The threads start with the first job: a server whose files are in memory has none.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::driver::op::cancelled;
use crate::driver::transfer::PIECE_BYTES;
use crate::driver::{File, OpId, Outcome, Waker, sys};

/// Threads per driver. One disk gains little from more, and one slow directory must not stop
/// every other job.
const THREADS: usize = 2;

/// Jobs that wait outside the driver.
const QUEUE: usize = 16;

/// How often a path is resolved anew when directories are renamed meanwhile (`openat2(2)`,
/// `EAGAIN`).
const OPEN_ATTEMPTS: usize = 4;

/// Something that may wait for a disk.
#[derive(Debug)]
pub(super) enum Job {
    /// Open a path beneath a directory.
    Open { root: Arc<File>, path: CString },
    /// Fill a buffer.
    Read(Read),
    /// Bring a piece of a file into the page cache.
    Fetch { file: Arc<File>, range: Range<u64> },
}

/// A read of a file into the spare capacity of a buffer.
///
/// Invariant: the bytes of `buffer` from `start` on are those of the file from `offset` on.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) start: usize,
}

/// What became of a [`Job`].
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) op: OpId,
    pub(super) result: Found,
    pub(super) system_calls: u64,
}

/// What a [`Job`] brought.
#[derive(Debug)]
pub(super) enum Found {
    Opened(io::Result<Arc<File>>),
    Read(io::Result<()>, Read),
    /// The piece is as near as it will get; a read error is left for the send to report.
    Fetched,
}

/// The driver's end; see the module documentation.
#[derive(Debug)]
pub(super) struct Helpers {
    jobs: Option<SyncSender<(OpId, Job)>>,
    overflow: VecDeque<(OpId, Job)>,
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
    bell: Waker,
}

impl Helpers {
    pub(super) fn new() -> io::Result<Self> {
        let (answer, answers) = mpsc::channel();
        let bell = Waker::new()?;
        sys::set_nonblocking(&bell)?;
        Ok(Self { jobs: None, overflow: VecDeque::new(), answers, answer, bell })
    }

    /// Becomes readable when there are answers.
    pub(super) fn bell(&self) -> &Waker {
        &self.bell
    }

    /// Gives a job away; its answer comes later.
    pub(super) fn give(&mut self, op: OpId, job: Job) {
        if self.jobs.is_none() {
            match start(&self.answer, &self.bell) {
                Ok(jobs) => self.jobs = Some(jobs),
                // No thread can be had. Waiting for the disk here is slow, failing is worse.
                Err(_) => return answer(&self.answer, &self.bell, op, job),
            }
        }
        self.overflow.push_back((op, job));
        self.feed();
    }

    /// Takes a job back that no helper has begun.
    pub(super) fn withdraw(&mut self, op: OpId) -> Option<Job> {
        let position = self.overflow.iter().position(|(other, _)| *other == op)?;
        self.overflow.remove(position).map(|(_, job)| job)
    }

    /// An answer that has come. Each makes room for a job that waits.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
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

/// Starts the threads: at least one, or it is an error.
fn start(answers: &Sender<Answer>, bell: &Waker) -> io::Result<SyncSender<(OpId, Job)>> {
    let (sender, receiver) = mpsc::sync_channel(QUEUE);
    let jobs = Arc::new(Mutex::new(receiver));
    for started in 0..THREADS {
        let (jobs, answers, bell) = (Arc::clone(&jobs), answers.clone(), bell.clone());
        let helper = thread::Builder::new().name("disk helper".into());
        match helper.spawn(move || help(&jobs, &answers, &bell)) {
            Err(error) if started == 0 => return Err(error),
            _ => {}
        }
    }
    Ok(sender)
}

/// A helper's life: one job after the other, until the driver is gone.
fn help(jobs: &Mutex<Receiver<(OpId, Job)>>, answers: &Sender<Answer>, bell: &Waker) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((op, job)) = job else { return };
        answer(answers, bell, op, job);
    }
}

fn answer(answers: &Sender<Answer>, bell: &Waker, op: OpId, job: Job) {
    let mut system_calls = 0;
    let result = job.perform(&mut system_calls);
    // The send fails when the driver is gone: then nobody waits for the answer.
    if answers.send(Answer { op, result, system_calls }).is_ok() {
        bell.wake();
    }
}

impl Job {
    /// Does the job, waiting for disks.
    fn perform(self, system_calls: &mut u64) -> Found {
        match self {
            Self::Open { root, path } => {
                let mut attempt = 1;
                let opened = loop {
                    *system_calls += 1;
                    match sys::openat2(root.as_fd(), &path, false) {
                        Err(error)
                            if error.kind() == io::ErrorKind::WouldBlock
                                && attempt < OPEN_ATTEMPTS =>
                        {
                            attempt += 1;
                        }
                        opened => break opened,
                    }
                };
                Found::Opened(opened.and_then(File::new).map(Arc::new))
            }
            Self::Read(mut read) => {
                let result = read.advance(usize::MAX, |file, room, offset| {
                    *system_calls += 1;
                    file.as_file().read_at(room, offset)
                });
                Found::Read(result.map(drop), read)
            }
            Self::Fetch { file, range } => {
                fetch(&file, range, system_calls);
                Found::Fetched
            }
        }
    }

    /// The outcome of an op whose job is not done any more.
    pub(super) fn cancel(self) -> Outcome {
        match self {
            Self::Open { .. } => Outcome::Opened(Err(cancelled())),
            Self::Read(read) => read.end(Err(cancelled())),
            Self::Fetch { .. } => unreachable!("a fetch is no op, but a part of a send"),
        }
    }
}

impl Read {
    /// Reads on by `read` until the buffer is full or the file ends, which gives `true`, or
    /// `bytes_max` are read, which gives `false`.
    pub(super) fn advance(
        &mut self,
        bytes_max: usize,
        mut read: impl FnMut(&File, &mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<bool> {
        let mut left = bytes_max;
        loop {
            let len = self.buffer.len();
            let room = (self.buffer.capacity() - len).min(left);
            if len == self.buffer.capacity() {
                return Ok(true);
            }
            if room == 0 {
                return Ok(false);
            }
            let Some(offset) = self.offset.checked_add((len - self.start) as u64) else {
                return Ok(true);
            };
            self.buffer.resize(len + room, 0);
            let result = read(&self.file, &mut self.buffer[len..], offset);
            let count = *result.as_ref().unwrap_or(&0);
            self.buffer.truncate(len + count);
            left -= count;
            match result {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The outcome of the op. After an error the buffer is as it came.
    pub(super) fn end(mut self, result: io::Result<()>) -> Outcome {
        if result.is_err() {
            self.buffer.truncate(self.start);
        }
        Outcome::FileRead(result.map(|()| self.buffer.len() - self.start), self.buffer)
    }
}

/// Reads a piece for the sake of the page cache.
fn fetch(file: &File, range: Range<u64>, system_calls: &mut u64) {
    let mut scratch = vec![0; PIECE_BYTES.min(range.end - range.start) as usize];
    let mut offset = range.start;
    while offset < range.end {
        let len = scratch.len().min((range.end - offset) as usize);
        *system_calls += 1;
        match file.as_file().read_at(&mut scratch[..len], offset) {
            Ok(0) => return,
            Ok(count) => offset += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
