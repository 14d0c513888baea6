//! Dropping a driver: whatever is in flight, nothing stays open and no memory is used any more.

use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ringd::driver::{Chain, Job, Limits, Op, Outcome, Token};

use crate::changes::assert_released;
use crate::harness::*;
use crate::kernel::spawn;
use crate::subject::{Dial, Files, Subject};

/// Every kind of op, in every state in which it can wait.
pub(crate) fn drop_with_every_op_in_flight<S: Subject>() {
    for waits in [0, 1, 3] {
        let mut driver = S::open(&Limits { buffers: 2, ..limits() }).unwrap();
        let files = driver.files();
        files.write("file", &pattern(STUCK_BYTES / 2));
        let (file, root) = (files.open("file"), files.root());
        let weak = (Arc::downgrade(&file), Arc::downgrade(&root));
        let (_listener, dialer) = listen(&mut driver);
        let mut peers = Vec::new();
        let mut held = Vec::new();
        for number in 0..8u64 {
            let (sock, mut peer) = connect(&mut driver);
            peer.write_all(&pattern(10_000)).unwrap();
            driver.submit(Token(100 + number), Op::RecvMany { sock });
            let mut chain = Chain::new();
            chain.share(&Rc::from(vec![7; STUCK_BYTES / 2]));
            if number % 2 == 0 {
                chain.file(&file, 0..STUCK_BYTES as u64 / 2);
            }
            send_chain(&mut driver, sock, chain);
            if number > 5 {
                driver.submit(CLOSE, Op::Close { sock, reset: number == 7 });
            }
            peers.push(peer);
        }
        for _ in 0..waits {
            // The leases are kept so that the receives starve.
            driver.wait(Some(std::time::Duration::ZERO), &mut held).unwrap();
        }
        for number in 0..20 {
            let (file, root) = (Arc::clone(&file), Arc::clone(&root));
            let buffer = Vec::with_capacity(100_000);
            driver.submit(FILE, Op::ReadFile { file, offset: number * 1000, buffer });
            driver.submit(FILE, Op::OpenFile { root, path: c"file".into() });
            driver.submit(FILE, Op::Run { job: Job::new(|| Ok(vec![7; 1000])) });
        }
        driver.waker().wake();
        peers.extend((0..3).map(|_| dialer.dial().unwrap()));
        drop((file, root));
        let start = Instant::now();
        drop(driver);
        assert!(start.elapsed() < WAIT_MAX, "the drop took longer than its bound");
        for completion in &held {
            if let Outcome::Received(Ok(Some(lease))) = &completion.outcome {
                assert!(pattern(10_000).windows(lease.len()).any(|window| window == &**lease));
            }
        }
        drop(held);
        assert_released(&weak.0);
        assert_released(&weak.1);
        for mut peer in peers {
            match std::io::copy(&mut peer, &mut std::io::sink()) {
                Ok(count) => assert!(count < STUCK_BYTES as u64),
                Err(error) => assert!(is_reset(&error), "the peer sees no end: {error}"),
            }
        }
        let deadline = Instant::now() + WAIT_MAX;
        while dialer.dial().is_ok() {
            assert!(Instant::now() < deadline, "the listener is still open");
        }
    }
}

fn is_reset(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe)
}

/// So many ops that the ring hands some of them over before the first wait, an accept among them.
/// The connection that it accepted is closed with the driver, although no completion returned it.
pub(crate) fn drop_with_unreturned_completions<S: Subject>() {
    let mut driver = S::open(&Limits { sockets_max: 2048, ..limits() }).unwrap();
    let (listener, dialer) = driver.listen();
    let peers: Vec<S::Peer> = (0..5).map(|_| dialer.dial().unwrap()).collect();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    let file = file_of(&driver, b"0123456789");
    for number in 0..1500 {
        let (file, buffer) = (Arc::clone(&file), Vec::with_capacity(10));
        driver.submit(Token(number), Op::ReadFile { file, offset: number, buffer });
    }
    drop(driver);
    for mut peer in peers {
        match peer.read(&mut [0; 1]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert!(is_reset(&error), "the peer sees no end: {error}"),
        }
    }
    let weak = Arc::downgrade(&file);
    drop(file);
    assert_released(&weak);
}

/// Leases outlive their driver, and another driver does not write to their buffers.
pub(crate) fn leases_outlive_the_driver<S: Subject>() {
    let bytes = pattern(20_000);
    let held: Vec<_> = {
        let driver = &mut S::open(&limits()).unwrap();
        let (sock, mut peer) = connect(driver);
        peer.write_all(&bytes).unwrap();
        receive(driver, sock);
        run_until(driver, |all| has_received(all, bytes.len()))
    };
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&[0xee; 60_000]).unwrap();
    receive(driver, sock);
    let others = run_until(driver, |all| has_received(all, 60_000));
    assert!(received(&held).0 == bytes);
    drop(held);
    assert!(received(&others).0 == [0xee; 60_000]);
    drop(others);
    close_all(driver, sock);
}

