//! Messages from other threads to a worker: a bounded queue, and the waker of the worker's driver.
//!
//! Messages are new settings, orders about listeners, the request to drain, and messages to the
//! service, such as reports of its watcher. Because everything arrives here, a worker shares no
//! mutable state with other threads. The worker owns the mailbox; other threads have a
//! [`Postbox`]. A message to the service is refused if [`MESSAGES_MAX`] are waiting, an [`Update`]
//! if one is waiting, and the sender decides what to do then. A request to drain is never refused,
//! and repeating it has no effect.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::settings::ServerTimeouts;
use crate::driver::Waker;
use crate::service::Service;
use crate::session::Session;

/// The messages to the service of these sessions.
pub(super) type MessageOf<S> = <<S as Session>::Shared as Service>::Message;

/// Maximum number of waiting messages to the service.
pub const MESSAGES_MAX: usize = 64;

/// A message to a worker.
#[derive(Debug)]
pub enum Message<M> {
    /// Stop accepting, finish the requests in progress, and end.
    Drain,
    /// Take new settings.
    Update(Box<Update<M>>),
    /// Treat listeners in another way.
    Listeners(ListenerOrder),
    /// A message to the service.
    Service(M),
}

/// What to do with listeners. [`ListenerOrder::Close`] follows from an update that failed, the
/// others from a take-over.
#[derive(Debug)]
pub enum ListenerOrder {
    /// Treat these listeners as joint from now on, or as the worker's own (clause 16 of the driver
    /// contract).
    Join {
        /// The numbers of the listeners. Others stay as they are.
        numbers: Vec<u32>,
        /// Whether they are joint.
        joint: bool,
        /// Gets duplicates of their descriptors, if wanted.
        duplicates: Option<DuplicateSender>,
    },
    /// Another process accepts in place of this one. Then a drain has no delay: nobody has to
    /// notice it.
    Replaced,
    /// Close these listeners, as an [`Update`] does, because another worker could not take them.
    /// Unlike an update, it can follow one that the worker has not taken yet.
    Close(Vec<u32>, Closing),
    /// Say whether any of the listeners with these numbers is not closed yet.
    AreOpen(Vec<u32>, Sender<bool>),
}

impl ListenerOrder {
    /// Whether the sender waits for a reply. If it does not get one, it sends an order that undoes
    /// this one.
    fn has_reply(&self) -> bool {
        match self {
            Self::Join { duplicates, .. } => duplicates.is_some(),
            Self::AreOpen(..) => true,
            Self::Replaced | Self::Close(..) => false,
        }
    }

    /// Whether a later order sets what this one sets.
    fn is_superseded(&self) -> bool {
        matches!(self, Self::Join { .. })
    }
}

/// Duplicates of listeners, with the numbers of these.
pub type Duplicates = io::Result<Vec<(u32, OwnedFd)>>;

/// Takes duplicates of listeners.
pub type DuplicateSender = Sender<Duplicates>;

/// Maximum number of waiting orders. One take-over needs three, and then one for each question
/// whether the listeners are closed; an update needs one at most. More of them wait only if a
/// worker hangs meanwhile.
const ORDERS_MAX: usize = 8;

/// A listening socket for a worker.
#[derive(Debug)]
pub struct WorkerSocket {
    /// The number of its listener.
    pub number: u32,
    /// The socket.
    pub socket: OwnedFd,
    /// Whether another process has it too (clause 16 of the driver contract).
    pub joint: bool,
}

/// New settings of a worker. All of them apply from the same moment on, between two turns of the
/// worker.
#[derive(Debug)]
pub struct Update<M> {
    /// The timeouts. A wait that has begun ends when it would have ended before.
    pub timeouts: ServerTimeouts,
    /// Listening sockets to accept from.
    pub added: Vec<WorkerSocket>,
    /// Listeners to close. The connections that wait in their queues are accepted first; accepted
    /// ones stay.
    pub dropped: Vec<u32>,
    /// Kept until these listeners are closed.
    pub closing: Closing,
    /// A message to the service, which gets it before a connection of a new listener is accepted.
    pub service: Option<M>,
    /// Gets the result: an error if a socket cannot be listened on. Everything else applies then,
    /// too.
    pub result: Sender<io::Result<()>>,
}

