//! Watching directories for changes, beside the loop.
//!
//! A [`Watcher`] is asked to watch directories, and posts [`ChangeReport`]s to whoever asked. It
//! has a thread of its own (or is simulated), so neither side waits for the other. What is to be
//! believed of it is this contract:
//!
//! 1. [`Watcher::watch`] and [`Watcher::forget`] never wait: not for a disk, nor for a system call
//!    on a directory. Requests are worked on in their order.
//! 2. Directories are watched, not files: one watch tells of everything that has a name in there. A
//!    directory is watched together with all those above it, since what happens to one of them
//!    happens to what is beneath. Links are not followed on the way.
//! 3. Each request has one answer: [`ChangeReport::Watched`] or [`ChangeReport::Unwatched`] of just
//!    that path. There is none if the directory is watched already, since the answer was given. If
//!    the site is forgotten or its reports are lost first (8, 9), `Unwatched` of the empty path is
//!    the answer. [`ChangeReport::Watched`] comes for the directories above as well, if they were
//!    not watched, each before those beneath it.
//! 4. [`ChangeReport::Unwatched`] of a path ends the watches of that directory *and of all beneath
//!    it*, the site for the empty path. Whoever wants reports asks again. Asking is not done for
//!    him.
//! 5. Watches end only when something has happened that is reported as a change as well, after
//!    [`ChangeReport::Unwatched`], or when they are given up (8, 9), and then everything is
//!    reported. So nobody has to conclude a change from the end of a watch.
//! 6. Reports of changes may come in another order than the changes. [`ChangeReport::Watched`] and
//!    [`ChangeReport::Unwatched`] keep their place among all reports.
//! 7. There are at most [`WATCHES_MAX`] watches of a watcher, over all sites. The first ones stay:
//!    who goes over all the directories of a root does not end the watch on those in use.
//! 8. After [`Watcher::forget`] reports of the old root may still come. Then come `Unwatched` of
//!    the empty path and [`Change::Everything`]; what comes after that is of the new root. So a
//!    report that was taken for one of the new root does no lasting harm.
//! 9. Reports that are refused by [`Post`] are lost, and the watcher remembers of which sites they
//!    were. It ends all watches of these sites, and tries again, after a rest, to post `Unwatched`
//!    of the empty path and [`Change::Everything`] for each, until that succeeds. Nothing else is
//!    posted before. So does it when the kernel has dropped events, for all sites.
//! 10. A change is reported at once after quiet, and at most [`REST`] later while there are more.
//!     If there are more than [`CHANGES_MAX`] in that time, [`Change::Everything`] is reported in
//!     their place, for the sites that they are of.
//! 11. Two paths, of two sites or of one, may lead to the same directory: then each is reported of.
//!
//! The kernel does not tell of everything: not of what other machines write to a network file
//! system, of writes through a mapping before the file is closed, nor of what happens to a file
//! under its other names, or where a symbolic link leads. And there may be no watch to be had.
//! Whoever uses this needs another way of noticing changes in the long run.
//!
//! | file | holds |
//! | --- | --- |
//! | `mod.rs` | this contract |
//! | `inotify.rs` | the watcher on the kernel's `inotify(7)`: a thread and its system calls |
//! | `requests.rs` | requests that wait |
//! | `table.rs` | what is watched, and what the kernel's events mean |
//! | `outbox.rs` | reports that wait to be posted, and what is done when they are refused |
//!
//! The simulated watcher ([`crate::driver::sim::Watch`]) has the last three in common with it.

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
pub(crate) use outbox::{Outbox, ended};
pub(crate) use requests::{Requests, WatchRequest};
pub(crate) use table::{Sink, WatchEvent, WatchTable};

/// Directories that are watched at a time. Each costs the kernel about a kilobyte, and counts
/// against the user's `fs.inotify.max_user_watches`.
pub const WATCHES_MAX: usize = 1024;

/// Requests that wait at a time.
pub const REQUESTS_MAX: usize = 256;

/// Reports that are posted at once.
pub const BATCH_MAX: usize = 256;

/// Changes that are posted one by one after a rest; if there are more, everything may have changed.
pub const CHANGES_MAX: usize = 256;

/// Between two postings. A change is reported this late, and a storm of them costs little.
pub const REST: Duration = Duration::from_millis(10);

/// Which site a path belongs to; paths are relative to its root, without a slash at either end,
/// empty for the root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SiteId(pub u16);

/// Something that has changed. Paths are relative to the root, without a slash at either end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// What a directory has under a name.
    Entry {
        /// The directory; empty for the root.
        directory: Box<[u8]>,
        /// The name.
        name: Box<[u8]>,
        /// Whether everything beneath may be something else as well.
        beneath: bool,
    },
    /// The directory that a path leads to, and so everything beneath.
    Directory {
        /// The path; not that of the root.
        path: Box<[u8]>,
    },
    /// Anything: reports were lost or were too many, or the root itself has changed.
    Everything,
}

impl Change {
    /// Whether the directory at this path may have other entries now.
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

/// Whether a path is this one, or leads beneath it.
pub fn is_at(path: &[u8], above: &[u8]) -> bool {
    let rest = path.strip_prefix(above);
    above.is_empty() || matches!(rest, Some([] | [b'/', ..]))
}

/// What a watcher tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeReport {
    /// From now on changes in this directory are reported. What was seen in it before may have
    /// changed unnoticed.
    Watched {
        /// Whose directory it is.
        site: SiteId,
        /// Its path.
        path: Box<[u8]>,
    },
    /// Nothing more is reported of this directory and of those beneath it: it was moved, removed
    /// or unmounted, rights or events were lost, or it could not be watched.
    Unwatched {
        /// Whose directory it is.
        site: SiteId,
        /// Its path.
        path: Box<[u8]>,
    },
    /// Something has changed.
    Changed {
        /// Where.
        site: SiteId,
        /// What.
        change: Change,
    },
}

impl ChangeReport {
    /// Which site it is about.
    pub fn site(&self) -> SiteId {
        let (Self::Watched { site, .. }
        | Self::Unwatched { site, .. }
        | Self::Changed { site, .. }) = self;
        *site
    }
}

/// Takes reports, at most [`BATCH_MAX`] at a time and at least one, or gives them back when it has
/// no room for all of them. Then none of them counts as delivered. It is called on the thread of
/// the watcher, so waking whoever the reports are for is its business; it should not wait.
pub type Post = Box<dyn FnMut(Vec<ChangeReport>) -> Result<(), Vec<ChangeReport>> + Send>;

/// Watches directories; see the contract in the module documentation.
pub trait Watcher: fmt::Debug {
    /// Asks for reports of a directory and those above it. Returns false when nothing comes of it:
    /// because too many requests wait already ([`REQUESTS_MAX`]), or nothing can be watched at all.
    fn watch(&mut self, site: SiteId, root: &Arc<File>, path: &[u8]) -> bool;

    /// Ends all watches of a site, because another root is served.
    fn forget(&mut self, site: SiteId);
}
