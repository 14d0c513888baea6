//! A client of a simulated world: it sends a script in pieces, reads at its own pace, and leaves
//! in one of several ways.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::sim::{Dialer, Peer};

use crate::security::Wire;

/// How a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    /// Ends its output when everything is sent, and reads to the end.
    HalfClose,
    /// Reads until it has all its answers, then closes.
    CloseWhenServed,
    /// Waits until the server closes.
    Wait,
    /// Resets after it has sent this many bytes.
    ResetAfter(usize),
    /// Closes after it has sent this many bytes.
    VanishAfter(usize),
    /// Sends but never reads; leaves after a while.
    Deaf,
    /// Sends this many bytes, reads what comes, and waits until the server closes.
    Stall(usize),
    /// Sends but never reads, and does not leave.
    Stuck,
}

/// How a conversation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The server closed in order.
    Ended,
    /// By a reset.
    Broken,
    /// The client closed.
    Left,
    /// The connection was refused.
    Refused,
}

/// A client; see the module documentation.
pub(crate) struct Client {
    pub(crate) leaving: Leaving,
    pub(crate) script: Vec<u8>,
    pub(crate) sent: usize,
    pub(crate) received: Vec<u8>,
    pub(crate) ending: Option<Ending>,
    /// When the last byte was sent, when the last byte was received, and when the end came.
    pub(crate) sent_at: Duration,
    pub(crate) heard_at: Duration,
    pub(crate) ended_at: Duration,
    /// When it acts next.
    pub(crate) next: Duration,
    pub(crate) started: Duration,
    piece_max: usize,
    read_max: usize,
    pause_max: Duration,
    /// Successive reads and writes that moved no bytes.
    idle: u32,
    /// It reads, whatever `leaving` says.
    reads: bool,
    peer: Option<Peer>,
    /// Its end of the wire, unless plaintext is on it.
    wire: Option<Box<dyn Wire>>,
    parting: Parting,
    /// Whether it does what no server accepts.
    is_broken: bool,
    /// Whether the script may become longer.
    pub(crate) goes_on: bool,
    /// Whether it keeps the server from completing its answers.
    pub(crate) starves: bool,
    /// Whether the server does not take what is sent.
    is_cut: bool,
}

/// How a client with a layer ends its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parting {
    /// The layer says so, then the connection.
    Both,
    /// Only the layer says so.
    Layer,
    /// Only the connection says so.
    Connection,
}

/// A client that stalls does nothing more after this many fruitless attempts, which take about
/// twenty seconds.
const STALLED_AFTER: u32 = 20;

/// A client that waits for nothing in particular leaves after this many fruitless attempts.
const DEAF_FOR: u32 = 25;

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leaving, sent, ending, started, sent_at, ended_at, parting, .. } = self;
        let (script, received) = (self.script.len(), self.received.len());
        write!(
            f,
            "{leaving:?} client: from {started:?}, {sent} of {script} bytes sent until \
             {sent_at:?}, {received} received until {ended_at:?}, {ending:?}, {parting:?}"
        )
    }
}

impl Client {
    pub(crate) fn new(random: &mut Rng, script: Vec<u8>, leaving: Leaving) -> Self {
        // Some clients come when the files have changed.
        let latest = [200_000, 20_000_000][random.usize(..2)];
        // A long script takes no more steps than a short one.
        let fast = script.len() / 200;
        let pause_max = Duration::from_micros([1, 100, 5_000, 50_000][random.usize(..4)]);
        Self {
            leaving,
            script,
            sent: 0,
            received: Vec::new(),
            ending: None,
            sent_at: Duration::ZERO,
            heard_at: Duration::ZERO,
            ended_at: Duration::ZERO,
            next: Duration::from_micros(random.u64(..latest)),
            started: Duration::ZERO,
            piece_max: [1, 20, 1000, 100_000][random.usize(..4)].max(fast),
            read_max: [20, 500, 10_000, 100_000][random.usize(..4)].max(fast),
            pause_max,
            idle: 0,
            reads: false,
            peer: None,
            wire: None,
            parting: Parting::Both,
            is_broken: false,
            goes_on: false,
            starves: false,
            is_cut: false,
        }
    }

