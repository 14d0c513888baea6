//! The service of HTTP sessions: what the sessions of a worker share.
//!
//! A session asks for a name ([`Sites::find`]). If the cached result is valid, that is, neither too
//! old nor invalidated by a change, it is returned at once. Otherwise the name is looked up, and
//! the session is told later; all sessions that ask for the name share the lookup ([`Lookups`]). If
//! all of them leave, the lookup is cancelled.
//!
//! The result of a lookup is cached, unless the root has changed since the lookup began, or a newer
//! lookup of the name was faster. If a change was reported since the lookup began, the result is
//! cached as expired, so it is revalidated before it is used.

mod changes;

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::{self, Cache, Shed};
use super::cache_key::ResourceName;
use super::cache_stats::{CacheStats, PublishedCacheStats};
use super::listing_job::Listings;
use super::listing_line::ListingClient;
use super::lookup::{Lookup, LookupOutcome, LookupProgress, Surroundings};
use super::lookups::{Lookups, Ticket};
use super::resource::Resource;
use super::response::{CommonFields, Response};
use super::root::{Freshness, Root};
use super::settings::SiteSettings;
use super::templates::{Problem, ResponseTemplates};
use crate::ask::{AskId, Reply};
use crate::driver::slot_map::{CAPACITY_MAX, Handle};
use crate::driver::watch::{ChangeReport, Inotify, Post, SiteId, Watcher};
use crate::driver::{FileFailure, Now, OpenFiles};
use crate::http::semantics::fields::Fields;
use crate::http::semantics::multipart::Boundary;
use crate::http::semantics::status::Status;
use crate::service::{Service, SessionId, Task, Waiter};
use crate::session::Addresses;

/// How long a result is valid at most if it was found before its directory was watched.
const UNWATCHED_MAX: Duration = Duration::from_secs(1);

/// How many files of the cache are closed when the process runs out of descriptors.
const SHED: usize = 16;

/// How old a result may be that is used because descriptors have run out and it cannot be
/// revalidated. No change was reported since.
const STALE_MAX: Duration = Duration::from_secs(60);

/// How many directories are watched at most.
const WATCHED_MAX: usize = 4096;

/// The id of the question for the root. The ids of lookups' questions are smaller.
const ASK_ROOT: AskId = AskId(CAPACITY_MAX);

/// The only site so far. Keys begin with the number of their site.
const SITE: SiteId = SiteId(0);

/// The result for a name.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// What the name stands for. Shared, because the cache may evict it before the response is
    /// written.
    Resource(Rc<Resource>),
    /// An error that may pass, so it is not cached.
    TransientError(Status),
}

/// The service of HTTP sessions; see the module documentation.
#[derive(Debug)]
pub struct Sites {
    pub(in crate::http) settings: Rc<SiteSettings>,
    pub(super) templates: ResponseTemplates,
    /// `Server` and `Date`.
    pub(in crate::http) common: CommonFields,
    root: Root,
    cache: Cache<Rc<Resource>>,
    /// The files of all resources, also of those that only a response in flight uses.
    open_files: OpenFiles,
    listings: Listings,
    lookups: Lookups,
    /// Lookups that begin when the reply to the question for the root arrives.
    wait_for_root: Vec<Handle<Ticket>>,
    /// Whether the question for the root has no reply yet.
    root_is_asked: bool,
    /// Lookups for which that reply will be too old, so the root has to be asked for again.
    need_newer_root: Vec<Handle<Ticket>>,
    watcher: Option<Box<dyn Watcher>>,
    /// The watcher's id for the present root. Reports with other ids are about earlier roots.
    watch_id: SiteId,
    /// Directories for which a watch was requested.
    watched: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    tasks: VecDeque<Task<Resolved>>,
    /// A scratch buffer for keys, so that the lookup of a key does not allocate.
    key: Vec<u8>,
    random: fastrand::Rng,
    published: Arc<PublishedCacheStats>,
}

