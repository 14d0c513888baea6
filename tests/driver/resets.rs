//! Peers that reset the connection at the worst moment of each op; and both orders of ending.

use std::io::{Read, Write};
use std::rc::Rc;

use ringd::driver::{Chain, Completion, Limits, Op, Outcome, SendEnd, Sock};

use crate::harness::*;
use crate::subject::{Dial, Peer, Subject};

/// Every op of a reset socket ends, once, and the socket can be closed.
fn assert_ends<S: Subject>(driver: &mut S, sock: Sock, ops: usize) -> Vec<Completion> {
    let mut all = run_lasts(driver, ops);
    close(driver, sock);
    all.extend(run_lasts(driver, 1));
    assert_eq!(lasts(&all), ops + 1);
    assert!(matches!(all.last().unwrap().outcome, Outcome::Closed));
    assert_eq!(driver.in_flight(), 0);
    all
}

pub(crate) fn reset_during_an_idle_receive<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    receive(driver, sock);
    assert!(run_none(driver).is_empty());
    peer.reset();
    let Outcome::Received(result) = last(assert_ends(driver, sock, 1), RECEIVE) else {
        panic!("a receive ends with `Received`")
    };
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_home(driver);
}

/// A receive that waits for a buffer reports the reset once it has one.
pub(crate) fn reset_during_a_starved_receive<S: Subject>() {
    let driver = &mut S::open(&Limits { buffers: 2, buffer_bytes: 64, ..limits() }).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(1000)).unwrap();
    receive(driver, sock);
    let held = run_until(driver, |all| has_received(all, 128));
    assert!(run_none(driver).is_empty());
    peer.reset();
    run_none(driver);
    drop(held);
    let deadline = std::time::Instant::now() + WAIT_MAX;
    let mut ended = false;
    while !ended {
        assert!(std::time::Instant::now() < deadline);
        // Each lease is returned at once, or the receive would starve again.
        ended = lasts(&run_none(driver)) == 1;
    }
    close_all(driver, sock);
}

pub(crate) fn reset_during_a_send_of_memory<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    block_send(driver, sock);
    peer.reset();
    assert!(sent(assert_ends(driver, sock, 1)).is_err());
    assert_home(driver);
}

/// A failed send releases its file.
pub(crate) fn reset_during_a_send_of_a_file<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    let bytes = pattern(STUCK_BYTES);
    let file = file_of(driver, &bytes);
    let mut chain = Chain::new();
    chain.copy(b"head");
    chain.file(&file, 0..bytes.len() as u64);
    send_chain(driver, sock, chain);
    for _ in 0..3 {
        assert!(run_none(driver).is_empty());
    }
    peer.reset();
    assert!(sent(assert_ends(driver, sock, 1)).is_err());
    assert_eq!(std::sync::Arc::strong_count(&file), 1);
    assert_home(driver);
}

pub(crate) fn reset_during_a_close<S: Subject>() {
    for reset in [false, true] {
        let driver = &mut S::open(&limits()).unwrap();
        let (sock, peer) = connect(driver);
        receive(driver, sock);
        block_send(driver, sock);
        driver.submit(CLOSE, Op::Close { sock, reset });
        peer.reset();
        assert_eq!(lasts(&run_lasts(driver, 3)), 3);
        assert_home(driver);
    }
}

pub(crate) fn reset_before_the_first_op<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(b"lost, perhaps").unwrap();
    peer.reset();
    receive(driver, sock);
    assert_ends(driver, sock, 1);
    let (sock, peer) = connect(driver);
    peer.reset();
    let mut chain = Chain::new();
    chain.share(&Rc::from(vec![7; STUCK_BYTES]));
    send_chain(driver, sock, chain);
    assert!(sent(assert_ends(driver, sock, 1)).is_err());
    assert_home(driver);
}

/// An accept continues after connections that were reset before it took them.
pub(crate) fn reset_before_the_accept<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    for _ in 0..3 {
        dialer.dial().unwrap().reset();
    }
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    run_none(driver);
    let mut peer = dialer.dial().unwrap();
    peer.write_all(b"alive").unwrap();
    let (mut socks, mut words) = (Vec::new(), Vec::new());
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while words != b"alive" {
        assert!(std::time::Instant::now() < deadline, "{words:?}");
        let all = run_until(driver, |all| !all.is_empty());
        // Several sockets may end in one turn, so this cannot be the input of one.
        for completion in &all {
            if let Outcome::Received(Ok(Some(lease))) = &completion.outcome {
                words.extend_from_slice(lease);
            }
        }
        for sock in accepted(&all) {
            receive(driver, sock);
            socks.push(sock);
        }
    }
    close(driver, listener);
    for sock in socks {
        close(driver, sock);
    }
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while driver.in_flight() > 0 {
        assert!(std::time::Instant::now() < deadline);
        run_none(driver);
    }
    assert_home(driver);
}

/// The peer ends first, then the driver, which still has much to send.
pub(crate) fn the_peer_ends_first<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(8 << 20);
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    peer.write_all(b"question").unwrap();
    peer.half_close();
    assert_eq!(received(&run_lasts(driver, 1)), (b"question".to_vec(), true));
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    let mut chain = Box::new(Chain::new());
    chain.share(&Rc::from(&bytes[..]));
    driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::HalfClose });
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == bytes);
    // A second receive after the end reports the end again.
    receive(driver, sock);
    let Outcome::Received(Ok(None) | Err(_)) = last(run_lasts(driver, 1), RECEIVE) else {
        panic!("a receive after the end returned data")
    };
    close_all(driver, sock);
}

/// The driver ends first, and receives all that a slow peer still sends.
pub(crate) fn the_driver_ends_first<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let bytes = pattern(1 << 20);
    let (sock, mut peer) = connect(driver);
    let mut chain = Box::new(Chain::new());
    chain.copy(b"last words");
    driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::HalfClose });
    sent(run_lasts(driver, 1)).unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"last words");
    let writing = std::thread::spawn({
        let bytes = bytes.clone();
        move || {
            bytes.chunks(10_000).for_each(|chunk| peer.write_all(chunk).unwrap());
            peer.half_close();
            peer
        }
    });
    receive(driver, sock);
    let (mut got, mut end) = (Vec::new(), false);
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while !end {
        assert!(std::time::Instant::now() < deadline, "{} bytes", got.len());
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        let (bytes, ended) = received(&all);
        got.extend(bytes);
        end = ended;
    }
    assert!(got == bytes);
    writing.join().unwrap();
    close_all(driver, sock);
}

/// The peer has sent what nobody reads. A close that finds it resets the connection; what was sent
/// before must be on its way by then.
pub(crate) fn a_close_follows_the_last_send<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (_, dialer) = listen(driver);
    for unread in [false, true] {
        let mut peer = dialer.dial().unwrap();
        if unread {
            peer.write_all(b"one more question").unwrap();
        }
        let all = run_until(driver, |all| !all.is_empty());
        let sock = accepted(&all)[0];
        let mut chain = Box::new(Chain::new());
        chain.copy(b"last words");
        driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::Close });
        sent(run_lasts(driver, 1)).unwrap();
        driver.submit(CLOSE, Op::Close { sock, reset: false });
        run_lasts(driver, 1);
        let mut got = [0; 10];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"last words");
    }
}
