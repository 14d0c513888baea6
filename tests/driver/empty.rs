//! Empty chains, empty files, empty buffers.

use std::io::{Read, Write};
use std::sync::Arc;

use ringd::driver::{Chain, Op, Outcome, SendEnd};

use crate::files::{opened, read_file};
use crate::harness::*;
use crate::subject::{Files, Peer, Subject};

/// An empty chain is sent at once, even if the peer's window is full.
pub(crate) fn empty_sends<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    for _ in 0..3 {
        send(driver, sock, b"");
        assert_eq!(driver.in_flight(), 1);
        let Outcome::Sent(Ok(()), chain) = last(run_lasts(driver, 1), SEND) else {
            panic!("an empty send failed")
        };
        assert_eq!((chain.is_empty(), chain.remaining()), (true, 0));
    }
    receive(driver, sock);
    send(driver, sock, b"");
    sent(run_lasts(driver, 1)).unwrap();
    send(driver, sock, b"something");
    sent(run_lasts(driver, 1)).unwrap();
    peer.read_exact(&mut [0; 9]).unwrap();
    close_all(driver, sock);
}

pub(crate) fn empty_send_with_fin<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    driver.submit(SEND, Op::Send { sock, chain: Box::default(), end: SendEnd::HalfClose });
    sent(run_lasts(driver, 1)).unwrap();
    assert_eq!(peer.read(&mut [0; 9]).unwrap(), 0);
    peer.write_all(b"still here").unwrap();
    assert_eq!(received(&run_until(driver, |all| has_received(all, 10))).0, b"still here");
    close_all(driver, sock);
}

/// Empty parts of a chain are skipped, wherever they stand.
pub(crate) fn empty_parts_of_a_chain<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let (file, empty) = (file_of(driver, b"0123456789"), file_of(driver, b""));
    let mut chain = Chain::new();
    chain.file(&empty, 0..0);
    chain.copy(b"");
    chain.file(&file, 5..5);
    chain.copy(b"head ");
    chain.file(&file, 9..9);
    chain.file(&file, 2..4);
    chain.file(&file, 10..10);
    chain.copy(b" tail");
    chain.file(&empty, 0..0);
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    let mut chain = Chain::new();
    chain.file(&file, 3..3);
    send_chain(driver, sock, chain);
    sent(run_lasts(driver, 1)).unwrap();
    close(driver, sock);
    run_lasts(driver, 1);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"head 23 tail");
    assert_eq!((Arc::strong_count(&file), Arc::strong_count(&empty)), (1, 1));
}

pub(crate) fn empty_files<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    files.write("empty", b"");
    driver.submit(FILE, Op::OpenFile { root: files.root(), path: c"empty".into() });
    let file = opened(last(run_lasts(driver, 1), FILE)).unwrap();
    assert_eq!(file.metadata().len, 0);
    let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(100));
    assert_eq!((result.unwrap(), buffer.len()), (0, 0));
    assert!(buffer.capacity() >= 100);
    let (result, buffer) = read_file(driver, &file, 0, Vec::new());
    assert_eq!((result.unwrap(), buffer.capacity()), (0, 0));
    // The file ends before the range of this send does.
    let (sock, mut peer) = connect(driver);
    let mut chain = Chain::new();
    chain.file(&file, 0..1);
    send_chain(driver, sock, chain);
    let error = sent(run_lasts(driver, 1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    close_all(driver, sock);
    assert_eq!(peer.read(&mut [0; 9]).unwrap(), 0);
    assert_eq!(Arc::strong_count(&file), 1);
}

/// A read into a buffer without room reads nothing.
pub(crate) fn empty_buffers<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let file = file_of(driver, b"0123456789");
    let (result, buffer) = read_file(driver, &file, 3, Vec::new());
    assert_eq!((result.unwrap(), buffer.len()), (0, 0));
    let (result, _) = read_file(driver, &file, 10, Vec::with_capacity(10));
    assert_eq!(result.unwrap(), 0);
    assert_home(driver);
}

/// A peer that connects and closes without sending anything.
pub(crate) fn empty_connections<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    for _ in 0..20 {
        drop(crate::subject::Dial::dial(&dialer).unwrap());
        let all = run_until(driver, |all| !all.is_empty());
        let [sock] = accepted(&all)[..] else { panic!("{all:?}") };
        receive(driver, sock);
        assert_eq!(received(&run_lasts(driver, 1)), (Vec::new(), true));
        close(driver, sock);
        run_lasts(driver, 1);
    }
    let (sock, peer) = connect(driver);
    peer.half_close();
    receive(driver, sock);
    assert_eq!(received(&run_lasts(driver, 1)), (Vec::new(), true));
    close(driver, sock);
    close(driver, listener);
    run_lasts(driver, 3);
    assert_home(driver);
}
