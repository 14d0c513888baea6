//! Closing a listener: the connections in its queue are delivered, and it accepts no others.

use std::collections::HashMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use ringd::driver::{
    ACCEPT_RETRY, ACCEPTS_PER_WAIT, Completion, Limits, Op, Outcome, Sock, Token, is_cancelled,
};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use socket2::{Domain, Socket, Type};

use crate::harness::*;
use crate::kernel::{Kernel, spawn};
use crate::subject::{Dial, Peer, Subject};

/// Room for so many connections that the driver need not accept one at a time.
fn roomy() -> Limits {
    Limits { sockets_max: 4096, ..limits() }
}

/// A client that has sent its number.
fn client<D: Dial>(dialer: &D, number: usize) -> D::Peer {
    let mut peer = dialer.dial().unwrap();
    peer.write_all(&number.to_le_bytes()).unwrap();
    peer
}

/// Waits for the end of a listener whose accept is in flight; returns the connections that were
/// delivered before. If `short`, checks that no wait exceeds the bound on accepts.
#[track_caller]
fn ended<S: Subject>(driver: &mut S, short: bool) -> Vec<Sock> {
    let (deadline, mut all) = (Instant::now() + WAIT_MAX, Vec::new());
    while lasts(&all) < 2 {
        assert!(Instant::now() < deadline, "the close has not completed after {all:#?}");
        let before = all.len();
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
        let count = accepted(&all[before..]).len();
        assert!(!short || count <= ACCEPTS_PER_WAIT as usize, "{count} in one wait");
    }
    let Some(Completion { token: CLOSE, more: false, outcome: Outcome::Closed }) = all.pop() else {
        panic!("the close is not the last completion");
    };
    match all.pop() {
        Some(Completion { token: ACCEPT, more: false, outcome: Outcome::Accepted(Err(error)) }) => {
            assert!(is_cancelled(&error), "{error}");
        }
        other => panic!("{other:?} is not the end of an accept"),
    }
    let socks = accepted(&all);
    assert_eq!(socks.len(), all.len(), "{all:?}");
    assert!(all.iter().all(|completion| completion.more && completion.token == ACCEPT));
    socks
}

/// Serves each connection: reads its number and sends it back. Returns the numbers.
fn serve<S: Subject>(driver: &mut S, socks: &[Sock]) -> Vec<usize> {
    for (place, sock) in socks.iter().enumerate() {
        driver.submit(Token(1000 + place as u64), Op::RecvMany { sock: *sock });
    }
    let mut words: HashMap<u64, Vec<u8>> = HashMap::new();
    let deadline = Instant::now() + WAIT_MAX;
    while words.values().filter(|word| word.len() == size_of::<usize>()).count() < socks.len() {
        assert!(Instant::now() < deadline, "{words:?}");
        let mut all = Vec::new();
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
        for Completion { token, outcome, .. } in all {
            let Outcome::Received(Ok(Some(lease))) = outcome else { panic!("{outcome:?}") };
            words.entry(token.0).or_default().extend_from_slice(&lease);
        }
    }
    let mut numbers = Vec::new();
    for (place, sock) in socks.iter().enumerate() {
        let word = &words[&(1000 + place as u64)];
        send(driver, *sock, word);
        numbers.push(usize::from_le_bytes(word[..].try_into().unwrap()));
        sent(run_until(driver, |all| all.iter().any(|done| done.token == SEND))).unwrap();
        close(driver, *sock);
        run_lasts(driver, 2);
    }
    assert_home(driver);
    numbers
}

/// Whether the client was served: it receives its number, then the end.
fn was_served(mut peer: impl Peer, number: usize) -> bool {
    let mut word = Vec::new();
    peer.read_to_end(&mut word).is_ok() && word == number.to_le_bytes()
}

fn deliver<S: Subject>(limits: &Limits, count: usize, waits: bool, reset: bool) {
    let driver = &mut S::open(limits).unwrap();
    let (listener, dialer) = listen(driver);
    if waits {
        assert!(run_none(driver).is_empty());
    }
    let peers: Vec<S::Peer> = (0..count).map(|number| client(&dialer, number)).collect();
    driver.submit(CLOSE, Op::Close { sock: listener, reset });
    let socks = ended(driver, limits.sockets_max <= 1024);
    assert_eq!(socks.len(), count, "of the connections");
    let mut numbers = serve(driver, &socks);
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..count), "each connection is delivered once");
    for (number, peer) in peers.into_iter().enumerate() {
        assert!(was_served(peer, number), "client {number} of {count}");
    }
}

