//! Tests that need a process of their own, because a limit on the process decides their outcome.

use std::process::Command;

use ringd::driver::DriverKind;

/// Set in the child process of [`alone`].
const CHILD: &str = "RINGD_TEST_ALONE";

/// Runs this test again, alone in a child process, and there calls `test`.
pub(crate) fn alone(test: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        return test();
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--test-threads", "1", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&child.stdout);
    let stderr = String::from_utf8_lossy(&child.stderr);
    let passed = child.status.success() && stdout.contains("1 passed");
    assert!(passed, "{name} failed alone: {}\n{stdout}\n{stderr}", child.status);
}

/// Runs a test of a driver: alone, if the driver cannot use every descriptor of the process.
/// `select(2)` takes no descriptor above 1023, and tests that run in parallel may have more open.
pub(crate) fn with_descriptors(kind: DriverKind, test: impl FnOnce()) {
    if kind.descriptors_max().is_some() { alone(test) } else { test() }
}
