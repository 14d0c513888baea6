//! What a new table of sites does to the present ones.
//!
//! A site whose settings are the same keeps its number, so its cached results and its lookups stay.
//! All other sites of the old table are retired: their lookups end, and the sessions that wait are
//! told to decide anew ([`Resolved::Renewed`]). New sites get numbers of their own, so no result of
//! an old site is used for them. The entries of retired sites are removed from the cache bit by
//! bit; until then they only take up room.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::cache_key::site_of;
use super::super::settings::SiteSettings;
use super::super::site_table::SiteTable;
use super::numbers::ask_root;
use super::site::RetiredSite;
use super::{Resolved, Site, Sites};
use crate::driver::Now;
use crate::service::Task;

/// How many entries of retired sites are removed from the cache at a time.
const REMOVE_MAX: usize = 1024;

impl Sites {
    /// Replaces the table of sites. An older table than the present one is ignored.
    pub(super) fn renew(&mut self, now: Now, table: Arc<SiteTable>) {
        if table.generation() <= self.settings.sites.generation() {
            return;
        }
        // So that numbers never run out.
        while self.has_retired_entries() {
            self.remove_retired();
        }
        let mut unchanged = self.take_unchanged(&table);
        for place in 0..self.sites.len() {
            self.end_watches(place);
        }
        for site in std::mem::take(&mut self.sites) {
            self.retire(site);
        }
        let revalidate_after = self.settings.revalidate_after;
        for (place, settings) in table.sites().iter().enumerate() {
            let site = match unchanged.remove(&place) {
                Some(mut site) => {
                    site.renew(settings);
                    self.numbers.set(site.id, Some(place));
                    self.numbers.set(site.watch_id, Some(place));
                    site
                }
                None => Site::new(settings, revalidate_after, now, &mut self.numbers, place),
            };
            self.sites.push(site);
        }
        self.number_sites();
        self.settings.sites = table;
        self.renewed = Some(now.instant);
        self.end_lookups();
    }

    /// Takes out the sites that the new table has too, by their places there.
    fn take_unchanged(&mut self, table: &SiteTable) -> HashMap<usize, Site> {
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (place, site) in table.sites().iter().enumerate() {
            by_name.insert(&site.name, place);
        }
        let mut unchanged = HashMap::new();
        for site in std::mem::take(&mut self.sites) {
            let place = by_name.get(&*site.settings.name).copied();
            let is_same = |place: &usize| is_same(&site, &table.sites()[*place]);
            let place = place.filter(|it| !unchanged.contains_key(it)).filter(is_same);
            match place {
                Some(place) => drop(unchanged.insert(place, site)),
                None => self.sites.push(site),
            }
        }
        unchanged
    }

    /// Retires a site.
    fn retire(&mut self, site: Site) {
        self.numbers.remove(site.watch_id);
        self.numbers.set(site.id, None);
        self.listings.clear(site.id);
        if self.roots_asked.contains(&site.id) {
            self.tasks.push_back(Task::Cancel(ask_root(site.id)));
        }
        self.retired.push(RetiredSite { id: site.id, is_cached: true });
    }

    /// Ends the lookups of sites that are gone.
    fn end_lookups(&mut self) {
        for ticket in self.lookups.tickets() {
            let key = self.lookups.key(ticket).expect("the lookup is in the table");
            if self.numbers.place(site_of(&key)).is_some() {
                continue;
            }
            let (waiters, unneeded) = self.lookups.end(ticket);
            self.tasks.extend(unneeded.into_iter().map(Task::Cancel));
            let answer = |waiter| Task::Answer(waiter, Resolved::Renewed);
            self.tasks.extend(waiters.into_iter().map(answer));
        }
    }

    /// Whether the cache may have entries of retired sites.
    #[inline]
    pub(super) fn has_retired_entries(&self) -> bool {
        !self.retired.is_empty() && self.retired.iter().any(|site| site.is_cached)
    }

    /// Removes some entries of retired sites from the cache.
    pub(super) fn remove_retired(&mut self) {
        let mut left = REMOVE_MAX;
        for site in self.retired.iter_mut().filter(|site| site.is_cached) {
            left -= self.cache.remove_prefix(&site.id.0.to_be_bytes(), left);
            if left == 0 {
                break;
            }
            site.is_cached = false;
        }
        self.give_numbers_back();
    }

    /// Gives back the numbers of retired sites of which nothing is left.
    pub(super) fn give_numbers_back(&mut self) {
        let Self { retired, numbers, roots_asked, .. } = self;
        retired.retain(|site| {
            let is_left = site.is_cached || roots_asked.contains(&site.id);
            if !is_left {
                numbers.remove(site.id);
            }
            is_left
        });
    }
}

/// Whether the results of a site are right for these settings.
fn is_same(site: &Site, new: &SiteSettings) -> bool {
    let old = &**site.settings;
    let fallback = |settings: &SiteSettings| {
        settings.fallback_root.as_ref().map(|it| (it.root_path.clone(), it.only.clone()))
    };
    site.root.is_of(new)
        && (&old.root_path, &old.content) == (&new.root_path, &new.content)
        && fallback(old) == fallback(new)
}
