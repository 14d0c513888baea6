//! The page of a directory's entries: made on a thread aside, because reading a large directory
//! takes its time.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::driver::{File, Job};
use crate::files::Change;
use crate::http::site::listing::{Asked, Format, Listing, Policy};
use crate::http::site::resource::{Description, Page, Variant};
use crate::http::site::sites::Site;

/// What the answer says besides type and length: which page it is depends on `Accept`, and what
/// it lists may change at any time.
const VARY: &str = "Accept";
const CACHE_CONTROL: &str = "Cache-Control: no-cache\r\n";

/// The same as lines.
pub(in crate::http) const FIELDS: &str = "Vary: Accept\r\nCache-Control: no-cache\r\n";

/// Listings that somebody waits for. Who asks for a page of one meanwhile gets it of the same
/// reading, since for a large directory that is nearly all of the work.
///
/// A reading is shared for as long after it was first asked for as anything is remembered, and is
/// dropped with the last job that has it: so there are never more of them than of jobs.
#[derive(Default, Debug)]
pub(in crate::http) struct Listings(Vec<Shared>);

#[derive(Debug)]
struct Shared {
    path: Vec<u8>,
    /// Device and inode of the directory.
    identity: (u64, u64),
    asked: Instant,
    listing: Weak<Mutex<Listing>>,
}

impl Listings {
    /// Another root is served: nothing that was read beneath the old one is shared any more.
    pub(in crate::http) fn clear(&mut self) {
        self.0.clear();
    }

    /// Shares no more what was read before a change.
    pub(in crate::http) fn forget(&mut self, change: Change<'_>) {
        self.0.retain(|shared| !change.is_of_entries(&shared.path));
    }
}

/// The work of listing a directory, by its path below its root, and since when it may have been
/// read.
pub(in crate::http) fn job(
    site: &mut Site,
    now: Instant,
    root: &Arc<File>,
    path: &[u8],
    directory: Arc<File>,
    asked: Asked,
) -> (Job, Instant) {
    let (listing, since) = listing(site, now, root, path, directory);
    let job = Job::new(move || {
        // A panic leaves a listing behind that can be asked for pages.
        listing.lock().unwrap_or_else(PoisonError::into_inner).page(&asked)
    });
    (job, since)
}

/// The listing that somebody waits for already, or a new one, and when it was first asked for.
fn listing(
    site: &mut Site,
    now: Instant,
    root: &Arc<File>,
    path: &[u8],
    directory: Arc<File>,
) -> (Arc<Mutex<Listing>>, Instant) {
    let identity = (directory.metadata().device, directory.metadata().inode);
    let shared_for = site.settings.revalidate_after;
    site.listings.0.retain(|shared| {
        let age = now.saturating_duration_since(shared.asked);
        age < shared_for && shared.listing.strong_count() > 0
    });
    let known = |shared: &&Shared| shared.path == path && shared.identity == identity;
    let known = site.listings.0.iter().find(known);
    let shared = known.and_then(|shared| Some((shared.listing.upgrade()?, shared.asked)));
    if let Some(shared) = shared {
        return shared;
    }
    let policy = Policy { hide_sidecars: site.settings.content.precompressed, ..Policy::default() };
    let listing = Listing::new(Arc::clone(root), path.to_vec(), directory, policy);
    let listing = Arc::new(Mutex::new(listing));
    let shared = Arc::downgrade(&listing);
    site.listings.0.push(Shared { path: path.to_vec(), identity, asked: now, listing: shared });
    (listing, now)
}

/// The page that came of it.
pub(in crate::http) fn page(asked: Asked, body: &[u8]) -> Page {
    let about = Description {
        content_type: content_type(asked),
        coding: None,
        vary: VARY,
        fields: CACHE_CONTROL,
    };
    Page::new(&[], Variant::made(about, body), Vec::new())
}

/// How a listing is announced.
pub(in crate::http) fn content_type(asked: Asked) -> &'static str {
    match asked.format {
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
    }
}
