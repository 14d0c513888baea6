//! How streams and connections end: by resets, errors, deadlines and drains.

use std::time::{Duration, Instant};

use super::{Drain, Http2, Http2State};
use crate::driver::Chain;
use crate::http::h2::calm::Anomaly;
use crate::http::h2::frame::{ConnectionError, ErrorCode, write_goaway, write_ping, write_reset};
use crate::http::h2::stream::{AnswerState, WaitsFor};
use crate::http::records::Cut;
use crate::http::site::Sites;
use crate::session::{Context, ReceiveTimeout, Step, Timer};

/// The highest number of a stream. As the last one of a GOAWAY it means that more of them are
/// answered for a while, since they may be on their way (RFC 9113 section 6.8).
const ANY_STREAM: u32 = 0x7fff_ffff;

/// What the server sends in the PING after that GOAWAY.
const DRAIN_PING: [u8; 8] = *b"draining";

/// How long the server waits for the acknowledgement of that PING.
const DRAIN_PING_TIMEOUT: Duration = Duration::from_secs(1);

/// When to look again for streams without progress, if something is being sent: the timeout of the
/// send applies meanwhile.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Http2 {
    pub(super) fn is_draining(&self) -> bool {
        self.drain != Drain::No
    }

    /// Tells the client that the server is about to stop, if that is to be told.
    pub(super) fn announce_drain(&mut self, cx: &Context<'_, Sites>, out: &mut Chain) {
        if self.drain == Drain::Overdue {
            self.announce_last(out);
        }
        if self.drain != Drain::Wanted {
            return;
        }
        let reason = "The server is about to stop.";
        out.copy_with(|out| {
            write_goaway(out, ANY_STREAM, ErrorCode::NoError, reason);
            write_ping(out, false, DRAIN_PING);
        });
        self.drain = Drain::Announced { until: cx.now.instant + DRAIN_PING_TIMEOUT };
    }

    /// The client has acknowledged a PING, so it knows of what was sent before.
    pub(super) fn ping_acknowledged(&mut self, out: &mut Chain, opaque: [u8; 8]) {
        if opaque == DRAIN_PING {
            self.announce_last(out);
        }
    }

    fn announce_last(&mut self, out: &mut Chain) {
        if matches!(self.drain, Drain::Announced { .. } | Drain::Overdue) {
            let last = self.streams.last();
            out.copy_with(|out| write_goaway(out, last, ErrorCode::NoError, ""));
            self.drain = Drain::Final { last };
            self.stop_answered_uploads(out);
        }
    }

    /// Whether the client was told that this stream is not answered. Its frames are discarded, and
    /// it is not counted as begun, since no later GOAWAY may name a higher stream than an earlier
    /// one (RFC 9113 section 6.8).
    pub(super) fn is_given_up(&self, id: u32) -> bool {
        matches!(self.drain, Drain::Final { last } if id > last)
    }

    /// Whether the client was told which stream is the last one.
    pub(super) fn has_announced_last(&self) -> bool {
        matches!(self.drain, Drain::Final { .. })
    }

    /// Whether nothing is left to do. `ended` says that the client sends nothing more.
    pub(super) fn is_at_end(&self, ended: bool) -> bool {
        !self.streams.is_active() && (self.has_announced_last() || self.is_leaving || ended)
    }

    /// Ends the connection. What is in the chain is still sent.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        code: ErrorCode,
        reason: &str,
        linger: bool,
    ) -> Step {
        self.say_settings(out);
        if !self.has_announced_last() || code != ErrorCode::NoError {
            // A client that has left ends the connection itself.
            if let Some(metrics) = cx.shared.http2_metrics().filter(|_| !self.is_client_leaving()) {
                metrics.goaways.add(1);
            }
            // The number must not grow (section 6.8).
            let last = match self.drain {
                Drain::Final { last } => last,
                _ => self.streams.last(),
            };
            out.copy_with(|out| write_goaway(out, last, code, reason));
        }
        self.end_streams(cx, Some(out));
        self.state = Http2State::Over { linger };
        Step::Finish { linger }
    }

    fn is_client_leaving(&self) -> bool {
        self.is_leaving || self.has_ended
    }

    /// Ends the connection because of an error.
    pub(super) fn fail(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        error: ConnectionError,
    ) -> Step {
        self.finish(cx, out, error.code, error.reason, true)
    }

    /// Resets a stream, whether or not it is in the table. The client pays for it.
    pub(super) fn reset(
        &mut self,
        cx: &mut Context<'_, Sites>,
        out: &mut Chain,
        id: u32,
        code: ErrorCode,
        anomaly: Anomaly,
    ) -> Result<(), ConnectionError> {
        out.copy_with(|out| write_reset(out, id, code));
        if let Some(metrics) = cx.shared.http2_metrics() {
            match anomaly {
                Anomaly::Refused => metrics.refused.add(1),
                Anomaly::Fault | Anomaly::Small => metrics.resets_sent.add(1),
            }
        }
        self.end_stream(cx, out, id, true);
        self.pay(cx, anomaly)
    }

    /// The client has reset a stream.
    pub(super) fn client_reset(&mut self, cx: &mut Context<'_, Sites>, out: &Chain, id: u32) {
        self.end_stream(cx, out, id, false);
    }

    /// Ends a stream before its exchange is complete. If a lookup is running for it, its place in
    /// the table is kept until that ends: a client cannot cause more work by resets than by
    /// requests (CVE-2023-44487).
    fn end_stream(&mut self, cx: &mut Context<'_, Sites>, out: &Chain, id: u32, by_reset: bool) {
        self.streams.note_closed(id, by_reset);
        let Some(stream) = self.streams.get(id).filter(|stream| !stream.is_reset) else { return };
        if let AnswerState::Waiting(waiting) = &stream.answer
            && matches!(waiting.waits_for, WaitsFor::Lookup(_))
        {
            stream.is_reset = true;
            let upload = stream.upload;
            if by_reset {
                self.note_on_the_way(upload);
            }
            cx.shared.abandon_stream();
            return;
        }
        let Some(stream) = self.streams.take(id) else { return };
        if by_reset {
            self.note_on_the_way(stream.upload);
        }
        self.cut_off(cx, stream.answer, Some(out));
    }

    /// Notes that an answer does not go on. `out` is the chain that is written; without one, a
    /// chain was not sent.
    fn cut_off(&mut self, cx: &mut Context<'_, Sites>, answer: AnswerState, out: Option<&Chain>) {
        match answer {
            AnswerState::Done => {}
            AnswerState::Waiting(_) => cx.shared.abandon_stream(),
            AnswerState::Sending(answer) => {
                if let (Some(records), Some(record)) = (&mut self.records, answer.record) {
                    let (left, in_chain) = (answer.content.left(), answer.in_chain);
                    let cut = match out.map(Chain::remaining) {
                        Some(chain_end) => Cut { unwritten: left, in_chain, chain_end },
                        // It is not known how much of a lost chain has left for each answer.
                        None => Cut { unwritten: left + in_chain, in_chain: 0, chain_end: 0 },
                    };
                    cx.shared.cut_pending(records, record, cx.now, cut);
                }
            }
        }
    }

    /// Ends all streams, because the connection ends. `out` is the chain that is written; without
    /// one, a chain was not sent.
    pub(super) fn end_streams(&mut self, cx: &mut Context<'_, Sites>, out: Option<&Chain>) {
        self.stalled_at = None;
        while let Some(stream) = self.streams.take_any() {
            if let AnswerState::Waiting(waiting) = &stream.answer
                && let WaitsFor::Lookup(pending) = &waiting.waits_for
            {
                cx.shared.leave(pending.ticket, cx.session);
            }
            if !stream.is_reset {
                self.cut_off(cx, stream.answer, out);
            }
        }
    }

    /// Sets the time to look for streams that make no progress.
    pub(super) fn watch_progress(&mut self, cx: &Context<'_, Sites>) {
        let timeout = cx.shared.settings.stall_timeout;
        self.stalled_at = self.streams.first_due(timeout);
    }

    /// A deadline is over; see [`Session::expire`](crate::session::Session::expire).
    pub(super) fn expired(
        &mut self,
        cx: &mut Context<'_, Sites>,
        timer: Timer,
        out: &mut Chain,
    ) -> Step {
        if timer == Timer::Receive {
            if self.streams.awaits_answer() {
                // Only a drain ends such a wait early. A client that reads slowly has nothing to
                // say: streams without progress are reset, and `--drain-timeout` ends the rest.
                return Step::Receive(ReceiveTimeout::Own);
            }
            let is_idle = self.streams.is_empty() && self.block.is_none();
            let reason = match is_idle && self.state == Http2State::Open {
                true => "The connection was idle.",
                false => "The connection made no progress.",
            };
            return self.finish(cx, out, ErrorCode::NoError, reason, true);
        }
        if cx.sending {
            let later = |deadline: Instant| deadline.max(cx.now.instant + LOOK_AGAIN_AFTER);
            self.stalled_at = self.stalled_at.map(later);
            if self.deadline_of_drain().is_some_and(|until| until <= cx.now.instant) {
                self.drain = Drain::Overdue;
            }
            return Step::Wait;
        }
        if self.deadline_of_drain().is_some_and(|until| until <= cx.now.instant) {
            self.announce_last(out);
        }
        self.reset_stalled(cx, out);
        if self.is_at_end(false) {
            return self.finish(cx, out, ErrorCode::NoError, "", true);
        }
        self.watch_progress(cx);
        match (out.is_empty(), self.streams.is_active()) {
            (false, _) => Step::Flush,
            (true, _) if self.has_ended => Step::Wait,
            (true, true) => Step::Receive(ReceiveTimeout::Own),
            (true, false) => Step::Receive(self.idle_timeout(cx, out)),
        }
    }

    pub(super) fn deadline_of_drain(&self) -> Option<Instant> {
        match self.drain {
            Drain::Announced { until } => Some(until),
            _ => None,
        }
    }

    /// Resets streams that make no progress.
    fn reset_stalled(&mut self, cx: &mut Context<'_, Sites>, out: &mut Chain) {
        let timeout = cx.shared.settings.stall_timeout;
        let now = cx.now.instant;
        let mut stalled = 0;
        let has_lookup = self.streams.has_lookup();
        let is_for_client = |waits_for: &WaitsFor| match waits_for {
            WaitsFor::Room(_) => true,
            WaitsFor::Turn => !has_lookup,
            WaitsFor::Lookup(_) | WaitsFor::Nothing => false,
        };
        while let Some(id) = self.streams.stalled(now, timeout) {
            let code = match self.streams.get(id).map(|stream| &stream.answer) {
                // The client has its answer, and only sends more (RFC 9113 section 8.1).
                Some(AnswerState::Done) => ErrorCode::NoError,
                // The client lets other answers keep the room, or the turns.
                Some(AnswerState::Waiting(waiting)) if is_for_client(&waiting.waits_for) => {
                    ErrorCode::Cancel
                }
                // Its file is not found in time.
                Some(AnswerState::Waiting(_)) => ErrorCode::InternalError,
                _ => ErrorCode::Cancel,
            };
            stalled += u64::from(code == ErrorCode::Cancel);
            out.copy_with(|out| write_reset(out, id, code));
            self.end_stream(cx, out, id, true);
            if code == ErrorCode::Cancel {
                self.streams.note_freed(now);
            }
        }
        if let Some(metrics) = cx.shared.http2_metrics() {
            metrics.stalled.add(stalled);
        }
    }
}
