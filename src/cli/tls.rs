//! From the options of HTTPS to certificates and to a configuration of TLS.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::config::{ListenerOptions, ListenerProtocol};
use super::tls_args::{TlsArgs, TlsVersion};
use super::{CommandError, Config, SiteOptions};
use crate::admin::CertificateFacts;
use crate::clients::Door;
use crate::http::{ListenerRole, ListenerRoles};
use crate::server::ListenSpec;
use crate::tls::{Certificate, Certificates, KeyLogFile, SiteCertificates, TlsConfig, TlsSettings};

/// The port of `https://` addresses without one.
const HTTPS_PORT: u16 = 443;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// How long before its end a self-signed certificate is made again, by a reload.
const MADE_AGAIN: Duration = Duration::from_secs(DAY_SECONDS);

/// The certificates of a server, and how it speaks TLS.
#[derive(Clone, Debug)]
pub(super) struct TlsPlan {
    pub(super) config: TlsConfig,
    pub(super) certificates: Arc<Certificates>,
    settings: TlsSettings,
    /// The names of each certificate that was made, with it.
    made: Vec<(Vec<String>, Arc<Certificate>)>,
}

impl TlsPlan {
    /// Loads all certificates of a configuration. `None` if no site has any. Certificates that were
    /// made `before` are used again, and so are its session tickets, as long as the keys are the
    /// same.
    ///
    /// # Errors
    ///
    /// When a file cannot be used.
    pub(super) fn open(
        config: &Config,
        before: Option<&Self>,
    ) -> Result<Option<Self>, CommandError> {
        if !config.has_tls() {
            return Ok(None);
        }
        check_hosts(config)?;
        let args = &config.options.tls;
        let settings = match before {
            Some(before) if before.is_of(args) => before.settings.clone(),
            _ => settings(args)?,
        };
        let mut loader = Loader { before, files: HashMap::new(), made: Vec::new() };
        let sites = config.sites.iter().map(|site| loader.site(config, site));
        let certificates = Arc::new(Certificates::new(sites.collect::<Result<_, _>>()?));
        let same = before.filter(|before| before.certificates.has_same_keys_as(&certificates));
        let before = same.map(|before| &before.config);
        let resolver = Arc::clone(&certificates) as _;
        let config = TlsConfig::new(&settings, resolver, before);
        let config = config.map_err(|error| CommandError(error.to_string()))?;
        Ok(Some(Self { config, certificates, settings, made: loader.made }))
    }

    /// Whether the settings are those of these options. The key log needs a restart, and addresses
    /// are none of them.
    fn is_of(&self, args: &TlsArgs) -> bool {
        let TlsArgs { listen_plain: _, listen_redirect: _, tls_key_log: _, .. } = args;
        let TlsArgs { tls_min, no_http2, tls_client_ca, handshake_timeout, .. } = args;
        let settings = &self.settings;
        settings.needs_tls13 == (*tls_min == TlsVersion::Tls13)
            && settings.has_http2 != *no_http2
            && settings.client_ca == *tls_client_ca
            && settings.handshake_timeout == *handshake_timeout
    }

    /// The files of all certificates and keys.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let all = self.certificates.all().iter();
        let files = all.flat_map(|it| [it.certificate_path(), it.key_path()]);
        files.flatten().map(Path::to_owned).chain(self.settings.client_ca.clone()).collect()
    }

    /// What is new compared to the present certificates, in words. Their issuers count: a file may
    /// get one that was missing.
    pub(super) fn fresh(&self, present: &Self) -> Vec<String> {
        let (new, known) = (self.certificates.all(), present.certificates.all());
        let chain = |certificate: &Arc<Certificate>| Arc::clone(certificate.certified_key());
        let has_same_chain = |a: &Arc<Certificate>, b: &Arc<Certificate>| {
            chain(a).cert == chain(b).cert && a.has_same_key_as(b)
        };
        let by_print: HashMap<&str, &Arc<Certificate>> =
            known.iter().map(|known| (known.fingerprint(), known)).collect();
        let is_fresh = |certificate: &&Arc<Certificate>| {
            let known = by_print.get(certificate.fingerprint());
            known.is_none_or(|known| !has_same_chain(known, certificate))
        };
        let describe = |certificate: &Arc<Certificate>| {
            let until = humantime::format_rfc3339_seconds(certificate.not_after());
            format!("the certificate for {}, valid until {until}", certificate.names())
        };
        let mut fresh: Vec<String> = new.iter().filter(is_fresh).map(describe).collect();
        let in_place =
            new.len() == known.len() && new.iter().zip(known).all(|(a, b)| has_same_chain(a, b));
        if fresh.is_empty() && !in_place {
            fresh.push("certificates that have changed places".to_owned());
        }
        if !self.config.accepts_clients_of(&present.config) {
            fresh.push("the issuers of client certificates".to_owned());
        }
        fresh
    }

    /// What the administration shows of the certificates.
    pub(super) fn facts(&self) -> Vec<CertificateFacts> {
        let facts = |certificate: &Arc<Certificate>| {
            let addresses = certificate.addresses().iter().map(ToString::to_string);
            CertificateFacts {
                names: certificate.dns_names().iter().cloned().chain(addresses).collect(),
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
                fingerprint: certificate.fingerprint().to_owned(),
                path: certificate.certificate_path().map(Path::to_owned),
            }
        };
        self.certificates.all().iter().map(facts).collect()
    }

    /// What the operator should know.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.certificates.notes(SystemTime::now());
        for (_, certificate) in &self.made {
            notes.push(format!(
                "the certificate for {} is self-signed, so browsers warn of it; its SHA-256 \
                 fingerprint is {}",
                certificate.names(),
                certificate.fingerprint()
            ));
        }
        if self.settings.key_log.is_some() {
            notes.push(
                "--tls-key-log: whoever reads that file can decrypt all connections".to_owned(),
            );
        }
        notes
    }
}

