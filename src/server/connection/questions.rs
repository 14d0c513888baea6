//! The questions that a session has open: which op will bring which reply.
//!
//! The table is made with the first question, so a session that asks none pays eight bytes for it.

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
    /// Adds a question; `submit` is told its place and gives the op that will bring the reply.
    ///
    /// # Panics
    ///
    /// When the session has [`ASKS_MAX`] questions open, or one of this name.
    pub(super) fn add(&mut self, id: AskId, submit: impl FnOnce(u16) -> OpId) {
        let table = self.table.get_or_insert_default();
        let open = table.iter().flatten().any(|question| question.id == id);
        assert!(!open, "a session asked {id:?} a second time before the reply");
        let place = table.iter().position(Option::is_none);
        let place = place.expect("a session has at most ASKS_MAX questions open");
        table[place] = Some(Question { id, op: submit(place as u16) });
    }

    /// Takes the question at a place out, whose reply has come.
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
