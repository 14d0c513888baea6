//! A session within a security layer.
//!
//! ```text
//! Handshake -- complete --> Open -- the inner session finishes --> end of output is said
//!     |                      |
//!     `-- fault, timeout ----+-- fault of the peer, file too short --> no end is said
//! ```
//!
//! In `Handshake` there is no inner session yet. When it begins, it knows the result of the
//! handshake ([`ConnectionInfo::protection`]).
//!
//! Towards the inner session, this is what `src/server/connection.rs` is towards this one: it
//! passes input on when the session wants some, keeps the rest, and has at most one chain in
//! progress and one queued behind it. A connection that is cut off, because of a timeout, a reset
//! or a file that has become shorter, ends without the layer's end of output: the peer can tell a
//! part from the whole.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::failed;
use super::layer::{HandshakeFailure, Layer, LayerError};
use super::output::{Output, write};
use super::service::{SecuredAnswer, SecuredService};
use crate::ask::{Ask, AskId, Reply};
use crate::driver::{Chain, FileFailure};
use crate::service::Service;
use crate::session::{ConnectionInfo, Context, Inbox, ReceiveTimeout, Sent, Session, Step, Timer};

/// The most plaintext that waits for the inner session before more is opened. What a session takes
/// only as a whole must not be longer, as in the inbox of a connection.
const PLAIN_MAX: usize = 32 * 1024;

/// How much of the wire is opened at a time: a full record of TLS.
const WIRE_BYTES: usize = 16 * 1024 + 256 + 5;

/// When a read that found too many others in progress is asked for again. The timers of the worker
/// add up to 0.2 s.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// The ids of a layer's own questions. The inner session has those below.
const READ: AskId = AskId(1 << 31);
const TURN: AskId = AskId(READ.0 + 1);

/// The service that sessions of this type share.
type SharedOf<L, S> = SecuredService<L, <S as Session>::Shared>;

/// A session within a security layer; see the module documentation.
#[derive(Debug)]
pub struct Secured<L, S> {
    layer: L,
    /// From the end of the handshake on.
    inner: Option<S>,
    listener: u32,
    /// When the handshake has to be complete; `None` if that is too far in the future.
    handshake_ends: Option<Instant>,
    /// The place in the line of those that wait for a turn.
    place: Option<u64>,
    /// Whether this turn is ours.
    has_turn: bool,
    /// When to ask again for a piece of a file, because too many reads were in progress.
    retry_at: Option<Instant>,
    /// Plaintext that the inner session has not taken.
    plain: Vec<u8>,
    /// Whether no more plaintext will come.
    ended: bool,
    wants: Wants,
    /// Whether the inner session has to be called although there is no new input.
    is_due: bool,
    output: Output,
    draining: bool,
}

/// What the inner session waits for, according to its last step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wants {
    Input(ReceiveTimeout),
    /// A reply, an answer, or the end of the send.
    News,
    /// The end of the send, or input.
    Room,
    /// Nothing: it has finished.
    Finish {
        linger: bool,
    },
    /// Nothing: the connection is to be reset.
    Abort,
}

impl Wants {
    /// Whether the inner session has finished, so that it is only told what was sent.
    fn is_over(self) -> bool {
        matches!(self, Self::Finish { .. } | Self::Abort)
    }
}

impl<L: Layer, S: Session> Session for Secured<L, S> {
    type Shared = SharedOf<L, S>;

