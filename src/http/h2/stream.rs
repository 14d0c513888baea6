//! The streams of a connection: requests whose exchange is not complete (RFC 9113 section 5.1).
//!
//! A request that is answered in one go never gets here. A stream that is closed leaves no record,
//! except that the last few of them are remembered, because frames for them may be on their way.
//! `stream/turns.rs` says whose turn it is.

mod turns;

use std::time::{Duration, Instant};

use super::body::Outgoing;
use super::priority::{Priority, URGENCIES};
use super::request::RequestHead;
use super::window::{ReceiveWindow, SendWindow};
use crate::http::records::PendingRecord;
use crate::http::site::answer::{PendingLookup, ResolvedNames};

/// The most streams that a client may have open (`SETTINGS_MAX_CONCURRENT_STREAMS`).
pub(super) const STREAMS_MAX: usize = 100;

/// How many streams that were closed last are remembered.
const CLOSED_MAX: usize = 16;

/// How long a client may send content that is not wanted, after its answer, before it is told to
/// stop. Some clients lose an answer that is followed at once by RST_STREAM, and most stop by
/// themselves when they see the answer.
const UNWANTED_TIMEOUT: Duration = Duration::from_secs(1);

/// How many priorities of streams that are not open yet are remembered.
const EARLY_MAX: usize = 16;

/// An exchange that is not complete.
#[derive(Debug)]
pub(super) struct Stream {
    /// Odd, and at most 2^31 - 1.
    pub(super) id: u32,
    pub(super) answer: AnswerState,
    pub(super) upload: Upload,
    pub(super) window: SendWindow,
    pub(super) priority: Priority,
    /// When the request was complete.
    pub(super) began: Instant,
    /// Since when it has made no progress. What was sent of it was progress; what has arrived for
    /// it was not.
    pub(super) progressed: Instant,
    /// Whether the chain that is written, or sent, has content of it.
    pub(super) is_in_chain: bool,
    /// Whether it was reset, by whichever side, while a lookup is still done for it.
    pub(super) is_reset: bool,
}

impl Stream {
    fn has_lookup(&self) -> bool {
        match &self.answer {
            AnswerState::Waiting(waiting) => matches!(waiting.waits_for, WaitsFor::Lookup(_)),
            _ => false,
        }
    }
}

/// How far the answer of a stream is.
#[derive(Debug)]
pub(super) enum AnswerState {
    /// It is not decided.
    Waiting(Box<WaitingRequest>),
    /// Its content is being sent.
    Sending(Box<SendingAnswer>),
    /// It is written.
    Done,
}

/// A request without a response yet.
#[derive(Debug)]
pub(super) struct WaitingRequest {
    pub(super) head: RequestHead,
    pub(super) names: ResolvedNames,
    pub(super) waits_for: WaitsFor,
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum WaitsFor {
    /// A name is being looked up.
    Lookup(PendingLookup),
    /// Other requests of the connection are being looked up.
    Turn,
    /// Other answers of the connection keep too much in use.
    Room(Needs),
    /// Nothing: it can be decided.
    Nothing,
}

/// What the content of an answer keeps in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Needs {
    pub(super) has_file: bool,
    /// Bytes of memory.
    pub(super) bytes: u64,
    /// The length of the content.
    pub(super) length: u64,
}

/// The place of a request among those that wait: the most urgent ones come first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Turn {
    urgency: u8,
    pub(super) id: u32,
}

/// What one more request may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Whether a lookup may begin.
    pub(super) lookup: bool,
    /// Whether content may keep a file open.
    pub(super) file: bool,
    /// Bytes of memory that content may keep in use.
    pub(super) bytes: u64,
    /// How long content may be that is sent at once, and keeps nothing in use.
    pub(super) at_once: u64,
}

impl Room {
    fn has(self, needs: Needs) -> bool {
        (self.file || !needs.has_file) && needs.bytes <= self.bytes
    }
}

