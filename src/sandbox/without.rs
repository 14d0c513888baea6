//! Stands for the parts of the sandbox in a build without them.

use std::io;
use std::path::Path;

use super::SandboxNeeds;
use super::coverage::{Coverage, Rings};

/// Why there is nothing.
const NOT_BUILT: &str = "this build has none; build ringd with the feature `sandbox`";

/// Never made.
#[derive(Debug)]
pub(super) enum FileRules {}

impl FileRules {
    pub(super) fn version(&self) -> u8 {
        match *self {}
    }

    pub(super) fn lack(&self) -> Option<String> {
        match *self {}
    }

    pub(super) fn may_read(&self, _: &Path) -> bool {
        match *self {}
    }

    pub(super) fn may_write(&self, _: &Path) -> bool {
        match *self {}
    }

    pub(super) fn may_listen(&self, _: &Path) -> bool {
        match *self {}
    }

    pub(super) fn may_bind(&self, _: u16) -> bool {
        match *self {}
    }
}

pub(super) fn first(_: Coverage, _: &SandboxNeeds) -> Result<usize, String> {
    Err(NOT_BUILT.to_owned())
}

pub(super) fn last(_: Coverage, _: Rings) -> Result<(), String> {
    Err(NOT_BUILT.to_owned())
}

pub(super) fn enter(_: &SandboxNeeds, _: bool) -> Result<FileRules, String> {
    Err(NOT_BUILT.to_owned())
}

pub(super) fn threads() -> io::Result<usize> {
    Ok(1)
}

/// There is no filter in this build.
///
/// # Errors
///
/// Always.
pub fn attempt_filter() -> Result<(), String> {
    Err(NOT_BUILT.to_owned())
}

/// There are no rules in this build.
///
/// # Errors
///
/// Always.
pub fn attempt_files() -> Result<u8, String> {
    Err(NOT_BUILT.to_owned())
}
