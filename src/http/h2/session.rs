//! HTTP/2 as a session (RFC 9113).
//!
//! ```text
//! advance: take frames --> requests --> decide --> heads of responses --> DATA by priority
//! ```
//!
//! One call takes the frames that have arrived, and fills one chain: control frames and the heads
//! of responses as they come up, then DATA of the streams by their priority. A request that is
//! answered in one go leaves no record. While a chain is being sent, no frame is read, so what a
//! client can make the server queue is one chain: TCP stops a client that does not read.
//!
//! | file | content |
//! | --- | --- |
//! | `session/receive.rs` | the frames of the client |
//! | `session/late.rs` | frames for streams that the server has ended |
//! | `session/blocks.rs` | header blocks, which become requests |
//! | `session/respond.rs` | responses, and their content |
//! | `session/ends.rs` | deadlines, drains and errors: how streams and connections end |
//!
//! The chunking law of sessions holds for each stream: its bytes do not depend on how the input is
//! split. The order in which streams share the connection may.

mod blocks;
mod ends;
mod late;
mod receive;
mod respond;

use std::cell::Cell;
use std::num::NonZero;
use std::time::Instant;

use super::calm::Calm;
use super::frame::{ConnectionError, ErrorCode, setting, write_settings, write_window_update};
use super::hpack::Decoder;
use super::request::RequestHead;
use super::stream::{AnswerState, STREAMS_MAX, Streams, Turn, WaitsFor};
use super::window::{ReceiveWindow, SendWindow, WINDOW_DEFAULT};
use crate::ask::AskId;
use crate::driver::Chain;
use crate::http::records::ConnectionRecords;
use crate::http::site::{Resolved, Sites};
use crate::session::{
    ConnectionInfo, Context, Inbox, Protection, ReceiveTimeout, Sent, Session, Step, Timer,
};

/// The most bytes of a header block, as it is encoded. It may be longer than the fields of a
/// request, so that such a request gets a response.
const BLOCK_BYTES_MAX: usize = 32 * 1024;

/// An HTTP/2 conversation; see the module documentation.
#[derive(Debug)]
pub struct Http2 {
    state: Http2State,
    /// The listener of the connection, which decides with the host which site answers.
    listener: u32,
    /// What protects the connection.
    protection: Option<Protection>,
    decoder: Decoder,
    /// The most bytes of the fields of a request, counted as HPACK does (RFC 7541 section 4.1); a
    /// request with more gets 431.
    fields_bytes_max: u32,
    /// The memory for the head of the next request.
    head: RequestHead,
    /// The header block that has begun.
    block: Option<Box<Block>>,
    streams: Streams,
    /// How much the client lets the connection send, and each new stream.
    window: SendWindow,
    window_of_streams: u32,
    receive_window: ReceiveWindow,
    /// Content that was sent, less what windows of closed streams were opened by, in bytes.
    unreturned: u64,
    /// Content of uploads that may arrive although their streams are reset, in bytes.
    on_the_way: u64,
    /// How many of these uploads may still end, by an empty DATA frame or by trailers.
    ends_on_the_way: u64,
    calm: Calm,
    /// Whether the next header block has to say that the encoder uses no dynamic table.
    must_say_table_size: bool,
    has_said_table_size: bool,
    drain: Drain,
    /// Whether the client has said that it begins no more streams.
    is_leaving: bool,
    /// Whether the input has ended.
    has_ended: bool,
    /// When to look for streams that make no progress.
    stalled_at: Option<Instant>,
    /// Whether a stream was open since `idle_since`, if only for a moment.
    was_active: bool,
    /// When the last answer was sent; at first, when SETTINGS were.
    idle_since: Instant,
    /// How fast answers are sent, if that is limited.
    pace: Cell<Option<NonZero<u64>>>,
    /// For the log, if there is one.
    records: Option<Box<ConnectionRecords>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Http2State {
    /// Nothing is written yet.
    New,
    /// The client has not sent its preface yet.
    Preface,
    /// The first frame has to be SETTINGS (section 3.4).
    Settings,
    Open,
    Over {
        linger: bool,
    },
}

/// How far the end of the connection is, if the server is about to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    No,
    /// It has to be announced.
    Wanted,
    /// It is announced. What arrives before the PING comes back, or until then, is answered.
    Announced {
        until: Instant,
    },
    /// That time is over, and the last stream has to be announced.
    Overdue,
    /// The last stream is announced.
    Final {
        last: u32,
    },
}

