//! More clients than connections: they wait in the kernel's backlog, and none is refused.

use ringd::driver::DriverKind;

use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::many_descriptors;
use crate::support::root::content;

const GET: &str = "GET /over.bin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

pub(crate) fn more_clients_than_connections(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| setup.server.connections_max = 8);
    let mut clients: Vec<_> = (0..40).map(|_| fixture.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    for mut client in clients {
        client.read_response().expect_ok(&content(8193));
        client.expect_close();
    }
    fixture.finish();
}

/// The server is full for a while and many clients wait; then all of them are served.
pub(crate) fn a_full_backlog_is_served(kind: DriverKind) {
    let _descriptors = many_descriptors();
    let fixture = Fixture::start_with(kind, |setup| setup.server.connections_max = 8);
    let holders: Vec<_> = (0..8).map(|_| fixture.connect()).collect();
    fixture.wait_for_connections(8);
    let mut clients: Vec<_> = (0..300).map(|_| fixture.connect()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    drop(holders);
    for client in &mut clients {
        client.read_response().expect_ok(&content(8193));
        // Some may be accepted before the server stops accepting, but a bounded number.
        assert!(fixture.stats().connections <= 8 + 256);
    }
    clients.into_iter().for_each(Client::expect_close);
    fixture.finish();
}

/// A client that waits gets the first free place, even if the other connections stay open.
pub(crate) fn a_free_connection_is_reused(kind: DriverKind) {
    let fixture = Fixture::start_with(kind, |setup| setup.server.connections_max = 2);
    let mut places: Vec<_> = (0..2).map(|_| fixture.connect()).collect();
    for client in &mut places {
        client.ask("GET", "/over.bin", "").expect_ok(&content(8193));
    }
    for _ in 0..5 {
        let mut waiting = fixture.connect();
        waiting.send(GET);
        drop(places.remove(0));
        waiting.read_response().expect_ok(&content(8193));
        waiting.expect_close();
        let mut next = fixture.connect();
        next.ask("GET", "/over.bin", "").expect_ok(&content(8193));
        places.push(next);
    }
    drop(places);
    fixture.finish();
}
