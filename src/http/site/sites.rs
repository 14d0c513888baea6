//! The service of HTTP sessions: what the sessions of a worker share.
//!
//! A session asks for a name ([`Sites::find_in_cache`]). If the cached result is valid, that is,
//! neither too old nor invalidated by a change, it is returned at once. Otherwise the name is
//! looked up ([`Sites::look_up`]), and the session is told later; all sessions that ask for the
//! name share the lookup ([`Lookups`]). If all of them leave, the lookup is cancelled.
//!
//! The result of a lookup is cached, unless the root has changed since the lookup began, or a newer
//! lookup of the name was faster. If a change was reported since the lookup began, the result is
//! cached as expired, so it is revalidated before it is used.
//!
//! All sites share the cache, the lookups and the watcher, so their bounds do not depend on the
//! number of sites. A reload replaces the table of sites ([`renewal`]).

mod begin;
mod changes;
mod compressed_names;
mod compression;
mod doors;
mod message;
mod numbers;
mod outcome;
mod passwords;
mod recording;
mod renewal;
mod site;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::access::{PasswordCheck, PasswordChecks};
use super::cache::{self, Cache};
use super::cache_key::{ResourceName, site_of};
use super::cache_stats::{CacheStats, PublishedCacheStats};
use super::http_settings::HttpSettings;
use super::listing_job::Listings;
use super::lookup::{Lookup, LookupProgress, Surroundings};
use super::lookups::{Lookups, Ticket};
use super::redirect;
use super::resource::Resource;
use super::response::{CommonFields, Response};
use super::site_table::{Choice, ListenerRole};
use super::tags::TagJobs;
use super::templates::{self, Problem, ResponseTemplates};
use super::wait_ticket::WaitTicket;
use crate::ask::{AskId, Reply};
use crate::clients::{Client, ClientKey};
use crate::driver::slot_map::Handle;
use crate::driver::watch::{Inotify, Post, SiteId, Watcher};
use crate::driver::{Now, OpenFiles};
use crate::http::records::Recorder;
use crate::http::semantics::fields::Fields;
use crate::http::semantics::multipart::Boundary;
use crate::http::semantics::request::{Method, Request};
use crate::http::semantics::status::Status;
use crate::service::{Service, SessionId, Task, Waiter};
use crate::session::{Addresses, Protection};
use compressed_names::Compression;
use numbers::{ASK_ROOT, Numbers, password_slot};
use site::RetiredSite;

pub use message::SitesMessage;
pub(in crate::http::site) use site::Site;

/// How many directories are watched at most, over all sites.
const WATCHED_MAX: usize = 4096;

/// The result for a name.
#[derive(Clone, Debug)]
pub enum Resolved {
    /// What the name stands for. Shared, because the cache may evict it before the response is
    /// written.
    Resource(Rc<Resource>),
    /// An error that may pass, so it is not cached.
    TransientError(Status),
    /// The site was replaced meanwhile, so the request has to be decided anew.
    Renewed,
    /// What was found out about a password. It stands for no name.
    Checked(PasswordCheck),
}

/// The service of HTTP sessions; see the module documentation.
#[derive(Debug)]
pub struct Sites {
    /// With the present table of sites.
    pub(in crate::http) settings: HttpSettings,
    /// The sites, in the order of the table.
    sites: Vec<Site>,
    numbers: Numbers,
    /// Sites whose question for the root has no reply yet.
    roots_asked: Vec<SiteId>,
    /// Sites of earlier tables of which something is left.
    retired: Vec<RetiredSite>,
    /// When the present table replaced another one.
    renewed: Option<Instant>,
    pub(super) templates: ResponseTemplates,
    /// `Server` and `Date`.
    pub(in crate::http) common: CommonFields,
    cache: Cache<Rc<Resource>>,
    /// The files of all resources, also of those that only a response in flight uses.
    open_files: OpenFiles,
    listings: Listings,
    tag_jobs: TagJobs,
    /// Made when the first password is checked.
    pub(super) passwords: Option<Box<PasswordChecks>>,
    lookups: Lookups,
    watcher: Option<Box<dyn Watcher>>,
    /// The number of directories for which a watch was requested.
    watched: usize,
    tasks: VecDeque<Task<Resolved>>,
    /// A scratch buffer for keys, so that the lookup of a key does not allocate.
    key: Vec<u8>,
    random: fastrand::Rng,
    published: Arc<PublishedCacheStats>,
    recorder: Option<Recorder>,
    /// `None` if no page is compressed on the fly.
    compression: Option<Compression>,
}