/// An answer whose content is being sent.
#[derive(Debug)]
pub(super) struct SendingAnswer {
    pub(super) content: Outgoing,
    /// How much of the head and of the content is in the chain that is written, or sent, in bytes.
    pub(super) in_chain: u64,
    /// What the log and the metrics need when it is over.
    pub(super) record: Option<PendingRecord>,
}

/// The content of a request, which is discarded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Upload {
    /// It has ended, or there is none.
    Ended,
    Open {
        /// The length that the head has announced.
        announced: Option<u64>,
        received: u64,
        window: ReceiveWindow,
        /// Whether the client is told to stop soon after its answer ([`UNWANTED_TIMEOUT`]).
        is_unwanted: bool,
    },
}

/// The streams of a connection; see the module documentation.
#[derive(Debug)]
pub(super) struct Streams {
    /// In the order of their ids.
    list: Vec<Stream>,
    /// The highest id that the client has used.
    last: u32,
    /// The streams that were closed last, and whether this side has reset them.
    closed: [(u32, bool); CLOSED_MAX],
    closed_next: usize,
    early: Vec<(u32, Priority)>,
    /// For each urgency, the stream that has sent last of those that take turns.
    served: [u32; URGENCIES],
    /// When content was written last.
    served_at: Option<Instant>,
}

/// A stream that is not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotOpen {
    /// The client has not used it yet.
    Idle,
    /// It was closed.
    Closed,
    /// It was closed by a reset of this side, of which the client may not know yet.
    Reset,
    /// It was closed long ago, or was never used.
    Unknown,
}

impl Streams {
    pub(super) const fn new() -> Self {
        Self {
            list: Vec::new(),
            last: 0,
            closed: [(0, false); CLOSED_MAX],
            closed_next: 0,
            early: Vec::new(),
            served: [0; URGENCIES],
            served_at: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= STREAMS_MAX
    }

    /// The highest id that the client has used.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// The client uses this id for the first time.
    pub(super) fn begin(&mut self, id: u32) {
        debug_assert!(id > self.last, "ids grow");
        self.last = id;
    }

    /// Why a stream is not in the table.
    pub(super) fn not_open(&self, id: u32) -> NotOpen {
        // Even numbers are for streams of the server, which begins none (section 5.1.1).
        if id > self.last || id.is_multiple_of(2) {
            return NotOpen::Idle;
        }
        match self.closed.iter().find(|(closed, _)| *closed == id) {
            Some((_, true)) => NotOpen::Reset,
            Some((_, false)) => NotOpen::Closed,
            None => NotOpen::Unknown,
        }
    }

    /// Remembers that a stream is closed.
    pub(super) fn note_closed(&mut self, id: u32, by_reset: bool) {
        if let Some(known) = self.closed.iter_mut().find(|(closed, _)| *closed == id) {
            known.1 |= by_reset;
            return;
        }
        self.closed[self.closed_next] = (id, by_reset);
        self.closed_next = (self.closed_next + 1) % CLOSED_MAX;
    }

    /// Adds a stream, at its place in the order.
    pub(super) fn add(&mut self, stream: Stream) {
        let place = self.list.partition_point(|other| other.id < stream.id);
        debug_assert!(self.list.get(place).is_none_or(|other| other.id > stream.id));
        self.list.insert(place, stream);
    }

    /// Takes a stream out, to be added again.
    pub(super) fn take(&mut self, id: u32) -> Option<Stream> {
        self.place(id).map(|place| self.list.remove(place))
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.list.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        self.place(id).map(|place| &mut self.list[place])
    }

    /// Removes a stream, and remembers that it is closed.
    pub(super) fn remove(&mut self, id: u32, by_reset: bool) -> Option<Stream> {
        let stream = self.place(id).map(|place| self.list.remove(place));
        if stream.is_some() {
            self.note_closed(id, by_reset);
        }
        stream
    }

    /// Drops the memory of an empty table: an idle connection keeps none.
    pub(super) fn shrink(&mut self) {
        if self.list.is_empty() {
            self.list = Vec::new();
        }
    }

    /// Whether a stream is open that was not reset.
    pub(super) fn is_active(&self) -> bool {
        self.list.iter().any(|stream| !stream.is_reset)
    }

    /// Whether the end of a lookup lets a stream go on that was not reset. It may be the lookup of
    /// a stream that was reset: others wait for its turn.
    pub(super) fn awaits_lookup(&self) -> bool {
        let awaits = |stream: &&Stream| match &stream.answer {
            AnswerState::Waiting(it) => {
                matches!(it.waits_for, WaitsFor::Lookup(_) | WaitsFor::Turn)
            }
            _ => false,
        };
        self.has_lookup() && self.list.iter().filter(awaits).any(|stream| !stream.is_reset)
    }

    /// Whether a request has no answer yet, or not all of it.
    pub(super) fn awaits_answer(&self) -> bool {
        let is_done = |stream: &Stream| matches!(stream.answer, AnswerState::Done);
        self.list.iter().any(|stream| !stream.is_reset && !is_done(stream))
    }

    /// Whether a lookup is running for any stream.
    pub(super) fn has_lookup(&self) -> bool {
        self.list.iter().any(Stream::has_lookup)
    }

    /// A lookup has ended, so requests that wait for their turn are one nearer to it.
    pub(super) fn note_looked_up(&mut self, now: Instant) {
        for stream in &mut self.list {
            if let AnswerState::Waiting(waiting) = &stream.answer
                && matches!(waiting.waits_for, WaitsFor::Turn)
            {
                stream.progressed = now;
            }
        }
    }

    /// Whether a request waits for something else than a lookup, or for nothing.
    pub(super) fn has_waiting(&self) -> bool {
        let waits = |stream: &Stream| match &stream.answer {
            AnswerState::Waiting(it) => !matches!(it.waits_for, WaitsFor::Lookup(_)),
            _ => false,
        };
        self.list.iter().any(waits)
    }

    /// All streams, in the order of their ids.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.list.iter_mut()
    }

