//! Bounds: buffers, descriptors, turns and time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringd::driver::{ACCEPT_RETRY, Chain, Completion, Driver, Limits, Op, Outcome, Sock, Token};

use crate::harness::*;

fn is_woken(completion: &Completion) -> bool {
    matches!(completion.outcome, Outcome::Woken)
        && completion.token == Token::WAKE
        && !completion.more
}

pub(crate) fn wake_before_a_wait<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let waker = driver.waker();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    let mut all = Vec::new();
    driver.wait(None, &mut all).unwrap();
    assert!(all.len() == 1 && is_woken(&all[0]), "{all:?}");
    assert_home(driver);
}

pub(crate) fn wake_during_a_wait<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
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

pub(crate) fn wakes_become_one<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    for _ in 0..10 {
        driver.waker().wake();
    }
    let mut all = run_until(driver, |all| !all.is_empty());
    driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    assert!(all.len() == 1 && is_woken(&all[0]), "{all:?}");
}

pub(crate) fn timeout_is_waited_for<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let mut all = Vec::new();
    for timeout in [Duration::ZERO, Duration::from_micros(1500), Duration::from_millis(50)] {
        let start = Instant::now();
        driver.wait(Some(timeout), &mut all).unwrap();
        assert!(start.elapsed() >= timeout && start.elapsed() < PATIENCE);
    }
    assert!(all.is_empty());
}

/// Nothing happens, and nothing is done about it.
pub(crate) fn idle_waits_do_not_spin<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (sock, peer) = connect(driver);
    let (half, mut half_peer) = connect(driver);
    receive(driver, sock);
    receive(driver, half);
    // The one has ended in both directions, and nobody asks it anything any more.
    let mut chain = Box::new(Chain::new());
    chain.copy(b"x");
    driver.submit(SEND, Op::Send { sock: half, chain, fin: true });
    sent(run_lasts(driver, 1)).unwrap();
    half_peer.read_exact(&mut [0; 1]).unwrap();
    drop(half_peer);
    run_until(driver, |all| received(all).1);
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(30)), &mut all).unwrap();
    let before = driver.stats().system_calls;
    let end = Instant::now() + Duration::from_millis(200);
    while Instant::now() < end {
        driver.wait(Some(Duration::from_millis(100)), &mut all).unwrap();
    }
    assert!(driver.stats().system_calls - before <= 10, "{:?}", driver.stats());
    drop((all, peer));
    close(driver, half);
    close_all(driver, sock);
}

fn two_buffers() -> Limits {
    Limits { buffers: 2, buffer_bytes: 64, ..limits() }
}

pub(crate) fn buffers_run_out<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&two_buffers()).unwrap();
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
    assert!(driver.stats().starved > 0);
    peer.write_all(b"again").unwrap();
    drop(run_until(driver, |all| has_received(all, 5)));
    close_all(driver, sock);
}

/// While all buffers are lent, waiting is waiting; when they are back, so is the data.
pub(crate) fn no_buffer_for_an_idle_loop<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&two_buffers()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(1000)).unwrap();
    receive(driver, sock);
    let held = run_until(driver, |all| has_received(all, 128));
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    let before = driver.stats().system_calls;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        driver.wait(Some(Duration::from_millis(100)), &mut all).unwrap();
    }
    assert!(all.is_empty());
    assert!(driver.stats().system_calls - before <= 10, "{:?}", driver.stats());
    let mut count = received(&held).0.len();
    drop(held);
    while count < 1000 {
        let mut all = Vec::new();
        // There is a buffer and there is data: no timeout is needed to see it.
        driver.wait(None, &mut all).unwrap();
        count += received(&all).0.len();
    }
    close_all(driver, sock);
}

/// Receives that have nothing to receive use up no turn of those that have.
pub(crate) fn idle_receives_do_not_hold_up_others<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&two_buffers()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(128)).unwrap();
    receive(driver, sock);
    let held = run_until(driver, |all| has_received(all, 128));
    let mut others: Vec<(Sock, TcpStream)> = (0..5).map(|_| connect(driver)).collect();
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
    while all.is_empty() {
        driver.wait(None, &mut all).unwrap();
    }
    assert_eq!(received(&all).0, b"hello");
    drop(all);
    for sock in others.iter().map(|(sock, _)| *sock).chain([sock]) {
        close(driver, sock);
    }
    run_lasts(driver, 12);
    assert_home(driver);
}

