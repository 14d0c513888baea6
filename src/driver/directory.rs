//! Directories: their entries, and the metadata of files beneath them.
//!
//! Both may wait for a disk, so they are for jobs and tests, never for the loop.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, makedev, openat, statx,
};
use rustix::io::{Errno, retry_on_intr as retry};

use super::disk::OPEN_ATTEMPTS;
use super::file::FileContent;
use super::{Entries, Entry, EntryKind, File, FileKind, Links, Metadata, sys};

/// Bytes of entries that one `getdents64(2)` asks for. A kernel without preemption holds the CPU
/// for the whole call, which delays a loop that is woken meanwhile: by 30 us for 4 KiB and by 250
/// us for 32 KiB, on ext4. Reading all of a large directory takes the same time either way.
const BUFFER_BYTES: usize = 4 * 1024;

impl File {
    /// Reads this directory from its beginning, at most `limit` entries. It opens the directory
    /// again, so other readers of the same descriptor keep their position.
    ///
    /// # Errors
    ///
    /// `ENOTDIR` if this is not a directory, `ENOENT` if it was removed, `EACCES`, and errors of
    /// the disk (`getdents(2)`, `openat(2)`).
    pub fn entries(&self, limit: usize) -> io::Result<Entries> {
        match self.content() {
            FileContent::Kernel(directory) => read(directory.as_fd(), limit),
            #[cfg(any(test, feature = "simulation"))]
            FileContent::Simulated(file) => file.entries(limit),
        }
    }

    /// The [`Metadata`] that a file beneath this directory would have if it were opened. Links are
    /// followed as in an open, according to the [`Links`] of this directory. Needs no permission on
    /// the file itself, and does not wait for the other end of a FIFO.
    ///
    /// # Errors
    ///
    /// Those of `openat2(2)` with `O_PATH`: `EXDEV` for a path that leaves the directory, `ELOOP`
    /// for links that must not be followed or form a loop, `ENOENT`, `ENOTDIR`, `EACCES`.
    pub fn describe(&self, path: &CStr) -> io::Result<Metadata> {
        match self.content() {
            FileContent::Kernel(directory) => describe(directory.as_fd(), path, self.links()),
            #[cfg(any(test, feature = "simulation"))]
            FileContent::Simulated(file) => file.describe(path.to_bytes(), self.links()),
        }
    }
}

fn read(directory: BorrowedFd<'_>, limit: usize) -> io::Result<Entries> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let anew = retry(|| openat(directory, c".", flags, Mode::empty()))?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut reader = RawDir::new(anew, buffer.spare_capacity_mut());
    let mut found = Entries::default();
    while let Some(entry) = reader.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if found.entries.len() == limit {
            found.more = true;
            break;
        }
        let kind = match entry.file_type() {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Link,
            FileType::Unknown => EntryKind::Unknown,
            _ => EntryKind::Other,
        };
        found.entries.push(Entry { name: name.to_vec(), kind });
    }
    Ok(found)
}

fn describe(root: BorrowedFd<'_>, path: &CStr, links: Links) -> io::Result<Metadata> {
    // A plain name does not leave the directory, unless it is a link, so one call is enough.
    if is_plain_name(path) {
        let metadata = stat(root, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)?;
        if let Some(metadata) = metadata {
            return Ok(metadata);
        }
    }
    let found = find(root, path, links)?;
    let metadata = stat(found.as_fd(), c"", AtFlags::EMPTY_PATH)?;
    metadata.ok_or_else(|| Errno::LOOP.into())
}

/// Whether a path is a single name in the directory itself.
fn is_plain_name(path: &CStr) -> bool {
    let path = path.to_bytes();
    !path.is_empty() && !path.contains(&b'/') && !matches!(path, b"." | b"..")
}

