//! The sites of a server, and which of them answers a request.
//!
//! The listener of the connection and the host of the request decide: an exact name first, then a
//! wildcard, then the default site. A site that is alone and has all listeners answers every
//! request. If no site is meant, the request gets 421 (RFC 9110 section 15.5.20).
//!
//! The role of the listener comes first: one that redirects to HTTPS reaches sites only with the
//! challenges of certificate authorities, and with what a trusted proxy has got over HTTPS. Over
//! TLS, the client has also named a host in the handshake. A request for another host gets 421 as
//! well, unless both sites have the same certificates: the client has authenticated this server as
//! the one of the first site only.
//!
//! A table does not change. A reload makes a new one with a higher generation.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::hosts::{RequestHost, is_same_host};
use super::redirect::is_challenge;
use super::settings::SiteSettings;
use crate::clients::Door;
use crate::http::semantics::request::Request;
use crate::session::Protection;

/// The most sites. Each worker numbers them with 16 bits, and numbers of earlier generations stay
/// in use for a while.
pub const SITES_MAX: usize = 10_000;

/// The most hosts of all sites together.
pub const HOSTS_MAX: usize = 50_000;

/// The sites of a server; see the module documentation.
#[derive(Debug)]
pub struct SiteTable {
    generation: u64,
    sites: Vec<Arc<SiteSettings>>,
    /// The site that answers every request, if it is the only one.
    only: bool,
    /// Whether the role of the listener matters to plain connections.
    redirects: bool,
    exact: Hosts,
    wildcards: Hosts,
    /// The sites that are the default of some listeners.
    defaults: Vec<usize>,
    roles: ListenerRoles,
}

/// What the clients of a listener get.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ListenerRole {
    /// HTTP without a security layer.
    #[default]
    Plain,
    /// HTTP within a security layer.
    Secure,
    /// A redirect to the same target with `https`, at this port.
    Redirect(u16),
}

/// The roles of listeners, by their numbers. The default one: none has a security layer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ListenerRoles {
    /// The role of those that are not in `by_number`.
    pub usual: ListenerRole,
    /// The roles of the others.
    pub by_number: Vec<(u32, ListenerRole)>,
    /// What those know of proxies that know something, and whom they let in.
    pub doors: Vec<(u32, Arc<Door>)>,
}

impl ListenerRoles {
    /// All listeners have this role.
    #[must_use]
    pub const fn all(usual: ListenerRole) -> Self {
        Self { usual, by_number: Vec::new(), doors: Vec::new() }
    }

    /// Whether a listener has a security layer.
    #[must_use]
    pub fn has_secure(&self) -> bool {
        let all = self.by_number.iter().map(|(_, role)| role);
        all.chain([&self.usual]).any(|role| *role == ListenerRole::Secure)
    }

    /// What a listener knows of proxies, and whom it lets in; `None` for everybody.
    #[must_use]
    #[inline]
    pub fn door(&self, listener: u32) -> Option<&Door> {
        let mut doors = self.doors.iter();
        doors.find(|(number, _)| *number == listener).map(|(_, door)| &**door)
    }

    /// The role of a listener.
    #[must_use]
    pub fn get(&self, listener: u32) -> ListenerRole {
        let mut roles = self.by_number.iter();
        roles.find(|(number, _)| *number == listener).map_or(self.usual, |(_, role)| *role)
    }
}

/// Who answers a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Choice {
    /// The site at this place.
    Site(usize),
    /// Nobody: no site has the host.
    NoSite,
    /// Nobody on this connection: the client has named the host of another site in the handshake.
    OtherSite,
    /// The listener redirects to HTTPS, at this port.
    Redirect(u16),
}

/// The sites of each host, by their positions in the table. Several sites may share a host if they
/// share no listener.
type Hosts = HashMap<Box<[u8]>, Vec<usize>, foldhash::fast::RandomState>;

/// Why sites cannot be combined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SiteTableError {
    /// There are more than [`SITES_MAX`] sites or [`HOSTS_MAX`] hosts.
    TooMany,
    /// There is no site.
    Empty,
    /// Two sites of a listener have the same host.
    SameHost {
        /// The host.
        host: String,
        /// The names of the sites.
        sites: [String; 2],
    },
    /// Two sites are the default of the same listener.
    SameDefault {
        /// The names of the sites.
        sites: [String; 2],
    },
}

