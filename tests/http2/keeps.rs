//! What a connection keeps in use besides memory of its own: files, contents, lookups. And who
//! waits for whom when something does not go on.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ringd::driver::{File, Links};
use ringd::http::HttpSettings;
use ringd::http::records::metrics::HttpMetrics;
use ringd::metrics::Counter;
use ringd::session::{ReceiveTimeout, Sent, Step, Timer};

use crate::h2::{
    Frame, code, data, frame, get, kind, opening, ping, post, priority_update, reset, setting,
    settings as settings_frame, window_update,
};
use crate::talk::Talk;

/// A site of 100 files of this size.
fn site(bytes: usize) -> (tempfile::TempDir, Arc<File>) {
    let directory = tempfile::tempdir().unwrap();
    for number in 0..100 {
        fs::write(directory.path().join(format!("{number}.bin")), vec![b'x'; bytes]).unwrap();
    }
    let root = Arc::new(File::open_root(directory.path(), Links::Beneath).unwrap());
    (directory, root)
}

fn get_all() -> Vec<u8> {
    (0..100).flat_map(|number| get(2 * number + 1, &format!("/{number}.bin"))).collect()
}

/// Requests for different files, whose windows never open. Those that wait keep no files open
/// either, so others find descriptors.
#[test]
fn different_files_of_a_client_that_does_not_read() {
    let (_directory, root) = site(20_000);
    for (files_max, open_max) in [(1000, 32 + 8), (16, 4 + 8)] {
        let settings = HttpSettings {
            files_max,
            cache_entries: 1,
            ..HttpSettings::of_root(Arc::clone(&root))
        };
        let mut talk = Talk::with(settings);
        talk.send(&[opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]), get_all()].concat());
        assert!(!talk.is_over());
        let open = talk.harness.sites.open_files().count();
        assert!(open <= open_max + 1, "{open} files are open");
        // As the windows open, all of them are answered.
        let windows = (0..100).flat_map(|number| window_update(2 * number + 1, 50_000));
        talk.send(&[window_update(0, 10_000_000), windows.collect()].concat());
        let whole = talk.peer.answers.values().filter(|answer| answer.ended).count();
        assert_eq!(whole, 100);
    }
}

/// The same with contents in memory, of which the cache keeps none.
#[test]
fn different_contents_of_a_client_that_does_not_read() {
    let (_directory, root) = site(200_000);
    let settings =
        HttpSettings { memory_file_max: 1 << 20, cache_entries: 1, ..HttpSettings::of_root(root) };
    let mut talk = Talk::with(settings);
    talk.send(&[opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]), get_all()].concat());
    let begun = talk.peer.answers.values().filter(|answer| answer.status == 200).count();
    assert_eq!(begun, 2, "half a MiB has room for two");
    let windows = (0..100).flat_map(|number| window_update(2 * number + 1, 300_000));
    talk.send(&[window_update(0, 100_000_000), windows.collect()].concat());
    let whole = talk.peer.answers.values().filter(|answer| answer.ended).count();
    assert_eq!(whole, 100);
}

/// Answers that do not go on keep all files open that a connection may. One that is sent at once
/// keeps none, so it is sent. Of the others, the most urgent one is next.
#[test]
fn short_answers_need_no_room() {
    let (directory, root) = site(20_000);
    fs::write(directory.path().join("short.bin"), vec![b'x'; 9000]).unwrap();
    let settings = HttpSettings { files_max: 8, ..HttpSettings::of_root(root) };
    let mut talk = Talk::with(settings);
    let stalled = (0..4).flat_map(|number| get(2 * number + 1, &format!("/{number}.bin")));
    talk.send(&[opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]), stalled.collect()].concat());
    talk.send(&[priority_update(9, "u=5"), get(9, "/8.bin")].concat());
    talk.send(&[priority_update(11, "u=1"), get(11, "/9.bin")].concat());
    assert_eq!(talk.peer.answers.len(), 4);
    for (stream, path, status) in [(13, "/short.bin", 200), (15, "/none", 404)] {
        talk.send(&[get(stream, path), window_update(stream, 50_000)].concat());
        let answer = talk.peer.answers.get(&stream);
        assert!(answer.is_some_and(|answer| answer.ended && answer.status == status), "{path}");
    }
    talk.send(&reset(1, 8));
    assert_eq!(talk.peer.answers.get(&11).map(|answer| answer.status), Some(200));
    assert!(!talk.peer.answers.contains_key(&9));
}

