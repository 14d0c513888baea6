//! What the filters of system calls depend on.

/// What a filter holds for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    not(feature = "sandbox"),
    allow(dead_code, reason = "a build without filters loads none for a thread")
)]
pub(super) enum Coverage {
    /// All threads of the process.
    Process,
    /// The thread that loads it, and those that it starts from then on.
    Thread,
}

/// The rings of the workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rings {
    /// There are none.
    None,
    /// They are there.
    Made,
    /// They are made later.
    #[cfg(feature = "simulation")]
    ToBeMade,
}