/// Received bytes can be sent as they are; the buffer comes back with the chain.
pub(crate) fn lent_buffers_come_back<S: Subject>() {
    let driver = &mut S::open(&Limits { buffers: 4, ..limits() }).unwrap();
    let (sock, mut peer) = connect(driver);
    let op = receive(driver, sock);
    peer.write_all(b"lent").unwrap();
    let all = run_until(driver, |all| has_received(all, 4));
    driver.cancel(op);
    run_lasts(driver, 1);
    let mut chain = Chain::new();
    let mut leases = 0;
    for completion in all {
        if let Outcome::Received(Ok(Some(lease))) = completion.outcome {
            chain.lend(lease);
            leases += 1;
        }
    }
    chain.share(&Rc::from(vec![7; STUCK_BYTES]));
    let op = send_chain(driver, sock, chain);
    run_none_fast(driver);
    assert_eq!(driver.leased(), leases, "the kernel may still read the buffers");
    driver.cancel(op);
    assert_eq!(driver.leased(), leases, "a cancel does not end the op by itself");
    let Outcome::Sent(Err(_), chain) = last(run_lasts(driver, 1), SEND) else {
        panic!("the peer has not read the rest")
    };
    assert_eq!(driver.leased(), leases);
    drop(chain);
    assert_eq!(driver.leased(), 0);
    close_all(driver, sock);
    let mut got = Vec::new();
    peer.read_to_end(&mut got).unwrap();
    assert!(got.is_empty() || got.starts_with(b"lent"));
}

/// Two drivers in one process share nothing.
pub(crate) fn two_drivers_on_two_threads<S: Subject>() {
    let exchange = |mark: u8| {
        move || {
            let driver = &mut S::open(&limits()).unwrap();
            for _ in 0..10 {
                let (sock, mut peer) = connect(driver);
                let peer = std::thread::spawn(move || {
                    let mut got = vec![0; 300_000];
                    peer.write_all(&[mark; 5000]).unwrap();
                    peer.read_exact(&mut got).unwrap();
                    assert!(got.iter().all(|byte| *byte == mark));
                });
                receive(driver, sock);
                let mut chain = Chain::new();
                chain.share(&Rc::from(vec![mark; 300_000]));
                send_chain(driver, sock, chain);
                driver.waker().wake();
                let all = run_until(driver, |all| {
                    has_received(all, 5000)
                        && all.iter().any(|end| matches!(end.outcome, Outcome::Sent(Ok(()), _)))
                        && all.iter().any(|end| matches!(end.outcome, Outcome::Woken))
                });
                assert!(received(&all).0 == [mark; 5000]);
                peer.join().unwrap();
                drop(all);
                close_all(driver, sock);
            }
        }
    };
    let threads = [1, 2].map(|mark| spawn(exchange(mark)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Several files are open at once: each op releases its own.
pub(crate) fn files_are_released<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let files = driver.files();
    let (sock, mut peer) = connect(driver);
    for number in 0..6 {
        files.write("file", &pattern(1000));
        let file = files.open("file");
        let weak = Arc::downgrade(&file);
        let mut chain = Chain::new();
        let buffer = Vec::with_capacity(2000);
        match number {
            0 => {
                chain.file(&file, 0..1000);
                send_chain(driver, sock, chain);
            }
            // The file is shorter than the range.
            1 => {
                let (sock, _peer) = connect(driver);
                chain.file(&file, 0..1001);
                send_chain(driver, sock, chain);
                assert!(sent(run_lasts(driver, 1)).is_err());
                driver.submit(CLOSE, Op::Close { sock, reset: false });
            }
            2 => {
                driver.submit(FILE, Op::ReadFile { file: Arc::clone(&file), offset: 0, buffer });
            }
            3 => {
                let op = Op::ReadFile { file: Arc::clone(&file), offset: 0, buffer };
                let op = driver.submit(FILE, op);
                driver.cancel(op);
            }
            // A file cannot be opened as a directory.
            4 => {
                let root = Arc::clone(&file);
                driver.submit(FILE, Op::OpenFile { root, path: c"missing".into() });
            }
            _ => {
                let root = Arc::clone(&file);
                let op = Op::OpenFile { root, path: c"missing".into() };
                let op = driver.submit(FILE, op);
                driver.cancel(op);
            }
        }
        drop(file);
        drop(run_lasts(driver, 1));
        assert_released(&weak);
    }
    peer.read_exact(&mut [0; 1000]).unwrap();
    close_all(driver, sock);
}
