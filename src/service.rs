//! Services: the state that the sessions of a worker share, and the work done once for all of them.
//!
//! Like a session, a [`Service`] is a state machine without I/O. It holds what sessions share, such
//! as a cache. If several sessions need the same thing, the service asks for it once
//! ([`Task::Ask`]) and then answers each session that waits ([`Task::Answer`]). Its work may
//! continue after the connection that caused it has ended.
//!
//! ```text
//!  sessions -- call --> Service -- Task::Ask ----> worker --> driver
//!     ^                    ^  `--- Task::Answer --.   |
//!     `--------------------|----------------------'   |
//!                          `------- Reply, Message ---'
//! ```
//!
//! The unit type `()` is the service of sessions that share nothing.

use std::convert::Infallible;
use std::time::Instant;

use crate::ask::{Ask, AskId, Reply};
use crate::driver::Now;
use crate::driver::slot_map::Handle;

/// Identifies a session of a worker. The id of a session that has ended matches no other session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionId(pub(crate) Handle<Self>);

impl SessionId {
    /// An id for a session without a worker, as in tests.
    pub fn detached(number: u32) -> Self {
        Self(Handle::at(number))
    }
}

/// A session that waits for an answer of its service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// The session.
    pub session: SessionId,
    /// Chosen by the session; passed back with the answer.
    pub id: AskId,
}

/// A task of the worker, from its service.
#[derive(Debug)]
pub enum Task<A> {
    /// Get the reply to a question. [`Service::resume`] takes the reply.
    Ask(AskId, Ask),
    /// Cancel a question. It still gets a reply: soon, unless a disk or a file system hangs.
    Cancel(AskId),
    /// Pass an answer to a session that waits. If the session has ended, the answer is dropped.
    Answer(Waiter, A),
}

/// The state that the sessions of a worker share; see the module documentation.
pub trait Service {
    /// The answers to sessions that wait.
    type Answer;

    /// The messages from other threads, which arrive through the worker's mailbox.
    type Message: Send + std::fmt::Debug + 'static;

    /// The next task for the worker; `None` if there is none. The worker calls this in every turn
    /// until it returns `None`, which must happen after a bounded number of tasks.
    fn poll(&mut self, now: Now) -> Option<Task<Self::Answer>>;

    /// Takes the reply to a [`Task::Ask`].
    fn resume(&mut self, now: Now, id: AskId, reply: Reply);

    /// Takes a message from another thread.
    fn receive(&mut self, now: Now, message: Self::Message);

    /// When to call [`Service::poll`] again at the latest, even if nothing happens until then.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Publishes statistics to other threads. Called at the end of each turn of the worker.
    fn publish(&self) {}
}

impl Service for () {
    type Answer = Infallible;
    type Message = Infallible;

    fn poll(&mut self, _: Now) -> Option<Task<Infallible>> {
        None
    }

    fn resume(&mut self, _: Now, _: AskId, reply: Reply) {
        unreachable!("{reply:?}, but this service asks no questions")
    }

    fn receive(&mut self, _: Now, message: Infallible) {
        match message {}
    }
}