impl Sites {
    /// Sites with an empty cache, whose roots were opened just `now`. Without a `watcher`, cached
    /// results expire only by age.
    pub fn new(settings: HttpSettings, now: Now, watcher: Option<Box<dyn Watcher>>) -> Self {
        let cache = Cache::new(
            settings.cache_entries,
            settings.cache_bytes,
            settings.revalidate_after,
            settings.cache_idle,
        );
        let mut numbers = Numbers::default();
        let sites = settings.sites.sites().iter().enumerate();
        let revalidate_after = settings.revalidate_after;
        let make = |(place, site)| Site::new(site, revalidate_after, now, &mut numbers, place);
        let sites = sites.map(make).collect();
        Self {
            sites,
            numbers,
            roots_asked: Vec::new(),
            retired: Vec::new(),
            renewed: None,
            lookups: Lookups::new(settings.lookups_max),
            templates: ResponseTemplates::default(),
            common: CommonFields::default(),
            cache,
            open_files: OpenFiles::default(),
            listings: Listings::default(),
            tag_jobs: TagJobs::default(),
            passwords: None,
            watcher: watcher.filter(|_| watches(&settings)),
            watched: 0,
            tasks: VecDeque::new(),
            key: Vec::new(),
            random: fastrand::Rng::new(),
            published: Arc::default(),
            recorder: None,
            compression: None,
            settings,
        }
    }

    /// Sites that are watched with inotify. Reports go to `post`, which must deliver them to
    /// [`Service::receive`].
    pub fn watching(settings: HttpSettings, now: Now, post: Post) -> Self {
        let inotify = || Box::new(Inotify::new(post)) as Box<dyn Watcher>;
        let watcher = watches(&settings).then(inotify);
        Self::new(settings, now, watcher)
    }

    /// Publishes the statistics of the cache in `published`.
    #[must_use]
    pub fn publishing(self, published: Arc<PublishedCacheStats>) -> Self {
        Self { published, ..self }
    }

    /// The statistics of the cache.
    pub fn cache_stats(&self) -> CacheStats {
        CacheStats { watched: self.watched as u64, ..self.cache.stats() }
    }

    /// Whether far fewer files are open than may be.
    pub(in crate::http) fn has_files_to_spare(&self) -> bool {
        self.open_files.count() < self.settings.files_max / 2
    }

    /// The counter of the files that resources keep open.
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_files(&self) -> OpenFiles {
        self.open_files.clone()
    }

    /// Limits the memory that kept readings of directories may take, in bytes.
    #[cfg(test)]
    pub(super) fn limit_readings(&mut self, bytes_max: usize) {
        self.listings = Listings::new(usize::MAX, bytes_max);
    }

    /// The response to a request for the health of the server, on whatever host.
    #[inline]
    pub(in crate::http) fn health(
        &self,
        request: &Request<'_>,
        draining: bool,
    ) -> Option<Response> {
        let path = self.settings.health_path.as_deref()?;
        let asked = request.target.split(|byte| *byte == b'?').next();
        let is_asked = asked == Some(path.as_bytes());
        let has_method = matches!(request.method, Method::Get | Method::Head | Method::Options);
        (is_asked && has_method).then(|| templates::health(draining))
    }

    /// The answer of the program that embeds the server, if it gives one.
    #[inline]
    pub(in crate::http) fn own_answer(
        &self,
        request: &Request<'_>,
        draining: bool,
    ) -> Option<Response> {
        self.settings.answers.to(request, draining)
    }

    /// A random boundary for a multipart response.
    pub(super) fn boundary(&mut self) -> Boundary {
        Boundary::new([self.random.u64(..), self.random.u64(..)])
    }

    /// The response to a malformed or late request.
    pub(in crate::http) fn error(&mut self, problem: Problem) -> Response {
        self.templates.error(Fields::new(), problem, &Fields::new(), false)
    }

