//! Connections: data, ends and closes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringd::driver::{Chain, Completion, Op, Outcome, SendEnd, Token};

use crate::harness::*;
use crate::subject::{Dial, Peer, Subject};

pub(crate) fn each_op_ends_once<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    send(driver, sock, b"hello");
    assert_eq!(driver.in_flight(), 2);
    peer.write_all(b"ab").unwrap();
    let mut all = run_until(driver, |all| lasts(all) == 1 && has_received(all, 2));
    assert_eq!(driver.in_flight(), 1);
    close(driver, sock);
    all.extend(run_lasts(driver, 2));
    driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    for token in [RECEIVE, SEND, CLOSE] {
        let of_token = |completion: &&Completion| completion.token == token && !completion.more;
        assert_eq!(all.iter().filter(of_token).count(), 1);
    }
    drop(all);
    assert_home(driver);
}

pub(crate) fn echo_keeps_every_byte<S: Subject>() {
    const BYTES: usize = 1 << 20;
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let writer = peer.twin();
    let writing = std::thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(3);
        let (bytes, mut writer, mut at) = (pattern(BYTES), writer, 0);
        while at < BYTES {
            let end = BYTES.min(at + random.usize(1..40_000));
            writer.write_all(&bytes[at..end]).unwrap();
            at = end;
        }
        writer.half_close();
    });
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).unwrap();
        bytes
    });
    receive(driver, sock);
    let mut waiting = Some(Box::new(Chain::new()));
    let mut next = Chain::new();
    let mut ended = false;
    let mut closed = false;
    let deadline = Instant::now() + WAIT_MAX;
    while !closed {
        assert!(Instant::now() < deadline);
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        for completion in all {
            match completion.outcome {
                Outcome::Received(Ok(Some(lease))) => next.lend(lease),
                Outcome::Received(Ok(None)) => ended = true,
                Outcome::Sent(result, mut chain) => {
                    result.unwrap();
                    chain.clear();
                    waiting = Some(chain);
                }
                Outcome::Closed => closed = true,
                other => panic!("{other:?}"),
            }
        }
        let Some(mut chain) = waiting.take() else { continue };
        if !next.is_empty() {
            std::mem::swap(&mut *chain, &mut next);
            driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::Open });
        } else if ended {
            ended = false;
            close(driver, sock);
        } else {
            waiting = Some(chain);
        }
    }
    writing.join().unwrap();
    assert!(reading.join().unwrap() == pattern(BYTES));
    assert_home(driver);
}

fn send_to_a_slow_reader<S: Subject>(driver: &mut S, chain: Chain, expected: &[u8]) {
    let (sock, peer) = connect(driver);
    let reading = slow_reader(peer, expected.len());
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == expected);
    close_all(driver, sock);
}

pub(crate) fn slow_reader_gets_memory<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(16 << 20);
    let mut chain = Chain::new();
    chain.share(&Rc::from(&bytes[..]));
    send_to_a_slow_reader(driver, chain, &bytes);
}

pub(crate) fn slow_reader_gets_a_file<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(16 << 20);
    let file = file_of(driver, &bytes);
    let mut chain = Chain::new();
    chain.file(&file, 0..bytes.len() as u64);
    send_to_a_slow_reader(driver, chain, &bytes);
}

pub(crate) fn slow_reader_gets_a_pipelined_chain<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(5 << 20);
    let file = file_of(driver, &bytes);
    let (mut chain, mut expected) = (Chain::new(), Vec::new());
    for range in [100..4_000_000, 7..8, 1_000_000..5 << 20, 0..300_000] {
        chain.copy(b"a head, ");
        chain.file(&file, range.start as u64..range.end as u64);
        expected.extend_from_slice(b"a head, ");
        expected.extend_from_slice(&bytes[range]);
    }
    chain.share(&Rc::from(&bytes[..]));
    expected.extend_from_slice(&bytes);
    send_to_a_slow_reader(driver, chain, &expected);
}

pub(crate) fn fin_ends_output_but_not_input<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    let mut chain = Box::new(Chain::new());
    chain.copy(b"last words");
    driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::HalfClose });
    sent(run_lasts(driver, 1)).unwrap();
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"last words");
    peer.write_all(b"still here").unwrap();
    let all = run_until(driver, |all| has_received(all, 10));
    assert_eq!(received(&all).0, b"still here");
    drop(all);
    close_all(driver, sock);
}

