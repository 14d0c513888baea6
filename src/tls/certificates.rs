//! All certificates of the server, and the choice of one for a client by the name that it asks for
//! (Server Name Indication, RFC 6066 section 3).
//!
//! The certificates that come into question are, in this order:
//!
//! 1. If the hosts of a site match the name: the certificates of that site that are valid for the
//!    name; if there are none, all certificates of the site. An exact host counts before a pattern.
//! 2. Otherwise, or if that site has no certificates: all certificates that are valid for the name.
//! 3. Without a name, or if there are none: those of the default site, or of the first site that
//!    has any.
//!
//! The first one of them is chosen whose key can sign in a way that the client accepts. If there is
//! none, the first one is chosen, and the handshake fails with the alert that says so.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::leaf::host_form;

/// The hosts of a site and its certificates.
#[derive(Clone, Debug)]
pub struct SiteCertificates {
    /// Names such as `example.com`, patterns such as `*.example.com`, or IP addresses.
    pub hosts: Vec<String>,
    /// Whether the site answers clients that name no host, or an unknown one.
    pub is_default: bool,
    /// The certificates, the preferred ones first.
    pub certificates: Vec<Arc<Certificate>>,
}

/// The certificates of all sites; see the module documentation.
#[derive(Debug)]
pub struct Certificates {
    sites: Vec<SiteCertificates>,
    /// All certificates, in the order of the sites, each once.
    all: Vec<Arc<Certificate>>,
    /// Sites by their hosts, in the form in which they are compared. Patterns keep their `*.`.
    site_of: HashMap<String, usize>,
    /// Positions in `all` by the names that the certificates are valid for; they ascend.
    valid: HashMap<String, Vec<usize>>,
    /// The site for clients without a name.
    default: Option<usize>,
}

impl Certificates {
    /// The certificates of these sites. If two sites have the same host, it is that of the first.
    pub fn new(sites: Vec<SiteCertificates>) -> Self {
        let mut all: Vec<Arc<Certificate>> = Vec::new();
        let mut site_of = HashMap::new();
        for (number, site) in sites.iter().enumerate() {
            for host in &site.hosts {
                site_of.entry(host_form(host)).or_insert(number);
            }
            all.extend(site.certificates.iter().cloned());
        }
        let mut seen = BTreeSet::new();
        all.retain(|certificate| seen.insert(Arc::as_ptr(certificate)));
        let mut valid: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, certificate) in all.iter().enumerate() {
            for name in certificate.dns_names() {
                valid.entry(name.clone()).or_default().push(at);
            }
        }
        let has_certificates = |site: &&SiteCertificates| !site.certificates.is_empty();
        let default = sites.iter().position(|site| site.is_default && has_certificates(&site));
        let default = default.or_else(|| sites.iter().position(|site| has_certificates(&site)));
        Self { sites, all, site_of, valid, default }
    }

    /// All certificates, each once, in the order of the sites.
    pub fn all(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    /// The certificate for a client that asks for a name and accepts signatures of these kinds.
    /// `None` only if there are no certificates at all.
    pub fn choose(
        &self,
        server_name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<Certificate>> {
        let candidates = self.candidates(server_name);
        let fitting = candidates.iter().find(|certificate| certificate.fits(schemes));
        fitting.or(candidates.first()).copied()
    }

    /// The certificates that come into question; see the module documentation.
    fn candidates(&self, server_name: Option<&str>) -> Vec<&Arc<Certificate>> {
        if let Some(name) = server_name {
            let name = host_form(name);
            let pattern = pattern_of(&name);
            let site = self.site_of.get(&name).or_else(|| self.site_of.get(pattern.as_deref()?));
            let certificates = site.map_or(&[][..], |site| &self.sites[*site].certificates);
            let valid: Vec<_> =
                certificates.iter().filter(|certificate| certificate.is_valid_for(&name)).collect();
            if !valid.is_empty() {
                return valid;
            }
            if !certificates.is_empty() {
                return certificates.iter().collect();
            }
            let patterns = pattern.and_then(|pattern| self.valid.get(&pattern));
            let named = self.valid.get(&name).into_iter().chain(patterns).flatten();
            let valid: BTreeSet<usize> = named.copied().collect();
            if !valid.is_empty() {
                return valid.into_iter().map(|at| &self.all[at]).collect();
            }
        }
        let default = self.default.map_or(&[][..], |site| &self.sites[site].certificates);
        default.iter().collect()
    }

    /// What an operator should know at this time, in sentences: the notes of each certificate, and
    /// the hosts that no certificate of their site is valid for.
    pub fn notes(&self, now: SystemTime) -> Vec<String> {
        let mut notes: Vec<String> =
            self.all.iter().flat_map(|certificate| certificate.notes(now)).collect();
        for site in &self.sites {
            // A site without certificates is served with those of the others.
            let (whose, certificates) = match site.certificates.is_empty() {
                true => ("no certificate", &self.all),
                false => ("no certificate of its site", &site.certificates),
            };
            for host in &site.hosts {
                if !certificates.iter().any(|certificate| certificate.is_valid_for(host)) {
                    notes.push(format!(
                        "{whose} is valid for {host}, so clients refuse the connection; add one \
                         that has this name, or remove the host"
                    ));
                }
            }
        }
        notes
    }

    /// Whether the same keys are in use, in whatever order and with whatever certificates. Session
    /// tickets may outlive a change of certificates only then: otherwise a ticket would still vouch
    /// for a key that was replaced.
    pub fn has_same_keys_as(&self, other: &Self) -> bool {
        self.keys() == other.keys()
    }

    fn keys(&self) -> BTreeSet<&[u8]> {
        self.all.iter().map(|certificate| certificate.public_key()).collect()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(chosen.certified_key()))
    }
}

/// The pattern that matches a name: its first label becomes an asterisk.
fn pattern_of(name: &str) -> Option<String> {
    let (first, parent) = name.split_once('.')?;
    (!first.is_empty()).then(|| format!("*.{parent}"))
}

#[cfg(test)]
mod tests;
