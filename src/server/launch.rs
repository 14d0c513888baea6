//! Starts the workers: all of them on one kind of driver, or none.
//!
//! A ring belongs to the thread that creates it, so each worker opens its driver on its own thread
//! and reports the result. The workers get their sockets after all of them have opened their
//! driver, so a launch that fails has accepted nothing.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};
use rustix::thread::gettid;

use super::dispatch::{Dispatch, Indirect, WorkerParts};
use super::listeners::WorkerSockets;
use super::mailbox::{ListenerOrder, Mailbox, MessageOf, Postbox, WorkerSocket};
use super::published::Published;
use super::settings::ServerSettings;
use super::start_error::StartError;
use super::worker::{self, ACCEPT_SLACK};
use crate::driver::trial::with_memory;
use crate::driver::{Driver, DriverKind, Limits, Visitor, Waker};
use crate::session::Session;
use crate::signal_mask::block_signals;

/// A worker, as seen by the function that creates its service.
#[derive(Debug)]
pub struct Seat<S: Session> {
    /// The number of the worker, counted from 0.
    pub number: usize,
    /// Sends messages to the worker's mailbox.
    pub postbox: Postbox<MessageOf<S>>,
}

/// Reaches a worker from other threads, whatever the type of its messages.
pub(super) trait Remote: std::fmt::Debug + Send + Sync {
    /// See [`Postbox::drain`].
    fn drain(&self);

    /// See [`Postbox::order`].
    fn order(&self, order: ListenerOrder);

    /// See [`Postbox::wake`].
    fn wake(&self);
}

impl<M: Send + std::fmt::Debug> Remote for Postbox<M> {
    fn drain(&self) {
        Self::drain(self);
    }

    fn order(&self, order: ListenerOrder) {
        Self::order(self, order);
    }

    fn wake(&self) {
        Self::wake(self);
    }
}

/// A running worker.
#[derive(Debug)]
pub(super) struct RunningWorker {
    pub(super) thread: JoinHandle<io::Result<()>>,
    pub(super) published: Arc<Published>,
    pub(super) remote: Arc<dyn Remote>,
}

/// All workers. Each of them has its driver, and waits for its sockets.
pub(super) struct Launched<M> {
    pub(super) workers: Vec<RunningWorker>,
    pub(super) postboxes: Vec<Arc<Postbox<M>>>,
    /// Receives the number of each worker that ends.
    pub(super) ends: Receiver<usize>,
    starts: Vec<Sender<Vec<WorkerSocket>>>,
}

impl<M> Launched<M> {
    /// Gives each worker its sockets, from which it accepts then.
    pub(super) fn begin(&mut self, sockets: WorkerSockets) {
        for (start, sockets) in self.starts.drain(..).zip(sockets) {
            // This fails if the thread has ended, which `ends` reports.
            let _ = start.send(sockets);
        }
    }

    /// Ends the workers, which have not begun.
    pub(super) fn abandon(self) {
        drop(self.starts);
        self.workers.into_iter().for_each(|worker| drop(worker.thread.join()));
    }
}

/// The number of descriptors per worker in addition to connections: cached files, listeners, the
/// driver.
const OTHER_DESCRIPTORS: u64 = 4096;

/// Grows the descriptor table of the process to its final size, before there are other threads. If
/// threads share the table, the kernel waits for all processors when it grows (`synchronize_rcu`),
/// which delays a worker by 10 ms, as measured.
pub(super) fn make_room_for_descriptors(connections_max: u32, workers: usize) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = u64::from(connections_max) + OTHER_DESCRIPTORS * workers as u64;
    let highest = limit.min(needed).saturating_sub(1);
    // An error is ignored: the table then grows on demand, as usual.
    if let (Ok(highest), Ok(any)) = (i32::try_from(highest), std::fs::File::open("/dev/null")) {
        let _ = fcntl_dupfd_cloexec(any, highest);
    }
}

