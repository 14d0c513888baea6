//! Tests of what is special about this driver: threads, limits, and calls that outlive their ops.

mod buffers;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use super::thread_pool::IDLE_KEPT;
use super::*;
use crate::driver::{Chain, File, SendEnd, is_cancelled};

const WAIT_MAX: Duration = Duration::from_secs(10);
const TOKEN: Token = Token(1);

fn limits() -> Limits {
    Limits { sockets_max: 64, buffers: 16, buffer_bytes: 1024, ..Limits::default() }
}

/// A driver with a budget of its own, which counts its threads alone: other tests of this process
/// may have drivers of this kind at the same time.
fn counted(threads_max: u32) -> (Threads, &'static Budget) {
    let budget = Box::leak(Box::new(Budget::new(threads_max)));
    (Threads::with_threads(&limits(), THREADS_MAX, budget), budget)
}

/// Waits until the drivers of this budget have `count` threads.
fn wait_for_threads(budget: &Budget, count: u32) {
    let deadline = Instant::now() + WAIT_MAX;
    while budget.taken() != count {
        assert!(Instant::now() < deadline, "{} threads, not {count}", budget.taken());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn run_until(
    driver: &mut Threads,
    mut enough: impl FnMut(&[Completion], &Threads) -> bool,
) -> Vec<Completion> {
    let deadline = Instant::now() + WAIT_MAX;
    let mut all = Vec::new();
    while !enough(&all, driver) {
        assert!(Instant::now() < deadline, "timeout after {all:?}");
        driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    }
    all
}

fn run(driver: &mut Threads) -> Outcome {
    run_until(driver, |all, _| !all.is_empty()).pop().unwrap().outcome
}

fn connect(driver: &mut Threads) -> (Sock, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
    (driver.adopt(ours.into()).unwrap(), peer)
}

fn listen(driver: &mut Threads) -> (Sock, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialled = listener.try_clone().unwrap();
    (driver.adopt(listener.into()).unwrap(), dialled)
}

fn dial(listener: &TcpListener) -> TcpStream {
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
    peer
}

fn close(driver: &mut Threads, sock: Sock) {
    driver.submit(TOKEN, Op::Close { sock, reset: false });
    run_until(driver, |all, _| all.iter().any(|one| matches!(one.outcome, Outcome::Closed)));
}

fn receive(driver: &mut Threads, sock: Sock) -> OpId {
    driver.submit(TOKEN, Op::RecvMany { sock })
}

#[test]
fn sockets_beyond_the_limit_are_refused_and_others_are_served() {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    if descriptors < u64::from(3 * SOCKETS_MAX) {
        println!("skipped: {descriptors} descriptors are too few");
        return;
    }
    let mut driver = Threads::open(&Limits { sockets_max: 5000, ..limits() }).unwrap();
    let (listener, dialled) = listen(&mut driver);
    driver.submit(TOKEN, Op::AcceptMany { listener });
    let mut peers: Vec<_> = (1..SOCKETS_MAX).map(|_| connect(&mut driver)).collect();
    let (more, _peer) = UnixStream::pair().unwrap();
    let error = driver.adopt(more.into()).unwrap_err().to_string();
    assert!(error.contains("2048 sockets") && error.contains("fewer connections"), "{error}");
    let mut refused = [dial(&dialled), dial(&dialled)];
    run_until(&mut driver, |all, driver| all.is_empty() && driver.stats().refused == 2);
    for peer in &mut refused {
        assert_eq!(peer.read(&mut [0; 1]).unwrap_or(0), 0);
    }
    let (sock, mut peer) = peers.pop().unwrap();
    receive(&mut driver, sock);
    peer.write_all(b"served").unwrap();
    let Outcome::Received(Ok(Some(lease))) = run(&mut driver) else { panic!("no data") };
    assert_eq!(*lease, *b"served");
    close(&mut driver, sock);
    let _next = dial(&dialled);
    assert!(matches!(run(&mut driver), Outcome::Accepted(Ok(_))));
}

#[test]
fn without_a_free_thread_ops_fail_and_accepts_wait() {
    let mut driver = Threads::with_threads(&limits(), 1, Budget::of_process());
    let (first, mut first_peer) = connect(&mut driver);
    let (second, mut second_peer) = connect(&mut driver);
    let (listener, dialled) = listen(&mut driver);
    let _dialled = dial(&dialled);
    receive(&mut driver, first);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    receive(&mut driver, second);
    let Outcome::Received(Err(error)) = run(&mut driver) else {
        panic!("no thread was free, and yet the op did not fail")
    };
    assert!(error.to_string().contains("all 1 threads are blocked"), "{error}");
    let file = Arc::new(File::new(tempfile::tempfile().unwrap().into()).unwrap());
    let buffer = Vec::with_capacity(100);
    driver.submit(TOKEN, Op::ReadFile { file, offset: 0, buffer });
    let Outcome::FileRead(Err(_), buffer) = run(&mut driver) else {
        panic!("no thread was free, and yet the op did not fail")
    };
    assert!(buffer.capacity() >= 100, "the buffer is returned");
    let mut chain = Box::new(Chain::new());
    chain.copy(b"x");
    driver.submit(TOKEN, Op::Send { sock: second, chain, end: SendEnd::Open });
    assert!(matches!(run(&mut driver), Outcome::Sent(Err(_), _)));
    driver.submit(TOKEN, Op::AcceptMany { listener });
    let mut none = Vec::new();
    driver.wait(Some(Duration::from_millis(20)), &mut none).unwrap();
    assert!(none.is_empty(), "{none:?}");
    // The op that has a thread is not affected.
    first_peer.write_all(b"served").unwrap();
    assert!(matches!(run(&mut driver), Outcome::Received(Ok(Some(_)))));
    driver.submit(TOKEN, Op::Close { sock: first, reset: false });
    let all = run_until(&mut driver, |all, _| {
        all.iter().any(|one| matches!(one.outcome, Outcome::Accepted(Ok(_))))
    });
    assert!(all.iter().any(|one| matches!(one.outcome, Outcome::Closed)));
    close(&mut driver, listener);
    receive(&mut driver, second);
    second_peer.write_all(b"served").unwrap();
    assert!(matches!(run(&mut driver), Outcome::Received(Ok(Some(_)))));
}

#[test]
fn an_open_starts_the_threads_of_one_connection() {
    let (mut driver, budget) = counted(THREADS_AT_START as u32);
    driver.threads.start(THREADS_AT_START).unwrap();
    assert_eq!(budget.taken(), THREADS_AT_START as u32);
    let (mut second, budget) = counted(THREADS_AT_START as u32 - 1);
    let error = second.threads.start(THREADS_AT_START).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    drop(second);
    wait_for_threads(budget, 0);
}

/// The received bytes come before the error that ends the receive.
#[test]
fn without_a_free_thread_a_receive_delivers_its_bytes_and_ends() {
    let mut driver = Threads::with_threads(&limits(), 1, Budget::of_process());
    let (first, mut peer) = connect(&mut driver);
    let (second, _peer) = connect(&mut driver);
    receive(&mut driver, first);
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    peer.write_all(b"served").unwrap();
    // The second receive takes the thread as soon as that has answered for the first.
    receive(&mut driver, second);
    driver.mailbox.sleep(Some(Instant::now() + WAIT_MAX));
    let mut all = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut all).unwrap();
    let outcomes: Vec<_> = all.iter().map(|one| (one.more, &one.outcome)).collect();
    let [(true, Outcome::Received(Ok(Some(_)))), (false, Outcome::Received(Err(_)))] = outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
}

#[test]
fn no_thread_outlives_its_driver() {
    let (mut driver, budget) = counted(THREADS_MAX);
    let (listener, _dialled) = listen(&mut driver);
    driver.submit(TOKEN, Op::AcceptMany { listener });
    let peers: Vec<_> = (0..20).map(|_| connect(&mut driver)).collect();
    for (sock, _) in &peers {
        receive(&mut driver, *sock);
        let mut chain = Box::new(Chain::new());
        chain.share(&Rc::from(vec![7; 16 << 20]));
        driver.submit(TOKEN, Op::Send { sock: *sock, chain, end: SendEnd::Open });
    }
    for _ in 0..5 {
        driver.wait(Some(Duration::from_millis(10)), &mut Vec::new()).unwrap();
    }
    wait_for_threads(budget, 41);
    drop(driver);
    // The peers are still open, so it was the drop that ended the blocked calls.
    wait_for_threads(budget, 0);
    drop(peers);
}

#[test]
fn idle_threads_are_reused_and_end_after_a_while() {
    let (mut driver, budget) = counted(THREADS_MAX);
    for _ in 0..10 {
        let (sock, mut peer) = connect(&mut driver);
        receive(&mut driver, sock);
        peer.write_all(b"x").unwrap();
        assert!(matches!(run(&mut driver), Outcome::Received(Ok(Some(_)))));
        close(&mut driver, sock);
        assert_eq!(budget.taken(), 1);
    }
    driver.threads.end_idle(Instant::now() + IDLE_KEPT);
    wait_for_threads(budget, 0);
    let (sock, mut peer) = connect(&mut driver);
    receive(&mut driver, sock);
    peer.write_all(b"x").unwrap();
    assert!(matches!(run(&mut driver), Outcome::Received(Ok(Some(_)))));
}

/// The thread of a cancelled receive may return bytes at any moment.
#[test]
fn cancelling_receives_loses_no_byte() {
    const BYTES: usize = 300_000;
    let mut driver = Threads::open(&limits()).unwrap();
    let (sock, mut peer) = connect(&mut driver);
    let expected: Vec<u8> = (0..BYTES).map(|at| (at * 31 / 8) as u8).collect();
    let bytes = expected.clone();
    let (poke, poked) = std::sync::mpsc::channel();
    let writing = std::thread::spawn(move || {
        let mut random = fastrand::Rng::with_seed(5);
        let mut left = &bytes[..];
        while !left.is_empty() {
            let (piece, rest) = left.split_at(random.usize(1..200).min(left.len()));
            peer.write_all(piece).unwrap();
            left = rest;
            // Keep pace with the cancels, at random moments.
            poked.recv().unwrap();
        }
    });
    let mut got = Vec::new();
    let (mut ended, mut cancels) = (false, 0);
    let deadline = Instant::now() + WAIT_MAX;
    let mut op = receive(&mut driver, sock);
    while !ended {
        assert!(Instant::now() < deadline, "{} bytes after {cancels} cancels", got.len());
        // Fails after the writer has ended.
        let _ = poke.send(());
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_micros(50)), &mut all).unwrap();
        driver.cancel(op);
        for Completion { more, outcome, .. } in all {
            match outcome {
                Outcome::Received(Ok(Some(lease))) => got.extend_from_slice(&lease),
                Outcome::Received(Ok(None)) => ended = true,
                Outcome::Received(Err(error)) => assert!(is_cancelled(&error), "{error}"),
                other => panic!("{other:?}"),
            }
            if !more && !ended {
                cancels += 1;
                op = receive(&mut driver, sock);
            }
        }
    }
    writing.join().unwrap();
    assert!(got == expected, "{} of {BYTES} bytes, or others", got.len());
    assert!(cancels > 100, "{cancels} cancels");
    close(&mut driver, sock);
}

