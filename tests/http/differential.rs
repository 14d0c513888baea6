//! Sends the same requests to every driver and to a session without sockets, and compares the
//! answers.

use std::net::SocketAddr;
use std::thread;

use fastrand::Rng;
use ringd::driver::DriverKind;
use ringd::http::HttpSettings;
use ringd::http::harness::{self, Harness};
use ringd::session::Now;

use crate::common::alone::alone;
use crate::common::runs_here;
use crate::support::client::Client;
use crate::support::fixture::{Fixture, site};
use crate::support::{root, streams};

const STREAMS: usize = 200;
const MORE: &[u8] = b"GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n";

/// Options of `ringd serve` about content.
pub(crate) const OPTIONS: [&[&str]; 2] = [
    &["--listing", "--spa", "/index.html"],
    &[
        "--clean-urls",
        "--index=small.txt",
        "--error-page=404=/small.txt",
        "--error-page=403=/page.css",
        "--cache-control=*.txt=max-age=60",
        "--header=**=X-Frame-Options: DENY",
        "--cors",
        "--mime=bin=application/x-test",
        "--symlinks=never",
    ],
];

#[test]
fn all_drivers_answer_alike() {
    alone(|| OPTIONS.into_iter().for_each(send_the_same_streams_to_all));
}

fn send_the_same_streams_to_all(options: &[&str]) {
    let kinds: Vec<_> = DriverKind::ALL.into_iter().filter(|kind| runs_here(*kind)).collect();
    let root = root::settled();
    let fixtures: Vec<_> =
        kinds.iter().map(|kind| Fixture::start_as(*kind, root, options)).collect();
    let mut harness = Harness::new(HttpSettings::new(site(root, options)));
    let mut random = Rng::with_seed(41);
    for number in 0..STREAMS {
        let mut stream = streams::stream(&mut random, 12);
        if number % 40 == 0 {
            stream.splice(0..0, *b"GET /large.bin HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        let expected = harness::converse(&mut harness, Now::read(), [&stream[..]]);
        let expected = without_dates(&expected);
        // Whether the server ends the conversation: then later requests get no answer.
        let longer = harness::converse(&mut harness, Now::read(), [&stream[..], MORE]);
        let ends_early = without_dates(&longer) == expected;
        for (kind, fixture) in kinds.iter().zip(&fixtures) {
            let pieces = streams::split(&mut random, &stream);
            let (answers, orderly) = exchange(fixture.address(), &pieces);
            let answers = without_dates(&answers);
            // A client that sends after the end may reset the connection, and lose what is in
            // flight (RFC 9112 section 9.6). The answers until then must be the same.
            let lost = !orderly && ends_early && expected.starts_with(&answers);
            assert!(
                answers == expected || lost,
                "{options:?}: stream {number} on {kind}: {:?}\nwas answered {:?}\ninstead of {:?}",
                String::from_utf8_lossy(&stream),
                String::from_utf8_lossy(&answers),
                String::from_utf8_lossy(&expected),
            );
        }
    }
    fixtures.into_iter().for_each(Fixture::finish);
}

/// Sends all pieces while it reads. Returns the received bytes, and whether neither direction met
/// a reset, because only one of them reports it.
fn exchange(address: SocketAddr, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let client = Client::connect(address);
    let mut twin = client.twin();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let written = pieces.iter().all(|piece| twin.try_send(piece));
            twin.half_close() && written
        });
        let (answers, end) = client.read_to_end();
        let written = writer.join().unwrap();
        (answers, written && end.is_ok())
    })
}

/// Answers without the values of their `Date` fields, which depend on the time.
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
