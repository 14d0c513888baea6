//! The job that makes a page of a directory listing. It runs on another thread, because reading a
//! large directory takes long. What it has read is kept for a while, for other pages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::listing::{Asked, Format, Listing, Policy};
use super::resource::{Description, Page, Variant};
use crate::driver::watch::{Change, SiteId};
use crate::driver::{File, Job};
use crate::http::semantics::fields::Fields;

#[cfg(test)]
mod tests;

/// `Accept` selects between HTML and JSON.
const VARY: &str = "Accept";
/// The directory may change at any time.
const CACHE_CONTROL: &str = "no-cache";

/// Appends the fields above.
pub(super) fn push_fields(fields: &mut Fields) {
    fields.push("Vary", VARY);
    fields.push("Cache-Control", CACHE_CONTROL);
}

/// How many readings of directories a worker keeps. Each has its directory open.
const KEPT_MAX: usize = 8;

/// How much memory the kept readings take at most, in bytes.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The listings that were read lately. Requests for other pages of the same directory share a
/// listing, because for a large directory, reading it is nearly all of the work.
///
/// A listing is kept for the same time for which results are cached, from when it was first
/// requested. If there are too many, or they take too much memory, the oldest are dropped first. A
/// listing that alone takes too much is not kept. Jobs own what they use, so dropping a listing
/// here does not affect them.
#[derive(Debug)]
pub(super) struct Listings {
    /// The oldest first.
    kept: Vec<KeptListing>,
    kept_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct KeptListing {
    site: SiteId,
    root: Arc<File>,
    path: Vec<u8>,
    /// Device and inode of the directory.
    identity: (u64, u64),
    /// When the listing was first requested.
    asked: Instant,
    /// When it has to be dropped.
    until: Instant,
    listing: Arc<SharedListing>,
}

/// A listing, and its size when the last page was made.
#[derive(Debug)]
struct SharedListing {
    listing: Mutex<Listing>,
    bytes: AtomicUsize,
}

impl KeptListing {
    fn bytes(&self) -> usize {
        self.listing.bytes.load(Ordering::Relaxed)
    }
}

impl Default for Listings {
    fn default() -> Self {
        Self::new(KEPT_MAX, KEPT_BYTES_MAX)
    }
}

impl Listings {
    /// Keeps at most `kept_max` listings, which take at most `bytes_max` bytes.
    pub(super) fn new(kept_max: usize, bytes_max: usize) -> Self {
        Self { kept: Vec::new(), kept_max, bytes_max }
    }

    /// Drops all listings of a site, because its root has changed.
    pub(super) fn clear(&mut self, site: SiteId) {
        self.kept.retain(|kept| kept.site != site);
    }

    /// Drops the listings that a change affects.
    pub(super) fn forget(&mut self, site: SiteId, change: &Change) {
        self.kept.retain(|kept| kept.site != site || !change.is_of_entries(&kept.path));
    }

    /// When [`Listings::expire`] has to be called.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kept.first().map(|oldest| oldest.until)
    }

    /// Drops the listings whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.kept.retain(|kept| now < kept.until);
    }

    /// Drops listings until the rest is within the limits. The size of a listing is known when a
    /// job has ended.
    pub(super) fn shrink(&mut self) {
        let bytes_max = self.bytes_max;
        self.kept.retain(|kept| kept.bytes() <= bytes_max);
        let (mut count, mut bytes) = (0, 0);
        let newest_first = self.kept.iter().rev();
        let stay = newest_first.take_while(|kept| {
            (count, bytes) = (count + 1, bytes + kept.bytes());
            count <= self.kept_max && bytes <= bytes_max
        });
        let stay = stay.count();
        self.kept.drain(..self.kept.len() - stay);
    }
}

/// A request for a page of a listing.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) site: SiteId,
    /// The root to which `path` is relative.
    pub(super) root: &'a Arc<File>,
    pub(super) path: &'a [u8],
    pub(super) directory: Arc<File>,
    pub(super) asked: Asked,
    /// Whether compressed files beside a file are left out.
    pub(super) hide_sidecars: bool,
    /// Whether the files of hosting services at the root are left out.
    pub(super) hide_site_files: bool,
}

impl Listings {
    /// A job that makes the page, and the earliest time at which the directory may have been read.
    /// The listing is kept for `kept_for`.
    pub(super) fn job(
        &mut self,
        now: Instant,
        kept_for: Duration,
        wanted: Wanted<'_>,
    ) -> (Job, Instant) {
        let asked = wanted.asked;
        let (shared, since) = self.listing(now, kept_for, wanted);
        let job = Job::new(move || {
            // A listing stays usable after a panic, so poisoning does not matter.
            let mut listing = shared.listing.lock().unwrap_or_else(PoisonError::into_inner);
            let page = listing.page(&asked);
            // The reply, which is sent later, orders this store before the load.
            shared.bytes.store(listing.bytes(), Ordering::Relaxed);
            page
        });
        (job, since)
    }

    /// The kept listing or a new one, and when it was first requested.
    fn listing(
        &mut self,
        now: Instant,
        kept_for: Duration,
        wanted: Wanted<'_>,
    ) -> (Arc<SharedListing>, Instant) {
        let Wanted { site, root, path, directory, hide_sidecars, hide_site_files, .. } = wanted;
        let identity = (directory.metadata().device, directory.metadata().inode);
        self.expire(now);
        // Beneath another root, links may lead elsewhere.
        let known = self.kept.iter().find(|kept| {
            (kept.site, kept.identity, &kept.path[..]) == (site, identity, path)
                && Arc::ptr_eq(&kept.root, root)
        });
        if let Some(known) = known {
            return (Arc::clone(&known.listing), known.asked);
        }
        let policy = Policy { hide_sidecars, hide_site_files, ..Policy::default() };
        let listing = Listing::new(Arc::clone(root), path.to_vec(), directory, policy);
        let (listing, bytes) = (Mutex::new(listing), AtomicUsize::new(0));
        let listing = Arc::new(SharedListing { listing, bytes });
        // Without a validity, every request reads anew.
        if !kept_for.is_zero() {
            let (root, path, until) = (Arc::clone(root), path.to_vec(), now + kept_for);
            let (asked, listing) = (now, Arc::clone(&listing));
            self.kept.push(KeptListing { site, root, path, identity, asked, until, listing });
            self.shrink();
        }
        (listing, now)
    }
}

/// Makes a page of the output of the job.
pub(super) fn page(asked: Asked, body: &[u8], has_tag: bool) -> Page {
    let mut caching = Fields::new();
    caching.push("Cache-Control", CACHE_CONTROL);
    let about = Description {
        content_type: content_type(asked),
        coding: None,
        vary: VARY,
        fields: &caching,
    };
    Page::new(&[], Variant::made(about, body, has_tag), Vec::new())
}

/// The value of `Content-Type`.
pub(super) fn content_type(asked: Asked) -> &'static str {
    match asked.format {
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
    }
}
