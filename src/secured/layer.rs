//! The contract of a security layer.

use std::convert::Infallible;
use std::time::Duration;

use crate::session::{Inbox, Protection};

/// Protects one connection: turns what is on the wire into plaintext, and plaintext into what is on
/// the wire. It begins with a handshake. It performs no I/O and knows no clock.
///
/// The *chunking law* of sessions holds: the plaintext does not depend on how the wire is split.
pub trait Layer: Sized {
    /// What the connections of a worker share, such as keys.
    type Shared;

    /// Changes what they share, from another thread.
    type Message: Send + std::fmt::Debug + 'static;

    /// Begins a handshake. The peer speaks first.
    fn new(shared: &mut Self::Shared) -> Self;

    /// How long a handshake may take, from the start of the connection.
    fn handshake_timeout(shared: &Self::Shared) -> Duration;

    /// Takes a message. Connections that have begun keep what they have.
    fn receive(shared: &mut Self::Shared, message: Self::Message);

    /// Whether [`Layer::open`] would compute for long with this input, as in a handshake. The
    /// caller then waits for its turn.
    fn is_costly(&self, wire: &[u8]) -> bool;

    /// Takes bytes of the peer. Appends the plaintext in them to `plain`, and what the layer itself
    /// has to say to `out`. It takes all bytes, and keeps what is not complete yet.
    ///
    /// # Errors
    ///
    /// When the peer breaks the protocol, or speaks another one. What it is to be told is in `out`.
    /// No other call follows.
    fn open(
        &mut self,
        shared: &mut Self::Shared,
        wire: &mut Inbox<'_>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError>;

    /// The result of the handshake, once plaintext may flow.
    fn protection(&self) -> Option<Protection>;

    /// Why the handshake has failed, after an error of [`Layer::open`]. `None` if it did not fail,
    /// or nothing more is known.
    fn failure(&self) -> Option<HandshakeFailure> {
        None
    }

    /// Whether the peer has said that it sends no more plaintext.
    fn has_ended(&self) -> bool;

    /// Protects plaintext after the handshake: appends it to `out`, in records of at most
    /// `record_bytes` of it.
    ///
    /// # Errors
    ///
    /// When no more may be protected with these keys.
    fn seal(
        &mut self,
        plain: &[u8],
        record_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), LayerError>;

    /// Appends the message after which the peer expects no more. Without it, the peer knows that
    /// what it has is only a part.
    fn end(&mut self, out: &mut Vec<u8>);

    /// The connection ends before the handshake is complete, because its time is over.
    fn timed_out(&mut self, shared: &mut Self::Shared);

    /// The connection is gone before the handshake is complete, whatever the reason.
    fn abandoned(&mut self, shared: &mut Self::Shared);
}

/// Why a handshake has failed, for the operator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandshakeFailure {
    /// The name of the reason in metrics and logs.
    pub name: &'static str,
    /// What has happened, and the remedy if there is one.
    pub explanation: &'static str,
}

impl HandshakeFailure {
    /// It was not complete in time.
    pub const TIMED_OUT: Self = Self {
        name: "timed_out",
        explanation: "the handshake was not complete in time; a slow client, or one that does not \
                      speak TLS",
    };

    /// Nothing is known of the reason.
    pub const UNKNOWN: Self = Self { name: "other", explanation: "the client breaks the protocol" };
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerError;

/// The layer of a program that has none.
#[derive(Debug)]
pub enum NoLayer {}

impl Layer for NoLayer {
    type Shared = ();
    type Message = Infallible;

    fn new((): &mut ()) -> Self {
        unreachable!("no listener is protected in a program without a layer")
    }

    fn handshake_timeout((): &()) -> Duration {
        Duration::ZERO
    }

    fn receive((): &mut (), message: Infallible) {
        match message {}
    }

    fn is_costly(&self, _: &[u8]) -> bool {
        match *self {}
    }

    fn open(
        &mut self,
        (): &mut (),
        _: &mut Inbox<'_>,
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        match *self {}
    }

    fn protection(&self) -> Option<Protection> {
        match *self {}
    }

    fn has_ended(&self) -> bool {
        match *self {}
    }

    fn seal(&mut self, _: &[u8], _: usize, _: &mut Vec<u8>) -> Result<(), LayerError> {
        match *self {}
    }

    fn end(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    fn timed_out(&mut self, (): &mut ()) {
        match *self {}
    }

    fn abandoned(&mut self, (): &mut ()) {
        match *self {}
    }
}
