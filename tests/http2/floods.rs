//! Floods of frames that are legal one by one and only make work (CVE-2019-9511 to 9518).

use crate::conformance::closed;
use crate::h2::{
    Frame, code, data, flag, frame, get, kind, opening, ping, post, priority_update, reset,
    setting, settings, window_update,
};
use crate::sample::root;
use crate::talk::Talk;

/// How many frames a flood may have, with the one that ends the connection.
const FRAMES_MAX: usize = 201;

/// Sends `one` again and again, in batches, until the connection ends. That must be soon, and
/// neither what the server sends meanwhile nor what it keeps may be much.
fn flood(what: &str, setup: &[u8], batch: usize, one: impl Fn(u32) -> Vec<u8>) {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[]));
    talk.send(setup);
    assert!(!talk.is_over(), "{what}");
    let (mut sent, mut frames) = (0_u32, 0);
    while !talk.is_over() {
        assert!((sent as usize) < FRAMES_MAX + batch, "{what}: the connection goes on");
        let bytes: Vec<u8> = (sent..sent + batch as u32).flat_map(&one).collect();
        frames += talk.send(&bytes).len();
        sent += batch as u32;
    }
    assert_eq!(talk.peer.goaway.map(|(_, code)| code), Some(code::CALM), "{what}");
    assert!(frames <= FRAMES_MAX + 1, "{what}: {frames} frames of the server");
    assert!(talk.memory_max < 64 * 1024, "{what}: {} bytes", talk.memory_max);
}

/// The same, with one frame and with many at a time.
fn floods(what: &str, setup: &[u8], one: impl Fn(u32) -> Vec<u8> + Copy) {
    for batch in [1, 1000] {
        println!("{what}, {batch} at a time");
        flood(what, setup, batch, one);
    }
}

#[test]
fn frames_of_connections() {
    floods("PING", b"", |number| ping(u64::from(number).to_be_bytes()));
    floods("acknowledgements of PING", b"", |_| frame(kind::PING, flag::ACK, 0, &[0; 8]));
    floods("SETTINGS", b"", |_| settings(&[]));
    floods("acknowledgements of SETTINGS", b"", |_| frame(kind::SETTINGS, flag::ACK, 0, b""));
    floods("PRIORITY", b"", |number| frame(kind::PRIORITY, 0, 2 * number + 1, &[0; 5]));
    floods("PRIORITY_UPDATE", b"", |number| priority_update(2 * number + 1, "u=1"));
    floods("unknown frames", b"", |_| frame(0x42, 0, 0, b"x"));
    floods("WINDOW_UPDATE", b"", |_| window_update(0, 1));
}

#[test]
fn frames_of_streams() {
    floods("empty DATA", &post(1, &[]), |_| data(1, b"", false));
    floods("DATA of padding alone", &post(1, &[]), |_| frame(kind::DATA, flag::PADDED, 1, &[0]));
    // To open what was used is no anomaly, in pieces of any size; this opens more.
    let open = [post(1, &[]), window_update(1, 9000)].concat();
    floods("WINDOW_UPDATE on a stream", &open, |_| window_update(1, 1));
    floods("WINDOW_UPDATE on a closed stream", &closed(), |_| window_update(1, 5000));
    floods("WINDOW_UPDATE of nothing on a closed stream", &closed(), |_| window_update(1, 0));
    floods("RST_STREAM on a closed stream", &closed(), |_| reset(1, code::CANCEL));
    // As much as the window allows may be on the way when a stream is reset; this is more.
    let rest = [vec![data(1, &[0; 16_000], false); 4].concat(), data(1, &[0; 1533], false)];
    let refused = [post(1, &[("content-length", "1")]), data(1, b"xx", false), rest.concat()];
    let refused = refused.concat();
    floods("DATA on a stream that was reset", &refused, |_| data(1, b"x", false));
    // Nothing is never more than the window allows.
    let stopped = [post(1, &[("content-length", "1")]), data(1, b"xx", false)].concat();
    floods("the end of a stream that was reset", &stopped, |_| data(1, b"", true));
    floods("trailers on a stream that was reset", &refused, |_| get(1, "/"));
    let blocked = [settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]), get(1, "/over.bin")].concat();
    floods("GOAWAY", &blocked, |_| frame(kind::GOAWAY, 0, 0, &[0; 8]));
    let leaving = [blocked, frame(kind::GOAWAY, 0, 0, &[0; 8])].concat();
    floods("requests after GOAWAY", &leaving, |number| get(2 * number + 3, "/small.txt"));
}

/// How many of these units a client may send until its connection ends.
fn allowed(setup: fn(&mut Talk), unit: &dyn Fn(u32) -> Vec<u8>) -> i32 {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    setup(&mut talk);
    for number in 0..1000 {
        assert!(!talk.is_over(), "the connection has ended too early");
        talk.send(&unit(number));
        if talk.is_over() {
            assert_eq!(talk.peer.goaway.map(|(_, code)| code), Some(code::CALM));
            return number as i32 + 1;
        }
    }
    panic!("the connection goes on")
}

/// An upload that was reset at its second byte.
fn reset_upload(talk: &mut Talk) {
    talk.send(&[post(1, &[("content-length", "1")]), data(1, b"xx", false)].concat());
    assert_eq!(talk.peer.answers[&1].reset, Some(code::PROTOCOL));
}

/// The same, and as much of it as its window allows.
fn reset_whole_upload(talk: &mut Talk) {
    reset_upload(talk);
    talk.send(
        &[vec![data(1, &[0; 16_000], false); 4].concat(), data(1, &[0; 1533], false)].concat(),
    );
}

