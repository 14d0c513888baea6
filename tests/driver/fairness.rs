//! A worker of HTTP whose clients want small pages beside large files.
//!
//! The test calls each turn of the worker itself, and its clients read between the turns. So what a
//! client gets is measured in turns, on every driver, and does not depend on the speed of the
//! machine.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringd::driver::{Limits, Sock};
use ringd::http::{HttpSettings, Sites, Web};
use ringd::server::ServerTimeouts;
use ringd::server::mailbox::Mailbox;
use ringd::server::worker::{Worker, WorkerSettings};

use crate::harness::{WAIT_MAX, limits};
use crate::subject::{Dial, Files, Peer, Subject};

/// Bytes that a send may move in a turn: much less than the buffers of a socket hold, so that a
/// turn without this bound is noticed.
const TURN: u64 = 16 * 1024;

/// The length of the large file: more than all buffers hold.
const LENGTH: u64 = 8 << 20;

const PAGE: &[u8] = b"a small page";

/// The clients that want small pages.
const SMALL: u64 = 64;

/// The most bytes of a head.
const HEAD_MAX: u64 = 1024;

/// How many turns a request for a small page may take. Usually it takes two. On a busy machine, the
/// kernel may deliver what was sent a while later, and turns pass meanwhile.
const TURNS_MAX: u64 = 100;

/// How many turns such a request may take in the mean.
const TURNS_MEAN: u64 = 5;

/// A client with one connection, which it keeps.
struct Visitor<P> {
    peer: P,
    /// What has come of the answer.
    got: Vec<u8>,
    /// The turn in which it has sent its request.
    asked: u64,
    answers: u64,
}

impl<P: Peer> Visitor<P> {
    fn new(dialer: &impl Dial<Peer = P>, target: &str) -> Self {
        let mut peer = dialer.dial().unwrap();
        peer.set_nonblocking(true);
        let mut visitor = Self { peer, got: Vec::new(), asked: 0, answers: 0 };
        visitor.ask(target);
        visitor
    }

    fn ask(&mut self, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        self.peer.write_all(request.as_bytes()).unwrap();
    }

    /// Reads what has come, at most so many bytes.
    fn read(&mut self, most: usize) -> u64 {
        let mut buffer = [0; 16 * 1024];
        let mut count = 0;
        while count < most {
            let room = buffer.len().min(most - count);
            match self.peer.read(&mut buffer[..room]) {
                Ok(0) => panic!("the server has ended the connection"),
                Ok(read) => {
                    count += read;
                    if self.got.len() < HEAD_MAX as usize {
                        self.got.extend_from_slice(&buffer[..read]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        count as u64
    }

    /// Reads a small page. When all of it has come, asks again.
    fn ask_again(&mut self, turn: u64) {
        self.read(usize::MAX);
        let head = self.got.windows(4).position(|four| four == b"\r\n\r\n");
        if head.is_some_and(|head| self.got.len() >= head + 4 + PAGE.len()) {
            assert!(self.got.starts_with(b"HTTP/1.1 200 ") && self.got.ends_with(PAGE));
            self.got.clear();
            self.answers += 1;
            self.asked = turn;
            self.ask("/small.txt");
        }
    }

    /// For how many turns it has waited. The first answer does not count, because connections are
    /// accepted one after the other.
    fn waits(&self, turn: u64) -> u64 {
        if self.answers > 0 { turn - self.asked } else { 0 }
    }
}

fn worker<S: Subject>(driver: S, listener: Sock, files: &impl Files) -> Worker<S, Web> {
    let timeouts = ServerTimeouts {
        header: WAIT_MAX,
        idle: WAIT_MAX,
        send: WAIT_MAX,
        drain_delay: Duration::ZERO,
        drain: WAIT_MAX,
    };
    let settings = WorkerSettings { connections_max: 128, listeners_max: 1, timeouts };
    let sites = Sites::new(HttpSettings::of_root(files.root()), driver.now(), None);
    let (mailbox, published) = (Arc::new(Mailbox::default()), Arc::default());
    Worker::new(driver, vec![(0, listener)], sites, settings, mailbox, published)
}

/// One client reads a large file as fast as it comes, another reads it slowly, and 64 clients ask
/// for small pages on connections that they keep. In each turn the fast one gets at most what an op
/// may move, and each small page comes within some turns: between two answers to one of them, the
/// fast one gets at most that many times as much.
pub(crate) fn small_pages_beside_large_files<S: Subject>() {
    const SLOW: usize = 64;
    let mut driver = S::open(&Limits { turn_bytes_max: TURN, ..limits() }).unwrap();
    let files = driver.files();
    files.write("small.txt", PAGE);
    files.write_at("large.bin", LENGTH - 1, b"x");
    let (listener, dialer) = driver.listen();
    let mut worker = worker(driver, listener, &files);
    let mut visitors: Vec<_> = (0..SMALL).map(|_| Visitor::new(&dialer, "/small.txt")).collect();
    let [mut fast, mut slow] = [(); 2].map(|()| Visitor::new(&dialer, "/large.bin"));
    let deadline = Instant::now() + WAIT_MAX;
    let (mut turns, mut fast_bytes, mut slow_bytes, mut longest) = (0, 0, 0, 0);
    while fast_bytes < LENGTH {
        assert!(Instant::now() < deadline, "{fast_bytes} bytes in {turns} turns");
        worker.turn().unwrap();
        turns += 1;
        fast_bytes += fast.read(usize::MAX);
        slow_bytes += slow.read(SLOW);
        // A thread sends its next piece while the turn ends.
        let most = (turns + 1) * TURN + HEAD_MAX;
        assert!(fast_bytes <= most, "{fast_bytes} bytes after {turns} turns");
        for visitor in &mut visitors {
            longest = longest.max(visitor.waits(turns));
            visitor.ask_again(turns);
        }
        assert!(longest <= TURNS_MAX || !S::gives_turns(), "an answer takes {longest} turns");
    }
    let answers: u64 = visitors.iter().map(|visitor| visitor.answers).sum();
    println!("{turns} turns, {answers} small pages, each within {longest} turns");
    assert!(visitors.iter().all(|visitor| visitor.answers > 0), "a client was not served");
    let expected = SMALL * turns / TURNS_MEAN;
    assert!(answers >= expected || !S::gives_turns(), "{answers} answers in {turns} turns");
    // Its buffers hold more than it reads, so it hardly ever waits.
    let expected = turns * SLOW as u64 / 2;
    assert!(slow_bytes >= expected, "{slow_bytes} bytes for the slow reader in {turns} turns");
    assert!(slow_bytes < LENGTH, "it is not slow");
}
