//! The page of a directory's entries: a job for another thread, because reading a large directory
//! takes its time.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::listing::{Asked, Format, Listing, Policy};
use super::resource::{Description, Page, Variant};
use crate::driver::watch::{Change, SiteId};
use crate::driver::{File, Job};
use crate::http::semantics::fields::Fields;

/// What the answer says besides type and length: which page it is depends on `Accept`, and what
/// it lists may change at any time.
const VARY: &str = "Accept";
const CACHE_CONTROL: &str = "no-cache";

/// The same as fields.
pub(super) fn push_fields(fields: &mut Fields) {
    fields.push("Vary", VARY);
    fields.push("Cache-Control", CACHE_CONTROL);
}

/// Listings that somebody waits for. Who asks for a page of one meanwhile gets it of the same
/// reading, since for a large directory that is nearly all of the work.
///
/// A reading is shared for as long after it was first asked for as anything is remembered, and is
/// dropped with the last job that has it: so there are never more of them than of jobs.
#[derive(Default, Debug)]
pub(super) struct Listings(Vec<SharedListing>);

#[derive(Debug)]
struct SharedListing {
    site: SiteId,
    path: Vec<u8>,
    /// Device and inode of the directory.
    identity: (u64, u64),
    asked: Instant,
    listing: Weak<Mutex<Listing>>,
}

impl Listings {
    /// Another root is served: nothing that was read beneath the old one is shared any more.
    pub(super) fn clear(&mut self, site: SiteId) {
        self.0.retain(|shared| shared.site != site);
    }

    /// Shares no more what was read before a change.
    pub(super) fn forget(&mut self, site: SiteId, change: &Change) {
        self.0.retain(|shared| shared.site != site || !change.is_of_entries(&shared.path));
    }
}

/// A directory that is to be listed.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) site: SiteId,
    /// The root that the path begins at.
    pub(super) root: &'a Arc<File>,
    pub(super) path: &'a [u8],
    pub(super) directory: Arc<File>,
    pub(super) asked: Asked,
    /// Whether compressed files beside a file are left out.
    pub(super) hide_sidecars: bool,
}

impl Listings {
    /// The work of listing a directory, and since when it may have been read. A reading is shared
    /// for this time.
    pub(super) fn job(
        &mut self,
        now: Instant,
        shared_for: Duration,
        wanted: Wanted<'_>,
    ) -> (Job, Instant) {
        let asked = wanted.asked;
        let (listing, since) = self.listing(now, shared_for, wanted);
        let job = Job::new(move || {
            // A panic leaves a listing behind that can be asked for pages.
            listing.lock().unwrap_or_else(PoisonError::into_inner).page(&asked)
        });
        (job, since)
    }

    /// The listing that somebody waits for already, or a new one, and when it was first asked for.
    fn listing(
        &mut self,
        now: Instant,
        shared_for: Duration,
        wanted: Wanted<'_>,
    ) -> (Arc<Mutex<Listing>>, Instant) {
        let Wanted { site, root, path, directory, hide_sidecars, .. } = wanted;
        let identity = (directory.metadata().device, directory.metadata().inode);
        self.0.retain(|shared| {
            let age = now.saturating_duration_since(shared.asked);
            age < shared_for && shared.listing.strong_count() > 0
        });
        let known = |shared: &&SharedListing| {
            shared.site == site && shared.path == path && shared.identity == identity
        };
        let known = self.0.iter().find(known);
        let shared = known.and_then(|shared| Some((shared.listing.upgrade()?, shared.asked)));
        if let Some(shared) = shared {
            return shared;
        }
        let policy = Policy { hide_sidecars, ..Policy::default() };
        let listing = Listing::new(Arc::clone(root), path.to_vec(), directory, policy);
        let listing = Arc::new(Mutex::new(listing));
        let shared = Arc::downgrade(&listing);
        self.0.push(SharedListing {
            site,
            path: path.to_vec(),
            identity,
            asked: now,
            listing: shared,
        });
        (listing, now)
    }
}

/// The page that came of it.
pub(super) fn page(asked: Asked, body: &[u8]) -> Page {
    let mut caching = Fields::new();
    caching.push("Cache-Control", CACHE_CONTROL);
    let about = Description {
        content_type: content_type(asked),
        coding: None,
        vary: VARY,
        fields: &caching,
    };
    Page::new(&[], Variant::made(about, body), Vec::new())
}

/// How a listing is announced.
pub(super) fn content_type(asked: Asked) -> &'static str {
    match asked.format {
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
    }
}
