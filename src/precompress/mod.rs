//! `ringd precompress`: writes compressed files beside the plain files of a site.
//!
//! A run has two parts. The walk lists the directories, compares each file with the compressed
//! files beside it, and makes a list of tasks: one for each file and coding. Threads then take the
//! tasks, the largest file first.
//!
//! **A server never sees a part of a file.** The bytes go to a temporary file in the same
//! directory, which has a hidden name. It gets the owner, the mode and the times of the plain file,
//! is written to the disk, and is renamed. A run that is killed leaves temporary files at worst;
//! the next one removes them. If the plain file has changed since it was opened, nothing is
//! installed.
//!
//! **Nothing outside of the directory is touched.** Directories are opened by `openat2(2)`, which
//! follows no symbolic link, and files with `O_NOFOLLOW`, relative to them. A link or a directory
//! that has the name of a compressed file is left as it is.
//!
//! Memory is bounded: files are streamed, a thread works at one file, and the numbers of tasks, of
//! names in a directory and of problems have limits.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | the settings of a run |
//! | `filter.rs` | which files are compressed |
//! | `tree.rs` | directories and files, opened without following links |
//! | `walk.rs` | finds the tasks |
//! | `state.rs` | whether a compressed file is current, and whether it is ours |
//! | `encode.rs`, `decode.rs` | the codings |
//! | `temporary.rs` | a file that is installed by a rename |
//! | `task.rs` | performs a task |
//! | `run.rs` | the threads |
//! | `report.rs` | the report, whose fields are those of `--json` |
//! | `error.rs` | why there is no report |

mod decode;
mod encode;
mod error;
mod filter;
mod report;
mod run;
mod settings;
mod state;
mod task;
mod temporary;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

pub use error::PrecompressError;
pub use filter::{FileFilter, FilterError};
pub use report::{CodingTotals, PrecompressReport, SidecarFault, SidecarProblem};
pub use run::{PrecompressProgress, precompress};
pub use settings::{CompressionLevel, PrecompressMode, PrecompressSettings};