/// The whole queue is delivered before the accept ends, and the accept ends before the close.
pub(crate) fn close_delivers_the_queue<S: Subject>() {
    for count in [0, 1, 50, 200] {
        deliver::<S>(&limits(), count, false, false);
        deliver::<S>(&roomy(), count, false, false);
    }
}

/// The same if the accept was armed in the kernel, or blocked in a thread, long before.
pub(crate) fn close_delivers_what_an_armed_accept_brings<S: Subject>() {
    for count in [0, 1, 2, 50, 200] {
        deliver::<S>(&limits(), count, true, false);
        deliver::<S>(&roomy(), count, true, false);
    }
}

/// A listener has no peer, so a reset makes no difference.
pub(crate) fn close_with_reset_delivers_the_queue<S: Subject>() {
    deliver::<S>(&limits(), 50, false, true);
    deliver::<S>(&roomy(), 50, true, true);
}

/// Without an accept in flight, the connections in the queue are refused.
pub(crate) fn close_without_an_accept<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    let peers: Vec<S::Peer> = (0..5).map(|number| client(&dialer, number)).collect();
    close(driver, listener);
    let all = run_lasts(driver, 1);
    assert!(matches!(all[..], [Completion { outcome: Outcome::Closed, .. }]), "{all:?}");
    for (number, peer) in peers.into_iter().enumerate() {
        assert!(!was_served(peer, number));
    }
    assert_home(driver);
}

/// An accept that was cancelled before delivers nothing, but the close completes.
pub(crate) fn close_behind_a_cancelled_accept<S: Subject>() {
    for waits in [false, true] {
        let driver = &mut S::open(&limits()).unwrap();
        let (listener, dialer) = driver.listen();
        let op = driver.submit(ACCEPT, Op::AcceptMany { listener });
        if waits {
            assert!(run_none(driver).is_empty());
        }
        let _peers: Vec<S::Peer> = (0..100).map(|number| client(&dialer, number)).collect();
        driver.cancel(op);
        close(driver, listener);
        let socks = ended(driver, true);
        socks.into_iter().for_each(|sock| close(driver, sock));
        run_until(driver, |_| true);
        while driver.in_flight() > 0 {
            run_none(driver);
        }
        assert_home(driver);
    }
}

/// A caller without room for more connections cancels the accept during the delivery.
pub(crate) fn cancel_while_the_queue_is_delivered<S: Subject>() {
    for waits in 0..4 {
        let driver = &mut S::open(&limits()).unwrap();
        let (listener, dialer) = driver.listen();
        let op = driver.submit(ACCEPT, Op::AcceptMany { listener });
        let _peers: Vec<S::Peer> = (0..200).map(|number| client(&dialer, number)).collect();
        close(driver, listener);
        let mut all = Vec::new();
        for _ in 0..waits {
            driver.wait(Some(Duration::from_millis(1)), &mut all).unwrap();
        }
        (0..2).for_each(|_| driver.cancel(op));
        let before = lasts(&all);
        all.extend(run_until(driver, |more| before + lasts(more) == 2));
        assert!(matches!(all.pop().unwrap().outcome, Outcome::Closed));
        let socks = accepted(&all);
        assert!(matches!(last(all, ACCEPT), Outcome::Accepted(Err(error)) if is_cancelled(&error)));
        let count = socks.len();
        socks.into_iter().for_each(|sock| close(driver, sock));
        run_lasts(driver, count);
        assert_home(driver);
    }
}

/// Connections that exceed the table are closed and counted, as always; the rest is delivered.
pub(crate) fn close_with_a_full_table<S: Subject>() {
    let driver = &mut S::open(&Limits { sockets_max: 3, ..limits() }).unwrap();
    let (listener, dialer) = listen(driver);
    let peers: Vec<S::Peer> = (0..5).map(|number| client(&dialer, number)).collect();
    close(driver, listener);
    let socks = ended(driver, true);
    assert_eq!((socks.len(), driver.stats().refused), (2, 3));
    serve(driver, &socks);
    let served = peers.into_iter().enumerate().map(|(number, peer)| was_served(peer, number));
    assert_eq!(served.filter(|served| *served).count(), 2);
}