    fn new(shared: &mut Self::Shared, info: &ConnectionInfo<'_>) -> Self {
        Self {
            layer: L::new(&mut shared.layer),
            inner: None,
            listener: info.listener,
            handshake_ends: info.now.instant.checked_add(L::handshake_timeout(&shared.layer)),
            place: None,
            has_turn: false,
            retry_at: None,
            plain: Vec::new(),
            ended: false,
            wants: Wants::Input(ReceiveTimeout::Header),
            is_due: false,
            output: Output::default(),
            draining: false,
        }
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Self::Shared>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if self.place.is_some() {
            return Step::Wait;
        }
        let mut plain = match self.plain.is_empty() {
            true => cx.shared.spares.take_plain(),
            false => std::mem::take(&mut self.plain),
        };
        let flow = self.take_input(cx, inbox, &mut plain, out);
        if plain.is_empty() {
            cx.shared.spares.put_plain(plain);
        } else if plain.capacity() > 2 * plain.len() {
            // A connection keeps what it needs; the worker's buffer is larger.
            self.plain = plain.clone();
            cx.shared.spares.put_plain(plain);
        } else {
            self.plain = plain;
        }
        match flow {
            Ok(None) => self.protect(cx, out),
            Ok(Some(step)) => step,
            // The peer is told why, in what the layer has written.
            Err(LayerError) => {
                if self.inner.is_none() {
                    let failure = self.layer.failure().unwrap_or(HandshakeFailure::UNKNOWN);
                    failed::tell(&cx.shared.events, failure, cx.addresses);
                }
                Step::Finish { linger: true }
            }
        }
    }

    fn resume(&mut self, cx: &mut Context<'_, Self::Shared>, id: AskId, reply: Reply) {
        if id != READ {
            if let Some(inner) = self.inner.as_mut().filter(|_| !self.wants.is_over()) {
                let sending = self.output.is_busy();
                inner.resume(&mut cx.within(|shared| &mut shared.inner, sending), id, reply);
                self.is_due = true;
            }
            return;
        }
        let Reply::Read(result, buffer) = reply else { unreachable!("{reply:?} is no read") };
        let Err(failed) = self.output.resume(result, buffer) else { return };
        if FileFailure::of(&failed.error) == FileFailure::Busy {
            // Too many reads are in progress. They may hang, so it is not asked again at once.
            self.retry_at = Some(cx.now.instant + RETRY_AFTER);
            return;
        }
        cx.shared.events.tell_unsent(&failed.error, failed.path.as_deref());
        self.wants = Wants::Abort;
    }

    fn answered(
        &mut self,
        cx: &mut Context<'_, Self::Shared>,
        id: AskId,
        answer: <Self::Shared as Service>::Answer,
    ) {
        match (answer, &mut self.inner) {
            (SecuredAnswer::Turn, _) => (self.place, self.has_turn) = (None, true),
            // As in a connection, a session that has finished gets no more answers.
            (SecuredAnswer::Inner(_), Some(_)) if self.wants.is_over() => {}
            (SecuredAnswer::Inner(answer), Some(inner)) => {
                let sending = self.output.is_busy();
                let cx = &mut cx.within(|shared| &mut shared.inner, sending);
                inner.answered(cx, id, answer);
                self.is_due = true;
            }
            (SecuredAnswer::Inner(_), None) => unreachable!("{id:?} has an answer, but no session"),
        }
    }

    fn expire(
        &mut self,
        cx: &mut Context<'_, Self::Shared>,
        timer: Timer,
        out: &mut Chain,
    ) -> Step {
        if self.inner.is_none() {
            // A drain does not wait for clients that say nothing; they are not to blame.
            if timer == Timer::Deadline || !self.draining {
                self.layer.timed_out(&mut cx.shared.layer);
                failed::tell(&cx.shared.events, HandshakeFailure::TIMED_OUT, cx.addresses);
            }
            return Step::Finish { linger: false };
        }
        if self.is_retry_due(cx.now.instant) {
            self.retry_at = None;
            return self.protect(cx, out);
        }
        self.call(cx, |inner, cx, chain| inner.expire(cx, timer, chain));
        self.protect(cx, out)
    }