/// Refuses sites that share a host on different listeners, but not their certificates: the
/// handshake chooses by the name alone.
fn check_hosts(config: &Config) -> Result<(), CommandError> {
    let mut owners: HashMap<String, &SiteOptions> = HashMap::new();
    for site in &config.sites {
        for host in site.hosts.iter().map(ToString::to_string) {
            let Some(other) = owners.get(&host) else {
                owners.insert(host, site);
                continue;
            };
            if other.content.tls.group() != site.content.tls.group() {
                return Err(CommandError(format!(
                    "the sites {} and {} both have the host {host}, on different listeners, and \
                     different certificates, but a client is known by the host alone; give them \
                     the same certificates",
                    other.name, site.name
                )));
            }
        }
    }
    Ok(())
}

/// Loads certificates, each file once.
struct Loader<'a> {
    before: Option<&'a TlsPlan>,
    files: HashMap<(PathBuf, PathBuf), Arc<Certificate>>,
    made: Vec<(Vec<String>, Arc<Certificate>)>,
}

impl Loader<'_> {
    fn site(
        &mut self,
        config: &Config,
        site: &SiteOptions,
    ) -> Result<SiteCertificates, CommandError> {
        let hosts: Vec<String> = site.hosts.iter().map(ToString::to_string).collect();
        let name = |error: String| match &site.place {
            None => CommandError(error),
            Some(place) => CommandError(format!("{error}, in {}", config.place_name(place))),
        };
        let tls = &site.content.tls;
        let pairs = tls.pairs().map_err(name)?;
        let mut certificates = Vec::with_capacity(pairs.len());
        for pair in pairs {
            certificates.push(self.load(pair).map_err(name)?);
        }
        if let Some(names) = &tls.tls_self_signed {
            certificates.push(self.make(names, &hosts).map_err(name)?);
        }
        Ok(SiteCertificates { hosts, is_default: site.is_default, certificates })
    }

    fn load(&mut self, pair: (PathBuf, PathBuf)) -> Result<Arc<Certificate>, String> {
        if let Some(known) = self.files.get(&pair) {
            return Ok(Arc::clone(known));
        }
        let certificate = Certificate::load(&pair.0, &pair.1).map_err(|error| error.to_string())?;
        let certificate = Arc::new(certificate);
        self.files.insert(pair, Arc::clone(&certificate));
        Ok(certificate)
    }

    fn make(&mut self, names: &str, hosts: &[String]) -> Result<Arc<Certificate>, String> {
        let names: Vec<String> = match names {
            "" => hosts.to_vec(),
            names => names.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        let known = self.before.map(|before| &before.made).into_iter().flatten();
        // One that ends soon is made again.
        let soon = SystemTime::now() + MADE_AGAIN;
        let known = known.filter(|(_, made)| made.not_after() > soon);
        let known = known.chain(&self.made).find(|(made, _)| *made == names);
        let certificate = match known {
            Some((_, known)) => Arc::clone(known),
            None => {
                let made = Certificate::self_signed(&names).map_err(|error| error.to_string())?;
                Arc::new(made)
            }
        };
        if !self.made.iter().any(|(made, _)| *made == names) {
            self.made.push((names, Arc::clone(&certificate)));
        }
        Ok(certificate)
    }
}

fn settings(args: &TlsArgs) -> Result<TlsSettings, CommandError> {
    let key_log = match &args.tls_key_log {
        None => None,
        Some(path) => {
            let log = KeyLogFile::open(path).map_err(|error| {
                let path = path.display();
                CommandError(format!("--tls-key-log {path}: {error}; choose another path"))
            })?;
            Some(Arc::new(log) as _)
        }
    };
    Ok(TlsSettings {
        needs_tls13: args.tls_min == TlsVersion::Tls13,
        has_http2: !args.no_http2,
        client_ca: args.tls_client_ca.clone(),
        handshake_timeout: args.handshake_timeout,
        key_log,
    })
}

/// Whether a proxy before a listener says which requests came to it with HTTPS.
fn is_forwarded(listener: &ListenerOptions) -> bool {
    listener.door.as_ref().is_some_and(|door| door.forwarded.is_some())
}

