//! Files in memory: a flat table of names, each with sparse content.
//!
//! A directory exists while there is a name beneath it, as in an object store. There are no links,
//! so only two kinds of path could leave a root: those with `..`, which are refused as
//! `RESOLVE_BENEATH` refuses them, and absolute paths, which start at [`Files::root`] and need
//! [`Links::Follow`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CStr;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log::{NameEvent, NameLog};
use super::network::Net;
use crate::driver::file::SimulatedFile;
use crate::driver::{Entries, Entry, EntryKind, File, FileKind, Links, Metadata};

/// The files of a simulated machine. Clones are handles to the same files.
#[derive(Clone, Debug)]
pub struct Files {
    shared: Arc<FileSystem>,
}

#[derive(Debug)]
struct FileSystem {
    state: Mutex<Names>,
    /// The number of open files.
    open: AtomicU64,
}

#[derive(Debug)]
struct Names {
    names: BTreeMap<Vec<u8>, Arc<Node>>,
    inodes: u64,
    /// The time stamp of changes, since the epoch.
    time: Duration,
    /// The log of changes, if there is a watcher.
    log: Option<NameLog>,
}

/// An inode. It exists while a name or an open file refers to it.
#[derive(Debug)]
struct Node {
    inode: u64,
    kind: FileKind,
    content: Mutex<NodeContent>,
}

/// Extents of bytes by offset; the gaps between them are zeros.
#[derive(Debug, Default)]
struct NodeContent {
    len: u64,
    extents: BTreeMap<u64, Vec<u8>>,
    modified: Duration,
}

/// An open file or directory.
struct OpenNode {
    node: Arc<Node>,
    /// The name it was opened by. Names beneath a directory begin with its name and a slash.
    name: Vec<u8>,
    shared: Arc<FileSystem>,
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

/// Ignores poisoning: only a bug of the simulator can panic while a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl Default for Files {
    fn default() -> Self {
        let state = Names { names: BTreeMap::new(), inodes: 1, time: Duration::ZERO, log: None };
        Self { shared: Arc::new(FileSystem { state: Mutex::new(state), open: AtomicU64::new(0) }) }
    }
}

impl Files {
    /// Sets the time stamp of later changes, since the epoch.
    pub fn set_time(&self, time: Duration) {
        lock(&self.shared.state).time = time;
    }

    /// Replaces the content of a file, or creates it. An existing file keeps its inode.
    pub fn write(&self, name: impl AsRef<[u8]>, bytes: &[u8]) {
        self.change(|state| {
            let (node, time) = (state.node_of(name.as_ref()), state.time);
            let extents = BTreeMap::from([(0, bytes.to_vec())]);
            *lock(&node.content) = NodeContent { len: bytes.len() as u64, extents, modified: time };
        });
    }

    /// Writes at an offset, in bytes; a gap between the end and the offset reads as zeros. Writes
    /// from different offsets must not overlap.
    pub fn write_at(&self, name: impl AsRef<[u8]>, offset: u64, bytes: &[u8]) {
        self.change(|state| {
            let (node, time) = (state.node_of(name.as_ref()), state.time);
            let mut content = lock(&node.content);
            content.len = content.len.max(offset + bytes.len() as u64);
            content.extents.insert(offset, bytes.to_vec());
            content.modified = time;
        });
    }

    /// Truncates a file to `len` bytes, or extends it with zeros.
    pub fn truncate(&self, name: impl AsRef<[u8]>, len: u64) {
        self.change(|state| {
            let (node, time) = (state.node_of(name.as_ref()), state.time);
            let mut content = lock(&node.content);
            content.extents.split_off(&len);
            for (offset, bytes) in &mut content.extents {
                bytes.truncate((len - offset).try_into().unwrap_or(usize::MAX));
            }
            (content.len, content.modified) = (len, time);
        });
    }

    /// Removes a name. The file lives on while it is open.
    pub fn remove(&self, name: impl AsRef<[u8]>) {
        self.change(|state| drop(state.take(name.as_ref())));
    }

