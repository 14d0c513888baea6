//! One page of a listing, and the contents from which it is made.

use std::io;

use super::filter::{ListedDirectory, ListedEntry};
use super::order;
use super::policy::Policy;
use super::query::{Asked, Order, PAGE_MAX, Sort};

/// The entries of a listing, and their sorted orders.
#[derive(Default, Debug)]
pub(super) struct Contents {
    pub(super) items: Vec<ListedEntry>,
    /// How many names were read, if the directory has more.
    pub(super) truncated_at: Option<usize>,
    /// Whether all items have metadata.
    pub(super) described: bool,
    /// The orders that were requested so far.
    pub(super) orders: Vec<Sorted>,
}

/// The indices of the items in one order.
#[derive(Debug)]
pub(super) struct Sorted {
    by: Sort,
    order: Order,
    places: Box<[usize]>,
}

impl Contents {
    pub(super) fn read(place: ListedDirectory<'_>, policy: &Policy) -> io::Result<Self> {
        let read = place.directory.entries(policy.entries_max)?;
        let truncated_at = read.more.then_some(policy.entries_max);
        let items = place.visible(read.entries, policy)?;
        Ok(Self { items, truncated_at, ..Self::default() })
    }

    /// Adds missing metadata to all items.
    pub(super) fn describe(&mut self, place: ListedDirectory<'_>) -> io::Result<()> {
        if !self.described {
            // Items that no longer exist are removed, which invalidates indices.
            self.orders.clear();
            place.describe(&mut self.items)?;
            self.described = true;
        }
        Ok(())
    }

    /// The indices of the items in an order. They are sorted once for each order.
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
    pub(super) items: Vec<ListedEntry>,
}

impl<'a> ListingPage<'a> {
    /// Makes the requested page.
    pub(super) fn of(
        dir: &'a [u8],
        contents: &mut Contents,
        asked: Asked,
        policy: &Policy,
    ) -> Self {
        let total = contents.items.len();
        // Pages grow if there would be more than can be requested.
        let size = policy.page_size.max(total.div_ceil(PAGE_MAX as usize)).max(1);
        let pages = total.div_ceil(size).max(1) as u32;
        let asked = Asked { page: asked.page.clamp(1, pages), ..asked };
        let start = (asked.page - 1) as usize * size;
        let places = contents.places(asked.sort, asked.order);
        let places = places[start..total.min(start + size)].to_vec();
        let items = places.into_iter().map(|place| contents.items[place].clone()).collect();
        Self { dir, asked, pages, total, truncated_at: contents.truncated_at, items }
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
