//! Load: more ops at once than any queue holds, and every socket gets its turn.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ringd::driver::{Completion, Limits, Op, Outcome, SendEnd, Sock, Token};

use crate::harness::*;
use crate::subject::{Dial, Files, Peer, Subject};

/// More ops than the ring's completion queue has entries (4096). All of them can complete at
/// once, and no completion is taken before all ops are submitted.
pub(crate) fn more_completions_than_a_queue_holds<S: Subject>() {
    const COUNT: u64 = 5000;
    let driver = &mut S::open(&Limits { sockets_max: 6000, ..limits() }).unwrap();
    let bytes = pattern(COUNT as usize + 8);
    let file = file_of(driver, &bytes);
    for number in 0..COUNT {
        let (file, buffer) = (file.clone(), Vec::with_capacity(8));
        driver.submit(Token(number), Op::ReadFile { file, offset: number, buffer });
    }
    assert_eq!(driver.in_flight() as u64, COUNT);
    let mut seen = vec![false; COUNT as usize];
    for Completion { token, more, outcome } in run_lasts(driver, COUNT as usize) {
        let at = token.0 as usize;
        let Outcome::FileRead(Ok(8), buffer) = outcome else { panic!("{outcome:?}") };
        assert!(!more && !seen[at] && buffer == bytes[at..at + 8], "op {at}");
        seen[at] = true;
    }
    assert_eq!(std::sync::Arc::strong_count(&file), 1);
    assert_home(driver);
}

/// The same with multishot receives, which the kernel ends when its queue is full.
pub(crate) fn more_received_than_a_queue_holds<S: Subject>() {
    const PEERS: usize = 120;
    const BYTES: usize = 50 * 64;
    let driver = &mut S::open(&Limits { buffers: 8192, buffer_bytes: 64, ..limits() }).unwrap();
    let mut peers = Vec::new();
    for number in 0..PEERS {
        let (sock, mut peer) = connect(driver);
        driver.submit(Token(number as u64), Op::RecvMany { sock });
        peers.push((sock, peer.twin()));
        if number == 0 {
            run_none_fast(driver);
        }
        peer.write_all(&pattern(BYTES + number)).unwrap();
    }
    let mut got: Vec<Vec<u8>> = vec![Vec::new(); PEERS];
    let deadline = Instant::now() + WAIT_MAX;
    while got.iter().enumerate().any(|(number, got)| got.len() < BYTES + number) {
        assert!(Instant::now() < deadline);
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            let Outcome::Received(Ok(Some(lease))) = outcome else { panic!("{outcome:?}") };
            got[token.0 as usize].extend_from_slice(&lease);
        }
    }
    for (number, got) in got.iter().enumerate() {
        assert!(*got == pattern(BYTES + number), "connection {number} is out of order");
    }
    for (sock, _) in &peers {
        close(driver, *sock);
    }
    run_lasts(driver, 2 * PEERS);
    assert_home(driver);
}

/// A thousand ops of every kind in one batch.
pub(crate) fn a_thousand_ops_at_once<S: Subject>() {
    const SOCKS: u64 = 150;
    let driver = &mut S::open(&Limits { sockets_max: 1024, buffers: 512, ..limits() }).unwrap();
    let files = driver.files();
    files.write("page", b"0123456789");
    let (root, file) = (files.root(), files.open("page"));
    let mut socks = Vec::new();
    for number in 0..SOCKS {
        let (sock, mut peer) = connect(driver);
        peer.write_all(&number.to_le_bytes()).unwrap();
        driver.submit(Token(1000 + number), Op::RecvMany { sock });
        let mut chain = Box::<ringd::driver::Chain>::default();
        chain.copy(b"answer ");
        chain.file(&file, number % 10..10);
        let end = if number % 2 == 0 { SendEnd::HalfClose } else { SendEnd::Open };
        driver.submit(Token(2000 + number), Op::Send { sock, chain, end });
        for _ in 0..2 {
            let op = Op::OpenFile { root: root.clone(), path: c"page".into() };
            driver.submit(Token(3000 + number), op);
            let buffer = Vec::with_capacity(10);
            let op = Op::ReadFile { file: file.clone(), offset: number % 10, buffer };
            driver.submit(Token(4000 + number), op);
        }
        socks.push((sock, peer));
    }
    assert_eq!(driver.in_flight() as u64, 6 * SOCKS);
    let all = run_until(driver, |all| {
        lasts(all) as u64 == 5 * SOCKS && has_received(all, 8 * SOCKS as usize)
    });
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for Completion { token, outcome, .. } in &all {
        *counts.entry(token.0).or_default() += 1;
        let number = token.0 % 1000;
        match outcome {
            Outcome::Received(Ok(Some(lease))) => assert_eq!(**lease, number.to_le_bytes()),
            Outcome::Sent(Ok(()), _) => {}
            Outcome::Opened(Ok(file)) => assert_eq!(file.metadata().len, 10),
            Outcome::FileRead(Ok(count), buffer) => {
                assert_eq!(buffer[..], b"0123456789"[(number % 10) as usize..]);
                assert_eq!(*count, buffer.len());
            }
            other => panic!("{other:?}"),
        }
    }
    for number in 0..SOCKS {
        let of = |kind: u64| counts[&(kind + number)];
        assert_eq!((of(1000), of(2000), of(3000), of(4000)), (1, 1, 2, 2));
    }
    drop(all);
    for (number, (sock, peer)) in socks.iter_mut().enumerate() {
        let expected = [b"answer ", &b"0123456789"[number % 10..]].concat();
        let mut got = vec![0; expected.len()];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, expected);
        close(driver, *sock);
    }
    run_lasts(driver, 2 * SOCKS as usize);
    assert_home(driver);
}

