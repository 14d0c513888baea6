//! What is watched, and what the events of `inotify(7)` mean. Makes no system calls.
//!
//! The kernel watches an inode once and gives the watch a number. So one number may stand for
//! several places: paths, of one site or of several, that lead to the same directory. An event
//! applies to all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::fs::inotify::ReadFlags;

use super::{Change, ChangeReport, SiteId, WATCHES_MAX, is_at};

/// A name appears, disappears or stands for something else: all beneath it may have changed.
const MOVES: ReadFlags = ReadFlags::CREATE
    .union(ReadFlags::DELETE)
    .union(ReadFlags::MOVED_FROM)
    .union(ReadFlags::MOVED_TO);

/// The watches, by place and by the kernel's number. They are ordered by path, so a simulated run
/// can be replayed.
#[derive(Default, Debug)]
pub(crate) struct WatchTable {
    numbers: BTreeMap<SiteId, BTreeMap<Arc<[u8]>, i32>>,
    places: BTreeMap<i32, Vec<WatchedPlace>>,
    count: usize,
}

#[derive(Clone, Debug)]
struct WatchedPlace {
    site: SiteId,
    path: Arc<[u8]>,
}

/// An event of the kernel (`inotify(7)`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchEvent<'a> {
    /// The number of its watch.
    pub(crate) number: i32,
    /// What has happened.
    pub(crate) flags: ReadFlags,
    /// The name of the entry; `None` for the directory itself.
    pub(crate) name: Option<&'a [u8]>,
}

/// Where the table sends reports.
pub(crate) trait Sink {
    /// Takes a report that is not a change.
    fn push(&mut self, report: ChangeReport);

    /// Takes a change, unless it is already covered.
    fn changed(&mut self, site: SiteId, change: impl FnOnce() -> Change);

    /// Notes that events of a site were lost. Nothing of the site is watched any more.
    fn lose(&mut self, site: SiteId);
}

impl WatchTable {
    /// Whether no more can be watched.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= WATCHES_MAX
    }

    /// Whether a directory is watched.
    pub(crate) fn holds(&self, site: SiteId, path: &[u8]) -> bool {
        self.numbers.get(&site).is_some_and(|numbers| numbers.contains_key(path))
    }

    /// The sites with watches.
    pub(crate) fn sites(&self) -> Vec<SiteId> {
        self.numbers.keys().copied().collect()
    }

    /// Adds the watch of a directory; those above it are already watched.
    pub(crate) fn add(&mut self, site: SiteId, path: &[u8], number: i32) {
        let path: Arc<[u8]> = path.into();
        let before = self.numbers.entry(site).or_default().insert(Arc::clone(&path), number);
        debug_assert!(before.is_none(), "a directory is watched once");
        self.places.entry(number).or_default().push(WatchedPlace { site, path });
        self.count += 1;
    }

    /// Ends the watches of a directory and of those beneath it. Calls `end` with the numbers that
    /// are no longer used. Returns whether the directory was watched.
    pub(crate) fn forget(&mut self, site: SiteId, path: &[u8], end: &mut dyn FnMut(i32)) -> bool {
        let Some(numbers) = self.numbers.get_mut(&site) else { return false };
        if !numbers.contains_key(path) {
            return false;
        }
        let Self { places, count, .. } = self;
        numbers.retain(|other, number| {
            if !is_at(other, path) {
                return true;
            }
            *count -= 1;
            let left = places.get_mut(number).expect("each watch number lists its places");
            left.retain(|place| place.site != site || place.path != *other);
            if left.is_empty() {
                places.remove(number);
                end(*number);
            }
            false
        });
        if numbers.is_empty() {
            self.numbers.remove(&site);
        }
        true
    }

    /// Reports what an event means. `end` is as for [`WatchTable::forget`].
    pub(crate) fn take_in(
        &mut self,
        event: &WatchEvent<'_>,
        sink: &mut impl Sink,
        end: &mut dyn FnMut(i32),
    ) {
        if event.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Directories may have been moved, so no path is certain any more.
            return self.lose(self.sites(), sink, end);
        }
        // Events of a watch that has ended may still come.
        let Some(places) = self.places.get(&event.number) else { return };
        for place in places.clone() {
            match event.name {
                None => self.directory_changed(event.flags, &place, sink, end),
                Some(name) => self.entry_changed(event.flags, &place, name, sink, end),
            }
        }
    }

    /// Ends all watches of these sites, whose reports are lost.
    pub(crate) fn lose(
        &mut self,
        sites: Vec<SiteId>,
        sink: &mut impl Sink,
        end: &mut dyn FnMut(i32),
    ) {
        for site in sites {
            self.forget(site, b"", end);
            sink.lose(site);
        }
    }

    fn directory_changed(
        &mut self,
        flags: ReadFlags,
        place: &WatchedPlace,
        sink: &mut impl Sink,
        end: &mut dyn FnMut(i32),
    ) {
        let WatchedPlace { site, path } = place;
        // It was moved, removed or unmounted; or its permissions have changed. In the last case the
        // watch stays, because to make it again, the kernel would go over all names of the
        // directory that it has in memory.
        if !flags.contains(ReadFlags::ATTRIB) && self.forget(*site, path, end) {
            sink.push(ChangeReport::Unwatched { site: *site, path: path[..].into() });
        }
        sink.changed(*site, || match path.is_empty() {
            true => Change::Everything,
            false => Change::Directory { path: path[..].into() },
        });
    }

    fn entry_changed(
        &mut self,
        flags: ReadFlags,
        place: &WatchedPlace,
        name: &[u8],
        sink: &mut impl Sink,
        end: &mut dyn FnMut(i32),
    ) {
        let WatchedPlace { site, path: directory } = place;
        // A name that moves may be a link to a directory, which looks like a file here. Permissions
        // of a directory decide about all beneath it.
        let entered = ReadFlags::ATTRIB | ReadFlags::ISDIR;
        let moved = flags.intersects(MOVES);
        let beneath = moved || flags.contains(entered);
        if moved {
            let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
            let path = [directory, slash, name].concat();
            if self.forget(*site, &path, end) {
                sink.push(ChangeReport::Unwatched { site: *site, path: path.into() });
            }
        }
        sink.changed(*site, || {
            let (directory, name) = (directory[..].into(), name.into());
            Change::Entry { directory, name, beneath }
        });
    }
}