    /// The same, fast enough for so many bytes in each direction.
    pub(crate) fn fast_enough_for(self, bytes: usize) -> Self {
        let (piece_max, read_max) = (self.piece_max.max(bytes / 400), self.read_max);
        Self { piece_max, read_max: read_max.max(bytes / 400), ..self }
    }

    /// Appends to the script. Returns whether that is of use.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> bool {
        let is_of_use = self.goes_on && !self.is_cut && self.ending.is_none();
        if is_of_use {
            self.script.extend_from_slice(bytes);
        }
        is_of_use
    }

    /// Whether only the end of the connection ends what the server does for it.
    pub(crate) fn is_stuck(&self) -> bool {
        self.leaving == Leaving::Stuck || self.starves
    }

    /// The same at this end of a wire.
    pub(crate) fn at(self, random: &mut Rng, wire: Option<Box<dyn Wire>>) -> Self {
        if wire.is_none() {
            return self;
        }
        let partings = [Parting::Both, Parting::Layer, Parting::Connection];
        Self { wire, parting: partings[random.usize(..3)], ..self }
    }

    /// A client that does not finish its handshake, and stays.
    pub(crate) fn broken(random: &mut Rng, wire: Option<Box<dyn Wire>>) -> Self {
        Self { wire, is_broken: true, ..Self::new(random, Vec::new(), Leaving::Stall(0)) }
    }

    /// Whether it does all that it can to be served.
    pub(crate) fn is_kind(&self) -> bool {
        matches!(self.leaving, Leaving::HalfClose | Leaving::CloseWhenServed | Leaving::Wait)
    }

    /// Whether it does not finish its handshake.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether it keeps its connection without doing its part.
    pub(crate) fn stalls(&self) -> bool {
        matches!(self.leaving, Leaving::Stall(_) | Leaving::Stuck)
    }

    /// Whether only the server can end its connection.
    pub(crate) fn rests(&self) -> bool {
        self.ending.is_none() && self.stalls() && self.idle >= STALLED_AFTER
    }

    /// Whether its handshake may not have begun, because the server has not accepted it yet.
    pub(crate) fn awaits_handshake(&self) -> bool {
        self.ending.is_none() && self.wire.is_some() && self.heard_at.is_zero()
    }

    /// Whether it has not sent all that it says.
    pub(crate) fn withholds(&self) -> bool {
        self.sent < self.script.len()
    }

    /// From now on, it reads in any case. For the end of a world, when the server is gone.
    pub(crate) fn read_the_rest(&mut self) {
        self.reads = true;
    }

    /// Takes one step, and decides when to take the next. `served` says whether it has all its
    /// answers.
    pub(crate) fn act(
        &mut self,
        random: &mut Rng,
        now: Duration,
        dialer: &Dialer,
        served: impl FnOnce(&[u8]) -> bool,
    ) {
        let pause = random.u64(1..=self.pause_max.as_nanos() as u64);
        self.next = now + Duration::from_nanos(pause);
        if self.peer.is_none() {
            match dialer.dial() {
                Ok(mut peer) => {
                    peer.set_nonblocking(true);
                    self.peer = Some(peer);
                    self.started = now;
                }
                Err(_) => return self.end(now, Ending::Refused),
            }
        }
        let moved = self.write(random, now) | self.read(random, now);
        if self.ending.is_some() {
            return;
        }
        self.idle = if moved { 0 } else { self.idle + 1 };
        // A client that has waited long polls less often.
        self.next += Duration::from_micros(20 << self.idle.min(20));
        match self.leaving {
            Leaving::CloseWhenServed if self.sent_all() && served(&self.received) => {
                self.end(now, Ending::Left);
            }
            Leaving::Deaf if self.idle > DEAF_FOR => self.end(now, Ending::Left),
            Leaving::VanishAfter(count) if self.sent >= count => self.end(now, Ending::Left),
            Leaving::ResetAfter(count) if self.sent >= count => {
                if let Some(peer) = self.peer.take() {
                    peer.reset();
                }
                self.end(now, Ending::Left);
            }
            _ => {}
        }
    }

    pub(crate) fn sent_all(&self) -> bool {
        self.sent == self.script.len() && !self.goes_on
    }

    /// Sends what its end of the wire has to send.
    fn write_wire(&mut self, random: &mut Rng, now: Duration) -> bool {
        let (Some(peer), Some(wire)) = (&mut self.peer, &mut self.wire) else { return false };
        let out = wire.outgoing();
        if out.is_empty() {
            return false;
        }
        let count = out.len().min(random.usize(1..=self.piece_max));
        match peer.write(&out[..count]) {
            Ok(count) => {
                out.drain(..count);
                self.sent_at = now;
                let is_last = out.is_empty() && self.sent == self.script.len() && !self.goes_on;
                let half_closes = is_last && self.leaving == Leaving::HalfClose;
                if half_closes && wire.is_ready() && self.parting != Parting::Layer {
                    peer.shutdown(Shutdown::Write);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            // The server does not listen any more. What it has sent may still be readable.
            Err(_) => {
                out.clear();
                self.script.truncate(self.sent);
                self.is_cut = true;
            }
        }
        true
    }

    fn end(&mut self, now: Duration, ending: Ending) {
        self.peer = None;
        (self.ending, self.ended_at) = (Some(ending), now);
        self.next = Duration::MAX;
    }

    fn write(&mut self, random: &mut Rng, now: Duration) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        let all = match self.leaving {
            Leaving::Stall(count) => count.min(self.script.len()),
            _ => self.script.len(),
        };
        if let Some(wire) = &mut self.wire {
            if wire.outgoing().is_empty() && self.sent < all {
                let count = wire.say(random, &self.script[self.sent..all]);
                self.sent += count;
                let is_last = count > 0 && self.sent == self.script.len() && !self.goes_on;
                let half_closes = is_last && self.leaving == Leaving::HalfClose;
                if half_closes && self.parting != Parting::Connection {
                    wire.end();
                }
            }
            return self.write_wire(random, now);
        }
        if self.sent >= all {
            return false;
        }
        let end = all.min(self.sent + random.usize(1..=self.piece_max));
        match peer.write(&self.script[self.sent..end]) {
            Ok(count) => {
                (self.sent, self.sent_at) = (self.sent + count, now);
                let is_last = self.sent == self.script.len() && !self.goes_on;
                if is_last && self.leaving == Leaving::HalfClose {
                    peer.shutdown(Shutdown::Write);
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            // The server does not listen any more. What it has sent may still be readable.
            Err(_) => {
                self.script.truncate(self.sent);
                self.is_cut = true;
                true
            }
        }
    }

    fn read(&mut self, random: &mut Rng, now: Duration) -> bool {
        let Some(peer) = &mut self.peer else { return false };
        // A handshake needs clients that read.
        let is_ready = self.wire.as_ref().is_none_or(|wire| wire.is_ready());
        if matches!(self.leaving, Leaving::Deaf | Leaving::Stuck) && is_ready && !self.reads {
            return false;
        }
        let start = self.received.len();
        self.received.resize(start + random.usize(1..=self.read_max), 0);
        let result = peer.read(&mut self.received[start..]);
        self.received.truncate(start + *result.as_ref().unwrap_or(&0));
        let mut has_ended = true;
        if let Some(wire) = &mut self.wire {
            let bytes = self.received.split_off(start);
            wire.hear(&bytes, &mut self.received);
            has_ended = wire.has_ended();
        }
        match result {
            // Without the layer's end of output, what has arrived may be a part.
            Ok(0) if !has_ended => self.end(now, Ending::Broken),
            Ok(0) => self.end(now, Ending::Ended),
            Ok(_) => {
                self.heard_at = now;
                return true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.end(now, Ending::Broken),
        }
        true
    }
}
