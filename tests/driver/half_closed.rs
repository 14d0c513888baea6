//! A peer that has said all it has to say may still take its time to listen. (To io_uring, its
//! half-close makes the socket ready for everything, again and again.)

use std::io::Read;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringd::driver::{Chain, Driver};

use crate::harness::*;
use crate::sockets::*;

pub(crate) fn half_closed_slow_reader<D: Driver>(open: impl Open<D>) {
    let bytes = pattern(16 << 20);
    let (mut whole, mut parts, mut file) = (Chain::new(), Chain::new(), Chain::new());
    whole.share(&Rc::from(&bytes[..]));
    bytes.chunks(300_000).for_each(|part| parts.share(&Rc::from(part)));
    file.file(&temporary_file(&bytes).1, 0..bytes.len() as u64);
    for chain in [whole, parts, file] {
        send_to_a_half_closed_reader(&mut open(&limits()).unwrap(), chain, &bytes);
    }
}

fn send_to_a_half_closed_reader<D: Driver>(driver: &mut D, chain: Chain, bytes: &[u8]) {
    let (sock, mut peer) = connect(driver);
    send_chain(driver, sock, chain);
    assert!(run_none(driver).is_empty());
    peer.shutdown(Shutdown::Write).unwrap();
    assert!(run_none(driver).is_empty());
    let before = driver.stats().system_calls;
    let (start, mut early) = (Instant::now(), Vec::new());
    while start.elapsed() < Duration::from_millis(200) {
        driver.wait(Some(Duration::from_millis(100)), &mut early).unwrap();
    }
    assert!(early.is_empty(), "{early:?}");
    let calls = driver.stats().system_calls - before;
    // Some while the socket's buffers still grow; a driver that spins makes thousands.
    assert!(calls <= 100, "{calls} system calls of a driver that has nothing to do");
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

/// Such a send ends like any other when it is cancelled or its socket is closed.
pub(crate) fn half_closed_reader_is_given_up<D: Driver>(open: impl Open<D>) {
    for cancel in [true, false] {
        let driver = &mut open(&limits()).unwrap();
        let (sock, peer) = connect(driver);
        let op = block_send(driver, sock);
        peer.shutdown(Shutdown::Write).unwrap();
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
