//! Listeners that another process holds too: a close leaves the socket to it, with its queue. The
//! other holder is a second descriptor of the same driver, or another driver.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use ringd::driver::{Completion, Limits, Op, Outcome, Sock, Token, is_cancelled};

use crate::harness::*;
use crate::kernel::{Kernel, dial_all, listener, spawn};
use crate::subject::{Dial, Subject};

/// The accept and the close of the second holder.
const OTHER_ACCEPT: Token = Token(14);

/// How many clients a test has.
const COUNT: usize = 50;

/// A listener that the driver holds twice, both times as a joint one.
fn joint<S: Subject>(driver: &mut S) -> ([Sock; 2], S::Dialer) {
    let (socks, dialer) = driver.listen_twice();
    socks.iter().for_each(|sock| driver.set_joint(*sock, true));
    (socks, dialer)
}

fn clients<D: Dial>(dialer: &D, count: usize) -> Vec<D::Peer> {
    (0..count).map(|_| dialer.dial().unwrap()).collect()
}

/// The connections of one of the two accepts.
fn accepted_by(all: &[Completion], token: Token) -> Vec<Sock> {
    let sock = |done: &Completion| match done.outcome {
        Outcome::Accepted(Ok(sock)) if done.token == token => Some(sock),
        _ => None,
    };
    all.iter().filter_map(sock).collect()
}

/// Whether the close has completed; it comes after the end of an accept.
fn is_closed(all: &[Completion]) -> bool {
    all.iter().any(|done| matches!(done.outcome, Outcome::Closed))
}

/// Sends a byte on each connection, and checks that each client gets one: none was reset.
fn all_are_served<S: Subject>(driver: &mut S, socks: Vec<Sock>, mut peers: Vec<S::Peer>) {
    assert_eq!(socks.len(), peers.len());
    for sock in socks {
        send(driver, sock, b"x");
        sent(run_until(driver, |all| all.iter().any(|done| done.token == SEND))).unwrap();
    }
    for peer in &mut peers {
        peer.read_exact(&mut [0]).unwrap();
    }
}

/// What waits when a joint listener without an accept is closed stays there for the other holder.
pub(crate) fn a_joint_listener_leaves_its_queue<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let ([first, second], dialer) = joint(driver);
    let peers = clients(&dialer, COUNT);
    close(driver, first);
    run_lasts(driver, 1);
    driver.submit(OTHER_ACCEPT, Op::AcceptMany { listener: second });
    let all = run_until(driver, |all| accepted(all).len() >= COUNT);
    all_are_served(driver, accepted(&all), peers);
}

/// With an accept in flight, each connection is delivered by one of the two.
pub(crate) fn a_joint_accept_delivers_what_it_has<S: Subject>() {
    for (waits, room) in [(false, 256), (true, 256), (false, 4096), (true, 4096)] {
        let driver = &mut S::open(&Limits { sockets_max: room, ..limits() }).unwrap();
        let ([first, second], dialer) = joint(driver);
        driver.submit(ACCEPT, Op::AcceptMany { listener: first });
        if waits {
            assert!(run_none(driver).is_empty());
        }
        let peers = clients(&dialer, COUNT);
        close(driver, first);
        let mut all = run_until(driver, is_closed);
        let end = all.iter().find(|done| done.token == ACCEPT && !done.more);
        let Some(Completion { outcome: Outcome::Accepted(Err(error)), .. }) = end else {
            panic!("no end of the accept before the close in {all:?}")
        };
        assert!(is_cancelled(error), "{error}");
        driver.submit(OTHER_ACCEPT, Op::AcceptMany { listener: second });
        let left = COUNT - accepted(&all).len();
        all.extend(run_until(driver, |all| accepted(all).len() >= left));
        all_are_served(driver, accepted(&all), peers);
    }
}

/// A close may come while the cancel of the accept is under way.
pub(crate) fn a_joint_close_behind_a_cancelled_accept<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let ([first, second], dialer) = joint(driver);
    let op = driver.submit(ACCEPT, Op::AcceptMany { listener: first });
    assert!(run_none(driver).is_empty());
    driver.cancel(op);
    close(driver, first);
    run_lasts(driver, 2);
    let peers = clients(&dialer, COUNT);
    driver.submit(OTHER_ACCEPT, Op::AcceptMany { listener: second });
    let all = run_until(driver, |all| accepted(all).len() >= COUNT);
    all_are_served(driver, accepted(&all), peers);
}

/// Then its close delivers the queue, as clause 15 demands, and no one connects any more.
pub(crate) fn a_listener_may_cease_to_be_joint<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    driver.set_joint(listener, true);
    assert!(run_none(driver).is_empty());
    driver.set_joint(listener, false);
    assert!(run_none(driver).is_empty());
    let peers = clients(&dialer, COUNT);
    close(driver, listener);
    let all = run_until(driver, is_closed);
    all_are_served(driver, accepted(&all), peers);
    assert!(dialer.dial().is_err(), "nobody listens");
}

