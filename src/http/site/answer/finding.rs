//! Finds what a name stands for: in the cache, or with a lookup.

use super::super::cache_key::ResourceName;
use super::super::sites::Resolved;
use super::super::wait_ticket::WaitTicket;
use super::{Exchange, PendingLookup, Purpose, ResolvedNames, Undecided};
use crate::http::records::CacheUse;

impl Exchange<'_, '_> {
    /// What a name stands for, or the lookup that will find it.
    #[inline]
    pub(in crate::http::site) fn find(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, Undecided> {
        match self.resolved_names {
            None => self.find_in_cache(purpose, name),
            Some(names) => self.find_again(names, purpose, name),
        }
    }

    /// The same for a request that has waited for a lookup.
    #[inline(never)]
    fn find_again(
        &mut self,
        names: &ResolvedNames,
        purpose: Purpose,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, Undecided> {
        match names.get(purpose, self.site().id) {
            None => self.find_in_cache(purpose, name),
            Some(found) => {
                self.cache = CacheUse::Miss;
                Ok(self.compressed(purpose, name, found.clone()))
            }
        }
    }

    #[inline]
    fn find_in_cache(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, Undecided> {
        if self.cache == CacheUse::None {
            self.cache = CacheUse::Hit;
        }
        match self.sites.find_in_cache(self.now, self.place, name) {
            None => self.look_up(purpose, name),
            Some(resource) => Ok(self.compressed_resource(purpose, name, resource)),
        }
    }

    /// Begins the lookup of a name that is not in the cache, or joins one.
    #[inline(never)]
    fn look_up(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
    ) -> Result<Resolved, Undecided> {
        let site = self.site().id;
        let found = self.sites.look_up(self.now, self.place, name, self.waiter, self.addresses);
        found.map_err(|ticket| match ticket {
            Some(ticket) => {
                let ticket = WaitTicket::Name(ticket);
                Undecided::Lookup(PendingLookup { purpose, site, ticket })
            }
            None => Undecided::NoTurn,
        })
    }
}