impl fmt::Display for SiteTableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => {
                write!(f, "at most {SITES_MAX} sites with {HOSTS_MAX} hosts are allowed")
            }
            Self::Empty => write!(f, "a server needs a site"),
            Self::SameHost { host, sites: [first, second] } => write!(
                f,
                "the sites {first} and {second} both have the host {host}; remove it from one of \
                 them, or give them different listeners"
            ),
            Self::SameDefault { sites: [first, second] } => write!(
                f,
                "the sites {first} and {second} are both the default of a listener; only one can \
                 be"
            ),
        }
    }
}

impl std::error::Error for SiteTableError {}

impl From<SiteSettings> for Arc<SiteTable> {
    /// A table with one site, which answers every request.
    fn from(site: SiteSettings) -> Self {
        let sites = vec![Arc::new(SiteSettings { listeners: None, is_default: true, ..site })];
        let (exact, wildcards) = (Hosts::default(), Hosts::default());
        let (defaults, roles) = (vec![0], ListenerRoles::default());
        Self::new(SiteTable {
            generation: 1,
            sites,
            only: true,
            redirects: false,
            exact,
            wildcards,
            defaults,
            roles,
        })
    }
}

impl SiteTable {
    /// A table of these sites.
    ///
    /// # Errors
    ///
    /// If there are too many, or if two of them claim the same requests.
    pub fn new(generation: u64, sites: Vec<Arc<SiteSettings>>) -> Result<Self, SiteTableError> {
        let hosts: usize = sites.iter().map(|site| site.hosts.len()).sum();
        if sites.is_empty() {
            return Err(SiteTableError::Empty);
        }
        if sites.len() > SITES_MAX || hosts > HOSTS_MAX {
            return Err(SiteTableError::TooMany);
        }
        let only = sites.len() == 1 && sites[0].listeners.is_none();
        let (exact, wildcards) = (Hosts::default(), Hosts::default());
        let (defaults, roles, redirects) = (Vec::new(), ListenerRoles::default(), false);
        let mut table =
            Self { generation, sites, only, redirects, exact, wildcards, defaults, roles };
        for place in 0..table.sites.len() {
            table.add(place)?;
        }
        Ok(table)
    }

    /// Enters the hosts of a site.
    fn add(&mut self, place: usize) -> Result<(), SiteTableError> {
        let Self { sites, exact, wildcards, defaults, .. } = self;
        let site = &sites[place];
        let names = |other: usize| [sites[other].name.clone(), site.name.clone()];
        for host in &site.hosts {
            let hosts = if host.is_wildcard { &mut *wildcards } else { &mut *exact };
            let claims = hosts.entry(host.name.as_bytes().into()).or_default();
            if let Some(other) = claims.iter().find(|other| site.shares_listener(&sites[**other])) {
                let host = host.to_string();
                return Err(SiteTableError::SameHost { host, sites: names(*other) });
            }
            claims.push(place);
        }
        if site.is_default {
            if let Some(other) = defaults.iter().find(|other| site.shares_listener(&sites[**other]))
            {
                return Err(SiteTableError::SameDefault { sites: names(*other) });
            }
            defaults.push(place);
        }
        Ok(())
    }

    /// The same table, with these roles of listeners.
    #[must_use]
    pub fn with_roles(self, roles: ListenerRoles) -> Self {
        let is = |role: &ListenerRole| matches!(role, ListenerRole::Redirect(_));
        let redirects = is(&roles.usual) || roles.by_number.iter().any(|(_, role)| is(role));
        Self { redirects, roles, ..self }
    }

    /// The roles of listeners.
    #[must_use]
    pub fn roles(&self) -> &ListenerRoles {
        &self.roles
    }

    /// The role of a listener.
    #[must_use]
    pub fn role(&self, listener: u32) -> ListenerRole {
        self.roles.get(listener)
    }

    /// What a listener knows of proxies, and whom it lets in; `None` for everybody.
    #[must_use]
    #[inline]
    pub fn door(&self, listener: u32) -> Option<&Door> {
        self.roles.door(listener)
    }

    /// The number of the table: a later one has a higher number.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The sites.
    #[must_use]
    pub fn sites(&self) -> &[Arc<SiteSettings>] {
        &self.sites
    }

    /// Who answers a request on a connection with this protection, of a client with `https` or not.
    #[inline]
    pub(super) fn choose(
        &self,
        listener: u32,
        protection: Option<&Protection>,
        is_secure: bool,
        request: &Request<'_>,
    ) -> Choice {
        match self.only && !self.redirects {
            true => Choice::Site(0),
            false => self.choose_among_several(listener, protection, is_secure, request),
        }
    }

