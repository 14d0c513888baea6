//! Hands the listening sockets of a server over to another process, which goes on to accept from
//! them; see [`Server::hand_over`](super::Server::hand_over).
//!
//! While both processes have the sockets, all listeners are joint (clause 16 of the driver
//! contract): whichever of the two ends leaves them as they are.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::endpoint::Endpoint;
use super::launch::Remote;
use super::listeners::Listening;
use super::mailbox::{Duplicates, ListenerOrder};
use super::passed::PassedEndpoint;
use super::unix_address::UnixAddress;
use super::updater::lock;

/// How long the workers may take to reply to an order, and before that to apply a change of the
/// listeners.
const ORDER_WAIT: Duration = Duration::from_secs(10);

/// How long to wait before it is looked again whether a change is complete.
const CHANGE_PAUSE: Duration = Duration::from_millis(5);

/// Hands the sockets of a server over, or takes those of another one over for good.
#[derive(Clone, Debug)]
pub struct HandOver {
    pub(super) workers: Vec<Arc<dyn Remote>>,
    pub(super) listening: Arc<Mutex<Listening>>,
}

impl HandOver {
    /// Makes all listeners joint, and duplicates their descriptors. [`HandOver::take_back`] ends
    /// that. Meanwhile, the server cannot be changed.
    ///
    /// # Errors
    ///
    /// When a worker does not respond, or when there are no descriptors left. Nothing has changed
    /// then.
    pub fn begin(&self) -> io::Result<Vec<PassedEndpoint>> {
        // Orders are given under the lock, as updates of listeners are, so they arrive in the order
        // of what they follow from.
        let (mut endpoints, waits) = {
            let mut listening = self.lock_unchanging()?;
            listening.begin_joint(true);
            let endpoints = listening.handed_over();
            let numbers: Vec<u32> = endpoints.iter().map(|(number, _)| *number).collect();
            (endpoints, self.duplicates(&numbers))
        };
        let until = Instant::now() + ORDER_WAIT;
        let gathered = waits.into_iter().try_for_each(|wait| {
            let left = until.saturating_duration_since(Instant::now());
            let sockets = wait.recv_timeout(left).map_err(|_| {
                io::Error::other("a worker does not respond, or does not accept any more")
            })??;
            sockets.into_iter().for_each(|(number, socket)| give(&mut endpoints, number, socket));
            Ok(())
        });
        if let Err(error) = gathered.and_then(|()| check_complete(&endpoints)) {
            self.take_back();
            return Err(error);
        }
        Ok(endpoints.into_iter().map(|(_, passed)| passed).collect())
    }

