//! The page of a directory's entries: made on a thread aside, because reading a large directory
//! takes its time.

use std::sync::Arc;

use super::listing::{self, Asked, Format, Policy};
use super::resource::{Description, Page, Variant};
use super::site::Site;
use crate::driver::{File, Job};

/// What the answer says besides type and length: which page it is depends on `Accept`, and what
/// it lists may change at any time.
const VARY: &str = "Accept";
const CACHE_CONTROL: &str = "Cache-Control: no-cache\r\n";

/// The same as lines.
pub(super) const FIELDS: &str = "Vary: Accept\r\nCache-Control: no-cache\r\n";

/// The work of listing a directory, by its path below the root.
pub(super) fn job(site: &Site, path: &[u8], directory: Arc<File>, asked: Asked) -> Job {
    let policy = Policy { hide_sidecars: site.settings.content.precompressed, ..Policy::default() };
    let (root, path) = (Arc::clone(site.root.get()), path.to_vec());
    Job::new(move || listing::make(&root, &path, &directory, &asked, &policy))
}

/// The page that came of it.
pub(super) fn page(asked: Asked, body: &[u8]) -> Page {
    let about = Description {
        content_type: content_type(asked),
        coding: None,
        vary: VARY,
        fields: CACHE_CONTROL,
    };
    Page::new(Variant::made(about, body), Vec::new())
}

/// How a listing is announced.
pub(super) fn content_type(asked: Asked) -> &'static str {
    match asked.format {
        Format::Html => "text/html; charset=utf-8",
        Format::Json => "application/json",
    }
}
