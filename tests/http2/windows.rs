//! Clients that open windows by very little, or not at all, and those that only are slow.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{Chain, File, Links};
use ringd::http::HttpSettings;
use ringd::session::{Step, Timer};

use crate::h2::{
    Frame, code, data, flag, frame, get, kind, opening, post, priority_update, request_block,
    setting, settings, window_update,
};
use crate::sample::root;
use crate::talk::Talk;

fn ends_by_calm(talk: &Talk) {
    assert_eq!(talk.peer.goaway.map(|(_, code)| code), Some(code::CALM));
}

/// A frame for each byte (CVE-2019-9511): by windows of the stream, of the connection, by SETTINGS.
#[test]
fn windows_of_one_byte() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    talk.send(&get(1, "/over.bin"));
    let mut bytes = 0;
    while !talk.is_over() {
        assert!(bytes < 201, "the connection goes on");
        talk.send(&window_update(1, 1));
        bytes += 1;
    }
    ends_by_calm(&talk);
    assert!(talk.peer.answers[&1].content.len() <= 200);

    let mut talk = Talk::open(&root);
    for stream in (1..17).step_by(2) {
        talk.send(&get(stream, "/over.bin"));
    }
    let received = |talk: &Talk| -> usize {
        talk.peer.answers.values().map(|answer| answer.content.len()).sum()
    };
    assert_eq!(received(&talk), 65_535);
    while !talk.is_over() {
        assert!(received(&talk) < 65_535 + 201, "the connection goes on");
        talk.send(&window_update(0, 1));
    }
    ends_by_calm(&talk);

    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    talk.send(&get(1, "/over.bin"));
    let mut bytes = 0;
    while !talk.is_over() {
        bytes += 1;
        assert!(bytes < 201, "the connection goes on");
        talk.send(&settings(&[(setting::INITIAL_WINDOW_SIZE, bytes)]));
    }
    ends_by_calm(&talk);
}

/// A client that never opens windows keeps few files open, and not for long.
#[test]
fn windows_that_stay_closed() {
    // All answers are of one file, which is open once.
    for (files_max, files) in [(1000, 32), (2, 4)] {
        let (_directory, root) = root();
        let mut talk = Talk::with(HttpSettings { files_max, ..HttpSettings::of_root(root) });
        let began = talk.now.instant;
        talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
        for number in 0..100 {
            talk.send(&get(2 * number + 1, "/over.bin"));
        }
        assert!(!talk.is_over());
        let answers = talk.peer.answers.values();
        assert_eq!(answers.filter(|answer| answer.status == 200).count(), files, "{files_max}");
        // Those that are reset make room for others, which have as much time.
        let rounds = 100_u32.div_ceil(files as u32);
        let mut deadlines = 0;
        while talk.harness.deadline(talk.session).is_some() {
            deadlines += 1;
            assert!(deadlines <= 3 * rounds, "streams remain");
            talk.expire();
        }
        assert!(talk.now.instant - began <= (rounds + 1) * Duration::from_secs(30));
        let resets = talk.peer.answers.values();
        let resets = resets.filter(|answer| answer.reset == Some(code::CANCEL)).count();
        assert_eq!(resets, 100);
        assert!(!talk.is_over(), "the connection may go on");
        talk.send(
            &[settings(&[(setting::INITIAL_WINDOW_SIZE, 100)]), get(999, "/small.txt")].concat(),
        );
        assert!(talk.peer.answers[&999].ended);
    }
}

/// An upload that stops, after its answer.
#[test]
fn an_upload_that_stops() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    talk.send(&[post(1, &[]), data(1, b"x", false)].concat());
    let frames = talk.expire();
    // It has its answer, and must not discard it (RFC 9113 section 8.1).
    assert_eq!(frames, [Frame::Reset { stream: 1, code: 0 }]);
    assert!(talk.harness.deadline(talk.session).is_none());
}

