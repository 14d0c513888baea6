//! What a listener knows of proxies, and whom it lets in.

use super::access::Access;
use super::client::Client;
use super::forwarded::ForwardedField;
use super::networks::Networks;

/// The settings of a listener about its clients. The default one trusts nobody and admits
/// everybody.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Door {
    /// Whether connections begin with a header of the PROXY protocol. Then peers that are not
    /// trusted are not let in.
    pub is_proxied: bool,
    /// The field of requests that names clients.
    pub forwarded: Option<ForwardedField>,
    /// The proxies that are believed.
    pub trusted: Networks,
    /// Who may come in: the peer of a connection, or whom its PROXY header names.
    pub access: Access,
}

impl Door {
    /// Whether a connection of this peer is to be served, before anything is read of it.
    #[must_use]
    pub fn admits_peer(&self, peer: Client) -> bool {
        match self.is_proxied {
            // The header tells whose address the rules are about.
            true => self.trusted.contains(peer),
            false => self.access.admits(peer),
        }
    }
}
