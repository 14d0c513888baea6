//! Passwords and rates: who may use a site, and how much of it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use ringd::driver::DriverKind;
use ringd::http::SiteSettings;
use ringd::http::records::metrics::HttpMetrics;
use ringd::http::site::access::{AccessSettings, PasswordSettings};
use ringd::http::site::rewrites::{PathRule, PathRules};
use ringd::limits::{Rate, RateLimit};
use ringd::passwords::Users;

use crate::access_log::Logged;
use crate::common::eventually;
use crate::reload::{here, update};
use crate::support::client::{Client, request};
use crate::support::fixture::{Fixture, site};
use crate::support::http2::Http2Connection;
use crate::support::root::content;

/// Of `secret`, with cost 4.
const BCRYPT: &str = "$2y$04$lC.OOZBMh.JdlQnXZkc3v.DwqbnS1UfYXl8jCmlxMxrBcNRl98sb6";

/// Of `secret`, with 64 KiB and one pass, so that tests are quick.
fn argon2() -> String {
    let params = Params::new(64, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(b"secret", b"salt of the test").unwrap().to_string()
}

fn credentials(text: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

fn authorization(text: &str) -> String {
    format!("Authorization: {}\r\n", credentials(text))
}

/// Settings of a site with these two users.
fn with_users() -> AccessSettings {
    let users = Users::parse(&format!("anna:{}\nb\u{f6}rge:{BCRYPT}\n", argon2())).unwrap();
    let passwords = PasswordSettings { users: Arc::new(users), realm: "staff".to_owned() };
    AccessSettings { passwords: Some(passwords), ..AccessSettings::of_site("default") }
}

fn with_rate(per_second: u32, burst: u32) -> AccessSettings {
    let limit = RateLimit::new(Rate::per_second(per_second).unwrap(), burst).unwrap();
    AccessSettings { rate: Some(limit), ..AccessSettings::of_site("default") }
}

/// A server whose site has these settings, and speaks HTTP/2 without TLS too.
fn start(kind: DriverKind, access: AccessSettings) -> Fixture {
    Fixture::start_with(kind, |setup| {
        setup.http.h2c = true;
        setup.server.spare_listeners = 2;
        setup.site.access = access.if_any();
    })
}

/// Opens the site for everybody, and ends the test.
fn finish(mut fixture: Fixture) {
    let open = Arc::new(site(&fixture.path(""), &[]));
    let listen = here(&fixture);
    update(&mut fixture, &listen, open);
    fixture.finish();
}

pub(crate) fn a_password_is_asked_for(kind: DriverKind) {
    let fixture = start(kind, with_users());
    let mut client = fixture.connect();
    for (fields, status) in [
        ("".to_owned(), 401),
        (authorization("anna:secret"), 200),
        (authorization("anna:secret"), 200),
        (authorization("anna:secre"), 401),
        (authorization("b\u{f6}rge:secret"), 200),
        (authorization("carl:secret"), 401),
        (authorization("anna"), 401),
        ("Authorization: Bearer abc\r\n".to_owned(), 401),
        (authorization("anna:secret").repeat(2), 401),
        (authorization("anna:secret"), 200),
    ] {
        let response = client.ask("GET", "/small.txt", &fields);
        assert_eq!(response.status, status, "{fields}");
        assert!(!response.says_close(), "the connection stays");
        let challenge = response.field("www-authenticate");
        match status {
            200 => response.expect_ok(&content(20)),
            _ => assert_eq!(challenge, Some("Basic realm=\"staff\", charset=\"UTF-8\"")),
        }
    }
    // Also what does not exist, and what is no file.
    for target in ["/missing", "/", "/%", "/.hidden"] {
        assert_eq!(client.ask("GET", target, "").status, 401, "{target}");
    }
    let head = client.ask("HEAD", "/small.txt", "");
    assert_eq!((head.status, head.body.len()), (401, 0));
    // Browsers and certificate authorities send no password with these.
    let preflight = "Access-Control-Request-Method: GET\r\n";
    assert_eq!(client.ask("OPTIONS", "/small.txt", preflight).status, 204);
    let token = "/.well-known/acme-challenge/token";
    assert_eq!(client.ask("GET", token, "").status, 401, "there is none");
    fs::create_dir_all(fixture.path(".well-known/acme-challenge/folder")).unwrap();
    fs::write(fixture.path(&token[1..]), "key").unwrap();
    fs::write(fixture.path(".well-known/acme-challenge/clean.html"), "page").unwrap();
    eventually("the token is found", || client.ask("GET", token, "").body == b"key");
    assert_eq!(client.ask("POST", token, "").status, 401);
    for other in ["folder", "clean", "missing", "token/"] {
        let target = format!("/.well-known/acme-challenge/{other}");
        assert_eq!(client.ask("GET", &target, "Accept: text/html").status, 401, "{target}");
    }
    assert_eq!(client.ask("GET", "/.well-known/acme-challenge/../../small.txt", "").status, 401);
    assert_eq!(client.ask("OPTIONS", "/small.txt", "").status, 401);
    drop(client);
    finish(fixture);
}

/// The page of an error needs no password, though the file does.
pub(crate) fn errors_have_their_page(kind: DriverKind) {
    // No further one is allowed while this runs.
    let limit = RateLimit::new("1/h".parse().unwrap(), 3).unwrap();
    let access = AccessSettings { rate: Some(limit), ..with_users() };
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.spare_listeners = 2;
        setup.site.access = access.if_any();
        let pages = [401, 429].map(|code| (code, b"dir/index.html".to_vec()));
        setup.site.content.error_pages.extend(pages);
    });
    let mut client = fixture.connect();
    for status in [401, 401, 401, 429] {
        let response = client.ask("GET", "/dir/index.html", "");
        assert_eq!((response.status, &response.body), (status, &content(77)));
        let is_401 = status == 401;
        assert_eq!(response.field("www-authenticate").is_some(), is_401, "{}", response.head);
        assert_eq!(response.field("retry-after").is_some(), !is_401, "{}", response.head);
        assert_eq!(response.field("cache-control"), Some("no-store"));
    }
    drop(client);
    finish(fixture);
}