    #[inline(never)]
    fn choose_among_several(
        &self,
        listener: u32,
        protection: Option<&Protection>,
        is_secure: bool,
        request: &Request<'_>,
    ) -> Choice {
        let found = self.find(listener, request.host);
        // A reload may give a listener another role, but a connection keeps its protection.
        if self.redirects
            && !is_secure
            && let ListenerRole::Redirect(port) = self.role(listener)
        {
            let site = found.filter(|_| is_challenge(request.target));
            return site.map_or(Choice::Redirect(port), Choice::Site);
        }
        let Some(place) = found else { return Choice::NoSite };
        let name = protection.and_then(|protection| protection.server_name.as_deref());
        match name.is_none_or(|name| self.may_answer(place, listener, name, request.host)) {
            true => Choice::Site(place),
            false => Choice::OtherSite,
        }
    }

    /// Whether a site may answer for its host on a connection whose handshake has named another
    /// one, perhaps. A name that no site has has chosen no site either.
    fn may_answer(&self, place: usize, listener: u32, name: &str, host: &[u8]) -> bool {
        is_same_host(host, name)
            || self.find(listener, name.as_bytes()).is_none_or(|named| {
                named == place || self.sites[named].certificates == self.sites[place].certificates
            })
    }

    /// The place of the site that a host means; `None` if no site does.
    #[inline]
    pub(super) fn find(&self, listener: u32, host: &[u8]) -> Option<usize> {
        if self.only { Some(0) } else { self.find_among_several(listener, host) }
    }

    #[inline(never)]
    fn find_among_several(&self, listener: u32, host: &[u8]) -> Option<usize> {
        let reached = |claims: &[usize]| {
            claims.iter().copied().find(|place| self.sites[*place].is_reached_from(listener))
        };
        let by_host = RequestHost::of(host).and_then(|host| {
            let exact = self.exact.get(host.name()).and_then(|claims| reached(claims));
            exact.or_else(|| reached(self.wildcards.get(host.parent()?)?))
        });
        by_host.or_else(|| reached(&self.defaults))
    }
}

impl SiteSettings {
    /// Whether connections of a listener reach the site.
    fn is_reached_from(&self, listener: u32) -> bool {
        self.listeners.as_ref().is_none_or(|listeners| listeners.contains(&listener))
    }

