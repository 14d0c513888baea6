//! Signals that interrupt every system call: callers of a driver do not notice.

#![allow(unsafe_code)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringd::driver::{Chain, Op, Outcome};

use crate::files::{opened, read_file};
use crate::harness::*;
use crate::kernel::Kernel;
use crate::subject::{Dial, Files, Peer};

/// Used by no other test, and a standard signal, so it does not use up the queue of `Sigio`.
const SIGNAL: i32 = libc::SIGUSR2;

/// How many signals were handled.
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn handle(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// A thread that sends signals to all other threads until it is dropped or time runs out. Drivers
/// may have threads of their own, so all threads get them and the test has to run alone.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn begin() -> Self {
        // SAFETY: `sigaction` is plain data for which zero is a value: no flag, so without
        // SA_RESTART, and an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as extern "C" fn(i32) as usize;
        // SAFETY: the action is live, and its handler only adds to an atomic, which is allowed at
        // any time (`signal-safety(7)`).
        let result = unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) };
        assert_eq!(result, 0);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                // A driver that restarts its timeout at every signal must still end: so the storm
                // ends.
                let end = Instant::now() + 2 * WAIT_MAX;
                while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                    signal_all_others();
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

fn signal_all_others() {
    // SAFETY: the call takes no argument.
    let own = unsafe { libc::gettid() };
    let process = std::process::id() as i32;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task: i32 = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
        if task != own {
            // SAFETY: the call takes no pointer; the thread is of this process, or gone, which
            // is an error.
            unsafe { libc::syscall(libc::SYS_tgkill, process, task, SIGNAL) };
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A signal neither ends a timeout for good nor restarts it.
pub(crate) fn interrupted_waits_keep_their_time<D: Kernel>() {
    D::alone(interrupted_waits::<D>);
}

fn interrupted_waits<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    run_none(driver);
    let storm = Storm::begin();
    let before = HANDLED.load(Ordering::Relaxed);
    let (start, timeout, mut all) = (Instant::now(), Duration::from_millis(60), Vec::new());
    while start.elapsed() < timeout || HANDLED.load(Ordering::Relaxed) < before + 10 {
        driver.wait(Some(timeout), &mut all).unwrap();
        assert!(all.is_empty() && start.elapsed() < WAIT_MAX);
    }
    // A signal does not hide an event from a wait without a timeout, either.
    let writing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        peer.write_all(b"late").unwrap();
        peer
    });
    assert!(received(&run_unhurried(driver)).0 == b"late");
    drop(storm);
    writing.join().unwrap();
    close_all(driver, sock);
}

/// Every kind of op, while signals arrive.
pub(crate) fn interrupted_ops_go_on<D: Kernel>() {
    D::alone(interrupted_ops::<D>);
}

fn interrupted_ops<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let files = driver.files();
    let bytes = pattern(6 << 20);
    files.write("file", &bytes);
    let (listener, dialer) = listen(driver);
    let storm = Storm::begin();
    let dialling = std::thread::spawn(move || {
        let mut peers = Vec::new();
        for _ in 0..20 {
            peers.push(dialer.dial().unwrap());
            std::thread::sleep(Duration::from_micros(700));
        }
        peers
    });
    let all = run_until(driver, |all| accepted(all).len() == 20);
    let socks = accepted(&all);
    assert_eq!(all.len(), 20, "{all:?}");
    let peers = dialling.join().unwrap();
    driver.submit(FILE, Op::OpenFile { root: files.root(), path: c"file".into() });
    let file = opened(last(run_lasts(driver, 1), FILE)).unwrap();
    let (result, buffer) = read_file(driver, &file, 0, Vec::with_capacity(bytes.len() + 1));
    assert_eq!(result.unwrap(), bytes.len());
    assert!(buffer == bytes);
    let (sock, mut peer) = connect(driver);
    receive(driver, sock);
    let mut chain = Chain::new();
    chain.share(&std::rc::Rc::from(&bytes[..]));
    chain.file(&file, 0..bytes.len() as u64);
    send_chain(driver, sock, chain);
    let reading = slow_reader(peer.twin(), 2 * bytes.len());
    let writing = std::thread::spawn(move || {
        pattern(100_000).chunks(1000).for_each(|chunk| {
            peer.write_all(chunk).unwrap();
            std::thread::sleep(Duration::from_micros(100));
        });
        peer
    });
    let (mut got, mut is_sent) = (Vec::new(), false);
    let deadline = Instant::now() + 2 * WAIT_MAX;
    while !is_sent || got.len() < 100_000 {
        assert!(Instant::now() < deadline, "{is_sent}, {} bytes", got.len());
        for completion in run_until(driver, |all| !all.is_empty()) {
            match completion.outcome {
                Outcome::Received(Ok(Some(lease))) => got.extend_from_slice(&lease),
                Outcome::Sent(result, _) => {
                    result.unwrap();
                    is_sent = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(got == pattern(100_000));
    let got = reading.join().unwrap();
    assert!(got[..bytes.len()] == bytes && got[bytes.len()..] == bytes);
    drop((writing.join().unwrap(), peers));
    for sock in socks.into_iter().chain([sock, listener]) {
        close(driver, sock);
    }
    run_lasts(driver, 24);
    drop(storm);
    assert_home(driver);
}
