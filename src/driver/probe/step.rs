//! The steps of a probe.

/// Something that the server needs a driver to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeStep {
    /// Opening the driver.
    Open,
    /// Receiving one message.
    Receive,
    /// Being woken by another thread.
    Wake,
    /// Sending memory.
    Send,
    /// Sending several pieces of memory with one call.
    Gather,
    /// Sending a file.
    SendFile,
    /// Reading a file.
    ReadFile,
    /// Opening a file beneath a directory.
    OpenFile,
    /// Accepting several connections with one op.
    Accept,
    /// Receiving several messages with one op.
    ReceiveMany,
    /// Cancelling an op.
    Cancel,
    /// Ending a wait at its timeout.
    Timeout,
}

impl ProbeStep {
    /// All steps after [`ProbeStep::Open`], in the order in which they are taken.
    pub(super) const USES: [Self; 11] = [
        Self::Receive,
        Self::Wake,
        Self::Send,
        Self::Gather,
        Self::SendFile,
        Self::ReadFile,
        Self::OpenFile,
        Self::Accept,
        Self::ReceiveMany,
        Self::Cancel,
        Self::Timeout,
    ];

    /// The steps that decide about a driver at start.
    pub(super) const SELF_TEST: [Self; 3] = [Self::Receive, Self::Wake, Self::Send];

    /// Its name in output for machines.
    pub fn id(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Receive => "receive",
            Self::Wake => "wake",
            Self::Send => "send",
            Self::Gather => "gather",
            Self::SendFile => "send_file",
            Self::ReadFile => "read_file",
            Self::OpenFile => "open_file",
            Self::Accept => "accept_many",
            Self::ReceiveMany => "receive_many",
            Self::Cancel => "cancel",
            Self::Timeout => "timeout",
        }
    }
}
