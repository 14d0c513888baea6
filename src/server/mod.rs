//! The server: workers, their listeners, and the order in which they start and stop.
//!
//! ```text
//! start: bind all sockets -> one thread per worker opens its driver -> all open: go
//! stop:  drain (no new connections, finish what is in hand) -> join
//! ```
//!
//! The driver is chosen once for the whole process, before anything is accepted: when it fails in
//! one worker, it is replaced in all of them, or the start fails.

mod connection;
pub mod listener;
mod timers;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::driver::ready::{Epoll, EpollLevel};
use crate::driver::uring::Uring;
use crate::driver::{Choice, Driver, Kind, Limits, Waker};
use crate::session::Session;
use listener::Group;
use worker::{ACCEPT_SLACK, Control, Worker};

/// What a server is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve; at least one.
    pub workers: usize,
    /// Connections at a time, in all.
    pub connections_max: u32,
    /// How long a request may take to arrive, from its first byte (the first one: from the
    /// beginning of the connection).
    pub header_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// How long a peer may leave what is sent unacknowledged.
    pub send_timeout: Duration,
    /// How long a drain waits for connections to finish.
    pub drain_timeout: Duration,
    /// The bounds of every driver. The number of sockets follows from `connections_max`.
    pub limits: Limits,
}

/// A server that runs. Dropping it leaves it running; [`Server::stop`] ends it.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    choice: Choice,
    workers: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<io::Result<()>>,
    control: Arc<Control>,
    waker: Waker,
}

/// What a server has open at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Gauges {
    /// Connections.
    pub connections: u32,
    /// Receive buffers that are lent out.
    pub leased: u32,
    /// Ops that have not had their last completion.
    pub in_flight: u32,
}

/// A start that failed: names the cause and the remedy.
pub type StartError = Box<dyn std::error::Error + Send + Sync>;

/// Starts a server whose sessions share, per worker, what `shared` makes.
///
/// Returns when all workers accept connections.
///
/// # Errors
///
/// When an address cannot be bound, or the driver cannot be opened and may not be replaced.
pub fn start<S>(
    settings: &Settings,
    choice: Choice,
    shared: impl Fn() -> S::Shared + Clone + Send + 'static,
) -> Result<Server, StartError>
where
    S: Session + 'static,
{
    let mut groups = settings
        .listen
        .iter()
        .map(|address| listener::bind(*address, settings.workers))
        .collect::<Result<Vec<Group>, _>>()?;
    let addresses = groups.iter().map(|group| group.address).collect();
    let mut sockets: Vec<Vec<OwnedFd>> = (0..settings.workers)
        .map(|_| groups.iter_mut().filter_map(|group| group.sockets.pop()).collect())
        .collect();
    let mut choice = choice;
    loop {
        match launch::<S>(settings, choice.kind, &shared, sockets) {
            Ok(workers) => return Ok(Server { addresses, choice, workers }),
            Err((error, returned)) => {
                // One worker without its driver: all of them take the next best.
                choice = choice.fall_back(&error).ok_or(error)?;
                sockets = returned;
            }
        }
    }
}

/// Starts the workers on one kind of driver, or none of them.
fn launch<S: Session + 'static>(
    settings: &Settings,
    kind: Kind,
    shared: &(impl Fn() -> S::Shared + Clone + Send + 'static),
    sockets: Vec<Vec<OwnedFd>>,
) -> Result<Vec<Running>, (io::Error, Vec<Vec<OwnedFd>>)> {
    let mut workers = Vec::new();
    let mut go = Vec::new();
    let mut failed = None;
    for number in 0..sockets.len() {
        let (opened, wait_opened) = mpsc::channel();
        let (start, wait_start) = mpsc::channel();
        let control = Arc::new(Control::default());
        let thread = Thread {
            settings: settings.clone(),
            shared: shared.clone(),
            control: Arc::clone(&control),
            opened,
            start: wait_start,
        };
        let spawned = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || thread.serve::<S>(kind));
        let waker = match spawned {
            Ok(handle) => match wait_opened.recv() {
                Ok(Ok(waker)) => {
                    workers.push(Running { thread: handle, control, waker });
                    go.push(start);
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => io::Error::other("a worker ended while it was starting"),
            },
            Err(error) => error,
        };
        failed = Some(waker);
        break;
    }
    if let Some(error) = failed {
        // Dropping `go` tells the threads that are waiting to end.
        drop(go);
        workers.into_iter().for_each(|worker| drop(worker.thread.join()));
        return Err((error, sockets));
    }
    for (start, sockets) in go.into_iter().zip(sockets) {
        // A thread that is gone is found by `Server::join`.
        let _ = start.send(sockets);
    }
    Ok(workers)
}