    /// Renames a file; replaces a file that has the new name.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        self.change(|state| {
            if let Some(node) = state.take(from.as_ref()) {
                state.log(|log, names| log.comes(to.as_ref(), |name| is_parent_in(names, name)));
                state.names.insert(to.as_ref().to_vec(), node);
            }
        });
    }

    /// Applies a change, and notifies the watcher.
    fn change(&self, change: impl FnOnce(&mut Names)) {
        let mut state = lock(&self.shared.state);
        change(&mut state);
        let net = state.log.as_ref().map(NameLog::net);
        drop(state);
        if let Some(net) = net {
            net.note();
        }
    }

    /// Starts a new log of changes, which notifies `net`.
    pub(super) fn log_to(&self, net: &Arc<Net>) {
        lock(&self.shared.state).log = Some(NameLog::new(Arc::clone(net)));
    }

    /// Takes the log since the last call. Returns also whether events were lost.
    pub(super) fn take_log(&self) -> (VecDeque<NameEvent>, bool) {
        lock(&self.shared.state).log.as_mut().map(NameLog::take).unwrap_or_default()
    }

    /// Whether `name` is a directory.
    pub(super) fn is_directory(&self, name: &[u8]) -> bool {
        let found = lock(&self.shared.state).find(name);
        found.is_ok_and(|node| node.kind == FileKind::Directory)
    }

    /// The root directory.
    pub fn root(&self) -> Arc<File> {
        Arc::new(self.open_node(Vec::new(), Arc::new(Node::directory(1))))
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// When no file has this name.
    pub fn open(&self, name: impl AsRef<[u8]>) -> io::Result<Arc<File>> {
        let (name, node) = self.shared.resolve(&[], name.as_ref(), Links::Beneath)?;
        Ok(Arc::new(self.open_node(name, node)))
    }

    /// The number of open files, including the root.
    pub fn open_count(&self) -> u64 {
        self.shared.open.load(Ordering::Relaxed)
    }

    fn open_node(&self, name: Vec<u8>, node: Arc<Node>) -> File {
        let metadata = node.metadata();
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        let open = OpenNode { node, name, shared: Arc::clone(&self.shared) };
        File::simulated(Box::new(open), metadata)
    }
}

impl FileSystem {
    /// Resolves a path beneath a directory to a file and its full name.
    fn resolve(
        &self,
        directory: &[u8],
        path: &[u8],
        links: Links,
    ) -> io::Result<(Vec<u8>, Arc<Node>)> {
        let (directory, path) = match path.strip_prefix(b"/") {
            Some(path) if links == Links::Follow => (&[][..], path),
            _ if path.is_empty() => return Err(errno(libc::ENOENT)),
            _ => (directory, path),
        };
        if path.first() == Some(&b'/') || path.split(|byte| *byte == b'/').any(|part| part == b"..")
        {
            return Err(errno(libc::EXDEV));
        }
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        let name = match (directory, trimmed) {
            (directory, b".") => directory.to_vec(),
            (b"", name) => name.to_vec(),
            (directory, name) => [directory, name].join(&b'/'),
        };
        let node = lock(&self.state).find(&name)?;
        if trimmed.len() < path.len() && node.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        Ok((name, node))
    }
}

impl Node {
    fn directory(inode: u64) -> Self {
        Self { inode, kind: FileKind::Directory, content: Mutex::default() }
    }

    fn metadata(&self) -> Metadata {
        let (len, time) = {
            let content = lock(&self.content);
            (content.len, (content.modified.as_secs() as i64, content.modified.subsec_nanos()))
        };
        let (kind, inode) = (self.kind, self.inode);
        Metadata { kind, len, modified: time, changed: time, inode, device: 1 }
    }
}

impl Names {
    /// The file with this name, which the caller is about to change; created if there is none.
    fn node_of(&mut self, name: &[u8]) -> Arc<Node> {
        self.log(|log, names| match names.contains_key(name) {
            true => log.changed(name),
            false => log.comes(name, |name| is_parent_in(names, name)),
        });
        let inodes = &mut self.inodes;
        let node = self.names.entry(name.to_vec()).or_insert_with(|| {
            *inodes += 1;
            let content = Mutex::default();
            Arc::new(Node { inode: *inodes, kind: FileKind::Regular, content })
        });
        Arc::clone(node)
    }

    /// Removes a name and returns its file.
    fn take(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let node = self.names.remove(name)?;
        self.log(|log, names| log.went(name, |name| is_parent_in(names, name)));
        Some(node)
    }

    /// Writes to the log, if there is a watcher.
    fn log(&mut self, note: impl FnOnce(&mut NameLog, &BTreeMap<Vec<u8>, Arc<Node>>)) {
        if let Some(log) = &mut self.log {
            note(log, &self.names);
        }
    }

