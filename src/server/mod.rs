//! The server: starts and stops the workers, and binds their listeners.
//!
//! ```text
//! start: bind all sockets -> each worker opens its driver on its thread -> all begin to serve
//! stop:  drain (no new connections, finish the requests in progress) -> join
//! ```
//!
//! All workers use the same driver. If it fails to open in one worker, all workers take the next
//! one, or the start fails. No connection is accepted before that is decided.

mod chain_pool;
mod connection;
mod dispatch;
mod endpoint;
mod env;
mod failure;
mod hand_over;
#[cfg(feature = "cli")]
mod inherited;
mod launch;
mod listen_spec;
mod listen_spec_error;
mod listener;
mod listeners;
pub mod mailbox;
mod monitor;
mod passed;
mod published;
mod resolve;
mod settings;
mod start_error;
mod timers;
mod unix_address;
mod unix_listener;
mod updater;
pub mod worker;

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::driver::{DriverSelection, DriverStats};
use crate::session::Session;
use dispatch::{Direct, Dispatch, Indirect};
use launch::{Launched, Remote, RunningWorker, launch};
use listeners::{BoundListeners, ListenPlan, Listening};
use mailbox::MessageOf;

pub use connection::{INBOX_MAX, INBOX_MEMORY_MAX};
pub use endpoint::Endpoint;
pub use hand_over::HandOver;
#[cfg(feature = "cli")]
pub use inherited::{InheritedError, take_inherited};
pub use launch::Seat;
pub use listen_spec::ListenSpec;
pub use listen_spec_error::ListenSpecError;
pub use listener::ListenError;
pub use mailbox::Postbox;
pub use monitor::Monitor;
pub use passed::{PassedEndpoint, PassedSockets};
pub use published::{Published, TimeoutKind, WorkerCounts, WorkerStats};
pub use resolve::ResolveError;
pub use settings::{CONNECTIONS_MAX, LISTENERS_MAX, ServerSettings, ServerTimeouts, WORKERS_MAX};
pub use start_error::StartError;
pub use unix_address::{Account, UnixAddress, UnixOptions};
pub use unix_listener::UnixListenError;
#[cfg(feature = "cli")]
pub(crate) use unix_listener::{SocketFile, check as check_unix, listen as listen_unix};
pub use updater::{PreparedListeners, UpdateError, Updater};

/// The sockets of a server that does not run yet. Dropping this closes them.
#[derive(Debug)]
pub struct BoundServer {
    listening: Listening,
    plan: ListenPlan,
    bound: BoundListeners,
}

impl BoundServer {
    /// Binds all listeners. What needs privileges is done then.
    ///
    /// # Errors
    ///
    /// When a setting is out of range, or an address cannot be bound.
    pub fn bind(settings: &ServerSettings) -> Result<Self, StartError> {
        settings.check()?;
        launch::make_room_for_descriptors(settings.connections_max, settings.workers);
        let passed = settings.passed.clone();
        let places = updater::resolve(&settings.listen, &passed, |_| false)?;
        let mut listening = Listening::new(settings.workers, LISTENERS_MAX, passed);
        let plan = listening.plan(&places)?;
        let bound = listening.bind(&plan)?;
        settings.passed.check()?;
        Ok(Self { listening, plan, bound })
    }
}

/// A running server. Dropping this value does not stop the server; [`Server::stop`] does.
#[derive(Debug)]
pub struct Server {
    /// The addresses at the start.
    addresses: Vec<Endpoint>,
    /// The number of the listener of each address.
    numbers: Vec<u32>,
    listening: Arc<Mutex<Listening>>,
    selection: DriverSelection,
    workers: Vec<RunningWorker>,
    /// Receives the number of each worker that ends.
    ends: mpsc::Receiver<usize>,
}

/// Starts a server. `shared` creates the service of each worker, which the worker's sessions share.
///
/// Returns when clients can connect: all listeners are bound, and every worker has its driver.
///
/// # Errors
///
/// When a setting is out of range, when an address cannot be bound, when the driver does not open
/// and there is no other one, or when a worker's thread cannot be started.
pub fn start<S: Session + 'static>(
    settings: &ServerSettings,
    selection: DriverSelection,
    shared: impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static,
) -> Result<Server, StartError> {
    let bound = BoundServer::bind(settings)?;
    start_with::<S, Indirect>(bound, settings, selection, shared).map(|(server, _)| server)
}