/// Two listeners with full backlogs, and one connected client that waits to be served.
pub(crate) fn accepts_take_turns<S: Subject>() {
    const COUNT: usize = 100;
    let driver = &mut S::open(&limits()).unwrap();
    let (inside, mut client) = connect(driver);
    driver.submit(RECEIVE, Op::RecvMany { sock: inside });
    let doors: Vec<(Sock, S::Dialer)> = (0..2).map(|_| driver.listen()).collect();
    let mut peers = Vec::new();
    for (number, (listener, dialer)) in doors.iter().enumerate() {
        peers.extend((0..COUNT).map(|_| dialer.dial().unwrap()));
        let token = Token(100 + number as u64);
        driver.submit(token, Op::AcceptMany { listener: *listener });
    }
    client.write_all(b"hello").unwrap();
    let (mut counts, mut served_at, mut socks) = ([0; 2], None, vec![inside]);
    let deadline = Instant::now() + WAIT_MAX;
    while counts.iter().sum::<usize>() < 2 * COUNT || served_at.is_none() {
        assert!(Instant::now() < deadline, "{counts:?}");
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            match outcome {
                Outcome::Accepted(Ok(sock)) => {
                    counts[(token.0 - 100) as usize] += 1;
                    socks.push(sock);
                }
                Outcome::Received(Ok(Some(_))) => served_at = Some(counts),
                other => panic!("{other:?}"),
            }
        }
        let [one, two] = counts;
        let equal = one.abs_diff(two) <= 64 || counts.contains(&COUNT);
        assert!(equal || !S::gives_turns(), "{counts:?}");
    }
    let served_at = served_at.unwrap();
    let early = served_at.iter().all(|count| *count <= 64);
    assert!(early || !S::gives_turns(), "served after {served_at:?}");
    let ops = socks.len() + 1;
    socks.extend(doors.iter().map(|(listener, _)| *listener));
    for sock in socks {
        close(driver, sock);
    }
    run_lasts(driver, ops + 4);
    assert_home(driver);
}

/// All starved receives are served once the buffers are back, in whatever order they starved.
pub(crate) fn no_starved_receive_is_forgotten<S: Subject>() {
    const COUNT: usize = 20;
    let driver = &mut S::open(&Limits { buffers: 4, buffer_bytes: 64, ..limits() }).unwrap();
    let (first, mut flood) = connect(driver);
    flood.write_all(&pattern(256)).unwrap();
    driver.submit(Token(0), Op::RecvMany { sock: first });
    let held = run_until(driver, |all| has_received(all, 256));
    let mut others = Vec::new();
    for number in 1..=COUNT {
        let (sock, mut peer) = connect(driver);
        driver.submit(Token(number as u64), Op::RecvMany { sock });
        peer.write_all(&[number as u8; 100]).unwrap();
        others.push((sock, peer));
    }
    assert!(run_none(driver).is_empty());
    assert_eq!(driver.leased(), 4);
    drop(held);
    let mut got = [0; COUNT + 1];
    while got[1..].iter().any(|count| *count < 100) {
        // The buffers come back, and no event follows: the driver must notice by itself.
        for Completion { token, outcome, .. } in run_unhurried(driver) {
            let Outcome::Received(Ok(Some(lease))) = outcome else { panic!("{outcome:?}") };
            assert!(lease.iter().all(|byte| u64::from(*byte) == token.0));
            got[token.0 as usize] += lease.len();
        }
    }
    assert_eq!(got[1..], [100; COUNT]);
    for sock in others.iter().map(|(sock, _)| *sock).chain([first]) {
        close(driver, sock);
    }
    run_lasts(driver, 2 * COUNT + 2);
    assert_home(driver);
}

