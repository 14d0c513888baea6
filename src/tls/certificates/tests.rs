//! The choice of certificates, compared with a search through all of them.

use std::time::SystemTime;

use fastrand::Rng;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::tls::made::{KeyKind, certificate, certificate_of_key, key};
use crate::tls::provider;

const P256: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const ED25519: SignatureScheme = SignatureScheme::ED25519;
const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

fn site(hosts: &[&str], is_default: bool, certificates: &[&Arc<Certificate>]) -> SiteCertificates {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    let certificates = certificates.iter().map(|certificate| Arc::clone(certificate)).collect();
    SiteCertificates { hosts, is_default, certificates }
}

#[test]
fn the_site_decides_before_the_names() {
    let exact = certificate(&["a.example.org"], KeyKind::P256);
    let all = certificate(&["*.example.org"], KeyKind::P256);
    let modern = certificate(&["*.example.org"], KeyKind::Ed25519);
    let certificates = Certificates::new(vec![
        site(&["*.example.org"], false, &[&all, &modern]),
        site(&["a.example.org", "B.example.org."], true, &[&exact]),
        site(&["bare.example.org"], false, &[]),
    ]);
    for (name, schemes, expected) in [
        (Some("a.example.org"), &[P256][..], &exact),
        (Some("A.EXAMPLE.ORG."), &[P256], &exact),
        // Its site has a certificate, though none that is valid for the name.
        (Some("b.example.org"), &[P256], &exact),
        (Some("c.example.org"), &[P256, ED25519], &all),
        (Some("c.example.org"), &[ED25519], &modern),
        // No key fits: the handshake fails with the first one.
        (Some("c.example.org"), &[RSA], &all),
        // Its site has no certificates.
        (Some("bare.example.org"), &[ED25519], &modern),
        (Some("a.b.example.org"), &[P256], &exact),
        (Some("other.test"), &[P256], &exact),
        (None, &[P256], &exact),
    ] {
        let chosen = certificates.choose(name, schemes).unwrap();
        assert!(Arc::ptr_eq(chosen, expected), "{name:?} {schemes:?}: {:?}", chosen.dns_names());
    }
    assert_eq!(certificates.all().len(), 3);
    assert!(Certificates::new(vec![]).choose(Some("a.example.org"), &[P256]).is_none());
}

/// What the module documentation says, in the simplest words.
fn oracle<'a>(
    sites: &'a [SiteCertificates],
    name: Option<&str>,
    schemes: &[SignatureScheme],
) -> Option<&'a Arc<Certificate>> {
    let matches = |pattern: &str, name: &str| match pattern.strip_prefix('*') {
        Some(suffix) => {
            name.strip_suffix(suffix).is_some_and(|first| !first.is_empty() && !first.contains('.'))
        }
        None => pattern == name,
    };
    let is_valid = |certificate: &Certificate, name: &str| {
        certificate.dns_names().iter().any(|pattern| matches(pattern, name))
    };
    let mut found: Vec<&Arc<Certificate>> = Vec::new();
    if let Some(name) = name {
        let exact = sites.iter().find(|site| site.hosts.iter().any(|host| host == name));
        let site = exact.or_else(|| {
            sites.iter().find(|site| site.hosts.iter().any(|host| matches(host, name)))
        });
        if let Some(site) = site {
            found = site.certificates.iter().filter(|one| is_valid(one, name)).collect();
            if found.is_empty() {
                found = site.certificates.iter().collect();
            }
        }
        if found.is_empty() {
            let all = sites.iter().flat_map(|site| &site.certificates);
            found = all.filter(|one| is_valid(one, name)).collect();
        }
    }
    if found.is_empty() {
        let filled = || sites.iter().filter(|site| !site.certificates.is_empty());
        let site = filled().find(|site| site.is_default).or_else(|| filled().next());
        found = site.map_or(Vec::new(), |site| site.certificates.iter().collect());
    }
    found.iter().find(|one| one.fits(schemes)).or(found.first()).copied()
}

