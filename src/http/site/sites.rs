//! What the HTTP sessions of a worker share: the sites, what is known of their files, and the work
//! of finding it out.
//!
//! A session asks for a name ([`Sites::find`]). A cached result is valid until it is too old, or a
//! change to it is reported. While it is valid, it is returned at once; otherwise the name is
//! looked up, once for all who ask ([`Lookups`]), and the session is told later. The outcome is
//! cached as soon as it is known; if everybody who waits leaves before, the lookup is cancelled.
//! Nothing is cached when another root has taken the place of the one that the lookup began in, or
//! a newer lookup of the name was faster. When a change was reported meanwhile, the outcome is
//! cached as expired: it is asked about again before it is used.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::cache::{self, Cache};
use super::cache_key::{Invalidation, Name, invalidated};
use super::cache_stats::{CacheStats, PublishedCacheStats};
use super::listing_job::Listings;
use super::lookup::{Lookup, Outcome, Progress, Surroundings};
use super::lookups::{Lookups, Ticket};
use super::resource::Resource;
use super::response::{CommonFields, Response};
use super::root::{Freshness, Root};
use super::settings::SiteSettings;
use super::templates::{Problem, ResponseTemplates};
use crate::ask::{AskId, Reply};
use crate::driver::slot_map::{CAPACITY_MAX, Handle};
use crate::driver::watch::{Change, ChangeReport, Inotify, Post, SiteId, Watcher, is_at};
use crate::driver::{FileFailure, Now};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::multipart::Boundary;
use crate::http::semantics::status::Status;
use crate::service::{Service, SessionId, Task, Waiter};

/// Names that may be gone through after one report, because they begin like those that a change
/// concerns; if there are more, everything is asked about.
const EXPIRE_MAX: usize = 4096;

/// How long what was found in a directory before it was watched holds at most. Afterwards the
/// reports of the watcher are enough.
const UNWATCHED_MAX: Duration = Duration::from_secs(1);

/// Cached files that are closed when the process runs out of descriptors.
const SHED: usize = 16;

/// Directories that are known to be watched, or were asked to be.
const WATCHED_MAX: usize = 4096;

/// The question for the root of the site. Questions of lookups have smaller numbers.
const ASK_ROOT: AskId = AskId(CAPACITY_MAX);

/// The only site there is. Its number begins all keys, so there may be more.
const SITE: SiteId = SiteId(0);

/// What a name has led to.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// What the name is. Shared, because the cache may forget it before the answer is written.
    Resource(Rc<Resource>),
    /// Something that may pass, and is not remembered.
    TransientError(Status),
}

/// The shared part of a worker's HTTP sessions; see the module documentation.
#[derive(Debug)]
pub struct Sites {
    pub(in crate::http) settings: Rc<SiteSettings>,
    pub(super) templates: ResponseTemplates,
    /// `Server` and `Date`.
    pub(in crate::http) common: CommonFields,
    root: Root,
    cache: Cache<Rc<Resource>>,
    listings: Listings,
    lookups: Lookups,
    /// Lookups that begin when the root is there, which has been asked for.
    wait_for_root: Vec<Handle<Ticket>>,
    root_is_asked: bool,
    /// Lookups that need to know the root at a later time than that.
    need_newer_root: Vec<Handle<Ticket>>,
    watcher: Option<Box<dyn Watcher>>,
    /// What the watcher knows the present root by: reports of an earlier one mean nothing.
    watch_id: SiteId,
    /// Directories that are watched, or were asked to be.
    watched: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    tasks: VecDeque<Task<Resolved>>,
    /// Where keys are put together, so that looking one up allocates nothing.
    key: Vec<u8>,
    random: fastrand::Rng,
    published: Arc<PublishedCacheStats>,
}

impl Sites {
    /// A site of which nothing is known yet. Changes are noticed by `watcher`; without one, what is
    /// known holds for its time.
    pub fn new(settings: SiteSettings, watcher: Option<Box<dyn Watcher>>) -> Self {
        let cache =
            Cache::new(settings.cache_entries, settings.cache_bytes, settings.revalidate_after);
        // What is asked about each time needs no watch.
        let watches = settings.watch && !settings.revalidate_after.is_zero();
        Self {
            root: Root::new(&settings),
            lookups: Lookups::new(settings.lookups_max),
            settings: Rc::new(settings),
            templates: ResponseTemplates::default(),
            common: CommonFields::default(),
            cache,
            listings: Listings::default(),
            wait_for_root: Vec::new(),
            root_is_asked: false,
            need_newer_root: Vec::new(),
            watcher: watcher.filter(|_| watches),
            watch_id: SiteId(0),
            watched: HashSet::default(),
            tasks: VecDeque::new(),
            key: Vec::new(),
            random: fastrand::Rng::new(),
            published: Arc::default(),
        }
    }

    /// A site whose changes the kernel tells of: reports go to `post`, which brings them to
    /// [`Service::receive`].
    pub fn watching(settings: SiteSettings, post: Post) -> Self {
        let watches = settings.watch && !settings.revalidate_after.is_zero();
        let watcher = watches.then(|| Box::new(Inotify::new(post)) as Box<dyn Watcher>);
        Self::new(settings, watcher)
    }

