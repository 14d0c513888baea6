//! The states of a connection and of its parts; the diagram is in `connection.rs`.

use crate::driver::OpId;
use crate::session::Patience;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Open,
    Finishing { linger: bool },
    Lingering { bytes: usize },
    Closing,
}

/// What a session waits for, by its last step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wants {
    Input(Patience),
    /// A reply, an answer, or the end of the send.
    News,
    /// The end of the send, or input.
    Room,
}

/// The receive of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    No,
    Yes(OpId),
    /// It was asked to end because the inbox is full.
    Pausing,
}

/// The send of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    No,
    Yes,
    /// The last one: it ends the connection's output.
    Last,
}

/// What the phase's deadline is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Idle,
    Busy,
    Sending,
    Waiting,
    Lingering,
    Closing,
}
