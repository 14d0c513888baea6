//! Messages from other threads to a worker: a bounded queue, and the waker of the worker's driver.
//!
//! Messages are the request to drain, and messages to the service, such as reports of its watcher.
//! Because everything arrives here, a worker shares no mutable state with other threads. The worker
//! owns the mailbox; other threads have a [`Postbox`]. A message to the service is refused if
//! [`MESSAGES_MAX`] are waiting, and the sender decides what to do then. A request to drain is
//! never refused, and repeating it has no effect.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// A message to the service.
    Service(M),
}

/// The queue of messages to a worker.
#[derive(Debug)]
pub struct Mailbox<M> {
    queued: Mutex<QueuedMessages<M>>,
}

#[derive(Debug)]
struct QueuedMessages<M> {
    messages: VecDeque<M>,
    drain: bool,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        let queued =
            QueuedMessages { messages: VecDeque::with_capacity(MESSAGES_MAX), drain: false };
        Self { queued: Mutex::new(queued) }
    }
}

impl<M> Mailbox<M> {
    /// Adds a message to the service, without waking the worker.
    ///
    /// # Errors
    ///
    /// Returns the message if the mailbox is full.
    pub fn push(&self, message: M) -> Result<(), M> {
        let mut queued = self.lock();
        if queued.messages.len() >= MESSAGES_MAX {
            return Err(message);
        }
        queued.messages.push_back(message);
        Ok(())
    }

    /// Adds the request to drain, without waking the worker.
    pub fn push_drain(&self) {
        self.lock().drain = true;
    }

    /// Takes the next message. A drain comes first, because it makes the other messages less
    /// important.
    pub(super) fn take(&self) -> Option<Message<M>> {
        let mut queued = self.lock();
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
