//! Directory listings in HTML and JSON.
//!
//! A [`Listing`] reads a directory and makes pages of its entries. It blocks on the disk, so it
//! runs in jobs and never in the loop of a worker. The modules are:
//!
//! - `query` parses the query ([`Asked`]), and formats it for links and cache keys;
//! - `filter` selects the entries to list, and gets their metadata; `entries` keeps them;
//! - `order` sorts them, `cut` divides them into pages, `page` selects those of a page, `html` and
//!   `json` format it;
//! - `escape` escapes names, `humanize` formats numbers for people.
//!
//! The work is limited. At most [`Policy::entries_max`] names are read; if there are more, the page
//! says so. To sort by name, only links and the entries of the page need metadata; to sort by size
//! or time, all entries do.
//!
//! A page ends after [`Policy::page_size`] entries, or before its entries would take more than
//! [`Policy::page_bytes`]. It is in memory until its last client has read it, and an entry takes up
//! to 2.5 KiB if all 255 bytes of its name have to be escaped. So long names make shorter pages,
//! and two orders may have different numbers of pages.
//!
//! Only entries that can be opened are listed. Dangling links, links that the root does not allow
//! to be followed, FIFOs, sockets and devices are left out.
//!
//! # HTML
//!
//! Programs read the page as well. Media players take a link as an entry only if its text is the
//! decoded reference, so references are names without `./` in front, a link contains nothing but
//! the name, and both end in a slash for a directory. The references of entries and of other pages
//! are the only links: crawlers would follow one to another order, and get each entry six times.
//! The column headers are buttons of forms instead, which need no script either.
//!
//! # JSON
//!
//! The response is an object, not an array as from nginx's autoindex: a directory may have several
//! pages, and a program that expects an array should fail rather than read only the first page.
//! Programs follow `next` while it is present.
//!
//! ```json
//! {"path": "/pub/", "page": 1, "pages": 2, "total": 1001, "truncated": false, "next": "?page=2",
//!  "entries": [
//!   {"name": "iso", "type": "directory", "mtime": "2026-01-02T03:04:05Z", "href": "iso/"},
//!   {"name": "a b", "type": "file", "size": 7, "mtime": "2026-01-02T03:04:05Z",
//!    "href": "a%20b"}]}
//! ```
//!
//! `total` is the number of entries on all pages. `truncated` is true if the directory has more
//! names than were read. `next` and `href` are relative to the listing. `href` is always exact, but
//! in `name`, bytes that are not UTF-8 become U+FFFD. `mtime` is absent if the time cannot be
//! written as RFC 3339.

mod cut;
mod entries;
mod escape;
mod filter;
mod html;
pub(crate) mod humanize;
mod json;
mod order;
mod page;
mod policy;
mod query;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

#[cfg(feature = "cli")]
pub(crate) use escape::Text as HtmlText;
#[cfg(any(test, feature = "simulation"))]
pub use escape::fuzz_listing_name;
pub use policy::Policy;
#[cfg(any(test, feature = "simulation"))]
pub use query::fuzz_listing_query;
pub use query::{Asked, Format, Order, PAGE_MAX, Sort};

use self::filter::ListedDirectory;
use self::page::{Contents, ListingPage};
use crate::driver::File;

/// A directory listing. The directory is read for the first page; further pages use the same
/// entries.
#[derive(Debug)]
pub struct Listing {
    root: Arc<File>,
    dir: Vec<u8>,
    directory: Arc<File>,
    policy: Policy,
    contents: Option<Contents>,
}

impl Listing {
    /// A listing of `directory`, whose path below `root` is `dir`, in the form of
    /// [`Target::path`](super::target::Target::path).
    #[must_use]
    pub fn new(root: Arc<File>, dir: Vec<u8>, directory: Arc<File>, policy: Policy) -> Self {
        Self { root, dir, directory, policy, contents: None }
    }

    /// Makes a page. If there are fewer pages than `asked.page`, makes the last one.
    ///
    /// The result depends only on `asked` and the directory, byte by byte.
    ///
    /// # Errors
    ///
    /// Those of [`File::entries`], and a shortage of descriptors or memory while metadata is read.
    /// An entry whose metadata cannot be read for another reason is left out. After an error, the
    /// next call goes on where this one failed.
    pub fn page(&mut self, asked: &Asked) -> io::Result<Vec<u8>> {
        let Self { root, dir, directory, policy, contents } = self;
        let place = ListedDirectory { root, dir, directory };
        let contents = match contents {
            Some(contents) => contents,
            None => contents.insert(Contents::read(place, policy)?),
        };
        if asked.sort != Sort::Name {
            contents.describe(place)?;
        }
        contents.prepare(asked, policy);
        let mut page = ListingPage::of(dir, contents, *asked);
        page.describe(place)?;
        match asked.format {
            Format::Html => Ok(html::render(&page)),
            Format::Json => json::render(&page),
        }
    }

    /// The memory that the listing takes between two pages, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.contents.as_ref().map_or(0, Contents::bytes)
    }
}
