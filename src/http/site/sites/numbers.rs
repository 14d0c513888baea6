//! The numbers of a worker's sites and of their roots.
//!
//! The number of a site stays in use until its entries have left the cache and its root was opened.
//! There are more numbers than sites, so one that was given back is not used again for long: until
//! then, late reports and the results that sessions hold find no site with it. The number of a root
//! is given back when the watcher was asked to forget it (`changes.rs`, `end_watches`).

use std::collections::HashMap;

use super::super::access::CHECKS_RUNNING_MAX;
use super::super::lookups::ASKS_MAX;
use super::super::site_table::SITES_MAX;
use crate::ask::AskId;
use crate::driver::slot_map::CAPACITY_MAX;
use crate::driver::watch::SiteId;

/// The numbers in use, and the place of the site of each. Numbers of sites that are gone have none.
#[derive(Default, Debug)]
pub(super) struct Numbers {
    places: HashMap<SiteId, Option<usize>, foldhash::fast::RandomState>,
    next: u16,
}

/// The id of the question for the root of the site with number 0; those of other sites follow. The
/// ids of lookups' questions are smaller.
pub(super) const ASK_ROOT: u32 = ASKS_MAX;

/// The id of the question for the root of a site.
pub(super) fn ask_root(site: SiteId) -> AskId {
    AskId(ASK_ROOT + u32::from(site.0))
}

/// The id of the first question of a check of a password. Those for roots are smaller.
const ASK_PASSWORD: u32 = ASK_ROOT + u16::MAX as u32 + 1;

const _: () = assert!(ASK_PASSWORD + CHECKS_RUNNING_MAX as u32 <= CAPACITY_MAX, "ids fit");

/// The id of the question of a check with this number.
pub(super) fn ask_password(slot: usize) -> AskId {
    AskId(ASK_PASSWORD + slot as u32)
}

/// The number of the check whose question has this id; `None` if the question is another one.
pub(super) fn password_slot(id: AskId) -> Option<usize> {
    id.0.checked_sub(ASK_PASSWORD).map(|slot| slot as usize)
}

/// Each site has two numbers, and those of the previous generation may still be in use.
const _: () = assert!(4 * SITES_MAX < u16::MAX as usize, "there are enough numbers");

impl Numbers {
    /// A number for the site at a place.
    pub(super) fn add(&mut self, place: usize) -> SiteId {
        assert!(self.places.len() < usize::from(u16::MAX), "a number is free");
        while self.places.contains_key(&SiteId(self.next)) {
            self.next = self.next.wrapping_add(1);
        }
        let id = SiteId(self.next);
        self.next = self.next.wrapping_add(1);
        self.places.insert(id, Some(place));
        id
    }

    /// The place of the site that a number stands for; `None` if the site is gone.
    pub(super) fn place(&self, id: SiteId) -> Option<usize> {
        self.places.get(&id).copied().flatten()
    }

    /// The site of a number has this place now; with `None` it is gone, and the number is not used
    /// again until [`Numbers::remove`].
    pub(super) fn set(&mut self, id: SiteId, place: Option<usize>) {
        self.places.insert(id, place);
    }

    /// Gives a number back.
    pub(super) fn remove(&mut self, id: SiteId) {
        self.places.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use_are_not_given_out_again() {
        let mut numbers = Numbers::default();
        let first = numbers.add(0);
        let second = numbers.add(1);
        numbers.set(second, None);
        assert_eq!((numbers.place(first), numbers.place(second)), (Some(0), None));
        for _ in 0..3 * usize::from(u16::MAX) {
            let other = numbers.add(2);
            assert!(other != first && other != second);
            numbers.remove(other);
        }
        numbers.remove(second);
        assert!((0..usize::from(u16::MAX)).any(|_| {
            let other = numbers.add(2);
            numbers.remove(other);
            other == second
        }));
    }
}
