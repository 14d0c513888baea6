//! Starting workers: all of them on one kind of driver, or none.
//!
//! A ring belongs to the thread that makes it, so every worker opens its driver on its own thread
//! and reports. Only when all have one do they get their sockets and begin.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

use super::mailbox::{Mailbox, Postbox};
use super::monitor::Published;
use super::settings::ServerSettings;
use super::start_error::StartError;
use super::worker::{self, ACCEPT_SLACK, Worker};
use crate::driver::trial::with_memory;
use crate::driver::{Driver, DriverKind, Limits, Visitor, Waker};
use crate::service::Service;
use crate::session::Session;

/// What the messages of a worker are, by its sessions.
type MessageOf<S> = <<S as Session>::Shared as Service>::Message;

/// A worker's place in the server: what the service that its sessions share is made for.
#[derive(Debug)]
pub struct Seat<S: Session> {
    /// Which worker it is, counted from 0.
    pub number: usize,
    /// The way to the worker's mailbox.
    pub postbox: Postbox<MessageOf<S>>,
}

/// Asks a worker to drain.
pub(super) trait Drain: std::fmt::Debug + Send + Sync {
    /// See [`Postbox::drain`].
    fn drain(&self);
}

impl<M: Send + std::fmt::Debug> Drain for Postbox<M> {
    fn drain(&self) {
        Self::drain(self);
    }
}

/// A worker that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) thread: JoinHandle<io::Result<()>>,
    pub(super) published: Arc<Published>,
    pub(super) drain: Arc<dyn Drain>,
}

/// Workers that run, and what brings the number of each that ends.
type Workers = (Vec<Running>, Receiver<usize>);

/// Why there are none, and the sockets, to be given to other ones.
type Unopened = (StartError, Vec<Vec<OwnedFd>>);

/// Descriptors besides those of connections, for each worker: files in caches, listeners, drivers.
const OTHER_DESCRIPTORS: u64 = 4096;

/// Makes the process's table of descriptors as large as it will be. A table that threads share
/// grows by waiting for all processors (`synchronize_rcu` in the kernel), and who waits is the
/// worker that needs the next number: 10 ms were measured. Now there are no other threads yet.
pub(super) fn make_room_for_descriptors(connections_max: u32, workers: usize) {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = u64::from(connections_max) + OTHER_DESCRIPTORS * workers as u64;
    let highest = limit.min(needed).saturating_sub(1);
    // Whoever needs the room asks for it again, and hears of an error then.
    if let (Ok(highest), Ok(any)) = (i32::try_from(highest), std::fs::File::open("/dev/null")) {
        let _ = fcntl_dupfd_cloexec(any, highest);
    }
}

/// Starts one worker for each set of listening sockets.
pub(super) fn launch<S: Session + 'static>(
    settings: &ServerSettings,
    kind: DriverKind,
    shared: &(impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static),
    sockets: Vec<Vec<OwnedFd>>,
) -> Result<Workers, Unopened> {
    let (ended, ends) = mpsc::channel();
    let mut workers = Vec::new();
    let mut starts = Vec::new();
    for number in 0..sockets.len() {
        match open::<S>(settings, kind, shared, number, ended.clone()) {
            Ok((worker, start)) => {
                workers.push(worker);
                starts.push(start);
            }
            Err(error) => {
                // Tells the threads that wait for their sockets to end.
                drop(starts);
                workers.into_iter().for_each(|worker| drop(worker.thread.join()));
                return Err((error, sockets));
            }
        }
    }
    for (start, sockets) in starts.into_iter().zip(sockets) {
        // It fails when the thread is gone, which `ends` tells.
        let _ = start.send(sockets);
    }
    Ok((workers, ends))
}

