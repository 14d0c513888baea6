//! The thread for jobs, which keeps long waits and computations out of the loop.
//!
//! The thread starts with the first job. Jobs wait in a bounded queue. If the queue is full, a job
//! is refused at once, so a caller that asks for too much gets an error instead of an endless wait.
//! Results come back through a channel, and a notifier wakes the driver.
//!
//! A job owns all that it uses, so nothing has to wait for the thread. When the driver is dropped,
//! the jobs that have not started are dropped with it. The job that has started runs to its end,
//! and its result is discarded.
//!
//! The thread has a lower priority than the loop, for when both want the same CPU.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::completions::Completions;
use super::job::Job;
use super::op::{Outcome, Token, cancelled};
use super::slot_map::Handle;
use super::waker::Notifier;

/// The most jobs of one driver that wait, besides the one that runs.
pub(super) const QUEUE: usize = 16;

/// How much lower the priority of the thread is than that of the loop (`nice(2)`).
const NICE: i32 = 10;

/// The driver's side; see the module documentation.
#[derive(Debug)]
pub(super) struct JobThread {
    /// `None` until the thread starts.
    queue: Option<Arc<JobQueue>>,
    answers: Receiver<JobAnswer>,
    answer: Sender<JobAnswer>,
    notifier: Arc<dyn Notifier>,
    given: u64,
    /// Stack size of the thread, in bytes; `None` is the default.
    stack_bytes: Option<usize>,
}

/// The token of a job, and its result.
type JobAnswer = (Token, io::Result<Vec<u8>>);

/// The queue, shared by the driver and the thread.
#[derive(Debug, Default)]
struct JobQueue {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<QueuedJob>,
    /// The driver is gone.
    over: bool,
}

#[derive(Debug)]
struct QueuedJob {
    name: Handle<Job>,
    token: Token,
    job: Job,
}

impl JobThread {
    /// Starts no thread yet. The thread calls `notifier` after each result.
    pub(super) fn new(notifier: Arc<dyn Notifier>) -> Self {
        let (answer, answers) = mpsc::channel();
        Self { queue: None, answers, answer, notifier, given: 0, stack_bytes: None }
    }

    /// Queues a job under a name that no other job of this driver has. Its result comes later,
    /// unless this returns an error.
    ///
    /// The errors are `ResourceBusy` if the queue is full, and the reason why a thread cannot
    /// start.
    fn submit(&mut self, token: Token, job: Job) -> (Handle<Job>, io::Result<()>) {
        let (name, _) = Handle::unpack(self.given);
        self.given += 1;
        let given = self.queue().and_then(|queue| queue.push(QueuedJob { name, token, job }));
        (name, given)
    }

    /// Drops a job that has not started, and returns its token.
    fn cancel(&mut self, name: Handle<Job>) -> Option<Token> {
        let mut queue = self.queue.as_ref()?.lock();
        let position = queue.waiting.iter().position(|waiting| waiting.name == name)?;
        let withdrawn = queue.waiting.remove(position);
        // The lock is released first: dropping the job drops all that it owns.
        drop(queue);
        withdrawn.map(|waiting| waiting.token)
    }

    /// Starts an op that is a job, as [`JobThread::submit`] does. If the job is refused, the op
    /// ends.
    pub(super) fn start(&mut self, token: Token, job: Job, done: &mut Completions) -> Handle<Job> {
        let (name, given) = self.submit(token, job);
        if let Err(error) = given {
            done.finish(token, Outcome::Ran(Err(error)));
        }
        name
    }

    /// Ends the op of a job that has not started.
    pub(super) fn stop(&mut self, name: Handle<Job>, done: &mut Completions) {
        if let Some(token) = self.cancel(name) {
            done.finish(token, Outcome::Ran(Err(cancelled())));
        }
    }

    /// Ends the ops whose results have arrived.
    pub(super) fn collect(&mut self, done: &mut Completions) {
        while let Some((token, result)) = self.next_answer() {
            done.finish(token, Outcome::Ran(result));
        }
    }