/// If all sockets are flooded, all are served equally.
pub(crate) fn many_floods_take_turns<S: Subject>() {
    const COUNT: usize = 8;
    let driver = &mut S::open(&Limits { buffers: 2, buffer_bytes: 64, ..limits() }).unwrap();
    let mut floods = Vec::new();
    for number in 0..COUNT {
        let (sock, mut peer) = connect(driver);
        peer.write_all(&[number as u8; 50_000]).unwrap();
        driver.submit(Token(number as u64), Op::RecvMany { sock });
        floods.push((sock, peer));
    }
    let mut got = [0; COUNT];
    let deadline = Instant::now() + WAIT_MAX;
    while got.iter().any(|count| *count < 1000) {
        assert!(Instant::now() < deadline, "{got:?}");
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            let Outcome::Received(Ok(Some(lease))) = outcome else { panic!("{outcome:?}") };
            got[token.0 as usize] += lease.len();
        }
    }
    assert!(got.iter().all(|count| *count < 10_000), "{got:?}");
    for (sock, _) in &floods {
        close(driver, *sock);
    }
    run_lasts(driver, 2 * COUNT);
    assert_home(driver);
}

/// A file that could be sent for ever is sent in short turns, and the others get theirs.
pub(crate) fn a_long_send_leaves_room_for_others<S: Subject>() {
    let driver = &mut S::open(&Limits { turn_bytes_max: 20_000, ..limits() }).unwrap();
    let bytes = pattern(4 << 20);
    let file = file_of(driver, &bytes);
    let (long, long_peer) = connect(driver);
    let (short, mut peer) = connect(driver);
    driver.submit(RECEIVE, Op::RecvMany { sock: short });
    let mut chain = Box::<ringd::driver::Chain>::default();
    chain.file(&file, 0..bytes.len() as u64);
    driver.submit(Token(100), Op::Send { sock: long, chain, end: SendEnd::Open });
    let reading = slow_reader(long_peer, bytes.len());
    peer.write_all(b"ping").unwrap();
    let all = run_until(driver, |all| has_received(all, 4));
    assert_eq!(lasts(&all), 0, "one turn sent four megabytes");
    drop(all);
    send(driver, short, b"pong");
    let all = run_lasts(driver, 1);
    assert_eq!(all[0].token, SEND);
    peer.read_exact(&mut [0; 4]).unwrap();
    run_lasts(driver, 1);
    assert!(reading.join().unwrap() == bytes);
    close(driver, short);
    close(driver, long);
    run_lasts(driver, 3);
    assert_home(driver);
}

/// An accept may take all connections that wait while there is room for a thousand more. When there
/// is no longer, it yields few at a time, although it was begun before.
pub(crate) fn an_accept_notices_that_room_becomes_short<S: Subject>() {
    const ROOM: usize = 1024;
    const BEFORE: usize = 20;
    const BURST: usize = 200;
    let sockets_max = (ROOM + BEFORE) as u32;
    let driver = &mut S::open(&Limits { sockets_max, ..limits() }).unwrap();
    let (listener, dialer) = listen(driver);
    let mut peers = Vec::new();
    let mut socks = Vec::new();
    for number in 1..=BEFORE {
        peers.push(dialer.dial().unwrap());
        let all = run_until(driver, |all| !all.is_empty());
        socks.extend(accepted(&all));
        assert_eq!(socks.len(), number);
    }
    run_none(driver);
    peers.extend((0..BURST).map(|_| dialer.dial().unwrap()));
    while socks.len() < BEFORE + BURST {
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        let one_wait = accepted(&all);
        assert!(one_wait.len() <= 64, "{} in one wait", one_wait.len());
        socks.extend(one_wait);
    }
    let count = socks.len() + 2;
    socks.into_iter().chain([listener]).for_each(|sock| close(driver, sock));
    run_lasts(driver, count);
    assert_home(driver);
}