/// Many requests that wait for a check, and clients that leave meanwhile.
pub(crate) fn requests_wait_for_a_check_together(kind: DriverKind) {
    let fixture = start(kind, with_users());
    let request = request("GET", "/small.txt", &authorization("anna:secret"));
    let mut clients: Vec<Client> = (0..30).map(|_| fixture.connect()).collect();
    for client in &mut clients {
        client.send(&request);
        client.send(&request);
    }
    for (number, mut client) in clients.into_iter().enumerate() {
        if number % 3 == 0 {
            client.reset();
            continue;
        }
        client.read_response().expect_ok(&content(20));
        client.read_response().expect_ok(&content(20));
    }
    finish(fixture);
}

pub(crate) fn wrong_passwords_are_limited(kind: DriverKind) {
    let fixture = start(kind, with_users());
    let mut client = fixture.connect();
    let begun = Instant::now();
    for number in 0..10 {
        let response = client.ask("GET", "/small.txt", &authorization(&format!("anna:{number}")));
        assert_eq!(response.status, 401, "{number}");
    }
    let refused = client.ask("GET", "/small.txt", &authorization("anna:secret"));
    if begun.elapsed() >= Duration::from_secs(6) {
        println!("skipped: this machine is so slow that another password is allowed meanwhile");
        drop(client);
        return finish(fixture);
    }
    assert_eq!(refused.status, 429, "{}", refused.head);
    assert_eq!(refused.field("cache-control"), Some("no-store"));
    let wait: u64 = refused.field("retry-after").expect("it says how long").parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    assert_eq!(client.ask("GET", "/small.txt", "").status, 401, "without a password");
    if !fixture.is_unix() {
        let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        let mut other = Client::connect_from(other, fixture.address());
        other.ask("GET", "/small.txt", &authorization("anna:secret")).expect_ok(&content(20));
        // What is remembered needs no check, so it is not refused.
        client.ask("GET", "/small.txt", &authorization("anna:secret")).expect_ok(&content(20));
    }
    drop(client);
    finish(fixture);
}

/// A reload changes who is let in, also on connections that are open.
pub(crate) fn a_reload_changes_the_users(kind: DriverKind) {
    let mut fixture = start(kind, with_users());
    let (listen, root) = (here(&fixture), fixture.path(""));
    let mut client = fixture.connect();
    let fields = authorization("anna:secret");
    assert_eq!(client.ask("GET", "/small.txt", &fields).status, 200);
    let users = Users::parse(&format!("carl:{BCRYPT}\n")).unwrap();
    let mut access = with_users();
    access.passwords.as_mut().unwrap().users = Arc::new(users);
    let changed = SiteSettings { access: access.if_any(), ..site(&root, &[]) };
    update(&mut fixture, &listen, Arc::new(changed));
    assert_eq!(client.ask("GET", "/small.txt", &fields).status, 401, "anna is gone");
    assert_eq!(client.ask("GET", "/small.txt", &authorization("carl:secret")).status, 200);
    update(&mut fixture, &listen, Arc::new(site(&root, &[])));
    assert_eq!(client.ask("GET", "/small.txt", "").status, 200);
    drop(client);
    fixture.finish();
}

