//! The same requests to every driver, and to a session without sockets: the same answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use fastrand::Rng;
use ringd::driver::{File, Kind};
use ringd::http::{Settings, Site, fuzz};
use ringd::session::Now;

use crate::support::client::Client;
use crate::support::fixture::Fixture;
use crate::support::{root, runs_here, streams};

const STREAMS: usize = 400;

#[test]
fn all_drivers_answer_alike() {
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| runs_here(*kind)).collect();
    let root = root::settled();
    let fixtures: Vec<_> =
        kinds.iter().map(|kind| Fixture::start_over(*kind, root, |_| {})).collect();
    let settings = Settings::new(Arc::new(File::open_root(root).unwrap()));
    let mut site = Site::new(settings);
    let mut random = Rng::with_seed(41);
    for number in 0..STREAMS {
        let mut stream = streams::stream(&mut random, 12);
        if number % 40 == 0 {
            stream.splice(0..0, *b"GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        let expected = fuzz::converse(&mut site, Now::read(), [&stream[..]]);
        let expected = without_dates(&expected);
        for (kind, fixture) in kinds.iter().zip(&fixtures) {
            let pieces = streams::split(&mut random, &stream);
            let answers = without_dates(&exchange(fixture.address(), &pieces));
            assert!(
                answers == expected,
                "stream {number} on {kind}: {:?}\nwas answered {:?}\ninstead of {:?}",
                String::from_utf8_lossy(&stream),
                String::from_utf8_lossy(&answers),
                String::from_utf8_lossy(&expected),
            );
        }
    }
    fixtures.into_iter().for_each(Fixture::finish);
}

/// Sends all pieces while it reads, and returns what came.
fn exchange(address: SocketAddr, pieces: &[&[u8]]) -> Vec<u8> {
    let client = Client::connect(address);
    let mut twin = client.twin();
    thread::scope(|scope| {
        scope.spawn(move || {
            // After an answer that ends the connection, nobody may be there to read on.
            let _ = pieces.iter().all(|piece| twin.try_send(piece));
            twin.half_close();
        });
        // How it ends depends on which side was faster; what was said does not.
        client.read_to_end().0
    })
}

/// Answers without the values of their `Date` fields, which depend on the time of day.
fn without_dates(answers: &[u8]) -> Vec<u8> {
    const FIELD: &[u8] = b"\r\nDate: ";
    const VALUE_BYTES: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();
    let mut left = Vec::with_capacity(answers.len());
    let mut rest = answers;
    while let Some(at) = rest.windows(FIELD.len()).position(|window| window == FIELD) {
        let (front, back) = rest.split_at(at + FIELD.len());
        left.extend_from_slice(front);
        rest = &back[VALUE_BYTES.min(back.len())..];
    }
    left.extend_from_slice(rest);
    left
}
