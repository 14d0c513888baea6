//! A session within a layer says what it says without one, in every order of events.

mod rig;

use std::time::Duration;

use fastrand::Rng;

use super::super::service::{HANDSHAKES_PER_TURN, PIECE_BYTES};
use super::*;
use crate::driver::Now;
use crate::secured::toy::{COMPLAINT, HELLO, WELCOME};
use rig::{End, FILE, Guarded, HANDSHAKE, How, LARGE, Line, Player, SMALL, Stage};
use rig::{plaintext, records, serve, shared};

/// The time of the next turn.
fn later(now: &mut Now) -> Now {
    now.instant += Duration::from_micros(100);
    *now
}

/// What a session says without a layer when everything happens at once, and its reports.
fn without_layer(words: &[u8], ended: bool) -> (Vec<u8>, Vec<Sent>, Option<End>) {
    let (mut stage, now) = (Stage::new(), Now::read());
    let mut line: Line<Player> = Line::new(&mut stage, now, 0);
    line.input(&mut stage, now, words, ended);
    while line.sending.is_some() || !line.asks.is_empty() {
        line.sent(&mut stage, now);
        if !line.asks.is_empty() {
            line.reply(&mut stage, now, 0, How::Whole);
        }
    }
    (line.received, stage.reports, line.end)
}

/// The most memory of a session: plaintext that arrives in two records after it is full, two
/// chains, and a piece of a file.
const MEMORY_MAX: usize = 2 * (PLAIN_MAX + 2 * WIRE_BYTES) + 2 * (128 * 1024) + PIECE_BYTES;

/// Plays words in a random order of events. Returns the line after its end.
fn play(random: &mut Rng, shared: &mut rig::Shared, words: &[u8], ends: u8) -> Guarded {
    let mut now = Now::read();
    let mut lines = [Guarded::new(shared, now, 0)];
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = words;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(random.usize(1..=rest.len()));
        (rest, _) = (others, parts.push(part));
    }
    if ends == 1 {
        parts.push(b"");
    }
    let wire = records(&parts);
    let cut_max = [1, 3, 30, 1000][random.usize(..4)];
    let (mut given, mut steps) = (0, 0);
    while lines[0].end.is_none() && steps < 20_000 {
        steps += 1;
        later(&mut now);
        let line = &mut lines[0];
        match random.u8(..4) {
            0 if given < wire.len() => {
                let end = wire.len().min(given + random.usize(1..=cut_max));
                line.input(shared, now, &wire[given..end], false);
                given = end;
                if given == wire.len() && ends == 2 {
                    line.input(shared, now, b"", true);
                }
            }
            1 if !line.asks.is_empty() => {
                let place = random.usize(..line.asks.len());
                let how = if random.u8(..4) == 0 { How::Busy } else { How::Whole };
                line.reply(shared, now, place, how);
            }
            2 => line.sent(shared, now),
            _ => {}
        }
        let memory = lines[0].session.memory_in_use();
        assert!(memory <= MEMORY_MAX, "{memory} bytes");
        serve(shared, now, &mut lines);
        lines[0].tick(shared, now);
        let line = &lines[0];
        if given == wire.len() && line.asks.is_empty() && line.sending.is_none() && ends == 0 {
            let waits = matches!(line.step, Step::Receive(_));
            if waits {
                break;
            }
        }
    }
    assert!(steps < 20_000, "the session is stuck: {words:?}, {:?}", lines[0].step);
    let [line] = lines;
    line
}