/// A change while the accept is in flight loses no connection.
pub(crate) fn a_joint_accept_goes_on<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let (mut peers, mut socks) = (Vec::new(), Vec::new());
    for joint in [true, false, true, false] {
        peers.extend(clients(&dialer, 5));
        driver.set_joint(listener, joint);
        peers.extend(clients(&dialer, 5));
        let all = run_until(driver, |all| accepted(all).len() >= 10);
        socks.extend(accepted(&all));
    }
    all_are_served(driver, socks, peers);
}

/// The socket goes on to take clients.
pub(crate) fn new_clients_come_after_a_joint_close<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let ([first, second], dialer) = joint(driver);
    for (token, listener) in [(ACCEPT, first), (OTHER_ACCEPT, second)] {
        driver.submit(token, Op::AcceptMany { listener });
    }
    assert!(run_none(driver).is_empty());
    close(driver, first);
    assert!(accepted(&run_lasts(driver, 2)).is_empty());
    let peers = clients(&dialer, COUNT);
    let all = run_until(driver, |all| accepted(all).len() >= COUNT);
    all_are_served(driver, accepted_by(&all, OTHER_ACCEPT), peers);
}

/// The kernel may have told only the accept that ends of a client. It is served nevertheless.
pub(crate) fn a_joint_close_loses_no_report<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let ([first, second], dialer) = joint(driver);
    for (token, listener) in [(ACCEPT, first), (OTHER_ACCEPT, second)] {
        driver.submit(token, Op::AcceptMany { listener });
    }
    assert!(run_none(driver).is_empty());
    let peers = clients(&dialer, 1);
    close(driver, first);
    let all = run_until(driver, |all| accepted(all).len() == 1);
    all_are_served(driver, accepted(&all), peers);
}

/// A driver may be dropped because its worker has failed, and the other process must not notice.
pub(crate) fn a_drop_leaves_joint_listeners<D: Kernel>() {
    let (listener, dialer) = listener();
    let held = TcpListener::from(listener.try_clone().unwrap());
    let mut driver = D::open(&limits()).unwrap();
    let sock = driver.adopt(listener).unwrap();
    driver.set_joint(sock, true);
    driver.submit(ACCEPT, Op::AcceptMany { listener: sock });
    assert!(run_none(&mut driver).is_empty());
    drop(driver);
    let _peers = clients(&dialer, COUNT);
    for _ in 0..COUNT {
        accept_from(&held);
    }
}

/// Two drivers take the connections of one listener while clients come, and one of them leaves.
pub(crate) fn two_drivers_share_a_joint_listener<D: Kernel>() {
    const MANY: usize = 400;
    let (listener, dialer) = listener();
    let duplicate = listener.try_clone().unwrap();
    let other = spawn(move || {
        let driver = &mut D::open(&limits()).unwrap();
        let sock = driver.adopt(duplicate).unwrap();
        driver.set_joint(sock, true);
        driver.submit(ACCEPT, Op::AcceptMany { listener: sock });
        let mut all = run_until(driver, |all| accepted(all).len() >= 10);
        close(driver, sock);
        all.extend(run_until(driver, is_closed));
        let socks = accepted(&all);
        let count = socks.len();
        for sock in socks {
            send(driver, sock, b"x");
            sent(run_until(driver, |all| all.iter().any(|done| done.token == SEND))).unwrap();
        }
        count
    });
    let clients = std::thread::spawn(move || dial_all(&dialer, MANY));
    let driver = &mut D::open(&Limits { sockets_max: 1024, ..limits() }).unwrap();
    let count = other.join().unwrap();
    let sock = driver.adopt(listener).unwrap();
    driver.set_joint(sock, true);
    driver.submit(ACCEPT, Op::AcceptMany { listener: sock });
    let all = run_until(driver, |all| accepted(all).len() + count >= MANY);
    for sock in accepted(&all) {
        send(driver, sock, b"x");
        sent(run_until(driver, |all| all.iter().any(|done| done.token == SEND))).unwrap();
    }
    for mut peer in clients.join().unwrap() {
        peer.read_exact(&mut [0]).unwrap();
    }
}

/// Accepts a connection from a listener that does not block.
fn accept_from(listener: &TcpListener) {
    let deadline = Instant::now() + WAIT_MAX;
    // `accept` of the standard library cannot name the peer of a Unix socket.
    while let Err(error) = rustix::net::accept(listener) {
        assert_eq!(error, rustix::io::Errno::WOULDBLOCK);
        assert!(Instant::now() < deadline, "a client waits for another holder");
        std::thread::sleep(Duration::from_millis(1));
    }
}