    /// Who answers a request on a connection of a listener. The client has used `https` or not.
    #[inline]
    pub(in crate::http) fn choose(
        &self,
        listener: u32,
        protection: Option<&Protection>,
        is_secure: bool,
        request: &Request<'_>,
    ) -> Choice {
        self.settings.sites.choose(listener, protection, is_secure, request)
    }

    /// The response of a listener that only redirects to HTTPS at this port.
    pub(in crate::http) fn redirect(&mut self, request: &Request<'_>, port: u16) -> Response {
        redirect::respond(&mut self.templates, request, port)
    }

    /// The fields of a response that do not depend on the request: those of every response, and
    /// those that its site has for clients that use `https`.
    #[inline]
    pub(in crate::http) fn fields_of_all(
        &mut self,
        now: Now,
        is_secure: bool,
        place: Option<usize>,
        response: &Response,
    ) -> [&Fields; 2] {
        const NONE: &Fields = &Fields::new();
        let secure = match place.filter(|_| is_secure) {
            Some(place) => self.sites[place].secure_fields(response),
            None => NONE,
        };
        [self.common.at(now.system), secure]
    }

    /// The role of a listener.
    pub(in crate::http) fn role(&self, listener: u32) -> ListenerRole {
        self.settings.sites.role(listener)
    }

    /// The site at a place.
    #[inline]
    pub(in crate::http::site) fn site(&self, place: usize) -> &Site {
        &self.sites[place]
    }

    /// What a name of a site stands for, if that is cached and valid.
    #[inline]
    pub(super) fn find_in_cache(
        &mut self,
        now: Now,
        place: usize,
        name: &ResourceName<'_>,
    ) -> Option<Rc<Resource>> {
        name.write_key(self.sites[place].id, &mut self.key);
        match self.cache.get(&self.key, now.instant) {
            cache::Cached::Valid(resource) => Some(Rc::clone(resource)),
            cache::Cached::Absent | cache::Cached::Expired(_) => None,
        }
    }

    /// Looks up a name that [`Sites::find_in_cache`] has just not found: its key is in `self.key`.
    /// `Err` has the ticket of the lookup, whose result the waiter is told later; without a waiter
    /// there is none. `Ok` is the 503 that a request gets if there are too many lookups.
    pub(super) fn look_up(
        &mut self,
        now: Now,
        place: usize,
        name: &ResourceName<'_>,
        waiter: Option<Waiter>,
        addresses: Addresses<'_>,
    ) -> Result<Resolved, Option<Ticket>> {
        let waiter = waiter.ok_or(None)?;
        if matches!(name, ResourceName::Entries { .. }) {
            return self.find_listing(now, place, name, waiter, addresses).map_err(Some);
        }
        let age_max = self.settings.revalidate_after;
        if let Some(ticket) = self.lookups.join(&self.key, now.instant, age_max, waiter) {
            return Err(Some(ticket));
        }
        let site = &self.sites[place];
        let lookup = Lookup::new(&site.settings, site.root.get(), name, now.instant);
        let ticket = self.lookups.add(&self.key, lookup, waiter);
        let busy = Ok(Resolved::TransientError(Status::ServiceUnavailable));
        ticket.map_or(busy, |ticket| Err(Some(ticket)))
    }

    /// The same for a listing that is not cached. Clients take turns, so the address of the client
    /// is read now.
    #[inline(never)]
    fn find_listing(
        &mut self,
        now: Now,
        place: usize,
        name: &ResourceName<'_>,
        waiter: Waiter,
        addresses: Addresses<'_>,
    ) -> Result<Resolved, Ticket> {
        let Self { settings, sites, key, lookups, .. } = self;
        let site = &sites[place];
        let make = || Lookup::new(&site.settings, site.root.get(), name, now.instant);
        let client = ClientKey::of(Client::of(addresses), settings.client_limits.prefix);
        let age_max = settings.revalidate_after;
        let ticket = lookups.find_listing(key, now.instant, age_max, client, waiter, make);
        ticket.map_or(Ok(Resolved::TransientError(Status::ServiceUnavailable)), Err)
    }

