//! What the behaviour tests share: a raw client, a server over a root of its own, the program as
//! a child process, and generated requests.

pub(crate) mod alone;
pub(crate) mod client;
pub(crate) mod fixture;
pub(crate) mod multipart;
pub(crate) mod process;
pub(crate) mod root;
pub(crate) mod streams;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringd::driver::{DriverKind, DriverSelection};

/// How long anything may take that has to happen at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a driver works here; says why when it does not.
pub(crate) fn runs_here(kind: DriverKind) -> bool {
    match DriverSelection::make(Some(kind)) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: the driver {kind} does not work here: {error}");
            false
        }
    }
}

/// Waits until `holds`, and fails with `what` when that takes too long.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The turn of a test that opens hundreds of connections: one at a time, and none more than 300.
/// Both their ends are in this process, which may have no more than 1024 descriptors.
pub(crate) fn many_descriptors() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
