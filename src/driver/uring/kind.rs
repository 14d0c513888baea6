//! What a submission is for, and how its user data encodes it.

use super::super::name::Sequence;
use super::super::slot_map::Handle;

/// What a submission is for. The tag in its user data holds this and the sequence number of the op.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum SubmissionKind {
    Accept = 1,
    Recv = 2,
    Send = 3,
    Poll = 4,
    Fetch = 5,
    Open = 6,
    Read = 7,
    Wake = 8,
    Cancel = 9,
    Close = 10,
    WritableWatch = 11,
    Run = 12,
}

impl SubmissionKind {
    const ALL: [Self; 12] = [
        Self::Accept,
        Self::Recv,
        Self::Send,
        Self::Poll,
        Self::Fetch,
        Self::Open,
        Self::Read,
        Self::Wake,
        Self::Cancel,
        Self::Close,
        Self::WritableWatch,
        Self::Run,
    ];

    /// User data of submissions whose completions are ignored, and the name of an op that has
    /// ended.
    pub(super) const NOBODY: u64 = (Self::Cancel as u64) << 48 | (u64::MAX >> 16);

    /// User data of a submission for the op `sequence` on what `handle` names.
    pub(super) fn name<K>(self, handle: Handle<K>, sequence: Sequence) -> u64 {
        handle.pack(sequence.tag(self as u16))
    }

    /// User data of a submission for what `handle` names, if that has only one op.
    pub(super) fn name_only<K>(self, handle: Handle<K>) -> u64 {
        self.name(handle, Sequence::default())
    }

    /// Decodes user data, except for the handle, whose type depends on the kind.
    pub(super) fn of(user_data: u64) -> (Self, Sequence) {
        let (_, tag) = Handle::<()>::unpack(user_data);
        let (kind, sequence) = Sequence::of_tag(tag);
        (Self::ALL[usize::from(kind) - 1], sequence)
    }
}
