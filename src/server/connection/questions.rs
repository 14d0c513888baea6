//! The open questions of a session, and the op of each.
//!
//! The table is allocated with the first question, so a session that asks none pays eight bytes.

use crate::ask::AskId;
use crate::driver::OpId;
use crate::session::ASKS_MAX;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Questions {
    table: Option<Box<[Option<Question>; ASKS_MAX]>>,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    id: AskId,
    op: OpId,
}

impl Questions {
    /// Adds a question. `submit` gets the position in the table and returns the op of the question.
    ///
    /// # Panics
    ///
    /// If the session has [`ASKS_MAX`] questions open, or one with this id.
    pub(super) fn add(&mut self, id: AskId, submit: impl FnOnce(u16) -> OpId) {
        let table = self.table.get_or_insert_default();
        let open = table.iter().flatten().any(|question| question.id == id);
        assert!(!open, "a session asked {id:?} a second time before the reply");
        let place = table.iter().position(Option::is_none);
        let place = place.expect("a session has at most ASKS_MAX questions open");
        table[place] = Some(Question { id, op: submit(place as u16) });
    }

    /// Removes the question at a position, because its reply has arrived.
    pub(super) fn remove(&mut self, place: u16) -> AskId {
        let table = self.table.as_mut().expect("a reply answers a question");
        table[usize::from(place)].take().expect("each question gets one reply").id
    }

    /// The ops of all open questions.
    pub(super) fn ops(&self) -> impl Iterator<Item = OpId> {
        let table = self.table.as_deref().into_iter().flatten();
        table.flatten().map(|question| question.op)
    }
}
