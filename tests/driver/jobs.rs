//! Jobs run one after the other, while the loop goes on.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ringd::driver::{Completion, Job, Op, OpId, Outcome, Token, is_cancelled};

use crate::harness::*;
use crate::kernel::Kernel;
use crate::subject::{Files, Subject};

/// How many jobs can wait, besides the one that runs.
const WAITING: usize = 16;

fn run<S: Subject>(
    driver: &mut S,
    number: u64,
    work: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static,
) -> OpId {
    driver.submit(Token(number), Op::Run { job: Job::new(work) })
}

fn ran(completion: Completion) -> (u64, io::Result<Vec<u8>>) {
    assert!(!completion.more);
    match completion.outcome {
        Outcome::Ran(result) => (completion.token.0, result),
        other => panic!("{other:?}"),
    }
}

/// The results of `count` jobs, by token.
fn results<S: Subject>(driver: &mut S, count: usize) -> Vec<(u64, io::Result<Vec<u8>>)> {
    let mut results: Vec<_> = run_lasts(driver, count).into_iter().map(ran).collect();
    results.sort_by_key(|(number, _)| *number);
    results
}

fn result<S: Subject>(driver: &mut S) -> io::Result<Vec<u8>> {
    results(driver, 1).remove(0).1
}

/// A job that has begun, and continues when the sender is dropped.
fn begin<S: Subject>(driver: &mut S, number: u64) -> (OpId, Sender<()>) {
    let ((open, gate), (began, begins)) = (mpsc::channel::<()>(), mpsc::channel());
    let op = run(driver, number, move || {
        began.send(()).unwrap();
        let _ = gate.recv();
        Ok(b"done".to_vec())
    });
    begins.recv_timeout(WAIT_MAX).unwrap();
    (op, open)
}

fn assert_dropped<T>(weak: &Weak<T>) {
    let deadline = Instant::now() + WAIT_MAX;
    while weak.strong_count() > 0 {
        assert!(Instant::now() < deadline, "a job was not dropped");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn jobs_return_bytes_or_errors<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    run(driver, 1, || Ok(pattern(100_000)));
    assert_eq!(driver.in_flight(), 1);
    assert!(result(driver).unwrap() == pattern(100_000));
    run(driver, 2, || Err(io::Error::from_raw_os_error(libc::EIO)));
    assert_eq!(code(result(driver)), Some(libc::EIO));
    run(driver, 3, || Ok(Vec::new()));
    let all = run_unhurried(driver);
    assert!(matches!(&all[..], [Completion { token: Token(3), outcome: Outcome::Ran(Ok(_)), .. }]));
    // Jobs are meant for work such as reading a directory.
    let files = driver.files();
    files.write("page", b"a page");
    let root = files.root();
    run(driver, 4, move || Ok(root.entries(9)?.entries.remove(0).name));
    assert_eq!(result(driver).unwrap(), b"page");
    assert_home(driver);
}

pub(crate) fn a_job_that_panics_is_an_error<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let owned = Arc::new(());
    let (weak, its) = (Arc::downgrade(&owned), owned);
    run(driver, 1, move || panic!("this panic is part of the test: {its:?}"));
    assert_eq!(result(driver).unwrap_err().kind(), io::ErrorKind::Other);
    assert_dropped(&weak);
    run(driver, 2, || Ok(b"still here".to_vec()));
    assert_eq!(result(driver).unwrap(), b"still here");
    assert_home(driver);
}

/// More jobs than can wait: each ends once, done or refused, and the driver still works.
pub(crate) fn many_jobs_at_once<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for round in 0..20 {
        let count = 1 + round * 4;
        for number in 0..count as u64 {
            run(driver, number, move || Ok(number.to_be_bytes().to_vec()));
        }
        assert_eq!(driver.in_flight(), count);
        let results = results(driver, count);
        let mut done = 0;
        for (number, (token, result)) in results.into_iter().enumerate() {
            assert_eq!(token, number as u64);
            match result {
                Ok(bytes) => {
                    assert_eq!(bytes, token.to_be_bytes());
                    done += 1;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
            }
        }
        assert!(done >= count.min(WAITING), "{done} of {count}");
        assert_home(driver);
    }
}

/// A job ran, or it was cancelled before it began: never both, never neither.
pub(crate) fn cancel_of_jobs<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    for round in 0..50 {
        let performed = Arc::new(AtomicUsize::new(0));
        let ops: Vec<_> = (0..10)
            .map(|number| {
                let performed = Arc::clone(&performed);
                run(driver, number, move || {
                    performed.fetch_add(1, Ordering::Relaxed);
                    Ok(Vec::new())
                })
            })
            .collect();
        if round % 2 == 0 {
            std::thread::yield_now();
        }
        for op in &ops {
            driver.cancel(*op);
            driver.cancel(*op);
        }
        let mut done = 0;
        for (_, result) in results(driver, 10) {
            match result {
                Ok(_) => done += 1,
                Err(error) => assert!(is_cancelled(&error), "{error}"),
            }
        }
        assert_eq!(performed.load(Ordering::Relaxed), done);
        assert_eq!(Arc::strong_count(&performed), 1);
        assert_home(driver);
        // The names are stale by now.
        ops.into_iter().for_each(|op| driver.cancel(op));
        run(driver, 1, || Ok(b"spared".to_vec()));
        assert_eq!(result(driver).unwrap(), b"spared");
    }
}