/// A request that has waited for its lookup is answered before one that arrives afterwards.
#[test]
fn requests_do_not_overtake() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    talk.send(&get(1, "/1.bin"));
    talk.settles = false;
    talk.send(&get(3, "/2.bin"));
    talk.harness.settle(talk.now);
    let frames = talk.send(&get(5, "/1.bin"));
    let stream = |frame: &Frame| match frame {
        Frame::Headers { stream, .. } => Some(*stream),
        _ => None,
    };
    assert_eq!(frames.iter().filter_map(stream).collect::<Vec<_>>(), [3, 5]);
}

/// A client that only sends PING requests nothing, so its connection ends when it would without.
#[test]
fn pings_do_not_begin_the_idle_time_again() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    let complete = Sent { bytes: 100, complete: true };
    talk.harness.sent(talk.session, talk.now, complete);
    for stream in [1, 3] {
        talk.send(&get(stream, "/1.bin"));
        // From the end of the send on.
        assert_eq!(talk.step, Step::Receive(ReceiveTimeout::KeepAlive));
        talk.now.instant += Duration::from_secs(2);
        let sent_at = talk.now.instant;
        talk.harness.sent(talk.session, talk.now, complete);
        for _ in 0..3 {
            talk.now.instant += Duration::from_secs(10);
            talk.send(&ping([0; 8]));
            assert_eq!(talk.step, Step::Receive(ReceiveTimeout::KeepAliveSince(sent_at)));
            talk.harness.sent(talk.session, talk.now, complete);
        }
    }
}

/// Of a chain that was lost, nothing counts as sent.
#[test]
fn bytes_that_never_left_are_not_counted() {
    // One answer is complete in the chain, and one is not.
    for bytes in [40_000, 200_000] {
        for complete in [false, true] {
            let (_directory, root) = site(bytes);
            let metrics = Arc::new(HttpMetrics::new(1));
            let settings =
                HttpSettings { metrics: Some(Arc::clone(&metrics)), ..HttpSettings::of_root(root) };
            let mut talk = Talk::with(settings);
            talk.send(&[opening(&[]), get(1, "/1.bin")].concat());
            let received = talk.peer.answers[&1].content.len() as u64;
            assert!(received >= 40_000);
            talk.harness.sent(talk.session, talk.now, Sent { bytes: 0, complete });
            talk.harness.close(talk.session, talk.now);
            let counted: u64 =
                metrics.workers()[0].sites().iter().map(|site| site.bytes.get()).sum();
            match complete {
                true => assert!((received..received + 1000).contains(&counted), "{counted}"),
                false => assert_eq!(counted, 0),
            }
        }
    }
}

