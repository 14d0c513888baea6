//! Bounds of the machine that only one readiness interface has. The driver on top of it has to
//! keep its contract beyond them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringd::driver::{Chain, Completion, Driver, DriverKind, Limits, Op, Outcome, Sock};

use crate::alone::alone;
use crate::harness::*;
use crate::kernel::{Family, KernelDriver, choose, dial, pair};
use crate::subject::Subject;

/// `FD_SETSIZE` of `select(2)`.
const SELECT_MAX: usize = 1024;

/// An exchange in both directions.
fn assert_served(driver: &mut KernelDriver, sock: Sock, peer: &mut TcpStream) {
    peer.write_all(b"ping").unwrap();
    run_until(driver, |all| has_received(all, 4));
    send(driver, sock, b"pong");
    sent(run_lasts(driver, 1)).unwrap();
    peer.read_exact(&mut [0; 4]).unwrap();
}

/// The limit is on descriptor numbers of the process, so the test runs alone.
#[test]
fn select_refuses_descriptors_that_have_no_bit_and_serves_the_rest() {
    alone(|| {
        if rlimit::increase_nofile_limit(u64::MAX).unwrap() < 2 * SELECT_MAX as u64 {
            println!("skipped: the process may not have so many descriptors");
            return;
        }
        choose(DriverKind::Select, Family::Internet);
        let driver = &mut KernelDriver::open(&limits()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = listener.try_clone().unwrap();
        let listener = driver.adopt(listener.into()).unwrap();
        driver.submit(ACCEPT, Op::AcceptMany { listener });
        let mut early = dial(&dialled);
        let [sock] = accepted(&run_until(driver, |all| !all.is_empty()))[..] else {
            panic!("one connection")
        };
        receive(driver, sock);
        let taken: Vec<_> =
            (0..SELECT_MAX).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let mut late: Vec<TcpStream> = (0..3).map(|_| dial(&dialled)).collect();
        let (deadline, mut all) = (Instant::now() + WAIT_MAX, Vec::new());
        while driver.stats().refused < 3 {
            assert!(Instant::now() < deadline, "{:?}", driver.stats());
            driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
        }
        assert!(all.is_empty() && driver.stats().refused == 3, "{all:?}");
        for peer in &mut late {
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "a refused connection is closed");
        }
        let (ours, mut peer) = pair();
        let error = driver.adopt(ours.into()).unwrap_err();
        assert!(error.to_string().contains("use --driver poll or epoll"), "{error}");
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "a refused socket is closed");
        assert_served(driver, sock, &mut early);
        // Once descriptors below the limit are free, connections are accepted again.
        drop((taken, late, peer));
        let mut next_peer = dial(&dialled);
        let next = accepted(&run_until(driver, |all| !all.is_empty()))[0];
        receive(driver, next);
        assert_served(driver, next, &mut next_peer);
        for sock in [sock, next, listener] {
            close(driver, sock);
        }
        run_lasts(driver, 6);
        assert_home(driver);
    });
}

/// The queue of signals has room for none, or for a few: the same data arrives, both ways.
#[test]
fn sigio_loses_nothing_when_the_queue_of_signals_overflows() {
    alone(|| {
        for room in [0, 1, 5] {
            let (_, hard) = rlimit::Resource::SIGPENDING.get().unwrap();
            rlimit::Resource::SIGPENDING.set(room.min(hard), hard).unwrap();
            choose(DriverKind::Sigio, Family::Internet);
            let driver = &mut KernelDriver::open(&Limits { buffers: 256, ..limits() }).unwrap();
            overflow(driver);
        }
    });
}

fn overflow(driver: &mut KernelDriver) {
    const COUNT: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialled = listener.try_clone().unwrap();
    let listener = driver.adopt(listener.into()).unwrap();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    // All connections are known and quiet before the overflow, so adding them reports nothing.
    let mut peers: Vec<TcpStream> = (0..COUNT).map(|_| dial(&dialled)).collect();
    let socks = accepted(&run_until(driver, |all| accepted(all).len() == COUNT));
    for sock in &socks {
        receive(driver, *sock);
    }
    driver.wait(Some(Duration::from_millis(20)), &mut Vec::new()).unwrap();
    // Each round brings many more events than the queue has room for.
    for round in 0..4 {
        for peer in &mut peers {
            peer.write_all(b"event").unwrap();
        }
        let all = run_until(driver, |all| has_received(all, 5 * COUNT));
        assert_eq!(received(&all).0, b"event".repeat(COUNT), "round {round}");
    }
    // Writability is an event like any other.
    let bytes = pattern(8 << 20);
    let mut chain = Chain::new();
    chain.share(&Rc::from(&bytes[..]));
    send_chain(driver, socks[0], chain);
    let reading = slow_reader(peers[0].try_clone().unwrap(), bytes.len());
    sent(run_lasts(driver, 1)).unwrap();
    assert!(reading.join().unwrap() == bytes);
    drop(peers);
    let ends = |all: &[Completion]| {
        all.iter().filter(|end| matches!(end.outcome, Outcome::Received(Ok(None)))).count()
    };
    run_until(driver, |all| ends(all) == COUNT);
    for sock in socks.into_iter().chain([listener]) {
        close(driver, sock);
    }
    run_lasts(driver, COUNT + 2);
    assert_home(driver);
}
