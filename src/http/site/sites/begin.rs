//! Begins lookups: when, and beneath which root. A root is opened again before a lookup uses it, if
//! that was last done too long ago.

use std::sync::Arc;

use super::super::cache_key::site_of;
use super::super::lookups::Ticket;
use super::super::root::{Freshness, RootReply};
use super::Sites;
use super::numbers::ask_root;
use crate::ask::Reply;
use crate::driver::Now;
use crate::driver::slot_map::Handle;
use crate::driver::watch::SiteId;
use crate::service::Task;

impl Sites {
    /// Begins as many lookups as may run.
    pub(super) fn begin_lookups(&mut self, now: Now) {
        // Otherwise lookups that wait for an overdue reply would block all others.
        for at in 0..self.roots_asked.len() {
            self.begin_without_root(now, self.roots_asked[at]);
        }
        while let Some(handle) = self.lookups.next_in_line() {
            let Some(entry) = self.lookups.get_mut(handle) else { continue };
            entry.lookup.start(now.instant);
            let place = self.numbers.place(site_of(&entry.key));
            let place = place.expect("the lookups of a site that is gone have ended");
            let site = &mut self.sites[place];
            match site.root.freshness(now.instant) {
                Freshness::Fresh | Freshness::Hangs => self.begin(now, place, handle),
                Freshness::Asked => site.wait_for_root.push(handle),
                Freshness::Due | Freshness::AskedBefore => {
                    site.need_newer_root.push(handle);
                    self.ask_root(now, place);
                }
            }
        }
    }

    /// Begins the lookups that wait for the root of a site, if the reply is overdue.
    fn begin_without_root(&mut self, now: Now, site: SiteId) {
        let Some(place) = self.numbers.place(site) else { return };
        let site = &mut self.sites[place];
        if site.root.freshness(now.instant) == Freshness::Hangs {
            site.wait_for_root.append(&mut site.need_newer_root);
            self.begin_those_who_wait(now, place);
        }
    }

    /// Asks for the root of a site if a lookup needs it, unless the last question has no reply yet.
    fn ask_root(&mut self, now: Now, place: usize) {
        let site = &mut self.sites[place];
        if self.roots_asked.contains(&site.id) || site.need_newer_root.is_empty() {
            return;
        }
        assert!(site.wait_for_root.is_empty(), "lookups wait only while the root is asked for");
        site.wait_for_root = std::mem::take(&mut site.need_newer_root);
        match site.root.ask(now.instant) {
            Some(ask) => {
                self.roots_asked.push(site.id);
                self.tasks.push_back(Task::Ask(ask_root(site.id), ask));
            }
            None => self.begin_those_who_wait(now, place),
        }
    }

    fn begin_those_who_wait(&mut self, now: Now, place: usize) {
        for handle in std::mem::take(&mut self.sites[place].wait_for_root) {
            self.begin(now, place, handle);
        }
    }

    fn begin(&mut self, now: Now, place: usize, handle: Handle<Ticket>) {
        let site = &mut self.sites[place];
        let root = Arc::clone(site.root.get());
        if let Some(entry) = self.lookups.get_mut(handle) {
            entry.root_known = Some(site.root.known_since(now.instant));
        }
        let fallback = site.root.fallback().cloned();
        self.step(now, handle, |lookup, site| {
            lookup.fall_back_to(fallback);
            lookup.begin(site, &root)
        });
        self.watch(place, handle);
    }

    /// Takes the reply to the question for the root of a site, which may be gone.
    pub(super) fn root_opened(&mut self, now: Now, id: SiteId, reply: Reply) {
        let Reply::Opened(opened) = reply else {
            unreachable!("the question for the root is to open it")
        };
        let place = self.numbers.place(id);
        let reply = place.map(|place| self.sites[place].root.answered(opened));
        if let (Some(place), Some(RootReply { has_turned: true, .. })) = (place, &reply) {
            self.change_root(place);
        }
        if let Some(ask) = reply.and_then(|reply| reply.next) {
            return self.tasks.push_back(Task::Ask(ask_root(id), ask));
        }
        self.roots_asked.retain(|site| *site != id);
        let Some(place) = place else { return self.give_numbers_back() };
        self.begin_those_who_wait(now, place);
        self.ask_root(now, place);
    }
}