/// Notes about options that have no effect because no site has a certificate.
pub(super) fn notes_without_tls(config: &Config) -> Vec<String> {
    if config.has_tls() {
        return Vec::new();
    }
    let TlsArgs { tls_min, tls_client_ca, tls_key_log, .. } = &config.options.tls;
    let has_hsts = config.sites.iter().any(|site| site.content.tls.hsts.is_some());
    let options = [
        ("--hsts", has_hsts && !config.listeners.iter().any(is_forwarded)),
        ("--tls-min", *tls_min != TlsVersion::Tls12),
        ("--tls-client-ca", tls_client_ca.is_some()),
        ("--tls-key-log", tls_key_log.is_some()),
    ];
    let set = options.into_iter().filter(|(_, is_set)| *is_set);
    let note = |(option, _)| {
        format!(
            "{option} has no effect without a certificate: everything is served without TLS; add \
             --tls-cert and --tls-key"
        )
    };
    set.map(note).collect()
}

/// How many listeners that are gone keep their roles.
const ROLES_MAX: usize = 256;

/// The role of each listener, given the numbers of the addresses in their order. Connections keep
/// the number of their listener, so those that are gone keep the role that they had `before`.
///
/// # Errors
///
/// When a listener needs a certificate, and there is none; when the port of a redirect is unknown.
pub(super) fn roles(
    config: &Config,
    numbers: &[u32],
    before: &ListenerRoles,
) -> Result<ListenerRoles, CommandError> {
    let gone = before.by_number.iter().filter(|(number, _)| !numbers.contains(number));
    let gone: Vec<_> = gone.copied().take(ROLES_MAX).collect();
    let has_tls = config.has_tls();
    let is_secure = |protocol| match protocol {
        ListenerProtocol::Usual => has_tls,
        ListenerProtocol::Https => true,
        ListenerProtocol::Http | ListenerProtocol::Redirect => false,
    };
    let secure = config.listeners.iter().filter(|listener| is_secure(listener.protocol));
    let https_port = secure.flat_map(|listener| &listener.addresses).find_map(ListenSpec::port);
    let numbers_now = numbers;
    let mut numbers = numbers.iter().copied();
    let (mut by_number, mut doors) = (Vec::new(), doors_of_gone(numbers_now, before));
    for listener in &config.listeners {
        let role = match listener.protocol {
            ListenerProtocol::Redirect => match https_port {
                Some(0) => {
                    let remedy = "name a port for the HTTPS address instead of 0";
                    return Err(CommandError(format!("a redirect needs a known port; {remedy}")));
                }
                port => ListenerRole::Redirect(port.unwrap_or(HTTPS_PORT)),
            },
            protocol if is_secure(protocol) => ListenerRole::Secure,
            _ => ListenerRole::Plain,
        };
        let is_served = has_tls || role == ListenerRole::Plain;
        let is_led = matches!(role, ListenerRole::Redirect(_)) && is_forwarded(listener);
        if !is_served && !is_led {
            return Err(CommandError(
                "an address is to speak or lead to HTTPS, but no site has a certificate; add \
                 --tls-cert and --tls-key, or --tls-self-signed to try it out"
                    .to_owned(),
            ));
        }
        let own = numbers.by_ref().take(listener.addresses.len());
        for number in own {
            by_number.push((number, role));
            doors.extend(listener.door.iter().map(|door| (number, Arc::clone(door))));
        }
    }
    by_number.extend(gone);
    Ok(ListenerRoles { by_number, doors, ..ListenerRoles::default() })
}

/// The doors of listeners that are gone, as in [`roles`]: they may still have connections.
fn doors_of_gone(numbers: &[u32], before: &ListenerRoles) -> Vec<(u32, Arc<Door>)> {
    let gone = before.doors.iter().filter(|(number, _)| !numbers.contains(number));
    gone.take(ROLES_MAX).cloned().collect()
}

/// A line for each certificate: its names, the kind of its key, and how long it is valid. With them
/// what the operator should know. Nothing is opened but the files of certificates.
pub(super) fn described(config: &Config) -> Result<(Vec<String>, Vec<String>), CommandError> {
    if !config.has_tls() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut loader = Loader { before: None, files: HashMap::new(), made: Vec::new() };
    let sites = config.sites.iter().map(|site| loader.site(config, site));
    let certificates = Certificates::new(sites.collect::<Result<_, _>>()?);
    let now = SystemTime::now();
    let line = |certificate: &Arc<Certificate>| {
        let whence = match certificate.certificate_path() {
            Some(path) => path.display().to_string(),
            None => "self-signed".to_owned(),
        };
        let left = match certificate.not_after().duration_since(now) {
            Ok(left) => format!("{} days left", left.as_secs() / DAY_SECONDS),
            Err(_) => "expired".to_owned(),
        };
        let (names, kind) = (certificate.names(), certificate.key_kind());
        format!("certificate for {names}: {kind}, {left}, {whence}")
    };
    let lines = certificates.all().iter().map(line).collect();
    Ok((lines, certificates.notes(now)))
}

impl Config {
    /// Whether a site has certificates.
    pub(super) fn has_tls(&self) -> bool {
        self.sites.iter().any(|site| site.content.tls.is_on())
    }
}