/// Opens only the location of a file (`O_PATH`).
fn find(root: BorrowedFd<'_>, path: &CStr, links: Links) -> io::Result<OwnedFd> {
    let mut attempt = 1;
    loop {
        match sys::open_path(root, path, links) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && attempt < OPEN_ATTEMPTS => {
                attempt += 1;
            }
            found => return found,
        }
    }
}

/// The metadata of a file; `None` for a link.
fn stat(root: BorrowedFd<'_>, path: &CStr, flags: AtFlags) -> io::Result<Option<Metadata>> {
    let found = retry(|| statx(root, path, flags, StatxFlags::BASIC_STATS))?;
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::Symlink => return Ok(None),
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    };
    Ok(Some(metadata(&found, kind)))
}

fn metadata(found: &Statx, kind: FileKind) -> Metadata {
    Metadata {
        kind,
        len: found.stx_size,
        modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        inode: found.stx_ino,
        device: makedev(found.stx_dev_major, found.stx_dev_minor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    fn open(path: &Path) -> File {
        File::open_root(path, Links::Beneath).unwrap()
    }

    fn names(found: &Entries) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = found.entries.iter().map(|entry| entry.name.clone()).collect();
        names.sort();
        names
    }

    fn make_fifo(path: &Path) {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0).unwrap();
    }

    fn code(result: io::Result<Metadata>) -> i32 {
        result.unwrap_err().raw_os_error().unwrap()
    }

    #[test]
    fn every_kind_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a file"), "x").unwrap();
        fs::create_dir(path("directory")).unwrap();
        symlink("a file", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        make_fifo(&path("fifo"));
        let _socket = UnixListener::bind(path("socket")).unwrap();
        let mut found = open(folder.path()).entries(100).unwrap();
        assert!(!found.more);
        found.entries.sort();
        let found: Vec<_> =
            found.entries.iter().map(|entry| (&entry.name[..], entry.kind)).collect();
        let expected: [(&[u8], _); 6] = [
            (b"a file", EntryKind::File),
            (b"dangling", EntryKind::Link),
            (b"directory", EntryKind::Directory),
            (b"fifo", EntryKind::Other),
            (b"link", EntryKind::Link),
            (b"socket", EntryKind::Other),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let count = 3000;
        for number in 0..count {
            fs::write(folder.path().join(format!("a longer name for the file {number}")), "")
                .unwrap();
        }
        let directory = open(folder.path());
        let cases =
            [(0, 0, true), (1, 1, true), (count - 1, count - 1, true), (count, count, false)];
        for (limit, len, more) in cases {
            let found = directory.entries(limit).unwrap();
            assert_eq!((found.entries.len(), found.more), (len, more), "{limit}");
        }
        // Each call starts at the beginning, even after one that stopped in the middle.
        let all = names(&directory.entries(usize::MAX).unwrap());
        assert_eq!(all.len(), count);
        assert_eq!(names(&directory.entries(usize::MAX).unwrap()), all);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(open(empty.path()).entries(0).unwrap(), Entries::default());
    }

    #[test]
    fn the_offset_of_the_open_directory_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("page"), "").unwrap();
        let directory = open(folder.path());
        let offset = || rustix::fs::tell(&directory).unwrap();
        let before = offset();
        directory.entries(10).unwrap();
        assert_eq!(offset(), before);
    }

    #[test]
    fn names_are_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let longest = [b'x'; 255];
        let expected: [&[u8]; 5] = [b"\x01\n", b"...", b"\xc3\x28", b"\xff\xfe", &longest];
        for name in expected {
            fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), "four").unwrap();
        }
        let directory = open(folder.path());
        let mut expected: Vec<_> = expected.iter().map(|name| name.to_vec()).collect();
        expected.sort();
        assert_eq!(names(&directory.entries(5).unwrap()), expected);
        for name in expected {
            let name = std::ffi::CString::new(name).unwrap();
            assert_eq!(directory.describe(&name).unwrap().len, 4, "{name:?}");
        }
    }

    #[test]
    fn a_directory_that_was_removed_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner");
        fs::create_dir(&path).unwrap();
        let directory = open(&path);
        assert_eq!(directory.entries(1).unwrap(), Entries::default());
        fs::remove_dir(&path).unwrap();
        let error = directory.entries(1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert_eq!(code(directory.describe(c"page")), libc::ENOENT);
    }

    #[test]
    fn only_a_directory_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = open(file.path());
        assert_eq!(file.entries(1).unwrap_err().raw_os_error(), Some(libc::ENOTDIR));
        assert_eq!(code(file.describe(c"page")), libc::ENOTDIR);
    }

    #[test]
    fn a_description_equals_the_metadata_of_an_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("inner")).unwrap();
        fs::write(path("inner/page"), "some bytes").unwrap();
        symlink("inner/page", path("link")).unwrap();
        symlink("inner", path("to the inner")).unwrap();
        let root = open(folder.path());
        let paths = [
            c"inner",
            c"inner/",
            c"inner/page",
            c"link",
            c"to the inner",
            c"to the inner/page",
            c".",
        ];
        for path in paths {
            let opened = File::open_beneath(&root, path).unwrap();
            assert_eq!(root.describe(path).unwrap(), *opened.metadata(), "{path:?}");
        }
        assert_eq!(code(root.describe(c"missing")), libc::ENOENT);
        assert_eq!(code(root.describe(c"")), libc::ENOENT);
        assert_eq!(code(root.describe(c"inner/page/x")), libc::ENOTDIR);
        assert_eq!(code(root.describe(c"inner/page/")), libc::ENOTDIR);
        for escape in [c"..", c"../", c"/etc", c"inner/../.."] {
            assert_eq!(code(root.describe(escape)), libc::EXDEV, "{escape:?}");
        }
    }

    /// A description needs neither read permission nor the other end of a FIFO.
    #[test]
    fn describing_neither_reads_nor_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        make_fifo(&path("fifo"));
        symlink("fifo", path("link to the fifo")).unwrap();
        fs::write(path("closed"), "secret").unwrap();
        fs::set_permissions(path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        symlink("closed", path("link")).unwrap();
        let root = open(folder.path());
        for name in [c"fifo", c"link to the fifo", c"./fifo"] {
            assert_eq!(root.describe(name).unwrap().kind, FileKind::Other, "{name:?}");
        }
        for name in [c"closed", c"link"] {
            assert_eq!(root.describe(name).unwrap().len, 6, "{name:?}");
        }
    }

    /// A description resolves a path as an open does, for every kind of `Links`.
    #[test]
    fn describing_follows_the_links_that_an_open_follows() {
        let outside = tempfile::tempdir().unwrap();
        let path = |name: &str| outside.path().join("root").join(name);
        fs::create_dir_all(path("inner")).unwrap();
        fs::write(path("page"), "some bytes").unwrap();
        fs::write(path("inner/page"), "others").unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink("page", path("beneath")).unwrap();
        symlink(path("page"), path("absolute")).unwrap();
        symlink("../secret", path("up")).unwrap();
        symlink("inner", path("way")).unwrap();
        symlink("/proc/self/exe", path("magic")).unwrap();
        symlink("circle", path("circle")).unwrap();
        let paths =
            [c"page", c"beneath", c"absolute", c"up", c"way", c"way/page", c"magic", c"circle"];
        for links in [Links::Beneath, Links::Never, Links::Follow] {
            let root = File::open_root(&path("."), links).unwrap();
            for path in paths {
                let opened = File::open_beneath(&root, path);
                let described = root.describe(path);
                match (opened, described) {
                    (Ok(file), described) => assert_eq!(described.unwrap(), *file.metadata()),
                    (Err(error), described) => {
                        assert_eq!(Some(code(described)), error.raw_os_error(), "{path:?}");
                    }
                }
            }
        }
    }
}
