//! Files in memory whose content never changes.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::{SealFlags, fcntl_add_seals};

use super::file::File;
use super::sys;

impl File {
    /// A file in memory with this content (`memfd_create(2)`). It is sealed: nobody can write to
    /// it, and its length stays.
    ///
    /// # Errors
    ///
    /// Those of `memfd_create(2)`, `write(2)` and `fcntl(2)`, such as a lack of memory or of
    /// descriptors.
    pub(crate) fn in_memory(content: &[u8]) -> io::Result<Self> {
        let mut file = fs::File::from(sys::memory_file()?);
        file.write_all(content)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(file.as_fd(), seals)?;
        Self::new(file.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::os::fd::AsRawFd;

    #[test]
    fn nobody_changes_a_file_in_memory() {
        let file = File::in_memory(b"content").unwrap();
        assert_eq!(file.metadata().len, 7);
        let mut read = [0; 10];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 7);
        assert_eq!(&read[..7], b"content");
        let path = format!("/proc/self/fd/{}", file.as_file().as_raw_fd());
        let again = fs::OpenOptions::new().write(true).open(path);
        let Ok(mut again) = again else { return };
        assert!(again.write_all(b"x").is_err() && again.set_len(3).is_err());
        assert!(again.set_len(30).is_err());
    }

    #[test]
    fn nobody_executes_a_file_in_memory() {
        use std::os::unix::fs::PermissionsExt;
        let flags = MemfdFlags::NOEXEC_SEAL | MemfdFlags::ALLOW_SEALING;
        if memfd_create(c"test", flags).is_err() {
            // The kernel is older than 6.3.
            return;
        }
        let file = File::in_memory(b"content").unwrap();
        assert_eq!(file.as_file().metadata().unwrap().permissions().mode() & 0o111, 0);
    }
}