    /// A stream that is answered, and open because the client still sends.
    pub(super) fn next_answered(&self) -> Option<u32> {
        let is_answered =
            |stream: &&Stream| matches!(stream.answer, AnswerState::Done) && !stream.is_reset;
        self.list.iter().find(is_answered).map(|stream| stream.id)
    }

    /// How many answers that are being sent keep a file open.
    pub(super) fn files(&self) -> usize {
        let has_file = |stream: &&Stream| match &stream.answer {
            AnswerState::Sending(answer) => answer.content.has_file(),
            _ => false,
        };
        self.list.iter().filter(has_file).count()
    }

    /// How many requests have a lookup running, or keep in use what one has found.
    pub(super) fn lookups(&self) -> usize {
        let keeps = |stream: &&Stream| match &stream.answer {
            AnswerState::Waiting(waiting) => {
                matches!(waiting.waits_for, WaitsFor::Lookup(_)) || !waiting.names.is_empty()
            }
            _ => false,
        };
        self.list.iter().filter(keeps).count()
    }

    /// Memory that the content of answers keeps in use, in bytes.
    pub(super) fn content_bytes(&self) -> u64 {
        let memory = self.list.iter().map(|stream| match &stream.answer {
            AnswerState::Sending(answer) => answer.content.memory(),
            _ => 0,
        });
        memory.sum()
    }

    /// Memory of the heads of requests that wait, and of records of answers that are being sent, in
    /// bytes.
    pub(super) fn kept_bytes(&self) -> usize {
        let memory = self.list.iter().map(|stream| match &stream.answer {
            AnswerState::Waiting(waiting) => waiting.head.memory(),
            AnswerState::Sending(answer) => {
                answer.record.as_ref().map_or(0, PendingRecord::capacity)
            }
            AnswerState::Done => 0,
        });
        memory.sum()
    }

