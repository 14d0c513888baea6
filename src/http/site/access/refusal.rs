//! What is kept in mind of a request that was refused.

use crate::limits::{Scope, TooMany};

/// A request was refused because of a limit. It may have to wait until its answer can be made or
/// sent. It is refused for the same reason then, and is not counted again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct AccessRefusal {
    pub(super) scope: Scope,
    pub(super) exceeded: ExceededLimit,
}

/// Which limit a request exceeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ExceededLimit {
    /// The rate of the site.
    Rate(TooMany),
    /// How many wrong passwords a client may send.
    WrongPasswords(TooMany),
    /// How many passwords are checked at a time.
    PasswordChecks,
}

impl AccessRefusal {
    /// The reason, unless a reload has given the request to a site with another bucket.
    pub(super) fn of(self, scope: Scope) -> Option<ExceededLimit> {
        (self.scope == scope).then_some(self.exceeded)
    }
}
