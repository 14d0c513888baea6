//! Wakes from other threads, at every moment of a wait; and completions that they must not hide.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringd::driver::{Completion, Job, Limits, Op, Outcome, Token};

use crate::files::opened;
use crate::harness::*;
use crate::subject::{Files, Subject};

fn wakes(all: &[Completion]) -> usize {
    all.iter().filter(|completion| matches!(completion.outcome, Outcome::Woken)).count()
}

/// One wake per round: before the wait, during it, or right at its start.
pub(crate) fn no_wake_is_lost<S: Subject>() {
    const ROUNDS: u64 = 1000;
    let driver = &mut S::open(&limits()).unwrap();
    let waker = driver.waker();
    let (ask, asked) = mpsc::channel::<u64>();
    let waking = std::thread::spawn(move || {
        for round in asked {
            for _ in 0..(round % 50) * 20 {
                std::hint::spin_loop();
            }
            waker.wake();
        }
    });
    for round in 0..ROUNDS {
        ask.send(round).unwrap();
        for _ in 0..(round % 7) * 30 {
            std::hint::spin_loop();
        }
        let (start, mut all) = (Instant::now(), Vec::new());
        while all.is_empty() {
            driver.wait(Some(WAIT_MAX), &mut all).unwrap();
            assert!(start.elapsed() < WAIT_MAX, "the wake of round {round} was lost");
        }
        assert_eq!((wakes(&all), all.len()), (1, 1));
    }
    drop(ask);
    waking.join().unwrap();
    assert_home(driver);
}

/// Whatever a thread wrote before a wake is seen after it, however many threads write and wake.
pub(crate) fn many_threads_wake<S: Subject>() {
    const THREADS: u64 = 4;
    const WAKES: u64 = 500;
    let driver = &mut S::open(&limits()).unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (count, waker) = (Arc::clone(&count), driver.waker());
            std::thread::spawn(move || {
                for _ in 0..WAKES {
                    count.fetch_add(1, Ordering::SeqCst);
                    waker.wake();
                }
            })
        })
        .collect();
    let (mut woken, start) = (0, Instant::now());
    while count.load(Ordering::SeqCst) < THREADS * WAKES {
        let mut all = Vec::new();
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        assert!(start.elapsed() < 2 * WAIT_MAX, "a wake was lost");
        woken += wakes(&all);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(woken as u64 <= THREADS * WAKES, "more wakes than there were");
    let _rest = run_none(driver);
    assert!(run_none(driver).is_empty());
    // The driver can still be woken.
    driver.waker().wake();
    assert_eq!(wakes(&run_until(driver, |all| !all.is_empty())), 1);
}

/// A driver that is woken all the time still performs its ops.
pub(crate) fn work_goes_on_between_wakes<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let stop = Arc::new(AtomicU64::new(0));
    let waking = std::thread::spawn({
        let (stop, waker) = (Arc::clone(&stop), driver.waker());
        move || {
            while stop.load(Ordering::Relaxed) == 0 {
                waker.wake();
                std::thread::yield_now();
            }
        }
    });
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    for round in 0..50u8 {
        peer.write_all(&[round; 100]).unwrap();
        assert!(received(&run_until(driver, |all| has_received(all, 100))).0 == [round; 100]);
        send(driver, sock, &[round; 100]);
        let end = |all: &[Completion]| {
            all.iter().any(|end| matches!(end.outcome, Outcome::Sent(Ok(()), _)))
        };
        run_until(driver, end);
        peer.read_exact(&mut [0; 100]).unwrap();
    }
    stop.store(1, Ordering::Relaxed);
    waking.join().unwrap();
    close_all(driver, sock);
}

/// Wakers may outlive their driver, and be used.
pub(crate) fn wakers_outlive_the_driver<S: Subject>() {
    let driver = S::open(&limits()).unwrap();
    let waker = driver.waker();
    let waking = std::thread::spawn({
        let waker = waker.clone();
        move || (0..10_000).for_each(|_| waker.wake())
    });
    drop(driver);
    waking.join().unwrap();
    waker.wake();
}

/// Ops that end without an event are returned without one.
pub(crate) fn finished_ops_are_returned_at_once<S: Subject>() {
    let driver = &mut S::open(&Limits { buffers: 2, buffer_bytes: 64, ..limits() }).unwrap();
    let files = driver.files();
    files.write("page", b"a page");
    driver.submit(FILE, Op::OpenFile { root: files.root(), path: c"page".into() });
    assert!(opened(last(run_unhurried(driver), FILE)).is_ok());
    let (sock, mut peer) = connect(driver);
    send(driver, sock, b"");
    sent(run_unhurried(driver)).unwrap();
    peer.write_all(&pattern(1000)).unwrap();
    let op = receive(driver, sock);
    let held = run_until(driver, |all| has_received(all, 128));
    assert!(run_none(driver).is_empty());
    driver.cancel(op);
    let Outcome::Received(result) = last(run_unhurried(driver), RECEIVE) else {
        panic!("a receive ends with `Received`")
    };
    assert_cancelled(result);
    drop(held);
    close(driver, sock);
    assert_eq!(run_unhurried(driver).len(), 1);
    assert_home(driver);
}

/// Waits without a timeout end with an event, and timeouts are kept while sockets are quiet.
pub(crate) fn timeouts_beside_quiet_ops<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let (_listener, _dialer) = listen(driver);
    receive(driver, sock);
    run_none(driver);
    let before = driver.stats();
    for timeout in [100, 900, 1500, 2100, 10_900].map(Duration::from_micros) {
        let (start, mut all) = (Instant::now(), Vec::new());
        let mut waits = 0;
        // A wait may return early, but the loop gets there without spinning.
        while start.elapsed() < timeout {
            driver.wait(Some(timeout.saturating_sub(start.elapsed())), &mut all).unwrap();
            waits += 1;
        }
        assert!(all.is_empty() && start.elapsed() < WAIT_MAX);
        assert!(S::calls_for_events().is_none() || waits < 10, "{waits} waits for {timeout:?}");
    }
    assert_few_calls(driver, &before, 30, 0);
    let writing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        peer.write_all(b"late").unwrap();
        peer
    });
    assert!(received(&run_unhurried(driver)).0 == b"late");
    writing.join().unwrap();
}

/// Two threads answer at about the same time, again and again: the second answer may come while the
/// driver processes the first.
pub(crate) fn no_answer_of_a_thread_is_lost<S: Subject>() {
    const ROUNDS: usize = 2000;
    let driver = &mut S::open(&limits()).unwrap();
    let root = driver.files().root();
    for round in 0..ROUNDS {
        let job = Job::new(|| Ok(Vec::new()));
        driver.submit(Token(100), Op::Run { job });
        // The kernel does not have this name in memory.
        let path = std::ffi::CString::new(format!("missing-{round}")).unwrap();
        driver.submit(FILE, Op::OpenFile { root: Arc::clone(&root), path });
        let (start, mut all) = (Instant::now(), Vec::new());
        while lasts(&all) < 2 {
            driver.wait(Some(WAIT_MAX), &mut all).unwrap();
            assert!(start.elapsed() < WAIT_MAX, "an answer of round {round} was lost");
        }
    }
    assert_home(driver);
}
