//! The states of a connection and of its parts. `connection.rs` has the diagram.

use crate::driver::OpId;
use crate::server::timers::{Tick, Wheel};
use crate::session::ReceiveTimeout;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Open,
    /// The session has finished; its last output is being sent.
    Finishing {
        linger: bool,
    },
    /// Input is discarded, up to this many bytes.
    Lingering {
        bytes: u32,
    },
    Closing,
}

/// A [`ReceiveTimeout`], in ticks, which take less room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InputTimeout {
    KeepAlive,
    KeepAliveSince(Tick),
    Header,
    Body,
    Own,
}

/// What a session waits for, according to its last step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wants {
    Input(InputTimeout),
    /// A reply, an answer, or the end of the send.
    News,
    /// The end of the send, or input.
    Room,
}

impl Wants {
    /// Input, within a timeout.
    pub(super) fn of(timeout: ReceiveTimeout, wheel: &Wheel) -> Self {
        Self::Input(match timeout {
            ReceiveTimeout::KeepAlive => InputTimeout::KeepAlive,
            ReceiveTimeout::KeepAliveSince(since) => {
                InputTimeout::KeepAliveSince(wheel.tick_at(since))
            }
            ReceiveTimeout::Header => InputTimeout::Header,
            ReceiveTimeout::Body => InputTimeout::Body,
            ReceiveTimeout::Own => InputTimeout::Own,
        })
    }
}

/// The receive of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiving {
    No,
    Yes(OpId),
    /// Cancelled because the inbox is full; the last completion has not arrived yet.
    Pausing,
}

/// The send of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sending {
    No,
    Yes,
    /// The last send, which half-closes the connection.
    Last,
}

/// What the connection waits for, which determines its timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The session waits for input.
    Receiving(InputTimeout),
    /// A send is in flight.
    Sending,
    /// The session waits for a reply or an answer.
    Waiting,
    Lingering,
    Closing,
}

impl Phase {
    /// The phase that follows from the states.
    pub(super) fn of(state: State, sending: Sending, wants: Wants) -> Self {
        match (state, wants) {
            (State::Closing, _) => Self::Closing,
            (State::Lingering { .. }, _) => Self::Lingering,
            _ if sending != Sending::No => Self::Sending,
            (_, Wants::News | Wants::Room) => Self::Waiting,
            (_, Wants::Input(timeout)) => Self::Receiving(timeout),
        }
    }

    /// Whether a request or its answer is in progress, if this input has not been taken.
    pub(super) fn is_busy(self, inbox: &[u8]) -> bool {
        match self {
            Self::Sending
            | Self::Waiting
            | Self::Receiving(InputTimeout::Body | InputTimeout::Own) => true,
            // A new connection also waits for a head, of which nothing has arrived.
            Self::Receiving(_) => !inbox.is_empty(),
            Self::Lingering | Self::Closing => false,
        }
    }
}
