//! Tests of the signals: edges, the queue and its overflow, threads, cleanup.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::driver::waker::{EventFd, Notifier};

fn open() -> SigioPoller {
    SigioPoller::open(&Limits::default()).unwrap()
}

fn reports(sigio: &mut SigioPoller) -> Vec<Event> {
    let mut out = Vec::new();
    sigio.wait(Some(Duration::ZERO), &mut out).unwrap();
    out
}

fn readable(key: u32) -> Event {
    Event { key, readable: true, writable: false, hangup: false }
}

/// Makes `theirs` readable `count` times.
fn events(count: usize, ours: &mut UnixStream, theirs: &mut UnixStream) {
    for _ in 0..count {
        ours.write_all(b"x").unwrap();
        theirs.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn an_edge_is_reported_once_and_adding_counts_as_one() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"x").unwrap();
    let mut sigio = open();
    sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
    assert_eq!(reports(&mut sigio), [Event { writable: true, ..readable(7) }]);
    assert_eq!(reports(&mut sigio), []);
    ours.write_all(b"x").unwrap();
    assert_eq!(reports(&mut sigio), [readable(7)]);
    assert_eq!(reports(&mut sigio), []);
    drop(ours);
    let out = reports(&mut sigio);
    assert!(out.iter().any(|event| event.key == 7 && event.readable && event.hangup), "{out:?}");
}

/// The driver relies on this: a second report means that a short read may have left something.
#[test]
fn two_events_are_two_reports() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut sigio = open();
    sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
    reports(&mut sigio);
    ours.write_all(b"x").unwrap();
    ours.write_all(b"x").unwrap();
    assert_eq!(reports(&mut sigio), [readable(7), readable(7)]);
}

#[test]
fn room_is_reported_after_a_write_that_found_none() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut sigio = open();
    sigio.add(ours.as_fd(), 7, Interest::BOTH).unwrap();
    reports(&mut sigio);
    let mut count = 0;
    while let Ok(written) = ours.write(&[0; 4096]) {
        count += written;
    }
    assert_eq!(reports(&mut sigio), []);
    theirs.read_exact(&mut vec![0; count]).unwrap();
    let out = reports(&mut sigio);
    assert!(out.iter().any(|event| event.key == 7 && event.writable), "{out:?}");
}

#[test]
fn a_removed_descriptor_is_silent_and_can_be_added_again() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut sigio = open();
    sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
    reports(&mut sigio);
    ours.write_all(b"x").unwrap();
    sigio.remove(theirs.as_fd(), 7).unwrap();
    ours.write_all(b"x").unwrap();
    assert_eq!(reports(&mut sigio), [], "no queued and no new signal");
    sigio.add(theirs.as_fd(), 9, Interest::BOTH).unwrap();
    assert_eq!(reports(&mut sigio), [Event { writable: true, ..readable(9) }]);
    ours.write_all(b"x").unwrap();
    assert_eq!(reports(&mut sigio), [readable(9)]);
}

/// An eventfd sends no signals.
#[test]
fn files_without_signals_are_watched_too() {
    let mut sigio = open();
    let wakers = [EventFd::new().unwrap(), EventFd::new().unwrap(), EventFd::new().unwrap()];
    for (key, waker) in wakers.iter().enumerate() {
        sigio.add(waker.as_fd(), key as u32, Interest::READ).unwrap();
    }
    assert_eq!(reports(&mut sigio), []);
    sigio.remove(wakers[0].as_fd(), 0).unwrap();
    wakers.iter().for_each(Notifier::notify);
    let mut keys: Vec<u32> = reports(&mut sigio).iter().map(|event| event.key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [1, 2]);
}

/// More signals than one read takes.
#[test]
fn a_long_queue_is_taken_in_batches() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let mut sigio = open();
    sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
    reports(&mut sigio);
    events(600, &mut ours, &mut theirs);
    let batches: Vec<usize> = (0..4).map(|_| reports(&mut sigio).len()).collect();
    assert_eq!(batches, [256, 256, 88, 0]);
}

#[test]
fn threads_do_not_take_each_others_signals() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut sigio = open();
    sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
    reports(&mut sigio);
    ours.write_all(b"x").unwrap();
    let other = thread::spawn(|| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut sigio = open();
        assert_eq!(reports(&mut sigio), []);
        sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
        reports(&mut sigio);
        ours.write_all(b"x").unwrap();
        assert_eq!(reports(&mut sigio), [readable(7)]);
    });
    other.join().unwrap();
    assert_eq!(reports(&mut sigio), [readable(7)]);
}

#[test]
fn a_thread_has_only_one_poller() {
    let sigio = open();
    let error = SigioPoller::open(&Limits::default()).unwrap_err();
    assert!(error.to_string().contains("this thread has"), "{error}");
    drop(sigio);
    open();
}

/// An unblocked real-time signal without a handler ends the process: none may remain queued, and a
/// duplicate that stays open must not send more.
#[test]
fn dropping_leaves_no_signal_behind() {
    for _ in 0..2 {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut sigio = open();
        sigio.add(theirs.as_fd(), 7, Interest::BOTH).unwrap();
        events(300, &mut ours, &mut theirs);
        drop(sigio);
        ours.write_all(b"x").unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        assert_eq!((field("SigPnd"), field("SigBlk")), (0, 0), "{status}");
    }
}
