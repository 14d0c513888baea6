//! The states of a worker and of its listeners.

use std::time::Instant;

use crate::driver::{OpId, Sock};
use crate::server::mailbox::Closing;

/// Whether a worker drains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Draining {
    No,
    /// Connections are accepted until this time, but sessions end after their next answer.
    Announced(Instant),
    /// Connections are given until this time to finish.
    Begun(Instant),
}

impl Draining {
    /// When the state ends.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Announced(until) | Self::Begun(until) => Some(until),
        }
    }
}

/// A listening socket. Its place in the list of listeners is part of the tokens of its ops.
#[derive(Debug)]
pub(super) struct Listener {
    /// The number that sessions know; several sockets may have the same.
    pub(super) number: u32,
    pub(super) sock: Sock,
    pub(super) accepting: Option<OpId>,
    /// The accept has been cancelled and has not completed yet.
    pub(super) pausing: bool,
    /// It has to be closed, though the server goes on. This is kept until then.
    pub(super) dropped: Option<Closing>,
    pub(super) closing: bool,
    pub(super) closed: bool,
}

impl Listener {
    pub(super) fn new(number: u32, sock: Sock) -> Self {
        Self {
            number,
            sock,
            accepting: None,
            pausing: false,
            dropped: None,
            closing: false,
            closed: false,
        }
    }

    /// Notes that it is closed.
    pub(super) fn set_closed(&mut self) {
        (self.closed, self.dropped) = (true, None);
    }

    /// The number of its ops in flight.
    pub(super) fn ops(&self) -> usize {
        usize::from(self.accepting.is_some()) + usize::from(self.closing && !self.closed)
    }
}
