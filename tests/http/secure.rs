//! What HTTP makes of TLS, over real connections: redirects, `Strict-Transport-Security`, hosts
//! that the handshake has not named, and the logs.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringd::clients::{Door, ForwardedField};
use ringd::driver::{DriverKind, DriverSelection, File, Links};
use ringd::events::{EventFormat, EventKind, EventLevel, EventSettings, Events};
use ringd::http::records::log::{AccessLog, LogFormat};
use ringd::http::site::rules::Rules;
use ringd::http::{HttpSettings, ListenerRole, ListenerRoles, SiteSettings, SiteTable};
use ringd::log_output::LogTarget;
use ringd::serve::{self, HttpServer};
use ringd::server::ServerSettings;
use ringd::tls::TlsSettings;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::common::{eventually, settings};
use crate::proxied::networks;
use crate::support::client::Client;
use crate::support::http2::Http2Connection;
use crate::tls::{TestCertificates, TlsClient};

/// The field that asks browsers to use HTTPS only.
const HSTS: &str = "Strict-Transport-Security";

/// The listeners of a [`SecureServer`], by their numbers.
const PLAIN: usize = 0;
const SECURE: usize = 1;
const REDIRECT: usize = 2;
/// These two are behind proxies of this machine, with `Forwarded` and with `X-Forwarded-For`.
const BEHIND: usize = 3;
const BEHIND_REDIRECT: usize = 4;

/// A server with a listener of each role, and three sites, of which `one` and `two` have the same
/// certificates. `one` and `three` have HSTS; a rule of `three` has more to say.
struct SecureServer {
    server: HttpServer,
    certificates: TestCertificates,
    folder: TempDir,
}

/// A site with its name in `a.txt`, and a challenge.
fn site(folder: &TempDir, name: &str, certificates: &str, hsts: Option<Duration>) -> SiteSettings {
    let path = folder.path().join(name);
    fs::create_dir_all(path.join(".well-known/acme-challenge")).unwrap();
    fs::write(path.join(".well-known/acme-challenge/token-1"), "the proof").unwrap();
    fs::write(path.join("a.txt"), name).unwrap();
    let root = File::open_root(&path, Links::Beneath).unwrap();
    SiteSettings {
        name: name.to_owned(),
        hosts: vec![format!("{name}.example").parse().unwrap()],
        is_default: false,
        certificates: Some(certificates.into()),
        hsts,
        ..SiteSettings::new(root.into())
    }
}

