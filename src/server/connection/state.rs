//! The states of a connection and of its parts; the diagram is in `connection.rs`.

use crate::driver::OpId;
use crate::session::ReceiveTimeout;

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
    Input(ReceiveTimeout),
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
    /// The session waits for input.
    Receiving(ReceiveTimeout),
    /// A send is in flight.
    Sending,
    /// The session waits for a reply or an answer.
    Waiting,
    Lingering,
    Closing,
}

impl Phase {
    /// What a connection in this state waits for.
    pub(super) fn of(state: State, sending: Sending, wants: Wants) -> Self {
        match (state, wants) {
            (State::Closing, _) => Self::Closing,
            (State::Lingering { .. }, _) => Self::Lingering,
            _ if sending != Sending::No => Self::Sending,
            (_, Wants::News | Wants::Room) => Self::Waiting,
            (_, Wants::Input(timeout)) => Self::Receiving(timeout),
        }
    }
}
