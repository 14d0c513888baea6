//! What reports of changes, and a change of the root, do to the results of a site.

use super::{SITE, Sites, UNWATCHED_MAX};
use crate::driver::watch::{Change, ChangeReport, SiteId, is_at};
use crate::http::site::cache_key::{Invalidation, invalidated};

/// How many entries of the cache a report may visit. If it concerns more, the whole cache expires.
const EXPIRE_MAX: usize = 4096;

impl Sites {
    /// Processes a report of the watcher.
    pub(super) fn take_report(&mut self, report: &ChangeReport) {
        match report {
            ChangeReport::Watched { site, path } if *site == self.watch_id => {
                self.watched.insert(path.clone());
                self.limit_unwatched(&if path.is_empty() {
                    Change::Everything
                } else {
                    Change::Directory { path: path.clone() }
                });
            }
            ChangeReport::Unwatched { site, path } if *site == self.watch_id => {
                self.watched.retain(|watched| !is_at(watched, path));
            }
            ChangeReport::Changed { site, change } if *site == self.watch_id => {
                self.invalidate(change);
            }
            _ => {}
        }
    }

    /// Expires the results that a change concerns.
    fn invalidate(&mut self, change: &Change) {
        let Self { cache, lookups, listings, key, settings, .. } = self;
        listings.forget(SITE, change);
        let mut left = EXPIRE_MAX;
        invalidated(SITE, change, &settings.content.index, key, &mut |invalidation, key| {
            match invalidation {
                Invalidation::Key => {
                    cache.expire(key);
                    lookups.doubt(|other| other == key);
                }
                Invalidation::Prefix => {
                    left -= cache.expire_prefix(key, left);
                    lookups.doubt(|other| other.starts_with(key));
                }
            }
        });
    }

    /// Limits the validity of results from before a watch began to [`UNWATCHED_MAX`], because a
    /// change may have been missed. They do not expire at once, since clients usually send several
    /// requests at a time, which should share one lookup.
    fn limit_unwatched(&mut self, watched: &Change) {
        let Self { cache, lookups, listings, key, settings, .. } = self;
        listings.forget(SITE, watched);
        invalidated(SITE, watched, &settings.content.index, key, &mut |_, prefix| {
            cache.limit_prefix(prefix, UNWATCHED_MAX, EXPIRE_MAX);
            lookups.note_unwatched(|key| key.starts_with(prefix));
        });
    }

    /// Discards all results, because the root is another directory now.
    pub(super) fn change_root(&mut self) {
        self.cache.clear();
        self.listings.clear(SITE);
        self.lookups.doubt(|_| true);
        self.watched.clear();
        if let Some(watcher) = &mut self.watcher {
            watcher.forget(self.watch_id);
        }
        self.watch_id = SiteId(self.watch_id.0.wrapping_add(1));
    }
}