#[test]
fn cancelling_accepts_loses_no_connection() {
    const COUNT: usize = 300;
    let mut driver = Threads::open(&Limits { sockets_max: 400, ..limits() }).unwrap();
    let (listener, dialled) = listen(&mut driver);
    let dialling =
        std::thread::spawn(move || (0..COUNT).map(|_| dial(&dialled)).collect::<Vec<_>>());
    let mut op = driver.submit(TOKEN, Op::AcceptMany { listener });
    let mut accepted = 0;
    let deadline = Instant::now() + WAIT_MAX;
    while accepted < COUNT {
        assert!(Instant::now() < deadline, "{accepted} connections");
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_micros(50)), &mut all).unwrap();
        driver.cancel(op);
        for Completion { more, outcome, .. } in all {
            accepted += usize::from(matches!(outcome, Outcome::Accepted(Ok(_))));
            if !more {
                op = driver.submit(TOKEN, Op::AcceptMany { listener });
            }
        }
    }
    drop(dialling.join().unwrap());
}

#[test]
fn a_cancelled_send_releases_its_file_and_its_place_in_the_stream() {
    let mut driver = Threads::open(&limits()).unwrap();
    let (listener, dialled) = listen(&mut driver);
    driver.submit(TOKEN, Op::AcceptMany { listener });
    let mut peer = dial(&dialled);
    let Outcome::Accepted(Ok(sock)) = run(&mut driver) else { panic!("no connection") };
    let on_disk = tempfile::tempfile().unwrap();
    on_disk.set_len(64 << 20).unwrap();
    let file = Arc::new(File::new(on_disk.into()).unwrap());
    let mut chain = Box::new(Chain::new());
    chain.copy(b"head");
    chain.file(&file, 0..64 << 20);
    let op = driver.submit(TOKEN, Op::Send { sock, chain, end: SendEnd::Open });
    let blocked = Instant::now() + Duration::from_millis(300);
    let mut all = Vec::new();
    while Instant::now() < blocked {
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
    }
    assert!(all.is_empty() && Arc::strong_count(&file) > 2, "{all:?}");
    driver.cancel(op);
    let Outcome::Sent(Err(error), mut chain) = run(&mut driver) else { panic!("sent") };
    assert!(is_cancelled(&error));
    let sent = 4 + (64 << 20) - chain.remaining() as usize;
    chain.clear();
    assert_eq!(Arc::strong_count(&file), 1);
    // The next send continues the stream.
    chain.copy(b"tail");
    driver.submit(TOKEN, Op::Send { sock, chain, end: SendEnd::HalfClose });
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got
    });
    assert!(matches!(run(&mut driver), Outcome::Sent(Ok(()), _)));
    let got = reading.join().unwrap();
    assert_eq!(got.len(), sent + 4);
    assert!(got.starts_with(b"head\0") && got.ends_with(b"\0tail"));
}