/// Exists in a worker, or on the way to it, as long as the worker may have a listener that it has
/// to close. So the sender learns when the address is free, without a message.
#[derive(Clone, Debug, Default)]
pub struct Closing(Arc<()>);

impl Closing {
    /// Refers to nothing any more when all copies are gone.
    pub(super) fn mark(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

/// The queue of messages to a worker.
#[derive(Debug)]
pub struct Mailbox<M> {
    queued: Mutex<QueuedMessages<M>>,
}

#[derive(Debug)]
struct QueuedMessages<M> {
    messages: VecDeque<M>,
    /// At most one update, and at most [`ORDERS_MAX`] orders, in the order in which they were sent:
    /// an order is about listeners that an update before it has added. Those that are never dropped
    /// are fewer: two [`ListenerOrder::Close`], as each follows an update, and one
    /// [`ListenerOrder::Replaced`].
    changes: VecDeque<Change<M>>,
    drain: bool,
    /// Whether the worker has ended. Then no update is accepted.
    closed: bool,
}

/// A change of the settings of a worker, or of what it does with its listeners.
#[derive(Debug)]
enum Change<M> {
    Update(Box<Update<M>>),
    Order(ListenerOrder),
}

impl<M> QueuedMessages<M> {
    fn has_update(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Update(_)))
    }

    fn orders(&self) -> usize {
        self.changes.len() - usize::from(self.has_update())
    }
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        let messages = VecDeque::with_capacity(MESSAGES_MAX);
        Self {
            queued: Mutex::new(QueuedMessages {
                messages,
                changes: VecDeque::new(),
                drain: false,
                closed: false,
            }),
        }
    }
}

impl<M> Mailbox<M> {
    /// Adds a message to the service, without waking the worker. If the worker has ended, the
    /// message is dropped.
    ///
    /// # Errors
    ///
    /// Returns the message if the mailbox is full.
    pub fn push(&self, message: M) -> Result<(), M> {
        let mut queued = self.lock();
        if queued.closed {
            return Ok(());
        }
        if queued.messages.len() >= MESSAGES_MAX {
            return Err(message);
        }
        queued.messages.push_back(message);
        Ok(())
    }

    /// Adds an update, without waking the worker.
    ///
    /// # Errors
    ///
    /// Returns the update if the worker has not taken the last one, or has ended.
    pub fn push_update(&self, update: Box<Update<M>>) -> Result<(), Box<Update<M>>> {
        let mut queued = self.lock();
        if queued.has_update() || queued.closed {
            return Err(update);
        }
        queued.changes.push_back(Change::Update(update));
        Ok(())
    }

    /// Adds an order about listeners, without waking the worker. If too many wait, those that
    /// have a reply are dropped, because their senders have given up, and then the oldest one that
    /// makes listeners joint or not: what later ones set is what counts. If the worker has ended,
    /// the order is dropped.
    pub fn push_order(&self, order: ListenerOrder) {
        let mut queued = self.lock();
        if queued.closed {
            return;
        }
        if queued.orders() >= ORDERS_MAX {
            queued.changes.retain(|it| !matches!(it, Change::Order(it) if it.has_reply()));
        }
        if queued.orders() >= ORDERS_MAX {
            let is_superseded =
                |it: &Change<M>| matches!(it, Change::Order(order) if order.is_superseded());
            let oldest = queued.changes.iter().position(is_superseded);
            oldest.and_then(|oldest| queued.changes.remove(oldest));
        }
        queued.changes.push_back(Change::Order(order));
    }

    /// Whether the worker has not taken the last update.
    pub fn has_update(&self) -> bool {
        self.lock().has_update()
    }

    /// Drops what waits, because the worker has ended.
    pub(super) fn close(&self) {
        let mut queued = self.lock();
        queued.closed = true;
        queued.changes.clear();
        queued.messages.clear();
    }

    /// Adds the request to drain, without waking the worker.
    pub fn push_drain(&self) {
        self.lock().drain = true;
    }

