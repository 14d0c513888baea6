//! Directory listings: what is in a directory, as a page for people or as an object for programs.
//!
//! A [`Listing`] reads the directory and gives the body of each page. It waits for the disk, so it
//! is for jobs that run aside, never for the loop. Everything else in here is a function of values:
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
mod query;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

pub use escape::fuzz_listing_name;
pub use query::{Asked, Format, Order, PAGE_MAX, Sort, fuzz_listing_query};

use self::filter::{Item, Place};
use crate::driver::File;

/// What is listed, and how much of it at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Whether names that begin with a dot are left out, except `.well-known` at the root.
    pub hide_dotfiles: bool,
    /// Whether `x.br`, `x.zst` and `x.gz` are left out beside a file `x`, since they are other
    /// forms of it.
    pub hide_sidecars: bool,
    /// Names that are read from one directory, hidden ones included.
    pub entries_max: usize,
    /// Entries on one page; 0 counts as 1.
    pub page_size: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hide_dotfiles: true, hide_sidecars: false, entries_max: 200_000, page_size: 1000 }
    }
}

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
        let place = Place { root, dir, directory };
        let contents = match contents {
            Some(contents) => contents,
            None => contents.insert(Contents::read(place, policy)?),
        };
        if asked.sort != Sort::Name {
            contents.describe(place)?;
        }
        let mut page = Page::of(dir, contents, *asked, policy);
        place.describe(&mut page.items)?;
        match asked.format {
            Format::Html => Ok(html::render(&page)),
            Format::Json => json::render(&page),
        }
    }
}

/// What there is to list, and the orders in which it was asked for.
#[derive(Default, Debug)]
struct Contents {
    items: Vec<Item>,
    /// How many names were read, if there are more.
    truncated_at: Option<usize>,
    /// Whether all items were looked at.
    described: bool,
    /// At most one for each sort and order.
    orders: Vec<Sorted>,
}

/// The places of items, in an order.
#[derive(Debug)]
struct Sorted {
    by: Sort,
    order: Order,
    places: Box<[usize]>,
}

impl Contents {
    fn read(place: Place<'_>, policy: &Policy) -> io::Result<Self> {
        let read = place.directory.entries(policy.entries_max)?;
        let truncated_at = read.more.then_some(policy.entries_max);
        let items = place.visible(read.entries, policy)?;
        Ok(Self { items, truncated_at, ..Self::default() })
    }

    /// Looks at every item that nobody has looked at.
    fn describe(&mut self, place: Place<'_>) -> io::Result<()> {
        if !self.described {
            // What is gone leaves its place to another.
            self.orders.clear();
            place.describe(&mut self.items)?;
            self.described = true;
        }
        Ok(())
    }

    /// The places of the items in an order. They are sorted once.
    fn places(&mut self, by: Sort, order: Order) -> &[usize] {
        let known = self.orders.iter().position(|sorted| (sorted.by, sorted.order) == (by, order));
        let known = known.unwrap_or_else(|| {
            let places = order::places(&self.items, by, order);
            self.orders.push(Sorted { by, order, places });
            self.orders.len() - 1
        });
        &self.orders[known].places
    }
}

/// One page of a listing, ready to be written.
#[derive(Debug)]
struct Page<'a> {
    /// The path below the root.
    dir: &'a [u8],
    /// What the page answers; its number is at most `pages`.
    asked: Asked,
    /// How many pages there are, at least 1.
    pages: u32,
    /// How many entries there are on all pages.
    total: usize,
    /// How many names were read, if there are more.
    truncated_at: Option<usize>,
    /// The entries of this page, in order.
    items: Vec<Item>,
}

impl<'a> Page<'a> {
    /// Takes the page that is asked for out of what there is to list.
    fn of(dir: &'a [u8], contents: &mut Contents, asked: Asked, policy: &Policy) -> Self {
        let total = contents.items.len();
        // Pages with higher numbers could not be asked for.
        let size = policy.page_size.max(total.div_ceil(PAGE_MAX as usize)).max(1);
        let pages = total.div_ceil(size).max(1) as u32;
        let asked = Asked { page: asked.page.clamp(1, pages), ..asked };
        let start = (asked.page - 1) as usize * size;
        let places = contents.places(asked.sort, asked.order);
        let places = places[start..total.min(start + size)].to_vec();
        let items = places.into_iter().map(|place| contents.items[place].clone()).collect();
        Self { dir, asked, pages, total, truncated_at: contents.truncated_at, items }
    }

    /// What asks for the page before this one.
    fn previous(&self) -> Option<Asked> {
        (self.asked.page > 1).then(|| Asked { page: self.asked.page - 1, ..self.asked })
    }

    /// What asks for the page after this one.
    fn next(&self) -> Option<Asked> {
        (self.asked.page < self.pages).then(|| Asked { page: self.asked.page + 1, ..self.asked })
    }

    /// The path as people know it: from the root, with a slash at both ends.
    fn path(&self) -> Vec<u8> {
        let end: &[u8] = if self.dir.is_empty() { b"" } else { b"/" };
        [b"/", self.dir, end].concat()
    }
}