/// Accepts a connection, blocks a send on it, cancels the send, and checks that it ends.
fn cancel_a_send_that_blocks(driver: &mut Threads, listener: OwnedFd) {
    let listener = driver.adopt(listener).unwrap();
    driver.submit(TOKEN, Op::AcceptMany { listener });
    let Outcome::Accepted(Ok(sock)) = run(driver) else { panic!("no connection") };
    let mut chain = Box::new(Chain::new());
    chain.share(&Rc::from(vec![7; 64 << 20]));
    let op = driver.submit(TOKEN, Op::Send { sock, chain, end: SendEnd::Open });
    let blocked = Instant::now() + Duration::from_millis(300);
    while Instant::now() < blocked {
        driver.wait(Some(Duration::from_millis(50)), &mut Vec::new()).unwrap();
    }
    driver.cancel(op);
    let Outcome::Sent(Err(error), _) = run(driver) else { panic!("sent") };
    assert!(is_cancelled(&error));
}

/// Such a connection does not inherit options that the listener got later.
#[test]
fn a_send_on_a_connection_established_before_the_adoption_can_be_cancelled() {
    let mut driver = Threads::open(&limits()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _peer = dial(&listener);
    cancel_a_send_that_blocks(&mut driver, listener.into());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let _peer = UnixStream::connect(&path).unwrap();
    cancel_a_send_that_blocks(&mut driver, listener.into());
}

/// A waker keeps the mailbox alive, but must not keep a connection open.
#[test]
fn uncollected_answers_are_dropped_with_the_driver() {
    let mut driver = Threads::open(&limits()).unwrap();
    let (listener, dialled) = listen(&mut driver);
    driver.submit(TOKEN, Op::AcceptMany { listener });
    driver.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    let waker = driver.waker();
    let mut peer = dial(&dialled);
    driver.mailbox.sleep(Some(Instant::now() + WAIT_MAX));
    drop(driver);
    let end = peer.read(&mut [0; 1]);
    let reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
    assert!(matches!(&end, Ok(0)) || end.as_ref().is_err_and(reset), "{end:?}");
    waker.wake();
}

#[test]
fn answers_to_a_closed_mailbox_are_dropped() {
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let mailbox = ThreadMailbox::default();
    mailbox.close();
    let accepted = job::SocketResult::Accepted(Ok(ours.into()));
    let result = job::JobResult::Socket(Handle::at(0), accepted);
    mailbox.post(ThreadAnswer { thread: Handle::at(0), result, calls: Calls::default() });
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn drivers_share_the_threads_of_the_process() {
    let (mut first, budget) = counted(1);
    let mut second = Threads::with_threads(&limits(), THREADS_MAX, budget);
    let (sock, _first_peer) = connect(&mut first);
    receive(&mut first, sock);
    first.wait(Some(Duration::ZERO), &mut Vec::new()).unwrap();
    let (sock, mut peer) = connect(&mut second);
    peer.write_all(b"served").unwrap();
    receive(&mut second, sock);
    let Outcome::Received(Err(error)) = run(&mut second) else { panic!("it had a thread") };
    assert!(error.to_string().contains("all 1 threads that the drivers"), "{error}");
    drop(first);
    wait_for_threads(budget, 0);
    receive(&mut second, sock);
    assert!(matches!(run(&mut second), Outcome::Received(Ok(Some(_)))));
}

/// All duplicates of a socket share its status flags.
#[test]
fn a_socket_made_non_blocking_through_a_duplicate_works_without_spinning() {
    const BYTES: usize = 64 << 20;
    let mut driver = Threads::open(&limits()).unwrap();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let duplicate = ours.try_clone().unwrap();
    let sock = driver.adopt(ours.into()).unwrap();
    duplicate.set_nonblocking(true).unwrap();
    receive(&mut driver, sock);
    let mut chain = Box::new(Chain::new());
    chain.share(&Rc::from(vec![7; BYTES]));
    driver.submit(TOKEN, Op::Send { sock, chain, end: SendEnd::HalfClose });
    let blocked = Instant::now() + Duration::from_millis(300);
    let mut all = Vec::new();
    while Instant::now() < blocked {
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
    }
    assert!(all.is_empty(), "{all:?}");
    peer.write_all(b"served").unwrap();
    assert!(matches!(run(&mut driver), Outcome::Received(Ok(Some(_)))));
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).unwrap();
        got.len()
    });
    let sent = |all: &[Completion]| all.iter().any(|one| matches!(one.outcome, Outcome::Sent(..)));
    run_until(&mut driver, |all, _| sent(all));
    assert_eq!(reading.join().unwrap(), BYTES);
    assert!(driver.stats().would_block > 0);
    // A Unix socket accepts at most 64 KiB per call.
    let calls = driver.stats().system_calls;
    assert!(calls < 30_000, "{calls} system calls");
}

#[test]
#[should_panic = "an op ends that is not in flight"]
fn ending_an_op_that_is_not_in_flight_panics() {
    let mut driver = Threads::open(&limits()).unwrap();
    driver.done.finish(TOKEN, Outcome::Closed);
}
