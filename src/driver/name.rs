//! Names of ops, for the drivers that hold their ops by socket and side.

use super::OpId;
use super::slot_map::Handle;

/// The part of an op's name that says where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OpKind {
    Read,
    Write,
    Close,
    File,
    JobThread,
}

/// Bits of a sequence number, beside the four of the kind.
const SEQUENCE_BITS: u32 = 12;

/// A sequence number fits under it.
pub(super) const SEQUENCE_MASK: u16 = (1 << SEQUENCE_BITS) - 1;

/// Names an op. A name is stale once its op is over: the generation in the handle changes with
/// the socket, the sequence with each op on one side of it.
pub(super) fn name(handle: Handle, op_kind: OpKind, sequence: u16) -> OpId {
    OpId(handle.pack((op_kind as u16) << SEQUENCE_BITS | sequence))
}

/// The inverse of [`name`].
pub(super) fn parse(op: OpId) -> (Handle, OpKind, u16) {
    let (handle, tag) = Handle::unpack(op.0);
    let op_kind = match tag >> SEQUENCE_BITS {
        0 => OpKind::Read,
        1 => OpKind::Write,
        2 => OpKind::Close,
        3 => OpKind::File,
        _ => OpKind::JobThread,
    };
    (handle, op_kind, tag & SEQUENCE_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::slot_map::SlotMap;

    #[test]
    fn a_name_keeps_its_parts() {
        let mut slots = SlotMap::new(4);
        let handle = slots.insert(()).unwrap();
        for op_kind in [OpKind::Read, OpKind::Write, OpKind::Close, OpKind::File, OpKind::JobThread]
        {
            for sequence in 0..=SEQUENCE_MASK {
                assert_eq!(parse(name(handle, op_kind, sequence)), (handle, op_kind, sequence));
            }
        }
    }
}
