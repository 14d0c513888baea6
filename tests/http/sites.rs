//! Several sites, and new tables of them while requests wait, with sessions alone.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{File, Links};
use ringd::http::harness::{Harness, perform};
use ringd::http::site::SitesMessage;
use ringd::http::{Content, HttpSettings, SiteSettings, SiteTable};
use ringd::service::Service;
use ringd::session::{Now, Step};
use tempfile::TempDir;

/// A site with its name in `a.txt`, and in the field `X-Site` of each answer.
fn site(folder: &TempDir, name: &str, hosts: &[&str]) -> SiteSettings {
    let path = folder.path().join(name);
    if !path.exists() {
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.txt"), name).unwrap();
    }
    let rule = format!("**=X-Site: {name}").parse().unwrap();
    let rules = ringd::http::site::rules::Rules::new(Vec::new(), vec![rule], false).unwrap();
    SiteSettings {
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        is_default: false,
        content: Content { rules, precompressed: false, ..Content::default() },
        ..SiteSettings::new(Arc::new(File::open_root(&path, Links::Beneath).unwrap()))
    }
}

fn table<const N: usize>(generation: u64, sites: [SiteSettings; N]) -> Arc<SiteTable> {
    Arc::new(SiteTable::new(generation, sites.map(Arc::new).into()).unwrap())
}

