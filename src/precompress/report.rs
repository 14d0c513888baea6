//! The report of a run. Its fields are those of `--json`.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::settings::{PrecompressMode, PrecompressSettings};
use crate::http::semantics::negotiate::Coding;

/// How many problems and paths are kept; the others are counted.
const PROBLEMS_MAX: usize = 1000;
const PATHS_MAX: usize = 1_000_000;

/// The report of a run.
#[derive(Clone, Debug, Serialize)]
pub struct PrecompressReport {
    /// `write`, `check` or `dry-run`.
    pub mode: &'static str,
    /// How many files are of a kind and size that is compressed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of these sizes were left alone: they are smaller or larger than the limits.
    pub other_sizes: u64,
    /// A line for each coding.
    pub codings: Vec<CodingTotals>,
    /// Of a dry run: the compressed files that would be written, relative to the root.
    pub planned: Vec<String>,
    /// Compressed files that were removed; of a dry run, that would be.
    pub removed: Vec<String>,
    /// Temporary files of runs that were killed, which were removed.
    pub left_over: u64,
    /// What is wrong; at most 1000.
    pub problems: Vec<SidecarProblem>,
    /// How many problems there are, without those that are notes.
    pub failures: u64,
    /// Whether the run ended before it was done.
    pub interrupted: bool,
    /// How long it took.
    pub seconds: f64,
}

/// What a run found and did in one coding.
#[derive(Clone, Debug, Serialize)]
pub struct CodingTotals {
    /// The name of the coding.
    pub coding: &'static str,
    /// Compressed files that were written.
    pub written: u64,
    /// Compressed files that were current, or valid in a check.
    pub current: u64,
    /// Files that have no compressed one because it would not be smaller, or hardly.
    pub not_worth_it: u64,
    /// Bytes of the plain files that have a compressed one.
    pub plain_bytes: u64,
    /// Bytes of these compressed files.
    pub coded_bytes: u64,
}

/// Something that is wrong with a file, or to note of it.
#[derive(Clone, Debug, Serialize)]
pub struct SidecarProblem {
    /// The file, relative to the root.
    pub path: String,
    /// What is wrong.
    pub fault: SidecarFault,
    /// What the kernel says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What may be wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SidecarFault {
    /// It cannot be read.
    Unreadable,
    /// It is a compressed file, and cannot be read.
    UnreadableSidecar,
    /// It cannot be written.
    Unwritable,
    /// It has changed while it was read.
    Changed,
    /// The name of the compressed file is that of a link, a directory or a device. This is a note.
    Occupied,
    /// It may be a download as well as a compressed file without its plain file. This is a note.
    MaybeDownload,
    /// There is no compressed file, although it would be worth it.
    Missing,
    /// It is older than the plain file, so the server ignores it.
    Stale,
    /// It does not decode to the plain file.
    Different,
    /// It is not smaller than the plain file.
    NotSmaller,
    /// Clients need not provide the memory to decode it.
    LargeWindow,
}

impl SidecarFault {
    /// Whether nothing has failed.
    #[must_use]
    pub fn is_note(self) -> bool {
        matches!(self, Self::Occupied | Self::MaybeDownload)
    }

    /// Whether it is about the plain file.
    pub(super) fn is_of_plain_file(self) -> bool {
        matches!(self, Self::Unreadable | Self::Changed)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Unreadable => "it cannot be read; allow it, or leave it out with --exclude",
            Self::UnreadableSidecar => "it cannot be read; allow it to this user",
            Self::Unwritable => "it cannot be written; run ringd as a user who may write there",
            Self::Changed => "it changed while it was read; run ringd again when it is complete",
            Self::Occupied => "it is not a regular file, and was left as it is",
            Self::MaybeDownload => {
                "it has no plain file, but may be a download, and was left as it is"
            }
            Self::Missing => "it is missing; run ringd precompress",
            Self::Stale => "it is older than the plain file; run ringd precompress",
            Self::Different => {
                "it does not decode to the plain file; run ringd precompress --force"
            }
            Self::NotSmaller => {
                "it is not smaller than the plain file; run ringd precompress --prune"
            }
            Self::LargeWindow => {
                "its window is larger than clients have to take; run ringd precompress --force"
            }
        }
    }
}

impl fmt::Display for SidecarProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, text) = (&self.path, self.fault.text());
        match &*self.detail {
            "" => write!(f, "{path}: {text}"),
            detail => write!(f, "{path}: {text} ({detail})"),
        }
    }
}

impl PrecompressReport {
    pub(super) fn new(settings: &PrecompressSettings) -> Self {
        let mode = match settings.mode {
            PrecompressMode::Write => "write",
            PrecompressMode::Check => "check",
            PrecompressMode::DryRun => "dry-run",
        };
        let totals = |coding: Coding| CodingTotals {
            coding: coding.name(),
            written: 0,
            current: 0,
            not_worth_it: 0,
            plain_bytes: 0,
            coded_bytes: 0,
        };
        Self {
            mode,
            files: 0,
            bytes: 0,
            other_sizes: 0,
            codings: settings.codings.iter().map(totals).collect(),
            planned: Vec::new(),
            removed: Vec::new(),
            left_over: 0,
            problems: Vec::new(),
            failures: 0,
            interrupted: false,
            seconds: 0.0,
        }
    }

    pub(super) fn totals(&mut self, coding: Coding) -> Option<&mut CodingTotals> {
        self.codings.iter_mut().find(|totals| totals.coding == coding.name())
    }

    pub(super) fn add_problem(&mut self, path: &Path, fault: SidecarFault, detail: String) {
        self.failures += u64::from(!fault.is_note());
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(SidecarProblem { path: shown(path), fault, detail });
        }
    }

    pub(super) fn add_planned(&mut self, path: &Path) {
        if self.planned.len() < PATHS_MAX {
            self.planned.push(shown(path));
        }
    }

    pub(super) fn add_removed(&mut self, path: &Path) {
        if self.removed.len() < PATHS_MAX {
            self.removed.push(shown(path));
        }
    }
}

impl CodingTotals {
    pub(super) fn add(&mut self, plain_bytes: u64, coded_bytes: u64) {
        self.plain_bytes += plain_bytes;
        self.coded_bytes += coded_bytes;
    }
}

/// A path as text, without characters that control a terminal.
fn shown(path: &Path) -> String {
    path.to_string_lossy().replace(char::is_control, "\u{fffd}")
}