/// Starts a server as [`start`] does, but compiles the worker and its sessions for each driver, so
/// that calls of the driver are inlined: for a session that is worth the code. Also returns what
/// changes the server while it runs. `bound` are the sockets of the same settings.
///
/// # Errors
///
/// As for [`start`].
pub fn start_inlined<S: Session + 'static>(
    bound: BoundServer,
    settings: &ServerSettings,
    selection: DriverSelection,
    shared: impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static,
) -> Result<UpdatableServer<S>, StartError> {
    start_with::<S, Direct>(bound, settings, selection, shared)
}

/// A server, and what changes it while it runs.
pub type UpdatableServer<S> = (Server, Updater<MessageOf<S>>);

fn start_with<S: Session + 'static, C: Dispatch>(
    bound: BoundServer,
    settings: &ServerSettings,
    selection: DriverSelection,
    shared: impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static,
) -> Result<UpdatableServer<S>, StartError> {
    let BoundServer { mut listening, plan, mut bound } = bound;
    let counts = bound.counts(settings.workers);
    let mut selection = selection;
    let mut launched = loop {
        match launch::<S, C>(settings, selection.kind, &shared, &counts) {
            Ok(launched) => break launched,
            // The driver of one worker did not open, so all workers take the next one.
            Err(StartError::Driver(error)) => {
                let next = selection.fall_back(&error);
                selection = next.ok_or(StartError::Driver(error))?;
            }
            Err(error) => return Err(error),
        }
    };
    match bound.sockets(settings.workers) {
        Ok(sockets) => launched.begin(sockets),
        Err(error) => {
            launched.abandon();
            return Err(error);
        }
    }
    let Launched { workers, postboxes, ends, .. } = launched;
    listening.apply(&plan, bound);
    let (addresses, numbers) = (listening.endpoints(), listening.numbers());
    listening.allow_more(settings.spare_listeners as usize);
    let listening = Arc::new(Mutex::new(listening));
    let updater = Updater { listening: Arc::clone(&listening), postboxes };
    let server = Server { addresses, numbers, listening, selection, workers, ends };
    Ok((server, updater))
}

impl Server {
    /// The addresses that the server listens on since its start, in the order of the settings; a
    /// name may have several. Port 0 is replaced by the actual port.
    pub fn addresses(&self) -> &[Endpoint] {
        &self.addresses
    }

    /// The number of the listener of each of these addresses, as sessions know it
    /// ([`ConnectionInfo::listener`](crate::session::ConnectionInfo::listener)).
    pub fn listener_numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The driver of the workers, and the reason for the choice.
    pub fn selection(&self) -> &DriverSelection {
        &self.selection
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// What is open at the moment, summed over all workers.
    pub fn worker_stats(&self) -> WorkerStats {
        self.monitor().worker_stats()
    }

    /// What the drivers have done so far, summed over all workers.
    pub fn stats(&self) -> DriverStats {
        self.monitor().stats()
    }

    /// A handle that reads the statistics of the server, from any thread.
    pub fn monitor(&self) -> Monitor {
        let worker =
            |worker: &RunningWorker| (Arc::clone(&worker.published), Arc::clone(&worker.remote));
        Monitor::new(self.workers.iter().map(worker).collect(), Arc::clone(&self.listening))
    }

    /// A handle that asks the server to drain, from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { workers: self.workers.iter().map(|worker| Arc::clone(&worker.remote)).collect() }
    }

    /// A handle that hands the listening sockets over to another process, from any thread.
    pub fn hand_over(&self) -> HandOver {
        let workers = self.workers.iter().map(|worker| Arc::clone(&worker.remote)).collect();
        HandOver { workers, listening: Arc::clone(&self.listening) }
    }

    /// Waits until all workers have ended. They end after a drain. Then the files of Unix sockets
    /// are removed, unless another server has replaced them.
    ///
    /// # Errors
    ///
    /// When a worker failed. The other workers are drained before this returns.
    pub fn join(self) -> io::Result<()> {
        let stopper = self.stopper();
        let mut workers: Vec<Option<RunningWorker>> = self.workers.into_iter().map(Some).collect();
        let mut result = Ok(());
        // Join the workers in the order in which they end, so a failure drains the others at once.
        for number in self.ends.iter().take(workers.len()) {
            let Some(worker) = workers[number].take() else { continue };
            let ended = worker
                .thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("it panicked; please report it")))
                .map_err(|error| failure::at(&format!("worker {number}"), &error));
            if ended.is_err() && result.is_ok() {
                stopper.stop();
                result = ended;
            }
        }
        updater::lock(&self.listening).remove_files();
        result
    }

    /// Drains the server, and waits until it has ended.
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
    workers: Vec<Arc<dyn Remote>>,
}

impl Stopper {
    /// Stops accepting, finishes the requests in progress, and ends the workers.
    pub fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.drain());
    }
}
