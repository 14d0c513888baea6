//! Bounds: buffers, descriptors, turns and time.

use std::io::{Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringd::driver::{
    ACCEPT_RETRY, ACCEPTS_PER_WAIT, Chain, Completion, Limits, Op, Outcome, SendEnd, Sock, Token,
};

use crate::files::opened;
use crate::harness::*;
use crate::subject::{Dial, Files, Peer, Subject};

fn is_woken(completion: &Completion) -> bool {
    matches!(completion.outcome, Outcome::Woken)
        && completion.token == Token::WAKE
        && !completion.more
}

pub(crate) fn wake_before_a_wait<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let waker = driver.waker();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    let mut all = Vec::new();
    driver.wait(None, &mut all).unwrap();
    assert!(all.len() == 1 && is_woken(&all[0]), "{all:?}");
    assert_home(driver);
}

pub(crate) fn wake_during_a_wait<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for _ in 0..3 {
        let waker = driver.waker();
        let waking = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            waker.wake();
        });
        let all = run_until(driver, |all| !all.is_empty());
        assert!(all.len() == 1 && is_woken(&all[0]), "{all:?}");
        waking.join().unwrap();
    }
}

pub(crate) fn wakes_coalesce<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for _ in 0..10 {
        driver.waker().wake();
    }
    let mut all = run_until(driver, |all| !all.is_empty());
    driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    assert!(all.len() == 1 && is_woken(&all[0]), "{all:?}");
}

pub(crate) fn timeout_is_waited_for<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let mut all = Vec::new();
    for timeout in [Duration::ZERO, Duration::from_micros(1500), Duration::from_millis(50)] {
        let start = Instant::now();
        driver.wait(Some(timeout), &mut all).unwrap();
        assert!(start.elapsed() >= timeout && start.elapsed() < WAIT_MAX);
    }
    assert!(all.is_empty());
}

/// While nothing happens, the driver makes no system calls beyond its waits.
pub(crate) fn idle_waits_do_not_spin<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    let (half, mut half_peer) = connect(driver);
    receive(driver, sock);
    receive(driver, half);
    // This connection has ended in both directions, and no op on it is in flight.
    let mut chain = Box::new(Chain::new());
    chain.copy(b"x");
    driver.submit(SEND, Op::Send { sock: half, chain, end: SendEnd::HalfClose });
    sent(run_lasts(driver, 1)).unwrap();
    half_peer.read_exact(&mut [0; 1]).unwrap();
    drop(half_peer);
    run_until(driver, |all| received(all).1);
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(30)), &mut all).unwrap();
    let before = driver.stats();
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        driver.wait(Some(Duration::from_millis(100)), &mut all).unwrap();
    }
    assert_few_calls(driver, &before, 10, 0);
    drop((all, peer));
    close(driver, half);
    close(driver, sock);
    run_lasts(driver, 3);
    assert_home(driver);
}

fn two_buffers() -> Limits {
    Limits { buffers: 2, buffer_bytes: 64, ..limits() }
}

pub(crate) fn buffers_run_out<S: Subject>() {
    let driver = &mut S::open(&two_buffers()).unwrap();
    let (sock, mut peer) = connect(driver);
    let bytes = pattern(64 * 7 + 5);
    peer.write_all(&bytes).unwrap();
    receive(driver, sock);
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        let all = run_until(driver, |all| !all.is_empty());
        assert!(driver.leased() <= 2 && all.len() <= 2);
        got.extend(received(&all).0);
    }
    assert!(got == bytes);
    assert!(driver.stats().buffer_waits > 0);
    peer.write_all(b"again").unwrap();
    drop(run_until(driver, |all| has_received(all, 5)));
    close_all(driver, sock);
}

/// While all buffers are leased, a wait blocks; once they are back, the data is received.
pub(crate) fn waits_block_while_all_buffers_are_leased<S: Subject>() {
    let driver = &mut S::open(&two_buffers()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(1000)).unwrap();
    receive(driver, sock);
    let held = run_until(driver, |all| has_received(all, 128));
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    let before = driver.stats();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        driver.wait(Some(Duration::from_millis(100)), &mut all).unwrap();
    }
    assert!(all.is_empty());
    assert_few_calls(driver, &before, 10, 0);
    let mut count = received(&held).0.len();
    drop(held);
    while count < 1000 {
        // There are a buffer and data, so no timeout is needed.
        count += received(&run_unhurried(driver)).0.len();
    }
    close_all(driver, sock);
}

