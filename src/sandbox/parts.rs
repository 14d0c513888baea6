//! The parts of the sandbox, with their errors as texts.

use std::io;

use super::coverage::{Coverage, Rings};
use super::{SandboxNeeds, filter, landlock};

pub(super) use super::landlock::FileRules;

impl FileRules {
    /// The version of the interface of the kernel.
    pub(super) fn version(&self) -> u8 {
        self.version
    }

    /// What this version cannot do.
    pub(super) fn lack(&self) -> Option<String> {
        self.lacks.map(|lack| format!("landlock {} is old: {lack}", self.version))
    }
}

/// See [`filter::first`].
pub(super) fn first(coverage: Coverage, needs: &SandboxNeeds) -> Result<usize, String> {
    filter::first(coverage, needs).map_err(|error| error.to_string())
}

/// See [`filter::last`].
pub(super) fn last(coverage: Coverage, rings: Rings) -> Result<(), String> {
    filter::last(coverage, rings).map_err(|error| error.to_string())
}

/// See [`landlock::enter`].
pub(super) fn enter(needs: &SandboxNeeds, denies_connect: bool) -> Result<FileRules, String> {
    landlock::enter(needs, denies_connect)
}

/// See [`landlock::threads`].
pub(super) fn threads() -> io::Result<usize> {
    landlock::threads()
}

/// Loads a filter of system calls into this thread that denies nothing that is needed.
///
/// # Errors
///
/// Why it cannot be loaded.
pub fn attempt_filter() -> Result<(), String> {
    filter::attempt().map_err(|error| error.to_string())
}

/// Enters rules on files with this thread that forbid nothing that is needed. Returns the version
/// of the interface.
///
/// # Errors
///
/// Why there are none.
pub fn attempt_files() -> Result<u8, String> {
    landlock::attempt()
}
