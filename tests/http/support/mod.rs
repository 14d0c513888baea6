//! What the tests of HTTP share: a raw client, a server with its own root, the program as a child
//! process, and generated requests.

pub(crate) mod client;
pub(crate) mod fixture;
pub(crate) mod http2;
pub(crate) mod multipart;
pub(crate) mod process;
pub(crate) mod root;
pub(crate) mod sample;
pub(crate) mod streams;
pub(crate) mod tls;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock for tests that open hundreds of connections, at most 300: one at a time, because both
/// ends are in this process, which may have no more than 1024 descriptors.
pub(crate) fn many_descriptors() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
