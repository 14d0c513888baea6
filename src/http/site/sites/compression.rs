//! Compressed forms of pages: asks for them, puts them into cached pages, and lets go of them.

use std::rc::Rc;
use std::sync::Arc;

use super::super::cache_key::ResourceName;
use super::super::demand::DemandStep;
use super::super::resource::Resource;
use super::Sites;
use super::compressed_names::{Compression, page_of};
use crate::driver::Now;
use crate::http::compress::{AskedBody, CompressedId, Compressor, EvictedBodies};
use crate::http::semantics::negotiate::Coding;

impl Sites {
    /// Compresses pages on the fly, where the settings of sites say so. The worker has to pass
    /// evictions on ([`SitesMessage::Evicted`](super::SitesMessage::Evicted)).
    #[must_use]
    pub fn compressing(self, compressor: Arc<Compressor>) -> Self {
        Self { compression: Some(Compression::new(compressor)), ..self }
    }

    /// The page with this coding, if it is known. Otherwise the page as it is; the coding is asked
    /// for, if this is not the first request that would like it.
    #[inline(never)]
    pub(in crate::http::site) fn compressed(
        &mut self,
        now: Now,
        place: usize,
        name: &ResourceName<'_>,
        resource: Rc<Resource>,
        coding: Coding,
    ) -> Rc<Resource> {
        let (Some(compression), Resource::Page(page)) = (&mut self.compression, &*resource) else {
            return resource;
        };
        let (Some(demand), Some(plain)) = (page.demand(), page.settled()) else { return resource };
        let compressor = &compression.compressor;
        let done = compressor.done();
        let id = CompressedId { plain: *plain, coding, level: demand.level() };
        let asked = match demand.want(coding, now.instant, done) {
            DemandStep::Nothing => return resource,
            DemandStep::Look => compressor.find(&id, now.instant),
            DemandStep::Ask => Some(compressor.ask(&id, now.instant, || page.source())),
        };
        let body = match asked {
            None => return resource,
            Some(AskedBody::Found(body)) => body,
            Some(AskedBody::NotWorth) => {
                demand.is_not_worth(coding);
                return resource;
            }
            Some(AskedBody::Pending) => {
                demand.wait_for_jobs(coding, done);
                return resource;
            }
            Some(AskedBody::Refused(until)) => {
                demand.wait_until(coding, until);
                return resource;
            }
        };
        demand.is_there(coding);
        let improved = Rc::new(Resource::Page(page.with(&body)));
        name.write_key(self.sites[place].id, &mut self.key);
        let is_cached =
            self.cache.peek(&self.key).is_some_and(|known| Rc::ptr_eq(known, &resource));
        // A page that is not found again would keep the body when it is evicted.
        if is_cached && compression.note(id, &self.key, &self.cache) {
            let weight = improved.weight(&self.key);
            self.cache.replace(&self.key, Rc::clone(&improved), weight);
        }
        improved
    }

    /// Lets go of bodies that were evicted.
    pub(super) fn evicted(&mut self, evicted: EvictedBodies) {
        let Some(compression) = &mut self.compression else { return };
        let ids = match evicted {
            EvictedBodies::Some(ids) => ids,
            EvictedBodies::All => compression.pages.keys().copied().collect(),
        };
        for id in ids {
            for key in compression.pages.remove(&id).into_iter().flatten() {
                let page = page_of(&self.cache, &key).and_then(|page| page.without(&id));
                let Some(page) = page else { continue };
                let resource = Resource::Page(page);
                let weight = resource.weight(&key);
                self.cache.replace(&key, Rc::new(resource), weight);
            }
        }
    }
}
