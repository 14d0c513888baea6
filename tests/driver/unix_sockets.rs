//! Unix sockets, where they differ from TCP: resets, addresses, and listeners that drivers share.

use std::io::{Read, Write};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ringd::driver::{Limits, Op, Outcome, SocketAddress, is_cancelled};

use crate::harness::*;
use crate::kernel::{Kernel, pair, spawn, unix_listener};
use crate::subject::Dial;

/// What was sent is with the peer already, and cannot be discarded: the peer sees that the rest is
/// missing.
pub(crate) fn a_reset_ends_the_connection<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    block_send(driver, sock);
    driver.submit(CLOSE, Op::Close { sock, reset: true });
    assert!(sent(run_lasts(driver, 2)).is_err());
    let count = std::io::copy(&mut peer, &mut std::io::sink()).unwrap();
    assert!(count < STUCK_BYTES as u64, "{count}");
    assert_home(driver);
}

/// The peer has sent what nobody has received: then it gets an error, as from TCP.
pub(crate) fn a_reset_with_unread_input<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (sock, mut peer) = connect(driver);
    peer.write_all(b"unread").unwrap();
    driver.submit(CLOSE, Op::Close { sock, reset: true });
    run_lasts(driver, 1);
    let error = peer.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_home(driver);
}

pub(crate) fn ends_are_unix_sockets<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let _peer = dialer.dial().unwrap();
    let sock = accepted(&run_until(driver, |all| !all.is_empty()))[0];
    for ends in [driver.local(listener), driver.local(sock), driver.peer(sock)] {
        assert_eq!(ends.unwrap(), SocketAddress::Unix);
    }
    assert_eq!(code(driver.peer(listener)), Some(libc::ENOTCONN));
    close(driver, sock);
    close(driver, listener);
    run_lasts(driver, 3);
    assert_home(driver);
}

/// Also if another process holds a duplicate of the descriptor.
pub(crate) fn a_close_reaches_the_peer<D: Kernel>() {
    let driver = &mut D::open(&limits()).unwrap();
    let (ours, mut peer) = pair();
    let _duplicate = ours.try_clone().unwrap();
    let sock = driver.adopt(ours.into()).unwrap();
    receive(driver, sock);
    close_all(driver, sock);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

/// The first driver that watches the listener gets the connections while the other accepts none,
/// and the other one gets those that come later. A thread that is in an accept that was cancelled
/// may hold one.
pub(crate) fn a_shared_listener_wakes_each_driver<D: Kernel>() {
    const COUNT: usize = 20;
    let (listener, dialer) = unix_listener();
    let duplicate = listener.try_clone().unwrap();
    let (ready, is_ready) = channel();
    let (end, ends) = channel::<()>();
    let first = spawn(move || {
        let driver = &mut D::open(&limits()).unwrap();
        let listener = driver.adopt(duplicate.into()).unwrap();
        let op = driver.submit(ACCEPT, Op::AcceptMany { listener });
        assert!(run_none(driver).is_empty());
        ready.send(()).unwrap();
        let all = run_until(driver, |all| accepted(all).len() == COUNT);
        // It waits for the next connection, and is then told not to accept it.
        assert!(run_none(driver).is_empty());
        driver.cancel(op);
        let mut rest = run_lasts(driver, 1);
        ready.send(()).unwrap();
        // It goes on waiting. A driver that is dropped would shut its sockets down.
        while ends.try_recv().is_err() {
            driver.wait(Some(Duration::from_millis(20)), &mut rest).unwrap();
        }
        (accepted(&all).len() + accepted(&rest).len(), driver.in_flight())
    });
    let driver = &mut D::open(&limits()).unwrap();
    is_ready.recv().unwrap();
    let listener = driver.adopt(listener.into()).unwrap();
    let dial = || (0..COUNT).map(|_| dialer.dial().unwrap()).collect::<Vec<_>>();
    let _peers = dial();
    is_ready.recv().unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    let _more = dial();
    run_until(driver, |all| accepted(all).len() >= COUNT - 1);
    end.send(()).unwrap();
    assert_eq!(first.join().unwrap(), (COUNT, 0));
}

/// The queue is delivered to the drivers that share the listener, and later clients are refused. A
/// blocking accept of another driver ends with an error; others find an empty queue until their
/// driver closes its duplicate.
pub(crate) fn a_shared_listener_is_closed_by_any<D: Kernel>() {
    const COUNT: usize = 100;
    let (listener, dialer) = unix_listener();
    socket2::SockRef::from(&listener).listen(4096).unwrap();
    let duplicate = listener.try_clone().unwrap();
    let (ready, is_ready) = channel();
    let (close_now, closes_now) = channel::<()>();
    let other = spawn(move || {
        let driver = &mut D::open(&limits()).unwrap();
        let listener = driver.adopt(duplicate.into()).unwrap();
        driver.submit(ACCEPT, Op::AcceptMany { listener });
        assert!(run_none(driver).is_empty());
        ready.send(()).unwrap();
        closes_now.recv().unwrap();
        close(driver, listener);
        let all = run_lasts(driver, 2);
        let count = accepted(&all).len();
        let Outcome::Accepted(Err(error)) = last(all, ACCEPT) else { panic!("it ends") };
        let invalid = error.raw_os_error() == Some(libc::EINVAL);
        assert!(invalid || is_cancelled(&error), "{error}");
        count
    });
    let driver = &mut D::open(&limits()).unwrap();
    let listener = driver.adopt(listener.into()).unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    assert!(run_none(driver).is_empty());
    is_ready.recv().unwrap();
    let _peers: Vec<_> = (0..COUNT).map(|_| dialer.dial().unwrap()).collect();
    close(driver, listener);
    let all = run_lasts(driver, 2);
    assert!(dialer.dial().is_err(), "a client is refused");
    close_now.send(()).unwrap();
    assert_eq!(accepted(&all).len() + other.join().unwrap(), COUNT);
}

/// So that a worker does not take a burst of connections for itself.
pub(crate) fn a_shared_listener_gives_one_at_a_time<D: Kernel>() {
    const COUNT: usize = 20;
    // With room for many connections, a ring takes all that wait at once.
    let driver = &mut D::open(&Limits { sockets_max: 2000, ..limits() }).unwrap();
    let (listener, dialer) = unix_listener();
    let listener = driver.adopt(listener.into()).unwrap();
    let _peers: Vec<_> = (0..COUNT).map(|_| dialer.dial().unwrap()).collect();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    let (mut count, deadline) = (0, Instant::now() + WAIT_MAX);
    while count < COUNT {
        assert!(Instant::now() < deadline);
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
        assert!(all.len() <= 1, "{all:?}");
        count += all.len();
    }
    close(driver, listener);
    let Outcome::Accepted(Err(error)) = last(run_lasts(driver, 2), ACCEPT) else {
        panic!("an accept ends with an error")
    };
    assert!(is_cancelled(&error));
}