/// With edge-triggered polling both are one event, and no other follows.
pub(crate) fn data_then_end_before_the_first_wait<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for len in [1, 5, 4095, 4096, 4097, 3 * 4096] {
        let (sock, mut peer) = connect(driver);
        let bytes = pattern(len);
        peer.write_all(&bytes).unwrap();
        peer.half_close();
        receive(driver, sock);
        let all = run_lasts(driver, 1);
        assert!(received(&all) == (bytes, true));
        drop(all);
        close_all(driver, sock);
    }
}

pub(crate) fn end_without_data<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    receive(driver, sock);
    assert!(run_none(driver).is_empty());
    drop(peer);
    assert!(received(&run_lasts(driver, 1)).1);
    close_all(driver, sock);
}

pub(crate) fn reset_by_the_peer<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    receive(driver, sock);
    block_send(driver, sock);
    peer.reset();
    let all = run_lasts(driver, 2);
    let errors = all.iter().filter(|completion| {
        matches!(&completion.outcome, Outcome::Received(Err(_)) | Outcome::Sent(Err(_), _))
    });
    // A socket reports its error once, so the other side may see an orderly end.
    assert!(errors.count() >= 1, "{all:?}");
    drop(all);
    close_all(driver, sock);
}

pub(crate) fn close_during_receive<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    assert!(run_none(driver).is_empty());
    close(driver, sock);
    let all = run_lasts(driver, 2);
    assert!(matches!(all.last().unwrap().outcome, Outcome::Closed));
    match last(all, RECEIVE) {
        Outcome::Received(Err(_) | Ok(None)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    assert_home(driver);
}

pub(crate) fn close_during_a_blocked_send<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    block_send(driver, sock);
    close(driver, sock);
    let all = run_lasts(driver, 3);
    assert!(matches!(all.last().unwrap().outcome, Outcome::Closed));
    assert!(sent(all).is_err());
    std::io::copy(&mut peer, &mut std::io::sink()).unwrap();
    assert_home(driver);
}

pub(crate) fn close_with_reset<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    block_send(driver, sock);
    driver.submit(CLOSE, Op::Close { sock, reset: true });
    assert!(sent(run_lasts(driver, 2)).is_err());
    let error = std::io::copy(&mut peer, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_home(driver);
}

/// A reset is no orderly end, even if no bytes are left to discard.
pub(crate) fn reset_after_all_was_sent<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    send(driver, sock, b"half an answer");
    run_lasts(driver, 1);
    peer.read_exact(&mut [0; 14]).unwrap();
    driver.submit(CLOSE, Op::Close { sock, reset: true });
    run_lasts(driver, 2);
    let error = peer.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_home(driver);
}

pub(crate) fn close_releases_the_listener<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, dialer) = listen(driver);
    assert!(run_none(driver).is_empty());
    close(driver, sock);
    let all = run_lasts(driver, 2);
    assert!(matches!(all.last().unwrap().outcome, Outcome::Closed));
    assert!(matches!(last(all, ACCEPT), Outcome::Accepted(Err(_))));
    // A child process of another test holds a duplicate until it calls exec.
    let deadline = Instant::now() + WAIT_MAX;
    while dialer.dial().is_ok() {
        assert!(Instant::now() < deadline, "the listener is still open");
    }
    assert_home(driver);
}

fn panics<R>(act: impl FnOnce() -> R) {
    assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
}

pub(crate) fn both_ends_have_addresses<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let local = driver.local(listener).unwrap();
    let _peers = [dialer.dial().unwrap(), dialer.dial().unwrap()];
    let socks = accepted(&run_until(driver, |all| accepted(all).len() == 2));
    let ends = |sock| (driver.local(sock).unwrap(), driver.peer(sock).unwrap());
    let [one, other] = [ends(socks[0]), ends(socks[1])];
    assert_eq!((one.0, other.0), (local, local), "both connected to the same listener");
    assert!(one.1 != other.1 && one.1 != local && other.1 != local);
    close(driver, socks[0]);
    run_until(driver, |all| lasts(all) == 1);
    panics(|| driver.local(socks[0]));
    panics(|| driver.peer(socks[0]));
    close(driver, socks[1]);
    close(driver, listener);
    run_lasts(driver, 3);
    assert_home(driver);
}

pub(crate) fn stale_socks_panic<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    close_all(driver, sock);
    let (_next, _peer) = connect(driver);
    panics(|| receive(driver, sock));
    panics(|| send(driver, sock, b"x"));
    panics(|| close(driver, sock));
    panics(|| driver.peer(sock));
    panics(|| driver.acknowledged(sock));
}

pub(crate) fn second_op_on_a_side_panics<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    receive(driver, sock);
    panics(|| receive(driver, sock));
}