/// The same for an answer that is cut off before its chain is sent: its connection ends, or its
/// stream.
#[test]
fn bytes_of_answers_that_were_cut_off() {
    let end: fn(&mut Talk, Vec<u8>) = |talk, bytes| drop(talk.end_with(&bytes));
    let go_on: fn(&mut Talk, Vec<u8>) = |talk, bytes| drop(talk.send(&bytes));
    let fault = frame(kind::PUSH_PROMISE, 0, 3, &[0; 4]);
    for (what, then, send, content) in [
        ("an error ends the connection", fault, go_on, 0),
        ("the client resets the stream", reset(3, code::CANCEL), go_on, 0),
        ("the server resets the stream", window_update(3, 0), go_on, 0),
        ("the input ends", Vec::new(), end, 10_000),
    ] {
        for complete in [false, true] {
            let (_directory, root) = site(20_000);
            let metrics = Arc::new(HttpMetrics::new(1));
            let settings =
                HttpSettings { metrics: Some(Arc::clone(&metrics)), ..HttpSettings::of_root(root) };
            let mut talk = Talk::with(settings);
            // From now on the file is in the cache.
            talk.send(&[opening(&[]), get(1, "/1.bin")].concat());
            talk.harness.sent(talk.session, talk.now, Sent { bytes: 0, complete: true });
            let counted = || {
                let sites = metrics.workers()[0].sites();
                let answers = sites.iter().flat_map(|site| &site.by_status).map(Counter::get);
                let bytes = sites.iter().map(|site| site.bytes.get());
                (answers.sum::<u64>(), bytes.sum::<u64>())
            };
            let (_, before) = counted();
            let narrow = settings_frame(&[(setting::INITIAL_WINDOW_SIZE, 10_000)]);
            send(&mut talk, [narrow, get(3, "/1.bin"), then.clone()].concat());
            assert_eq!(counted(), (1, before), "{what}: nothing has left");
            talk.harness.sent(talk.session, talk.now, Sent { bytes: 0, complete });
            talk.harness.close(talk.session, talk.now);
            let (answers, bytes) = counted();
            assert_eq!((answers, metrics.workers()[0].aborted.get()), (2, 1), "{what}");
            let (head, most) = if complete { (50, 500) } else { (0, 1) };
            let content = if complete { content } else { 0 };
            let expected = before + content + head..before + content + most;
            assert!(expected.contains(&bytes), "{what}: {bytes} bytes and not {expected:?}");
        }
    }
}

/// One connection has few lookups at a time, so it does not fill the line of all.
#[test]
fn lookups_take_turns() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    talk.settles = false;
    talk.send(&get_all());
    let asks = talk.harness.asks(talk.now);
    let most = 8 * ringd::http::site::OPENS_MAX;
    assert!((1..=most).contains(&asks), "{asks} questions");
    talk.settles = true;
    talk.send(&[]);
    let whole = talk.peer.answers.values().filter(|answer| answer.ended).count();
    assert_eq!(whole, 100);
}

/// A drain waits for a lookup, whose client has nothing to say.
#[test]
fn a_drain_waits_for_lookups() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    talk.settles = false;
    talk.send(&get(1, "/1.bin"));
    talk.harness.drain(talk.session);
    talk.send(&[]);
    let said = talk.harness.expire(talk.session, talk.now, Timer::Receive);
    assert_eq!(said.step, Step::Receive(ReceiveTimeout::Own));
    talk.settles = true;
    talk.send(&[]);
    assert!(talk.peer.answers[&1].ended);
}

/// A drain waits for a client that reads slowly, as that of HTTP/1.1 does. Streams without progress
/// are reset as always.
#[test]
fn a_drain_waits_for_windows() {
    let (_directory, root) = site(10);
    let mut talk = Talk::new(&root);
    let narrow = opening(&[(setting::INITIAL_WINDOW_SIZE, 5)]);
    talk.send(&[narrow, get(1, "/1.bin"), get(3, "/2.bin")].concat());
    talk.harness.drain(talk.session);
    talk.send(&[]);
    for _ in 0..3 {
        let said = talk.harness.expire(talk.session, talk.now, Timer::Receive);
        assert_eq!(said.step, Step::Receive(ReceiveTimeout::Own));
    }
    talk.send(&[window_update(1, 1 << 20), window_update(3, 1 << 20)].concat());
    assert!(talk.peer.answers[&1].ended && talk.peer.answers[&3].ended);
}

/// Nobody waits for a lookup whose stream was reset.
#[test]
fn reset_streams_hold_nobody() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    talk.settles = false;
    talk.send(&[get(1, "/1.bin"), reset(1, 8)].concat());
    let idle = ReceiveTimeout::KeepAliveSince(talk.now.instant);
    assert_eq!(talk.step, Step::Receive(idle));
    assert!(talk.harness.deadline(talk.session).is_none());
    talk.end_with(&[]);
    assert!(talk.is_over());
}

