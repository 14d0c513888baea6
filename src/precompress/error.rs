//! Why a run ends without a report.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a run ends without a report.
#[derive(Debug)]
pub enum PrecompressError {
    /// The root cannot be opened.
    Root(PathBuf, io::Error),
    /// There are more tasks than the limit.
    TooMany {
        /// The limit.
        tasks_max: usize,
    },
    /// Nothing can be written to this file system.
    FileSystem(PathBuf, io::Error),
}

impl fmt::Display for PrecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root, error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "name the directory of the site",
                    io::ErrorKind::NotADirectory => "name the directory that the file is in",
                    io::ErrorKind::PermissionDenied => {
                        "run ringd as a user who may read and write it"
                    }
                    io::ErrorKind::Unsupported => "openat2(2) is needed, which Linux 5.6 has",
                    _ => "check the directory",
                };
                write!(f, "cannot open {}: {error}; {remedy}", root.display())
            }
            Self::TooMany { tasks_max } => write!(
                f,
                "there are more than {tasks_max} files to compress; do it for one subdirectory \
                 after the other"
            ),
            Self::FileSystem(path, error) => write!(
                f,
                "cannot write beside {}: {error}; what is done is kept: make room, or make the \
                 file system writable, and run it again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for PrecompressError {}