    /// Whether connections of some listener reach both sites.
    fn shares_listener(&self, other: &Self) -> bool {
        match (&self.listeners, &other.listeners) {
            (Some(mine), Some(theirs)) => mine.iter().any(|listener| theirs.contains(listener)),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{File, Links};
    use crate::http::semantics::condition::Conditions;
    use crate::http::semantics::field::Field;
    use crate::http::semantics::request::Method;

    fn site(name: &str, hosts: &[&str], listeners: Option<&[u32]>) -> SiteSettings {
        let root = File::open_root("/".as_ref(), Links::Beneath).unwrap();
        SiteSettings {
            name: name.to_owned(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            is_default: false,
            listeners: listeners.map(<[u32]>::to_vec),
            ..SiteSettings::new(Arc::new(root))
        }
    }

    fn table(sites: Vec<SiteSettings>) -> Result<SiteTable, SiteTableError> {
        SiteTable::new(1, sites.into_iter().map(Arc::new).collect())
    }

    #[test]
    fn an_exact_host_precedes_a_wildcard_and_that_the_default() {
        let table = table(vec![
            site("wild", &["*.example.com"], None),
            site("exact", &["a.example.com", "example.com"], None),
            SiteSettings { is_default: true, ..site("other", &["other.example"], None) },
        ])
        .unwrap();
        for (host, place) in [
            ("a.example.com", 1),
            ("A.EXAMPLE.com.:80", 1),
            ("b.example.com", 0),
            ("example.com", 1),
            ("b.a.example.com", 2),
            (".example.com", 2),
            ("other.example", 2),
            ("unknown", 2),
            ("", 2),
        ] {
            assert_eq!(table.find(0, host.as_bytes()), Some(place), "{host:?}");
        }
        assert_eq!(table.find(0, &[b'a'; 300]), Some(2));
    }

    #[test]
    fn without_a_default_unknown_hosts_reach_no_site() {
        let several = table(vec![site("a", &["a"], None), site("b", &["b"], None)]).unwrap();
        assert_eq!(several.find(0, b"a"), Some(0));
        assert_eq!(several.find(0, b"c"), None);
        assert_eq!(several.find(0, b""), None);
        let alone = table(vec![site("a", &["a"], None)]).unwrap();
        assert_eq!(alone.find(7, b"c"), Some(0), "the only site answers every request");
    }

    #[test]
    fn a_site_is_reached_from_its_listeners_only() {
        let inner = SiteSettings { is_default: true, ..site("inner", &["a"], Some(&[1, 2])) };
        let outer = site("outer", &["a", "b"], Some(&[0]));
        let both = table(vec![inner, outer, site("all", &["c"], None)]).unwrap();
        for (listener, host, place) in [
            (0, "a", Some(1)),
            (1, "a", Some(0)),
            (2, "b", Some(0)),
            (0, "b", Some(1)),
            (0, "x", None),
            (0, "c", Some(2)),
            (1, "c", Some(2)),
            // The listener of a connection may be gone since.
            (9, "a", None),
            (9, "c", Some(2)),
        ] {
            assert_eq!(both.find(listener, host.as_bytes()), place, "{listener} {host}");
        }
        let alone = table(vec![site("a", &["a"], Some(&[0]))]).unwrap();
        assert_eq!((alone.find(0, b"a"), alone.find(1, b"a")), (Some(0), None));
    }

    #[test]
    fn a_name_in_the_handshake_excludes_sites_with_other_certificates() {
        let with = |name: &str, certificates: Option<&str>| SiteSettings {
            certificates: certificates.map(Into::into),
            ..site(name, &[&format!("{name}.example")], None)
        };
        let default = SiteSettings { is_default: true, ..with("default", None) };
        let several = [with("a", Some("x")), with("b", Some("x")), with("c", Some("y")), default];
        let roles = vec![(1, ListenerRole::Secure), (2, ListenerRole::Redirect(443))];
        let roles = ListenerRoles { by_number: roles, ..ListenerRoles::default() };
        let table = table(several.to_vec()).unwrap().with_roles(roles);
        let protection = |name: Option<&str>| Protection {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384",
            is_resumed: false,
            protocol: None,
            server_name: name.map(Into::into),
        };
        let request = |host| Request {
            method: Method::Get,
            target: b"/",
            host,
            accept: Field::default(),
            accept_encoding: Field::default(),
            authorization: Field::default(),
            conditions: Conditions::default(),
            range: Field::default(),
            if_range: Field::default(),
            is_preflight: false,
        };
        for (name, host, choice) in [
            (Some("a.example"), "A.example:443", Choice::Site(0)),
            (Some("a.example"), "b.example", Choice::Site(1)),
            (Some("a.example"), "c.example", Choice::OtherSite),
            (Some("c.example"), "a.example", Choice::OtherSite),
            (Some("a.example"), "unknown.example", Choice::OtherSite),
            (Some("unknown.example"), "other.example", Choice::Site(3)),
            (None, "c.example", Choice::Site(2)),
        ] {
            let (protection, request) = (protection(name), request(host.as_bytes()));
            // A connection keeps its protection when its listener gets another role.
            for listener in [1, 2] {
                let found = table.choose(listener, Some(&protection), true, &request);
                assert_eq!(found, choice, "{name:?} {host} {listener}");
            }
        }
        let choose = |listener, says| table.choose(listener, None, says, &request(b"a.example"));
        assert_eq!(choose(2, false), Choice::Redirect(443));
        assert_eq!(choose(2, true), Choice::Site(0), "a proxy has got it over HTTPS");
        assert_eq!(choose(0, false), Choice::Site(0));
    }

    #[test]
    fn two_sites_cannot_claim_the_same_requests() {
        let same = table(vec![site("a", &["x", "y"], None), site("b", &["Y."], Some(&[3]))]);
        let error = same.unwrap_err().to_string();
        assert!(error.contains("a and b") && error.contains("host y"), "{error}");
        let apart = [site("a", &["x"], Some(&[1])), site("b", &["x"], Some(&[2]))];
        assert!(table(apart.to_vec()).is_ok());
        let twice = apart.map(|site| SiteSettings { is_default: true, listeners: None, ..site });
        let twice = twice.map(|site| SiteSettings { hosts: Vec::new(), ..site });
        let error = table(twice.to_vec()).unwrap_err().to_string();
        assert!(error.contains("default"), "{error}");
        assert_eq!(table(Vec::new()).unwrap_err(), SiteTableError::Empty);
        let many = vec![site("a", &[], None); SITES_MAX + 1];
        assert_eq!(table(many).unwrap_err(), SiteTableError::TooMany);
    }
}
