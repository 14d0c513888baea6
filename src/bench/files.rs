//! The files that the client requests: one of each size, with random content.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use tempfile::TempDir;

/// Bytes per write.
const PIECE: usize = 64 * 1024;

/// The directory with the files; a temporary one is deleted with its value.
#[derive(Debug)]
pub(super) enum BenchFiles {
    Kept(PathBuf),
    Temporary(TempDir),
}

/// Why the files cannot be created.
#[derive(Debug)]
pub enum FilesError {
    /// The directory cannot be created.
    Directory(PathBuf, io::Error),
    /// A file cannot be written.
    File(PathBuf, io::Error),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, path, error) = match self {
            Self::Directory(path, error) => ("create a directory for the files:", path, error),
            Self::File(path, error) => ("write", path, error),
        };
        let path = path.display();
        write!(f, "cannot {verb} {path}: {error}; name another directory with --files")
    }
}

impl BenchFiles {
    /// Creates a file of each size, in `folder` or in a temporary directory. A file that already
    /// has the right length is kept.
    ///
    /// # Errors
    ///
    /// When the directory or a file cannot be written.
    pub(super) fn make(folder: Option<&Path>, sizes: &[u64]) -> Result<Self, FilesError> {
        let files = match folder {
            Some(folder) => fs::create_dir_all(folder).map(|()| Self::Kept(folder.to_owned())),
            None => tempfile::Builder::new().prefix("ringd-bench-").tempdir().map(Self::Temporary),
        };
        let files = files.map_err(|error| {
            FilesError::Directory(folder.map_or_else(std::env::temp_dir, Path::to_owned), error)
        })?;
        for size in sizes {
            let path = files.path().join(Self::name(*size));
            fill(&path, *size).map_err(|error| FilesError::File(path, error))?;
        }
        Ok(files)
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// The name of the file of this size.
    pub(super) fn name(bytes: u64) -> String {
        format!("{bytes}.bin")
    }
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() == bytes) {
        return Ok(());
    }
    let mut file = File::create(path)?;
    let mut random = Rng::with_seed(bytes);
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        random.fill(&mut piece);
        let count = left.min(PIECE as u64);
        file.write_all(&piece[..count as usize])?;
        left -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_have_their_size_and_are_deleted() {
        let files = BenchFiles::make(None, &[0, 1, 100_000]).unwrap();
        let path = files.path().to_owned();
        for size in [0, 1, 100_000] {
            assert_eq!(fs::metadata(path.join(BenchFiles::name(size))).unwrap().len(), size);
        }
        drop(files);
        assert!(!path.exists());
    }

    #[test]
    fn a_named_directory_and_files_of_the_right_length_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a/b");
        drop(BenchFiles::make(Some(&place), &[3]).unwrap());
        fs::write(place.join("3.bin"), "abc").unwrap();
        fs::write(place.join("4.bin"), "not four").unwrap();
        drop(BenchFiles::make(Some(&place), &[3, 4]).unwrap());
        assert_eq!(fs::read(place.join("3.bin")).unwrap(), b"abc");
        assert_eq!(fs::read(place.join("4.bin")).unwrap().len(), 4);
        let error = BenchFiles::make(Some(&place.join("3.bin/x")), &[3]).unwrap_err().to_string();
        assert!(error.contains("3.bin/x") && error.contains("--files"), "{error}");
    }
}
