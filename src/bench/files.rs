//! The files that are asked for: one of each size, of bytes that do not compress.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use tempfile::TempDir;

/// Bytes that are written at a time.
const PIECE: usize = 64 * 1024;

/// A folder with files; one that was made for the run goes away with it.
#[derive(Debug)]
pub(super) enum Files {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Files {
    /// Makes a file of each size, in this folder or in one of its own. A file that has its length
    /// already is left as it is.
    ///
    /// # Errors
    ///
    /// In words, when it cannot be written.
    pub(super) fn make(folder: Option<&Path>, sizes: &[u64]) -> Result<Self, String> {
        let files = match folder {
            Some(folder) => fs::create_dir_all(folder).map(|()| Self::Kept(folder.to_owned())),
            None => tempfile::Builder::new().prefix("ringd-bench-").tempdir().map(Self::Temporary),
        };
        let files = files.map_err(|error| {
            let place = folder.map_or_else(std::env::temp_dir, Path::to_owned);
            format!("no folder for the files, {}: {error}; name one with --files", place.display())
        })?;
        for size in sizes {
            let path = files.path().join(Self::name(*size));
            fill(&path, *size).map_err(|error| {
                format!("cannot write {}: {error}; name a folder with --files", path.display())
            })?;
        }
        Ok(files)
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// What the file of this size is called.
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
    fn files_have_their_size_and_go_away() {
        let files = Files::make(None, &[0, 1, 100_000]).unwrap();
        let path = files.path().to_owned();
        for size in [0, 1, 100_000] {
            assert_eq!(fs::metadata(path.join(Files::name(size))).unwrap().len(), size);
        }
        drop(files);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_was_named_stays_with_what_fits() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a/b");
        drop(Files::make(Some(&place), &[3]).unwrap());
        fs::write(place.join("3.bin"), "abc").unwrap();
        fs::write(place.join("4.bin"), "not four").unwrap();
        drop(Files::make(Some(&place), &[3, 4]).unwrap());
        assert_eq!(fs::read(place.join("3.bin")).unwrap(), b"abc");
        assert_eq!(fs::read(place.join("4.bin")).unwrap().len(), 4);
        let error = Files::make(Some(&place.join("3.bin/x")), &[3]).unwrap_err();
        assert!(error.contains("3.bin/x") && error.contains("--files"), "{error}");
    }
}
