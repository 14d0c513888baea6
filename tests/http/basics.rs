//! Files as answers: bytes, fields, methods.

use std::time::{Duration, SystemTime};

use ringd::driver::DriverKind;

use crate::support::client::Response;
use crate::support::fixture::Fixture;
use crate::support::many_descriptors;
use crate::support::root::{self, content};

/// Each file of the root twice, over one connection: the second time from the cache.
pub(crate) fn files_arrive_byte_for_byte(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let mut client = fixture.connect();
    for _ in 0..2 {
        for (name, length) in root::FILES {
            client.send(format!("GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n"));
            client.read_response().expect_ok(&content(length));
        }
    }
    drop(client);
    fixture.finish();
}

pub(crate) fn head_has_the_fields_of_get_and_no_body(kind: DriverKind) {
    // Old files, so no entity tag turns from weak to strong between two requests.
    let fixture = Fixture::start_over(kind, root::settled(), |_| {});
    let undated = |response: &Response| {
        let fields = response.fields().filter(|field| field.0 != "Date");
        fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    let targets = root::FILES.map(|(name, _)| format!("/{name}"));
    let others =
        ["/", "/missing", "/dir", "/bare/", "/fifo", "/outside", "/%zz"].map(str::to_owned);
    let mut client = fixture.connect();
    for target in targets.iter().chain(&others) {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let got = client.read_response();
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(head.status, got.status, "{target}");
        assert_eq!(undated(&head), undated(&got), "{target}");
    }
    client.half_close();
    client.expect_close();
    fixture.finish();
}

pub(crate) fn a_page_has_every_field(kind: DriverKind) {
    let fixture = Fixture::start_over(kind, root::settled(), |_| {});
    for (name, length) in root::FILES {
        let path = fixture.path(name);
        let response = fixture.get(&format!("/{name}"));
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let since = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let tag = format!("\"{:x}-{length:x}\"", since.as_nanos());
        let names = response.fields().map(|field| field.0).filter(|name| *name != "Cache-Control");
        let names: Vec<&str> = names.collect();
        assert_eq!(
            names,
            [
                "Server",
                "Date",
                "Connection",
                "Content-Length",
                "Content-Type",
                "Accept-Ranges",
                "Last-Modified",
                "ETag",
                "X-Content-Type-Options"
            ]
        );
        let caching = name.ends_with(".html").then_some("no-cache");
        assert_eq!(response.field("cache-control"), caching, "{name}");
        assert_eq!(response.field("server"), Some("ringd"));
        assert_eq!(response.field("connection"), Some("close"));
        assert_eq!(response.field("content-length"), Some(&*length.to_string()));
        assert_eq!(
            response.field("last-modified"),
            Some(&*httpdate::fmt_http_date(modified)),
            "{name}"
        );
        assert_eq!(response.field("etag"), Some(&*tag));
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    }
    fixture.finish();
}

/// `ureq` stands for common HTTP clients.
pub(crate) fn a_common_client_is_served(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let url = |target: &str| format!("http://{}{target}", fixture.address());
    for (name, length) in root::FILES {
        let mut response = agent.get(url(&format!("/{name}"))).call().unwrap();
        assert_eq!(response.status(), 200, "{name}");
        assert!(response.body_mut().read_to_vec().unwrap() == content(length), "{name}");
        let mut head = agent.head(url(&format!("/{name}"))).call().unwrap();
        assert_eq!(head.headers()["content-length"], length.to_string().as_str());
        assert!(head.body_mut().read_to_vec().unwrap().is_empty());
    }
    // The client follows the redirect, whose location is relative.
    let mut index = agent.get(url("/dir?x")).call().unwrap();
    assert!(index.body_mut().read_to_vec().unwrap() == content(77));
    assert_eq!(agent.get(url("/missing")).call().unwrap().status(), 404);
    let posted = agent.post(url("/small.txt")).send("an unwanted body").unwrap();
    assert_eq!(posted.status(), 405);
    drop((posted, agent));
    fixture.finish();
}

pub(crate) fn the_date_is_current(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let second = Duration::from_secs(1);
    // The text of the date is kept for a second, so the second round would get an old one.
    let targets = ["/small.txt", "/missing", "/dir", "/%zz"];
    for (number, target) in targets.into_iter().cycle().take(2 * targets.len()).enumerate() {
        if number == targets.len() {
            std::thread::sleep(3 * second);
        }
        let before = SystemTime::now() - second;
        let response = fixture.get(target);
        let text = response.field("date").unwrap();
        let date = httpdate::parse_http_date(text).unwrap();
        assert!(before <= date && date <= SystemTime::now() + second, "{text}");
        assert_eq!(text, httpdate::fmt_http_date(date), "in the preferred form");
    }
    fixture.finish();
}

pub(crate) fn types_follow_names(kind: DriverKind) {
    let fixture = Fixture::start(kind);
    let cases = [
        ("page.html", "text/html; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("script.js", "text/javascript; charset=utf-8"),
        ("code.wasm", "application/wasm"),
        ("data.json", "application/json"),
        ("notes.txt", "text/plain; charset=utf-8"),
        ("photo.jpg", "image/jpeg"),
        ("noextension", "application/octet-stream"),
        ("odd.nobody-knows-it", "application/octet-stream"),
    ];
    for (name, expected) in cases {
        // The type depends on the name, not on the content.
        std::fs::write(fixture.path(name), "<!doctype html><script>").unwrap();
        let response = fixture.get(&format!("/{name}"));
        assert_eq!(response.field("content-type"), Some(expected), "{name}");
    }
    fixture.finish();
}

pub(crate) fn many_connections_are_served(kind: DriverKind) {
    let _descriptors = many_descriptors();
    let fixture = Fixture::start_with(kind, |setup| setup.server.workers = 2);
    let mut clients: Vec<_> = (0..200).map(|_| fixture.connect()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            client.send("GET /over.bin HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        for client in &mut clients {
            client.read_response().expect_ok(&content(8193));
        }
    }
    assert_eq!(fixture.stats().connections, 200);
    drop(clients);
    fixture.finish();
}
