//! Names of ops.
//!
//! An [`OpId`] is a handle with a tag of 16 bits. Four bits say what the op is; each driver has its
//! own numbers for this. Twelve bits hold a [`Sequence`].

use super::job::Job;
use super::slot_map::Handle;
use super::{OpId, Sock};

/// Bits of a tag that say what an op is.
const KIND_BITS: u32 = 4;

/// The number of an op among those on one side of a socket, modulo 2^12. It makes the names
/// of earlier ops stale.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sequence(u16);

impl Sequence {
    pub(super) const MAX: Self = Self(u16::MAX >> KIND_BITS);

    /// The number of the next op.
    pub(super) fn next(self) -> Self {
        if self == Self::MAX { Self(0) } else { Self(self.0 + 1) }
    }

    /// The tag of an op of this kind.
    pub(super) fn tag(self, kind: u16) -> u16 {
        debug_assert!(kind < 1 << KIND_BITS);
        self.0 << KIND_BITS | kind
    }

    /// The inverse of [`Sequence::tag`].
    pub(super) fn of_tag(tag: u16) -> (u16, Self) {
        (tag & ((1 << KIND_BITS) - 1), Self(tag >> KIND_BITS))
    }
}

/// The sides of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Read,
    Write,
}

/// Marks the handles of file ops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileOp {}

/// The content of an op's name, in drivers that keep ops by socket and side. A name is stale once
/// its op has ended: the generation in the handle changes with the socket, and the sequence number
/// with each op on one side of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OpName {
    Side(Handle<Sock>, Direction, Sequence),
    Close(Handle<Sock>),
    File(Handle<FileOp>),
    Job(Handle<Job>),
}

impl OpName {
    /// The name for the caller.
    pub(super) fn id(self) -> OpId {
        let only = Sequence::default();
        OpId(match self {
            Self::Side(handle, Direction::Read, sequence) => handle.pack(sequence.tag(0)),
            Self::Side(handle, Direction::Write, sequence) => handle.pack(sequence.tag(1)),
            Self::Close(handle) => handle.pack(only.tag(2)),
            Self::File(handle) => handle.pack(only.tag(3)),
            Self::Job(handle) => handle.pack(only.tag(4)),
        })
    }

    /// The inverse of [`OpName::id`].
    pub(super) fn of(op: OpId) -> Self {
        let (handle, tag) = Handle::unpack(op.0);
        match Sequence::of_tag(tag) {
            (0, sequence) => Self::Side(handle, Direction::Read, sequence),
            (1, sequence) => Self::Side(handle, Direction::Write, sequence),
            (2, _) => Self::Close(handle),
            (3, _) => Self::File(Handle::unpack(op.0).0),
            _ => Self::Job(Handle::unpack(op.0).0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handle with all bits of slot and generation set.
    fn handle<K>() -> Handle<K> {
        Handle::unpack(u64::MAX).0
    }

    #[test]
    fn a_name_keeps_its_parts() {
        let mut names =
            vec![OpName::Close(handle()), OpName::File(handle()), OpName::Job(handle())];
        let mut sequence = Sequence::default();
        for _ in 0..1 << 12 {
            for direction in [Direction::Read, Direction::Write] {
                names.push(OpName::Side(handle(), direction, sequence));
            }
            sequence = sequence.next();
        }
        assert_eq!(sequence, Sequence::default(), "the numbers wrap at 2^12");
        for name in &names {
            assert_eq!(OpName::of(name.id()), *name);
        }
        let mut ids: Vec<u64> = names.iter().map(|name| name.id().0).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), names.len());
    }
}
