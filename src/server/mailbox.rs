//! How other threads tell a worker something: a bounded queue and the waker of its driver.
//!
//! The request to drain and what a service is told, such as reports of its watcher, come this way,
//! so a worker looks in one place and shares nothing that changes; settings will come by it too.
//! The owner is the worker; everybody else has a [`Postbox`]. A message for the service is refused
//! when [`MESSAGES_MAX`] wait, and the sender decides what that means. The request to drain always
//! has a place, and counts once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::driver::Waker;

/// Messages for a service that wait at a time.
pub const MESSAGES_MAX: usize = 64;

/// What a worker is told.
#[derive(Debug)]
pub enum Message<M> {
    /// Stop accepting, let connections finish what they have in hand, and end.
    Drain,
    /// Something for the service that the worker's sessions share.
    Service(M),
}

/// Where a worker's messages wait.
#[derive(Debug)]
pub struct Mailbox<M> {
    state: Mutex<State<M>>,
}

#[derive(Debug)]
struct State<M> {
    messages: VecDeque<M>,
    drain: bool,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        let state = State { messages: VecDeque::with_capacity(MESSAGES_MAX), drain: false };
        Self { state: Mutex::new(state) }
    }
}

impl<M> Mailbox<M> {
    /// Puts a message for the service in, without waking the worker.
    ///
    /// # Errors
    ///
    /// Gives the message back when there is no room.
    pub fn push(&self, message: M) -> Result<(), M> {
        let mut state = self.lock();
        if state.messages.len() >= MESSAGES_MAX {
            return Err(message);
        }
        state.messages.push_back(message);
        Ok(())
    }

    /// Puts the request to drain in, without waking the worker.
    pub fn push_drain(&self) {
        self.lock().drain = true;
    }

    /// Takes the next message out: a drain before all others, since what they ask for is not
    /// needed any more.
    pub(super) fn take(&self) -> Option<Message<M>> {
        let mut state = self.lock();
        if std::mem::take(&mut state.drain) {
            return Some(Message::Drain);
        }
        state.messages.pop_front().map(Message::Service)
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to a worker's mailbox, for other threads.
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
    /// The way to this mailbox, whose worker has this waker.
    pub fn new(mailbox: Arc<Mailbox<M>>, waker: Waker) -> Self {
        Self { mailbox, waker }
    }

    /// Tells the worker's service something.
    ///
    /// # Errors
    ///
    /// Gives the message back when there is no room.
    pub fn post(&self, message: M) -> Result<(), M> {
        self.mailbox.push(message)?;
        self.waker.wake();
        Ok(())
    }

    /// Asks the worker to drain.
    pub fn drain(&self) {
        self.mailbox.push_drain();
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_in_their_order_and_a_drain_before_them() {
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
    fn a_full_mailbox_gives_the_message_back_and_still_takes_a_drain() {
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