    fn drain(&mut self) {
        self.draining = true;
        if let Some(inner) = self.inner.as_mut().filter(|_| !self.wants.is_over()) {
            inner.drain();
            self.is_due |= matches!(self.wants, Wants::Input(_));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let inner = match (&self.inner, self.wants) {
            (None, _) => self.handshake_ends,
            (_, wants) if wants.is_over() => None,
            (Some(inner), _) => inner.deadline(),
        };
        match (self.retry_at, inner) {
            (Some(retry), Some(inner)) => Some(retry.min(inner)),
            (retry, inner) => retry.or(inner),
        }
    }

    fn sent(&mut self, cx: &mut Context<'_, Self::Shared>, sent: Sent) {
        let report = self.output.sent(sent);
        if let (Some(report), Some(inner)) = (report, &mut self.inner) {
            let sending = self.output.is_busy();
            inner.sent(&mut cx.within(|shared| &mut shared.inner, sending), report);
            let has_input = self.ended || !self.plain.is_empty();
            self.is_due |= has_input || matches!(self.wants, Wants::News | Wants::Room);
        }
    }

    fn closed(&mut self, cx: &mut Context<'_, Self::Shared>) {
        if let Some(place) = self.place.take() {
            cx.shared.turns.leave(place);
        }
        if self.inner.is_none() {
            self.layer.abandoned(&mut cx.shared.layer);
        }
        let report = self.output.cut_off();
        if let Some(inner) = &mut self.inner {
            let cx = &mut cx.within(|shared| &mut shared.inner, false);
            if let Some(report) = report {
                inner.sent(cx, report);
            }
            inner.closed(cx);
        }
    }
}

impl<L: Layer, S: Session> Secured<L, S> {
    fn is_retry_due(&self, now: Instant) -> bool {
        self.retry_at.is_some_and(|retry| retry <= now)
    }

    /// Memory of plaintext that was not taken, and of output that was not protected.
    #[cfg(test)]
    fn memory_in_use(&self) -> usize {
        self.plain.capacity() + self.output.memory_in_use()
    }

    /// Opens what has arrived, and lets the inner session take it, until neither makes progress.
    /// Returns the step if there is nothing more to do.
    fn take_input(
        &mut self,
        cx: &mut Context<'_, SharedOf<L, S>>,
        inbox: &mut Inbox<'_>,
        plain: &mut Vec<u8>,
        out: &mut Chain,
    ) -> Result<Option<Step>, LayerError> {
        loop {
            let (taken, known) = (inbox.taken(), plain.len());
            if self.inner.is_none() && !self.begin(cx, inbox, plain, out)? {
                return Ok(Some(self.handshake_step(inbox)));
            }
            while plain.len() <= PLAIN_MAX && !inbox.bytes().is_empty() {
                self.open(cx, inbox, plain, out)?;
            }
            let has_ended = self.layer.has_ended() || inbox.bytes().is_empty() && inbox.ended();
            let is_new = plain.len() > known || has_ended != self.ended;
            self.ended = has_ended;
            let is_wanted = matches!(self.wants, Wants::Input(_) | Wants::Room);
            if std::mem::take(&mut self.is_due) || (is_new && is_wanted) {
                let mut inner_inbox = Inbox::new(plain, self.ended);
                self.call(cx, |inner, cx, chain| inner.advance(cx, &mut inner_inbox, chain));
                let taken = inner_inbox.taken();
                plain.drain(..taken);
            }
            // If plaintext was taken, there is room for more of what waits in the inbox.
            if inbox.taken() == taken && plain.len() >= known {
                return Ok(None);
            }
        }
    }

    /// Goes on with the handshake. Returns whether it is complete.
    fn begin(
        &mut self,
        cx: &mut Context<'_, SharedOf<L, S>>,
        inbox: &mut Inbox<'_>,
        plain: &mut Vec<u8>,
        out: &mut Chain,
    ) -> Result<bool, LayerError> {
        while !inbox.bytes().is_empty() {
            if self.layer.is_costly(inbox.bytes()) && !std::mem::take(&mut self.has_turn) {
                self.place = cx.shared.turns.enter(cx.now, cx.waiter(TURN));
                if self.place.is_some() {
                    return Ok(false);
                }
            }
            self.open(cx, inbox, plain, out)?;
            let Some(protection) = self.layer.protection() else { continue };
            let info = ConnectionInfo::new(self.listener, cx.now, cx.addresses);
            let info = info.protected_by(&protection);
            let mut inner = S::new(&mut cx.shared.inner, &info);
            if self.draining {
                inner.drain();
            }
            self.inner = Some(inner);
            self.is_due = true;
            return Ok(true);
        }
        Ok(false)
    }