impl SecureServer {
    fn start(
        kind: DriverKind,
        change: impl FnOnce(&mut ServerSettings, &mut HttpSettings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let year = Duration::from_secs(31_536_000);
        let mut three = site(&folder, "three", "b", Some(year));
        let rule = format!("**={HSTS}: max-age=5; includeSubDomains").parse().unwrap();
        three.content.rules = Rules::new(Vec::new(), vec![rule], false).unwrap();
        let one = site(&folder, "one", "a", Some(year));
        let sites = [one, site(&folder, "two", "a", None), three];
        let redirect = ListenerRole::Redirect(8443);
        let by_number = vec![(1, ListenerRole::Secure), (2, redirect), (4, redirect)];
        let door = |field| Door {
            forwarded: Some(field),
            trusted: networks(&["127.0.0.1"]),
            ..Door::default()
        };
        let fields = [(3, ForwardedField::Forwarded), (4, ForwardedField::XForwardedFor)];
        let doors = fields.map(|(number, field)| (number, Arc::new(door(field)))).into();
        let roles = ListenerRoles { by_number, doors, ..ListenerRoles::default() };
        let table = SiteTable::new(1, sites.map(Arc::new).into()).unwrap().with_roles(roles);
        let mut http = HttpSettings::new(Arc::new(table));
        http.health_path = Some("/healthz".into());
        let mut server = settings();
        server.listen = ["127.0.0.1:0"; 5].map(|place| place.parse().unwrap()).into();
        change(&mut server, &mut http);
        let names: [&[&str]; 2] = [&["one.example", "two.example"], &["three.example"]];
        let certificates = TestCertificates::for_names(&names);
        let tls = certificates.server(&TlsSettings::default());
        let selection = DriverSelection::make(Some(kind)).unwrap();
        let server = serve::https(&server, http, &tls, selection).unwrap();
        Self { server, certificates, folder }
    }

    fn address(&self, listener: usize) -> SocketAddr {
        self.server.server.addresses()[listener].socket_addr().unwrap()
    }

    fn browser(&self) -> Arc<ClientConfig> {
        Arc::new(self.certificates.client(&[&TLS13]))
    }

    fn connect(&self, browser: &Arc<ClientConfig>, name: &str) -> TlsClient {
        TlsClient::connect(self.address(SECURE), browser, name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn stop(self) -> TempDir {
        self.server.server.stop().expect("the server drains");
        self.folder
    }
}

pub(crate) fn a_listener_redirects_to_https(kind: DriverKind) {
    let secure = SecureServer::start(kind, |_, _| {});
    let mut client = Client::connect(secure.address(REDIRECT));
    client.send("GET /a.txt?b=c HTTP/1.1\r\nHost: one.example:8080\r\n\r\n");
    let answer = client.read_response();
    assert_eq!(answer.status, 308);
    assert_eq!(answer.field("Location"), Some("https://one.example:8443/a.txt?b=c"));
    assert_eq!(answer.field("Cache-Control"), Some("max-age=3600"));
    assert!(answer.field(HSTS).is_none(), "not without TLS");
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("308 Permanent Redirect") && !body.contains("one.example"), "{body}");
    // The connection persists, also behind the content of a request and after HEAD.
    client.send("POST /a HTTP/1.1\r\nHost: x.example\r\nContent-Length: 5\r\n\r\nhello");
    let answer = client.read_response();
    assert_eq!((answer.status, answer.says_close()), (308, false));
    assert_eq!(answer.field("Location"), Some("https://x.example:8443/a"));
    client.send("HEAD / HTTP/1.1\r\nHost: one.example\r\n\r\n");
    assert_eq!(client.read_head().status, 308);
    let challenge = "/.well-known/acme-challenge/token-1";
    client.send(format!("GET {challenge} HTTP/1.1\r\nHost: two.example\r\n\r\n"));
    client.read_response().expect_ok(b"the proof");
    client.send("GET /healthz HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n");
    client.read_response().expect_ok(b"ok\n");
    // The other listeners do not redirect.
    let mut plain = Client::connect(secure.address(PLAIN));
    plain.send("GET /a.txt HTTP/1.1\r\nHost: one.example\r\n\r\n");
    plain.read_response().expect_ok(b"one");
    let mut client = secure.connect(&secure.browser(), "one.example");
    assert_eq!(client.ask("GET", "one.example", "/a.txt").body, b"one");
    secure.stop();
}

pub(crate) fn browsers_are_asked_for_https_over_tls_only(kind: DriverKind) {
    let secure = SecureServer::start(kind, |_, _| {});
    let mut client = secure.connect(&secure.browser(), "one.example");
    let tag = client.ask("GET", "one.example", "/a.txt").field("ETag").unwrap().to_owned();
    for (method, rest, status) in [
        ("GET", "/a.txt", 200),
        ("HEAD", "/a.txt", 200),
        ("GET", "/a.txt Range: bytes=0-0\r\n", 206),
        ("GET", "/a.txt Range: bytes=9-\r\n", 416),
        ("GET", &format!("/a.txt If-None-Match: {tag}\r\n"), 304),
        ("GET", "/missing", 404),
        ("POST", "/a.txt", 405),
        ("OPTIONS", "/a.txt", 204),
    ] {
        let answer = client.ask(method, "one.example", rest);
        assert_eq!(answer.status(), status, "{rest}");
        assert_eq!(answer.field(HSTS), Some("max-age=31536000"), "{rest}");
    }
    assert_eq!(client.ask("GET", "two.example", "/a.txt").field(HSTS), None, "another site");
    let mut client = secure.connect(&secure.browser(), "three.example");
    for target in ["/a.txt", "/missing"] {
        let answer = client.ask("GET", "three.example", target);
        assert_eq!(answer.field(HSTS), Some("max-age=5; includeSubDomains"), "{target}");
    }
    let mut plain = Client::connect(secure.address(PLAIN));
    for target in ["/a.txt", "/missing"] {
        plain.send(format!("GET {target} HTTP/1.1\r\nHost: one.example\r\n\r\n"));
        assert_eq!(plain.read_response().field(HSTS), None);
    }
    secure.stop();
}

/// A proxy that ends TLS says in a field what the client has used.
pub(crate) fn a_trusted_proxy_says_whether_clients_use_https(kind: DriverKind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let target = LogTarget::File(path.clone());
    let format = LogFormat::parse("{scheme}").unwrap();
    let log = AccessLog::open(target, format, 1, |trouble| panic!("{trouble}")).unwrap();
    let secure = SecureServer::start(kind, |_, http| {
        (http.access_log, http.h2c) = (Some(Arc::new(log)), true);
    });
    let (proto, other) = ("X-Forwarded-Proto", "Forwarded");
    for (number, (listener, fields, status, scheme)) in [
        (BEHIND_REDIRECT, &[][..], 308, "http"),
        (BEHIND_REDIRECT, &[(proto, "http")], 308, "http"),
        (BEHIND_REDIRECT, &[(proto, "https, http")], 308, "http"),
        (BEHIND_REDIRECT, &[(proto, "https")], 200, "https"),
        (BEHIND_REDIRECT, &[(other, "proto=https")], 308, "http"),
        (BEHIND, &[], 200, "http"),
        (BEHIND, &[(other, "for=192.0.2.1;proto=http")], 200, "http"),
        (BEHIND, &[(other, "for=192.0.2.1;proto=https")], 200, "https"),
        (BEHIND, &[(proto, "https")], 200, "http"),
        // Nobody believes these.
        (REDIRECT, &[(proto, "https"), (other, "proto=https")], 308, "http"),
        (PLAIN, &[(proto, "https"), (other, "proto=https")], 200, "http"),
    ]
    .into_iter()
    .enumerate()
    {
        let address = secure.address(listener);
        let hsts = (scheme == "https").then_some("max-age=31536000");
        let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let lines: String = lines.collect();
        let mut client = Client::connect(address);
        client.send(format!("GET /a.txt HTTP/1.1\r\nHost: one.example\r\n{lines}\r\n"));
        let answer = client.read_response();
        assert_eq!((answer.status, answer.field(HSTS)), (status, hsts), "{listener} {lines}");
        let mut client = Http2Connection::connect(address);
        let names: Vec<_> = fields.iter().map(|(name, _)| name.to_lowercase()).collect();
        let named = names.iter().zip(fields).map(|(name, (_, value))| (&**name, *value));
        let fields: Vec<_> = [(":authority", "one.example")].into_iter().chain(named).collect();
        let answer = client.ask("GET", "/a.txt", &fields);
        let found = (answer.status, answer.field("strict-transport-security"));
        assert_eq!(found, (status, hsts), "{listener} {lines} HTTP/2");
        let text = || fs::read_to_string(&path).unwrap_or_default();
        eventually("the lines are written", || text().lines().count() == 2 * number + 2);
        let text = text();
        assert!(text.lines().skip(2 * number).all(|line| line == scheme), "{lines} {text}");
    }
    secure.stop();
}

pub(crate) fn a_host_that_the_handshake_has_not_named_is_misdirected(kind: DriverKind) {
    let secure = SecureServer::start(kind, |_, _| {});
    let browser = secure.browser();
    let mut client = secure.connect(&browser, "one.example");
    for (host, body) in
        [("one.example", "one"), ("ONE.example.:8443", "one"), ("two.example", "two")]
    {
        assert_eq!(client.ask("GET", host, "/a.txt").body, body.as_bytes(), "{host}");
    }
    let answer = client.ask("GET", "three.example", "/a.txt");
    assert_eq!((answer.status(), answer.field("Connection")), (421, Some("close")));
    assert!(String::from_utf8_lossy(&answer.body).contains("for another host"));
    assert_eq!(client.read_to_end().unwrap(), b"", "the connection ends in order");
    let mut client = secure.connect(&browser, "three.example");
    assert_eq!(client.ask("GET", "three.example", "/a.txt").body, b"three");
    assert_eq!(client.ask("GET", "one.example", "/a.txt").status(), 421);
    // A client that names no host in the handshake may ask for any.
    let mut nameless = secure.certificates.client(&[&TLS13]);
    nameless.enable_sni = false;
    let mut client = secure.connect(&Arc::new(nameless), "one.example");
    for host in ["one.example", "three.example"] {
        assert_eq!(client.ask("GET", host, "/a.txt").status(), 200, "{host}");
    }
    secure.stop();
}

pub(crate) fn lines_say_what_protects_the_connection(kind: DriverKind) {
    let format = "{scheme} {tls} {tls_cipher} {tls_resumed} {target}";
    for (format, expected) in [
        (
            format,
            [
                "https TLSv1.3 TLS_AES_256_GCM_SHA384 - /full",
                "https TLSv1.3 TLS_AES_256_GCM_SHA384 resumed /resumed",
                "https TLSv1.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 - /old",
                "http - - - /plain",
            ],
        ),
        ("json", ["\"tls\":\"TLSv1.3\"", "\"tls\":\"TLSv1.3\"", "\"tls\":\"TLSv1.2\"", ""]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (target, layout) = (LogTarget::File(path.clone()), LogFormat::parse(format).unwrap());
        let log = AccessLog::open(target, layout, 1, |trouble| panic!("{trouble}")).unwrap();
        let secure = SecureServer::start(kind, |_, http| http.access_log = Some(Arc::new(log)));
        let (browser, host) = (secure.browser(), "one.example");
        let old = Arc::new(secure.certificates.client(&[&TLS12]));
        let lines = || fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        for (number, (browser, target)) in
            [(&browser, "/full"), (&browser, "/resumed"), (&old, "/old")].into_iter().enumerate()
        {
            let mut client = secure.connect(browser, host);
            client.ask("GET", host, target);
            // The order of lines of several connections is not certain.
            eventually("the line is written", || lines() > number);
        }
        let mut plain = Client::connect(secure.address(PLAIN));
        plain.send("GET /plain HTTP/1.1\r\nHost: one.example\r\n\r\n");
        plain.read_response();
        eventually("the line is written", || lines() == 4);
        let text = fs::read_to_string(&path).unwrap();
        for (line, expected) in text.lines().zip(expected) {
            match format {
                "json" => {
                    assert_eq!(line.contains("\"tls\":"), !expected.is_empty(), "{line}");
                    assert!(line.contains(expected), "{line}");
                }
                _ => assert_eq!(line, expected),
            }
        }
        secure.stop();
    }
}

pub(crate) fn handshakes_that_fail_are_told(kind: DriverKind) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("error.log");
    let target = LogTarget::File(path.clone());
    let settings = EventSettings { target, format: EventFormat::Json, level: EventLevel::Info };
    let events = Events::open(settings).unwrap();
    let secure = SecureServer::start(kind, |_, http| http.events = events.clone());
    let count = || {
        let counts = events.counts();
        counts.into_iter().find(|(kind, _)| *kind == EventKind::TlsFailed).unwrap().1
    };
    let strange = TestCertificates::for_names(&[&["one.example"]]);
    let mut client = secure.connect(&Arc::new(strange.client(&[&TLS13])), "one.example");
    client.try_send("GET / HTTP/1.1\r\n\r\n").expect_err("the certificate is unknown");
    eventually("it is told", || count() == 1);
    let mut plain = Client::connect(secure.address(SECURE));
    plain.send("GET / HTTP/1.1\r\nHost: one.example\r\n\r\n");
    assert_eq!(plain.read_response().status, 400);
    eventually("it is told", || count() == 2);
    // What happens after the handshake is none of its failures.
    let mut client = secure.connect(&secure.browser(), "one.example");
    client.ask("GET", "one.example", "/a.txt");
    drop(client);
    let counts = secure.server.tls.counts();
    assert_eq!((counts.full, counts.not_tls, counts.failed.iter().sum()), (1, 1, 1));
    secure.stop();
    assert_eq!(count(), 2);
    events.flush(Duration::from_secs(60));
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (line, reason) in lines.iter().zip(["client_", "not_tls"]) {
        assert_eq!((&line["event"], &line["level"]), (&"tls_failed".into(), &"info".into()));
        assert!(line["reason"].as_str().unwrap().starts_with(reason), "{line}");
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        assert!(line["message"].as_str().unwrap().contains("127.0.0.1:"), "{line}");
    }
}

/// The files of a site may change while clients with TLS are connected.
pub(crate) fn a_reload_keeps_the_protection_of_connections(kind: DriverKind) {
    let mut secure = SecureServer::start(kind, |_, _| {});
    let mut client = secure.connect(&secure.browser(), "one.example");
    let mut plain = Client::connect(secure.address(PLAIN));
    client.ask("GET", "one.example", "/a.txt");
    fs::remove_dir_all(secure.path("two")).unwrap();
    let sites = vec![Arc::new(site(&secure.folder, "one", "a", Some(Duration::ZERO)))];
    // Even the listener with TLS becomes one that redirects.
    let roles = ListenerRoles::all(ListenerRole::Redirect(443));
    let listen: Vec<_> = settings_of(&secure);
    let prepared = secure.server.updater.prepare(&listen).unwrap();
    let update = serve::HttpUpdate { sites, roles: Some(roles), tls: None };
    secure.server.updater.apply(prepared, settings().timeouts, update).unwrap();
    let answer = client.ask("GET", "one.example", "/a.txt");
    assert_eq!((answer.status(), answer.field(HSTS)), (200, Some("max-age=0")));
    plain.send("GET /a.txt HTTP/1.1\r\nHost: one.example\r\n\r\n");
    assert_eq!(plain.read_response().field("Location"), Some("https://one.example/a.txt"));
    secure.stop();
}

/// The places that a server listens on now.
fn settings_of(secure: &SecureServer) -> Vec<ringd::server::ListenSpec> {
    [PLAIN, SECURE, REDIRECT]
        .map(|number| secure.address(number).to_string().parse().unwrap())
        .into()
}
