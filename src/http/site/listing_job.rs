//! The job that makes a page of a directory listing. It runs on another thread, because reading a
//! large directory takes long.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::listing::{Asked, Format, Listing, Policy};
use super::resource::{Description, Page, Variant};
use crate::driver::watch::{Change, SiteId};
use crate::driver::{File, Job};
use crate::http::semantics::fields::Fields;

/// `Accept` selects between HTML and JSON.
const VARY: &str = "Accept";
/// The directory may change at any time.
const CACHE_CONTROL: &str = "no-cache";

/// Appends the fields above.
pub(super) fn push_fields(fields: &mut Fields) {
    fields.push("Vary", VARY);
    fields.push("Cache-Control", CACHE_CONTROL);
}

/// The listings of unfinished jobs. Requests for other pages of the same directory share a listing,
/// because for a large directory, reading it is nearly all of the work.
///
/// A listing is shared for the same time for which results are cached, and is dropped with the last
/// job that uses it. So there are never more listings than jobs.
#[derive(Default, Debug)]
pub(super) struct Listings(Vec<SharedListing>);

#[derive(Debug)]
struct SharedListing {
    site: SiteId,
    path: Vec<u8>,
    /// Device and inode of the directory.
    identity: (u64, u64),
    /// When the listing was first requested.
    asked: Instant,
    listing: Weak<Mutex<Listing>>,
}

impl Listings {
    /// Stops sharing all listings of a site, because its root has changed.
    pub(super) fn clear(&mut self, site: SiteId) {
        self.0.retain(|shared| shared.site != site);
    }

    /// Stops sharing the listings that a change affects.
    pub(super) fn forget(&mut self, site: SiteId, change: &Change) {
        self.0.retain(|shared| shared.site != site || !change.is_of_entries(&shared.path));
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
}

impl Listings {
    /// A job that makes the page, and the earliest time at which the directory may have been read.
    /// Listings are shared for `shared_for`.
    pub(super) fn job(
        &mut self,
        now: Instant,
        shared_for: Duration,
        wanted: Wanted<'_>,
    ) -> (Job, Instant) {
        let asked = wanted.asked;
        let (listing, since) = self.listing(now, shared_for, wanted);
        let job = Job::new(move || {
            // A listing stays usable after a panic, so poisoning does not matter.
            listing.lock().unwrap_or_else(PoisonError::into_inner).page(&asked)
        });
        (job, since)
    }

    /// The listing of an unfinished job or a new one, and when it was first requested.
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

/// Makes a page of the output of the job.
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

/// The value of `Content-Type`.
pub(super) fn content_type(asked: Asked) -> &'static str {
    match asked.format {
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
    }
}
