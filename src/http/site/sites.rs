//! What the HTTP sessions of a worker share: the root, what is known of its files, settings.
//!
//! What is known holds for a time, and until the kernel tells of a change that concerns it.

use std::ffi::CString;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::{File, FileKind};
use crate::files::{Cache, Changes, Figures};
use crate::http::h1::head::HeadLimits;
use crate::http::semantics::multipart::Boundary;
use crate::http::site::content::Content;
use crate::http::site::invalidation::{Concern, concerned};
use crate::http::site::listing_job::Listings;
use crate::http::site::resource::Resource;
use crate::http::site::response::Texts;
use crate::session::Step;

/// Names that may be gone through after one reading of changes, because they begin like those that
/// are concerned; if there are more, everything is asked about.
const EXPIRE_MAX: usize = 4096;

/// Settings of HTTP, the same for all workers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory to serve.
    pub root: Arc<File>,
    /// Where that directory is, if another one may take its place while it is served.
    pub root_path: Option<RootPath>,
    /// What is made of the files in it.
    pub content: Content,
    /// Files up to this many bytes are kept in memory; longer ones are sent from the file.
    pub memory_file_max: u64,
    /// Names that are remembered, per worker, and files that they hold open.
    pub cache_entries: usize,
    /// Bytes of memory that remembered names may hold, per worker.
    pub cache_bytes: usize,
    /// How long what is remembered holds before the file system is asked again.
    pub revalidate_after: Duration,
    /// Whether the kernel is asked to tell of changes, so that what it tells of is asked about
    /// before its time. Only for a root that the kernel has.
    pub watch: bool,
    /// Bounds of request heads.
    pub head_limits: HeadLimits,
    /// Bytes of a request body that are read and thrown away; a longer one ends the connection.
    pub body_bytes_max: u64,
}

/// A path that leads to the root, perhaps over a link that a deployment turns.
#[derive(Clone, Debug)]
pub struct RootPath {
    /// Where the path begins if it is relative; its links are followed wherever they lead.
    pub base: Arc<File>,
    /// The path.
    pub path: CString,
}

impl Settings {
    /// The defaults, for a root.
    pub fn new(root: Arc<File>) -> Self {
        Self {
            root,
            root_path: None,
            content: Content::default(),
            memory_file_max: 8 * 1024,
            cache_entries: 2048,
            cache_bytes: 32 * 1024 * 1024,
            revalidate_after: Duration::from_secs(1),
            watch: false,
            head_limits: HeadLimits::default(),
            body_bytes_max: 64 * 1024,
        }
    }
}

/// The shared part of a worker's HTTP sessions.
#[derive(Debug)]
pub struct Site {
    pub(in crate::http) settings: Rc<Settings>,
    pub(in crate::http) root: Root,
    pub(in crate::http) cache: Cache<Rc<Resource>>,
    pub(in crate::http) changes: Changes,
    pub(in crate::http) listings: Listings,
    pub(in crate::http) texts: Texts,
    /// Where keys are put together, so that looking one up allocates nothing.
    pub(in crate::http) key: Vec<u8>,
    random: fastrand::Rng,
}

impl Site {
    /// A site of which nothing is known yet.
    pub fn new(settings: Settings) -> Self {
        let cache =
            Cache::new(settings.cache_entries, settings.cache_bytes, settings.revalidate_after);
        // What is asked about each time needs no watch.
        let watches = settings.watch && !settings.revalidate_after.is_zero();
        Self {
            root: Root::new(&settings),
            changes: if watches { Changes::new() } else { Changes::unwatched() },
            settings: Rc::new(settings),
            cache,
            listings: Listings::default(),
            texts: Texts::new(),
            key: Vec::new(),
            random: fastrand::Rng::new(),
        }
    }

    /// Expires what the kernel has told of since the last time, if that is a moment ago.
    pub(in crate::http) fn notice_changes(&mut self, now: Instant) {
        if !self.changes.is_due(now) {
            return;
        }
        let Self { changes, cache, listings, key, settings, .. } = self;
        let mut left = EXPIRE_MAX;
        changes.read(now, |change| {
            listings.forget(change);
            concerned(change, &settings.content.index, key, &mut |concern, key| match concern {
                Concern::Name => cache.expire(key),
                Concern::Beginning => left -= cache.expire_beginning(key, left),
            });
        });
    }

    /// Serves another root from now on: nothing that is known holds.
    pub(in crate::http) fn begin_anew(&mut self) {
        self.cache.clear();
        self.listings.clear();
        self.changes.forget_all();
    }

    /// What the cache holds and has done.
    pub(in crate::http) fn figures(&self) -> Figures {
        Figures { watched: self.changes.watched() as u64, ..self.cache.figures() }
    }

    /// What tells the parts of an answer apart: nobody who made a file can know it.
    pub(in crate::http) fn boundary(&mut self) -> Boundary {
        Boundary::new([self.random.u64(..), self.random.u64(..)])
    }
}

/// The directory that is served, and whether it is still the one that its path leads to.
#[derive(Debug)]
pub(in crate::http) struct Root {
    current: Arc<File>,
    path: Option<RootPath>,
    asked: Option<Instant>,
    ask_after: Duration,
}

impl Root {
    fn new(settings: &Settings) -> Self {
        Self {
            current: Arc::clone(&settings.root),
            path: settings.root_path.clone(),
            asked: None,
            ask_after: settings.revalidate_after,
        }
    }

    pub(in crate::http) fn get(&self) -> &Arc<File> {
        &self.current
    }

    /// Asks for the root anew, if nobody has for a while.
    pub(in crate::http) fn ask(&mut self, now: Instant) -> Option<Step> {
        let RootPath { base, path } = self.path.as_ref()?;
        let asked = self.asked.get_or_insert(now);
        if now.saturating_duration_since(*asked) < self.ask_after {
            return None;
        }
        *asked = now;
        Some(Step::Open { root: Arc::clone(base), path: path.clone() })
    }

    /// Takes in what was asked for. Returns whether another directory is served from now on. One
    /// that cannot be had changes nothing: it may be about to be put there.
    pub(in crate::http) fn answered(&mut self, opened: io::Result<Arc<File>>) -> bool {
        let Ok(file) = opened else { return false };
        let (old, new) = (self.current.metadata(), file.metadata());
        let is_new = (old.device, old.inode) != (new.device, new.inode);
        if new.kind != FileKind::Directory || !is_new {
            return false;
        }
        let links = self.current.links();
        let Some(file) = Arc::into_inner(file) else { return false };
        self.current = Arc::new(file.with_links(links));
        true
    }
}
