//! Cancels that race with their target: whichever is first, nothing is lost or repeated, and the
//! one last completion is correct.

use std::io::{Read, Write};
use std::time::Duration;

use ringd::driver::{Chain, Completion, Op, OpId, Outcome, is_cancelled};

use crate::harness::*;
use crate::subject::{Dial, Files, Peer, Subject};

/// The op has ended, but its completion is not returned yet: the cancel is too late or just in
/// time, and the op ends once.
pub(crate) fn cancel_before_the_completion_is_returned<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    files.write("page", b"a page");
    let (root, file) = (files.root(), files.open("page"));
    let (sock, mut peer) = connect(driver);
    for round in 0..40 {
        let buffer = Vec::with_capacity(100);
        let (op, token) = match round % 4 {
            0 => {
                let op = Op::OpenFile { root: root.clone(), path: c"page".into() };
                (driver.submit(FILE, op), FILE)
            }
            1 => {
                let op = Op::ReadFile { file: file.clone(), offset: 0, buffer };
                (driver.submit(FILE, op), FILE)
            }
            2 => (send(driver, sock, b""), SEND),
            _ => (send(driver, sock, b"x"), SEND),
        };
        assert_eq!(driver.in_flight(), 1);
        let cancels = if round % 3 == 0 { 2 } else { 1 };
        (0..cancels).for_each(|_| driver.cancel(op));
        assert_eq!(driver.in_flight(), 1, "its last completion was not returned yet");
        let mut all = run_lasts(driver, 1);
        driver.cancel(op);
        driver.wait(Some(Duration::from_millis(1)), &mut all).unwrap();
        assert!(all.len() == 1 && all[0].token == token && !all[0].more, "{all:?}");
        match all.pop().unwrap().outcome {
            Outcome::Opened(Err(error)) => assert!(is_cancelled(&error), "{error}"),
            Outcome::FileRead(Err(error), buffer) => {
                assert!(is_cancelled(&error) && buffer.is_empty() && buffer.capacity() >= 100);
            }
            Outcome::FileRead(Ok(count), buffer) => {
                assert_eq!((count, &buffer[..]), (6, &b"a page"[..]));
            }
            Outcome::Sent(Err(error), _) => assert!(is_cancelled(&error), "{error}"),
            _ => {}
        }
    }
    close(driver, sock);
    run_lasts(driver, 1);
    peer.read_to_end(&mut Vec::new()).unwrap();
    assert_home(driver);
}

/// A stream whose receive is cancelled and armed again at any moment is still complete.
pub(crate) fn cancels_lose_no_byte<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(400_000);
    let (sock, mut peer) = connect(driver);
    let writing = std::thread::spawn({
        let bytes = bytes.clone();
        move || {
            for (number, chunk) in bytes.chunks(1300).enumerate() {
                peer.write_all(chunk).unwrap();
                if number % 8 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            peer
        }
    });
    let mut random = fastrand::Rng::with_seed(11);
    let (mut got, mut cancels) = (Vec::new(), 0);
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while got.len() < bytes.len() {
        assert!(std::time::Instant::now() < deadline, "{} bytes", got.len());
        let op = receive(driver, sock);
        let mut all = Vec::new();
        if random.bool() {
            driver.wait(Some(Duration::from_micros(random.u64(..300))), &mut all).unwrap();
        }
        driver.cancel(op);
        if random.bool() {
            driver.cancel(op);
        }
        cancels += 1;
        let before = lasts(&all);
        all.extend(run_until(driver, |more| before + lasts(more) == 1));
        got.extend(received(&all).0);
        assert!(bytes.starts_with(&got), "after {cancels} cancels");
    }
    drop(writing.join().unwrap());
    close_all(driver, sock);
}

