//! Changes a server that runs: its listeners, its timeouts, and what its sessions share.
//!
//! What is new is checked first, as far as that is possible without an effect. New listeners are
//! bound when nothing else can fail; if that fails, nothing changes. Then each worker takes all
//! changes at once, between two turns, and reports the result.

use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::listen_spec::ListenSpec;
use super::listeners::{ListenPlan, Listening, RELEASE_MAX, WorkerSockets};
use super::mailbox::{Closing, ListenerOrder, Postbox, Update};
use super::passed::PassedSockets;
use super::resolve::ResolveError;
use super::settings::ServerTimeouts;
use super::start_error::StartError;

/// How long the workers may take to apply an update. A worker takes it between two turns, and no
/// turn takes long.
const RESULT_WAIT: Duration = Duration::from_secs(10);

/// How long to wait before an address that may become free is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Changes a server; see the module documentation. `M` are the messages to its services.
#[derive(Debug)]
pub struct Updater<M> {
    pub(super) listening: Arc<Mutex<Listening>>,
    pub(super) postboxes: Vec<Arc<Postbox<M>>>,
}

/// Listeners that can be bound, as far as that is known. Nobody can connect to the new ones before
/// [`Updater::apply`].
#[derive(Debug)]
pub struct PreparedListeners(ListenPlan);

impl PreparedListeners {
    /// The number of the listener of each place that was asked for, as sessions know it
    /// ([`ConnectionInfo::listener`](crate::session::ConnectionInfo::listener)).
    #[must_use]
    pub fn numbers(&self) -> &[u32] {
        &self.0.numbers
    }
}

/// Why an update failed. After [`UpdateError::Late`], [`UpdateError::Worker`] and
/// [`UpdateError::Ended`], its other changes apply; after the others, nothing has changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpdateError {
    /// A place cannot be listened on.
    Listen(StartError),
    /// This worker has not applied the last update yet.
    Busy(usize),
    /// This worker has not applied the update in time, and will when it goes on.
    Late(usize),
    /// This worker cannot accept from a new listener. All workers close the new ones, and serve
    /// the connections made by then; a worker that is late does so when it goes on. All other
    /// changes apply.
    Worker(usize, io::Error),
    /// This worker has ended.
    Ended(usize),
    /// Another update was applied after the listeners were prepared, or the server has ended.
    Outdated,
    /// Another process has the listening sockets, and is about to take over.
    HandedOver,
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
                "worker {number} cannot accept from a new address, so no new address is listened \
                 on; everything else applies: {error}; close connections, or restart the server"
            ),
            Self::Ended(number) => write!(f, "worker {number} has ended; restart the server"),
            Self::Outdated => {
                f.write_str("the server has been changed meanwhile, or has ended; try again")
            }
            Self::HandedOver => f.write_str(
                "another process is taking over, which has read the file itself; try again in a \
                 minute if that fails",
            ),
        }
    }
}

impl UpdateError {
    /// Whether nothing has changed.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Listen(_) | Self::Busy(_) | Self::Outdated | Self::HandedOver => true,
            Self::Late(_) | Self::Worker(..) | Self::Ended(_) => false,
        }
    }
}

impl std::error::Error for UpdateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Worker(_, error) => Some(error),
            Self::Busy(_) | Self::Late(_) | Self::Ended(_) | Self::Outdated | Self::HandedOver => {
                None
            }
        }
    }
}