/// A driver that has never waited has nothing to wait for when it is dropped.
pub(crate) fn drop_before_the_first_wait<D: Driver>(open: impl Open<D>) {
    let start = Instant::now();
    for _ in 0..5 {
        let driver = open(&limits()).unwrap();
        driver.waker().wake();
        drop(driver);
    }
    assert!(start.elapsed() < Duration::from_secs(4), "each waited out the bound");
}

pub(crate) fn one_flood_does_not_starve_others<D: Driver>(open: impl Open<D>) {
    // With as many receives as buffers, the one that is first must not take them all every time.
    flood_and_others(&mut open(&two_buffers()).unwrap(), 1);
    flood_and_others(&mut open(&two_buffers()).unwrap(), 5);
}

fn flood_and_others<D: Driver>(driver: &mut D, count: usize) {
    let (flooded, mut flood) = connect(driver);
    flood.set_nonblocking(true).unwrap();
    let mut flooding = 0;
    while let Ok(count) = flood.write(&[0; 10_000]) {
        flooding += count;
    }
    assert!(flooding > 100_000, "there is always more of the flood");
    driver.submit(Token(0), Op::RecvMany { sock: flooded });
    run_until(driver, |all| has_received(all, 128));
    let others: Vec<(Sock, TcpStream)> = (0..count).map(|_| connect(driver)).collect();
    for (number, (sock, peer)) in others.iter().enumerate() {
        let mut peer = peer;
        driver.submit(Token(1 + number as u64), Op::RecvMany { sock: *sock });
        peer.write_all(&pattern(640)).unwrap();
    }
    let mut counts = vec![0; 1 + count];
    let deadline = Instant::now() + PATIENCE;
    while counts[1..].iter().any(|count| *count < 640) {
        assert!(Instant::now() < deadline, "{counts:?}");
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_millis(100)), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            let Outcome::Received(Ok(Some(lease))) = outcome else { panic!("{outcome:?}") };
            counts[token.0 as usize] += lease.len();
        }
    }
    // It has its turns, but the others have theirs, before it is over.
    assert!(counts[0] > 0 && counts[0] < 20_000, "{counts:?}");
    for sock in others.iter().map(|(sock, _)| *sock).chain([flooded]) {
        close(driver, sock);
    }
    run_lasts(driver, 2 * (1 + count));
    assert_home(driver);
}

pub(crate) fn a_turn_is_bounded<D: Driver>(open: impl Open<D>) {
    // Of the kernel's own receives, the buffers are the bound.
    let limits = Limits { turn_bytes_max: 10_000, buffers: 2, ..limits() };
    let driver = &mut open(&limits).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(&pattern(40_000)).unwrap();
    receive(driver, sock);
    let mut count = 0;
    while count < 40_000 {
        let mut all = Vec::new();
        driver.wait(Some(PATIENCE), &mut all).unwrap();
        let moved = received(&all).0.len();
        assert!(moved <= 10_000, "{moved}");
        count += moved;
    }
    let mut chain = Chain::new();
    chain.share(&Rc::from(pattern(100_000)));
    send_chain(driver, sock, chain);
    let mut all = Vec::new();
    for _ in 0..9 {
        driver.wait(Some(Duration::from_millis(1)), &mut all).unwrap();
        assert!(all.is_empty(), "more than nine tenths in nine turns");
    }
    sent(run_lasts(driver, 1)).unwrap();
    close_all(driver, sock);
}

fn listen<D: Driver>(driver: &mut D) -> (Sock, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialled = listener.try_clone().unwrap();
    let listener = driver.adopt(listener.into()).unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    (listener, dialled)
}

fn accepted(all: &[Completion]) -> Vec<Sock> {
    let sock = |completion: &Completion| match completion.outcome {
        Outcome::Accepted(Ok(sock)) => Some(sock),
        _ => None,
    };
    all.iter().filter_map(sock).collect()
}

pub(crate) fn a_full_table_refuses<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&Limits { sockets_max: 3, ..limits() }).unwrap();
    let (listener, dialled) = listen(driver);
    let mut peers: Vec<TcpStream> = (0..5).map(|_| dial(&dialled)).collect();
    let deadline = Instant::now() + PATIENCE;
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
    // Room is used again.
    close(driver, socks[0]);
    run_lasts(driver, 1);
    let _next = dial(&dialled);
    let next = accepted(&run_until(driver, |all| !all.is_empty()));
    for sock in [socks[1], next[0], listener] {
        close(driver, sock);
    }
    run_lasts(driver, 4);
    assert_home(driver);
}

