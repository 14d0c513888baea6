//! Where a response is from.

use super::access::AccessRefusal;
use crate::clients::Client;
use crate::http::records::CacheUse;

/// Where a response is from.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Origin {
    /// The place of the site that has answered.
    pub(in crate::http) place: Option<usize>,
    /// Where its file was found.
    pub(in crate::http) cache: CacheUse,
    /// The client, if the request names another one than its connection.
    pub(in crate::http) client: Option<Client>,
    /// Whether the client has used `https`, if a trusted proxy says it.
    pub(in crate::http) says_secure: Option<bool>,
    /// Whether it is logged.
    pub(in crate::http) is_logged: bool,
    /// Whether it is for a user whose password was right.
    pub(in crate::http) is_authenticated: bool,
    /// The limit that has refused the request, if one has. If the response is not there yet, or is
    /// not sent now, the request has to be decided again with this in mind.
    pub(in crate::http) refusal: Option<AccessRefusal>,
}

impl Origin {
    /// Of a response that is the same for all sites.
    pub(in crate::http) const SERVER: Self = Self {
        place: None,
        cache: CacheUse::None,
        client: None,
        says_secure: None,
        is_logged: true,
        is_authenticated: false,
        refusal: None,
    };

    /// Of a response to a load balancer, which asks all the time.
    pub(in crate::http) const PROBE: Self = Self { is_logged: false, ..Self::SERVER };

    /// Whether the client has used `https`, on a connection that has a security layer or not.
    pub(in crate::http) fn is_secure(&self, is_protected: bool) -> bool {
        self.says_secure.unwrap_or(is_protected)
    }
}