#[test]
fn what_a_session_says_is_the_same_within_a_layer() {
    let mut random = Rng::with_seed(1);
    for round in 0..if cfg!(miri) { 3 } else { 1500 } {
        let letters = if cfg!(miri) { &b"mmmp"[..] } else { b"mmmmsspfww" };
        let count = random.usize(0..if cfg!(miri) { 5 } else { 30 });
        let mut words: Vec<u8> =
            (0..count).map(|_| letters[random.usize(..letters.len())]).collect();
        let ends = random.u8(..4);
        if ends == 3 {
            words.push(b"eq"[random.usize(..2)]);
        }
        let (said, reports, _) = without_layer(&words, ends == 1 || ends == 2);
        let mut shared = shared();
        let line = play(&mut random, &mut shared, &words, ends);
        let (plain, ended) = plaintext(&line.received);
        assert!(plain == said, "round {round}: {words:?}");
        assert_eq!(ended, ends != 0, "round {round}");
        if ends != 0 {
            assert!(matches!(line.end, Some(End::Closed { .. })), "{:?}", line.end);
        } else {
            let session = &line.session;
            assert_eq!(session.memory_in_use(), 0, "an idle session keeps nothing");
        }
        let sum = |reports: &[Sent]| reports.iter().map(|sent| sent.bytes).sum::<u64>();
        assert!(shared.inner.reports.iter().all(|sent| sent.complete));
        assert_eq!(sum(&shared.inner.reports), sum(&reports), "round {round}: {words:?}");
    }
}

/// If each event comes when all others are done, even the reports are the same.
#[test]
fn reports_are_those_of_a_plain_connection() {
    for words in [&b"mmm"[..], b"mf", b"fmp", b"ffffff", b"mwmwf", b"sssssmmm", b"mx", b"x", b"we"]
    {
        let (said, reports, end) = without_layer(words, false);
        let mut shared = shared();
        let mut now = Now::read();
        let mut lines = [Guarded::new(&mut shared, now, 0)];
        lines[0].input(&mut shared, now, &records(&[]), false);
        lines[0].sent(&mut shared, now);
        let wire = records(&[words])[2 + HELLO.len()..].to_vec();
        // The position in the stream goes on behind the greeting.
        lines[0].input(&mut shared, later(&mut now), &wire, false);
        while lines[0].sending.is_some() || !lines[0].asks.is_empty() {
            if !lines[0].asks.is_empty() {
                lines[0].reply(&mut shared, now, 0, How::Whole);
            }
            lines[0].sent(&mut shared, later(&mut now));
        }
        let text = String::from_utf8_lossy(words);
        assert!(plaintext(&lines[0].received).0 == said, "{text}");
        assert_eq!(shared.inner.reports, reports, "{text}");
        assert_eq!(lines[0].end == Some(End::Reset), end == Some(End::Reset), "{text}");
    }
}

/// A connection that fails reports as sent no more than its peer has, and not much less.
#[test]
fn a_send_that_fails_is_reported_in_part() {
    for bytes in [0, 1, 5000, 10_000] {
        let (mut shared, now) = (shared(), Now::read());
        let mut line = Guarded::new(&mut shared, now, 0);
        line.input(&mut shared, now, &records(&[b"sss"]), false);
        line.sent(&mut shared, now);
        assert!(line.sending.is_some());
        line.fail(&mut shared, now, bytes);
        let [sent] = shared.inner.reports[..] else { panic!("{:?}", shared.inner.reports) };
        // The first piece was sent, and a part of the second one.
        let part = sent.bytes - PIECE_BYTES as u64;
        assert!(!sent.complete && part <= bytes && part + 500 >= bytes, "{sent:?}");
        assert_eq!(shared.inner.closed, 1);
    }
}