/// A header block that is not complete.
#[derive(Debug)]
struct Block {
    stream: u32,
    end_stream: bool,
    bytes: Vec<u8>,
    continuations: u8,
}

#[cfg(any(test, feature = "simulation"))]
impl Block {
    /// Memory of the block, in bytes.
    fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}

impl Session for Http2 {
    type Shared = Sites;

    fn new(sites: &mut Sites, info: &ConnectionInfo<'_>) -> Self {
        if let Some(metrics) = sites.http2_metrics() {
            metrics.connections.add(1);
        }
        let fields_bytes_max = sites.settings.limits.head_bytes_max.min(BLOCK_BYTES_MAX) as u32;
        Self {
            state: Http2State::New,
            listener: info.listener,
            protection: info.protection.cloned(),
            decoder: Decoder::new(),
            fields_bytes_max,
            head: RequestHead::default(),
            block: None,
            streams: Streams::new(),
            window: SendWindow::new(WINDOW_DEFAULT),
            window_of_streams: WINDOW_DEFAULT,
            receive_window: ReceiveWindow::new(),
            unreturned: 0,
            on_the_way: 0,
            ends_on_the_way: 0,
            calm: Calm::new(),
            must_say_table_size: false,
            has_said_table_size: false,
            drain: Drain::No,
            is_leaving: false,
            has_ended: false,
            stalled_at: None,
            was_active: true,
            idle_since: info.now.instant,
            pace: Cell::new(None),
            records: sites.records(info),
        }
    }

    fn advance(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if cx.sending {
            return Step::Wait;
        }
        if let Http2State::Over { linger } = self.state {
            inbox.take(inbox.bytes().len());
            return Step::Finish { linger };
        }
        self.has_ended = inbox.ended();
        self.say_settings(out);
        self.go_on(cx, inbox, out).unwrap_or_else(|error| {
            inbox.take(inbox.bytes().len());
            self.fail(cx, out, error)
        })
    }

    fn answered(&mut self, cx: &mut Context<'_, Sites>, id: AskId, found: Resolved) {
        self.streams.note_looked_up(cx.now.instant);
        // The id of a lookup is that of its stream.
        let Some(stream) = self.streams.get(id.0) else {
            unreachable!("no stream waits for {id:?}, but {found:?} was found")
        };
        let AnswerState::Waiting(waiting) = &mut stream.answer else {
            unreachable!("{stream:?} does not wait, but {found:?} was found")
        };
        let WaitsFor::Lookup(pending) =
            std::mem::replace(&mut waiting.waits_for, WaitsFor::Nothing)
        else {
            unreachable!("{stream:?} waits for no lookup, but {found:?} was found")
        };
        if stream.is_reset {
            // Its place was kept, so that a client cannot cause more work by resets.
            self.streams.take(id.0);
            return;
        }
        stream.progressed = cx.now.instant;
        waiting.names.note(pending, found);
    }

    fn expire(&mut self, cx: &mut Context<'_, Sites>, timer: Timer, out: &mut Chain) -> Step {
        self.expired(cx, timer, out)
    }

    fn drain(&mut self) {
        if self.drain == Drain::No {
            self.drain = Drain::Wanted;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.stalled_at, self.deadline_of_drain()) {
            (Some(stalled), Some(drain)) => Some(stalled.min(drain)),
            (stalled, drain) => stalled.or(drain),
        }
    }

    fn sent(&mut self, cx: &mut Context<'_, Sites>, sent: Sent) {
        if let Some(records) = &mut self.records {
            cx.shared.sent(records, cx.now, sent);
        }
        if sent.complete {
            self.streams.note_sent(cx.now.instant);
        }
        if !self.streams.is_active() {
            self.note_idle(cx);
        }
    }

