//! What is kept in mind of a request that was refused.

use crate::limits::{Scope, TooMany};

/// A request was refused because there were too many. It may have to wait until its answer can be
/// made or sent, and is the same one then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct RateRefusal {
    pub(super) scope: Scope,
    pub(super) too_many: TooMany,
}

impl RateRefusal {
    /// The refusal, unless a reload has given the request to a site with another bucket.
    pub(super) fn of(self, scope: Scope) -> Option<TooMany> {
        (self.scope == scope).then_some(self.too_many)
    }
}