    /// What a handshake that is not complete waits for.
    fn handshake_step(&self, inbox: &Inbox<'_>) -> Step {
        if self.place.is_some() {
            return Step::Wait;
        }
        match inbox.ended() || self.layer.has_ended() {
            true => Step::Finish { linger: false },
            false => Step::Receive(ReceiveTimeout::Header),
        }
    }

    /// Opens the next bytes of the wire.
    fn open(
        &mut self,
        cx: &mut Context<'_, SharedOf<L, S>>,
        inbox: &mut Inbox<'_>,
        plain: &mut Vec<u8>,
        out: &mut Chain,
    ) -> Result<(), LayerError> {
        let bytes = inbox.bytes();
        let bytes = &bytes[..bytes.len().min(WIRE_BYTES)];
        let mut wire = Inbox::new(bytes, false);
        let shared = &mut cx.shared.layer;
        let opened = write(out, |out| self.layer.open(shared, &mut wire, plain, out));
        inbox.take(bytes.len());
        opened
    }

    /// Calls the inner session, with a chain to write to.
    fn call(
        &mut self,
        cx: &mut Context<'_, SharedOf<L, S>>,
        call: impl FnOnce(&mut S, &mut Context<'_, S::Shared>, &mut Chain) -> Step,
    ) {
        let Some(inner) = &mut self.inner else { return };
        if self.wants.is_over() {
            return;
        }
        let sending = self.output.is_busy();
        let mut chain = self.output.take_chain(&mut cx.shared.spares);
        let step = call(inner, &mut cx.within(|shared| &mut shared.inner, sending), &mut chain);
        match step {
            // What it has written is not sent, so there is nothing to report.
            Step::Abort => cx.shared.spares.put_chain(chain),
            _ => self.output.add(chain, &mut cx.shared.spares),
        }
        self.wants = match step {
            Step::Receive(timeout) => Wants::Input(timeout),
            Step::Wait => Wants::News,
            Step::Flush => Wants::Room,
            Step::Finish { linger } => Wants::Finish { linger },
            Step::Abort => Wants::Abort,
        };
    }

    /// Protects what the inner session has written, and returns what to wait for.
    fn protect(&mut self, cx: &mut Context<'_, SharedOf<L, S>>, out: &mut Chain) -> Step {
        if self.wants == Wants::Abort {
            return Step::Abort;
        }
        let sending = cx.sending;
        if self.retry_at.is_some() {
            return Step::Wait;
        }
        if !sending {
            let mut reads = None;
            let (layer, spares) = (&mut self.layer, &mut cx.shared.spares);
            let ask = |ask: Ask| reads = Some(ask);
            if self.output.seal(layer, spares, cx.now.instant, out, ask).is_err() {
                return Step::Abort;
            }
            if let Some(read) = reads {
                cx.ask(READ, read);
            }
        }
        self.step(sending, out)
    }

    fn step(&mut self, sending: bool, out: &mut Chain) -> Step {
        let sends = sending || !out.is_empty();
        let is_sealed = self.output.is_sealed();
        match self.wants {
            Wants::Abort => Step::Abort,
            Wants::Finish { linger } if is_sealed => {
                // A peer answers the end of output, which would reset a connection that is closed
                // at once, and might destroy the last answer.
                let linger = linger || self.output.is_busy() && !self.layer.has_ended();
                out.copy_with(|out| self.layer.end(out));
                Step::Finish { linger }
            }
            Wants::News | Wants::Finish { .. } => Step::Wait,
            Wants::Input(_) | Wants::Room if !is_sealed && !sends => Step::Wait,
            Wants::Input(_) | Wants::Room if !is_sealed => Step::Flush,
            Wants::Room => Step::Flush,
            // It has to be called again when the send is complete.
            Wants::Input(_) if sends && (self.ended || !self.plain.is_empty()) => Step::Flush,
            Wants::Input(timeout) => Step::Receive(timeout),
        }
    }
}
