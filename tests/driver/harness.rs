//! What the tests share: a loop with a deadline, peers, and files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringd::driver::{
    Chain, Completion, DriverStats, File, Limits, Op, OpId, Outcome, SendEnd, Sock, Token,
    is_cancelled,
};

use crate::subject::{Files, Peer, Subject};

/// The longest that anything may take. Only what hangs takes it: on a busy machine, a test whose
/// driver polls all the time may need many seconds for its bytes.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) const RECEIVE: Token = Token(1);
pub(crate) const SEND: Token = Token(2);
pub(crate) const CLOSE: Token = Token(3);
pub(crate) const ACCEPT: Token = Token(4);
pub(crate) const FILE: Token = Token(5);

/// More than the buffers of a connection hold while its peer does not read.
pub(crate) const STUCK_BYTES: usize = 20 << 20;

/// Limits that are small enough for tests to reach.
pub(crate) fn limits() -> Limits {
    Limits { sockets_max: 256, buffers: 64, ..Limits::default() }
}

/// Whether the driver can be opened on this machine; prints the reason if not.
pub(crate) fn works_here<S: Subject>() -> bool {
    match S::open(&limits()) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: this driver does not work here: {error}");
            false
        }
    }
}

/// Waits until `enough` accepts the completions so far.
pub(crate) fn run_until<S: Subject>(
    driver: &mut S,
    mut enough: impl FnMut(&[Completion]) -> bool,
) -> Vec<Completion> {
    let deadline = Instant::now() + WAIT_MAX;
    let mut all = Vec::new();
    while !enough(&all) {
        assert!(Instant::now() < deadline, "not enough after {all:#?}");
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
    }
    all
}

/// Waits for a completion that has to come by itself, without the timeout's help.
#[track_caller]
pub(crate) fn run_unhurried<S: Subject>(driver: &mut S) -> Vec<Completion> {
    let (start, mut all) = (Instant::now(), Vec::new());
    while all.is_empty() {
        driver.wait(Some(WAIT_MAX), &mut all).unwrap();
        assert!(start.elapsed() < WAIT_MAX, "the completions came only with the timeout: {all:?}");
    }
    all
}

/// Waits until `count` ops have had their last completion.
pub(crate) fn run_lasts<S: Subject>(driver: &mut S, count: usize) -> Vec<Completion> {
    run_until(driver, |all| lasts(all) >= count)
}

/// Returns the completions of a short time.
pub(crate) fn run_none<S: Subject>(driver: &mut S) -> Vec<Completion> {
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(20)), &mut all).unwrap();
    all
}

pub(crate) fn run_none_fast<S: Subject>(driver: &mut S) {
    let mut all = Vec::new();
    driver.wait(Some(Duration::from_millis(1)), &mut all).unwrap();
    assert!(all.is_empty());
}

pub(crate) fn lasts(all: &[Completion]) -> usize {
    all.iter().filter(|completion| !completion.more).count()
}

/// The outcome of the op's last completion.
pub(crate) fn last(all: Vec<Completion>, token: Token) -> Outcome {
    let mut last = None;
    for completion in all {
        if completion.token == token && !completion.more {
            assert!(last.is_none(), "two last completions");
            last = Some(completion.outcome);
        }
    }
    last.expect("a last completion")
}

pub(crate) fn sent(all: Vec<Completion>) -> std::io::Result<()> {
    match last(all, SEND) {
        Outcome::Sent(result, _) => result,
        other => panic!("{other:?}"),
    }
}

/// All received bytes, and whether the end of input came after them.
pub(crate) fn received(all: &[Completion]) -> (Vec<u8>, bool) {
    let (mut bytes, mut end) = (Vec::new(), false);
    for completion in all {
        match &completion.outcome {
            Outcome::Received(Ok(Some(lease))) => {
                assert!(!end, "data after the end");
                assert!(completion.more);
                bytes.extend_from_slice(lease);
            }
            Outcome::Received(Ok(None)) => {
                assert!(!completion.more && !end);
                end = true;
            }
            _ => {}
        }
    }
    (bytes, end)
}

pub(crate) fn has_received(all: &[Completion], count: usize) -> bool {
    received(all).0.len() >= count
}

/// A connection: the driver's socket, and a peer with a deadline.
pub(crate) fn connect<S: Subject>(driver: &mut S) -> (Sock, S::Peer) {
    driver.connect()
}