/// Starts a worker for each of these numbers of listening sockets, which it will get.
///
/// # Errors
///
/// When a thread cannot be started, or a driver does not open. The other workers have ended then.
pub(super) fn launch<S: Session + 'static, C: Dispatch>(
    settings: &ServerSettings,
    kind: DriverKind,
    shared: &(impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static),
    listeners: &[u32],
) -> Result<Launched<MessageOf<S>>, StartError> {
    let (ended, ends) = mpsc::channel();
    let (workers, postboxes, starts) = (Vec::new(), Vec::new(), Vec::new());
    let mut launched = Launched { workers, postboxes, ends, starts };
    for (number, listeners) in listeners.iter().enumerate() {
        match open::<S, C>(settings, kind, shared, (number, *listeners), ended.clone()) {
            Ok((worker, postbox, start)) => {
                launched.workers.push(worker);
                launched.postboxes.push(postbox);
                launched.starts.push(start);
            }
            Err(error) => {
                launched.abandon();
                return Err(error);
            }
        }
    }
    Ok(launched)
}

/// A worker that has its driver, and what passes its sockets on.
type OpenedWorker<S> = (RunningWorker, Arc<Postbox<MessageOf<S>>>, Sender<Vec<WorkerSocket>>);

/// Starts a thread and waits until it has its driver.
fn open<S: Session + 'static, C: Dispatch>(
    settings: &ServerSettings,
    kind: DriverKind,
    shared: &(impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static),
    (number, listeners): (usize, u32),
    ended: Sender<usize>,
) -> Result<OpenedWorker<S>, StartError> {
    let (opened, wait_opened) = mpsc::channel();
    let (start, wait_start) = mpsc::channel();
    let mailbox = Arc::new(Mailbox::default());
    let published = Arc::new(Published::new(settings.events.clone(), settings.clients.clone()));
    let thread = WorkerThread::<S, _, C> {
        number,
        listeners,
        settings: settings.clone(),
        shared: Some(shared.clone()),
        mailbox: Arc::clone(&mailbox),
        published: Arc::clone(&published),
        opened,
        start: wait_start,
        _end: EndOfMail(Arc::clone(&mailbox)),
        _end_report: EndReport { number, ended },
        _dispatch: PhantomData,
    };
    let thread = thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || kind.visit(thread))
        .map_err(StartError::Thread)?;
    let opened = wait_opened.recv().map_err(|_| StartError::Worker)?;
    let waker = opened.map_err(StartError::Driver)?;
    let postbox = Arc::new(Postbox::new(mailbox, waker));
    let remote = Arc::clone(&postbox);
    Ok((RunningWorker { thread, published, remote }, postbox, start))
}

/// Everything that the thread of a worker needs at its start.
struct WorkerThread<S: Session, F, C> {
    number: usize,
    /// How many listeners it will get.
    listeners: u32,
    settings: ServerSettings,
    /// Makes the service. Taken when it is made, since it may hold what the service lets go later.
    shared: Option<F>,
    mailbox: Arc<Mailbox<MessageOf<S>>>,
    published: Arc<Published>,
    opened: Sender<io::Result<Waker>>,
    start: Receiver<Vec<WorkerSocket>>,
    _end: EndOfMail<MessageOf<S>>,
    _end_report: EndReport,
    _dispatch: PhantomData<C>,
}

/// Closes the mailbox when the worker ends, also by a panic: nobody reads it any more.
struct EndOfMail<M>(Arc<Mailbox<M>>);

impl<M> Drop for EndOfMail<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Reports that a worker has ended. Because the report is sent on drop, a panic is reported too.
struct EndReport {
    number: usize,
    ended: Sender<usize>,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        // If the start has failed, the receiver is gone.
        let _ = self.ended.send(self.number);
    }
}

impl<S: Session, F: Fn(Seat<S>) -> S::Shared, C: Dispatch> Visitor for WorkerThread<S, F, C> {
    type Out = io::Result<()>;