    /// A result that has arrived.
    fn next_answer(&mut self) -> Option<JobAnswer> {
        self.answers.try_recv().ok()
    }

    /// The queue. Starts the thread if there is none.
    fn queue(&mut self) -> io::Result<&Arc<JobQueue>> {
        if self.queue.is_none() {
            let queue = Arc::new(JobQueue::default());
            let its = (Arc::clone(&queue), self.answer.clone(), Arc::clone(&self.notifier));
            let mut thread = thread::Builder::new().name("ringd-jobs".into());
            if let Some(bytes) = self.stack_bytes {
                thread = thread.stack_size(bytes);
            }
            thread.spawn(move || {
                let (queue, answers, notifier) = its;
                queue.work(&answers, &*notifier);
            })?;
            self.queue = Some(queue);
        }
        Ok(self.queue.as_ref().expect("the thread is running"))
    }
}

impl Drop for JobThread {
    fn drop(&mut self) {
        let Some(shared) = &self.queue else { return };
        let mut queue = shared.lock();
        queue.over = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        shared.changed.notify_one();
        drop(waiting);
    }
}

impl JobQueue {
    fn push(&self, waiting: QueuedJob) -> io::Result<()> {
        let mut queue = self.lock();
        if queue.waiting.len() >= QUEUE {
            drop(queue);
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        queue.waiting.push_back(waiting);
        drop(queue);
        self.changed.notify_one();
        Ok(())
    }

    /// Runs one job after the other, until the driver is gone.
    fn work(&self, answers: &Sender<JobAnswer>, notifier: &dyn Notifier) {
        // On Linux, each thread has its own priority (`setpriority(2)`). A failure does no harm.
        let _ = rustix::process::nice(NICE);
        while let Some(QueuedJob { token, job, .. }) = self.next() {
            if answers.send((token, job.perform())).is_err() {
                return;
            }
            notifier.notify();
        }
    }

    /// Waits for the next job; `None` if there will be none.
    fn next(&self) -> Option<QueuedJob> {
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.over;
        let queue = self.changed.wait_while(self.lock(), idle);
        queue.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    /// No code panics while it holds the lock, so a poisoned lock has consistent content.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WAIT_MAX: Duration = Duration::from_secs(10);

    /// Reports each notification.
    #[derive(Debug)]
    struct Rings(Mutex<Sender<()>>);

    impl Notifier for Rings {
        fn notify(&self) {
            // The receiver is gone when the test is over.
            let _ = self.0.lock().unwrap().send(());
        }
    }

    fn job_thread() -> (JobThread, Receiver<()>) {
        let (ring, rings) = mpsc::channel();
        (JobThread::new(Arc::new(Rings(Mutex::new(ring)))), rings)
    }

    fn job(number: u8) -> Job {
        Job::new(move || Ok(vec![number]))
    }

    fn answer(jobs: &mut JobThread, rings: &Receiver<()>) -> (u64, io::Result<Vec<u8>>) {
        rings.recv_timeout(WAIT_MAX).unwrap();
        let (token, result) = jobs.next_answer().expect("the result comes before its notification");
        (token.0, result)
    }

    /// Starts a job that runs until the sender is dropped.
    fn begun(jobs: &mut JobThread) -> Sender<()> {
        let ((open, gate), (began, begins)) = (mpsc::channel::<()>(), mpsc::channel());
        let work = move || {
            began.send(()).unwrap();
            let _ = gate.recv();
            Ok(b"begun".to_vec())
        };
        jobs.submit(Token(0), Job::new(work)).1.unwrap();
        begins.recv_timeout(WAIT_MAX).unwrap();
        open
    }

    #[test]
    fn jobs_run_in_order_and_each_result_notifies() {
        let (mut jobs, rings) = job_thread();
        assert!(jobs.queue.is_none(), "no thread before there is work");
        for number in 0..5 {
            jobs.submit(Token(number.into()), job(number)).1.unwrap();
        }
        for number in 0..5 {
            let (token, result) = answer(&mut jobs, &rings);
            assert_eq!((token, result.unwrap()), (number.into(), vec![number]));
        }
        assert!(jobs.next_answer().is_none());
    }

    #[test]
    fn a_full_queue_refuses() {
        let (mut jobs, rings) = job_thread();
        let gate = begun(&mut jobs);
        for number in 1..=QUEUE {
            jobs.submit(Token(number as u64), job(7)).1.unwrap();
        }
        let refused = jobs.submit(Token(99), job(7)).1.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
        drop(gate);
        for number in 0..=QUEUE {
            assert_eq!(answer(&mut jobs, &rings).0, number as u64);
        }
        jobs.submit(Token(99), job(7)).1.unwrap();
        assert_eq!(answer(&mut jobs, &rings).0, 99);
    }

    #[test]
    fn a_job_that_has_not_started_can_be_cancelled() {
        let (mut jobs, rings) = job_thread();
        let gate = begun(&mut jobs);
        let (begun, _) = Handle::unpack(0);
        assert_eq!(jobs.cancel(begun), None);
        let owned = Arc::new(());
        let its = Arc::clone(&owned);
        let (name, _) =
            jobs.submit(Token(1), Job::new(move || Ok(vec![Arc::strong_count(&its) as u8])));
        let (other, _) = jobs.submit(Token(2), job(2));
        assert_eq!(jobs.cancel(name), Some(Token(1)));
        assert_eq!(Arc::strong_count(&owned), 1);
        assert_eq!(jobs.cancel(name), None);
        drop(gate);
        assert_eq!([answer(&mut jobs, &rings).0, answer(&mut jobs, &rings).0], [0, 2]);
        assert_eq!(jobs.cancel(other), None);
    }

    #[test]
    fn a_panic_is_an_error_and_the_thread_goes_on() {
        let (mut jobs, rings) = job_thread();
        jobs.submit(Token(1), Job::new(|| panic!("intended"))).1.unwrap();
        assert_eq!(answer(&mut jobs, &rings).1.unwrap_err().kind(), io::ErrorKind::Other);
        jobs.submit(Token(2), job(2)).1.unwrap();
        assert_eq!(answer(&mut jobs, &rings).1.unwrap(), [2]);
    }

    #[test]
    fn without_a_thread_a_job_fails_and_the_next_tries_again() {
        let (mut jobs, rings) = job_thread();
        // More than the address space holds.
        jobs.stack_bytes = Some(1 << 47);
        let (name, given) = jobs.submit(Token(1), Job::new(|| panic!("it must not run")));
        assert!(given.is_err());
        assert_eq!(jobs.cancel(name), None);
        jobs.stack_bytes = None;
        jobs.submit(Token(2), job(2)).1.unwrap();
        assert_eq!(answer(&mut jobs, &rings).0, 2);
    }

    #[test]
    fn a_drop_does_not_wait_for_the_job_that_runs() {
        let (mut jobs, _rings) = job_thread();
        let gate = begun(&mut jobs);
        let waits = Arc::new(());
        let its = Arc::clone(&waits);
        let job = Job::new(move || panic!("it must not run: {its:?}"));
        jobs.submit(Token(1), job).1.unwrap();
        let queue = Arc::downgrade(jobs.queue.as_ref().unwrap());
        drop(jobs);
        assert_eq!(Arc::strong_count(&waits), 1);
        assert_eq!(queue.strong_count(), 1, "the thread still runs its job");
        drop(gate);
        let until = std::time::Instant::now() + WAIT_MAX;
        while queue.strong_count() > 0 {
            assert!(std::time::Instant::now() < until, "the thread has not ended");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_thread_is_nicer_than_the_loop() {
        let (mut jobs, rings) = job_thread();
        let nice = || rustix::process::getpriority_process(None).unwrap();
        jobs.submit(Token(1), Job::new(move || Ok(vec![nice() as u8]))).1.unwrap();
        let theirs = answer(&mut jobs, &rings).1.unwrap()[0];
        // The value may be negative.
        assert_eq!(i32::from(theirs as i8), (nice() + NICE).min(19));
    }
}