/// The lock of what a server listens on. Ignores poisoning, because no code panics while it holds
/// the lock.
pub(super) fn lock(listening: &Mutex<Listening>) -> MutexGuard<'_, Listening> {
    listening.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M> Updater<M> {
    /// Finds the addresses of the places among `listen` that the server does not listen on yet, and
    /// whether they can be listened on. Changes nothing.
    ///
    /// # Errors
    ///
    /// When a place cannot be listened on.
    pub fn prepare(&self, listen: &[ListenSpec]) -> Result<PreparedListeners, UpdateError> {
        // Without the lock, since looking a name up may take long.
        let is_known = |spec: &ListenSpec| lock(&self.listening).has(spec);
        let passed = lock(&self.listening).passed();
        let places = resolve(listen, &passed, is_known).map_err(UpdateError::Listen)?;
        let plan = self.try_to_listen(|listening| listening.plan(&places));
        plan.map(PreparedListeners).map_err(UpdateError::Listen)
    }

    /// Binds prepared listeners, and gives them, timeouts and a message to the service to each
    /// worker. Listeners that are no longer wanted are closed after the connections in their queues
    /// were accepted; connections stay. Returns when all workers have applied it.
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
        let PreparedListeners(plan) = prepared;
        if let Some(busy) = self.postboxes.iter().position(|postbox| postbox.has_update()) {
            return Err(UpdateError::Busy(busy));
        }
        // The lock is held from before the first file is made until it is recorded: the end of the
        // server removes the recorded ones, and the process may end then. It is held until the
        // workers have their update, too, because a take-over gives its orders under it.
        let bound = self.try_to_listen(|listening| {
            if listening.is_handed_over() {
                return Ok(Err(UpdateError::HandedOver));
            }
            if !listening.is_current(&plan) {
                return Ok(Err(UpdateError::Outdated));
            }
            let mut bound = listening.bind(&plan)?;
            let sockets = bound.sockets(self.postboxes.len())?;
            let (new, closing) = listening.apply(&plan, bound);
            let sent = self.send(sockets, &plan.dropped, closing, timeouts, &message);
            listening.set_changing(true);
            Ok(Ok((new, sent)))
        });
        let (new, sent) = bound.map_err(UpdateError::Listen)??;
        let applied = wait_for_all(sent);
        if matches!(applied, Err(UpdateError::Worker(..))) {
            self.close(&new);
        }
        lock(&self.listening).set_changing(false);
        applied
    }

    /// Closes listeners that a worker could not take, so that no other one accepts from them, and
    /// so that the next update binds them again. A worker that is late takes its update first.
    fn close(&self, numbers: &[u32]) {
        let mut listening = lock(&self.listening);
        let closing = listening.forget(numbers);
        for postbox in &self.postboxes {
            postbox.order(ListenerOrder::Close(numbers.to_vec(), closing.clone()));
        }
    }

    /// Gives a message to the service of each worker, with the present timeouts. Returns when all
    /// have taken it.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn tell(
        &self,
        timeouts: ServerTimeouts,
        message: impl Fn() -> M,
    ) -> Result<(), UpdateError> {
        if let Some(busy) = self.postboxes.iter().position(|postbox| postbox.has_update()) {
            return Err(UpdateError::Busy(busy));
        }
        let none = self.postboxes.iter().map(|_| Vec::new()).collect();
        wait_for_all(self.send(none, &[], Closing::default(), timeouts, message))
    }

    /// Calls `attempt` until it succeeds or fails for another reason than that the server had the
    /// address until just now.
    fn try_to_listen<T>(
        &self,
        attempt: impl Fn(&mut Listening) -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        let until = Instant::now() + RELEASE_MAX;
        loop {
            let error = {
                let mut listening = lock(&self.listening);
                match attempt(&mut listening) {
                    Err(error)
                        if error.busy().is_some_and(|busy| listening.may_become_free(&busy)) =>
                    {
                        error
                    }
                    result => return result,
                }
            };
            if Instant::now() >= until {
                return Err(error);
            }
            thread::sleep(RETRY_PAUSE);
        }
    }

    /// Sends an update to each worker; returns what will have the results.
    fn send(
        &self,
        sockets: WorkerSockets,
        dropped: &[u32],
        closing: Closing,
        timeouts: ServerTimeouts,
        message: impl Fn() -> M,
    ) -> Vec<Receiver<io::Result<()>>> {
        let send = |(postbox, added): (&Arc<Postbox<M>>, _)| {
            let (result, wait_result) = mpsc::channel();
            let (dropped, closing, service) = (dropped.to_vec(), closing.clone(), Some(message()));
            let update = Update { timeouts, added, dropped, closing, service, result };
            // If the worker has ended, the sender of the result is dropped.
            let _ = postbox.update(Box::new(update));
            wait_result
        };
        self.postboxes.iter().zip(sockets).map(send).collect()
    }

    /// The addresses that the server listens on.
    #[must_use]
    pub fn addresses(&self) -> Vec<Endpoint> {
        lock(&self.listening).endpoints()
    }
}