pub(crate) fn streams_of_http2_need_a_password_each(kind: DriverKind) {
    let fixture = start(kind, with_users());
    let mut client = Http2Connection::connect(fixture.address());
    let right = credentials("anna:secret");
    let wrong = credentials("anna:wrong");
    let mut streams = Vec::new();
    for number in 0..60 {
        let (fields, status): (&[(&str, &str)], u16) = match number % 3 {
            0 => (&[("authorization", &right)], 200),
            1 => (&[("authorization", &wrong)], 401),
            _ => (&[], 401),
        };
        streams.push((client.begin("GET", "/small.txt", fields, None), status));
    }
    for (id, status) in streams {
        let exchange = client.finish(id);
        assert_eq!(exchange.status, status, "stream {id}");
    }
    drop(client);
    finish(fixture);
}

/// The log has the name of a user whose password was right, and never the field.
pub(crate) fn the_log_names_users(kind: DriverKind) {
    let logged = Logged::start(kind, "{user}|{status}|{>X}", |setup| {
        setup.site.access = with_users().if_any();
    });
    let mut client = logged.fixture.connect();
    for fields in ["".to_owned(), authorization("anna:secret"), authorization("anna:no")] {
        client.ask("GET", "/small.txt", &fields);
    }
    let fields = authorization("b\u{f6}rge:secret");
    client.ask("GET", "/missing", &fields);
    assert_eq!(logged.lines(4), ["-|401|-", "anna|200|-", "-|401|-", "b\\xC3\\xB6rge|404|-"]);
    drop(client);
    finish(logged.fixture);
}

pub(crate) fn a_client_gets_its_rate(kind: DriverKind) {
    // One is added in an hour, so that the test does not depend on time.
    let rate: Rate = "1/h".parse().unwrap();
    let mut access = with_rate(1, 1);
    access.rate = Some(RateLimit::new(rate, 5).unwrap());
    let fixture = start(kind, access);
    let mut client = fixture.connect();
    // A name that has to be looked up counts once.
    for target in ["/small.txt", "/missing", "/small.txt", "/index.html", "/"] {
        let status = client.ask("GET", target, "").status;
        assert!(status == 200 || status == 404, "{target} {status}");
    }
    let refused = client.ask("GET", "/small.txt", "");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("cache-control"), Some("no-store"));
    let wait: u64 = refused.field("retry-after").expect("it says how long").parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert!(!refused.says_close(), "the connection stays");
    assert_eq!(client.ask("GET", "/small.txt", "").status, 429);
    let mut another = fixture.connect();
    assert_eq!(another.ask("GET", "/small.txt", "").status, 429, "it is the same client");
    drop((client, another));
    if !fixture.is_unix() {
        let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
        let mut other = Client::connect_from(other, fixture.address());
        assert_eq!(other.ask("GET", "/small.txt", "").status, 200);
    }
    finish(fixture);
}

/// Each stream counts once, however often its answer is decided.
pub(crate) fn streams_of_http2_count_once(kind: DriverKind) {
    let rate: Rate = "1/h".parse().unwrap();
    let mut access = with_rate(1, 1);
    access.rate = Some(RateLimit::new(rate, 20).unwrap());
    let fixture = start(kind, access);
    let mut client = Http2Connection::connect(fixture.address());
    // More than may be looked up at a time.
    let streams: Vec<u32> = (0..25)
        .map(|number| client.begin("GET", &format!("/missing-{number}"), &[], None))
        .collect();
    let statuses: Vec<u16> = streams.iter().map(|id| client.finish(*id).status).collect();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(404), count(429)), (20, 5), "{statuses:?}");
    drop(client);
    finish(fixture);
}

/// A request that is refused may have to wait for the page of the error, or for room to send it.
/// It does not pass because of that.
pub(crate) fn a_refused_request_stays_refused(kind: DriverKind) {
    for (page, length) in [("dir/index.html", 77), ("large.bin", 1024 * 1024)] {
        let mut access = with_rate(1, 1);
        access.rate = Some(RateLimit::new("1/h".parse().unwrap(), 6).unwrap());
        let fixture = Fixture::start_with(kind, |setup| {
            setup.http.h2c = true;
            // The page is looked up for each response.
            setup.http.revalidate_after = Duration::ZERO;
            setup.server.spare_listeners = 2;
            setup.site.access = access.if_any();
            setup.site.content.error_pages.push((429, page.into()));
        });
        let mut client = fixture.connect();
        for number in 0..6 {
            let response = client.ask("GET", "/small.txt", "");
            assert_eq!(response.status, if number < 3 { 200 } else { 429 }, "{number}");
            if number == 2 {
                // The rest of the bucket.
                for _ in 0..3 {
                    client.ask("HEAD", "/small.txt", "");
                }
            }
            if response.status == 429 {
                assert!(response.field("retry-after").is_some(), "{}", response.head);
                assert_eq!(response.field("cache-control"), Some("no-store"));
                assert!(response.body == content(length), "{}", response.body.len());
            }
        }
        drop(client);
        // More streams than may be looked up, or have a file open, at a time.
        let mut http2 = Http2Connection::connect(fixture.address());
        let streams: Vec<u32> =
            (0..40).map(|_| http2.begin("GET", "/small.txt", &[], None)).collect();
        for id in streams {
            let exchange = http2.finish(id);
            assert_eq!(exchange.status, 429, "{page}: stream {id}");
            assert!(exchange.body == content(length), "{}", exchange.body.len());
        }
        drop(http2);
        finish(fixture);
    }
}