/// A file of 300,000 bytes, and some clients' time for it.
fn large() -> (tempfile::TempDir, Arc<File>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("large.bin"), vec![b'x'; 300_000]).unwrap();
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    (directory, root)
}

/// A client on a slow line takes one answer after the other. The later ones wait for minutes, and
/// for the earlier ones alone.
#[test]
fn a_slow_line_is_no_stall() {
    let (_directory, root) = large();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]));
    let asked = 0..8_u32;
    for number in asked.clone() {
        talk.send(&get(2 * number + 1, "/large.bin"));
    }
    let began = talk.now.instant;
    while talk.peer.answers.len() < 8 || talk.peer.answers.values().any(|answer| !answer.ended) {
        talk.now.instant += Duration::from_secs(20);
        let is_due = |deadline| deadline <= talk.now.instant;
        if talk.harness.deadline(talk.session).is_some_and(is_due) {
            let frames = talk.expire();
            assert_eq!(frames, []);
        }
        talk.send(&window_update(0, 65_535));
    }
    assert!(talk.now.instant - began > Duration::from_secs(600));
    assert!(talk.peer.answers.values().all(|answer| answer.content.len() == 300_000));
}

/// While some answers go on, one whose own window stays closed is reset.
#[test]
fn one_stream_stalls_alone() {
    let (_directory, root) = large();
    let mut talk = Talk::open(&root);
    talk.send(&[get(1, "/large.bin"), window_update(0, 1 << 20), get(3, "/large.bin")].concat());
    for _ in 0..4 {
        talk.now.instant += Duration::from_secs(10);
        let is_due = |deadline| deadline <= talk.now.instant;
        if talk.harness.deadline(talk.session).is_some_and(is_due) {
            talk.expire();
        }
        talk.send(&window_update(1, 65_535));
    }
    assert_eq!(talk.peer.answers[&1].reset, None);
    assert_eq!(talk.peer.answers[&3].reset, Some(code::CANCEL));
}

/// Requests that arrive with the end of the input are answered, however many fit into a chain.
#[test]
fn requests_before_the_end_of_the_input() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    talk.send(&get(1, "/small.txt"));
    let window = window_update(0, 1 << 20);
    let all: Vec<u8> = (1..600).flat_map(|number| get(2 * number + 1, "/small.txt")).collect();
    talk.end_with(&[&window[..], &all].concat());
    assert!(talk.is_over());
    assert_eq!(talk.peer.answers.values().filter(|answer| answer.ended).count(), 600);
}

/// A connection that was never written to begins with SETTINGS, even if it ends at once.
#[test]
fn a_connection_that_times_out_at_once() {
    let (_directory, root) = root();
    let mut talk = Talk::new(&root);
    let frames = talk.time_out();
    assert!(matches!(frames[..], [Frame::Settings(_), Frame::GoAway { .. }]), "{frames:?}");
}

/// While a send is in flight, frames stay where they are, and stalls wait for the send's timeout.
#[test]
fn a_send_in_flight() {
    let (_directory, root) = root();
    let mut talk = Talk::open(&root);
    talk.send(&post(1, &[]));
    let (mut out, bytes) = (Chain::new(), get(3, "/small.txt"));
    let said = talk.harness.advance_while_sending(talk.session, talk.now, &bytes, &mut out);
    assert_eq!((said, out.is_empty()), ((Step::Wait, 0), true));
    talk.now.instant = talk.harness.deadline(talk.session).expect("the upload may stall");
    let step = talk.harness.expire_while_sending(talk.session, talk.now, Timer::Deadline);
    assert_eq!(step, Step::Wait);
    assert!(talk.harness.deadline(talk.session).unwrap() > talk.now.instant);
    talk.send(&bytes);
    assert!(talk.peer.answers[&3].ended);
}