    fn find(&self, name: &[u8]) -> io::Result<Arc<Node>> {
        if name.is_empty() {
            return Ok(Arc::new(Node::directory(1)));
        }
        if let Some(node) = self.names.get(name) {
            return Ok(Arc::clone(node));
        }
        // A name beneath a file is `ENOTDIR`, any other missing name is `ENOENT`.
        let is_parent = |parent: &[u8], child: &[u8]| {
            child.strip_prefix(parent).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        if self.names.keys().any(|other| is_parent(name, other)) {
            return Ok(Arc::new(Node::directory(1)));
        }
        let beneath_file = self.names.keys().any(|other| is_parent(other, name));
        Err(errno(if beneath_file { libc::ENOTDIR } else { libc::ENOENT }))
    }
}

/// Whether there is a name beneath `name`.
fn is_parent_in(names: &BTreeMap<Vec<u8>, Arc<Node>>, name: &[u8]) -> bool {
    let prefix = [name, b"/"].concat();
    names.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
}

impl SimulatedFile for OpenNode {
    fn name(&self) -> &[u8] {
        &self.name
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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

    fn metadata(&self) -> Metadata {
        self.node.metadata()
    }

    fn entries(&self, limit: usize) -> io::Result<Entries> {
        if self.node.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        let prefix = match &self.name[..] {
            b"" => Vec::new(),
            name => [name, b"/"].concat(),
        };
        let state = lock(&self.shared.state);
        let beneath = state.names.range(prefix.clone()..);
        let mut found = Entries::default();
        // The names are sorted, but those beneath one directory need not be adjacent: bytes that
        // sort before the slash come between a directory's name and the names beneath it.
        let mut seen = BTreeSet::new();
        for name in beneath.map_while(|(name, _)| name.strip_prefix(&prefix[..])) {
            let mut parts = name.splitn(2, |byte| *byte == b'/');
            let first = parts.next().unwrap_or_default();
            let kind = if parts.next().is_some() { EntryKind::Directory } else { EntryKind::File };
            if !seen.insert(first) {
                continue;
            }
            if found.entries.len() == limit {
                found.more = true;
                break;
            }
            found.entries.push(Entry { name: first.to_vec(), kind });
        }
        match found.entries.is_empty() && !found.more && !self.name.is_empty() {
            true => Err(errno(libc::ENOENT)),
            false => Ok(found),
        }
    }

    fn describe(&self, path: &[u8], links: Links) -> io::Result<Metadata> {
        if self.node.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        self.shared.resolve(&self.name, path, links).map(|(_, node)| node.metadata())
    }

    fn open(&self, path: &[u8], links: Links) -> io::Result<File> {
        if self.node.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        let (name, node) = self.shared.resolve(&self.name, path, links)?;
        Ok(Files { shared: Arc::clone(&self.shared) }.open_node(name, node).with_links(links))
    }
}

/// Opens a path as [`Op::OpenFile`](crate::driver::Op::OpenFile) does.
pub(super) fn open_beneath(root: &File, path: &CStr) -> io::Result<Arc<File>> {
    root.as_simulated().open(path.to_bytes(), root.links()).map(Arc::new)
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

    #[test]
    fn a_directory_lists_its_entries() {
        let files = Files::default();
        for name in ["a", "b!", "b/one", "b/two/three", "b0"] {
            files.write(name, b"four");
        }
        let told = |directory: &File, limit| {
            let found = directory.entries(limit).unwrap();
            let name = |entry: Entry| (String::from_utf8(entry.name).unwrap(), entry.kind);
            (found.entries.into_iter().map(name).collect::<Vec<_>>(), found.more)
        };
        let entry = |name: &str, kind| (name.to_owned(), kind);
        let all = vec![
            entry("a", EntryKind::File),
            entry("b!", EntryKind::File),
            entry("b", EntryKind::Directory),
            entry("b0", EntryKind::File),
        ];
        assert_eq!(told(&files.root(), 4), (all.clone(), false));
        assert_eq!(told(&files.root(), 3), (all[..3].to_vec(), true));
        let inner = files.open("b").unwrap();
        let both = vec![entry("one", EntryKind::File), entry("two", EntryKind::Directory)];
        assert_eq!(told(&inner, 9), (both, false));
        assert_eq!(inner.describe(c"one").unwrap(), *files.open("b/one").unwrap().metadata());
        assert_eq!(open_beneath(&inner, c"two/three").unwrap().metadata().len, 4);
        let code = |result: io::Result<Metadata>| result.unwrap_err().raw_os_error();
        assert_eq!(code(inner.describe(c"a")), Some(libc::ENOENT));
        assert_eq!(code(inner.describe(c"../a")), Some(libc::EXDEV));
        assert_eq!(code(files.open("a").unwrap().describe(c".")), Some(libc::ENOTDIR));
        assert_eq!(code(files.root().describe(c"/b")), Some(libc::EXDEV));
        let root = Arc::into_inner(files.root()).unwrap().with_links(Links::Follow);
        let anew = open_beneath(&root, c"/b").unwrap();
        assert_eq!((anew.links(), told(&anew, 9)), (Links::Follow, told(&inner, 9)));
        assert_eq!(told(&open_beneath(&anew, c"/").unwrap(), 4), (all, false));
        assert_eq!(code(anew.describe(c"")), Some(libc::ENOENT));
        files.remove("b/one");
        files.remove("b/two/three");
        assert_eq!(inner.entries(9).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