/// What a worker's thread begins with.
struct Thread<F> {
    settings: Settings,
    shared: F,
    control: Arc<Control>,
    opened: mpsc::Sender<io::Result<Waker>>,
    start: mpsc::Receiver<Vec<OwnedFd>>,
}

impl<F> Thread<F> {
    /// The one place that names every driver.
    fn serve<S>(self, kind: Kind) -> io::Result<()>
    where
        S: Session,
        F: Fn() -> S::Shared,
    {
        match kind {
            Kind::Uring => self.serve_on::<S, _>(Uring::open),
            Kind::Epoll => self.serve_on::<S, _>(Epoll::open),
            Kind::EpollLevel => self.serve_on::<S, _>(EpollLevel::open),
        }
    }

    fn serve_on<S, D>(self, open: impl Fn(&Limits) -> io::Result<D>) -> io::Result<()>
    where
        S: Session,
        D: Driver,
        F: Fn() -> S::Shared,
    {
        let settings = self.worker_settings();
        let listeners = self.settings.listen.len() as u32;
        let limits = Limits {
            sockets_max: settings.connections_max + ACCEPT_SLACK + listeners,
            ..self.settings.limits
        };
        let mut driver = match open(&limits) {
            Ok(driver) => {
                let _ = self.opened.send(Ok(driver.waker()));
                driver
            }
            Err(error) => {
                let _ = self.opened.send(Err(error));
                return Ok(());
            }
        };
        let Ok(sockets) = self.start.recv() else { return Ok(()) };
        let listeners = sockets
            .into_iter()
            .map(|socket| driver.adopt(socket))
            .collect::<io::Result<Vec<_>>>()?;
        let shared = (self.shared)();
        Worker::<D, S>::new(driver, listeners, shared, settings, self.control).run()
    }

    fn worker_settings(&self) -> worker::Settings {
        let settings = &self.settings;
        worker::Settings {
            connections_max: settings.connections_max.div_ceil(settings.workers as u32),
            header_timeout: settings.header_timeout,
            idle_timeout: settings.idle_timeout,
            send_timeout: settings.send_timeout,
            drain_timeout: settings.drain_timeout,
        }
    }
}

impl Server {
    /// The addresses it listens on, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The driver that it runs on, and why.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// What it has open at the moment, in all workers.
    pub fn gauges(&self) -> Gauges {
        self.workers.iter().fold(Gauges::default(), |sum, worker| Gauges {
            connections: sum.connections + worker.control.connections.load(Ordering::Relaxed),
            leased: sum.leased + worker.control.leased.load(Ordering::Relaxed),
            in_flight: sum.in_flight + worker.control.in_flight.load(Ordering::Relaxed),
        })
    }

    /// A handle that asks the server to drain, from any thread.
    pub fn stopper(&self) -> Stopper {
        let workers = self.workers.iter();
        Stopper {
            workers: workers
                .map(|worker| (Arc::clone(&worker.control), worker.waker.clone()))
                .collect(),
        }
    }

    /// Waits until all workers have ended, which they do after a drain.
    ///
    /// # Errors
    ///
    /// When one of them failed; the others are drained then.
    pub fn join(self) -> io::Result<()> {
        let stopper = self.stopper();
        let mut result = Ok(());
        for worker in self.workers {
            let ended = worker
                .thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a worker panicked; please report it")));
            if ended.is_err() && result.is_ok() {
                stopper.stop();
                result = ended;
            }
        }
        result
    }

    /// Drains the server and waits for its end.
    ///
    /// # Errors
    ///
    /// As for [`Server::join`].
    pub fn stop(self) -> io::Result<()> {
        self.stopper().stop();
        self.join()
    }
}

/// Asks a server to drain; see [`Server::stopper`].
#[derive(Clone, Debug)]
pub struct Stopper {
    workers: Vec<(Arc<Control>, Waker)>,
}

impl Stopper {
    /// Stops accepting, lets connections finish what they have in hand, ends the workers.
    pub fn stop(&self) {
        for (control, waker) in &self.workers {
            control.drain();
            waker.wake();
        }
    }
}
