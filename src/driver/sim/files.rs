//! Files in memory: a flat table of names, each with sparse content.
//!
//! A directory is there because a name beneath it is, as in an object store. There are no links,
//! so nothing leads out of the root but `..`, which is refused as `RESOLVE_BENEATH` would.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::driver::{File, FileKind, Metadata};

/// The files of a simulated machine; clones are handles to the same ones.
#[derive(Clone, Debug)]
pub struct Files {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Files that are open.
    open: AtomicU64,
}

#[derive(Debug)]
struct State {
    names: BTreeMap<Vec<u8>, Arc<Node>>,
    inodes: u64,
    /// Since the epoch: what files are stamped with.
    time: Duration,
}

/// What an inode is: it lives as long as a name or an open file refers to it.
#[derive(Debug)]
struct Node {
    inode: u64,
    kind: FileKind,
    content: Mutex<Content>,
}

/// Bytes at offsets; zeros between them.
#[derive(Debug, Default)]
struct Content {
    len: u64,
    extents: BTreeMap<u64, Vec<u8>>,
    modified: Duration,
}

/// An inode that is open.
pub(in crate::driver) struct OpenNode {
    node: Arc<Node>,
    shared: Arc<Shared>,
}

impl fmt::Debug for OpenNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenNode({})", self.node.inode)
    }
}

impl Drop for OpenNode {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A lock is never held while something can panic that is not a bug of the simulator itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Default for Files {
    fn default() -> Self {
        let state = State { names: BTreeMap::new(), inodes: 1, time: Duration::ZERO };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), open: AtomicU64::new(0) }) }
    }
}

impl Files {
    /// Sets the time that changes are stamped with from now on, since the epoch.
    pub fn set_time(&self, time: Duration) {
        lock(&self.shared.state).time = time;
    }

    /// Writes a file anew, in place if the name is taken: its inode stays.
    pub fn write(&self, name: impl AsRef<[u8]>, bytes: &[u8]) {
        let mut state = lock(&self.shared.state);
        let (node, time) = (state.node_of(name.as_ref()), state.time);
        let extents = BTreeMap::from([(0, bytes.to_vec())]);
        *lock(&node.content) = Content { len: bytes.len() as u64, extents, modified: time };
    }

    /// Writes at an offset, in bytes; what lies between the end and the offset is zeros. Writing
    /// over what was written at another offset is not supported.
    pub fn write_at(&self, name: impl AsRef<[u8]>, offset: u64, bytes: &[u8]) {
        let mut state = lock(&self.shared.state);
        let (node, time) = (state.node_of(name.as_ref()), state.time);
        let mut content = lock(&node.content);
        content.len = content.len.max(offset + bytes.len() as u64);
        content.extents.insert(offset, bytes.to_vec());
        content.modified = time;
    }

    /// Cuts a file, or extends it by zeros, to `len` bytes.
    pub fn truncate(&self, name: impl AsRef<[u8]>, len: u64) {
        let mut state = lock(&self.shared.state);
        let (node, time) = (state.node_of(name.as_ref()), state.time);
        let mut content = lock(&node.content);
        content.extents.split_off(&len);
        for (offset, bytes) in &mut content.extents {
            bytes.truncate((len - offset).try_into().unwrap_or(usize::MAX));
        }
        (content.len, content.modified) = (len, time);
    }

    /// Takes a name away. Who has the file open keeps it.
    pub fn remove(&self, name: impl AsRef<[u8]>) {
        lock(&self.shared.state).names.remove(name.as_ref());
    }