/// Receives without data take no turn from those that have data.
pub(crate) fn idle_receives_do_not_hold_up_others<S: Subject>() {
    let driver = &mut S::open(&two_buffers()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(128)).unwrap();
    receive(driver, sock);
    let held = run_until(driver, |all| has_received(all, 128));
    let mut others: Vec<(Sock, S::Peer)> = (0..5).map(|_| connect(driver)).collect();
    for (sock, _) in &others {
        receive(driver, *sock);
    }
    let mut all = Vec::new();
    for _ in 0..3 {
        driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    }
    assert!(all.is_empty());
    others[4].1.write_all(b"hello").unwrap();
    std::thread::sleep(Duration::from_millis(20));
    drop(held);
    // No timeout is needed: there are buffers, and there is data.
    let all = run_unhurried(driver);
    assert_eq!(received(&all).0, b"hello");
    drop(all);
    for sock in others.iter().map(|(sock, _)| *sock).chain([sock]) {
        close(driver, sock);
    }
    run_lasts(driver, 12);
    assert_home(driver);
}

/// A driver that has never waited has nothing to wait for when it is dropped.
pub(crate) fn drop_before_the_first_wait<S: Subject>() {
    let start = Instant::now();
    for _ in 0..5 {
        let driver = S::open(&limits()).unwrap();
        driver.waker().wake();
        drop(driver);
    }
    assert!(start.elapsed() < Duration::from_secs(4), "each drop waited for its whole bound");
}

pub(crate) fn one_flood_does_not_starve_others<S: Subject>() {
    // With as many receives as buffers, the first one must not take all of them every time.
    flood_and_others(&mut S::open(&two_buffers()).unwrap(), 1);
    flood_and_others(&mut S::open(&two_buffers()).unwrap(), 5);
}

fn flood_and_others<S: Subject>(driver: &mut S, count: usize) {
    let (flooded, mut flood) = connect(driver);
    flood.set_nonblocking(true);
    let mut flooding = 0;
    while let Ok(count) = flood.write(&[0; 10_000]) {
        flooding += count;
    }
    assert!(flooding > 50_000, "the flood fills the buffers");
    driver.submit(Token(0), Op::RecvMany { sock: flooded });
    run_until(driver, |all| has_received(all, 128));
    let mut others: Vec<(Sock, S::Peer)> = (0..count).map(|_| connect(driver)).collect();
    for (number, (sock, peer)) in others.iter_mut().enumerate() {
        driver.submit(Token(1 + number as u64), Op::RecvMany { sock: *sock });
        peer.write_all(&pattern(640)).unwrap();
    }
    let mut counts = vec![0; 1 + count];
    let deadline = Instant::now() + WAIT_MAX;
    while counts[1..].iter().any(|count| *count < 640) {
        assert!(Instant::now() < deadline, "{counts:?}");
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_millis(100)), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            let Outcome::Received(Ok(Some(lease))) = outcome else { panic!("{outcome:?}") };
            counts[token.0 as usize] += lease.len();
        }
    }
    // The flooded socket gets its turns, but the others get theirs before it is drained.
    assert!(counts[0] > 0 && counts[0] < 20_000, "{counts:?}");
    for sock in others.iter().map(|(sock, _)| *sock).chain([flooded]) {
        close(driver, sock);
    }
    run_lasts(driver, 2 * (1 + count));
    assert_home(driver);
}

pub(crate) fn a_turn_is_bounded<S: Subject>() {
    // For receives that the kernel performs, the buffers are the bound.
    let limits = Limits { turn_bytes_max: 10_000, buffers: 2, ..limits() };
    let driver = &mut S::open(&limits).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(40_000)).unwrap();
    receive(driver, sock);
    let mut count = 0;
    while count < 40_000 {
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        let moved = received(&all).0.len();
        assert!(moved <= 10_000, "{moved}");
        count += moved;
    }
    let bytes = pattern(60_000);
    let (mut memory, mut on_disk) = (Chain::new(), Chain::new());
    memory.share(&Rc::from(&bytes[..]));
    on_disk.file(&file_of(driver, &bytes), 0..60_000);
    peer.set_nonblocking(true);
    for chain in [memory, on_disk] {
        send_chain(driver, sock, chain);
        let (mut got, mut all, mut waits) = (Vec::new(), Vec::new(), 0);
        while all.is_empty() || got.len() < bytes.len() {
            driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
            waits += 1;
            read_available(&mut peer, &mut got);
            // A thread sends its next piece while the wait returns.
            let most = (waits + 1) * 10_000;
            assert!(got.len() <= most, "{} bytes after {waits} waits", got.len());
        }
        assert!(waits >= 5 && got == bytes, "{} bytes in {waits} waits", got.len());
        sent(all).unwrap();
    }
    close_all(driver, sock);
}

