//! What the tests of several binaries share.

#![allow(dead_code, reason = "no binary uses all of this")]

pub(crate) mod alone;
pub(crate) mod hpack;
pub(crate) mod http2;
pub(crate) mod http2_exchange;
pub(crate) mod ports;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use ringd::driver::{DriverKind, DriverSelection};
use ringd::server::{ServerSettings, ServerTimeouts};

/// The longest that anything that must happen may take.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(20);

/// Whether a driver works on this machine; prints the reason if not.
pub(crate) fn runs_here(kind: DriverKind) -> bool {
    match DriverSelection::make(Some(kind)) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: the driver {kind} does not work here: {error}");
            false
        }
    }
}

/// Runs a test on every driver that works on this machine.
pub(crate) fn on_every_driver(test: impl Fn(DriverKind)) {
    for kind in DriverKind::ALL.into_iter().filter(|kind| runs_here(*kind)) {
        println!("on {kind}");
        test(kind);
    }
}

/// Waits until `holds` returns true; fails with `what` if that takes too long.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_some(what, || if holds() { Ok(()) } else { Err(()) });
}

/// Waits until `found` returns a value; fails with `what` and the last error if that takes too
/// long.
pub(crate) fn eventually_some<T, E: Debug>(
    what: &str,
    mut found: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        // Before the attempt: a machine that stalls after it has another attempt.
        let is_last = Instant::now() >= deadline;
        match found() {
            Ok(value) => return value,
            Err(error) => assert!(!is_last, "{what}: {error:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server on a free port, with one worker and with timeouts longer than any test.
pub(crate) fn settings() -> ServerSettings {
    let long = Duration::from_secs(60);
    ServerSettings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        workers: 1,
        timeouts: ServerTimeouts {
            header: long,
            idle: long,
            send: long,
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(5),
        },
        ..ServerSettings::default()
    }
}