    /// Gives a file another name, in place of what had it.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let mut state = lock(&self.shared.state);
        if let Some(node) = state.names.remove(from.as_ref()) {
            state.names.insert(to.as_ref().to_vec(), node);
        }
    }

    /// The directory that all names are beneath.
    pub fn root(&self) -> Arc<File> {
        let root = Node { inode: 1, kind: FileKind::Directory, content: Mutex::default() };
        Arc::new(self.open_node(Arc::new(root)))
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When there is none under this name.
    pub fn open(&self, name: impl AsRef<[u8]>) -> io::Result<Arc<File>> {
        let name = name.as_ref();
        if name == b"." {
            return Ok(self.root());
        }
        if name.first() == Some(&b'/') || name.split(|byte| *byte == b'/').any(|part| part == b"..")
        {
            return Err(errno(libc::EXDEV));
        }
        let trimmed = name.strip_suffix(b"/").unwrap_or(name);
        let node = lock(&self.shared.state).find(trimmed)?;
        if trimmed.len() < name.len() && node.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        Ok(Arc::new(self.open_node(node)))
    }

    /// Files that are open at the moment, the root included.
    pub fn open_count(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    fn open_node(&self, node: Arc<Node>) -> File {
        let (len, time) = {
            let content = lock(&node.content);
            (content.len, (content.modified.as_secs() as i64, content.modified.subsec_nanos()))
        };
        let (kind, inode) = (node.kind, node.inode);
        let metadata = Metadata { kind, len, modified: time, changed: time, inode, device: 1 };
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        File::simulated(OpenNode { node, shared: Arc::clone(&self.shared) }, metadata)
    }
}

impl State {
    /// The file of that name, which is made if there is none.
    fn node_of(&mut self, name: &[u8]) -> Arc<Node> {
        let inodes = &mut self.inodes;
        let node = self.names.entry(name.to_vec()).or_insert_with(|| {
            *inodes += 1;
            let content = Mutex::default();
            Arc::new(Node { inode: *inodes, kind: FileKind::Regular, content })
        });
        Arc::clone(node)
    }

    fn find(&self, name: &[u8]) -> io::Result<Arc<Node>> {
        if let Some(node) = self.names.get(name) {
            return Ok(Arc::clone(node));
        }
        // Something beneath a file, or beneath a directory, makes the difference of the errors.
        let is_parent = |parent: &[u8], child: &[u8]| {
            child.strip_prefix(parent).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        if self.names.keys().any(|other| is_parent(name, other)) {
            let content = Mutex::default();
            return Ok(Arc::new(Node { inode: 1, kind: FileKind::Directory, content }));
        }
        let beneath_file = self.names.keys().any(|other| is_parent(other, name));
        Err(errno(if beneath_file { libc::ENOTDIR } else { libc::ENOENT }))
    }
}

impl OpenNode {
    /// Reads at an offset, in bytes; less than asked only at the end.
    pub(in crate::driver) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.node.kind == FileKind::Directory {
            return Err(errno(libc::EISDIR));
        }
        let content = lock(&self.node.content);
        let left = content.len.saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let (buffer, end) = (&mut buffer[..count], offset.saturating_add(count as u64));
        buffer.fill(0);
        for (start, bytes) in content.extents.range(..end) {
            let stop = start + bytes.len() as u64;
            if stop <= offset {
                continue;
            }
            let (from, to) = (offset.max(*start), end.min(stop));
            let source = &bytes[(from - start) as usize..(to - start) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
        Ok(count)
    }
}

/// Opens a path as [`Op::OpenFile`](crate::driver::Op::OpenFile) does.
pub(super) fn open_beneath(files: &Files, path: &CStr) -> io::Result<Arc<File>> {
    files.open(path.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &File, offset: u64, len: usize) -> Vec<u8> {
        let mut buffer = vec![0xee; len];
        let count = file.read_at(&mut buffer, offset).unwrap();
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn content_is_sparse() {
        let files = Files::default();
        files.write("a", b"head");
        files.write_at("a", 5 << 30, b"tail");
        let file = files.open("a").unwrap();
        assert_eq!(file.metadata().len, (5 << 30) + 4);
        assert_eq!(read(&file, 2, 4), b"ad\0\0");
        assert_eq!(read(&file, (5 << 30) - 1, 10), b"\0tail");
        files.truncate("a", 2);
        assert_eq!(read(&file, 0, 10), b"he");
        files.truncate("a", 4);
        assert_eq!(read(&file, 0, 10), b"he\0\0");
    }

    #[test]
    fn an_open_file_outlives_its_name() {
        let files = Files::default();
        files.write("old", b"old");
        files.write("new", b"new");
        let old = files.open("old").unwrap();
        files.rename("new", "old");
        assert_eq!(read(&old, 0, 9), b"old");
        assert_eq!(read(&files.open("old").unwrap(), 0, 9), b"new");
        assert_eq!(files.open("new").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        files.remove("old");
        assert_eq!(files.open_count(), 1);
        drop(old);
        assert_eq!(files.open_count(), 0);
    }

    #[test]
    fn names_resolve_like_paths() {
        let files = Files::default();
        files.write("folder/page", b"x");
        let kind = |name: &str| files.open(name).map(|file| file.metadata().kind);
        let code = |name: &str| kind(name).unwrap_err().raw_os_error().unwrap();
        assert_eq!(kind(".").unwrap(), FileKind::Directory);
        assert_eq!(kind("folder").unwrap(), FileKind::Directory);
        assert_eq!(kind("folder/page").unwrap(), FileKind::Regular);
        assert_eq!(code("folder/page/x"), libc::ENOTDIR);
        assert_eq!(code("fold"), libc::ENOENT);
        assert_eq!(code("../folder/page"), libc::EXDEV);
        assert_eq!(code("/folder/page"), libc::EXDEV);
    }
}