impl Sites {
    /// A site with an empty cache. Without a `watcher`, cached results expire only by age.
    pub fn new(settings: SiteSettings, watcher: Option<Box<dyn Watcher>>) -> Self {
        let cache = Cache::new(
            settings.cache_entries,
            settings.cache_bytes,
            settings.revalidate_after,
            settings.cache_idle,
        );
        // If every request revalidates, watches are not needed.
        let watches = settings.watch && !settings.revalidate_after.is_zero();
        Self {
            root: Root::new(&settings),
            lookups: Lookups::new(settings.lookups_max),
            settings: Rc::new(settings),
            templates: ResponseTemplates::default(),
            common: CommonFields::default(),
            cache,
            open_files: OpenFiles::default(),
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

    /// A site that is watched with inotify. Reports go to `post`, which must deliver them to
    /// [`Service::receive`].
    pub fn watching(settings: SiteSettings, post: Post) -> Self {
        let watches = settings.watch && !settings.revalidate_after.is_zero();
        let watcher = watches.then(|| Box::new(Inotify::new(post)) as Box<dyn Watcher>);
        Self::new(settings, watcher)
    }

    /// Publishes the statistics of the cache in `published`.
    #[must_use]
    pub fn publishing(self, published: Arc<PublishedCacheStats>) -> Self {
        Self { published, ..self }
    }

    /// The statistics of the cache.
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats { watched: self.watched.len() as u64, ..self.cache.stats() }
    }

    /// The counter of the files that resources keep open.
    #[cfg(test)]
    pub(super) fn open_files(&self) -> OpenFiles {
        self.open_files.clone()
    }

    /// Limits the memory that kept readings of directories may take, in bytes.
    #[cfg(test)]
    pub(super) fn limit_readings(&mut self, bytes_max: usize) {
        self.listings = Listings::new(usize::MAX, bytes_max);
    }

    /// A random boundary for a multipart response.
    pub(super) fn boundary(&mut self) -> Boundary {
        Boundary::new([self.random.u64(..), self.random.u64(..)])
    }

    /// The response to a malformed or late request.
    pub(in crate::http) fn error(&mut self, problem: Problem) -> Response {
        self.templates.error(Fields::new(), problem, &Fields::new(), false)
    }

    /// The result for a name if it is cached and valid. Otherwise a ticket, and the waiter is told
    /// later.
    pub(super) fn find(
        &mut self,
        now: Now,
        name: &ResourceName<'_>,
        waiter: Waiter,
        addresses: Addresses<'_>,
    ) -> Result<Resolved, Ticket> {
        name.write_key(SITE, &mut self.key);
        if let cache::Cached::Valid(resource) = self.cache.get(&self.key, now.instant) {
            return Ok(Resolved::Resource(Rc::clone(resource)));
        }
        if matches!(name, ResourceName::Entries { .. }) {
            return self.find_listing(now, name, waiter, addresses);
        }
        let age_max = self.settings.revalidate_after;
        if let Some(ticket) = self.lookups.join(&self.key, now.instant, age_max, waiter) {
            return Err(ticket);
        }
        let lookup = Lookup::new(&self.settings, self.root.get(), name, now.instant);
        let ticket = self.lookups.add(&self.key, lookup, waiter);
        ticket.map_or(Ok(Resolved::TransientError(Status::ServiceUnavailable)), Err)
    }

    /// The same for a listing that is not cached. Clients take turns, so the address of the client
    /// is read now.
    #[inline(never)]
    fn find_listing(
        &mut self,
        now: Now,
        name: &ResourceName<'_>,
        waiter: Waiter,
        addresses: Addresses<'_>,
    ) -> Result<Resolved, Ticket> {
        let Self { settings, root, key, lookups, .. } = self;
        let make = || Lookup::new(settings, root.get(), name, now.instant);
        let client = ListingClient::of(addresses.peer());
        let age_max = settings.revalidate_after;
        let ticket = lookups.find_listing(key, now.instant, age_max, client, waiter, make);
        ticket.map_or(Ok(Resolved::TransientError(Status::ServiceUnavailable)), Err)
    }

    /// Stops waiting for a lookup.
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
        self.cache.sweep(now.instant);
        self.listings.expire(now.instant);
        if self.tasks.is_empty() {
            self.begin_lookups(now);
        }
        self.tasks.pop_front()
    }