/// Requests wait for the lookups of streams that were reset: their turn comes then. A client that
/// sends nothing more still gets its answers, also during a drain.
#[test]
fn turns_after_reset_streams() {
    let (_directory, root) = site(10);
    for drains in [false, true] {
        let mut talk = Talk::open(&root);
        talk.settles = false;
        let resets = (0..8).flat_map(|number| reset(2 * number + 1, 8));
        talk.send(&[get_all(), resets.collect()].concat());
        if drains {
            talk.harness.drain(talk.session);
            talk.send(&[]);
            talk.time_out();
        } else {
            talk.end_with(&[]);
        }
        assert!(!talk.is_over(), "drains: {drains}");
        talk.settles = true;
        talk.send(&[]);
        let whole = talk.peer.answers.values().filter(|answer| answer.ended).count();
        assert_eq!(whole, 92);
    }
}

/// Lookups are slow, but they end, so a request that waits for its turn does not stall.
#[test]
fn turns_that_take_long() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    talk.settles = false;
    let absent = (0..100).flat_map(|number| get(2 * number + 1, &format!("/{number}.none")));
    talk.send(&[window_update(0, 1 << 20), absent.collect()].concat());
    for _ in 0..100 {
        talk.now.instant += Duration::from_secs(20);
        let deadline = talk.harness.deadline(talk.session);
        assert!(deadline.is_none_or(|deadline| deadline > talk.now.instant));
        talk.harness.settle(talk.now);
        talk.send(&[]);
    }
    let whole = talk.peer.answers.values().filter(|answer| answer.ended).count();
    assert_eq!(whole, 100);
}

/// A client that sends its content byte by byte has as much time as one that sends none.
#[test]
fn an_upload_that_drips() {
    let (_directory, root) = site(10);
    let mut talk = Talk::open(&root);
    talk.send(&post(1, &[]));
    let began = talk.now.instant;
    let stopped = loop {
        talk.now.instant += Duration::from_secs(10);
        if talk.harness.deadline(talk.session).is_some_and(|at| at <= talk.now.instant) {
            break talk.expire();
        }
        talk.send(&data(1, b"x", false));
    };
    assert_eq!(stopped, [Frame::Reset { stream: 1, code: 0 }]);
    assert!(talk.now.instant - began <= Duration::from_secs(40));
}

/// Streams whose windows stay closed are reset in time, whatever else their client does, and a
/// request that waits for the room that they keep is answered then.
#[test]
fn a_stall_is_a_stall_beside_other_traffic() {
    let (_directory, root) = site(20_000);
    let settings = HttpSettings { files_max: 8, ..HttpSettings::of_root(root) };
    let mut talk = Talk::with(settings);
    let stalled = (0..4).flat_map(|number| get(2 * number + 1, &format!("/{number}.bin")));
    talk.send(&[opening(&[(setting::INITIAL_WINDOW_SIZE, 0)]), stalled.collect()].concat());
    let waits = [get(9, "/9.bin"), window_update(9, 50_000)].concat();
    talk.send(&waits);
    assert!(!talk.peer.answers.contains_key(&9), "there is room for it");
    let began = talk.now.instant;
    while !talk.peer.answers.get(&9).is_some_and(|answer| answer.ended) {
        talk.now.instant += Duration::from_secs(1);
        assert!(talk.now.instant - began <= Duration::from_secs(32), "it waits for ever");
        talk.send(&ping([0; 8]));
        talk.harness.sent(talk.session, talk.now, Sent { bytes: 17, complete: true });
        if talk.harness.deadline(talk.session).is_some_and(|at| at <= talk.now.instant) {
            talk.expire();
        }
    }
    for stream in [1, 3, 5, 7] {
        assert_eq!(talk.peer.answers[&stream].reset, Some(8), "{stream}");
    }
}
