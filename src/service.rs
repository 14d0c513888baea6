//! Services: what the sessions of a worker share, and the work that is done once for all of them.
//!
//! A [`Service`] is to a worker what a session is to a connection: a state machine without I/O. It
//! holds what sessions share, such as a cache. When several sessions need the same thing, the
//! service asks for it once ([`Task::Ask`]), and tells each session that waits
//! ([`Task::Answer`]). Its work may outlive the connection that was the reason for it.
//!
//! ```text
//!  sessions -- call --> Service -- Task::Ask ----> worker --> driver
//!     ^                    ^  `--- Task::Answer --.   |
//!     `--------------------|----------------------'   |
//!                          `------- Reply, Message ---'
//! ```
//!
//! The unit type is the service of sessions that share nothing.

use std::convert::Infallible;

use crate::ask::{Ask, AskId, Reply};
use crate::driver::Now;
use crate::driver::slot_map::Handle;

/// Identifies a session among those of its worker. The id of one that is gone matches nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionId(pub(crate) Handle<Self>);

impl SessionId {
    /// A name for sessions that run without a worker, as in tests.
    pub fn detached(number: u32) -> Self {
        Self(Handle::at(number))
    }
}

/// A session that waits for a service: which one, and its name for what it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiter {
    /// The session.
    pub session: SessionId,
    /// Comes back to the session with the answer.
    pub id: AskId,
}

/// What a service wants its worker to do.
#[derive(Debug)]
pub enum Task<A> {
    /// Get the reply to a question; [`Service::resume`] brings it.
    Ask(AskId, Ask),
    /// The reply to this question is not needed any more. It comes all the same: soon, unless a
    /// disk or a file system hangs.
    Cancel(AskId),
    /// Tell a session that waits. It does not matter if the session is gone.
    Answer(Waiter, A),
}

/// What sessions share; see the module documentation.
pub trait Service {
    /// What a session that waits is told.
    type Answer;

    /// What other threads send to this service, through the worker's mailbox.
    type Message: Send + std::fmt::Debug + 'static;

    /// What the worker is to do next; `None` when there is nothing at the moment. The worker asks
    /// in every turn until it gets `None`, so it must come after a bounded number of tasks.
    fn poll(&mut self, now: Now) -> Option<Task<Self::Answer>>;

    /// Brings the reply to a [`Task::Ask`].
    fn resume(&mut self, now: Now, id: AskId, reply: Reply);

    /// Brings what another thread has sent.
    fn receive(&mut self, now: Now, message: Self::Message);

    /// A turn of the worker has ended: the time to tell the rest of the process how things are.
    fn publish(&self) {}
}

impl Service for () {
    type Answer = Infallible;
    type Message = Infallible;

    fn poll(&mut self, _: Now) -> Option<Task<Infallible>> {
        None
    }

    fn resume(&mut self, _: Now, _: AskId, reply: Reply) {
        unreachable!("nothing was asked, and {reply:?} came")
    }

    fn receive(&mut self, _: Now, message: Infallible) {
        match message {}
    }
}
