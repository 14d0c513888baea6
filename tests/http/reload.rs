//! New sites, listeners and timeouts for a server that runs: no connection notices.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{DriverKind, File, Links};
use ringd::http::site::rules::Rules;
use ringd::http::{Content, SiteSettings};
use ringd::server::{Endpoint, ListenSpec, UnixAddress};

use crate::common::eventually;
use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::root::content;

const GET: &str = "GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";

/// A site whose answers have the field `X-Generation`, and whose root has its number in
/// `small.txt`. Its large file differs in length.
fn site(fixture: &Fixture, generation: usize) -> Arc<SiteSettings> {
    let root = fixture.path(&format!("generation-{generation}"));
    if !root.exists() {
        fs::create_dir(&root).unwrap();
        fs::write(root.join("small.txt"), generation.to_string()).unwrap();
        fs::write(root.join("large.bin"), content((4 << 20) + generation)).unwrap();
    }
    let rule = format!("**=X-Generation: {generation}").parse().unwrap();
    let rules = Rules::new(Vec::new(), vec![rule], false).unwrap();
    Arc::new(SiteSettings {
        content: Content { rules, listing: generation.is_multiple_of(2), ..Content::default() },
        ..SiteSettings::new(Arc::new(File::open_root(&root, Links::Beneath).unwrap()))
    })
}

/// Where a fixture listens.
fn here() -> Vec<ListenSpec> {
    vec!["127.0.0.1:0".parse().unwrap()]
}

/// Gives the server this site, and lets it listen at these places.
fn update(fixture: &mut Fixture, listen: &[ListenSpec], site: Arc<SiteSettings>) {
    let prepared = fixture.updater.prepare(listen).expect("all places can be listened on");
    assert_eq!(prepared.numbers().len(), listen.len());
    let timeouts = fixture.timeouts;
    fixture.updater.apply(prepared, timeouts, vec![site]).expect("the update applies");
}

pub(crate) fn connections_stay_and_get_the_new_site(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |setup| setup.server.spare_listeners = 4);
    let listen = here();
    let mut kept = fixture.connect();
    kept.send(GET);
    kept.read_response().expect_ok(&content(20));
    // Half of a request has arrived.
    let mut half = fixture.connect();
    half.send(&GET[..20]);
    fixture.wait_for_connections(2);
    for generation in 2..6 {
        let site = site(&fixture, generation);
        update(&mut fixture, &listen, site);
        let expected = generation.to_string();
        for _ in 0..2 {
            kept.send(GET);
            let response = kept.read_response();
            response.expect_ok(expected.as_bytes());
            assert_eq!(response.field("x-generation"), Some(&*expected));
            assert!(!response.says_close());
        }
    }
    half.send(&GET[20..]);
    half.read_response().expect_ok(b"5");
    let [mut download, mut other] = [(); 2].map(|()| Client::connect_narrow(fixture.address()));
    download.send("GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(download.read_head().field("x-generation"), Some("5"));
    let site = site(&fixture, 6);
    update(&mut fixture, &listen, site);
    other.send("GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(other.read_head().field("x-generation"), Some("6"));
    assert!(download.read_exact((4 << 20) + 5) == content((4 << 20) + 5));
    assert!(other.read_exact((4 << 20) + 6) == content((4 << 20) + 6));
    drop((kept, half, download, other));
    fixture.come_to_rest();
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}

/// Connections of a listener that goes are served on, also those that wait in its queue.
pub(crate) fn listeners_come_and_go(kind: DriverKind) {
    // There may be places for no more, so new listeners wait for those that are being closed.
    let mut fixture = Fixture::start_with(kind, |setup| setup.server.spare_listeners = 3);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let mut listen = here();
    let first = fixture.address();
    let site = site(&fixture, 2);
    let mut kept = fixture.connect();
    kept.send(GET);
    kept.read_response();
    let tcp: ListenSpec = "localhost:0".parse().unwrap();
    listen.extend([tcp, UnixAddress::Path(path.clone()).into()]);
    update(&mut fixture, &listen, Arc::clone(&site));
    let addresses = fixture.updater.addresses();
    let added = addresses[1].socket_addr().expect("a name has addresses of TCP");
    assert!(added.ip().is_loopback() && added != first);
    assert!(matches!(addresses.last(), Some(Endpoint::Unix(_))));
    let mut clients = vec![kept, Client::connect(first), Client::connect(added)];
    clients.push(Client::connect_unix(&path));
    for client in &mut clients {
        client.send(GET);
        client.read_response().expect_ok(b"2");
    }
    // The first and the last place go, and one of them is wanted again.
    update(&mut fixture, &listen[1..2], Arc::clone(&site));
    assert!(!path.exists(), "the file of the socket is removed");
    eventually("the first listener is closed", || std::net::TcpStream::connect(first).is_err());
    for client in &mut clients {
        client.send(GET);
        client.read_response().expect_ok(b"2");
    }
    for _ in 0..40 {
        update(&mut fixture, &listen[1..], Arc::clone(&site));
        let mut client = Client::connect_unix(&path);
        client.send(GET);
        client.read_response().expect_ok(b"2");
        // It may wait in the queue still.
        let mut waiting = Client::connect_unix(&path);
        update(&mut fixture, &listen[1..2], Arc::clone(&site));
        waiting.send(GET);
        waiting.read_response().expect_ok(b"2");
    }
    drop(clients);
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}

pub(crate) fn an_update_that_fails_changes_nothing(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |setup| setup.server.spare_listeners = 4);
    let mut listen = here();
    let before = fixture.updater.addresses();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    listen.extend([free.into(), taken.local_addr().unwrap().into()]);
    let site = site(&fixture, 2);
    let failed = fixture.updater.prepare(&listen).unwrap_err();
    assert!(failed.to_string().contains("in use"), "{failed}");
    let prepared = fixture.updater.prepare(&listen[..2]).unwrap();
    let twice = vec![Arc::clone(&site), site];
    let failed = fixture.updater.apply(prepared, fixture.timeouts, twice).unwrap_err();
    assert!(failed.to_string().contains("default"), "{failed}");
    assert_eq!(fixture.updater.addresses(), before);
    let refused = std::net::TcpStream::connect(free).map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused), "the new socket is closed again");
    fixture.finish();
}

/// New timeouts apply to the waits that begin after them.
pub(crate) fn timeouts_change(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |_| {});
    let listen = here();
    let mut timeouts = fixture.timeouts;
    timeouts.idle = Duration::from_millis(200);
    let site = site(&fixture, 2);
    let prepared = fixture.updater.prepare(&listen).unwrap();
    fixture.updater.apply(prepared, timeouts, vec![site]).expect("the update applies");
    let mut client = fixture.connect();
    client.send(GET);
    client.read_response().expect_ok(b"2");
    client.expect_close();
    fixture.come_to_rest();
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}