/// Starts a thread and waits until it has its driver.
fn open<S: Session + 'static>(
    settings: &ServerSettings,
    kind: DriverKind,
    shared: &(impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static),
    number: usize,
    ended: Sender<usize>,
) -> Result<(Running, Sender<Vec<OwnedFd>>), StartError> {
    let (opened, wait_opened) = mpsc::channel();
    let (start, wait_start) = mpsc::channel();
    let mailbox = Arc::new(Mailbox::default());
    let published = Arc::new(Published::default());
    let thread = Thread::<S, _> {
        number,
        settings: settings.clone(),
        shared: shared.clone(),
        mailbox: Arc::clone(&mailbox),
        published: Arc::clone(&published),
        opened,
        start: wait_start,
        _ending: Ending { number, ended },
    };
    let thread = thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || kind.visit(thread))
        .map_err(StartError::Thread)?;
    let opened = wait_opened.recv().map_err(|_| StartError::Worker)?;
    let waker = opened.map_err(StartError::Driver)?;
    let drain = Arc::new(Postbox::new(mailbox, waker));
    Ok((Running { thread, published, drain }, start))
}

/// What a worker's thread begins with.
struct Thread<S: Session, F> {
    number: usize,
    settings: ServerSettings,
    shared: F,
    mailbox: Arc<Mailbox<MessageOf<S>>>,
    published: Arc<Published>,
    opened: Sender<io::Result<Waker>>,
    start: Receiver<Vec<OwnedFd>>,
    _ending: Ending,
}

/// Tells that a worker has ended, in whatever way, by being dropped with its thread.
struct Ending {
    number: usize,
    ended: Sender<usize>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Nobody listens any more when the start has failed.
        let _ = self.ended.send(self.number);
    }
}

impl<S: Session, F: Fn(Seat<S>) -> S::Shared> Visitor for Thread<S, F> {
    type Out = io::Result<()>;

    /// Opens the driver, reports, and serves.
    fn visit<D: Driver>(self, open: fn(&Limits) -> io::Result<D>) -> io::Result<()> {
        let settings = self.worker_settings();
        let listeners = self.settings.listen.len() as u32;
        let limits = Limits {
            sockets_max: settings.connections_max + (ACCEPT_SLACK + 1) * listeners,
            ..self.settings.limits
        };
        // The memory of a ring that was tried before comes back a moment later.
        let opened = with_memory(|| open(&limits));
        let (driver, waker) = match opened {
            Ok(driver) => {
                let waker = driver.waker();
                (driver, waker)
            }
            Err(error) => {
                // Whoever started this thread waits for the report, or is gone.
                let _ = self.opened.send(Err(error));
                return Ok(());
            }
        };
        // It may open something too, and after the report nothing is opened but for clients.
        let postbox = Postbox::new(Arc::clone(&self.mailbox), waker.clone());
        let shared = (self.shared)(Seat { number: self.number, postbox });
        let _ = self.opened.send(Ok(waker));
        let Ok(sockets) = self.start.recv() else { return Ok(()) };
        self.serve(driver, shared, settings, sockets)
    }
}

impl<S: Session, F> Thread<S, F> {
    /// Serves what the sockets bring, with a trace around the driver if there is to be one.
    fn serve<D: Driver>(
        self,
        mut driver: D,
        shared: S::Shared,
        settings: worker::WorkerSettings,
        sockets: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let listeners = sockets
            .into_iter()
            .map(|socket| driver.adopt(socket))
            .collect::<io::Result<Vec<_>>>()?;
        let (mailbox, published) = (Arc::clone(&self.mailbox), Arc::clone(&self.published));
        match &self.settings.trace {
            None => {
                Worker::<D, S>::new(driver, listeners, shared, settings, mailbox, published).run()
            }
            Some(tracer) => {
                let driver = tracer.trace(driver, self.label(), worker::name);
                Worker::<_, S>::new(driver, listeners, shared, settings, mailbox, published).run()
            }
        }
    }

    /// Tells the worker from others in a trace.
    fn label(&self) -> String {
        if self.settings.workers > 1 { format!("w{:<3} ", self.number) } else { String::new() }
    }

    fn worker_settings(&self) -> worker::WorkerSettings {
        let settings = &self.settings;
        let (workers, number) = (settings.workers as u32, self.number as u32);
        let (share, rest) =
            (settings.connections_max / workers, settings.connections_max % workers);
        worker::WorkerSettings {
            // The kernel gives every worker connections, so every worker takes at least one.
            connections_max: (share + u32::from(number < rest)).max(1),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            send_timeout: settings.send_timeout,
            drain_timeout: settings.drain_timeout,
        }
    }
}
