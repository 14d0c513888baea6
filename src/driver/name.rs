//! Names of ops, for the drivers that hold their ops by socket and side.

use super::OpId;
use super::slots::Handle;

/// The part of an op's name that says where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    Read,
    Write,
    Close,
    File,
    Aside,
}

/// Bits of a sequence number, beside the four of a lane.
const SEQUENCE_BITS: u32 = 12;

/// A sequence number fits under it.
pub(super) const SEQUENCE_MASK: u16 = (1 << SEQUENCE_BITS) - 1;

/// Names an op. A name is stale once its op is over: the generation in the handle changes with
/// the socket, the sequence with each op on one side of it.
pub(super) fn name(handle: Handle, lane: Lane, sequence: u16) -> OpId {
    OpId(handle.pack((lane as u16) << SEQUENCE_BITS | sequence))
}

/// The inverse of [`name`].
pub(super) fn parse(op: OpId) -> (Handle, Lane, u16) {
    let (handle, tag) = Handle::unpack(op.0);
    let lane = match tag >> SEQUENCE_BITS {
        0 => Lane::Read,
        1 => Lane::Write,
        2 => Lane::Close,
        3 => Lane::File,
        _ => Lane::Aside,
    };
    (handle, lane, tag & SEQUENCE_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::slots::Slots;

    #[test]
    fn a_name_keeps_its_parts() {
        let mut slots = Slots::new(4);
        let handle = slots.insert(()).unwrap();
        for lane in [Lane::Read, Lane::Write, Lane::Close, Lane::File, Lane::Aside] {
            for sequence in 0..=SEQUENCE_MASK {
                assert_eq!(parse(name(handle, lane, sequence)), (handle, lane, sequence));
            }
        }
    }
}
