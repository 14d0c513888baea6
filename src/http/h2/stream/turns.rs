//! Whose turn it is: which request is decided next, and which answer sends next.

use std::time::Instant;

use super::{AnswerState, Needs, Room, Stream, Streams, Turn, WaitsFor};
use crate::http::h2::priority::Priority;

impl Streams {
    /// The first request that can be decided now, of those behind this place. The default is before
    /// all places.
    pub(in crate::http::h2) fn next_decidable(&self, after: Turn, room: Room) -> Option<Turn> {
        let decidable = self.list.iter().filter(|stream| self.is_decidable(stream, room));
        let turns =
            decidable.map(|stream| Turn { urgency: stream.priority.urgency, id: stream.id });
        turns.filter(|turn| *turn > after).min()
    }

    fn is_decidable(&self, stream: &Stream, room: Room) -> bool {
        let AnswerState::Waiting(waiting) = &stream.answer else { return false };
        match waiting.waits_for {
            WaitsFor::Nothing => true,
            WaitsFor::Turn => room.lookup,
            WaitsFor::Room(needs) => self.may_begin(stream, needs, room),
            WaitsFor::Lookup(_) => false,
        }
    }

    /// Whether an answer may begin: there is room for its content, or it needs none.
    pub(in crate::http::h2) fn may_begin(&self, stream: &Stream, needs: Needs, room: Room) -> bool {
        room.has(needs) || self.goes_at_once(stream, needs.length, room.at_once)
    }

    /// Whether content of this length is sent at once, as one frame of at most `length_max` bytes.
    /// Only more urgent answers come before it (RFC 9218 section 10). Those of its own urgency do
    /// not, although they may be older: one frame delays them little, and could wait for them long.
    pub(in crate::http::h2) fn goes_at_once(
        &self,
        stream: &Stream,
        length: u64,
        length_max: u64,
    ) -> bool {
        let urgency = stream.priority.urgency;
        let is_before = |other: &Stream| other.priority.urgency < urgency && can_send(other);
        length <= length_max.min(stream.window.bytes() as u64) && !self.list.iter().any(is_before)
    }

    /// The stream whose turn it is to send: the most urgent ones first; of those, the ones that
    /// are not incremental by their ids, then the others in turn (RFC 9218 section 10).
    pub(in crate::http::h2) fn next_sender(&self) -> Option<u32> {
        let order = |stream: &&Stream| {
            let Priority { urgency, incremental } = stream.priority;
            let was_served = incremental && stream.id <= self.served[usize::from(urgency)];
            (urgency, incremental, was_served, stream.id)
        };
        let senders = self.list.iter().filter(|stream| can_send(stream));
        senders.min_by_key(order).map(|stream| stream.id)
    }

    /// A stream has sent something.
    pub(in crate::http::h2) fn note_served(&mut self, id: u32, now: Instant) {
        self.note_sending(now);
        let Some(stream) = self.get(id) else { return };
        (stream.is_in_chain, stream.progressed) = (true, now);
        let Priority { urgency, incremental } = stream.priority;
        if incremental {
            self.served[usize::from(urgency)] = id;
        }
    }

    /// Content is written, so streams that wait for others do not wait in vain.
    pub(in crate::http::h2) fn note_sending(&mut self, now: Instant) {
        self.served_at = Some(now);
    }
}

/// Whether it has content, and the window of the stream is open for it.
fn can_send(stream: &Stream) -> bool {
    matches!(stream.answer, AnswerState::Sending(_)) && stream.window.bytes() > 0
}
