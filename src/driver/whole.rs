//! Reading all of a file. It may wait for a disk, so it is for jobs.

use std::io;

use super::File;

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 128 * 1024;

impl File {
    /// Gives the content to `take`, piece by piece, at most as much as the file had when it was
    /// opened. Returns whether that is all of it and the file has not changed since then, as far as
    /// its metadata tell.
    ///
    /// # Errors
    ///
    /// Those of `pread(2)` and `fstat(2)`.
    pub fn read_through(&self, mut take: impl FnMut(&[u8])) -> io::Result<bool> {
        let (len, mut offset) = (self.metadata().len, 0);
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(len).unwrap_or(PIECE_BYTES))];
        while offset < len {
            let wanted = usize::try_from(len - offset).unwrap_or(usize::MAX).min(piece.len());
            match self.read_at(&mut piece[..wanted], offset) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    take(&piece[..count]);
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.is_unchanged()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use crate::driver::Links;

    #[test]
    fn a_file_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for len in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7] {
            let content: Vec<u8> = (0..len).map(|at| ((at * 7) ^ (at >> 8)) as u8).collect();
            fs::write(&path, &content).unwrap();
            let mut read = Vec::new();
            let file = File::open_root(&path, Links::Beneath).unwrap();
            assert!(file.read_through(|piece| read.extend_from_slice(piece)).unwrap(), "{len}");
            assert!(read == content, "{len}");
        }
    }

    #[test]
    fn a_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let changes: [fn(&mut fs::File); 3] = [
            |file| file.set_len(5).unwrap(),
            |file| file.write_all(b"more").unwrap(),
            |file| file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap(),
        ];
        for change in changes {
            fs::write(&path, "0123456789").unwrap();
            let file = File::open_root(&path, Links::Beneath).unwrap();
            let mut writer = fs::File::options().append(true).open(&path).unwrap();
            let mut read = 0;
            change(&mut writer);
            assert!(!file.read_through(|piece| read += piece.len()).unwrap());
            assert!(read <= 10);
        }
    }
}
