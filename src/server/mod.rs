//! The server: workers, their listeners, and the order in which they start and stop.
//!
//! ```text
//! start: bind all sockets -> one thread per worker opens its driver -> all open: go
//! stop:  drain (no new connections, finish what is in hand) -> join
//! ```
//!
//! The driver is chosen once for the whole process, before anything is accepted: when it fails in
//! one worker, it is replaced in all of them, or the start fails.

mod chain_pool;
mod connection;
mod env;
mod launch;
pub mod listener;
pub mod mailbox;
mod monitor;
mod settings;
mod start_error;
mod timers;
pub mod worker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;

use crate::driver::{DriverSelection, DriverStats};
use crate::service::Service;
use crate::session::Session;
use launch::{Drain, Running, launch};
use listener::Group;

pub use launch::Seat;
pub use monitor::{Monitor, Published, WorkerStats};
pub use settings::ServerSettings;
pub use start_error::StartError;

/// A server that runs. Dropping it leaves it running; [`Server::stop`] ends it.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    selection: DriverSelection,
    workers: Vec<Running>,
    /// Brings the number of each worker that ends.
    ends: mpsc::Receiver<usize>,
}

/// Starts a server whose sessions share, per worker, what `shared` makes for its seat.
///
/// Returns when connections can be made: all listeners are bound and every worker has its driver.
///
/// # Errors
///
/// When an address cannot be bound, or the driver cannot be opened and may not be replaced.
pub fn start<S>(
    settings: &ServerSettings,
    selection: DriverSelection,
    shared: impl Fn(Seat<S>) -> S::Shared + Clone + Send + 'static,
) -> Result<Server, StartError>
where
    S: Session + 'static,
    <S::Shared as Service>::Message: 'static,
{
    launch::make_room_for_descriptors(settings.connections_max, settings.workers);
    let mut groups = settings
        .listen
        .iter()
        .map(|address| listener::bind(*address, settings.workers))
        .collect::<Result<Vec<Group>, _>>()?;
    let addresses = groups.iter().map(|group| group.address).collect();
    let mut sockets: Vec<Vec<OwnedFd>> = (0..settings.workers)
        .map(|_| groups.iter_mut().filter_map(|group| group.sockets.pop()).collect())
        .collect();
    let mut selection = selection;
    loop {
        match launch::<S>(settings, selection.kind, &shared, sockets) {
            Ok((workers, ends)) => return Ok(Server { addresses, selection, workers, ends }),
            // One worker without its driver: all of them take the next best.
            Err((StartError::Driver(error), returned)) => {
                let next = selection.fall_back(&error);
                selection = next.ok_or(StartError::Driver(error))?;
                sockets = returned;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

impl Server {
    /// The addresses it listens on, with the real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The driver that it runs on, and why.
    pub fn selection(&self) -> &DriverSelection {
        &self.selection
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// What it has open at the moment, in all workers.
    pub fn worker_stats(&self) -> WorkerStats {
        self.monitor().worker_stats()
    }

    /// What its drivers have done so far, in all workers.
    pub fn stats(&self) -> DriverStats {
        self.monitor().stats()
    }

    /// A handle that sees how the server is doing, from any thread.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.workers.iter().map(|worker| Arc::clone(&worker.published)).collect())
    }

    /// A handle that asks the server to drain, from any thread.
    pub fn stopper(&self) -> Stopper {
        Stopper { workers: self.workers.iter().map(|worker| Arc::clone(&worker.drain)).collect() }
    }

    /// Waits until all workers have ended, which they do after a drain.
    ///
    /// # Errors
    ///
    /// When one of them failed; the others are drained then.
    pub fn join(self) -> io::Result<()> {
        let stopper = self.stopper();
        let mut workers: Vec<Option<Running>> = self.workers.into_iter().map(Some).collect();
        let mut result = Ok(());
        // In the order in which they end: the others must hear of the first that fails.
        for number in self.ends.iter().take(workers.len()) {
            let Some(worker) = workers[number].take() else { continue };
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
    workers: Vec<Arc<dyn Drain>>,
}

impl Stopper {
    /// Stops accepting, lets connections finish what they have in hand, ends the workers.
    pub fn stop(&self) {
        self.workers.iter().for_each(|worker| worker.drain());
    }
}
