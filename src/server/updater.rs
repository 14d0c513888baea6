//! Changes a server that runs: its listeners, its timeouts, and what its sessions share.
//!
//! New listeners are bound first. If that fails, nothing changes. Then each worker takes all
//! changes at once, between two turns, and reports the result.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::listeners::{ListenChange, Listening};
use super::mailbox::{Postbox, Update};
use super::settings::ServerTimeouts;
use super::start_error::StartError;

/// How long the workers may take to apply an update. A worker takes it between two turns, and no
/// turn takes long.
const RESULT_WAIT: Duration = Duration::from_secs(10);

/// Changes a server; see the module documentation. `M` are the messages to its services.
#[derive(Debug)]
pub struct Updater<M> {
    pub(super) listening: Arc<Mutex<Listening>>,
    pub(super) postboxes: Vec<Arc<Postbox<M>>>,
}

/// Listeners that are bound, but not accepted from. If this is dropped, they are closed again.
#[derive(Debug)]
pub struct PreparedListeners(ListenChange);

impl PreparedListeners {
    /// The number of the listener of each place that was asked for, as sessions know it
    /// ([`ConnectionInfo::listener`](crate::session::ConnectionInfo::listener)).
    #[must_use]
    pub fn numbers(&self) -> &[u16] {
        &self.0.numbers
    }
}

/// Why an update failed. Only after [`UpdateError::Late`] and [`UpdateError::Worker`], some of its
/// changes apply.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpdateError {
    /// A place cannot be listened on.
    Listen(StartError),
    /// This worker has not applied the last update yet.
    Busy(usize),
    /// This worker has not applied the update in time, and will when it goes on.
    Late(usize),
    /// This worker cannot accept from a new listener. All other changes apply.
    Worker(usize, io::Error),
    /// The server has ended.
    Ended,
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Busy(number) => write!(
                f,
                "worker {number} has not applied the last update yet; if it never does, restart \
                 the server"
            ),
            Self::Late(number) => write!(
                f,
                "worker {number} does not respond, and will apply the update when it goes on; if \
                 it never does, restart the server"
            ),
            Self::Worker(number, error) => write!(
                f,
                "worker {number} cannot accept from a new address, but everything else applies: \
                 {error}; restart the server"
            ),
            Self::Ended => f.write_str("the server has ended"),
        }
    }
}

impl std::error::Error for UpdateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Worker(_, error) => Some(error),
            Self::Busy(_) | Self::Late(_) | Self::Ended => None,
        }
    }
}

/// The lock of what a server listens on. Ignores poisoning, because no code panics while it holds
/// the lock.
pub(super) fn lock(listening: &Mutex<Listening>) -> MutexGuard<'_, Listening> {
    listening.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M> Updater<M> {
    /// Binds the places among `listen` that the server does not listen on yet.
    ///
    /// # Errors
    ///
    /// When a place cannot be listened on. Then nothing has changed.
    pub fn prepare(&self, listen: &[ListenSpec]) -> Result<PreparedListeners, UpdateError> {
        let change = lock(&self.listening).prepare(listen);
        change.map(PreparedListeners).map_err(UpdateError::Listen)
    }

    /// Applies prepared listeners, timeouts and a message to the service of each worker. Listeners
    /// that are no longer wanted are closed after the connections in their queues were accepted;
    /// connections stay. Returns when all workers have applied it.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn apply(
        &self,
        prepared: PreparedListeners,
        timeouts: ServerTimeouts,
        message: impl Fn() -> M,
    ) -> Result<(), UpdateError> {
        let PreparedListeners(mut change) = prepared;
        if let Some(busy) = self.postboxes.iter().position(|postbox| postbox.has_update()) {
            return Err(UpdateError::Busy(busy));
        }
        let mut results = Vec::new();
        let sockets = change.sockets(self.postboxes.len());
        for (postbox, added) in self.postboxes.iter().zip(sockets) {
            let (result, wait_result) = mpsc::channel();
            let (dropped, service) = (change.dropped.clone(), Some(message()));
            let update = Box::new(Update { timeouts, added, dropped, service, result });
            // There was no other update, and nobody else sends any.
            let _ = postbox.update(update);
            results.push(wait_result);
        }
        lock(&self.listening).apply(change);
        let until = Instant::now() + RESULT_WAIT;
        let mut first_error = Ok(());
        for (number, result) in results.into_iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let outcome = match result.recv_timeout(left) {
                Ok(outcome) => outcome.map_err(|error| UpdateError::Worker(number, error)),
                Err(RecvTimeoutError::Timeout) => Err(UpdateError::Late(number)),
                Err(RecvTimeoutError::Disconnected) => Err(UpdateError::Ended),
            };
            first_error = first_error.and(outcome);
        }
        first_error
    }

    /// The addresses that the server listens on.
    #[must_use]
    pub fn addresses(&self) -> Vec<Endpoint> {
        lock(&self.listening).endpoints()
    }
}