    /// Stops waiting for a lookup or a check, for all requests of the session.
    pub(in crate::http) fn leave(&mut self, ticket: impl Into<WaitTicket>, session: SessionId) {
        let ticket = match ticket.into() {
            WaitTicket::Name(ticket) => ticket,
            WaitTicket::Password(ticket) => return self.leave_check(ticket, session),
        };
        let key = self.lookups.key(ticket);
        let place = key.and_then(|key| self.numbers.place(site_of(&key)));
        let unneeded = self.lookups.leave(ticket, session);
        if let Some(place) = place {
            self.sites[place].forget_ended(&mut self.lookups);
        }
        self.tasks.extend(unneeded.into_iter().map(Task::Cancel));
    }

    #[inline(never)]
    fn next_task(&mut self, now: Now) -> Option<Task<Resolved>> {
        self.cache.sweep(now.instant);
        self.listings.expire(now.instant);
        self.remove_retired();
        if let Some(recorder) = &mut self.recorder {
            recorder.flush_due(now.instant);
        }
        if self.tasks.is_empty() {
            self.begin_lookups(now);
        }
        self.tasks.pop_front()
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
        let site = site_of(&entry.key);
        let place = self.numbers.place(site);
        let place = place.expect("the lookups of a site that is gone have ended");
        let (http, settings) = (&self.settings, &**self.sites[place].settings);
        let (listings, tag_jobs) = (&mut self.listings, &self.tag_jobs);
        let mut surroundings =
            Surroundings { site, http, settings, listings, tag_jobs, known, now };
        let progress = step(&mut entry.lookup, &mut surroundings);
        surroundings.tell_failed(&entry.lookup, &progress);
        match progress {
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

    /// Requests a watch of the directory of a lookup's files, if it has none.
    fn watch(&mut self, place: usize, handle: Handle<Ticket>) {
        let (Some(watcher), Some(entry)) = (&mut self.watcher, self.lookups.get_mut(handle)) else {
            return;
        };
        let site = &mut self.sites[place];
        let directory = entry.lookup.directory();
        if self.watched >= WATCHED_MAX || site.watched.contains(directory) {
            return;
        }
        if watcher.watch(site.watch_id, entry.lookup.root(), directory) {
            site.may_be_watched = true;
            site.watched.insert(directory.into());
            self.watched += 1;
        }
    }
}

/// Whether changes are watched. If every request revalidates, watches are not needed.
fn watches(settings: &HttpSettings) -> bool {
    settings.watch && !settings.revalidate_after.is_zero()
}

impl Service for Sites {
    type Answer = Resolved;
    type Message = SitesMessage;

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
        let deadline = match (self.cache.sweep_at(), self.listings.deadline()) {
            (Some(cache), Some(listings)) => Some(cache.min(listings)),
            (cache, listings) => cache.or(listings),
        };
        let deadline = if self.has_retired_entries() { self.renewed } else { deadline };
        match (&self.recorder, deadline) {
            (None, deadline) => deadline,
            (Some(recorder), None) => recorder.deadline(),
            (Some(recorder), Some(at)) => Some(recorder.deadline().map_or(at, |log| log.min(at))),
        }
    }

    fn resume(&mut self, now: Now, id: AskId, reply: Reply) {
        if id.0 < ASK_ROOT {
            if matches!(reply, Reply::Ran(_)) {
                self.listings.shrink();
            }
            let (handle, part) = self.lookups.replied(id);
            return self.step(now, handle, |lookup, site| lookup.resume(site, part, reply));
        }
        match password_slot(id) {
            Some(slot) => self.password_checked(now, slot, reply),
            None => self.root_opened(now, SiteId((id.0 - ASK_ROOT) as u16), reply),
        }
    }

    fn receive(&mut self, now: Now, message: SitesMessage) {
        match message {
            SitesMessage::Changes(reports) => {
                reports.iter().for_each(|report| self.take_report(report));
            }
            SitesMessage::Table(table, stall_timeout) => {
                self.settings.stall_timeout = stall_timeout;
                self.renew(now, table);
            }
            SitesMessage::Evicted(evicted) => self.evicted(evicted),
        }
    }

    fn publish(&self) {
        self.published.publish(self.cache_stats());
    }
}

/// Whether something besides the cache uses a resource or its files.
fn is_in_use(resource: &Rc<Resource>) -> bool {
    Rc::strong_count(resource) > 1 || resource.files().any(|file| Arc::strong_count(file) > 1)
}
