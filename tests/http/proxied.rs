//! Clients behind proxies: those that a PROXY header names, those that a forwarded field names, and
//! those that may not come in. With TLS, the handshake follows the header.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringd::clients::{Access, Door, ForwardedField, Network, Networks};
use ringd::driver::DriverKind;
use ringd::http::records::metrics::HttpMetrics;

use crate::access_log::Logged;
use crate::common::eventually;
use crate::support::client::{Client, request};
use crate::support::fixture::{Fixture, Setup};
use crate::support::http2::Http2Connection;
use crate::support::root;

/// The listener with a [`Door`]. The first one has none.
const PROXIED: usize = 1;

/// A header of each version, for the client 192.0.2.7.
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x12\x34\0\x50";

/// Of a health check, which has no client.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

pub(crate) fn networks(texts: &[&str]) -> Networks {
    list(texts).into_iter().collect()
}

fn list(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Behind proxies of this machine.
fn proxied() -> Door {
    Door { is_proxied: true, trusted: networks(&["127.0.0.0/8"]), ..Door::default() }
}

/// A second listener with this door.
fn behind(door: Door) -> impl FnOnce(&mut Setup) {
    |setup| {
        setup.server.listen.push("127.0.0.1:0".parse().unwrap());
        setup.doors = vec![(PROXIED as u32, Arc::new(door))];
        setup.http.h2c = true;
    }
}

fn connect(fixture: &Fixture, header: &[u8]) -> Client {
    Client::connect_behind(fixture.address_of(PROXIED), header)
}

/// A connection that is closed, with or without a reset, and without a byte. It is not protected,
/// as nothing comes that far.
fn expect_nothing(fixture: &Fixture, bytes: &[u8]) {
    expect_nothing_from(fixture.address_of(PROXIED), bytes);
}

fn expect_nothing_from(address: SocketAddr, bytes: &[u8]) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may be closed by now.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bytes:?}");
    }
    assert!(answer.is_empty(), "{bytes:?} gets {answer:?}");
}

