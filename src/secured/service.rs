//! What the protected sessions of a worker share: the keys of their layer, memory that is used
//! again, and the turns of handshakes.
//!
//! A handshake computes for 0.1 to 1 ms, a request for some microseconds. If a worker did all
//! handshakes that have arrived at once, its other clients would wait for all of them. So each turn
//! of the worker has [`HANDSHAKES_PER_TURN`]; further ones wait in a line, in the order of their
//! arrival, and the next turn begins without waiting.

use std::collections::BTreeMap;
use std::time::Instant;

use super::layer::Layer;
use crate::ask::{AskId, Reply};
use crate::driver::{Chain, Now};
use crate::events::Events;
use crate::service::{Service, Task, Waiter};

/// How many handshakes a worker computes before it looks for other events.
pub(super) const HANDSHAKES_PER_TURN: u32 = 8;

/// How many bytes of a file are read and protected at a time: three full records of TLS. A
/// connection has at most two such pieces in memory: one that is being sent, and the next one.
pub(super) const PIECE_BYTES: usize = 48 * 1024;

/// How many unused buffers a worker keeps.
const SPARE_BUFFERS: usize = 32;

/// How many unused chains a worker keeps.
const SPARE_CHAINS: usize = 32;

/// A buffer that has grown beyond this is not kept.
const SPARE_BYTES_MAX: usize = 128 * 1024;

/// An answer to a protected session.
#[derive(Debug)]
pub enum SecuredAnswer<A> {
    /// The session may go on, in this turn.
    Turn,
    /// An answer to the session within.
    Inner(A),
}

/// A message to the service.
#[derive(Debug)]
pub enum SecuredMessage<K, M> {
    /// For the inner service.
    Inner(M),
    /// For the layer.
    Layer(K),
    /// For both at once.
    Both(M, K),
}

/// The service of protected sessions, around that of the sessions within.
#[derive(Debug)]
pub struct SecuredService<L: Layer, T> {
    /// What the layers share.
    pub layer: L::Shared,
    /// The service of the sessions within.
    pub inner: T,
    pub(super) events: Events,
    pub(super) turns: Turns,
    pub(super) spares: Spares,
}

impl<L: Layer, T: Service> SecuredService<L, T> {
    /// A service around another one. It tells `events` of files that cannot be sent.
    pub fn new(layer: L::Shared, inner: T, events: Events) -> Self {
        Self { layer, inner, events, turns: Turns::default(), spares: Spares::default() }
    }
}

impl<L: Layer, T: Service> Service for SecuredService<L, T> {
    type Answer = SecuredAnswer<T::Answer>;
    type Message = SecuredMessage<L::Message, T::Message>;

    #[inline]
    fn poll(&mut self, now: Now) -> Option<Task<Self::Answer>> {
        if let Some(waiter) = self.turns.next(now) {
            return Some(Task::Answer(waiter, SecuredAnswer::Turn));
        }
        Some(match self.inner.poll(now)? {
            Task::Ask(id, ask) => Task::Ask(id, ask),
            Task::Cancel(id) => Task::Cancel(id),
            Task::Answer(waiter, answer) => Task::Answer(waiter, SecuredAnswer::Inner(answer)),
        })
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        // A time that is over: the next turn begins at once.
        self.turns.since().or_else(|| self.inner.deadline())
    }

    fn resume(&mut self, now: Now, id: AskId, reply: Reply) {
        self.inner.resume(now, id, reply);
    }

    fn receive(&mut self, now: Now, message: Self::Message) {
        let (inner, layer) = match message {
            SecuredMessage::Inner(inner) => (Some(inner), None),
            SecuredMessage::Layer(layer) => (None, Some(layer)),
            SecuredMessage::Both(inner, layer) => (Some(inner), Some(layer)),
        };
        if let Some(message) = layer {
            L::receive(&mut self.layer, message);
        }
        if let Some(message) = inner {
            self.inner.receive(now, message);
        }
    }

    fn publish(&self) {
        self.inner.publish();
    }
}

/// The line of sessions that wait for a turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By the order of arrival.
    line: BTreeMap<u64, Waiter>,
    next_number: u64,
    /// The turn of the worker, and what is left of it.
    turn: Option<Instant>,
    left: u32,
}

impl Turns {
    /// Takes a share of this turn; `None` if there is one, else the number of a place in the line.
    pub(super) fn enter(&mut self, now: Now, waiter: Waiter) -> Option<u64> {
        self.begin(now);
        if self.left > 0 && self.line.is_empty() {
            self.left -= 1;
            return None;
        }
        Some(self.wait(waiter))
    }

    /// Takes a place in the line, whatever is left of this turn.
    pub(super) fn wait(&mut self, waiter: Waiter) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.line.insert(number, waiter);
        number
    }

    /// Leaves the line.
    pub(super) fn leave(&mut self, number: u64) {
        self.line.remove(&number);
    }

    /// The next one in the line, if this turn has something left.
    fn next(&mut self, now: Now) -> Option<Waiter> {
        if self.line.is_empty() {
            return None;
        }
        self.begin(now);
        self.left = self.left.checked_sub(1)?;
        self.line.pop_first().map(|(_, waiter)| waiter)
    }

    fn begin(&mut self, now: Now) {
        if self.turn != Some(now.instant) {
            (self.turn, self.left) = (Some(now.instant), HANDSHAKES_PER_TURN);
        }
    }

    /// The turn that some wait longer than; `None` if nobody waits.
    fn since(&self) -> Option<Instant> {
        self.turn.filter(|_| !self.line.is_empty())
    }
}

/// Memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Spares {
    #[expect(clippy::vec_box, reason = "sessions pass chains on")]
    chains: Vec<Box<Chain>>,
    buffers: Vec<Vec<u8>>,
    /// For the plaintext of one call.
    plain: Vec<u8>,
}

impl Spares {
    /// An empty chain.
    pub(super) fn take_chain(&mut self) -> Box<Chain> {
        self.chains.pop().unwrap_or_default()
    }

    /// Takes a chain back, and drops its content.
    pub(super) fn put_chain(&mut self, mut chain: Box<Chain>) {
        chain.clear();
        if self.chains.len() < SPARE_CHAINS && chain.capacity() <= SPARE_BYTES_MAX {
            self.chains.push(chain);
        }
    }

    /// An empty buffer for so many bytes. A long one may have room for up to [`PIECE_BYTES`].
    pub(super) fn take_buffer(&mut self, len: usize) -> Vec<u8> {
        let is_long = len > PIECE_BYTES / 2;
        let spare = if is_long { self.buffers.pop() } else { None };
        let len = if is_long { len.max(PIECE_BYTES) } else { len };
        spare.unwrap_or_else(|| Vec::with_capacity(len))
    }

    /// Takes a buffer back.
    pub(super) fn put_buffer(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == PIECE_BYTES && self.buffers.len() < SPARE_BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }

    /// An empty buffer for plaintext.
    pub(super) fn take_plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    /// Takes a buffer for plaintext back.
    pub(super) fn put_plain(&mut self, mut plain: Vec<u8>) {
        if plain.capacity() <= SPARE_BYTES_MAX {
            plain.clear();
            self.plain = plain;
        }
    }
}
