//! One side of a socket, with at most one op in flight.

use super::name::{Direction, OpName, Sequence};
use super::slot_map::Handle;
use super::{OpId, Sock};

/// A side of a socket; `T` is what the driver keeps of an op on it.
#[derive(Debug)]
pub(super) struct Side<T> {
    op: Option<T>,
    /// The number of the op in flight, or of the next op.
    sequence: Sequence,
}

impl<T> Side<T> {
    pub(super) fn new() -> Self {
        Self { op: None, sequence: Sequence::default() }
    }

    /// Starts an op, and returns the sequence number for its name.
    pub(super) fn start(&mut self, op: T) -> Sequence {
        assert!(self.op.is_none(), "a second op on one side of a socket");
        self.op = Some(op);
        self.sequence
    }

    /// The op with this sequence number, if it is still in flight.
    pub(super) fn current(&mut self, sequence: Sequence) -> Option<&mut T> {
        self.op.as_mut().filter(|_| self.sequence == sequence)
    }

    /// The op in flight.
    pub(super) fn get(&self) -> Option<&T> {
        self.op.as_ref()
    }

    /// The op in flight.
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        self.op.as_mut()
    }

    /// The sequence number of the op in flight.
    pub(super) fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The name of the op in flight; this is the side `direction` of the socket `handle`.
    pub(super) fn name(&self, handle: Handle<Sock>, direction: Direction) -> Option<OpId> {
        self.op.as_ref().map(|_| OpName::Side(handle, direction, self.sequence).id())
    }

    /// Removes the op in flight, and makes its name stale.
    pub(super) fn take(&mut self) -> Option<T> {
        let op = self.op.take()?;
        self.sequence = self.sequence.next();
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_earlier_op_is_stale() {
        let mut side = Side { op: None, sequence: Sequence::MAX };
        let first = side.start('a');
        assert_eq!(side.take(), Some('a'));
        let second = side.start('b');
        assert_eq!(side.sequence(), second);
        assert_eq!(side.current(first), None);
        assert_eq!(side.current(second), Some(&mut 'b'));
    }

    #[test]
    #[should_panic = "a second op on one side of a socket"]
    fn a_second_op_is_noticed() {
        let mut side = Side::new();
        side.start('a');
        side.start('b');
    }
}
