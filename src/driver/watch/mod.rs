//! Watching directories for changes, outside of the loop.
//!
//! A [`Watcher`] gets requests to watch directories, and posts [`ChangeReport`]s. It has a thread
//! of its own (or is simulated), so neither side waits for the other. It keeps this contract:
//!
//! 1. [`Watcher::watch`] and [`Watcher::forget`] never wait for a disk, nor for a system call on a
//!    directory. Requests are served in order.
//! 2. Directories are watched, not files: one watch reports changes of every name in the directory.
//!    A directory is watched together with all directories above it, because what happens to one of
//!    them affects it. Links on the way are not followed.
//! 3. Each request has one answer: [`ChangeReport::Watched`] or [`ChangeReport::Unwatched`] of
//!    exactly that path. If the directory is already watched, there is no answer, because it was
//!    given before. If the site is forgotten or its reports are lost first (8, 9), the answer is
//!    `Unwatched` of the empty path. [`ChangeReport::Watched`] also comes for the directories above
//!    that were not watched, each before those beneath it.
//! 4. [`ChangeReport::Unwatched`] of a path ends the watches of that directory *and of all beneath
//!    it*; the empty path stands for the whole site. To get reports again, the user must ask again;
//!    the watcher does not do that by itself.
//! 5. Watches end for two reasons only. Either something has happened that is also reported as a
//!    change, after [`ChangeReport::Unwatched`]; or they are given up (8, 9), and then
//!    [`Change::Everything`] is reported. So users need not infer a change from the end of a watch.
//! 6. Reports of changes may come in another order than the changes. [`ChangeReport::Watched`] and
//!    [`ChangeReport::Unwatched`] keep their place among all reports.
//! 7. A watcher has at most [`WATCHES_MAX`] watches, over all sites. The first ones stay: a client
//!    that visits every directory of a root does not end the watches on the directories in use.
//! 8. After [`Watcher::forget`], reports of the old root may still come. Then `Unwatched` of the
//!    empty path and [`Change::Everything`] come, and what comes after them is about the new root.
//!    So a report of the old root that was taken for one of the new root does no lasting harm.
//! 9. Reports that [`Post`] refuses are lost, and the watcher remembers their sites. It ends all
//!    watches of these sites. After a rest, it tries to post `Unwatched` of the empty path and
//!    [`Change::Everything`] for each of them, until that succeeds. It posts nothing else before.
//!    It does the same, for all sites, if the kernel has dropped events.
//! 10. The first change after a quiet period is reported at once; further changes are reported at
//!     most [`REST`] later. If there are more than [`CHANGES_MAX`] in that time,
//!     [`Change::Everything`] is reported instead, for the sites that have changed.
//! 11. Two paths, of one site or of two, may lead to the same directory: then a change is reported
//!     for each.
//!
//! The kernel does not report everything: not what other machines write to a network file system,
//! not writes through a mapping before the file is closed, not what happens to a file under its
//! other names or at the target of a symbolic link. Watches may also be unavailable. So users need
//! another way to notice changes in the long run.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | this contract |
//! | `inotify.rs` | the watcher on the kernel's `inotify(7)`: a thread and its system calls |
//! | `requests.rs` | requests that wait |
//! | `table.rs` | what is watched, and what the kernel's events mean |
//! | `outbox.rs` | reports that wait to be posted, and what happens when they are refused |
//!
//! The simulated watcher (`sim::Watch`) shares the last three with it.

mod inotify;
mod outbox;
mod requests;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::File;

pub use inotify::Inotify;
pub(crate) use outbox::Outbox;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use outbox::ended;
pub(crate) use requests::{Requests, WatchRequest};
pub(crate) use table::{Sink, WatchEvent, WatchTable};

/// The most directories that are watched at a time. Each costs the kernel about a kilobyte, and
/// counts against the user's `fs.inotify.max_user_watches`.
pub const WATCHES_MAX: usize = 1024;

/// The most requests that wait.
pub const REQUESTS_MAX: usize = 256;

/// The most reports in one batch.
pub const BATCH_MAX: usize = 256;

/// The most changes that are reported one by one after a rest. If there are more,
/// [`Change::Everything`] is.
pub const CHANGES_MAX: usize = 256;

/// The pause between two posts, called a rest. It delays a change by at most this, and keeps bursts
/// of changes cheap.
pub const REST: Duration = Duration::from_millis(10);

/// The site of a path. Paths are relative to its root, without a slash at either end; the root is
/// the empty path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SiteId(pub u16);

/// A change. Paths are relative to the root, without a slash at either end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// What a name in a directory stands for.
    Entry {
        /// The directory; empty for the root.
        directory: Box<[u8]>,
        /// The name.
        name: Box<[u8]>,
        /// Whether everything beneath may have changed as well.
        beneath: bool,
    },
    /// The directory at a path, and so everything beneath it.
    Directory {
        /// The path, which is not that of the root.
        path: Box<[u8]>,
    },
    /// Anything: reports were lost or too many, or the root itself has changed.
    Everything,
}

impl Change {
    /// Whether the entries of the directory at this path may have changed.
    pub fn is_of_entries(&self, path: &[u8]) -> bool {
        match self {
            Self::Entry { directory, name, beneath } => {
                let inside = if directory.is_empty() {
                    Some(path)
                } else {
                    path.strip_prefix(&**directory).and_then(|rest| rest.strip_prefix(b"/"))
                };
                path == &**directory || *beneath && inside.is_some_and(|inside| is_at(inside, name))
            }
            Self::Directory { path: above } => is_at(path, above),
            Self::Everything => true,
        }
    }
}

/// Whether a path is `above` or lies beneath it.
pub fn is_at(path: &[u8], above: &[u8]) -> bool {
    let rest = path.strip_prefix(above);
    above.is_empty() || matches!(rest, Some([] | [b'/', ..]))
}

/// A report of a watcher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeReport {
    /// From now on, changes of this directory are reported. It may have changed before, without a
    /// report.
    Watched {
        /// The site of the directory.
        site: SiteId,
        /// Its path.
        path: Box<[u8]>,
    },
    /// Changes of this directory and of those beneath it are no longer reported: it was moved,
    /// removed or unmounted, permissions or events were lost, or it could not be watched.
    Unwatched {
        /// The site of the directory.
        site: SiteId,
        /// Its path.
        path: Box<[u8]>,
    },
    /// Something has changed.
    Changed {
        /// The site.
        site: SiteId,
        /// The change.
        change: Change,
    },
}

impl ChangeReport {
    /// The site that it is about.
    pub fn site(&self) -> SiteId {
        let (Self::Watched { site, .. }
        | Self::Unwatched { site, .. }
        | Self::Changed { site, .. }) = self;
        *site
    }
}

/// Takes reports, at least one and at most [`BATCH_MAX`] at a time. If it has no room for all of
/// them, it returns them, and none of them counts as delivered. It runs on the watcher's thread, so
/// it must wake the receiver of the reports, and should not wait.
pub type Post = Box<dyn FnMut(Vec<ChangeReport>) -> Result<(), Vec<ChangeReport>> + Send>;

/// Watches directories; see the contract in the module documentation.
pub trait Watcher: fmt::Debug {
    /// Asks for reports of a directory and of those above it. Returns false if there will be no
    /// answer, because too many requests wait ([`REQUESTS_MAX`]) or nothing can be watched at all.
    fn watch(&mut self, site: SiteId, root: &Arc<File>, path: &[u8]) -> bool;

    /// Ends all watches of a site, because another root is served.
    fn forget(&mut self, site: SiteId);
}