pub(crate) fn submit_after_close_panics<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    close(driver, sock);
    panics(|| receive(driver, sock));
    panics(|| close(driver, sock));
}

pub(crate) fn nothing_completes_before_the_wait<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    send(driver, sock, b"x");
    assert_eq!((driver.in_flight(), driver.stats().completions), (1, 0));
    peer.set_timeout(Duration::from_millis(20));
    assert!(peer.read(&mut [0; 1]).is_err(), "sent before the wait");
    sent(run_lasts(driver, 1)).unwrap();
    assert_eq!((driver.in_flight(), driver.stats().completions), (0, 1));
    close_all(driver, sock);
}

/// A blocked send must not keep the socket from receiving, nor the reverse.
pub(crate) fn both_directions_at_once<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    block_send(driver, sock);
    for _ in 0..3 {
        peer.write_all(b"ping").unwrap();
        assert!(received(&run_until(driver, |all| has_received(all, 4))).0 == b"ping");
    }
    let reading = slow_reader(peer.twin(), STUCK_BYTES);
    sent(run_lasts(driver, 1)).unwrap();
    reading.join().unwrap();
    peer.write_all(b"pong").unwrap();
    assert!(received(&run_until(driver, |all| has_received(all, 4))).0 == b"pong");
    close_all(driver, sock);
}

/// [`Driver::has_input`] shows what a receive has not returned yet.
pub(crate) fn input_shows_until_it_is_returned<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    assert!(!driver.has_input(sock));
    peer.write_all(b"input").unwrap();
    let until = Instant::now() + WAIT_MAX;
    while !driver.has_input(sock) {
        assert!(Instant::now() < until, "the input does not show");
        driver.wait(Some(Duration::from_millis(1)), &mut Vec::new()).unwrap();
    }
    driver.submit(RECEIVE, Op::RecvMany { sock });
    let all = run_until(driver, |all| received(all).0.len() == 5);
    assert_eq!(received(&all).0, b"input");
    assert!(!driver.has_input(sock));
    drop(all);
    close_all(driver, sock);
}

pub(crate) fn acknowledged_follows_the_reader<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let before = driver.acknowledged(sock).unwrap();
    send(driver, sock, &[1; 1000]);
    sent(run_lasts(driver, 1)).unwrap();
    peer.read_exact(&mut [0; 1000]).unwrap();
    run_until(driver, |_| true);
    let deadline = Instant::now() + WAIT_MAX;
    while driver.acknowledged(sock).unwrap() < before + 1000 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    close_all(driver, sock);
}

pub(crate) fn drop_with_ops_in_flight<S: Subject>() {
    let mut driver = S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(&mut driver);
    receive(&mut driver, sock);
    peer.write_all(b"kept").unwrap();
    let all = run_until(&mut driver, |all| has_received(all, 4));
    let file = file_of(&driver, &pattern(1 << 20));
    let mut chain = Chain::new();
    chain.share(&Rc::from(vec![7; STUCK_BYTES]));
    chain.file(&file, 0..1 << 20);
    send_chain(&mut driver, sock, chain);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    drop(driver);
    // A lease outlives its driver; the file and the socket are released.
    assert_eq!(received(&all).0, b"kept");
    assert_eq!(std::sync::Arc::strong_count(&file), 1);
    let copied = std::io::copy(&mut peer, &mut std::io::sink());
    assert!(copied.is_err() || copied.unwrap() < STUCK_BYTES as u64);
}

/// A hundred connections, each with bytes of its own.
pub(crate) fn many_connections<S: Subject>() {
    const COUNT: usize = 100;
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let peers = std::thread::spawn(move || {
        for number in 0..COUNT {
            let mut peer = dialer.dial().unwrap();
            let words = format!("number {number}");
            peer.write_all(words.as_bytes()).unwrap();
            let mut answer = vec![0; words.len()];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(answer, words.as_bytes());
        }
    });
    let mut socks = HashMap::new();
    let mut closed = 0;
    let deadline = Instant::now() + WAIT_MAX;
    while closed < COUNT {
        assert!(Instant::now() < deadline);
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            match outcome {
                Outcome::Accepted(Ok(sock)) => {
                    let token = Token(1000 + socks.len() as u64);
                    socks.insert(token, sock);
                    driver.submit(token, Op::RecvMany { sock });
                }
                Outcome::Received(Ok(Some(lease))) => {
                    send(driver, socks[&token], &lease);
                }
                Outcome::Received(Ok(None)) => close(driver, socks[&token]),
                Outcome::Sent(result, _) => result.unwrap(),
                Outcome::Closed => closed += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    peers.join().unwrap();
    close_all(driver, listener);
}
