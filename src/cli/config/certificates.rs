//! Checks what a configuration says of HTTPS and of users: the certificates of its sites, the
//! files of their users, the issuers of the certificates of its clients, and that a listener that
//! needs a certificate has one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::draft::{ListenerDraft, SiteDraft};
use super::keys::of_flag;
use super::problem::{Problem, ProblemList};
use super::protocol::ListenerProtocol;
use super::setting::{CERTIFICATES, Settings, Sourced, Value};
use super::source::Place;
use crate::cli::SiteTlsArgs;
use crate::cli::access::read_users;
use crate::server::ListenSpec;
use crate::tls::{Certificate, Certificates, TlsConfig, TlsSettings};

/// A path and where it is written.
type WrittenPath = (PathBuf, Option<Place>);

/// Loads the certificates of each site, as a start would, each pair of files once. The settings of
/// a site come between the defaults and the flags.
pub(super) fn check_certificates(
    sites: &[SiteDraft],
    [defaults, flags]: [&Settings; 2],
    problems: &mut ProblemList,
) {
    let mut known = HashSet::new();
    for site in sites {
        let mut settings = defaults.clone();
        settings.overlay_site(&site.settings);
        settings.overlay_site(flags);
        let of_site = |flag| paths(&settings, flag).unzip::<_, _, Vec<_>, Vec<_>>();
        let ((tls_cert, places), (tls_key, key_places)) = (of_site("tls-cert"), of_site("tls-key"));
        let args = SiteTlsArgs { tls_cert, tls_key, ..SiteTlsArgs::default() };
        let pairs = match args.pairs() {
            Ok(pairs) => pairs,
            Err(remedy) => {
                let place = places.iter().chain(&key_places).flatten().next();
                problems.push(Problem::new(place, "certificates and keys differ", remedy));
                continue;
            }
        };
        for (at, (certificate, key)) in pairs.into_iter().enumerate() {
            let Err(error) = Certificate::load(&certificate, &key) else { continue };
            let is_of_key = error.file() == Some(&*key) && key != certificate;
            let place = if is_of_key { key_places.get(at) } else { places.get(at) };
            if known.insert((certificate, key)) {
                complain(place.and_then(Option::as_ref), &error.to_string(), problems);
            }
        }
    }
}

/// Reads the issuers of the certificates of clients, as a start would.
pub(super) fn check_client_ca(server: &Settings, problems: &mut ProblemList) {
    for (path, place) in paths(server, "tls-client-ca") {
        let settings = TlsSettings { client_ca: Some(path), ..TlsSettings::default() };
        let none = Certificates::new(Vec::new());
        if let Err(error) = TlsConfig::new(&settings, std::sync::Arc::new(none), None) {
            complain(place.as_ref(), &error.to_string(), problems);
        }
    }
}

/// Reads the users of each site, as a start would, each file once.
pub(super) fn check_users(
    sites: &[SiteDraft],
    [defaults, flags]: [&Settings; 2],
    problems: &mut ProblemList,
) {
    let mut known = HashSet::new();
    for site in sites {
        let layers = [flags, &site.settings, defaults];
        let written = layers.into_iter().flat_map(|layer| paths(layer, "users")).next();
        let Some((path, place)) = written.filter(|(path, _)| known.insert(path.clone())) else {
            continue;
        };
        if let Err(error) = read_users(&path) {
            complain(place.as_ref(), &error, problems);
        }
    }
}

/// Refuses a listener that speaks HTTPS or leads to it while no site has a certificate. One that
/// leads to it may be behind a proxy that has one, and that says which requests came with HTTPS.
pub(super) fn check_protocols(
    listeners: &[ListenerDraft],
    sites: &[SiteDraft],
    around: [&Settings; 2],
    problems: &mut ProblemList,
) {
    let has_any =
        |layer: &Settings| CERTIFICATES.iter().any(|flag| !layer.get(of_flag(flag)).is_empty());
    let mut layers = sites.iter().map(|site| &site.settings).chain(around);
    if layers.any(has_any) {
        check_redirects(listeners, problems);
        return;
    }
    for listener in listeners {
        let Some(Sourced { value, origin }) = &listener.protocol else { continue };
        let (title, remedy) = match value {
            ListenerProtocol::Https => (
                "HTTPS without a certificate",
                "add `tls-cert` and `tls-key` to a site, or `tls-self-signed` to try it out",
            ),
            ListenerProtocol::Redirect if listener.door.is_forwarded() => continue,
            ListenerProtocol::Redirect => (
                "a redirect to HTTPS, and no site has a certificate",
                "add `tls-cert` and `tls-key` to a site; if a proxy ends TLS, use a `[[listen]]` \
                 with `trusted` and `forwarded`",
            ),
            ListenerProtocol::Usual | ListenerProtocol::Http => continue,
        };
        problems.push(Problem::new(origin.place(), title, remedy));
    }
}

/// Refuses a redirect to a port that is not known yet.
fn check_redirects(listeners: &[ListenerDraft], problems: &mut ProblemList) {
    let protocol = |it: &ListenerDraft| it.protocol.as_ref().map(|it| it.value).unwrap_or_default();
    let is_secure = |it: &&ListenerDraft| {
        matches!(protocol(it), ListenerProtocol::Usual | ListenerProtocol::Https)
    };
    let mut addresses = listeners.iter().filter(is_secure).flat_map(|it| &it.addresses);
    let port = addresses.find_map(|it| it.value.parse::<ListenSpec>().ok()?.port());
    let redirects = listeners.iter().filter(|it| protocol(it) == ListenerProtocol::Redirect);
    for redirect in redirects.filter(|_| port == Some(0)) {
        let place = redirect.protocol.as_ref().and_then(|protocol| protocol.origin.place());
        let title = "a redirect to a port that the kernel picks";
        let remedy = "name a port for the HTTPS address instead of 0";
        problems.push(Problem::new(place, title, remedy));
    }
}

/// The paths that are values of an option.
fn paths(settings: &Settings, flag: &str) -> impl Iterator<Item = WrittenPath> {
    settings.get(of_flag(flag)).iter().filter_map(|Sourced { value, origin }| match value {
        Value::Text(text) => Some((Path::new(text).to_owned(), origin.place().cloned())),
        _ => None,
    })
}

/// Adds an error of a file, whose last clause is the remedy.
fn complain(place: Option<&Place>, error: &str, problems: &mut ProblemList) {
    let (title, remedy) = error.split_once("; ").unwrap_or((error, "correct it"));
    problems.push(Problem::new(place, title, remedy));
}