pub(crate) fn adopting_is_refused_when_full<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&Limits { sockets_max: 1, ..limits() }).unwrap();
    let (sock, _peer) = connect(driver);
    let (ours, mut peer) = pair();
    assert!(driver.adopt(ours.into()).is_err());
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "what is refused is closed");
    close_all(driver, sock);
}

pub(crate) fn many_accepts_in_turns<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (listener, dialled) = listen(driver);
    let _peers: Vec<TcpStream> = (0..120).map(|_| dial(&dialled)).collect();
    let all = run_until(driver, |all| accepted(all).len() == 120);
    for sock in accepted(&all).into_iter().chain([listener]) {
        close(driver, sock);
    }
    run_lasts(driver, 122);
    assert_home(driver);
}

/// Set in the child of [`descriptors_run_out`].
const CHILD: &str = "RINGD_TEST_DESCRIPTORS";

/// The limit is that of the process, so the test runs once more, alone in a child.
pub(crate) fn descriptors_run_out<D: Driver>(open: impl Open<D>) {
    if std::env::var_os(CHILD).is_some() {
        return descriptors_run_out_in_child(open);
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--test-threads", "1", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "{child:?}");
}

fn descriptors_run_out_in_child<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = dial(&listener);
    let listener = driver.adopt(listener.into()).unwrap();
    // Every descriptor below the limit is taken, so there is none for the connection.
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(hard.min(100), hard).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    // Armed only now: the kernel looks at the limit when it is asked, not when it accepts.
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    let mut all = Vec::new();
    let start = Instant::now();
    let before = driver.stats().system_calls;
    while start.elapsed() < 3 * ACCEPT_RETRY {
        driver.wait(Some(ACCEPT_RETRY), &mut all).unwrap();
    }
    assert!(all.is_empty(), "{all:?}");
    assert!(driver.stats().system_calls - before < 50, "{:?}", driver.stats());
    // Whatever the last rest was, now there is one that lasts.
    driver.wait(Some(Duration::from_millis(1)), &mut all).unwrap();
    drop(taken);
    // No event comes now: the driver wakes by itself, however long it was told to wait.
    let all = {
        let mut all = Vec::new();
        while all.is_empty() {
            driver.wait(None, &mut all).unwrap();
        }
        all
    };
    let [sock] = accepted(&all)[..] else { panic!("{all:?}") };
    send(driver, sock, b"welcome");
    sent(run_lasts(driver, 1)).unwrap();
    peer.read_exact(&mut [0; 7]).unwrap();
    close(driver, sock);
    close(driver, listener);
    run_lasts(driver, 3);
    assert_home(driver);
}

/// The figures that comparisons rest on: an answer costs what it must.
pub(crate) fn system_calls_are_few<D: Driver>(open: impl Open<D>) {
    let driver = &mut open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let (_, file) = temporary_file(&pattern(20_000));
    let op = receive(driver, sock);
    driver.wait(Some(Duration::from_millis(10)), &mut Vec::new()).unwrap();
    // The first send of a file looks whether it is in memory; the others remember.
    for (len, calls_max) in [(0, 4), (20_000, 6), (20_000, 5)] {
        peer.write_all(b"request").unwrap();
        let before = driver.stats();
        drop(run_until(driver, |all| has_received(all, 7)));
        let mut chain = Chain::new();
        chain.copy(b"head");
        chain.file(&file, 0..len);
        send_chain(driver, sock, chain);
        sent(run_lasts(driver, 1)).unwrap();
        peer.read_exact(&mut vec![0; 4 + len as usize]).unwrap();
        let after = driver.stats();
        assert_eq!(after.completions - before.completions, 2);
        assert_eq!(after.would_block, before.would_block);
        let calls = after.system_calls - before.system_calls;
        assert!(calls <= calls_max, "{calls} system calls for {len} bytes");
    }
    // A short read has drained the socket: the next receive does not ask in vain.
    let before = driver.stats().would_block;
    driver.cancel(op);
    run_lasts(driver, 1);
    receive(driver, sock);
    driver.wait(Some(Duration::from_millis(20)), &mut Vec::new()).unwrap();
    assert_eq!(driver.stats().would_block, before);
    close_all(driver, sock);
}