fn read_available(peer: &mut impl Peer, got: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    loop {
        match peer.read(&mut buffer) {
            Ok(count) => got.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A read of a file that is in memory takes several turns, too.
pub(crate) fn reads_of_files_take_turns<S: Subject>() {
    let limits = Limits { turn_bytes_max: 10_000, ..limits() };
    let driver = &mut S::open(&limits).unwrap();
    let bytes = pattern(60_000);
    let file = file_of(driver, &bytes);
    let buffer = Vec::with_capacity(bytes.len());
    driver.submit(FILE, Op::ReadFile { file, offset: 0, buffer });
    let (mut all, mut waits) = (Vec::new(), 0);
    while all.is_empty() {
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        waits += 1;
    }
    assert!(waits >= 5, "it took {waits} waits");
    let Outcome::FileRead(result, buffer) = last(all, FILE) else { panic!("a read") };
    assert!(result.unwrap() == bytes.len() && buffer == bytes);
    assert_home(driver);
}

pub(crate) fn a_full_table_refuses<S: Subject>() {
    let driver = &mut S::open(&Limits { sockets_max: 3, ..limits() }).unwrap();
    let (listener, dialer) = listen(driver);
    let mut peers: Vec<S::Peer> = (0..5).map(|_| dialer.dial().unwrap()).collect();
    let deadline = Instant::now() + WAIT_MAX;
    let mut all = Vec::new();
    while driver.stats().refused < 3 {
        assert!(Instant::now() < deadline);
        driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    }
    let socks = accepted(&all);
    assert_eq!((socks.len(), driver.stats().refused), (2, 3));
    for peer in &mut peers[2..] {
        assert_eq!(peer.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    // The slot is used again.
    close(driver, socks[0]);
    run_lasts(driver, 1);
    let _next = dialer.dial().unwrap();
    let next = accepted(&run_until(driver, |all| !all.is_empty()));
    for sock in [socks[1], next[0], listener] {
        close(driver, sock);
    }
    run_lasts(driver, 4);
    assert_home(driver);
}

pub(crate) fn many_accepts_in_turns<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let _peers: Vec<S::Peer> = (0..120).map(|_| dialer.dial().unwrap()).collect();
    let mut all = Vec::new();
    let deadline = Instant::now() + WAIT_MAX;
    while accepted(&all).len() < 120 {
        assert!(Instant::now() < deadline, "{all:?}");
        let before = all.len();
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
        // Room is short: the caller can stop before a connection is refused.
        assert!(all.len() - before <= ACCEPTS_PER_WAIT as usize);
    }
    for sock in accepted(&all).into_iter().chain([listener]) {
        close(driver, sock);
    }
    run_lasts(driver, 122);
    assert_home(driver);
}

pub(crate) fn descriptors_run_out<S: Subject>() {
    S::alone(descriptors_run_out_alone::<S>);
}

fn descriptors_run_out_alone<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    let mut peer = dialer.dial().unwrap();
    // Every descriptor below the limit is taken, so there is none for the connection.
    let files = driver.files();
    files.write("page", b"a page");
    let root = files.root();
    let taken = driver.take_descriptors();
    // An open reports the error, because the caller can free descriptors.
    let op = |root| Op::OpenFile { root, path: c"page".into() };
    driver.submit(FILE, op(std::sync::Arc::clone(&root)));
    assert_eq!(code(opened(last(run_lasts(driver, 1), FILE))), Some(libc::EMFILE));
    // Armed only now: the kernel checks the limit when an accept is armed, not when it completes.
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    let mut all = Vec::new();
    let start = Instant::now();
    let before = driver.stats();
    while start.elapsed() < 3 * ACCEPT_RETRY {
        driver.wait(Some(ACCEPT_RETRY), &mut all).unwrap();
    }
    assert!(all.is_empty(), "{all:?}");
    assert_few_calls(driver, &before, 49, 0);
    // The last backoff may be nearly over; this wait begins one that lasts.
    driver.wait(Some(Duration::from_millis(1)), &mut all).unwrap();
    driver.give_descriptors(taken);
    // No event follows: the driver wakes by itself, whatever the timeout.
    let all = run_unhurried(driver);
    let [sock] = accepted(&all)[..] else { panic!("{all:?}") };
    send(driver, sock, b"welcome");
    sent(run_lasts(driver, 1)).unwrap();
    peer.read_exact(&mut [0; 7]).unwrap();
    driver.submit(FILE, op(root));
    opened(last(run_lasts(driver, 1), FILE)).unwrap();
    close(driver, sock);
    close(driver, listener);
    run_lasts(driver, 3);
    assert_home(driver);
}
