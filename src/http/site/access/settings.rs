//! Settings of a site about who may use it, and how much.

use std::num::NonZero;
use std::sync::Arc;

use crate::limits::{RateLimit, Scope};
use crate::passwords::Users;

/// Who may use a site, and how much of it. A site without limits has no such settings.
#[derive(Clone, PartialEq, Debug)]
pub struct AccessSettings {
    /// Who may use the site; `None` for everybody.
    pub passwords: Option<PasswordSettings>,
    /// How many requests of each client are answered; `None` for all.
    pub rate: Option<RateLimit>,
    /// The bucket of each client: that of the site.
    pub scope: Scope,
    /// How many bytes per second each connection gets at most; `None` for no limit.
    pub send_rate: Option<NonZero<u64>>,
}

/// Who may use a site (RFC 7617).
#[derive(Clone, PartialEq, Debug)]
pub struct PasswordSettings {
    /// The users.
    pub users: Arc<Users>,
    /// What browsers say when they ask for a password: printable ASCII without `"` and `\`.
    pub realm: String,
}

impl AccessSettings {
    /// Those of a site with this name, without limits.
    #[must_use]
    pub fn of_site(name: &str) -> Self {
        Self { passwords: None, rate: None, scope: Scope::named(name), send_rate: None }
    }

    /// The settings; `None` if they limit nothing.
    #[must_use]
    pub fn if_any(self) -> Option<Arc<Self>> {
        let is_any = self.passwords.is_some() || self.rate.is_some() || self.send_rate.is_some();
        is_any.then(|| Arc::new(self))
    }
}