/// Two listeners close at once, and each delivers its own queue.
pub(crate) fn close_two_listeners_at_once<S: Subject>() {
    const COUNT: usize = 90;
    let driver = &mut S::open(&limits()).unwrap();
    let mut peers = Vec::new();
    for token in [100, 200] {
        let (listener, dialer) = driver.listen();
        driver.submit(Token(token), Op::AcceptMany { listener });
        peers.extend((0..COUNT).map(|number| client(&dialer, number)));
        driver.submit(Token(token + 1), Op::Close { sock: listener, reset: false });
    }
    let all = run_lasts(driver, 4);
    for token in [100, 200] {
        let of = |token: u64| all.iter().filter(move |done| done.token.0 == token);
        assert_eq!(of(token).filter(|done| done.more).count(), COUNT);
        assert_eq!((of(token).count(), of(token + 1).count()), (COUNT + 1, 1));
    }
    let socks = accepted(&all);
    serve(driver, &socks);
}

/// A client that connects after the delivery began is not accepted, and is refused once the
/// listener is gone.
pub(crate) fn a_closing_listener_accepts_no_new_connections<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = listen(driver);
    let _peers: Vec<S::Peer> = (0..200).map(|number| client(&dialer, number)).collect();
    close(driver, listener);
    let all = run_until(driver, |all| !accepted(all).is_empty());
    assert_eq!(lasts(&all), 0, "one wait may not return the whole queue");
    let late = std::thread::spawn(move || dialer.dial().is_err());
    std::thread::sleep(Duration::from_millis(50));
    let mut socks = accepted(&all);
    socks.extend(ended(driver, true));
    assert_eq!(socks.len(), 200);
    assert!(late.join().unwrap(), "a late client was accepted");
    serve(driver, &socks);
}

/// Runs a test in a thread that has no privileges: capabilities belong to the thread.
fn unprivileged(test: impl FnOnce() + Send + 'static) {
    let test = spawn(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        test();
    });
    test.join().unwrap();
}

/// The same for a process without privileges, which may not filter the segments of a socket.
pub(crate) fn a_closing_listener_needs_no_privileges<D: Kernel>() {
    unprivileged(a_closing_listener_accepts_no_new_connections::<D>);
}

/// A handshake ends while the queue is delivered, and the listener demands the greatest TTL by
/// then. The client sends with a lower one afterwards, as all clients do, and gets its answer.
pub(crate) fn a_handshake_that_ends_during_a_close_is_served<D: Kernel>() {
    unprivileged(|| {
        const COUNT: usize = 200;
        let any = TcpListener::bind("127.0.0.1:0").unwrap();
        // Keeps every segment whole (`BPF_RET | BPF_K`, linux/bpf_common.h).
        let keep = [socket2::SockFilter::new(0x06, 0, 0, u32::MAX)];
        if socket2::SockRef::from(&any).attach_filter(&keep).is_ok() {
            println!("skipped: this kernel lets every process attach a filter");
            return;
        }
        let driver = &mut D::open(&limits()).unwrap();
        let (listener, dialer) = listen(driver);
        let mut peers: Vec<_> = (0..COUNT).map(|number| client(&dialer, number)).collect();
        close(driver, listener);
        let all = run_until(driver, |all| !accepted(all).is_empty());
        assert_eq!(lasts(&all), 0, "one wait may not return the whole queue");
        let late = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        late.set_ttl_v4(255).unwrap();
        late.connect(&dialer.address().into()).unwrap();
        late.set_ttl_v4(64).unwrap();
        let mut late = TcpStream::from(late);
        late.set_read_timeout(Some(WAIT_MAX)).unwrap();
        late.write_all(&COUNT.to_le_bytes()).unwrap();
        peers.push(late);
        let mut socks = accepted(&all);
        socks.extend(ended(driver, true));
        let mut numbers = serve(driver, &socks);
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..=COUNT), "each connection is delivered once");
        let served = peers.into_iter().enumerate().map(|(number, peer)| was_served(peer, number));
        assert_eq!(served.filter(|served| *served).count(), COUNT + 1);
    });
}