    /// The lock, at a time when the listeners do not change: a worker may refuse a new one, and
    /// then all close it again.
    fn lock_unchanging(&self) -> io::Result<MutexGuard<'_, Listening>> {
        let until = Instant::now() + ORDER_WAIT;
        loop {
            let listening = lock(&self.listening);
            if !listening.is_changing() {
                return Ok(listening);
            }
            drop(listening);
            if Instant::now() >= until {
                let text = "a reload is under way; try again when it has ended";
                return Err(io::Error::other(text));
            }
            thread::sleep(CHANGE_PAUSE);
        }
    }

    /// Whether a worker has not closed one of these listeners, or does not say.
    #[must_use]
    pub fn is_open(&self, numbers: &[u32]) -> bool {
        let waits = self.ask(|reply| ListenerOrder::AreOpen(numbers.to_vec(), reply));
        waits.into_iter().any(|wait| match wait.recv_timeout(ORDER_WAIT) {
            Ok(is_open) => is_open,
            // The worker has ended.
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => true,
        })
    }

    /// Makes listeners joint, and asks each worker for duplicates of their descriptors.
    fn duplicates(&self, numbers: &[u32]) -> Vec<Receiver<Duplicates>> {
        self.ask(|reply| ListenerOrder::Join {
            numbers: numbers.to_vec(),
            joint: true,
            duplicates: Some(reply),
        })
    }

    /// Gives each worker an order that has a reply.
    fn ask<T>(&self, order: impl Fn(Sender<T>) -> ListenerOrder) -> Vec<Receiver<T>> {
        let of_worker = |worker: &Arc<dyn Remote>| {
            let (reply, wait) = mpsc::channel();
            worker.order(order(reply));
            wait
        };
        self.workers.iter().map(of_worker).collect()
    }

    /// The other process does not take over after all.
    pub fn take_back(&self) {
        self.end_joint(true);
    }

    /// The sockets of this server come from another one, which has them as well. Returns what is to
    /// be called when that one has closed its listeners, or has ended: from then on, the listeners
    /// are this server's alone, unless a third one has them or they belong to the program that has
    /// started the first one.
    pub fn joined(&self) -> impl FnOnce() + Send + 'static {
        lock(&self.listening).begin_joint(false);
        let own = self.clone();
        move || own.end_joint(false)
    }

    fn end_joint(&self, is_handed_over: bool) {
        let mut listening = lock(&self.listening);
        let own = listening.end_joint(is_handed_over);
        self.make_own(&own);
    }

    /// The files of Unix sockets that were taken over are those of this server from now on. Returns
    /// the addresses whose files are gone, so that no client can reach them.
    #[must_use]
    pub fn own_files(&self) -> Vec<Endpoint> {
        lock(&self.listening).own_passed_files()
    }

    /// Drains the server, because the other process accepts from the sockets. `left` are those
    /// addresses that the other process does not accept from: they are closed as in any drain.
    /// Returns the numbers of the other listeners.
    pub fn complete(&self, left: &[Endpoint]) -> Vec<u32> {
        let mut listening = lock(&self.listening);
        let (own, mut others) = (listening.give_up_files(left), listening.numbers());
        others.retain(|number| !own.contains(number));
        self.make_own(&own);
        self.workers.iter().for_each(|worker| worker.order(ListenerOrder::Replaced));
        drop(listening);
        self.workers.iter().for_each(|worker| worker.drain());
        others
    }

    /// No other process has the sockets of these listeners any more.
    fn make_own(&self, numbers: &[u32]) {
        for worker in &self.workers {
            let numbers = numbers.to_vec();
            worker.order(ListenerOrder::Join { numbers, joint: false, duplicates: None });
        }
    }
}

/// Refuses to hand over an address that no worker has: nobody would accept there.
fn check_complete(endpoints: &[(u32, PassedEndpoint)]) -> io::Result<()> {
    match endpoints.iter().find(|(_, passed)| passed.sockets.is_empty()) {
        None => Ok(()),
        Some((_, passed)) => {
            let text = format!("no worker accepts from {}; try again", passed.endpoint);
            Err(io::Error::other(text))
        }
    }
}

/// Adds a socket to the endpoint that it belongs to. Of a shared one, one descriptor suffices.
fn give(endpoints: &mut [(u32, PassedEndpoint)], number: u32, socket: OwnedFd) {
    // The address of a Unix socket that ringd has made is its temporary name, but such a socket is
    // the only one of its listener.
    let is_one = endpoints.iter().filter(|(other, _)| *other == number).count() == 1;
    let address = SockRef::from(&socket).local_addr().ok();
    let has_address = |endpoint: &Endpoint| match (endpoint, &address) {
        (Endpoint::Unix(own), Some(address)) => UnixAddress::of(address).as_ref() == Some(own),
        (tcp, Some(address)) => tcp.socket_addr() == address.as_socket(),
        (_, None) => false,
    };
    let owner = endpoints
        .iter_mut()
        .find(|(other, passed)| *other == number && (is_one || has_address(&passed.endpoint)));
    if let Some((_, passed)) = owner
        && (!passed.is_shared || passed.sockets.is_empty())
    {
        passed.sockets.push(socket);
    }
}

#[cfg(test)]
mod tests {
    use super::super::passed::PassedSockets;
    use super::*;

    /// While a reload may still close what it has added, nobody else gets it.
    #[test]
    fn a_take_over_waits_until_a_reload_is_complete() {
        let listening = Arc::new(Mutex::new(Listening::new(1, 8, PassedSockets::default())));
        let hand_over = HandOver { workers: Vec::new(), listening: Arc::clone(&listening) };
        lock(&listening).set_changing(true);
        thread::scope(|scope| {
            let begun = scope.spawn(|| hand_over.begin());
            thread::sleep(CHANGE_PAUSE * 4);
            assert!(!lock(&listening).is_handed_over());
            lock(&listening).set_changing(false);
            assert!(begun.join().unwrap().unwrap().is_empty());
        });
        assert!(lock(&listening).is_handed_over());
    }
}