pub(crate) fn jobs_do_not_use_up_wakes<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    run(driver, 1, || Ok(Vec::new()));
    result(driver).unwrap();
    driver.waker().wake();
    let all = run_until(driver, |all| !all.is_empty());
    assert!(matches!(&all[..], [Completion { outcome: Outcome::Woken, .. }]), "{all:?}");
    let before = driver.stats();
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
    assert!(all.is_empty(), "{all:?}");
    assert_few_calls(driver, &before, 10, 0);
}

pub(crate) fn a_drop_releases_jobs<S: Subject>() {
    for waits in 0..3 {
        let mut driver = S::open(&limits()).unwrap();
        let owned = Arc::new(());
        for number in 0..30 {
            let its = Arc::clone(&owned);
            run(&mut driver, number, move || Ok(vec![Arc::strong_count(&its) as u8]));
        }
        let mut all = Vec::new();
        for _ in 0..waits {
            driver.wait(Some(Duration::ZERO), &mut all).unwrap();
        }
        let (weak, start) = (Arc::downgrade(&owned), Instant::now());
        drop((driver, owned));
        assert!(start.elapsed() < WAIT_MAX);
        assert_dropped(&weak);
    }
}

/// While a long job runs, everything else goes on, and then its completion is returned.
pub(crate) fn a_long_job_does_not_stop_the_loop<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    let (_, gate) = begin(driver, 100);
    receive(driver, sock);
    for round in 0..20 {
        io::Write::write_all(&mut peer, &[round]).unwrap();
        drop(run_until(driver, |all| has_received(all, 1)));
        send(driver, sock, &[round]);
        sent(run_lasts(driver, 1)).unwrap();
    }
    drop(gate);
    let all = run_unhurried(driver);
    assert_eq!(all.into_iter().map(ran).next().unwrap().1.unwrap(), b"done");
    close_all(driver, sock);
}

pub(crate) fn cancel_of_a_job_that_has_begun<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (begun, gate) = begin(driver, 1);
    let owned = Arc::new(());
    let its = Arc::clone(&owned);
    let waits = run(driver, 2, move || panic!("a cancelled job ran: {its:?}"));
    driver.cancel(begun);
    driver.cancel(waits);
    let (number, cancelled) = results(driver, 1).remove(0);
    assert_eq!(number, 2);
    assert_cancelled(cancelled);
    assert_eq!(Arc::strong_count(&owned), 1);
    assert_eq!(driver.in_flight(), 1);
    assert!(run_none(driver).is_empty());
    drop(gate);
    assert_eq!(result(driver).unwrap(), b"done");
    assert_home(driver);
}

pub(crate) fn jobs_that_wait_are_bounded<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (_, gate) = begin(driver, 0);
    for number in 1..=WAITING as u64 + 2 {
        run(driver, number, || Ok(Vec::new()));
    }
    // The jobs beyond the bound end at once; the others have not begun.
    let refused = results(driver, 2);
    for ((number, result), expected) in refused.into_iter().zip(WAITING as u64 + 1..) {
        assert_eq!(number, expected);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
    assert!(run_none(driver).is_empty());
    drop(gate);
    let done = results(driver, 1 + WAITING);
    assert!(done.into_iter().all(|(_, result)| result.is_ok()));
    assert_home(driver);
}

/// A job that has begun does not delay the drop, and ends by itself.
pub(crate) fn drop_with_a_job_that_has_begun<D: Kernel>() {
    let mut driver = D::open(&limits()).unwrap();
    let owned = Arc::new(());
    let ((open, gate), (began, begins)) = (mpsc::channel::<()>(), mpsc::channel());
    let its = Arc::clone(&owned);
    run(&mut driver, 1, move || {
        began.send(()).unwrap();
        let _ = gate.recv();
        Ok(vec![Arc::strong_count(&its) as u8])
    });
    begins.recv_timeout(WAIT_MAX).unwrap();
    let waits = Arc::clone(&owned);
    run(&mut driver, 2, move || panic!("a dropped job ran: {waits:?}"));
    let start = Instant::now();
    drop(driver);
    assert!(start.elapsed() < WAIT_MAX);
    assert_eq!(Arc::strong_count(&owned), 2, "only the job that has begun is left");
    drop(open);
    let weak = Arc::downgrade(&owned);
    drop(owned);
    assert_dropped(&weak);
}