    fn closed(&mut self, cx: &mut Context<'_, Sites>) {
        self.end_streams(cx, None);
        if let Some(records) = &mut self.records {
            cx.shared.closed(records, cx.now);
        }
    }
}

impl Http2 {
    /// The memory that the session keeps, in bytes; not that of contents, which are shared.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn memory_in_use(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.memory());
        size_of::<Self>()
            + self.decoder.memory()
            + self.head.memory()
            + block
            + self.streams.memory()
    }

    /// SETTINGS come before all other frames of the server (section 3.4).
    fn say_settings(&mut self, out: &mut Chain) {
        if self.state == Http2State::New {
            let settings = [
                (setting::MAX_CONCURRENT_STREAMS, STREAMS_MAX as u32),
                (setting::MAX_HEADER_LIST_SIZE, self.fields_bytes_max),
                (setting::NO_RFC7540_PRIORITIES, 1),
            ];
            out.copy_with(|out| write_settings(out, &settings));
            self.state = Http2State::Preface;
        }
    }

    /// Takes what has arrived, writes what can be written, and says what comes next.
    fn go_on(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Result<Step, ConnectionError> {
        self.announce_drain(cx, out);
        // Those that wait come before those that arrive.
        self.respond_to_waiting(cx, out)?;
        self.take_frames(cx, inbox, out)?;
        if let Some(bytes) = self.receive_window.reopen() {
            out.copy_with(|out| write_window_update(out, 0, bytes));
        }
        // Other threads close files, so there may be room for a request that had none a moment ago.
        for _ in 0..STREAMS_MAX {
            self.respond_to_waiting(cx, out)?;
            self.write_content(cx, out)?;
            if !out.is_empty() || !self.may_decide(cx) {
                break;
            }
        }
        Ok(self.next_step(cx, inbox, out))
    }

    /// What the session waits for, when it has done all that it can.
    fn next_step(
        &mut self,
        cx: &mut Context<'_, Sites>,
        inbox: &mut Inbox<'_>,
        out: &mut Chain,
    ) -> Step {
        if out.is_full() {
            // Frames may be left in the inbox, so this may not be the end.
            return Step::Flush;
        }
        if self.is_at_end(inbox.ended()) {
            return self.finish(cx, out, ErrorCode::NoError, "", !inbox.ended());
        }
        let may_send = self.window.bytes() > 0 && self.streams.next_sender().is_some();
        if !out.is_empty() && (may_send || self.may_decide(cx)) {
            return Step::Flush;
        }
        if inbox.ended() {
            // No window will open any more, but lookups may be running.
            if self.streams.awaits_lookup() {
                return Step::Wait;
            }
            self.end_streams(cx, Some(out));
            self.state = Http2State::Over { linger: false };
            return Step::Finish { linger: false };
        }
        let is_partial = self.block.is_some() || !inbox.bytes().is_empty();
        let is_open = self.state == Http2State::Open;
        self.watch_progress(cx);
        if self.streams.is_active() {
            return Step::Receive(ReceiveTimeout::Own);
        }
        self.head.shrink();
        self.streams.shrink();
        Step::Receive(match is_partial || !is_open {
            true => ReceiveTimeout::Header,
            false => self.idle_timeout(cx, out),
        })
    }

    /// Whether a request that waits can be decided now.
    fn may_decide(&self, cx: &Context<'_, Sites>) -> bool {
        self.streams.has_waiting()
            && self.streams.next_decidable(Turn::default(), self.room(cx)).is_some()
    }

    /// How long the client may request nothing. That begins when its last answer was sent. PING and
    /// other frames do not begin it again, else a client could keep a connection open with them.
    fn idle_timeout(&mut self, cx: &Context<'_, Sites>, out: &Chain) -> ReceiveTimeout {
        if self.was_active && out.is_empty() {
            self.note_idle(cx);
        }
        match self.was_active {
            true => ReceiveTimeout::KeepAlive,
            false => ReceiveTimeout::KeepAliveSince(self.idle_since),
        }
    }

    fn note_idle(&mut self, cx: &Context<'_, Sites>) {
        if std::mem::take(&mut self.was_active) {
            self.idle_since = cx.now.instant;
        }
    }
}
