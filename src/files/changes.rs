//! What the kernel tells of changes beneath a root (`inotify(7)`).
//!
//! Directories are watched, not files: one watch tells of everything that has a name in there. A
//! directory is watched together with all those above it, since what happens to one of them
//! happens to what is beneath. So a path that is not watched has nothing beneath it that is.
//!
//! The kernel does not tell of everything: not of what other machines write to a network file
//! system, of writes through a mapping before the file is closed, nor of what happens to a file
//! under its other names, or where a symbolic link leads. And there may be no watch to be had.
//! Whoever uses this needs another way of noticing changes in the long run, and [`Changes`] may
//! fail in silence.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::driver::File;

#[cfg(test)]
mod tests;

/// Directories that are watched at a time. Each costs the kernel about a kilobyte, and counts
/// against the user's `fs.inotify.max_user_watches`.
const WATCHES_MAX: usize = 1024;

/// Between two readings. A change is heard of this late, and costs nobody a system call sooner.
const REST: Duration = Duration::from_millis(10);

/// Events after which a reading takes in no more. The next one follows without a rest; until there
/// are no more, anything may have changed.
const EVENTS_MAX: usize = 256;

/// Bytes that are read at once: events of names of common length, about a hundred.
const BUFFER_BYTES: usize = 4096;

/// Names that come, go or lead elsewhere: what is beneath them may be something else.
const MOVES: ReadFlags = ReadFlags::CREATE
    .union(ReadFlags::DELETE)
    .union(ReadFlags::MOVED_FROM)
    .union(ReadFlags::MOVED_TO);

/// A write through a mapping shows when the file is closed. A directory that is there twice, as a
/// mount may make it, is watched under the first path (`MASK_CREATE`): its events bear one only.
const WATCHED: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::MASK_CREATE);

/// Something that has changed. Paths are relative to the root, without a slash at either end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// What a directory has under a name.
    Entry {
        /// The directory; empty for the root.
        directory: &'a [u8],
        /// The name.
        name: &'a [u8],
        /// Whether everything beneath may be something else as well.
        beneath: bool,
    },
    /// The directory that a path leads to, and so everything beneath.
    Directory {
        /// The path; not that of the root.
        path: &'a [u8],
    },
    /// Anything: events were lost or are yet to be read, or the root itself has changed.
    Everything,
}

impl Change<'_> {
    /// Whether the directory at this path may have other entries now.
    pub fn is_of_entries(&self, path: &[u8]) -> bool {
        match *self {
            Self::Entry { directory, name, beneath } => {
                let inside = if directory.is_empty() {
                    Some(path)
                } else {
                    path.strip_prefix(directory).and_then(|rest| rest.strip_prefix(b"/"))
                };
                path == directory || beneath && inside.is_some_and(|inside| is_at(inside, name))
            }
            Self::Directory { path: above } => is_at(path, above),
            Self::Everything => true,
        }
    }
}

/// Whether a path is this one, or leads beneath it.
fn is_at(path: &[u8], above: &[u8]) -> bool {
    let rest = path.strip_prefix(above);
    above.is_empty() || matches!(rest, Some([] | [b'/', ..]))
}

/// The watches of one root; see the module documentation.
#[derive(Debug)]
pub struct Changes {
    /// `None` where nothing is watched.
    inotify: Option<OwnedFd>,
    table: Table,
    /// When events may be read again.
    due: Option<Instant>,
}

/// What is watched, by path and by the kernel's number.
#[derive(Default, Debug)]
struct Table {
    numbers: HashMap<Rc<[u8]>, i32, foldhash::fast::RandomState>,
    watches: HashMap<i32, Watch, foldhash::fast::RandomState>,
}

#[derive(Debug)]
struct Watch {
    path: Rc<[u8]>,
    /// What was seen before may have changed unnoticed.
    since: Instant,
    /// When a change was last heard of.
    changed: Option<Instant>,
}

impl Watch {
    /// Whether what somebody who began then has seen may have changed, noticed or not.
    fn doubts(&self, begun: Instant) -> bool {
        begun <= self.since || self.changed.is_some_and(|changed| begun < changed)
    }
}

impl Changes {
    /// Nothing will be watched.
    pub fn unwatched() -> Self {
        Self { inotify: None, table: Table::default(), due: None }
    }