/// The page of the error may have to be looked up first, or there is no room to send it yet.
pub(crate) fn a_refused_password_counts_once(kind: DriverKind) {
    for page in ["dir/index.html", "large.bin"] {
        let metrics = Arc::new(HttpMetrics::new(1));
        let fixture = Fixture::start_with(kind, |setup| {
            setup.http.h2c = true;
            setup.http.revalidate_after = Duration::ZERO;
            setup.http.metrics = Some(Arc::clone(&metrics));
            setup.server.spare_listeners = 2;
            setup.site.access = with_users().if_any();
            setup.site.content.error_pages.push((429, page.into()));
        });
        let mut client = fixture.connect();
        for number in 0..10 {
            let fields = authorization(&format!("anna:{number}"));
            assert_eq!(client.ask("GET", "/small.txt", &fields).status, 401, "{number}");
        }
        // On a slow machine, some are checked: one more is allowed every six seconds.
        let fields = authorization("anna:wrong");
        let is_refused = |_: &u32| client.ask("GET", "/small.txt", &fields).status == 429;
        let mut refused = (0..3).filter(is_refused).count();
        drop(client);
        let mut http2 = Http2Connection::connect(fixture.address());
        let fields = [("authorization", &*credentials("anna:wrong"))];
        let streams: Vec<u32> =
            (0..40).map(|_| http2.begin("GET", "/small.txt", &fields, None)).collect();
        refused += streams.into_iter().filter(|id| http2.finish(*id).status == 429).count();
        assert!(refused > 30, "{page}: {refused}");
        let counted = metrics.workers()[0].limits.password_refused.get();
        assert_eq!(counted, refused as u64, "{page}");
        drop(http2);
        finish(fixture);
    }
}

/// A browser would follow them after its user has left.
pub(crate) fn permanent_redirects_are_not_kept(kind: DriverKind) {
    for (access, caching) in [(with_users(), "no-cache"), (with_rate(50, 50), "max-age=3600")] {
        let fixture = Fixture::start_with(kind, |setup| {
            setup.server.spare_listeners = 2;
            setup.site.access = access.if_any();
            let rule = PathRule::redirect("/old", "/small.txt", Some(301), None).unwrap();
            setup.site.content.path_rules = PathRules::new(vec![rule]).unwrap();
        });
        let mut client = fixture.connect();
        let response = client.ask("GET", "/old", &authorization("anna:secret"));
        assert_eq!((response.status, response.field("location")), (301, Some("/small.txt")));
        assert_eq!(response.field("cache-control"), Some(caching));
        drop(client);
        finish(fixture);
    }
}

/// A connection gets its pace, and loses it with the first answer of a site without one. Only the
/// least time is known: a slow machine takes longer.
pub(crate) fn a_connection_has_its_pace(kind: DriverKind) {
    const LENGTH: usize = 2 << 20;
    let mut access = AccessSettings::of_site("default");
    access.send_rate = NonZero::new(1 << 20);
    let mut fixture = start(kind, access);
    fs::write(fixture.path("two.bin"), content(LENGTH)).unwrap();
    let mut client = fixture.connect();
    let begun = Instant::now();
    client.ask("GET", "/two.bin", "").expect_ok(&content(LENGTH));
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(1200),
        "two seconds, less what is sent at once: {took:?}"
    );
    let (listen, open) = (here(&fixture), Arc::new(site(&fixture.path(""), &[])));
    update(&mut fixture, &listen, open);
    client.ask("GET", "/two.bin", "").expect_ok(&content(LENGTH));
    drop(client);
    fixture.finish();
}

/// Several workers share the bucket of a client.
pub(crate) fn workers_share_a_rate(kind: DriverKind) {
    let rate: Rate = "1/h".parse().unwrap();
    let mut access = with_rate(1, 1);
    access.rate = Some(RateLimit::new(rate, 20).unwrap());
    let fixture = Fixture::start_with(kind, |setup| {
        setup.server.workers = 4;
        setup.server.spare_listeners = 2;
        setup.site.access = access.if_any();
    });
    let mut through = 0;
    for _ in 0..40 {
        let mut client = fixture.connect();
        through += u32::from(client.ask("GET", "/small.txt", "").status == 200);
    }
    assert_eq!(through, 20);
    eventually("the connections end", || fixture.stats().connections == 0);
    finish(fixture);
}
