//! One page of a listing, and the contents from which it is made.

use std::io;

use super::entries::{ListedEntries, ListedEntry};
use super::filter::ListedDirectory;
use super::policy::Policy;
use super::query::{Asked, Order, Sort};
use super::{cut, order};

/// The entries of a listing, and their sorted orders.
#[derive(Default, Debug)]
pub(super) struct Contents {
    pub(super) entries: ListedEntries,
    /// How many names were read, if the directory has more.
    pub(super) truncated_at: Option<usize>,
    /// Whether all entries have details.
    pub(super) described: bool,
    /// The orders that were requested so far; at most one for each sort and direction.
    pub(super) orders: Vec<Sorted>,
}

/// The indices of the entries in one order, and where its pages begin.
#[derive(Debug)]
pub(super) struct Sorted {
    by: Sort,
    order: Order,
    places: Box<[u32]>,
    starts: Box<[u32]>,
}

impl Contents {
    pub(super) fn read(place: ListedDirectory<'_>, policy: &Policy) -> io::Result<Self> {
        // An index of an entry has 32 bits.
        let entries_max = policy.entries_max.min(u32::MAX as usize);
        let read = place.directory.entries(entries_max)?;
        let truncated_at = read.more.then_some(entries_max);
        let entries = place.visible(read.entries, policy)?;
        Ok(Self { entries, truncated_at, ..Self::default() })
    }

    /// Adds missing details to all entries.
    pub(super) fn describe(&mut self, place: ListedDirectory<'_>) -> io::Result<()> {
        if self.described {
            return Ok(());
        }
        // Entries that no longer exist are removed, which invalidates indices.
        self.orders.clear();
        let mut result = Ok(());
        self.entries.retain_mut(|entry| place.describe(entry, &mut result));
        self.described = result.is_ok();
        result
    }

    /// Sorts the entries as requested and cuts them into pages, unless this was done before.
    pub(super) fn prepare(&mut self, asked: &Asked, policy: &Policy) {
        if self.sorted(asked).is_some() {
            return;
        }
        let (by, order) = (asked.sort, asked.order);
        let places = order::places(&self.entries, by, order);
        let starts = cut::starts(&self.entries, &places, policy);
        self.orders.push(Sorted { by, order, places, starts });
    }

    fn sorted(&self, asked: &Asked) -> Option<&Sorted> {
        self.orders.iter().find(|sorted| (sorted.by, sorted.order) == (asked.sort, asked.order))
    }

    /// The memory that the contents take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let indices = |sorted: &Sorted| sorted.places.len() + sorted.starts.len();
        self.entries.bytes() + self.orders.iter().map(indices).sum::<usize>() * size_of::<u32>()
    }
}

impl Sorted {
    /// The number of pages, at least 1 and at most [`PAGE_MAX`](super::PAGE_MAX).
    fn pages(&self) -> u32 {
        self.starts.len() as u32
    }

    /// The indices of the entries of a page.
    fn page(&self, number: u32) -> &[u32] {
        let place = |at: u32| self.starts.get(at as usize).map(|start| *start as usize);
        let start = place(number - 1).unwrap_or(self.places.len());
        &self.places[start..place(number).unwrap_or(self.places.len())]
    }
}

/// One page of a listing.
#[derive(Debug)]
pub(super) struct ListingPage<'a> {
    /// The path of the directory below the root.
    pub(super) dir: &'a [u8],
    /// The request for the page. Its number is at most `pages`.
    pub(super) asked: Asked,
    /// The number of pages, at least 1.
    pub(super) pages: u32,
    /// The number of entries on all pages.
    pub(super) total: usize,
    /// How many names were read, if the directory has more.
    pub(super) truncated_at: Option<usize>,
    /// The entries of this page, in order.
    pub(super) items: Vec<ListedEntry<'a>>,
}

impl<'a> ListingPage<'a> {
    /// Makes the requested page.
    ///
    /// # Panics
    ///
    /// If the contents were not prepared for it ([`Contents::prepare`]).
    pub(super) fn of(dir: &'a [u8], contents: &'a Contents, asked: Asked) -> Self {
        let sorted = contents.sorted(&asked).expect("the order was prepared");
        let pages = sorted.pages();
        let asked = Asked { page: asked.page.clamp(1, pages), ..asked };
        let places = sorted.page(asked.page).iter();
        let items = places.map(|place| contents.entries.get(*place as usize)).collect();
        let (total, truncated_at) = (contents.entries.len(), contents.truncated_at);
        Self { dir, asked, pages, total, truncated_at, items }
    }

    /// Adds missing details to the entries of the page.
    pub(super) fn describe(&mut self, place: ListedDirectory<'_>) -> io::Result<()> {
        let mut result = Ok(());
        self.items.retain_mut(|entry| place.describe(entry, &mut result));
        result
    }

    /// The request for the previous page.
    pub(super) fn previous(&self) -> Option<Asked> {
        (self.asked.page > 1).then(|| Asked { page: self.asked.page - 1, ..self.asked })
    }

    /// The request for the next page.
    pub(super) fn next(&self) -> Option<Asked> {
        (self.asked.page < self.pages).then(|| Asked { page: self.asked.page + 1, ..self.asked })
    }

    /// The path of the directory with a slash at both ends, for display.
    pub(super) fn path(&self) -> Vec<u8> {
        let end: &[u8] = if self.dir.is_empty() { b"" } else { b"/" };
        [b"/", self.dir, end].concat()
    }
}
