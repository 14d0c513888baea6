//! Tests of the simulator itself: runs replay, and faults occur.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::*;
use crate::driver::Outcome;

const TIMEOUT: Option<Duration> = Some(Duration::from_secs(10));

/// The bytes that each side of an exchange sends.
const BYTES: usize = 5000;

/// Receives what a peer has written before, and sends as much. Returns all completions, as text.
fn exchange(seed: u64) -> String {
    let faults = Faults::draw(&mut Rng::with_seed(seed));
    let mut sim = Sim::seeded(&Limits::default(), seed, faults);
    let (sock, mut peer) = sim.connect().unwrap();
    peer.set_nonblocking(true);
    peer.write_all(&[7; BYTES]).unwrap();
    peer.shutdown(Shutdown::Write);
    sim.submit(Token(1), Op::RecvMany { sock });
    let mut chain = Box::new(Chain::new());
    chain.copy(&[8; BYTES]);
    sim.submit(Token(2), Op::Send { sock, chain, end: SendEnd::HalfClose });
    let mut text = String::new();
    while sim.in_flight() > 0 {
        let mut batch = Vec::new();
        sim.wait(TIMEOUT, &mut batch).unwrap();
        text.push_str(&format!("{:?} {batch:?}\n", sim.elapsed()));
    }
    text
}

#[test]
#[cfg_attr(miri, ignore = "its worlds take many minutes there")]
fn a_seed_replays() {
    let runs: Vec<String> = (0..20).map(exchange).collect();
    let again: Vec<String> = (0..20).map(exchange).collect();
    assert_eq!(runs, again);
    assert!(runs.windows(2).any(|two| two[0] != two[1]), "seeds make a difference");
}

#[test]
fn virtual_time_passes_without_waiting() {
    let mut sim = Sim::seeded(&Limits::default(), 1, Faults::NONE);
    let start = Instant::now();
    sim.wait(Some(Duration::from_secs(3600)), &mut Vec::new()).unwrap();
    assert!(sim.elapsed() >= Duration::from_secs(3600));
    assert!(start.elapsed() < Duration::from_secs(3600));
    sim.set_alarm(Some(sim.elapsed() + Duration::from_secs(1)));
    sim.wait(Some(Duration::from_secs(3600)), &mut Vec::new()).unwrap();
    assert!(sim.elapsed() < Duration::from_secs(3602));
}

/// A wait that would never end is a bug of the test or of the code under test.
#[test]
fn a_wait_without_a_next_event_is_an_error() {
    let mut sim = Sim::seeded(&Limits::default(), 1, Faults::NONE);
    let (sock, _peer) = sim.connect().unwrap();
    sim.submit(Token(1), Op::RecvMany { sock });
    let error = sim.wait(None, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Deadlock);
}

#[test]
fn unread_input_makes_a_close_a_reset() {
    let mut sim = Sim::open(&Limits::default()).unwrap();
    let (sock, mut peer) = sim.connect().unwrap();
    peer.write_all(b"unread").unwrap();
    sim.submit(Token(1), Op::Close { sock, reset: false });
    while sim.in_flight() > 0 {
        sim.wait(TIMEOUT, &mut Vec::new()).unwrap();
    }
    assert_eq!(peer.read(&mut [0; 9]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
#[cfg_attr(miri, ignore = "it needs many seeds")]
fn faults_happen() {
    let runs: Vec<String> = (0..200).map(exchange).collect();
    let any = |what: &str| runs.iter().any(|run| run.contains(what));
    assert!(any("ConnectionReset") && any("BrokenPipe"), "resets");
    assert!(any("Received(Ok(None))"), "orderly ends");
    let pieces = |run: &String| run.matches("Lease").count();
    assert!(runs.iter().any(|run| pieces(run) > 100) && runs.iter().any(|run| pieces(run) == 2));
}

/// Faults do not keep a listener that is being closed from delivering its backlog.
#[test]
fn a_closed_listener_delivers_its_backlog_in_all_worlds() {
    const CLIENTS: usize = 100;
    for seed in 0..if cfg!(miri) { 2 } else { 300 } {
        let random = &mut Rng::with_seed(seed);
        let faults = Faults { reset: 0, ..Faults::draw(random) };
        let mut sim = Sim::seeded(&Limits::default(), seed, faults);
        let (listener, dialer) = sim.listen().unwrap();
        let mut peers: Vec<Peer> = (0..CLIENTS).map(|_| dialer.dial().unwrap()).collect();
        sim.submit(Token(1), Op::AcceptMany { listener });
        let mut all = Vec::new();
        for _ in 0..random.usize(..20) {
            sim.wait(Some(Duration::from_micros(10)), &mut all).unwrap();
        }
        sim.submit(Token(2), Op::Close { sock: listener, reset: false });
        assert!(dialer.dial().is_err(), "a closing listener refuses new connections");
        while sim.in_flight() > 0 {
            sim.wait(TIMEOUT, &mut all).unwrap();
        }
        assert!(matches!(all.pop().unwrap().outcome, Outcome::Closed), "seed {seed}");
        let end = all.pop().unwrap();
        assert!(!end.more && matches!(end.outcome, Outcome::Accepted(Err(_))), "seed {seed}");
        assert_eq!(all.len(), CLIENTS, "seed {seed}");
        assert!(all.iter().all(|one| one.more && matches!(one.outcome, Outcome::Accepted(Ok(_)))));
        for peer in &mut peers {
            peer.write_all(b"connected").unwrap();
        }
    }
}

#[test]
#[should_panic = "is in `waits_for_buffer`, but its place is None"]
fn a_wrong_entry_in_waits_for_buffer_panics() {
    let mut sim = Sim::open(&Limits::default()).unwrap();
    sim.waits_for_buffer.push_back(Handle::at(7));
    let _ = sim.wait(Some(Duration::ZERO), &mut Vec::new());
}

#[test]
#[should_panic = "a job ends that was not counted"]
fn ending_a_job_that_was_not_counted_panics() {
    let mut sim = Sim::open(&Limits::default()).unwrap();
    sim.submit(Token(1), Op::Run { job: Job::new(|| Ok(Vec::new())) });
    sim.jobs = 0;
    let _ = sim.wait(TIMEOUT, &mut Vec::new());
}
