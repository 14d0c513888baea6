//! The steps of a probe.

use super::super::DriverKind;

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

    /// The system call by which a driver takes this step, if there is one for all of it. The ring
    /// makes its calls by itself, except those named here.
    pub(super) fn call(self, kind: DriverKind) -> Option<&'static str> {
        let of_ring = kind == DriverKind::Uring;
        match self {
            Self::Receive | Self::ReceiveMany if !of_ring => Some("recvfrom"),
            Self::Send if !of_ring => Some("sendto"),
            Self::Gather if !of_ring => Some("sendmsg"),
            Self::Accept if !of_ring => Some("accept4"),
            Self::ReadFile if !of_ring => Some("pread64"),
            Self::OpenFile => Some("openat2"),
            _ => None,
        }
    }

    /// The calls that an error of a step may name first.
    pub const CALLS: [&'static str; 17] = [
        "io_uring_setup",
        "io_uring_register",
        "io_uring_enter",
        "accept4",
        "recvfrom",
        "sendto",
        "sendmsg",
        "sendfile",
        "pread64",
        "openat2",
        "epoll_create1",
        "epoll_ctl",
        "epoll_pwait",
        "ppoll",
        "pselect6",
        "fcntl",
        "setsockopt",
    ];

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