/// A download that does not go on, so that the connection stays open.
fn begin_download(talk: &mut Talk) {
    talk.send(&[settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]), get(1, "/over.bin")].concat());
}

/// The client begins no more streams, and those that it begins are refused.
fn leave(talk: &mut Talk) {
    begin_download(talk);
    talk.send(&frame(kind::GOAWAY, 0, 0, &[0; 8]));
}

/// The server has announced its last stream, which is 1.
fn announce_last(talk: &mut Talk) {
    begin_download(talk);
    talk.harness.drain(talk.session);
    talk.run();
    talk.send(&frame(kind::PING, flag::ACK, 0, b"draining"));
    assert_eq!(talk.peer.goaway, Some((1, code::NO_ERROR)));
}

/// A frame for a stream that the server has ended is paid for once. The end of an upload that it
/// has ended is not paid for: the client may have sent it before it knew. A PING costs one point.
#[test]
fn frames_for_streams_that_the_server_has_ended() {
    type Row<'a> = (&'a str, fn(&mut Talk), &'a dyn Fn(u32) -> Vec<u8>, fn(i32) -> i32);
    let empty = |stream| move |_: u32| data(stream, b"", false);
    let padding = |stream| move |_: u32| frame(kind::DATA, flag::PADDED, stream, &[0]);
    let end = |stream| move |_: u32| data(stream, b"", true);
    let refused =
        |number: u32| [post(2 * number + 3, &[]), data(2 * number + 3, b"", true)].concat();
    // The first frame for a stream whose client has ended it is a fault, and costs nine more.
    let rows: [Row<'_>; 10] = [
        ("empty DATA", reset_upload, &empty(1), |points| points),
        ("padding", reset_upload, &padding(1), |points| points),
        ("padding behind the window", reset_whole_upload, &padding(1), |points| points),
        ("empty DATA of a download", begin_download, &empty(1), |points| points - 9),
        ("empty DATA after the last GOAWAY", announce_last, &empty(3), |points| points),
        ("padding after the last GOAWAY", announce_last, &padding(3), |points| points),
        ("ends of one upload", reset_upload, &end(1), |points| points + 1),
        ("trailers of one upload", reset_upload, &|_| get(1, "/"), |points| points + 1),
        ("ends after the last GOAWAY", announce_last, &end(3), |points| points),
        ("refused uploads with their ends", leave, &refused, |points| (points + 1) / 2),
    ];
    for (what, setup, unit, expected) in rows {
        let points = allowed(setup, &|_| ping([0; 8]));
        assert_eq!(allowed(setup, unit), expected(points), "{what}");
    }
}

/// SETTINGS with as many parameters as fit, which change the windows of many streams.
#[test]
fn settings_with_thousands_of_parameters() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    let all: Vec<u8> = (0..100).flat_map(|number| post(2 * number + 1, &[])).collect();
    talk.send(&all);
    let many: Vec<(u16, u32)> =
        (0..2730).map(|number| (setting::INITIAL_WINDOW_SIZE, number)).collect();
    let frames = talk.send(&settings(&many));
    assert_eq!(frames, [Frame::SettingsAck]);
    let memory = talk.memory_max;
    let mut sent = 1;
    while !talk.is_over() {
        assert!(sent < FRAMES_MAX, "the connection goes on");
        talk.send(&settings(&many));
        sent += 1;
    }
    assert_eq!(talk.peer.goaway.map(|(_, code)| code), Some(code::CALM));
    assert_eq!(talk.memory_max, memory, "parameters are not kept");
}

/// Requests that are announced as the last ones, while the server drains.
#[test]
fn requests_after_the_last_goaway() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    talk.send(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    talk.send(&get(1, "/over.bin"));
    talk.harness.drain(talk.session);
    let frames = talk.run();
    assert!(matches!(&frames[..], [Frame::GoAway { last: 0x7fff_ffff, .. }, Frame::Ping { .. }]));
    talk.send(&get(3, "/over.bin"));
    talk.send(&frame(kind::PING, flag::ACK, 0, b"draining"));
    assert_eq!(talk.peer.goaway, Some((3, code::NO_ERROR)));
    // What belongs to streams that are not answered is ignored, whatever it is.
    talk.send(&[post(5, &[]), data(5, &[0; 5000], false), window_update(5, 1)].concat());
    talk.send(&[data(5, b"x", true), post(7, &[]), reset(7, code::CANCEL)].concat());
    talk.send(&[window_update(1, 9000), window_update(3, 9000)].concat());
    assert!(talk.is_over());
    assert_eq!(talk.peer.goaway, Some((3, code::NO_ERROR)));
    assert!(talk.peer.answers[&1].ended && talk.peer.answers[&3].ended);
    assert_eq!(talk.peer.answers.len(), 2);
}

/// The same as a flood: the last GOAWAY does not name a later stream.
#[test]
fn a_flood_after_the_last_goaway() {
    let (_directory, root) = root();
    let units: [fn(u32) -> Vec<u8>; 2] =
        [|number| get(2 * number + 3, "/over.bin"), |_| data(3, b"", true)];
    for unit in units {
        let mut talk = Talk::open(&root);
        talk.send(&settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
        talk.send(&get(1, "/over.bin"));
        talk.harness.drain(talk.session);
        talk.run();
        talk.send(&frame(kind::PING, flag::ACK, 0, b"draining"));
        let mut number = 0;
        while !talk.is_over() {
            assert!(number < 500, "the connection goes on");
            talk.send(&unit(number));
            number += 1;
        }
        assert_eq!(talk.peer.goaway, Some((1, code::CALM)));
    }
}
