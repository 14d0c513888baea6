//! A peer that has ended its output may still be slow to read. (A half-closed socket polls as
//! ready for everything, so io_uring could spin on it.)

use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringd::driver::Chain;

use crate::harness::*;
use crate::subject::{Peer, Subject};

pub(crate) fn half_closed_slow_reader<S: Subject>() {
    let bytes = pattern(16 << 20);
    let driver = &mut S::open(&limits()).unwrap();
    let (mut whole, mut parts, mut file) = (Chain::new(), Chain::new(), Chain::new());
    whole.share(&Rc::from(&bytes[..]));
    bytes.chunks(300_000).for_each(|part| parts.share(&Rc::from(part)));
    file.file(&file_of(driver, &bytes), 0..bytes.len() as u64);
    for chain in [whole, parts, file] {
        send_to_a_half_closed_reader(driver, chain, &bytes);
    }
}

fn send_to_a_half_closed_reader<S: Subject>(driver: &mut S, chain: Chain, bytes: &[u8]) {
    let (sock, mut peer) = connect(driver);
    send_chain(driver, sock, chain);
    assert!(run_none(driver).is_empty());
    peer.half_close();
    assert!(run_none(driver).is_empty());
    let before = driver.stats();
    let (start, mut early) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_millis(200) {
        driver.wait(Some(Duration::from_millis(100)), &mut early).unwrap();
    }
    assert!(early.is_empty(), "{early:?}");
    // A few calls are needed while the socket's buffers grow; a driver that spins makes
    // thousands.
    assert_few_calls(driver, &before, 100, 0);
    let reader = std::thread::spawn({
        let mut got = vec![0; bytes.len()];
        move || {
            peer.read_exact(&mut got).unwrap();
            (got, peer)
        }
    });
    sent(run_lasts(driver, 1)).unwrap();
    let (got, _peer) = reader.join().unwrap();
    assert!(got == bytes);
    close_all(driver, sock);
}

/// Several blocked sends: the end of one leaves the others blocked, but not for ever.
pub(crate) fn half_closed_readers_in_turn<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let mut stuck = Vec::new();
    for _ in 0..3 {
        let (sock, peer) = connect(driver);
        block_send(driver, sock);
        peer.half_close();
        assert!(run_none(driver).is_empty());
        stuck.push((sock, peer));
    }
    for (sock, peer) in stuck {
        let reading = slow_reader(peer, STUCK_BYTES);
        sent(run_lasts(driver, 1)).unwrap();
        assert!(reading.join().unwrap().iter().all(|byte| *byte == 7));
        close(driver, sock);
        run_lasts(driver, 1);
    }
    assert_home(driver);
}

/// Such a send ends like any other if it is cancelled or its socket is closed.
pub(crate) fn half_closed_reader_is_cancelled_or_closed<S: Subject>() {
    for cancel in [true, false] {
        let driver = &mut S::open(&limits()).unwrap();
        let (sock, peer) = connect(driver);
        let op = block_send(driver, sock);
        peer.half_close();
        assert!(run_none(driver).is_empty());
        if cancel {
            driver.cancel(op);
            assert!(sent(run_lasts(driver, 1)).is_err());
            close_all(driver, sock);
        } else {
            close(driver, sock);
            assert!(sent(run_lasts(driver, 2)).is_err());
            assert_home(driver);
        }
    }
}
