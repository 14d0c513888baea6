//! Responses in codings that are made on the fly.

use std::rc::Rc;

use super::super::cache_key::ResourceName;
use super::super::resource::Resource;
use super::super::sites::Resolved;
use super::{Exchange, Purpose};
use crate::http::semantics::negotiate::choose;

impl Exchange<'_, '_> {
    /// What was found, with the coding that the client likes best, if it is compressed on the fly
    /// and known.
    pub(super) fn compressed(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
        found: Resolved,
    ) -> Resolved {
        match found {
            Resolved::Resource(resource) => self.compressed_resource(purpose, name, resource),
            found => found,
        }
    }

    /// The same for a resource.
    #[inline]
    pub(super) fn compressed_resource(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
        resource: Rc<Resource>,
    ) -> Resolved {
        match resource.demand().is_some() {
            true => self.compressed_on_demand(purpose, name, resource),
            false => Resolved::Resource(resource),
        }
    }

    /// The same for what may be compressed. Error pages are not.
    #[inline(never)]
    fn compressed_on_demand(
        &mut self,
        purpose: Purpose,
        name: &ResourceName<'_>,
        resource: Rc<Resource>,
    ) -> Resolved {
        let (Some(demand), Resource::Page(page)) = (resource.demand(), &*resource) else {
            return Resolved::Resource(resource);
        };
        let known = page.codings();
        let wished = match purpose {
            Purpose::ErrorPage(_) | Purpose::RewrittenError => None,
            _ => choose(self.request.accept_encoding.values(), known.union(demand.possible())),
        };
        match wished.filter(|coding| !known.contains(*coding)) {
            None => Resolved::Resource(resource),
            Some(coding) => {
                let Self { sites, now, place, .. } = self;
                Resolved::Resource(sites.compressed(*now, *place, name, resource, coding))
            }
        }
    }
}