    /// Begins as many lookups as may run.
    fn begin_lookups(&mut self, now: Now) {
        // Otherwise lookups that wait for an overdue reply would block all others.
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

    /// Asks for the root if a lookup needs it, unless the last question has no reply yet.
    fn ask_root(&mut self, now: Now) {
        if self.root_is_asked || self.need_newer_root.is_empty() {
            return;
        }
        assert!(self.wait_for_root.is_empty(), "lookups wait only while the root is asked for");
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

    /// Lets a lookup take a step, unless it is done, and executes what it needs next.
    fn step(
        &mut self,
        now: Now,
        handle: Handle<Ticket>,
        step: impl FnOnce(&mut Lookup, &mut Surroundings<'_>) -> LookupProgress,
    ) {
        let Some(entry) = self.lookups.get_mut(handle) else { return };
        let known = match self.cache.peek(&entry.key).map(|known| &**known) {
            Some(Resource::Page(page)) => Some(page),
            _ => None,
        };
        let (settings, listings): (_, &mut Listings) = (&*self.settings, &mut self.listings);
        let mut surroundings = Surroundings { site: SITE, settings, listings, known, now };
        match step(&mut entry.lookup, &mut surroundings) {
            LookupProgress::Wait => {}
            LookupProgress::Ask(asks) => {
                for (part, ask) in asks {
                    let id = self.lookups.opened(handle, part);
                    self.tasks.push_back(Task::Ask(id, ask));
                }
            }
            LookupProgress::Done(outcome) => self.finish(now, handle, outcome),
        }
    }

    /// Caches the outcome of a lookup, and tells the sessions that wait for it.
    fn finish(&mut self, now: Now, handle: Handle<Ticket>, outcome: LookupOutcome) {
        let entry = self.lookups.get_mut(handle).expect("the lookup has just taken a step");
        let (key, begun) = (Rc::clone(&entry.key), entry.lookup.begun());
        // If the root was opened before the lookup began, the result is only as recent as the root.
        let found = entry.root_known.map_or(begun, |known| known.min(begun));
        let (in_doubt, unwatched) = (entry.in_doubt, entry.unwatched);
        let newer = self.cache.found_at(&key).is_some_and(|newer| newer > found);
        let overtaken = newer || !Arc::ptr_eq(entry.lookup.root(), self.root.get());
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
                    self.listings.clear(SITE);
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

    /// Requests a watch of the directory of a lookup's files, if it has none.
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
}

impl Service for Sites {
    type Answer = Resolved;
    type Message = Vec<ChangeReport>;

    /// The case without work is inlined, because the worker polls in every turn.
    #[inline]
    fn poll(&mut self, now: Now) -> Option<Task<Resolved>> {
        let is_due = self.deadline().is_some_and(|deadline| deadline <= now.instant);
        if self.tasks.is_empty() && !self.lookups.has_line() && !is_due {
            return None;
        }
        self.next_task(now)
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        match (self.cache.sweep_at(), self.listings.deadline()) {
            (Some(cache), Some(listings)) => Some(cache.min(listings)),
            (cache, listings) => cache.or(listings),
        }
    }

    fn resume(&mut self, now: Now, id: AskId, reply: Reply) {
        if id != ASK_ROOT {
            if matches!(reply, Reply::Ran(_)) {
                self.listings.shrink();
            }
            let (handle, part) = self.lookups.replied(id);
            return self.step(now, handle, |lookup, site| lookup.resume(site, part, reply));
        }
        let Reply::Opened(opened) = reply else {
            unreachable!("the question for the root is to open it")
        };
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

/// Whether something besides the cache uses a resource or its files.
fn is_in_use(resource: &Rc<Resource>) -> bool {
    Rc::strong_count(resource) > 1 || resource.files().any(|file| Arc::strong_count(file) > 1)
}
