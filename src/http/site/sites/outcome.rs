//! What becomes of the outcome of a lookup: it is cached, and told to the sessions that wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::cache::Shed;
use super::super::cache_key::site_of;
use super::super::lookup::LookupOutcome;
use super::super::lookups::Ticket;
use super::super::resource::Resource;
use super::super::settings::is_same_directory;
use super::{Resolved, Sites, is_in_use};
use crate::driver::slot_map::Handle;
use crate::driver::{File, FileFailure, Now};
use crate::events::EventKind;
use crate::http::semantics::status::Status;
use crate::service::Task;

/// How long a result is valid at most if it was found before its directory was watched.
pub(super) const UNWATCHED_MAX: Duration = Duration::from_secs(1);

/// How many files of the cache are closed when the process runs out of descriptors.
const SHED: usize = 16;

/// How old a result may be that is used because descriptors have run out and it cannot be
/// revalidated. No change was reported since.
const STALE_MAX: Duration = Duration::from_secs(60);

/// Whether both are the same directory, or none.
fn is_same(one: Option<&Arc<File>>, other: Option<&Arc<File>>) -> bool {
    one.map_or(other.is_none(), |one| other.is_some_and(|other| is_same_directory(one, other)))
}

impl Sites {
    /// Caches the outcome of a lookup, and tells the sessions that wait for it.
    pub(super) fn finish(&mut self, now: Now, handle: Handle<Ticket>, outcome: LookupOutcome) {
        let entry = self.lookups.get_mut(handle).expect("the lookup has just taken a step");
        let (key, begun) = (Rc::clone(&entry.key), entry.lookup.begun());
        // If the root was opened before the lookup began, the result is only as recent as the root.
        let found = entry.root_known.map_or(begun, |known| known.min(begun));
        let (in_doubt, unwatched) = (entry.in_doubt, entry.unwatched);
        let has_fallen_back = entry.lookup.has_fallen_back();
        let newer = self.cache.found_at(&key).is_some_and(|newer| newer > found);
        let site = site_of(&key);
        let root = self.numbers.place(site).map(|place| &self.sites[place].root);
        let is_current = root.is_some_and(|root| {
            is_same_directory(entry.lookup.root(), root.get())
                && is_same(entry.lookup.fallback(), root.fallback())
        });
        let overtaken = newer || !is_current;
        let resolved = match outcome {
            LookupOutcome::Found(resource) => self.keep(now, &key, resource, found, overtaken),
            LookupOutcome::Unchanged => {
                if !overtaken {
                    self.cache.confirm(&key, found);
                }
                let known = self.cache.peek(&key).expect("the lookup has just compared the page");
                Resolved::Resource(Rc::clone(known))
            }
            LookupOutcome::Failed(error) => {
                let failure = FileFailure::of(&error);
                let stale = self.cache.stale(&key, now.instant, STALE_MAX).map(Rc::clone);
                if failure == FileFailure::Shortage && stale.is_none() {
                    // Too old to be used before it is revalidated, which opens the files again.
                    if self.cache.peek(&key).is_some_and(|known| known.files().next().is_some()) {
                        self.cache.remove(&key);
                    }
                    self.cache.shed_files(SHED, Shed::Cold(now.instant), is_in_use);
                    // Each has a directory open.
                    self.listings.clear(site);
                }
                match (failure, stale) {
                    (FileFailure::Shortage | FileFailure::Busy, Some(known)) => {
                        Resolved::Resource(known)
                    }
                    (FileFailure::Shortage | FileFailure::Busy, None) => {
                        Resolved::TransientError(Status::ServiceUnavailable)
                    }
                    _ => {
                        // The cached result may be wrong.
                        if !overtaken {
                            self.cache.remove(&key);
                        }
                        Resolved::TransientError(Status::InternalServerError)
                    }
                }
            }
        };
        if in_doubt && !overtaken {
            self.cache.expire(&key);
        } else if unwatched && !overtaken {
            self.cache.limit(&key, UNWATCHED_MAX);
        }
        if has_fallen_back && !overtaken {
            // Nothing watches the fallback root.
            let age = now.instant.saturating_duration_since(found);
            self.cache.limit(&key, age + UNWATCHED_MAX);
        }
        for waiter in self.lookups.finish(handle) {
            self.tasks.push_back(Task::Answer(waiter, resolved.clone()));
        }
    }

    /// Takes a resource that was found, if its files may stay open, and caches it, unless a newer
    /// result is known.
    fn keep(
        &mut self,
        now: Now,
        key: &[u8],
        resource: Resource,
        found: Instant,
        overtaken: bool,
    ) -> Resolved {
        let weight = resource.weight(key);
        // Removed first, because its files make room.
        let was_known = !overtaken && self.cache.remove(key);
        let new = resource.files().filter(|file| !file.is_counted()).count();
        if !self.has_room_for(now, new) {
            self.settings.events.tell(EventKind::DescriptorsShort, || {
                "as many files are open as the limit of descriptors allows, so an answer was 503; \
                 raise it with `ulimit -n`"
            });
            return Resolved::TransientError(Status::ServiceUnavailable);
        }
        resource.files().for_each(|file| file.count_in(&self.open_files));
        let resource = Rc::new(resource);
        if !overtaken {
            self.cache.insert(key, Rc::clone(&resource), weight, found);
            if was_known {
                self.cache.note_reuse(key);
            }
        }
        Resolved::Resource(resource)
    }

    /// Whether so many more files may stay open. Makes room if the cache has files that nothing
    /// uses. Hot files stay open: otherwise clients that request many files and do not read could
    /// push out those that all other clients want.
    fn has_room_for(&mut self, now: Now, files: usize) -> bool {
        let in_excess = (self.open_files.count() + files).saturating_sub(self.settings.files_max);
        files == 0
            || in_excess == 0
            || self.cache.shed_files(in_excess, Shed::Spare(now.instant), is_in_use) >= in_excess
    }
}