    /// Directories can be watched, if the kernel has an instance of inotify for us
    /// (`fs.inotify.max_user_instances`); if not, it is as with [`Changes::unwatched`].
    pub fn new() -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Self { inotify, ..Self::unwatched() }
    }

    /// How many directories are watched.
    pub fn watched(&self) -> usize {
        self.table.watches.len()
    }

    /// Watches a directory, by its path beneath `root`, and those above it, unless they are
    /// watched already. Returns whether what was seen in it since `begun` is in doubt: because a
    /// change was heard of since then, or was not watched for.
    ///
    /// What cannot be watched is not in doubt. That may be for lack of memory or permission, and
    /// because there are [`WATCHES_MAX`] already: then the first ones stay, so that who goes over
    /// all the directories of a root does not end the watch on those in use. It may also be
    /// because the kernel does not have the path in memory: nobody here waits for a disk.
    pub fn is_in_doubt(&mut self, root: &File, path: &[u8], begun: Instant, now: Instant) -> bool {
        let Self { inotify: Some(inotify), table, .. } = self else { return false };
        if let Some(watch) = table.get(path) {
            return watch.doubts(begun);
        }
        let mut in_doubt = false;
        let ends = memchr::memchr_iter(b'/', path).chain([path.len()]);
        for end in [0].into_iter().chain(ends) {
            let above = &path[..end];
            match table.get(above).map(|watch| watch.doubts(begun)) {
                Some(doubts) => in_doubt = doubts,
                None if table.add(inotify.as_fd(), root, above, now) => in_doubt = true,
                None => break,
            }
        }
        in_doubt
    }

    /// Whether it is time for [`Changes::read`].
    pub fn is_due(&self, now: Instant) -> bool {
        !self.table.watches.is_empty() && self.due.is_none_or(|due| due <= now)
    }

    /// Reads what the kernel has to tell, as much as is told at once, and ends watches on
    /// directories that may be others now.
    pub fn read(&mut self, now: Instant, mut tell: impl FnMut(Change<'_>)) {
        let Self { inotify: Some(inotify), table, due } = self else { return };
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(inotify.as_fd(), &mut buffer);
        let mut events = 0;
        *due = Some(now + Duration::from_nanos(1));
        loop {
            if events >= EVENTS_MAX && reader.is_buffer_empty() {
                // What is told only later must not be missed now.
                return tell(Change::Everything);
            }
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(CStr::to_bytes);
                    let event = Event { number: event.wd(), flags: event.events(), name };
                    table.take_in(inotify.as_fd(), &event, now, &mut tell);
                }
                Err(Errno::INTR) => {}
                Err(_) => {
                    *due = Some(now + REST);
                    break;
                }
            }
            events += 1;
        }
    }

    /// Ends all watches, because another root is served.
    pub fn forget_all(&mut self) {
        if let Some(inotify) = &self.inotify {
            self.table.forget(inotify.as_fd(), b"");
        }
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

/// What the kernel tells (`inotify(7)`).
#[derive(Clone, Copy, Debug)]
struct Event<'a> {
    number: i32,
    flags: ReadFlags,
    /// `None` if it is about the directory itself.
    name: Option<&'a [u8]>,
}

impl Table {
    fn get(&self, path: &[u8]) -> Option<&Watch> {
        self.numbers.get(path).and_then(|number| self.watches.get(number))
    }

    /// Watches a directory; those above it are watched. Returns whether that was possible.
    fn add(&mut self, inotify: BorrowedFd<'_>, root: &File, path: &[u8], now: Instant) -> bool {
        if self.watches.len() >= WATCHES_MAX {
            return false;
        }
        let Ok(number) = add_watch(inotify, root, path) else { return false };
        let path: Rc<[u8]> = path.into();
        self.numbers.insert(Rc::clone(&path), number);
        self.watches.insert(number, Watch { path, since: now, changed: None });
        true
    }

    /// Finds out what an event means.
    fn take_in(
        &mut self,
        inotify: BorrowedFd<'_>,
        event: &Event<'_>,
        now: Instant,
        tell: &mut impl FnMut(Change<'_>),
    ) {
        if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Directories may have been moved: no path is certain any more.
            self.forget(inotify, b"");
            return tell(Change::Everything);
        }
        // Watches that have ended may have left events behind.
        let Some(watch) = self.watches.get_mut(&event.number) else { return };
        watch.changed = Some(now);
        let directory = Rc::clone(&watch.path);
        let Some(name) = event.name else {
            // It was moved, removed or unmounted; or others may enter it now. Then the watch stays:
            // to make it anew, the kernel goes over all names in there that it has in memory.
            if !event.flags.contains(ReadFlags::ATTRIB) {
                self.forget(inotify, &directory);
            }
            let is_root = directory.is_empty();
            let change = Change::Directory { path: &directory };
            return tell(if is_root { Change::Everything } else { change });
        };
        // A link to a directory is not told from a file, and who may enter may have changed.
        let entered = ReadFlags::ATTRIB | ReadFlags::ISDIR;
        let moved = event.flags.intersects(MOVES);
        let beneath = moved || event.flags.contains(entered);
        if moved {
            let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            self.forget(inotify, &[&directory, slash, name].concat());
        }
        tell(Change::Entry { directory: &directory, name, beneath });
    }

    /// Ends the watch on a directory, and those beneath it.
    fn forget(&mut self, inotify: BorrowedFd<'_>, path: &[u8]) {
        if !self.numbers.contains_key(path) {
            return;
        }
        self.watches.retain(|number, watch| {
            let stays = !is_at(&watch.path, path);
            if !stays {
                self.numbers.remove(&watch.path);
                // It fails when the directory is gone, and the watch with it.
                let _ = inotify::remove_watch(inotify, *number);
            }
            stays
        });
    }
}

/// Opens the directory and watches what was opened: `inotify_add_watch(2)` takes nothing but a
/// path, and `/proc/self/fd` has one. No link is followed on the way, for a watch does not tell
/// when a link that it was reached by, or one behind that, begins to lead elsewhere.
fn add_watch(inotify: BorrowedFd<'_>, root: &File, path: &[u8]) -> io::Result<i32> {
    let place = |directory: BorrowedFd<'_>| {
        let place = format!("/proc/self/fd/{}", directory.as_raw_fd());
        Ok(inotify::add_watch(inotify, place, WATCHED)?)
    };
    if path.is_empty() {
        return place(root.as_fd());
    }
    place(File::open_in_memory(root, &CString::new(path)?)?.as_fd())
}