    /// Memory of all streams, in bytes; not that of contents, which are shared.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn memory(&self) -> usize {
        let answers = self.list.iter().map(|stream| match &stream.answer {
            AnswerState::Waiting(_) => size_of::<WaitingRequest>(),
            AnswerState::Sending(_) => size_of::<SendingAnswer>(),
            AnswerState::Done => 0,
        });
        let early = self.early.capacity() * size_of::<(u32, Priority)>();
        let table = self.list.capacity() * size_of::<Stream>();
        table + early + answers.sum::<usize>() + self.kept_bytes()
    }

    /// When a stream that makes no progress is reset. A stream whose window is open, or that waits
    /// for others of this connection, has time as long as one of them goes on: the client is not to
    /// blame. A lookup does not wait for them.
    fn due(&self, stream: &Stream, timeout: Duration) -> Option<Instant> {
        let (waits_for_others, timeout) = match (&stream.answer, stream.upload) {
            (AnswerState::Waiting(_), _) => (!stream.has_lookup(), timeout),
            (AnswerState::Sending(_), _) => (stream.window.bytes() > 0, timeout),
            (AnswerState::Done, Upload::Open { is_unwanted: true, .. }) => {
                (false, timeout.min(UNWANTED_TIMEOUT))
            }
            (AnswerState::Done, _) => (false, timeout),
        };
        let since = match self.served_at {
            Some(served) if waits_for_others => stream.progressed.max(served),
            _ => stream.progressed,
        };
        since.checked_add(timeout)
    }

    /// When the first stream is due.
    pub(super) fn first_due(&self, timeout: Duration) -> Option<Instant> {
        let active = self.list.iter().filter(|stream| !stream.is_reset);
        active.filter_map(|stream| self.due(stream, timeout)).min()
    }

    /// A stream that has made no progress for so long. Those that others wait for come first.
    pub(super) fn stalled(&self, now: Instant, timeout: Duration) -> Option<u32> {
        let is_stalled = |stream: &&Stream| {
            !stream.is_reset && self.due(stream, timeout).is_some_and(|due| due <= now)
        };
        let waits = |stream: &&Stream| matches!(stream.answer, AnswerState::Waiting(_));
        self.list.iter().filter(is_stalled).min_by_key(waits).map(|stream| stream.id)
    }

    /// A chain was sent, so the client has let come what was in it.
    pub(super) fn note_sent(&mut self, now: Instant) {
        for stream in &mut self.list {
            if let AnswerState::Sending(answer) = &mut stream.answer {
                answer.in_chain = 0;
            }
            if std::mem::take(&mut stream.is_in_chain) {
                stream.progressed = now;
            }
        }
    }

    /// A stream has ended for which others have waited.
    pub(super) fn note_freed(&mut self, now: Instant) {
        for stream in &mut self.list {
            if let AnswerState::Waiting(waiting) = &stream.answer
                && matches!(waiting.waits_for, WaitsFor::Room(_) | WaitsFor::Turn)
            {
                stream.progressed = now;
            }
        }
    }

    /// Takes a stream out, whichever.
    pub(super) fn take_any(&mut self) -> Option<Stream> {
        self.list.pop()
    }

    /// Changes the priority of a stream, or remembers it for one that is not open yet.
    pub(super) fn prioritise(&mut self, id: u32, priority: Priority) {
        if let Some(stream) = self.get(id) {
            stream.priority = priority;
        } else if id > self.last {
            self.early.retain(|(early, _)| *early != id);
            if self.early.len() < EARLY_MAX {
                self.early.push((id, priority));
            }
        }
    }

    /// The priority that was remembered for a stream, which opens now. Those of streams that were
    /// skipped are forgotten.
    pub(super) fn take_early(&mut self, id: u32) -> Option<Priority> {
        if self.early.is_empty() {
            return None;
        }
        let found =
            self.early.iter().find(|(early, _)| *early == id).map(|(_, priority)| *priority);
        self.early.retain(|(early, _)| *early > id);
        found
    }
}
