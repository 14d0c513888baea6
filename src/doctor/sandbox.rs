//! The checks of what `--sandbox` takes.

use std::thread;

use super::report::{Area, Check, CheckStatus};
use crate::sandbox::{attempt_files, attempt_filter};

/// What the kernel has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SandboxFacts {
    /// The version of landlock, or why there is none.
    pub(super) files: Result<u8, String>,
    /// Why no filter of system calls can be loaded.
    pub(super) filter: Result<(), String>,
}

/// The version of landlock that has all that `--sandbox` uses.
const COMPLETE: u8 = 6;

impl SandboxFacts {
    /// Tries both. What is tried holds for a thread, so each has its own, which ends.
    pub(super) fn gather() -> Self {
        Self { files: on_a_thread(attempt_files), filter: on_a_thread(attempt_filter) }
    }
}

fn on_a_thread<T: Send + 'static>(attempt: fn() -> Result<T, String>) -> Result<T, String> {
    let thread = thread::Builder::new().name("trial".into()).spawn(attempt);
    let thread = thread.map_err(|error| format!("cannot start a thread: {error}"))?;
    thread.join().unwrap_or_else(|_| Err("the trial panicked".to_owned()))
}

/// All checks of the sandbox. None is more than a note, since every server runs without it.
pub(super) fn checks(facts: &SandboxFacts) -> Vec<Check> {
    let check = |id: &str, title, found: String| {
        Check::ok(Area::Sandbox, format!("sandbox.{id}"), title, found)
    };
    let files = |found| check("landlock", "landlock (files and ports)", found);
    let filter = |found| check("seccomp", "seccomp (system calls)", found);
    let without = |cause: &str| format!("{cause}; --sandbox require does not start, auto does");
    vec![
        match &facts.files {
            Ok(version @ COMPLETE..) => files(format!("version {version}")),
            Ok(version) => {
                let cause = without("it is complete in version 6 (Linux 6.12)");
                files(format!("version {version}")).but(CheckStatus::Note, cause, Vec::new())
            }
            Err(error) => {
                let cause = without("files and ports cannot be restricted");
                files(error.clone()).but(CheckStatus::Note, cause, Vec::new())
            }
        },
        match &facts.filter {
            Ok(()) => filter("works".to_owned()),
            Err(error) => {
                let cause = without("system calls cannot be restricted");
                filter(error.clone()).but(CheckStatus::Note, cause, Vec::new())
            }
        },
    ]
}