/// Nothing of the only send has left.
#[test]
fn an_answer_that_is_lost_is_reported() {
    let (mut shared, now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    line.input(&mut shared, now, &records(&[b"m"]), false);
    assert!(line.sending.is_some());
    line.fail(&mut shared, now, 0);
    assert_eq!(shared.inner.reports, [Sent { bytes: 0, complete: false }]);
}

/// Input comes while an answer is sent, more than is opened at once. Then the session takes it
/// without an answer: what waits behind it must be opened without another event.
#[test]
fn input_that_waits_behind_plaintext_is_opened() {
    let (mut shared, now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    let filler = [b'n'; 16_000];
    let words: [&[u8]; 7] = [b"fh", &filler, &filler, &filler, &filler, &filler, b"m"];
    line.input(&mut shared, now, &records(&words), false);
    while line.sending.is_some() || !line.asks.is_empty() {
        if !line.asks.is_empty() {
            line.reply(&mut shared, now, 0, How::Whole);
        }
        line.sent(&mut shared, now);
    }
    assert_eq!(plaintext(&line.received).0.len(), FILE + SMALL);
    assert!(line.inbox.is_empty() && matches!(line.step, Step::Receive(_)), "{:?}", line.step);
}

#[test]
fn a_file_that_shrinks_ends_without_an_end() {
    let (mut shared, mut now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    line.input(&mut shared, now, &records(&[b"fe"]), false);
    line.sent(&mut shared, later(&mut now));
    line.reply(&mut shared, now, 0, How::Whole);
    // The first piece is being sent, and the second one is wanted.
    line.reply(&mut shared, now, 0, How::Short);
    assert_eq!(line.end, Some(End::Reset));
    assert!(!plaintext(&line.received).1);
    assert_eq!(shared.inner.reports.len(), 1);
    assert!(!shared.inner.reports[0].complete);
}

#[test]
fn a_read_that_is_busy_is_asked_again() {
    let (mut shared, mut now) = (shared(), Now::read());
    let mut lines = [Guarded::new(&mut shared, now, 0)];
    lines[0].input(&mut shared, now, &records(&[b"fe"]), false);
    lines[0].sent(&mut shared, now);
    for _ in 0..3 {
        lines[0].reply(&mut shared, now, 0, How::Busy);
        assert!(lines[0].asks.is_empty() && lines[0].step == Step::Wait);
        assert_eq!(shared.deadline(), None, "the worker is not kept busy meanwhile");
        lines[0].tick(&mut shared, now);
        assert!(lines[0].asks.is_empty(), "too early");
        now.instant += RETRY_AFTER;
        lines[0].tick(&mut shared, now);
        assert_eq!(lines[0].asks.len(), 1);
    }
    while lines[0].end.is_none() {
        if !lines[0].asks.is_empty() {
            lines[0].reply(&mut shared, now, 0, How::Whole);
        }
        lines[0].sent(&mut shared, now);
    }
    let (plain, ended) = plaintext(&lines[0].received);
    assert!(plain.len() == FILE && ended);
}

/// A reply that comes when the session has finished, and its file is still being read.
#[test]
fn a_session_that_has_finished_gets_nothing_more() {
    let (mut shared, now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    line.input(&mut shared, now, &records(&[b"fq"]), false);
    assert!(line.end.is_none());
    line.sent(&mut shared, now);
    let place = line.asks.iter().position(|(id, _)| id.0 == 3).unwrap();
    line.reply(&mut shared, now, place, How::Whole);
    line.drain(&mut shared, now);
    assert_eq!(line.session.deadline(), None);
}

#[test]
fn a_fault_is_answered_with_the_complaint() {
    for (wire, greeted) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], false),
        (&[records(&[]), vec![0xff, 0xff, 0]].concat()[..], true),
        (&[records(&[b"mm"]), vec![0xff, 0xff, 0]].concat()[..], true),
    ] {
        for cut in 0..wire.len() {
            let (mut shared, now) = (shared(), Now::read());
            let mut line = Guarded::new(&mut shared, now, 0);
            line.input(&mut shared, now, &wire[..cut], false);
            line.input(&mut shared, now, &wire[cut..], false);
            while line.sending.is_some() {
                line.sent(&mut shared, now);
            }
            assert_eq!(line.end, Some(End::Closed { linger: true }), "cut at {cut}");
            assert!(line.received.ends_with(COMPLAINT));
            assert_eq!(line.received.len() > COMPLAINT.len(), greeted);
            assert!(!plaintext(&line.received).1, "no end of output is said");
        }
    }
}

#[test]
fn a_handshake_that_takes_too_long_ends_the_connection() {
    for timer in [Timer::Deadline, Timer::Receive] {
        let (mut shared, now) = (shared(), Now::read());
        let mut line = Guarded::new(&mut shared, now, 0);
        line.input(&mut shared, now, &records(&[])[..3], false);
        assert_eq!(line.step, Step::Receive(ReceiveTimeout::Header));
        assert_eq!(line.session.deadline(), Some(now.instant + HANDSHAKE));
        line.expire(&mut shared, now, timer);
        assert_eq!(line.end, Some(End::Closed { linger: false }));
        assert!(line.received.is_empty());
    }
}

#[test]
fn a_handshake_that_is_cut_off_ends_the_connection() {
    let (mut shared, now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    line.input(&mut shared, now, &records(&[])[..3], true);
    assert_eq!(line.end, Some(End::Closed { linger: false }));
}

/// The session that begins during a drain is told.
#[test]
fn a_drain_during_a_handshake_reaches_the_session() {
    let (mut shared, now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    line.input(&mut shared, now, &records(&[])[..3], false);
    line.drain(&mut shared, now);
    assert_eq!(line.step, Step::Receive(ReceiveTimeout::Header));
    line.input(&mut shared, now, &records(&[b"m"])[3..], false);
    assert!(line.session.draining && line.session.inner.is_some());
    line.sent(&mut shared, now);
    line.sent(&mut shared, now);
    assert_eq!(plaintext(&line.received).0.len(), SMALL);
}

#[test]
fn handshakes_take_turns() {
    const COUNT: usize = 3 * HANDSHAKES_PER_TURN as usize;
    let (mut shared, mut now) = (shared(), Now::read());
    let mut lines: Vec<Guarded> =
        (0..COUNT).map(|number| Guarded::new(&mut shared, now, number as u32)).collect();
    for line in &mut lines {
        line.input(&mut shared, now, &records(&[]), false);
    }
    let begun = |lines: &[Guarded]| -> Vec<usize> {
        (0..COUNT).filter(|at| lines[*at].session.inner.is_some()).collect()
    };
    let per_turn = HANDSHAKES_PER_TURN as usize;
    serve(&mut shared, now, &mut lines);
    assert_eq!(begun(&lines), (0..per_turn).collect::<Vec<_>>());
    assert!(lines[per_turn..].iter().all(|line| line.step == Step::Wait));
    assert_eq!(shared.deadline(), Some(now.instant), "the next turn begins at once");
    // One of those that wait leaves, and one that comes now waits behind all others.
    lines[per_turn + 2].fail(&mut shared, now, 0);
    later(&mut now);
    let mut late = Guarded::new(&mut shared, now, 900);
    late.input(&mut shared, now, &records(&[]), false);
    assert!(late.session.inner.is_none());
    serve(&mut shared, now, &mut lines);
    let expected: Vec<usize> = (0..=2 * per_turn).filter(|at| *at != per_turn + 2).collect();
    assert_eq!(begun(&lines), expected);
    lines.push(late);
    serve(&mut shared, later(&mut now), &mut lines);
    assert!(lines[COUNT].session.inner.is_some());
    assert_eq!(shared.deadline(), None);
}

/// What a worker's buffer once held is not kept by a connection with a few bytes.
#[test]
fn a_connection_keeps_no_more_than_it_needs() {
    let (mut shared, mut now) = (shared(), Now::read());
    let mut first = Guarded::new(&mut shared, now, 0);
    let many = vec![b'-'; 16_000];
    first.input(&mut shared, now, &records(&[&many, &many]), false);
    assert!(shared.spares.take_plain().capacity() > 0, "the buffer is used again");
    let mut first = Guarded::new(&mut shared, later(&mut now), 1);
    first.input(&mut shared, now, &records(&[&many]), false);
    let mut second = Guarded::new(&mut shared, later(&mut now), 2);
    second.input(&mut shared, now, &records(&[b"wmmm"]), false);
    assert_eq!(second.session.plain.len(), 3);
    assert!(second.session.plain.capacity() < 100);
}

/// A peer that sends and does not read fills the plaintext, then the inbox of its connection.
#[test]
fn a_peer_that_does_not_read_uses_bounded_memory() {
    let (mut shared, now) = (shared(), Now::read());
    let mut line = Guarded::new(&mut shared, now, 0);
    let words = vec![b's'; 16_000];
    let words: Vec<&[u8]> = vec![&words; if cfg!(miri) { 2 } else { 20 }];
    let mut most = 0;
    for piece in records(&words).chunks(4096) {
        line.input(&mut shared, now, piece, false);
        most = most.max(line.session.memory_in_use());
    }
    assert!((LARGE..=MEMORY_MAX).contains(&most), "{most} bytes");
    assert!(line.session.plain.len() <= PLAIN_MAX + 2 * WIRE_BYTES);
    assert_eq!(line.received, b"");
    line.sent(&mut shared, now);
    assert!(line.received.ends_with(&records(&[])[..0]) && line.received.len() > WELCOME.len());
}