pub(crate) fn the_header_names_the_client(kind: DriverKind) {
    let logged = Logged::start(kind, "{client} {target}", behind(proxied()));
    let v6 = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
    for (number, (header, client)) in [
        (V1, "192.0.2.7"),
        (V2, "192.0.2.7"),
        (v6, "2001:db8::1"),
        (LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut connection = connect(&logged.fixture, header);
        for _ in 0..2 {
            let answer = connection.ask("GET", "/small.txt", "");
            answer.expect_ok(&root::content(20));
        }
        let lines = logged.lines(2 * number + 2);
        assert_eq!(lines[2 * number..], [(); 2].map(|()| format!("{client} /small.txt")));
    }
    logged.finish();
}

pub(crate) fn a_request_may_come_with_its_header(kind: DriverKind) {
    let logged = Logged::start(kind, "{client}", behind(proxied()));
    for header in [V1, V2] {
        let bytes = [header, request("GET", "/small.txt", "").as_bytes()].concat();
        let mut client = connect(&logged.fixture, &bytes);
        client.read_response().expect_ok(&root::content(20));
        client.ask("GET", "/small.txt", "").expect_ok(&root::content(20));
    }
    assert_eq!(logged.lines(4), ["192.0.2.7"; 4]);
    logged.finish();
}

pub(crate) fn a_header_may_come_in_any_pieces(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, behind(proxied()));
    for header in [V1, V2] {
        // A piece that the server has seen is not certain, but all of them together are likely.
        for split in 1..header.len() {
            use std::io::Write;
            let address = fixture.address_of(PROXIED);
            let mut client = Client::connect_in_pieces(address, |stream| {
                stream.set_nodelay(true).unwrap();
                stream.write_all(&header[..split]).unwrap();
                std::thread::yield_now();
                stream.write_all(&header[split..]).unwrap();
            });
            client.ask("GET", "/small.txt", "").expect_ok(&root::content(20));
        }
    }
    let mut client = Client::connect_in_pieces(fixture.address_of(PROXIED), |stream| {
        use std::io::Write;
        for byte in V2 {
            stream.write_all(&[*byte]).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    client.ask("GET", "/small.txt", "").expect_ok(&root::content(20));
    drop(client);
    fixture.finish();
}

pub(crate) fn bad_headers_are_no_connections(kind: DriverKind) {
    let metrics = Arc::new(HttpMetrics::new(1));
    let counted = Arc::clone(&metrics);
    let fixture = Fixture::start_with(kind, |setup| {
        setup.http.metrics = Some(counted);
        behind(proxied())(setup);
    });
    let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let endless = [&V2[..14], b"\xff\xff", &[0; 5000]].concat();
    let cases: [&[u8]; 7] = [
        b"GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01",
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4711\r\n",
        &long,
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\0",
        &endless,
    ];
    for bytes in cases {
        expect_nothing(&fixture, bytes);
    }
    let counter = &metrics.workers()[0].proxy_failed;
    eventually("all are counted", || counter.get() == cases.len() as u64);
    // A check that only connects is no mistake.
    drop(std::net::TcpStream::connect(fixture.address_of(PROXIED)).unwrap());
    fixture.come_to_rest();
    assert_eq!(counter.get(), cases.len() as u64);
    // Half a header is, when its end comes.
    let half = std::net::TcpStream::connect(fixture.address_of(PROXIED)).unwrap();
    std::io::Write::write_all(&mut &half, &V1[..20]).unwrap();
    drop(half);
    eventually("half a header is counted", || counter.get() == cases.len() as u64 + 1);
    fixture.finish();
}

/// The timeout of a header is 5 s; the test has another one of its own for all.
pub(crate) fn silent_proxies_are_closed_in_time(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, behind(proxied()));
    let (began, address) = (Instant::now(), fixture.address_of(PROXIED));
    std::thread::scope(|scope| {
        for bytes in [&b""[..], &V1[..1], &V1[..V1.len() - 1], &V2[..20]] {
            scope.spawn(move || expect_nothing_from(address, bytes));
        }
    });
    assert!(began.elapsed() >= Duration::from_secs(5), "they were closed before their time");
    fixture.finish();
}

pub(crate) fn other_peers_are_closed_unread(kind: DriverKind) {
    let door = Door { trusted: networks(&["192.0.2.0/24", "unix:"]), ..proxied() };
    let fixture = Fixture::start_with(kind, behind(door));
    for bytes in [V1, V2, b"GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n"] {
        expect_nothing(&fixture, bytes);
    }
    fixture.finish();
}

pub(crate) fn denied_clients_are_closed(kind: DriverKind) {
    let access = Access::new(list(&["192.0.2.0/24"]), list(&["192.0.2.7"]));
    let fixture = Fixture::start_with(kind, behind(Door { access: access.clone(), ..proxied() }));
    let of = |last: u8| format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 1 80\r\n");
    expect_nothing(&fixture, of(7).as_bytes());
    expect_nothing(&fixture, b"PROXY TCP4 198.51.100.1 127.0.0.1 1 80\r\n");
    expect_nothing(&fixture, LOCAL);
    let mut client = connect(&fixture, of(8).as_bytes());
    client.ask("GET", "/small.txt", "").expect_ok(&root::content(20));
    drop(client);
    fixture.finish();
    // Without a proxy, the rules are about the peer.
    let fixture = Fixture::start_with(kind, behind(Door { access, ..Door::default() }));
    expect_nothing(&fixture, b"");
    fixture.finish();
}

pub(crate) fn http2_follows_a_header(kind: DriverKind) {
    let logged = Logged::start(kind, "{client} {protocol}", behind(proxied()));
    for header in [V1, V2] {
        let address = logged.fixture.address_of(PROXIED);
        let mut connection = Http2Connection::connect_behind(address, header);
        let exchange = connection.ask("GET", "/small.txt", &[]);
        assert_eq!(exchange.body, root::content(20));
    }
    assert_eq!(logged.lines(2), ["192.0.2.7 HTTP/2.0"; 2]);
    logged.finish();
}

pub(crate) fn the_field_names_the_client_of_each_request(kind: DriverKind) {
    let field = Some(ForwardedField::XForwardedFor);
    let trusted = networks(&["127.0.0.0/8", "10.0.0.0/8"]);
    let door = Door { forwarded: field, trusted, ..Door::default() };
    let logged = Logged::start(kind, "{client} {>x-forwarded-for}", behind(door));
    let mut client = connect(&logged.fixture, b"");
    let expected = [
        ("", "127.0.0.1 -"),
        ("X-Forwarded-For: 192.0.2.1", "192.0.2.1 192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.1, 10.1.1.1", "192.0.2.1 192.0.2.1, 10.1.1.1"),
        ("x-forwarded-for: ::1, 2001:db8::5", "2001:db8::5 ::1, 2001:db8::5"),
        ("X-Forwarded-For: x\r\nX-Forwarded-For: 10.1.1.1", "10.1.1.1 x"),
        ("Forwarded: for=192.0.2.1", "127.0.0.1 -"),
    ];
    // Several answers in one chain have clients of their own.
    let requests = expected.map(|(fields, _)| request("GET", "/small.txt", fields)).concat();
    client.send(requests);
    for _ in expected {
        client.read_response().expect_ok(&root::content(20));
    }
    assert_eq!(logged.lines(expected.len()), expected.map(|(_, line)| line));
    let address = logged.fixture.address_of(PROXIED);
    let mut connection = Http2Connection::connect_behind(address, b"");
    let fields = [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-for", "10.0.0.1")];
    assert_eq!(connection.ask("GET", "/small.txt", &fields).body, root::content(20));
    assert_eq!(logged.lines(expected.len() + 1).last().unwrap(), "192.0.2.9 192.0.2.9");
    drop((client, connection));
    // The other listener believes nobody.
    let mut client = logged.fixture.connect();
    client.ask("GET", "/small.txt", "X-Forwarded-For: 192.0.2.1");
    let lines = logged.lines(expected.len() + 2);
    assert_eq!(lines.last().unwrap(), "127.0.0.1 192.0.2.1");
    drop(client);
    let Logged { fixture, .. } = logged;
    fixture.finish();
}

pub(crate) fn the_field_counts_behind_a_header(kind: DriverKind) {
    let trusted = networks(&["127.0.0.0/8", "10.0.0.0/8"]);
    let door = Door { forwarded: Some(ForwardedField::Forwarded), trusted, ..proxied() };
    let logged = Logged::start(kind, "{client}", behind(door));
    let header = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 1 80\r\n");
    for (number, (peer, client)) in
        [("10.0.0.5", "198.51.100.1"), ("192.0.2.7", "192.0.2.7")].into_iter().enumerate()
    {
        let mut connection = connect(&logged.fixture, header(peer).as_bytes());
        connection.ask("GET", "/small.txt", "Forwarded: for=198.51.100.1;proto=https");
        assert_eq!(logged.lines(number + 1).last().unwrap(), client);
    }
    logged.finish();
}

pub(crate) fn a_site_refuses_denied_clients(kind: DriverKind) {
    let field = Some(ForwardedField::XForwardedFor);
    let door = Door { forwarded: field, trusted: networks(&["127.0.0.1"]), ..Door::default() };
    let logged = Logged::start(kind, "{client} {status}", |setup| {
        setup.site.clients = Access::new([], list(&["192.0.2.0/24", "2001:db8::/32"]));
        behind(door)(setup);
    });
    let mut client = connect(&logged.fixture, b"");
    let mut expected = Vec::new();
    for (address, status) in [
        ("192.0.2.1", 403),
        ("198.51.100.1", 200),
        ("2001:db8::9", 403),
        ("::ffff:192.0.2.1", 403),
        ("2001:db9::9", 200),
    ] {
        let field = format!("X-Forwarded-For: {address}");
        let answer = client.ask("GET", "/small.txt", &field);
        assert_eq!((answer.status, answer.says_close()), (status, false), "{address}");
        let canonical = address.trim_start_matches("::ffff:");
        expected.push(format!("{canonical} {status}"));
    }
    assert_eq!(client.ask("HEAD", "/small.txt", "X-Forwarded-For: 192.0.2.1").status, 403);
    expected.push("192.0.2.1 403".to_owned());
    assert_eq!(logged.lines(6), expected);
    drop(client);
    logged.finish();
}
