//! New sites, listeners and timeouts for a server that runs: no connection notices.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringd::driver::{DriverKind, File, Links};
use ringd::http::site::rules::Rules;
use ringd::http::{Content, SiteSettings};
use ringd::server::{Endpoint, ListenSpec, UnixAddress};

use crate::common::eventually;
use crate::common::ports::free_address;
use crate::support::client::Client;
use crate::support::fixture::{Fixture, update as update_of};
use crate::support::root::content;

const GET: &str = "GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";

/// A site whose answers have the field `X-Generation`, and whose root has its number in
/// `small.txt`. Its large file differs in length.
pub(crate) fn site(fixture: &Fixture, generation: usize) -> Arc<SiteSettings> {
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
pub(crate) fn here(fixture: &Fixture) -> Vec<ListenSpec> {
    vec![fixture.address().into()]
}

/// Gives the server this site, and lets it listen at these places.
pub(crate) fn update(fixture: &mut Fixture, listen: &[ListenSpec], site: Arc<SiteSettings>) {
    let prepared = fixture.updater.prepare(listen).expect("all places can be listened on");
    assert_eq!(prepared.numbers().len(), listen.len());
    let timeouts = fixture.timeouts;
    fixture.updater.apply(prepared, timeouts, update_of(vec![site])).expect("the update applies");
}

pub(crate) fn connections_stay_and_get_the_new_site(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |setup| setup.server.spare_listeners = 4);
    let listen = here(&fixture);
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
    let mut listen = here(&fixture);
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
    eventually("the first listener is closed", || TcpStream::connect(first).is_err());
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
    let mut listen = here(&fixture);
    let before = fixture.updater.addresses();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = free_address();
    listen.extend([free.into(), taken.local_addr().unwrap().into()]);
    let site = site(&fixture, 2);
    let failed = fixture.updater.prepare(&listen).unwrap_err();
    assert!(failed.to_string().contains("in use"), "{failed}");
    let prepared = fixture.updater.prepare(&listen[..2]).unwrap();
    let twice = vec![Arc::clone(&site), site];
    let failed = fixture.updater.apply(prepared, fixture.timeouts, update_of(twice)).unwrap_err();
    assert!(failed.to_string().contains("default"), "{failed}");
    assert_eq!(fixture.updater.addresses(), before);
    let refused = TcpStream::connect(free).map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused), "the new socket is closed again");
    fixture.finish();
}

/// What can fail is tried before anything is made that others could see.
pub(crate) fn an_update_makes_nothing_before_it_applies(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |setup| setup.server.spare_listeners = 4);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let changed = || fs::metadata(folder.path()).unwrap().modified().unwrap();
    let (before, addresses) = (changed(), fixture.updater.addresses());
    let [free, taken] = [free_address(), free_address()];
    let mut listen = here(&fixture);
    listen.extend([UnixAddress::Path(path.clone()).into(), free.into(), taken.into()]);
    let prepared = fixture.updater.prepare(&listen).unwrap();
    assert_eq!(prepared.numbers().len(), 4);
    let is_refused =
        || TcpStream::connect(free).unwrap_err().kind() == io::ErrorKind::ConnectionRefused;
    assert!(is_refused(), "{free} is not bound yet");
    // Another server is faster.
    let other = TcpListener::bind(taken).unwrap();
    let site = site(&fixture, 2);
    let timeouts = fixture.timeouts;
    let failed =
        fixture.updater.apply(prepared, timeouts, update_of(vec![Arc::clone(&site)])).unwrap_err();
    assert!(failed.to_string().contains("in use"), "{failed}");
    assert!(is_refused(), "{free} is not bound any more");
    assert_eq!(changed(), before, "no file was made");
    assert_eq!(fixture.updater.addresses(), addresses);
    drop(other);
    update(&mut fixture, &listen[..3], site);
    for client in [&mut Client::connect(free), &mut Client::connect_unix(&path)] {
        client.send(GET);
        client.read_response().expect_ok(b"2");
    }
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}

/// A worker that has as many connections as it may have takes those in the queue nevertheless, and
/// closes the listener. Its address can be listened on again.
pub(crate) fn a_full_server_closes_a_listener(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |setup| {
        setup.server.connections_max = 4;
        setup.server.spare_listeners = 4;
    });
    let second = free_address();
    // The path of the root is that of no other test.
    let name = UnixAddress::Abstract(fixture.path("name").to_str().unwrap().to_owned());
    let mut listen = here(&fixture);
    listen.extend([second.into(), name.clone().into()]);
    let site = site(&fixture, 2);
    update(&mut fixture, &listen, Arc::clone(&site));
    let mut held: Vec<Client> = (0..4).map(|_| fixture.connect()).collect();
    for client in &mut held {
        client.send(GET);
        client.read_response().expect_ok(b"2");
    }
    for _ in 0..3 {
        let mut queued = [Client::connect(second), Client::connect_abstract(&name)];
        queued.iter_mut().for_each(|client| client.send(GET));
        update(&mut fixture, &listen[..1], Arc::clone(&site));
        // A process that another test starts has copies of the old sockets for a moment.
        eventually("the places are listened on again", || {
            let updater = &mut fixture.updater;
            let prepared = updater.prepare(&listen);
            prepared.is_ok_and(|prepared| {
                updater.apply(prepared, fixture.timeouts, vec![Arc::clone(&site)]).is_ok()
            })
        });
        for client in &mut queued {
            client.read_response().expect_ok(b"2");
        }
    }
    update(&mut fixture, &listen[..1], Arc::clone(&site));
    eventually("the listener is closed", || TcpStream::connect(second).is_err());
    for client in &mut held {
        client.send(GET);
        client.read_response().expect_ok(b"2");
    }
    drop(held);
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}