/// Clients keep connecting while the listener closes. Every client that was connected before the
/// close is served, and so is every other one whose connect succeeded, except for one whose
/// handshake was in progress.
pub(crate) fn close_while_clients_come<S: Subject>() {
    const CLIENTS_MAX: usize = 200;
    let driver = &mut S::open(&roomy()).unwrap();
    let (listener, dialer) = listen(driver);
    let connected = Arc::new(AtomicUsize::new(0));
    let begun = Arc::new(Barrier::new(2));
    let dialling = std::thread::spawn({
        let (connected, begun) = (Arc::clone(&connected), Arc::clone(&begun));
        move || {
            begun.wait();
            let mut peers: Vec<S::Peer> = Vec::new();
            while peers.len() < CLIENTS_MAX
                && let Ok(mut peer) = dialer.dial()
            {
                if peer.write_all(&peers.len().to_le_bytes()).is_err() {
                    break;
                }
                peers.push(peer);
                connected.store(peers.len(), Ordering::SeqCst);
            }
            peers
        }
    });
    begun.wait();
    let mut socks = Vec::new();
    while connected.load(Ordering::SeqCst) < 20 {
        let mut all = Vec::new();
        driver.wait(Some(Duration::ZERO), &mut all).unwrap();
        socks.extend(accepted(&all));
    }
    let by_then = connected.load(Ordering::SeqCst);
    close(driver, listener);
    socks.extend(ended(driver, false));
    assert!(socks.len() >= by_then, "{} of {by_then}", socks.len());
    let peers = dialling.join().unwrap();
    let numbers = serve(driver, &socks);
    let lost = peers
        .into_iter()
        .enumerate()
        .filter_map(|(number, peer)| (!was_served(peer, number)).then_some(number));
    let lost: Vec<usize> = lost.collect();
    assert!(lost.len() <= 1, "{lost:?} of {} were reset; {by_then} were due", numbers.len());
}

pub(crate) fn close_without_descriptors<S: Subject>() {
    S::alone(|| {
        close_waits_for_descriptors::<S>();
        close_gives_up_without_descriptors::<S>();
    });
}

/// Running out of descriptors loses no connection of the queue.
fn close_waits_for_descriptors<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    let peers: Vec<S::Peer> = (0..3).map(|number| client(&dialer, number)).collect();
    let taken = driver.take_descriptors();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    close(driver, listener);
    let (start, mut all) = (Instant::now(), Vec::new());
    while start.elapsed() < 2 * ACCEPT_RETRY {
        driver.wait(Some(ACCEPT_RETRY / 2), &mut all).unwrap();
    }
    assert!(all.is_empty(), "{all:?}");
    driver.give_descriptors(taken);
    let socks = ended(driver, true);
    assert_eq!(socks.len(), 3);
    serve(driver, &socks);
    assert!(peers.into_iter().enumerate().all(|(number, peer)| was_served(peer, number)));
}

/// But a close does not wait for descriptors for ever.
fn close_gives_up_without_descriptors<S: Subject>() {
    let driver = &mut S::open(&limits()).unwrap();
    let (listener, dialer) = driver.listen();
    let _peer = client(&dialer, 0);
    let taken = driver.take_descriptors();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    close(driver, listener);
    assert!(ended(driver, true).is_empty());
    driver.give_descriptors(taken);
    assert_home(driver);
}

/// Dropping a driver ends a close that is in progress.
pub(crate) fn drop_while_the_queue_is_delivered<S: Subject>() {
    for waits in 0..3 {
        let mut driver = S::open(&limits()).unwrap();
        let (listener, dialer) = listen(&mut driver);
        let peers: Vec<S::Peer> = (0..200).map(|number| client(&dialer, number)).collect();
        close(&mut driver, listener);
        for _ in 0..waits {
            driver.wait(Some(Duration::from_millis(1)), &mut Vec::new()).unwrap();
        }
        drop(driver);
        for (number, peer) in peers.into_iter().enumerate() {
            assert!(!was_served(peer, number));
        }
    }
}
