//! Tests of the sets: reports, and descriptors beyond the bound.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::*;

fn reports(select: &mut SelectPoller) -> Vec<Event> {
    let mut out = Vec::new();
    select.wait(Some(Duration::ZERO), &mut out).unwrap();
    out
}

fn report(key: u32, readable: bool, writable: bool) -> Event {
    Event { key, readable, writable, hangup: false }
}

#[test]
fn a_level_is_reported_until_the_interest_ends() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(b"x").unwrap();
    let mut select = SelectPoller::open(&Limits::default()).unwrap();
    select.add(theirs.as_fd(), 7, Interest::READ).unwrap();
    assert_eq!(reports(&mut select), [report(7, true, false)]);
    assert_eq!(reports(&mut select), [report(7, true, false)]);
    select.modify(theirs.as_fd(), 7, Interest { read: false, write: true }).unwrap();
    assert_eq!(reports(&mut select), [report(7, false, true)]);
    select.modify(theirs.as_fd(), 7, Interest::BOTH).unwrap();
    assert_eq!(reports(&mut select), [report(7, true, true)]);
    select.remove(theirs.as_fd(), 7).unwrap();
    assert_eq!(reports(&mut select), []);
}

/// The first and the last bit of a word, and of the set.
#[test]
fn every_descriptor_below_the_bound_is_watched_and_none_beyond() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let mut select = SelectPoller::open(&Limits::default()).unwrap();
    for (least, key) in [(500, 1), (639, 2), (640, 3), (1023, 4), (1024, 5), (1500, 6)] {
        let Some(high) = duplicate(&theirs, least) else {
            println!("skipped: this process cannot have descriptor {least}");
            continue;
        };
        let number = high.as_raw_fd();
        let added = select.add(high.as_fd(), key, Interest { read: false, write: true });
        if number < 1024 {
            added.unwrap();
            assert_eq!(reports(&mut select), [report(key, false, true)], "{number}");
            select.remove(high.as_fd(), key).unwrap();
        } else {
            let message = added.unwrap_err().to_string();
            for words in [&number.to_string(), "1024", "--driver poll or epoll"] {
                assert!(message.contains(words), "{message}");
            }
            select.modify(high.as_fd(), key, Interest::BOTH).unwrap_err();
            select.remove(high.as_fd(), key).unwrap_err();
        }
        assert_eq!(reports(&mut select), []);
    }
}

/// A duplicate whose number is at least `least`, if the process' limit allows one.
fn duplicate(socket: &UnixStream, least: i32) -> Option<OwnedFd> {
    sys::duplicate_from(socket.as_fd(), least).ok()
}

#[test]
fn a_wait_lasts_until_its_timeout() {
    let mut select = SelectPoller::open(&Limits::default()).unwrap();
    let (timeout, start) = (Duration::from_micros(1500), Instant::now());
    select.wait(Some(timeout), &mut Vec::new()).unwrap();
    assert!(start.elapsed() >= timeout);
}
