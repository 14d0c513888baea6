//! Orders about listeners, beside updates.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::*;
use crate::driver::Limits;
use crate::driver::ready::Epoll;
use crate::echo::Echo;
use crate::server::mailbox::{Closing, Duplicates, Mailbox, Postbox};
use crate::server::published::Published;
use crate::server::settings::ServerTimeouts;
use crate::server::worker::WorkerSettings;

/// A worker with one listener and no place for a second one, and what sends it messages.
fn worker() -> (Worker<Epoll, Echo>, Postbox<MessageOf<Echo>>) {
    let mut driver = Epoll::open(&Limits::default()).unwrap();
    let mailbox = Arc::new(Mailbox::default());
    let postbox = Postbox::new(Arc::clone(&mailbox), driver.waker());
    let sock = driver.adopt(socket()).unwrap();
    let settings = WorkerSettings {
        connections_max: 4,
        listeners_max: 1,
        timeouts: ServerTimeouts::default(),
    };
    let published = Arc::new(Published::default());
    (Worker::new(driver, vec![(0, sock)], (), settings, mailbox, published), postbox)
}

fn socket() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

/// Replaces listener 0 by listener 1.
fn replace(postbox: &Postbox<MessageOf<Echo>>) {
    let (result, _) = mpsc::channel();
    let added = vec![WorkerSocket { number: 1, socket: socket(), joint: false }];
    let (timeouts, closing) = (ServerTimeouts::default(), Closing::default());
    let update = Update { timeouts, added, dropped: vec![0], closing, service: None, result };
    postbox.update(Box::new(update)).unwrap();
}

fn begin_joint(postbox: &Postbox<MessageOf<Echo>>, numbers: &[u32]) -> Receiver<Duplicates> {
    let (reply, duplicates) = mpsc::channel();
    let (numbers, duplicates_to) = (numbers.to_vec(), Some(reply));
    postbox.order(ListenerOrder::Join { numbers, joint: true, duplicates: duplicates_to });
    duplicates
}

fn is_open(
    worker: &mut Worker<Epoll, Echo>,
    postbox: &Postbox<MessageOf<Echo>>,
    number: u32,
) -> bool {
    let (reply, is_open) = mpsc::channel();
    postbox.order(ListenerOrder::AreOpen(vec![number], reply));
    worker.read_mail();
    is_open.recv().unwrap()
}

/// A take-over may begin when a reload has just added a listener. The worker has no place for it
/// until the one that it replaces is closed, and another process gets it nevertheless.
#[test]
fn a_listener_that_waits_for_a_place_can_be_joint() {
    let (mut worker, postbox) = worker();
    replace(&postbox);
    let duplicates = begin_joint(&postbox, &[0, 1]);
    worker.read_mail();
    assert_eq!(worker.waiting_listeners.len(), 1, "listener 0 still has the place");
    let duplicates = duplicates.recv().unwrap().unwrap();
    let numbers: Vec<u32> = duplicates.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1], "one that is dropped is not passed on");
    assert!(worker.waiting_listeners[0].joint);
    let until = Instant::now() + Duration::from_secs(10);
    while !worker.waiting_listeners.is_empty() && Instant::now() < until {
        postbox.wake();
        worker.turn().unwrap();
    }
    assert_eq!(worker.kept(&[1]).count(), 1);
}

/// Whoever waits for the end of a listener must not be told of it while it is being closed: the
/// driver may still deliver connections.
#[test]
fn a_listener_is_open_until_it_is_closed() {
    let (mut worker, postbox) = worker();
    assert!(is_open(&mut worker, &postbox, 0));
    assert!(!is_open(&mut worker, &postbox, 1));
    replace(&postbox);
    assert!(is_open(&mut worker, &postbox, 1), "it waits for a place");
    worker.regulate_accepts();
    assert!(worker.listeners[0].closing && !worker.listeners[0].closed);
    assert!(is_open(&mut worker, &postbox, 0), "it is being closed");
    let until = Instant::now() + Duration::from_secs(10);
    while is_open(&mut worker, &postbox, 0) && Instant::now() < until {
        worker.turn().unwrap();
    }
    assert!(!is_open(&mut worker, &postbox, 0));
    assert!(is_open(&mut worker, &postbox, 1));
}

/// Another worker could not take it, so the server has forgotten it.
#[test]
fn a_listener_is_closed_that_was_just_added() {
    let (mut worker, postbox) = worker();
    replace(&postbox);
    worker.settings.listeners_max = 2;
    postbox.order(ListenerOrder::Close(vec![1], Closing::default()));
    worker.read_mail();
    assert_eq!(worker.kept(&[0, 1]).count(), 0);
    let until = Instant::now() + Duration::from_secs(10);
    while is_open(&mut worker, &postbox, 1) && Instant::now() < until {
        worker.turn().unwrap();
    }
    assert!(!is_open(&mut worker, &postbox, 1));
}

/// The same, but the worker has had no place for it yet.
#[test]
fn a_listener_that_waits_for_a_place_can_be_closed() {
    let (mut worker, postbox) = worker();
    replace(&postbox);
    postbox.order(ListenerOrder::Close(vec![1], Closing::default()));
    assert!(!is_open(&mut worker, &postbox, 1));
}