/// The endpoints of places, except those that are known.
pub(super) fn resolve<'a>(
    listen: &'a [ListenSpec],
    passed: &PassedSockets,
    is_known: impl Fn(&ListenSpec) -> bool,
) -> Result<Vec<(&'a ListenSpec, Vec<Endpoint>)>, StartError> {
    let endpoints = |spec: &ListenSpec| match spec {
        _ if is_known(spec) => Ok(Vec::new()),
        ListenSpec::Passed(name) => match passed.endpoints(name) {
            none if none.is_empty() => Err(StartError::Resolve(ResolveError::not_passed(spec))),
            endpoints => Ok(endpoints),
        },
        _ => spec.resolve().map_err(StartError::Resolve),
    };
    listen.iter().map(|spec| Ok((spec, endpoints(spec)?))).collect()
}

/// Waits for the results of all workers. Of several errors, the most serious one is returned.
fn wait_for_all(results: Vec<Receiver<io::Result<()>>>) -> Result<(), UpdateError> {
    let until = Instant::now() + RESULT_WAIT;
    let mut errors = Vec::new();
    for (number, result) in results.into_iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        match result.recv_timeout(left) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => errors.push(UpdateError::Worker(number, error)),
            Err(RecvTimeoutError::Timeout) => errors.push(UpdateError::Late(number)),
            Err(RecvTimeoutError::Disconnected) => errors.push(UpdateError::Ended(number)),
        }
    }
    let rank = |error: &UpdateError| match error {
        UpdateError::Worker(..) => 0,
        UpdateError::Ended(_) => 1,
        _ => 2,
    };
    errors.into_iter().min_by_key(rank).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::ready::Epoll;
    use crate::driver::{Driver, Limits};
    use crate::server::mailbox::{Mailbox, Message};

    /// If a worker cannot take a listener, a worker that has not taken its update yet must not
    /// accept from it when it goes on.
    #[test]
    fn what_a_worker_cannot_take_is_closed_by_all() {
        let driver = Epoll::open(&Limits::default()).unwrap();
        let mailboxes: [Arc<Mailbox<()>>; 2] = Default::default();
        let postbox = |it: &Arc<_>| Arc::new(Postbox::new(Arc::clone(it), driver.waker()));
        let listening = Listening::new(2, 8, PassedSockets::default());
        let updater = Updater {
            listening: Arc::new(Mutex::new(listening)),
            postboxes: mailboxes.iter().map(postbox).collect(),
        };
        let prepared = updater.prepare(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let added = prepared.numbers().to_vec();
        let applied = thread::scope(|scope| {
            scope.spawn(|| {
                for (mailbox, fails) in mailboxes.iter().zip([true, false]) {
                    while !mailbox.has_update() {
                        thread::sleep(Duration::from_millis(1));
                    }
                    let Some(Message::Update(update)) = mailbox.take() else { panic!() };
                    let result = if fails { Err(io::Error::other("none left")) } else { Ok(()) };
                    update.result.send(result).unwrap();
                }
            });
            updater.apply(prepared, ServerTimeouts::default(), || ())
        });
        assert!(matches!(applied, Err(UpdateError::Worker(0, _))), "{applied:?}");
        assert!(updater.addresses().is_empty());
        assert!(!lock(&updater.listening).is_changing());
        for mailbox in &mailboxes {
            let Some(Message::Listeners(ListenerOrder::Close(closed, _))) = mailbox.take() else {
                panic!("a worker keeps a listener that the server has forgotten")
            };
            assert_eq!(closed, added);
        }
    }

    /// A worker that is late takes what closes the listeners after the update that adds them.
    #[test]
    fn a_worker_that_is_late_closes_what_it_has_not_taken_yet() {
        let driver = Epoll::open(&Limits::default()).unwrap();
        let mailbox: Arc<Mailbox<()>> = Arc::default();
        let updater = Updater {
            listening: Arc::new(Mutex::new(Listening::new(1, 8, PassedSockets::default()))),
            postboxes: vec![Arc::new(Postbox::new(Arc::clone(&mailbox), driver.waker()))],
        };
        let (none, timeouts) = (vec![Vec::new()], ServerTimeouts::default());
        let _results = updater.send(none, &[], Closing::default(), timeouts, || ());
        updater.close(&[1]);
        assert!(matches!(mailbox.take(), Some(Message::Update(_))));
        let next = mailbox.take();
        assert!(matches!(next, Some(Message::Listeners(ListenerOrder::Close(..)))), "{next:?}");
    }
}