/// The chain of a cancelled send shows how much of it was sent; nothing more is sent later.
pub(crate) fn cancelled_sends_report_how_far_they_got<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(200_000);
    let file = file_of(driver, &bytes);
    let (sock, mut peer) = connect(driver);
    let mut random = fastrand::Rng::with_seed(12);
    let mut expected = Vec::new();
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    for round in 0..60 {
        let (mut chain, mut sending) = (Chain::new(), Vec::new());
        for _ in 0..random.usize(1..4) {
            let start = random.usize(..bytes.len());
            let end = random.usize(start..bytes.len());
            match random.u8(..3) {
                0 => chain.copy(&bytes[start..end]),
                1 => chain.share(&std::rc::Rc::from(&bytes[start..end])),
                _ => chain.file(&file, start as u64..end as u64),
            }
            sending.extend_from_slice(&bytes[start..end]);
        }
        let op = send_chain(driver, sock, chain);
        let mut all = Vec::new();
        if round % 3 > 0 {
            driver.wait(Some(Duration::from_micros(random.u64(..200))), &mut all).unwrap();
        }
        driver.cancel(op);
        let before = lasts(&all);
        all.extend(run_until(driver, |more| before + lasts(more) == 1));
        let Outcome::Sent(result, chain) = last(all, SEND) else {
            panic!("a send ends with `Sent`")
        };
        match result {
            Ok(()) => assert_eq!(chain.remaining(), 0),
            Err(error) => assert!(is_cancelled(&error), "{error}"),
        }
        let left = sending.len() - chain.remaining() as usize;
        expected.extend_from_slice(&sending[..left]);
    }
    close_all(driver, sock);
    let got = reading.join().unwrap();
    assert!(got == expected, "{} of {} bytes", got.len(), expected.len());
}

/// Cancelling an accept and accepting again loses no connection of the queue.
pub(crate) fn cancelled_accepts_lose_no_connection<S: Subject>() {
    const COUNT: usize = 60;
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    let dialling = std::thread::spawn(move || {
        let dial = |number: usize| {
            if number.is_multiple_of(5) {
                std::thread::sleep(Duration::from_millis(1));
            }
            dialer.dial().unwrap()
        };
        (0..COUNT).map(dial).collect::<Vec<_>>()
    });
    let mut random = fastrand::Rng::with_seed(13);
    let mut socks = Vec::new();
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while socks.len() < COUNT {
        assert!(std::time::Instant::now() < deadline, "{} of {COUNT}", socks.len());
        let op = driver.submit(ACCEPT, Op::AcceptMany { listener });
        let mut all = Vec::new();
        if random.bool() {
            driver.wait(Some(Duration::from_micros(random.u64(..500))), &mut all).unwrap();
        }
        driver.cancel(op);
        let before = lasts(&all);
        all.extend(run_until(driver, |more| before + lasts(more) == 1));
        socks.extend(accepted(&all));
    }
    let peers = dialling.join().unwrap();
    // Each socket is a different client.
    for sock in socks.iter().copied() {
        send(driver, sock, b"x");
        sent(run_lasts(driver, 1)).unwrap();
        close(driver, sock);
        run_lasts(driver, 1);
    }
    for mut peer in peers {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"x");
    }
    close_all(driver, listener);
}

/// The end of input and a cancel at once.
pub(crate) fn cancel_races_with_the_end<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for round in 0..20 {
        let (sock, mut peer) = connect(driver);
        let op = receive(driver, sock);
        if round % 2 == 0 {
            run_none_fast(driver);
        }
        peer.write_all(b"words").unwrap();
        peer.half_close();
        driver.cancel(op);
        let mut all = run_lasts(driver, 1);
        if !received(&all).1 {
            // Whatever the cancel left is still there, including the end.
            let result = all.pop().map(|end| end.outcome);
            assert!(matches!(result, Some(Outcome::Received(Err(error))) if is_cancelled(&error)));
            receive(driver, sock);
            all.extend(run_lasts(driver, 1));
        }
        assert_eq!(received(&all), (b"words".to_vec(), true));
        drop(all);
        close_all(driver, sock);
    }
}

/// A cancel ends the op that it names, on its side, and no other.
pub(crate) fn cancel_ends_one_side<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for cancels_send in [true, false] {
        let (sock, mut peer) = connect(driver);
        let receiving = receive(driver, sock);
        let sending = block_send(driver, sock);
        let (op, other): (OpId, _) =
            if cancels_send { (sending, SEND) } else { (receiving, RECEIVE) };
        driver.cancel(op);
        driver.cancel(op);
        let all = run_lasts(driver, 1);
        assert!(all.iter().all(|completion| completion.token == other), "{all:?}");
        assert!(run_none(driver).is_empty());
        assert_eq!(driver.in_flight(), 1);
        if cancels_send {
            peer.write_all(b"go on").unwrap();
            run_until(driver, |all| has_received(all, 5));
        } else {
            let reading = slow_reader(peer, STUCK_BYTES);
            sent(run_lasts(driver, 1)).unwrap();
            assert!(reading.join().unwrap().iter().all(|byte| *byte == 7));
        }
        close(driver, sock);
        let ops = if cancels_send { 2 } else { 1 };
        let all: Vec<Completion> = run_lasts(driver, ops);
        drop(all);
        assert_home(driver);
    }
}