    /// Takes the next message. Changes come first, since a drain depends on them;
    /// then a drain, because it makes the messages to the service less important.
    pub(super) fn take(&self) -> Option<Message<M>> {
        let mut queued = self.lock();
        match queued.changes.pop_front() {
            Some(Change::Update(update)) => return Some(Message::Update(update)),
            Some(Change::Order(order)) => return Some(Message::Listeners(order)),
            None => {}
        }
        if std::mem::take(&mut queued.drain) {
            return Some(Message::Drain);
        }
        queued.messages.pop_front().map(Message::Service)
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, QueuedMessages<M>> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends messages to a worker, from any thread.
#[derive(Debug)]
pub struct Postbox<M> {
    mailbox: Arc<Mailbox<M>>,
    waker: Waker,
}

impl<M> Clone for Postbox<M> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox), waker: self.waker.clone() }
    }
}

impl<M> Postbox<M> {
    /// A postbox for this mailbox, whose worker has this waker.
    pub fn new(mailbox: Arc<Mailbox<M>>, waker: Waker) -> Self {
        Self { mailbox, waker }
    }

    /// Sends a message to the service, and wakes the worker.
    ///
    /// # Errors
    ///
    /// Returns the message if the mailbox is full.
    pub fn post(&self, message: M) -> Result<(), M> {
        self.mailbox.push(message)?;
        self.waker.wake();
        Ok(())
    }

    /// Sends an update, and wakes the worker.
    ///
    /// # Errors
    ///
    /// Returns the update if the worker has not taken the last one.
    pub fn update(&self, update: Box<Update<M>>) -> Result<(), Box<Update<M>>> {
        self.mailbox.push_update(update)?;
        self.waker.wake();
        Ok(())
    }

    /// Whether the worker has not taken the last update.
    pub fn has_update(&self) -> bool {
        self.mailbox.has_update()
    }

    /// Wakes the worker. It ends its turn, and performs another one.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Sends an order about listeners, and wakes the worker.
    pub fn order(&self, order: ListenerOrder) {
        self.mailbox.push_order(order);
        self.waker.wake();
    }