    /// Opens the driver, reports the result, waits for the sockets, and serves.
    fn visit<D: Driver>(mut self, open: fn(&Limits) -> io::Result<D>) -> io::Result<()> {
        // The helpers of the driver inherit this.
        block_signals();
        if let Some(tracer) = &self.settings.trace {
            tracer.watch_thread();
        }
        self.published.set_thread(gettid().as_raw_nonzero().get().unsigned_abs());
        let settings = self.worker_settings();
        let limits = Limits {
            sockets_max: settings.connections_max + (ACCEPT_SLACK + 1) * settings.listeners_max,
            ..self.settings.limits
        };
        // The kernel returns the locked memory of a closed ring, such as that of the self-test,
        // with a delay, so opening is retried for a while.
        let opened = with_memory(|| open(&limits));
        let (driver, waker) = match opened {
            Ok(driver) => {
                let waker = driver.waker();
                (driver, waker)
            }
            Err(error) => {
                // The receiver waits for this report, or is gone.
                let _ = self.opened.send(Err(error));
                return Ok(());
            }
        };
        // The service may open descriptors too. Create it before the report: after the start, only
        // clients use up descriptors.
        let postbox = Postbox::new(Arc::clone(&self.mailbox), waker.clone());
        let make = self.shared.take().expect("a worker makes its service once");
        let shared = make(Seat { number: self.number, postbox });
        drop(make);
        let _ = self.opened.send(Ok(waker));
        let Ok(sockets) = self.start.recv() else { return Ok(()) };
        self.serve(driver, shared, settings, sockets)
    }
}

impl<S: Session, F, C: Dispatch> WorkerThread<S, F, C> {
    /// Serves the connections of these sockets, with a traced driver if a trace is configured.
    fn serve<D: Driver>(
        self,
        mut driver: D,
        shared: S::Shared,
        settings: worker::WorkerSettings,
        sockets: Vec<WorkerSocket>,
    ) -> io::Result<()> {
        let listeners = sockets
            .into_iter()
            .map(|WorkerSocket { number, socket, joint }| {
                let sock = driver.adopt(socket)?;
                if joint {
                    driver.set_joint(sock, true);
                }
                Ok((number, sock))
            })
            .collect::<io::Result<Vec<_>>>()?;
        let (mailbox, published) = (Arc::clone(&self.mailbox), Arc::clone(&self.published));
        let parts = WorkerParts::<S> { listeners, shared, settings, mailbox, published };
        match &self.settings.trace {
            None => C::run(driver, parts)?,
            // Writing the trace costs far more than a call through a pointer.
            Some(tracer) => {
                Indirect::run(tracer.trace(driver, self.label(), worker::name), parts)?;
            }
        }
        self.published.set_drained();
        Ok(())
    }

    /// The prefix of this worker's lines in a trace; empty if there is only one worker.
    fn label(&self) -> String {
        if self.settings.workers > 1 { format!("w{:<3} ", self.number) } else { String::new() }
    }

    fn worker_settings(&self) -> worker::WorkerSettings {
        let settings = &self.settings;
        worker::WorkerSettings {
            connections_max: share(settings.connections_max, settings.workers, self.number),
            listeners_max: self.listeners + settings.spare_listeners,
            timeouts: settings.timeouts,
        }
    }
}

/// The part of `connections_max` that a worker may have. Together, the workers may have all of it.
fn share(connections_max: u32, workers: usize, number: usize) -> u32 {
    let (workers, number) = (workers as u32, number as u32);
    let (share, rest) = (connections_max / workers, connections_max % workers);
    // The kernel assigns connections to every worker, so each must accept at least one.
    (share + u32::from(number < rest)).max(1)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_workers_share_all_connections() {
        for (connections, workers) in [(10, 1), (10, 2), (10, 3), (11, 4), (1023, 8), (4, 4)] {
            let shares: Vec<u32> = (0..workers).map(|n| share(connections, workers, n)).collect();
            assert_eq!(shares.iter().sum::<u32>(), connections, "{shares:?}");
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1, "{shares:?}");
        }
        assert_eq!([0, 1, 2].map(|number| share(2, 3, number)), [1, 1, 1]);
    }
}