/// How many TCP sockets listen on a port (`proc_net_tcp.txt` of the kernel).
fn listening_sockets(port: u16) -> usize {
    let (port, state) = (format!(":{port:04X}"), "0A");
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")];
    let lines = tables.iter().flat_map(|table| table.lines());
    let is_one = |line: &&str| {
        let mut parts = line.split_whitespace().skip(1);
        let local = parts.next().is_some_and(|local| local.ends_with(&port));
        local && parts.nth(1) == Some(state)
    };
    lines.filter(is_one).count()
}

/// An address that includes the present one, or is included in it, takes its place.
pub(crate) fn an_address_widens_and_narrows(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |setup| {
        setup.server.spare_listeners = 4;
        setup.server.workers = 2;
    });
    let address = fixture.address();
    let place = |text: &str| text.replace("PORT", &address.port().to_string()).parse().unwrap();
    let site = site(&fixture, 2);
    let mut clients = vec![Client::connect(address)];
    let both_families = std::net::Ipv6Addr::LOCALHOST;
    let wide = match TcpListener::bind((both_families, 0)) {
        Ok(_) => ":PORT",
        Err(error) => {
            println!("skipped: both families: {error}");
            "0.0.0.0:PORT"
        }
    };
    for text in ["0.0.0.0:PORT", wide, "127.0.0.1:PORT", wide, "0.0.0.0:PORT", "127.0.0.1:PORT"] {
        let listen: ListenSpec = place(text);
        update(&mut fixture, std::slice::from_ref(&listen), Arc::clone(&site));
        // While the old sockets are closed, clients are accepted or delayed, and none is refused.
        // No request is sent: the close resets a handshake that is under way (`driver/drain.rs`),
        // also before the client has seen its end.
        for _ in 0..8 {
            let error = TcpStream::connect(address).err().map(|error| error.kind());
            assert!(error.is_none_or(|kind| kind == io::ErrorKind::ConnectionReset), "{error:?}");
        }
        eventually("only the new sockets listen", || listening_sockets(address.port()) == 2);
        clients.push(Client::connect(address));
        for client in &mut clients {
            client.send(GET);
            client.read_response().expect_ok(b"2");
        }
        assert_eq!(fixture.updater.addresses().len(), 1);
    }
    // One that stays cannot be included.
    let listen = [place("127.0.0.1:PORT"), place("0.0.0.0:PORT")];
    let failed = fixture.updater.prepare(&listen).unwrap_err().to_string();
    assert!(failed.contains("includes the other; leave out one of them"), "{failed}");
    // Nor can what another process has.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let failed = fixture.updater.prepare(&[format!("0.0.0.0:{port}").parse().unwrap()]);
    let failed = failed.unwrap_err().to_string();
    assert!(failed.contains("the port is in use"), "{failed}");
    drop(clients);
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}

/// The process may end as soon as the server has, so nothing may be left then.
pub(crate) fn the_end_of_a_server_leaves_no_socket(kind: DriverKind) {
    for round in 0..4 {
        let mut fixture = Fixture::start_with(kind, |setup| setup.server.spare_listeners = 4);
        let folder = tempfile::tempdir().unwrap();
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let mut listen = here(&fixture);
        listen.push(UnixAddress::Path(folder.path().join("socket")).into());
        let (site, timeouts) = (site(&fixture, 2), fixture.timeouts);
        let late = fixture.updater.prepare(&listen).unwrap();
        let stopper = fixture.stopper();
        if round == 0 {
            stopper.stop();
            let mut updater = fixture.join_with_updater();
            assert_eq!(files(), 0);
            let failed =
                updater.apply(late, timeouts, update_of(vec![site])).unwrap_err().to_string();
            assert!(failed.contains("has ended"), "{failed}");
            assert_eq!(files(), 0);
            continue;
        }
        drop(late);
        update(&mut fixture, &listen, Arc::clone(&site));
        let (server, mut updater) = fixture.split();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let may_fail = Arc::clone(&is_stopped);
        let updates = std::thread::spawn(move || {
            for count in 0.. {
                let listen = &listen[..1 + count % 2];
                let prepared = match updater.prepare(listen) {
                    Ok(prepared) => prepared,
                    // When the server has ended, another one may have its port.
                    Err(_) if may_fail.load(Ordering::SeqCst) => return,
                    Err(error) => panic!("the places are free: {error}"),
                };
                if updater.apply(prepared, timeouts, update_of(vec![Arc::clone(&site)])).is_err() {
                    return;
                }
            }
        });
        std::thread::sleep(Duration::from_millis(round * 7));
        is_stopped.store(true, Ordering::SeqCst);
        stopper.stop();
        server.join().expect("the server drains");
        assert_eq!(files(), 0, "a file is left");
        updates.join().unwrap();
        assert_eq!(files(), 0, "a file was made later");
    }
}

/// New timeouts apply to the waits that begin after them.
pub(crate) fn timeouts_change(kind: DriverKind) {
    let mut fixture = Fixture::start_with(kind, |_| {});
    let listen = here(&fixture);
    let mut timeouts = fixture.timeouts;
    timeouts.idle = Duration::from_millis(200);
    let site = site(&fixture, 2);
    let prepared = fixture.updater.prepare(&listen).unwrap();
    fixture.updater.apply(prepared, timeouts, update_of(vec![site])).expect("the update applies");
    let mut client = fixture.connect();
    client.send(GET);
    client.read_response().expect_ok(b"2");
    client.expect_close();
    fixture.come_to_rest();
    fixture.stopper().stop();
    fixture.join().expect("the server drains");
}