    /// Asks the worker to drain, and wakes it.
    pub fn drain(&self) {
        self.mailbox.push_drain();
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_order_and_a_drain_comes_first() {
        let mailbox = Mailbox::default();
        for number in 0..3 {
            mailbox.push(number).unwrap();
        }
        mailbox.push_drain();
        mailbox.push_drain();
        assert!(matches!(mailbox.take(), Some(Message::Drain)));
        for number in 0..3 {
            assert!(matches!(mailbox.take(), Some(Message::Service(it)) if it == number));
        }
        assert!(mailbox.take().is_none());
    }

    fn join(numbers: Vec<u32>, duplicates: Option<DuplicateSender>) -> ListenerOrder {
        ListenerOrder::Join { numbers, joint: duplicates.is_some(), duplicates }
    }

    #[test]
    fn one_update_waits_at_a_time_and_precedes_other_messages() {
        let mailbox = Mailbox::default();
        let (result, results) = std::sync::mpsc::channel();
        let sender = result.clone();
        let update = move |service| {
            let (timeouts, result) = (ServerTimeouts::default(), sender.clone());
            let (added, dropped, closing) = (Vec::new(), Vec::new(), Closing::default());
            Box::new(Update { timeouts, added, dropped, closing, service: Some(service), result })
        };
        mailbox.push(1).unwrap();
        mailbox.push_drain();
        mailbox.push_update(update(2)).unwrap();
        assert_eq!(mailbox.push_update(update(3)).unwrap_err().service, Some(3));
        let Some(Message::Update(taken)) = mailbox.take() else { panic!("the update is next") };
        assert_eq!(taken.service, Some(2));
        assert!(matches!(mailbox.take(), Some(Message::Drain)));
        assert!(matches!(mailbox.take(), Some(Message::Service(1))));
        mailbox.push_update(update(4)).unwrap();
        drop((mailbox, taken, update));
        drop(result);
        // An update that nobody takes has no result.
        assert!(results.recv().is_err());
    }

    /// An order that follows an update is about the listeners that the update has added. It must
    /// not come first, however many orders there are.
    #[test]
    fn updates_and_orders_arrive_as_they_were_sent() {
        let mailbox = Mailbox::<()>::default();
        let (result, _results) = std::sync::mpsc::channel();
        let update = || {
            let (timeouts, result) = (ServerTimeouts::default(), result.clone());
            let (added, dropped, closing) = (Vec::new(), Vec::new(), Closing::default());
            Box::new(Update { timeouts, added, dropped, closing, service: None, result })
        };
        mailbox.push_order(join(vec![0], None));
        mailbox.push_update(update()).unwrap();
        assert!(matches!(mailbox.take(), Some(Message::Listeners(_))));
        assert!(matches!(mailbox.take(), Some(Message::Update(_))));
        mailbox.push_order(join(vec![0], None));
        mailbox.push_update(update()).unwrap();
        for number in 1..=ORDERS_MAX as u32 {
            mailbox.push_order(join(vec![number], None));
        }
        assert!(mailbox.has_update());
        assert!(matches!(mailbox.take(), Some(Message::Update(_))));
        assert!(!mailbox.has_update());
        for expected in 1..=ORDERS_MAX as u32 {
            let Some(Message::Listeners(ListenerOrder::Join { numbers, .. })) = mailbox.take()
            else {
                panic!("order {expected} is lost")
            };
            assert_eq!(numbers, [expected]);
        }
    }

    /// A drain of a server that was replaced depends on what the order says of its listeners.
    #[test]
    fn orders_come_before_a_drain_and_are_bounded() {
        let mailbox = Mailbox::<()>::default();
        // Take-overs that fail, while the worker hangs.
        let mut replies = Vec::new();
        for number in 0..ORDERS_MAX as u32 {
            let (duplicates, reply) = std::sync::mpsc::channel();
            replies.push(reply);
            mailbox.push_order(join(vec![number], Some(duplicates)));
            mailbox.push_order(join(vec![number], None));
        }
        // Whoever waits for a reply to one that was dropped learns of it at once.
        assert_eq!(replies[0].try_recv().err(), Some(std::sync::mpsc::TryRecvError::Disconnected));
        mailbox.push_drain();
        let mut taken = Vec::new();
        let next = loop {
            match mailbox.take() {
                Some(Message::Listeners(ListenerOrder::Join { numbers, joint, .. })) => {
                    taken.push((numbers[0], joint));
                }
                other => break other,
            }
        };
        assert!(matches!(next, Some(Message::Drain)));
        assert!(taken.len() <= ORDERS_MAX, "{taken:?}");
        // What was set last counts, and no end of a take-over was dropped before a later begin.
        assert_eq!(taken.last(), Some(&(ORDERS_MAX as u32 - 1, false)));
        assert!(taken.is_sorted(), "{taken:?}");
    }

    /// Nobody repeats these, so a listener would be accepted from for good, or a drain would wait
    /// for those who have to notice it.
    #[test]
    fn orders_that_no_later_one_replaces_are_kept() {
        let mailbox = Mailbox::<()>::default();
        mailbox.push_order(ListenerOrder::Close(vec![7], Closing::default()));
        mailbox.push_order(ListenerOrder::Replaced);
        for number in 0..2 * ORDERS_MAX as u32 {
            mailbox.push_order(join(vec![number], None));
        }
        assert!(mailbox.lock().orders() <= ORDERS_MAX);
        let next = || mailbox.take();
        assert!(
            matches!(next(), Some(Message::Listeners(ListenerOrder::Close(it, _))) if it == [7])
        );
        assert!(matches!(next(), Some(Message::Listeners(ListenerOrder::Replaced))));
    }

    #[test]
    fn a_full_mailbox_refuses_messages_but_accepts_a_drain() {
        let mailbox = Mailbox::default();
        for number in 0..MESSAGES_MAX {
            mailbox.push(number).unwrap();
        }
        assert_eq!(mailbox.push(99), Err(99));
        mailbox.push_drain();
        assert!(matches!(mailbox.take(), Some(Message::Drain)));
        assert!(matches!(mailbox.take(), Some(Message::Service(0))));
        mailbox.push(99).unwrap();
    }
}
