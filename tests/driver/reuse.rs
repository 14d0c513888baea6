//! Slots, descriptors and names that are reused at once: nothing meant for the old socket may
//! reach the new one.

use std::io::{Read, Write};

use ringd::driver::{Chain, Job, Op, OpId, Outcome, Token};

use crate::harness::*;
use crate::subject::{Dial, Peer, Subject};

/// A socket with ops in both directions is closed. The next one gets its slot and, with a kernel,
/// its descriptor number, before the old peer has sent its last bytes.
pub(crate) fn reuse_right_after_close<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for round in 0..30u64 {
        let (old, mut old_peer) = connect(driver);
        let names = old_ops(driver, old);
        if round % 2 == 0 {
            driver.wait(Some(std::time::Duration::ZERO), &mut Vec::new()).unwrap();
        }
        old_peer.write_all(b"for the old one").unwrap();
        driver.submit(CLOSE, Op::Close { sock: old, reset: round % 3 == 0 });
        run_until(driver, |all| {
            all.iter().any(|completion| matches!(completion.outcome, Outcome::Closed))
        });
        let (new, mut new_peer) = connect(driver);
        assert_ne!(old, new);
        let token = Token(100 + round);
        driver.submit(token, Op::RecvMany { sock: new });
        for name in &names {
            driver.cancel(*name);
        }
        match round % 3 {
            0 => old_peer.reset(),
            1 => drop(old_peer),
            _ => old_peer.half_close(),
        }
        for name in names {
            driver.cancel(name);
        }
        assert!(run_none(driver).is_empty());
        new_peer.write_all(b"for the new one").unwrap();
        let all = run_until(driver, |all| has_received(all, 15));
        assert!(all.iter().all(|completion| completion.token == token), "{all:?}");
        assert_eq!(received(&all).0, b"for the new one");
        send(driver, new, b"answer");
        sent(run_lasts(driver, 1)).unwrap();
        new_peer.read_exact(&mut [0; 6]).unwrap();
        drop(all);
        close_all(driver, new);
    }
}

fn old_ops<S: Subject>(driver: &mut S, sock: ringd::driver::Sock) -> [OpId; 2] {
    let mut chain = Chain::new();
    chain.share(&std::rc::Rc::from(vec![7; STUCK_BYTES]));
    [receive(driver, sock), send_chain(driver, sock, chain)]
}

/// Sockets that are closed in the same batch in which they were accepted.
pub(crate) fn accepted_and_closed_at_once<S: Subject>() {
    const COUNT: usize = 60;
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let mut seen = std::collections::HashSet::new();
    let (mut open, mut served) = (0, 0);
    let mut peers: Vec<S::Peer> = (0..COUNT).map(|_| dialer.dial().unwrap()).collect();
    let deadline = std::time::Instant::now() + WAIT_MAX;
    while served < COUNT {
        assert!(std::time::Instant::now() < deadline, "{served} of {COUNT}");
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        for completion in all {
            match completion.outcome {
                Outcome::Accepted(Ok(sock)) => {
                    assert!(seen.insert(sock), "a name was given out twice");
                    open += 1;
                    receive(driver, sock);
                    send(driver, sock, b"bye");
                    close(driver, sock);
                }
                Outcome::Closed => (open, served) = (open - 1, served + 1),
                Outcome::Received(_) | Outcome::Sent(..) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(open, 0);
    for peer in &mut peers {
        // Unsent bytes are cut off by the close, but no peer gets those of another.
        let mut got = Vec::new();
        let _ = peer.read_to_end(&mut got);
        assert!(b"bye".starts_with(&got[..]), "{got:?}");
    }
    close_all(driver, listener);
}

/// Stale names of ops, of every kind, cancel nothing after their slot is reused.
pub(crate) fn stale_names_of_every_kind<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let file = file_of(driver, b"0123456789");
    let mut stale = Vec::new();
    let (listener, dialer) = driver.listen();
    stale.push(driver.submit(ACCEPT, Op::AcceptMany { listener }));
    let (sock, peer) = connect(driver);
    stale.push(receive(driver, sock));
    stale.push(send(driver, sock, b"x"));
    let root = std::sync::Arc::clone(&file);
    stale.push(driver.submit(FILE, Op::OpenFile { root, path: c"x".into() }));
    let (file, buffer) = (file.clone(), Vec::with_capacity(4));
    stale.push(driver.submit(FILE, Op::ReadFile { file: file.clone(), offset: 0, buffer }));
    stale.push(driver.submit(FILE, Op::Run { job: Job::new(|| Ok(Vec::new())) }));
    run_lasts(driver, 4);
    stale.push(driver.submit(CLOSE, Op::Close { sock, reset: false }));
    stale.push(driver.submit(CLOSE, Op::Close { sock: listener, reset: false }));
    run_lasts(driver, 4);
    drop((peer, dialer));
    // The same again, in the same slots.
    let (listener, dialer) = listen(driver);
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    for name in &stale {
        driver.cancel(*name);
    }
    assert!(run_none(driver).is_empty());
    let op = Op::ReadFile { file, offset: 0, buffer: Vec::with_capacity(10) };
    driver.submit(FILE, op);
    send(driver, sock, b"sent");
    for name in &stale {
        driver.cancel(*name);
    }
    let all = run_lasts(driver, 2);
    assert!(all.iter().all(|completion| {
        matches!(completion.outcome, Outcome::Sent(Ok(()), _) | Outcome::FileRead(Ok(10), _))
    }));
    peer.read_exact(&mut [0; 4]).unwrap();
    peer.write_all(b"received").unwrap();
    run_until(driver, |all| has_received(all, 8));
    let _second = dialer.dial().unwrap();
    let [second] = accepted(&run_until(driver, |all| !all.is_empty()))[..] else {
        panic!("one connection")
    };
    for sock in [second, sock, listener] {
        close(driver, sock);
    }
    run_lasts(driver, 5);
    assert_home(driver);
}