    /// Tells the rest of the process of the cache through `published`.
    #[must_use]
    pub fn publishing(self, published: Arc<PublishedCacheStats>) -> Self {
        Self { published, ..self }
    }

    /// What the cache holds and has done.
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats { watched: self.watched.len() as u64, ..self.cache.stats() }
    }

    /// What tells the parts of an answer apart: nobody who made a file can know it.
    pub(super) fn boundary(&mut self) -> Boundary {
        Boundary::new([self.random.u64(..), self.random.u64(..)])
    }

    /// The response to what is no request, or did not arrive.
    pub(in crate::http) fn error(&mut self, problem: Problem) -> Response {
        self.templates.error(Fields::new(), problem, &Fields::new(), false)
    }

    /// What a name is, if that is known; else a ticket, and the waiter is told later.
    pub(super) fn find(
        &mut self,
        now: Now,
        name: &Name<'_>,
        waiter: Waiter,
    ) -> Result<Resolved, Ticket> {
        name.write_key(SITE, &mut self.key);
        if let cache::Cached::Valid(resource) = self.cache.get(&self.key, now.instant) {
            return Ok(Resolved::Resource(Rc::clone(resource)));
        }
        let age_max = self.settings.revalidate_after;
        if let Some(ticket) = self.lookups.join(&self.key, now.instant, age_max, waiter) {
            return Err(ticket);
        }
        let lookup = Lookup::new(&self.settings, self.root.get(), name, now.instant);
        let ticket = self.lookups.add(&self.key, lookup, waiter);
        ticket.map_or(Ok(Resolved::TransientError(Status::ServiceUnavailable)), Err)
    }

    /// A session does not wait any more.
    pub(in crate::http) fn leave(&mut self, ticket: Ticket, session: SessionId) {
        let unneeded = self.lookups.leave(ticket, session);
        let Self { lookups, wait_for_root, need_newer_root, .. } = self;
        for waiting in [wait_for_root, need_newer_root] {
            waiting.retain(|handle| lookups.get_mut(*handle).is_some());
        }
        self.tasks.extend(unneeded.into_iter().map(Task::Cancel));
    }

    #[inline(never)]
    fn next_task(&mut self, now: Now) -> Option<Task<Resolved>> {
        if self.tasks.is_empty() {
            self.begin_lookups(now);
        }
        self.tasks.pop_front()
    }

    /// Begins the lookups that may begin.
    fn begin_lookups(&mut self, now: Now) {
        // Those who wait for a root that does not come would keep all others in line.
        if self.root_is_asked && self.root.freshness(now.instant) == Freshness::Hangs {
            self.wait_for_root.append(&mut self.need_newer_root);
            self.begin_those_who_wait(now);
        }
        while let Some(handle) = self.lookups.next_in_line() {
            if let Some(entry) = self.lookups.get_mut(handle) {
                entry.lookup.start(now.instant);
            }
            match self.root.freshness(now.instant) {
                Freshness::Fresh | Freshness::Hangs => self.begin(now, handle),
                Freshness::Asked => self.wait_for_root.push(handle),
                Freshness::Due | Freshness::AskedBefore => {
                    self.need_newer_root.push(handle);
                    self.ask_root(now);
                }
            }
        }
    }

    /// Asks for the root, if there is a lookup that needs it and no question is open.
    fn ask_root(&mut self, now: Now) {
        if self.root_is_asked || self.need_newer_root.is_empty() {
            return;
        }
        self.wait_for_root = std::mem::take(&mut self.need_newer_root);
        match self.root.ask(now.instant) {
            Some(ask) => {
                self.root_is_asked = true;
                self.tasks.push_back(Task::Ask(ASK_ROOT, ask));
            }
            None => self.begin_those_who_wait(now),
        }
    }

    fn begin_those_who_wait(&mut self, now: Now) {
        for handle in std::mem::take(&mut self.wait_for_root) {
            self.begin(now, handle);
        }
    }

    fn begin(&mut self, now: Now, handle: Handle<Ticket>) {
        let root = Arc::clone(self.root.get());
        if let Some(entry) = self.lookups.get_mut(handle) {
            entry.root_known = Some(self.root.known_since(now.instant));
        }
        self.step(now, handle, |lookup, site| lookup.begin(site, &root));
        self.watch(handle);
    }

    /// Lets a lookup take a step, if it still runs, and does what comes of it.
    fn step(
        &mut self,
        now: Now,
        handle: Handle<Ticket>,
        step: impl FnOnce(&mut Lookup, &mut Surroundings<'_>) -> Progress,
    ) {
        let Some(entry) = self.lookups.get_mut(handle) else { return };
        let known = match self.cache.peek(&entry.key).map(|known| &**known) {
            Some(Resource::Page(page)) => Some(page),
            _ => None,
        };
        let (settings, listings): (_, &mut Listings) = (&*self.settings, &mut self.listings);
        let mut surroundings = Surroundings { site: SITE, settings, listings, known, now };
        match step(&mut entry.lookup, &mut surroundings) {
            Progress::Wait => {}
            Progress::Ask(asks) => {
                for (part, ask) in asks {
                    let id = self.lookups.opened(handle, part);
                    self.tasks.push_back(Task::Ask(id, ask));
                }
            }
            Progress::Done(outcome) => self.finish(handle, outcome),
        }
    }

    /// Remembers what came of a lookup, and tells those who wait.
    fn finish(&mut self, handle: Handle<Ticket>, outcome: Outcome) {
        let entry = self.lookups.get_mut(handle).expect("it has just taken a step");
        let (key, begun) = (Rc::clone(&entry.key), entry.lookup.begun());
        // What is in a directory that is not the root any more is as old as that.
        let found = entry.root_known.map_or(begun, |known| known.min(begun));
        let (in_doubt, unwatched) = (entry.in_doubt, entry.unwatched);
        let newer = self.cache.found_at(&key).is_some_and(|newer| newer > found);
        let overtaken = newer || !Arc::ptr_eq(entry.lookup.root(), self.root.get());
        let resolved = match outcome {
            Outcome::Found(resource) => {
                let resource = Rc::new(resource);
                if !overtaken {
                    let weight = resource.weight(&key);
                    self.cache.insert(&key, Rc::clone(&resource), weight, found);
                }
                Resolved::Resource(resource)
            }
            Outcome::Unchanged => {
                if !overtaken {
                    self.cache.confirm(&key, found);
                }
                let known = self.cache.peek(&key).expect("it was just compared");
                Resolved::Resource(Rc::clone(known))
            }
            Outcome::Failed(error) => {
                // What was known of the name may be wrong by now, but a shortage says nothing of
                // it.
                let failure = FileFailure::of(&error);
                match failure {
                    FileFailure::Shortage => self.cache.shed(SHED),
                    FileFailure::Busy => {}
                    _ if overtaken => {}
                    _ => self.cache.remove(&key),
                }
                Resolved::TransientError(transient(failure))
            }
        };
        if in_doubt && !overtaken {
            self.cache.expire(&key);
        } else if unwatched && !overtaken {
            self.cache.limit(&key, UNWATCHED_MAX);
        }
        for waiter in self.lookups.finish(handle) {
            self.tasks.push_back(Task::Answer(waiter, resolved.clone()));
        }
    }

    /// Has changes reported that concern a lookup's name, from now on.
    fn watch(&mut self, handle: Handle<Ticket>) {
        let (Some(watcher), Some(entry)) = (&mut self.watcher, self.lookups.get_mut(handle)) else {
            return;
        };
        let directory = entry.lookup.directory();
        if self.watched.contains(directory) || self.watched.len() >= WATCHED_MAX {
            return;
        }
        if watcher.watch(self.watch_id, entry.lookup.root(), directory) {
            self.watched.insert(directory.into());
        }
    }

    /// Takes in what the watcher tells.
    fn take_report(&mut self, report: &ChangeReport) {
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

    /// Expires what a change concerns.
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

    /// What was found here before the watch began may have changed unnoticed, so it expires after
    /// [`UNWATCHED_MAX`]. It does not expire at once, because several clients usually ask at the
    /// same time, and one lookup should serve them all.
    fn limit_unwatched(&mut self, watched: &Change) {
        let Self { cache, lookups, listings, key, settings, .. } = self;
        listings.forget(SITE, watched);
        invalidated(SITE, watched, &settings.content.index, key, &mut |_, prefix| {
            cache.limit_prefix(prefix, UNWATCHED_MAX, EXPIRE_MAX);
            lookups.note_unwatched(|key| key.starts_with(prefix));
        });
    }

    /// Serves another root from now on: nothing that is known holds.
    fn change_root(&mut self) {
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

impl Service for Sites {
    type Answer = Resolved;
    type Message = Vec<ChangeReport>;

    /// Called in every turn, so that nothing to do costs next to nothing.
    #[inline]
    fn poll(&mut self, now: Now) -> Option<Task<Resolved>> {
        if self.tasks.is_empty() && !self.lookups.has_line() {
            return None;
        }
        self.next_task(now)
    }

    fn resume(&mut self, now: Now, id: AskId, reply: Reply) {
        if id != ASK_ROOT {
            let (handle, part) = self.lookups.replied(id);
            return self.step(now, handle, |lookup, site| lookup.resume(site, part, reply));
        }
        let Reply::Opened(opened) = reply else { unreachable!("a root is opened") };
        self.root_is_asked = false;
        if self.root.answered(opened) {
            self.change_root();
        }
        self.begin_those_who_wait(now);
        self.ask_root(now);
    }

    fn receive(&mut self, _: Now, reports: Vec<ChangeReport>) {
        reports.iter().for_each(|report| self.take_report(report));
    }

    fn publish(&self) {
        self.published.publish(self.cache_stats());
    }
}

/// The status of what could not be found out.
fn transient(failure: FileFailure) -> Status {
    match failure {
        FileFailure::Shortage | FileFailure::Busy => Status::ServiceUnavailable,
        _ => Status::InternalServerError,
    }
}
