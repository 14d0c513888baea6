//! Cancels. A cancel is a request; the last completion of the op reports its result.

use std::io::{Read, Write};
use std::rc::Rc;

use ringd::driver::{Chain, Op, Outcome, SendEnd};

use crate::harness::*;
use crate::subject::{Dial, Subject};

pub(crate) fn cancel_of_a_receive<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    let op = receive(driver, sock);
    assert!(run_none(driver).is_empty());
    driver.cancel(op);
    match last(run_lasts(driver, 1), RECEIVE) {
        Outcome::Received(result) => assert_cancelled(result),
        other => panic!("{other:?}"),
    }
    close_all(driver, sock);
}

pub(crate) fn cancel_of_a_blocked_send<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    let op = block_send(driver, sock);
    driver.cancel(op);
    match last(run_lasts(driver, 1), SEND) {
        Outcome::Sent(result, chain) => {
            assert_cancelled(result);
            assert!(!chain.is_empty());
        }
        other => panic!("{other:?}"),
    }
    close_all(driver, sock);
}

pub(crate) fn cancel_of_an_accept<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    let _peer = dialer.dial().unwrap();
    let op = driver.submit(ACCEPT, Op::AcceptMany { listener });
    let all = run_until(driver, |all| !all.is_empty());
    let Outcome::Accepted(Ok(first)) = all[0].outcome else { panic!("{all:?}") };
    driver.cancel(op);
    match last(run_lasts(driver, 1), ACCEPT) {
        Outcome::Accepted(result) => assert_cancelled(result),
        other => panic!("{other:?}"),
    }
    // The listener still works.
    let _second = dialer.dial().unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    let all = run_until(driver, |all| !all.is_empty());
    let Outcome::Accepted(Ok(second)) = all[0].outcome else { panic!("{all:?}") };
    for sock in [first, second, listener] {
        close(driver, sock);
    }
    run_lasts(driver, 4);
    assert_home(driver);
}

pub(crate) fn cancel_of_a_finished_op<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    let op = send(driver, sock, b"x");
    sent(run_lasts(driver, 1)).unwrap();
    driver.cancel(op);
    assert!(run_none(driver).is_empty());
    close_all(driver, sock);
    driver.cancel(op);
    assert!(run_none(driver).is_empty());
}

pub(crate) fn cancel_spares_the_next_op<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let first = receive(driver, sock);
    driver.cancel(first);
    run_lasts(driver, 1);
    receive(driver, sock);
    driver.cancel(first);
    assert!(run_none(driver).is_empty());
    peer.write_all(b"for the second").unwrap();
    let all = run_until(driver, |all| has_received(all, 14));
    drop(all);
    close_all(driver, sock);
}

/// Cancelling by the name of a finished send leaves later sends alone, even if they are blocked.
pub(crate) fn cancel_spares_the_next_send<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    let first = block_send(driver, sock);
    driver.cancel(first);
    let Outcome::Sent(Err(_), chain) = last(run_lasts(driver, 1), SEND) else {
        panic!("the peer has not read the rest")
    };
    let left = STUCK_BYTES - chain.remaining() as usize;
    block_send(driver, sock);
    for _ in 0..3 {
        driver.cancel(first);
        assert!(run_none(driver).is_empty());
    }
    driver.cancel(first);
    let reading = slow_reader(peer, left + STUCK_BYTES);
    sent(run_lasts(driver, 1)).unwrap();
    reading.join().unwrap();
    close_all(driver, sock);
}

/// Data that arrives while no receive is armed is returned by the next receive.
pub(crate) fn receive_again_after_a_cancel<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    for round in 0..100u8 {
        let op = receive(driver, sock);
        run_until(driver, |all| round == 0 || has_received(all, 1));
        driver.cancel(op);
        run_lasts(driver, 1);
        peer.write_all(&[round]).unwrap();
        run_none_fast(driver);
    }
    close_all(driver, sock);
}

/// More ops on one side than an op's name can tell apart, each of them cancelled.
pub(crate) fn many_cancels<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    for _ in 0..200 {
        let op = send(driver, sock, b"perhaps");
        driver.cancel(op);
        run_lasts(driver, 1);
        driver.cancel(op);
    }
    send(driver, sock, b"sent");
    run_lasts(driver, 1);
    close_all(driver, sock);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert!(got.ends_with(b"sent"));
}

/// An op that is cancelled many times ends once, and its socket closes.
pub(crate) fn cancel_many_times<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    let op = block_send(driver, sock);
    for _ in 0..1000 {
        driver.cancel(op);
    }
    close(driver, sock);
    assert!(sent(run_lasts(driver, 2)).is_err());
    assert_home(driver);
}

/// The name of an op that ended long ago cancels none of the ops after it.
pub(crate) fn cancel_with_an_old_name<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let old = receive(driver, sock);
    let mut op = old;
    for _ in 0..300 {
        driver.cancel(op);
        run_lasts(driver, 1);
        op = receive(driver, sock);
        driver.cancel(old);
    }
    peer.write_all(b"still there").unwrap();
    run_until(driver, |all| has_received(all, 11));
    close_all(driver, sock);
}

/// The driver may have handed the send to the kernel, or not yet.
pub(crate) fn cancel_of_a_send_that_was_just_submitted<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, _peer) = connect(driver);
    let mut chain = Chain::new();
    chain.share(&Rc::from(vec![7; STUCK_BYTES]));
    let op = send_chain(driver, sock, chain);
    driver.cancel(op);
    // The peer does not read, so nothing else ends the send.
    assert_cancelled(sent(run_lasts(driver, 1)));
    close_all(driver, sock);
}

/// A send that does not complete leaves the connection open for the next one.
pub(crate) fn a_failed_send_with_fin_sends_no_fin<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    let mut chain = Box::new(Chain::new());
    chain.share(&Rc::from(vec![7; STUCK_BYTES]));
    let op = driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::HalfClose });
    assert!(run_none(driver).is_empty());
    driver.cancel(op);
    let Outcome::Sent(Err(_), chain) = last(run_lasts(driver, 1), SEND) else {
        panic!("the peer has not read the rest")
    };
    let left = STUCK_BYTES - chain.remaining() as usize;
    let reading = slow_reader(peer, left + 4);
    send(driver, sock, b"next");
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap().ends_with(b"next"));
    close_all(driver, sock);
}