/// A listener with an accept in flight, and a dialer for it.
pub(crate) fn listen<S: Subject>(driver: &mut S) -> (Sock, S::Dialer) {
    let (listener, dialer) = driver.listen();
    driver.submit(ACCEPT, Op::AcceptMany { listener });
    (listener, dialer)
}

/// The connections that were accepted.
pub(crate) fn accepted(all: &[Completion]) -> Vec<Sock> {
    let sock = |completion: &Completion| match completion.outcome {
        Outcome::Accepted(Ok(sock)) => Some(sock),
        _ => None,
    };
    all.iter().filter_map(sock).collect()
}

pub(crate) fn receive<S: Subject>(driver: &mut S, sock: Sock) -> OpId {
    driver.submit(RECEIVE, Op::RecvMany { sock })
}

pub(crate) fn send<S: Subject>(driver: &mut S, sock: Sock, bytes: &[u8]) -> OpId {
    let mut chain = Box::new(Chain::new());
    chain.copy(bytes);
    driver.submit(SEND, Op::Send { sock, chain, end: SendEnd::Open })
}

pub(crate) fn send_chain<S: Subject>(driver: &mut S, sock: Sock, chain: Chain) -> OpId {
    driver.submit(SEND, Op::Send { sock, chain: Box::new(chain), end: SendEnd::Open })
}

pub(crate) fn close<S: Subject>(driver: &mut S, sock: Sock) {
    driver.submit(CLOSE, Op::Close { sock, reset: false });
}

/// Closes a socket and checks that no op and no lease is left.
pub(crate) fn close_all<S: Subject>(driver: &mut S, sock: Sock) {
    close(driver, sock);
    let all = run_until(driver, |all| {
        all.iter().any(|completion| matches!(completion.outcome, Outcome::Closed))
    });
    drop(all);
    assert_home(driver);
}

pub(crate) fn assert_home<S: Subject>(driver: &S) {
    assert_eq!(driver.in_flight(), 0);
    assert_eq!(driver.leased(), 0);
}

/// Asserts that a driver made at most `calls_max` system calls since `before`, plus those that it
/// takes to report `news` events.
#[track_caller]
pub(crate) fn assert_few_calls<S: Subject>(
    driver: &S,
    before: &DriverStats,
    calls_max: u64,
    news: u64,
) {
    let Some(calls_for_news) = S::calls_for_events() else { return };
    let calls = driver.stats().system_calls - before.system_calls;
    assert!(calls <= calls_max + news * calls_for_news, "{calls} calls: {:?}", driver.stats());
}

/// Asserts that no system call since `before` failed with `EAGAIN`.
#[track_caller]
pub(crate) fn assert_no_vain_attempts<S: Subject>(driver: &S, before: &DriverStats) {
    if S::calls_for_events().is_some() {
        assert_eq!(driver.stats().would_block, before.would_block);
    }
}

#[track_caller]
pub(crate) fn assert_cancelled<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert!(is_cancelled(result.as_ref().unwrap_err()), "{result:?}");
}

pub(crate) fn code<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

/// Bytes that reveal any piece that is lost, repeated or moved.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(len as u64).fill(&mut bytes);
    bytes
}

/// An open file with these bytes, whose name is already removed.
pub(crate) fn file_of<S: Subject>(driver: &S, bytes: &[u8]) -> Arc<File> {
    let files = driver.files();
    files.write("nameless", bytes);
    let file = files.open("nameless");
    files.remove("nameless");
    file
}

/// Reads `count` bytes in a thread, slowly at first.
pub(crate) fn slow_reader(mut peer: impl Peer, count: usize) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let end = count.min(filled + 50_000);
            match peer.read(&mut bytes[filled..end]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => filled += read.unwrap(),
            }
            if filled < 500_000 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        bytes
    })
}

/// Starts a send that blocks, because the peer does not read.
pub(crate) fn block_send<S: Subject>(driver: &mut S, sock: Sock) -> OpId {
    let mut chain = Chain::new();
    chain.share(&std::rc::Rc::from(vec![7; STUCK_BYTES]));
    let op = send_chain(driver, sock, chain);
    let mut none = Vec::new();
    let blocked = Instant::now() + Duration::from_millis(100);
    while Instant::now() < blocked {
        driver.wait(Some(Duration::from_millis(50)), &mut none).unwrap();
    }
    assert!(none.is_empty(), "{none:?}");
    op
}
