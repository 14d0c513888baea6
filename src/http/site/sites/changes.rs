//! What reports of changes, and a change of the root, do to the results of a site.

use super::Sites;
use super::outcome::UNWATCHED_MAX;
use crate::driver::watch::{Change, ChangeReport, is_at};
use crate::http::site::cache_key::{Invalidation, invalidated};

/// How many entries of the cache a report may visit. If it concerns more, the whole cache expires.
const EXPIRE_MAX: usize = 4096;

impl Sites {
    /// Processes a report of the watcher. Reports about earlier roots are ignored.
    pub(super) fn take_report(&mut self, report: &ChangeReport) {
        let Some(place) = self.numbers.place(report.site()) else { return };
        let site = &mut self.sites[place];
        if site.watch_id != report.site() {
            // A late report about a root whose number is used again.
            return;
        }
        match report {
            ChangeReport::Watched { path, .. } => {
                self.watched += usize::from(site.watched.insert(path.clone()));
                self.limit_unwatched(
                    place,
                    &if path.is_empty() {
                        Change::Everything
                    } else {
                        Change::Directory { path: path.clone() }
                    },
                );
            }
            ChangeReport::Unwatched { path, .. } => {
                let before = site.watched.len();
                site.watched.retain(|watched| !is_at(watched, path));
                self.watched -= before - site.watched.len();
            }
            ChangeReport::Changed { change, .. } => self.invalidate(place, change),
        }
    }

    /// Expires the results of a site that a change concerns.
    fn invalidate(&mut self, place: usize, change: &Change) {
        let Self { cache, lookups, listings, key, sites, .. } = self;
        let site = &sites[place];
        listings.forget(site.id, change);
        let mut left = EXPIRE_MAX;
        let index = &site.settings.content.index;
        invalidated(site.id, change, index, key, &mut |invalidation, key| match invalidation {
            Invalidation::Key => {
                cache.expire(key);
                lookups.doubt(|other| other == key);
            }
            Invalidation::Prefix => {
                left -= cache.expire_prefix(key, left);
                lookups.doubt(|other| other.starts_with(key));
            }
        });
    }

    /// Limits the validity of results from before a watch began to [`UNWATCHED_MAX`], because a
    /// change may have been missed. They do not expire at once, since clients usually send several
    /// requests at a time, which should share one lookup.
    fn limit_unwatched(&mut self, place: usize, watched: &Change) {
        let Self { cache, lookups, listings, key, sites, .. } = self;
        let site = &sites[place];
        listings.forget(site.id, watched);
        invalidated(site.id, watched, &site.settings.content.index, key, &mut |_, prefix| {
            cache.limit_prefix(prefix, UNWATCHED_MAX, EXPIRE_MAX);
            lookups.note_unwatched(|key| key.starts_with(prefix));
        });
    }

    /// Expires all results of a site, because its root is another directory now.
    pub(super) fn change_root(&mut self, place: usize) {
        self.invalidate(place, &Change::Everything);
        self.end_watches(place);
        let site = &mut self.sites[place];
        self.numbers.remove(site.watch_id);
        site.watch_id = self.numbers.add(place);
    }

    /// Ends the watches of a site. Its number may be given back afterwards: the watcher serves
    /// requests in order, so it reports the end before it watches for another site with this
    /// number. Reports that come before are harmless (clause 8 of the contract of watchers).
    pub(super) fn end_watches(&mut self, place: usize) {
        let site = &mut self.sites[place];
        self.watched -= site.watched.len();
        site.watched.clear();
        // A watch that is not forgotten would stay for ever, and the next site with its number
        // would get no answer to its request for that directory (clause 3).
        if std::mem::take(&mut site.may_be_watched)
            && let Some(watcher) = &mut self.watcher
        {
            watcher.forget(site.watch_id);
        }
    }
}