#[test]
fn the_choice_is_that_of_a_search_through_all() {
    let mut random = Rng::with_seed(7);
    let names = ["a.x.t", "b.x.t", "*.x.t", "x.t", "a.a.x.t", "*.a.x.t", "a.y.t", "*.y.t", "y.t"];
    let keys = [key(KeyKind::P256), key(KeyKind::Ed25519), key(KeyKind::Rsa)];
    let some = |random: &mut Rng, from: &[&'static str], max: usize| -> Vec<&'static str> {
        (0..random.usize(0..=max)).filter_map(|_| random.choice(from.iter().copied())).collect()
    };
    let pool: Vec<_> = (0..24)
        .map(|_| {
            let mut own = some(&mut random, &names, 2);
            own.push(random.choice(names).unwrap());
            certificate_of_key(&own, random.choice(&keys).unwrap())
        })
        .collect();
    let asked = [
        "a.x.t", "b.x.t", "c.x.t", "x.t", "a.a.x.t", "b.a.x.t", "a.b.x.t", "a.y.t", "y.t", "z.t",
        "a.z.t",
    ];
    let mut chosen_of_pool = BTreeSet::new();
    for round in 0..2000 {
        let sites: Vec<_> = (0..random.usize(0..5))
            .map(|_| {
                let count = random.usize(0..4);
                let own: Vec<_> = (0..count).map(|_| random.choice(&pool).unwrap()).collect();
                site(&some(&mut random, &names, 3), random.u8(0..4) == 0, &own)
            })
            .collect();
        let certificates = Certificates::new(sites.clone());
        for name in asked.into_iter().map(Some).chain([None]) {
            let schemes = random.choose_multiple([P256, ED25519, RSA], 2);
            let expected = oracle(&sites, name, &schemes);
            let chosen = certificates.choose(name, &schemes);
            assert_eq!(
                chosen.map(Arc::as_ptr),
                expected.map(Arc::as_ptr),
                "round {round}: {name:?} {schemes:?} {sites:?}"
            );
            chosen_of_pool.extend(chosen.map(Arc::as_ptr));
        }
    }
    assert_eq!(chosen_of_pool.len(), pool.len(), "the rounds are not varied");
}

#[test]
fn hosts_without_a_certificate_are_noted() {
    let one = certificate(&["a.example", "*.example.org", "192.0.2.1"], KeyKind::P256);
    let sites = vec![
        site(&["a.example", "*.example.org", "192.0.2.1", "x.example.org"], true, &[&one]),
        site(&["b.example", "a.example.com"], false, &[&one]),
        site(&["y.example.org", "c.example"], false, &[]),
    ];
    let notes = Certificates::new(sites).notes(SystemTime::now());
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].starts_with("no certificate of its site is valid for b.example, so"));
    assert!(notes[1].starts_with("no certificate of its site is valid for a.example.com, so"));
    assert!(notes[2].starts_with("no certificate is valid for c.example, so"));
}

#[test]
fn renewed_certificates_have_the_same_keys() {
    let (first, second) = (key(KeyKind::P256), key(KeyKind::P256));
    let made = |keys: &[&rcgen::KeyPair]| {
        let made: Vec<_> = keys.iter().map(|key| certificate_of_key(&["a.x"], key)).collect();
        Certificates::new(vec![site(&["a.x"], true, &made.iter().collect::<Vec<_>>())])
    };
    let old = made(&[&first]);
    assert!(old.has_same_keys_as(&made(&[&first])));
    assert!(made(&[&first, &second]).has_same_keys_as(&made(&[&second, &first])));
    assert!(!old.has_same_keys_as(&made(&[&second])));
    assert!(!old.has_same_keys_as(&made(&[&first, &second])));
}

/// A client that trusts only this certificate, and asks for this name. Returns whether it accepts
/// what the server sends.
fn handshake(trusted: &Certificate, name: &str, certificates: &Arc<Certificates>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certified_key().cert[0].clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::clone(provider()));
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let resolver: Arc<Certificates> = Arc::clone(certificates);
    let mut server = ServerConnection::new(Arc::new(server.with_cert_resolver(resolver))).unwrap();
    while client.is_handshaking() {
        let mut sent = Vec::new();
        client.write_tls(&mut sent).unwrap();
        server.read_tls(&mut &*sent).unwrap();
        server.process_new_packets().unwrap();
        sent.clear();
        server.write_tls(&mut sent).unwrap();
        client.read_tls(&mut &*sent).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    true
}

#[test]
fn clients_accept_the_certificate_for_the_name() {
    let first = certificate(&["a.example.org", "192.0.2.1"], KeyKind::Rsa);
    let second = Arc::new(Certificate::self_signed(&["*.example.com".to_owned()]).unwrap());
    let certificates = Arc::new(Certificates::new(vec![
        site(&["a.example.org"], true, &[&first]),
        site(&["*.example.com"], false, &[&second]),
    ]));
    for (name, is_first) in [
        ("a.example.org", true),
        ("A.Example.ORG", true),
        ("www.example.com", false),
        // Clients that connect to an address send no name.
        ("192.0.2.1", true),
    ] {
        assert_eq!(handshake(&first, name, &certificates), is_first, "{name}");
        assert_eq!(handshake(&second, name, &certificates), !is_first, "{name}");
    }
}