fn get(host: &str) -> String {
    format!("GET /a.txt HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn answer(harness: &mut Harness, session: usize, request: &str) -> String {
    let output = harness.answer(session, Now::read(), request.as_bytes());
    String::from_utf8(output).unwrap()
}

/// Checks that an answer comes from a site as a whole.
fn assert_from(answer: &str, site: &str) {
    assert!(answer.contains(&format!("X-Site: {site}\r\n")), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{site}")), "{answer}");
}

#[test]
fn the_host_chooses_the_site() {
    let folder = tempfile::tempdir().unwrap();
    let other = SiteSettings { is_default: true, ..site(&folder, "other", &["o.example"]) };
    let sites = [site(&folder, "one", &["one.example", "*.one.example"]), other];
    let mut harness = Harness::new(HttpSettings::new(table(1, sites)));
    let session = harness.begin();
    for (host, name) in [
        ("one.example", "one"),
        ("ONE.example:8080", "one"),
        ("www.one.example.", "one"),
        ("a.b.one.example", "other"),
        ("o.example", "other"),
        ("127.0.0.1:80", "other"),
    ] {
        assert_from(&answer(&mut harness, session, &get(host)), name);
    }
    // The authority of an absolute-form precedes the field (RFC 9112 section 3.2.2).
    let absolute = "GET http://one.example/a.txt HTTP/1.1\r\nHost: o.example\r\n\r\n";
    assert_from(&answer(&mut harness, session, absolute), "one");
    assert_from(&answer(&mut harness, session, "GET /a.txt HTTP/1.0\r\n\r\n"), "other");
}

/// The next request of the connection may be for a host that a site has, but a client that was
/// misdirected should connect anew (RFC 9110 section 15.5.20).
#[test]
fn a_host_that_no_site_has_is_misdirected() {
    let folder = tempfile::tempdir().unwrap();
    let sites = [site(&folder, "one", &["one.example"]), site(&folder, "two", &["two.example"])];
    let mut harness = Harness::new(HttpSettings::new(table(1, sites)));
    let body = "There is no site";
    for (method, has_body) in [("GET", true), ("HEAD", false), ("OPTIONS", true), ("POST", true)] {
        let session = harness.begin();
        let request = format!(
            "{method} /a.txt HTTP/1.1\r\nHost: x.example\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let said = harness.advance(session, Now::read(), request.as_bytes(), false);
        assert!(matches!(said.step, Step::Finish { linger: true }), "{:?}", said.step);
        assert_eq!(said.taken, request.len());
        let text = String::from_utf8(said.output).unwrap();
        assert!(text.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{text}");
        assert!(text.contains("Connection: close\r\n"), "{text}");
        assert_eq!(text.contains("no site for the host"), has_body, "{method}: {text}");
    }
}

/// A balancer need not know the hosts of the sites.
#[test]
fn the_health_of_the_server_does_not_depend_on_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let sites = [site(&folder, "one", &["one.example"]), site(&folder, "two", &["two.example"])];
    let health_path = Some("/healthz".into());
    let settings = HttpSettings { health_path, ..HttpSettings::new(table(1, sites)) };
    let mut harness = Harness::new(settings);
    let session = harness.begin();
    for (method, version, body) in
        [("GET", "1.1", "ok\n"), ("HEAD", "1.1", ""), ("OPTIONS", "1.0", "ok\n")]
    {
        let request = format!("{method} /healthz?probe=1 HTTP/{version}\r\nHost: 10.0.0.1\r\n\r\n");
        let session = harness.begin();
        let text = answer(&mut harness, session, &request);
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("Content-Length: 3"), "{text}");
        assert!(text.contains("Cache-Control: no-store\r\n"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
    }
    for target in ["/healthzz", "/healthz/", "/Healthz"] {
        let session = harness.begin();
        let request = format!("GET {target} HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n");
        assert!(answer(&mut harness, session, &request).starts_with("HTTP/1.1 421 "), "{target}");
    }
    harness.drain(session);
    let text = answer(&mut harness, session, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("Connection: close"), "{text}");
}

/// A request waits for a file while its host is given to another site, or its site gets other
/// settings, or goes.
#[test]
fn a_request_that_waits_is_decided_by_the_new_table() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| site(&folder, name, &[]));
    let with = |site: &SiteSettings, hosts: &[&str]| SiteSettings {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        ..site.clone()
    };
    let old = [with(&one, &["h", "k"]), with(&two, &["z"])];
    let changed = SiteSettings {
        content: with(&two, &[]).content,
        name: "one".to_owned(),
        ..with(&two, &["h"])
    };
    for new in [
        table(2, [with(&one, &["k"]), with(&two, &["h"])]),
        table(2, [with(&two, &["h"]), with(&one, &["k"])]),
        table(2, [with(&two, &["h"])]),
        table(2, [changed]),
    ] {
        let mut harness = Harness::new(HttpSettings::new(table(1, old.clone())));
        let now = Now::read();
        let session = harness.begin();
        let request = get("h");
        assert_eq!(harness.advance(session, now, request.as_bytes(), false).step, Step::Wait);
        let asked = harness.next_ask(now);
        harness.sites.receive(now, SitesMessage::Table(new, Duration::MAX));
        if let Some((id, ask)) = asked {
            harness.reply(now, id, perform(ask));
        }
        harness.settle(now);
        assert_from(&answer(&mut harness, session, &request), "two");
        // Also those that come later on the same connection.
        assert_from(&answer(&mut harness, session, &request), "two");
    }
}

/// Otherwise it could wait for ever.
#[test]
fn a_request_is_not_decided_anew_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let one = SiteSettings { is_default: true, ..site(&folder, "one", &[]) };
    let listed =
        SiteSettings { content: Content { listing: true, ..one.content.clone() }, ..one.clone() };
    let mut harness = Harness::new(HttpSettings::new(table(1, [one.clone()])));
    let now = Now::read();
    let session = harness.begin();
    let request = get("h");
    for generation in 2..11 {
        let said = harness.advance(session, now, request.as_bytes(), false);
        assert_eq!(said.step, Step::Wait, "generation {generation}");
        let site = if generation % 2 == 0 { listed.clone() } else { one.clone() };
        harness.sites.receive(now, SitesMessage::Table(table(generation, [site]), Duration::MAX));
        harness.settle(now);
    }
    let text = answer(&mut harness, session, &request);
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("Retry-After: "), "{text}");
    // The connection goes on.
    assert_from(&answer(&mut harness, session, &request), "one");
}
