//! Directory listings: what is in a directory, as a page for people or as an object for programs.
//!
//! A [`Listing`] reads the directory and gives the body of each page. It waits for the disk, so it
//! is for jobs, never for the loop. Everything else in here is a function of values:
//!
//! - `query` reads what is asked ([`Asked`]), and names it for links and for caches;
//! - `filter` decides what is listed, and looks at it as far as needed;
//! - `order` sorts it, `html` and `json` write one page of it;
//! - `escape` makes names harmless, `humanize` writes numbers for people.
//!
//! The work has bounds. At most [`Policy::entries_max`] names are read, in one pass, and what lies
//! beyond is not listed; the page says so. By name, only links and the entries of one page are
//! looked at one by one; by size and by time all are. A page has at most [`Policy::page_size`]
//! entries, and writes each in less than 3 KiB, with a name of 255 bytes that all need escaping.
//!
//! What is listed can be opened, as far as a moment's look can tell: links that lead nowhere, or
//! where the root's policy does not let them, are left out, and so are FIFOs, sockets and devices.
//!
//! # JSON
//!
//! The answer is an object, not an array as nginx's autoindex gives it. A directory may be longer
//! than a page; a program that does not know of pages then fails at once, rather than take a part
//! for the whole. It follows `next` while there is one.
//!
//! ```json
//! {"path": "/pub/", "page": 1, "pages": 2, "total": 1001, "truncated": false, "next": "?page=2",
//!  "entries": [
//!   {"name": "iso", "type": "directory", "mtime": "2026-01-02T03:04:05Z", "href": "./iso/"},
//!   {"name": "a b", "type": "file", "size": 7, "mtime": "2026-01-02T03:04:05Z",
//!    "href": "./a%20b"}]}
//! ```
//!
//! `total` counts the entries on all pages; `truncated` says that there were more names than are
//! read. `next` and `href` are relative to the listing. `href` is exact where `name` cannot be: a
//! name that is not UTF-8 has U+FFFD in it. `mtime` is absent when RFC 3339 has no form for it.

mod escape;
mod filter;
mod html;
mod humanize;
mod json;
mod order;
mod page;
mod policy;
mod query;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

pub use escape::fuzz_listing_name;
pub use policy::Policy;
pub use query::{Asked, Format, Order, PAGE_MAX, Sort, fuzz_listing_query};

use self::filter::ListedDirectory;
use self::page::{Contents, ListingPage};
use crate::driver::File;

/// A directory to be listed. It is read when the first page is asked for; all further pages show
/// it as it was then.
#[derive(Debug)]
pub struct Listing {
    root: Arc<File>,
    dir: Vec<u8>,
    directory: Arc<File>,
    policy: Policy,
    contents: Option<Contents>,
}

impl Listing {
    /// A listing of `directory`, which is at `dir` below `root`: a path as
    /// [`Target::path`](super::target::Target::path) has it, empty for the root itself.
    #[must_use]
    pub fn new(root: Arc<File>, dir: Vec<u8>, directory: Arc<File>, policy: Policy) -> Self {
        Self { root, dir, directory, policy, contents: None }
    }

    /// Makes a page.
    ///
    /// The same question about the same directory has the same answer, byte for byte. A page
    /// beyond the last is the last.
    ///
    /// # Errors
    ///
    /// Those of [`File::entries`], and a lack of descriptors or memory while links are looked at.
    /// An entry that cannot be looked at for another reason is left out. The next page begins
    /// where this one has failed.
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
        let mut page = ListingPage::of(dir, contents, *asked, policy);
        place.describe(&mut page.items)?;
        match asked.format {
            Format::Html => Ok(html::render(&page)),
            Format::Json => json::render(&page),
        }
    }
}
