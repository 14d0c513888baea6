//! What protects the connections of a world: nothing, or a layer. It says how the server's sessions
//! are wrapped, and what the clients' ends of the wire do.

use std::time::Duration;

use fastrand::Rng;
use ringd::events::Events;
use ringd::secured::toy::{HELLO, HELLO_H2, Reader, Toy, ToySettings, WELCOME, Writer};
use ringd::secured::{Secured, SecuredMessage, SecuredService};
use ringd::service::Service;
use ringd::session::Session;

/// What sessions of this type share.
pub(crate) type Shared<S> = <S as Session>::Shared;
/// The messages to it.
pub(crate) type Message<S> = <Shared<S> as Service>::Message;

/// See the module documentation.
pub(crate) trait Security: 'static {
    /// The session that the worker gets for this one.
    type Session<S: Session>: Session;

    /// For one world.
    fn new(random: &mut Rng) -> Self;

    /// What the worker's sessions share. A handshake may take so long.
    fn shared<S: Session>(&self, inner: Shared<S>, handshake: Duration)
    -> Shared<Self::Session<S>>;

    /// The same message to what the worker's sessions share.
    fn message<S: Session>(message: Message<S>) -> Message<Self::Session<S>>;

    /// The message to the session within, from one that was made of it.
    fn take_back<S: Session>(message: Message<Self::Session<S>>) -> Message<S>;

    /// A client's end of the wire; `None` if plaintext is on it.
    fn wire(&self, random: &mut Rng) -> Option<Box<dyn Wire>>;

    /// An end of the wire that does not finish a handshake.
    fn broken_wire(&self, random: &mut Rng) -> Option<Box<dyn Wire>>;
}

/// A client's end of the wire.
pub(crate) trait Wire {
    /// What it has to send.
    fn outgoing(&mut self) -> &mut Vec<u8>;

    /// Takes plaintext, and returns how much. It takes none before it is ready for it.
    fn say(&mut self, random: &mut Rng, plain: &[u8]) -> usize;

    /// Says that no more plaintext follows.
    fn end(&mut self);

    /// Takes what has arrived, and appends the plaintext in it.
    fn hear(&mut self, bytes: &[u8], plain: &mut Vec<u8>);

    /// Whether the handshake is complete, as far as the client has to read for it.
    fn is_ready(&self) -> bool;

    /// Whether the server has said that no more follows.
    fn has_ended(&self) -> bool;
}

/// Plaintext.
pub(crate) struct Bare;

impl Security for Bare {
    type Session<S: Session> = S;

    fn new(_: &mut Rng) -> Self {
        Self
    }

    fn shared<S: Session>(&self, inner: Shared<S>, _: Duration) -> Shared<S> {
        inner
    }

    fn message<S: Session>(message: Message<S>) -> Message<S> {
        message
    }

    fn take_back<S: Session>(message: Message<S>) -> Message<S> {
        message
    }

    fn wire(&self, _: &mut Rng) -> Option<Box<dyn Wire>> {
        None
    }

    fn broken_wire(&self, _: &mut Rng) -> Option<Box<dyn Wire>> {
        None
    }
}

/// The layer without cryptography. The clients may have HTTP/2 in mind.
pub(crate) struct InToyFor<const HTTP2: bool>;

pub(crate) type InToy = InToyFor<false>;
pub(crate) type InToyForHttp2 = InToyFor<true>;

impl<const HTTP2: bool> InToyFor<HTTP2> {
    const HELLO: &'static [u8] = if HTTP2 { HELLO_H2 } else { HELLO };
}

impl<const HTTP2: bool> Security for InToyFor<HTTP2> {
    type Session<S: Session> = Secured<Toy, S>;

    fn new(_: &mut Rng) -> Self {
        Self
    }

    fn shared<S: Session>(
        &self,
        inner: Shared<S>,
        handshake: Duration,
    ) -> SecuredService<Toy, Shared<S>> {
        SecuredService::new(ToySettings(handshake), inner, Events::default())
    }

    fn message<S: Session>(message: Message<S>) -> Message<Secured<Toy, S>> {
        SecuredMessage::Inner(message)
    }

    fn take_back<S: Session>(message: Message<Secured<Toy, S>>) -> Message<S> {
        match message {
            SecuredMessage::Inner(message) => message,
            SecuredMessage::Layer(never) | SecuredMessage::Both(_, never) => match never {},
        }
    }

    fn wire(&self, random: &mut Rng) -> Option<Box<dyn Wire>> {
        let mut wire = ToyWire { waits: random.bool(), ..ToyWire::default() };
        wire.writer.write(Self::HELLO, &mut wire.out);
        Some(Box::new(wire))
    }

    fn broken_wire(&self, random: &mut Rng) -> Option<Box<dyn Wire>> {
        let mut wire = ToyWire { waits: true, is_broken: true, ..ToyWire::default() };
        if random.bool() {
            wire.out = (0..random.usize(1..100)).map(|_| random.u8(..)).collect();
        } else {
            wire.writer.write(Self::HELLO, &mut wire.out);
            wire.out.truncate(random.usize(..wire.out.len()));
        }
        Some(Box::new(wire))
    }
}

/// A client's end of the layer without cryptography.
#[derive(Default)]
struct ToyWire {
    out: Vec<u8>,
    writer: Writer,
    reader: Reader,
    /// Whether it waits for the server's greeting before it says more.
    waits: bool,
    is_broken: bool,
    greeted: bool,
    ended: bool,
}

impl Wire for ToyWire {
    fn outgoing(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn say(&mut self, random: &mut Rng, plain: &[u8]) -> usize {
        if self.waits && !self.greeted {
            return 0;
        }
        let max = [1, 50, 16_384][random.usize(..3)].max(plain.len() / 100).min(plain.len());
        let count = random.usize(1..=max.min(16_384));
        self.writer.write(&plain[..count], &mut self.out);
        count
    }

    fn end(&mut self) {
        self.writer.write(b"", &mut self.out);
    }

    fn hear(&mut self, bytes: &[u8], plain: &mut Vec<u8>) {
        self.reader.push(bytes);
        // What a server says about a fault is not a record.
        while let Ok(Some(content)) = self.reader.take() {
            assert!(!self.ended, "nothing follows the end of output");
            if !self.greeted {
                assert!(!self.is_broken, "a handshake that is wrong was completed");
                assert_eq!(content, WELCOME);
                self.greeted = true;
            } else if content.is_empty() {
                self.ended = true;
            } else {
                plain.extend(content);
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.greeted || !self.waits
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}
