//! What a submission is for, and how its user data says so.

/// What a submission is for: the low 4 bits of the tag in its user data. The others are the
/// sequence number of the op.
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

    /// User data of what nobody waits for, and the name of an op that is over already.
    pub(super) const NOBODY: u64 = (Self::Cancel as u64) << 48 | (u64::MAX >> 16);

    pub(super) fn tag(self, sequence: u16) -> u16 {
        self as u16 | sequence << 4
    }

    pub(super) fn of(tag: u16) -> Self {
        Self::ALL[usize::from(tag & 0x0f) - 1]
    }
}
