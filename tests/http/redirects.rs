//! Redirects to HTTPS, with sessions alone.

use std::fs;
use std::sync::Arc;

use ringd::driver::{File, Links};
use ringd::http::harness::Harness;
use ringd::http::{HttpSettings, ListenerRole, ListenerRoles, SiteSettings, SiteTable};
use ringd::session::Now;
use tempfile::TempDir;

/// A server with one site whose only listener redirects to this port.
fn harness(folder: &TempDir, port: u16) -> Harness {
    let challenges = folder.path().join(".well-known/acme-challenge");
    fs::create_dir_all(&challenges).unwrap();
    fs::write(challenges.join("token"), "the proof").unwrap();
    fs::write(folder.path().join("a"), "secret").unwrap();
    let root = File::open_root(folder.path(), Links::Beneath).unwrap();
    let site = SiteSettings { is_default: true, ..SiteSettings::new(root.into()) };
    let table = SiteTable::new(1, vec![Arc::new(site)]).unwrap();
    let table = table.with_roles(ListenerRoles::all(ListenerRole::Redirect(port)));
    Harness::new(HttpSettings::new(Arc::new(table)))
}

fn answer(harness: &mut Harness, request: &[u8]) -> String {
    let session = harness.begin();
    String::from_utf8(harness.answer(session, Now::read(), request)).unwrap()
}

#[test]
fn a_redirect_leads_to_the_same_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut usual = harness(&folder, 443);
    let mut other = harness(&folder, 8443);
    for (line, host, to) in [
        ("GET /", "a.example", "https://a.example|/"),
        ("GET /", "a.example:80", "https://a.example|/"),
        ("GET /x?y=%20z?w", "A.example.", "https://A.example.|/x?y=%20z?w"),
        ("GET /", "[::1]:8080", "https://[::1]|/"),
        ("GET /", "127.0.0.1:", "https://127.0.0.1|/"),
        // The address names the host, so what begins like another one is a path.
        ("GET //evil.example/", "a.example", "https://a.example|//evil.example/"),
        ("GET /\\evil.example", "a.example", "https://a.example|/\\evil.example"),
        ("GET /%0d%0aSet-Cookie:%20a", "a.example", "https://a.example|/%0d%0aSet-Cookie:%20a"),
        ("GET /\u{fc}", "a.example", "https://a.example|/%C3%BC"),
        ("GET http://b.example:80/x", "a.example", "https://b.example|/x"),
        ("GET http://b.example?x", "a.example", "https://b.example|/?x"),
        ("OPTIONS *", "a.example", "https://a.example|"),
        ("DELETE /x", "a.example", "https://a.example|/x"),
        ("BREW /x", "a.example", "https://a.example|/x"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        for (harness, port) in [(&mut usual, ""), (&mut other, ":8443")] {
            let text = answer(harness, request.as_bytes());
            let to = to.replace('|', port);
            assert!(text.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{line}: {text}");
            assert!(text.contains(&format!("\r\nLocation: {to}\r\n")), "{line}: {text}");
        }
    }
    let head = answer(&mut usual, b"HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 308 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: "), "{head}");
}

/// The address of the page is not known, so no redirect is right.
#[test]
fn a_request_without_a_host_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = harness(&folder, 443);
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let text = answer(&mut harness, request.as_bytes());
        assert!(text.starts_with("HTTP/1.1 400 ") && !text.contains("Location"), "{text}");
    }
    // A tunnel has no address.
    let text = answer(&mut harness, b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("\r\nAllow: "), "{text}");
}

/// RFC 8555 section 8.3.
#[test]
fn only_challenges_are_served_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = harness(&folder, 443);
    for (target, status) in [
        ("/.well-known/acme-challenge/token", 200),
        ("/.well-known/acme-challenge/missing", 404),
        ("/.well-known/acme-challenge/../../a", 308),
        ("/.well-known/acme-challenge/%2e%2e/%2e%2e/a", 308),
        ("/.well-known/acme-challenge/", 308),
        ("/a", 308),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let text = answer(&mut harness, request.as_bytes());
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {text}");
    }
}