/// The streams that have sent, in order.
fn streams(frames: &[Frame]) -> Vec<u32> {
    let stream = |frame: &Frame| match frame {
        Frame::Data { stream, .. } => Some(*stream),
        _ => None,
    };
    let mut all: Vec<u32> = frames.iter().filter_map(stream).collect();
    all.dedup();
    all
}

/// Priorities (RFC 9218 section 10): the urgent ones first, the incremental ones in turn.
#[test]
fn answers_come_by_priority() {
    let (_directory, root) = large();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]));
    talk.send(&[get(1, "/large.bin"), get(3, "/large.bin"), get(5, "/large.bin")].concat());
    assert_eq!(streams(&talk.send(&window_update(0, 65_535))), [1]);
    let update = |stream, value| priority_update(stream, value);
    talk.send(&update(5, "u=1"));
    assert_eq!(streams(&talk.send(&window_update(0, 65_535))), [5]);
    talk.send(&[update(1, "u=0, i"), update(3, "u=0, i")].concat());
    let turns = streams(&talk.send(&window_update(0, 65_535)));
    assert!(turns.len() >= 4 && !turns.contains(&5), "{turns:?}");
    // One for a stream that is not open yet counts more than its field.
    let fields = [("priority", "u=7")];
    let request = request_block("GET", "/large.bin", &fields);
    talk.send(&update(7, "u=0"));
    talk.send(&frame(kind::HEADERS, flag::WHOLE, 7, &request));
    assert_eq!(streams(&talk.send(&window_update(0, 65_535))), [7]);
}

/// A short answer waits for what is more urgent, and for nothing else.
#[test]
fn short_answers_wait_for_urgent_ones() {
    let (directory, root) = large();
    fs::write(directory.path().join("short.bin"), vec![b'x'; 10_000]).unwrap();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]));
    talk.send(&window_update(0, 1 << 24));
    talk.send(&[get(1, "/large.bin"), get(3, "/short.bin")].concat());
    let request = |stream: u32, path: &str, urgency: &str| {
        let block = request_block("GET", path, &[("priority", urgency)]);
        frame(kind::HEADERS, flag::WHOLE, stream, &block)
    };
    let images = (0..10).flat_map(|number| request(2 * number + 7, "/short.bin", "u=5"));
    let requests = [request(5, "/large.bin", "u=0"), images.collect()].concat();
    let images: Vec<u32> = (0..10).map(|number| 2 * number + 7).collect();
    assert_eq!(streams(&talk.send(&requests)), [&[5], &images[..]].concat());
    for urgency in ["u=0", "u=1"] {
        let next = talk.peer.answers.keys().max().unwrap() + 2;
        let [long, short] =
            [request(next, "/large.bin", "u=1"), request(next + 2, "/short.bin", urgency)];
        let frames = talk.send(&[long, short].concat());
        assert_eq!(streams(&frames), [next + 2, next], "{urgency}");
    }
}

/// Answers of another urgency do not change whose turn it is.
#[test]
fn turns_go_on_beside_more_urgent_answers() {
    let (_directory, root) = large();
    let mut talk = Talk::new(&root);
    talk.send(&opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    for (stream, priority) in [(3, "i"), (5, "i"), (7, "i"), (9, "u=1")] {
        talk.send(&[priority_update(stream, priority), get(stream, "/large.bin")].concat());
    }
    talk.send(&[window_update(9, 65_535 - 100), window_update(9, 100)].concat());
    let windows = [3, 5, 7].map(|stream| window_update(stream, 1 << 20));
    talk.send(&windows.concat());
    let mut turns = Vec::new();
    for _ in 0..6 {
        // For a frame of the urgent one, and for two others.
        let frames = [window_update(9, 1000), window_update(0, 1000 + 2 * 16_375)].concat();
        turns.extend(streams(&talk.send(&frames)));
    }
    let round = [9, 3, 5, 9, 7, 3, 9, 5, 7];
    assert_eq!(turns, [round, round].concat());
}
