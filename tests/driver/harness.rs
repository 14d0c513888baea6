//! What the tests have in common: a loop with a deadline, peers, and files.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringd::driver::{
    Chain, Completion, Driver, File, Limits, Op, OpId, Outcome, Sock, Token, is_cancelled,
};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How drivers are opened.
pub(crate) trait Open<D>: Fn(&Limits) -> std::io::Result<D> {}
impl<D, F: Fn(&Limits) -> std::io::Result<D>> Open<D> for F {}

pub(crate) const RECEIVE: Token = Token(1);
pub(crate) const SEND: Token = Token(2);
pub(crate) const CLOSE: Token = Token(3);
pub(crate) const ACCEPT: Token = Token(4);
pub(crate) const FILE: Token = Token(5);

/// Limits that are small enough for tests to reach.
pub(crate) fn limits() -> Limits {
    Limits { sockets_max: 256, buffers: 64, buffer_bytes: 4096, turn_bytes_max: 1 << 20 }
}

/// Whether the driver can be opened here; says why when it cannot.
pub(crate) fn works_here<D: Driver>(open: impl Open<D>) -> bool {
    match open(&limits()) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: this driver does not work here: {error}");
            false
        }
    }
}

/// Waits until `enough` of the completions so far.
pub(crate) fn run_until<D: Driver>(
    driver: &mut D,
    mut enough: impl FnMut(&[Completion]) -> bool,
) -> Vec<Completion> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while !enough(&all) {
        assert!(Instant::now() < deadline, "no end in sight after {all:#?}");
        driver.wait(Some(Duration::from_millis(50)), &mut all).unwrap();
    }
    all
}

/// Waits until `count` ops have had their last completion.
pub(crate) fn run_lasts<D: Driver>(driver: &mut D, count: usize) -> Vec<Completion> {
    run_until(driver, |all| lasts(all) >= count)
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

/// A connection: the driver's end, and a peer with a deadline.
pub(crate) fn connect<D: Driver>(driver: &mut D) -> (Sock, TcpStream) {
    let (ours, peer) = pair();
    (driver.adopt(ours.into()).unwrap(), peer)
}

pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = dial(&listener);
    (listener.accept().unwrap().0, peer)
}

pub(crate) fn dial(listener: &TcpListener) -> TcpStream {
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_write_timeout(Some(PATIENCE)).unwrap();
    peer.set_nodelay(true).unwrap();
    peer
}

pub(crate) fn receive<D: Driver>(driver: &mut D, sock: Sock) -> OpId {
    driver.submit(RECEIVE, Op::RecvMany { sock })
}

pub(crate) fn send<D: Driver>(driver: &mut D, sock: Sock, bytes: &[u8]) -> OpId {
    let mut chain = Box::new(Chain::new());
    chain.copy(bytes);
    driver.submit(SEND, Op::Send { sock, chain, fin: false })
}

pub(crate) fn send_chain<D: Driver>(driver: &mut D, sock: Sock, chain: Chain) -> OpId {
    driver.submit(SEND, Op::Send { sock, chain: Box::new(chain), fin: false })
}

pub(crate) fn close<D: Driver>(driver: &mut D, sock: Sock) {
    driver.submit(CLOSE, Op::Close { sock, reset: false });
}

/// Closes a socket and sees that everything has come home.
pub(crate) fn close_all<D: Driver>(driver: &mut D, sock: Sock) {
    close(driver, sock);
    let all = run_until(driver, |all| {
        all.iter().any(|completion| matches!(completion.outcome, Outcome::Closed))
    });
    drop(all);
    assert_home(driver);
}

pub(crate) fn assert_home<D: Driver>(driver: &D) {
    assert_eq!(driver.in_flight(), 0);
    assert_eq!(driver.leased(), 0);
}

#[track_caller]
pub(crate) fn assert_cancelled<T: std::fmt::Debug>(result: std::io::Result<T>) {
    assert!(is_cancelled(result.as_ref().unwrap_err()), "{result:?}");
}

pub(crate) fn code<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<i32> {
    result.unwrap_err().raw_os_error()
}

/// Bytes that differ at every place where a mistake would put them.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

pub(crate) fn temporary_file(bytes: &[u8]) -> (std::fs::File, Arc<File>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let ours = File::new(file.try_clone().unwrap().into()).unwrap();
    (file, Arc::new(ours))
}

/// Reads `count` bytes in a thread, slowly at first.
pub(crate) fn slow_reader(mut peer: TcpStream, count: usize) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let end = count.min(filled + 50_000);
            filled += peer.read(&mut bytes[filled..end]).unwrap();
            if filled < 500_000 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        bytes
    })
}

/// Sends until the peer, which does not read, lets no more in.
pub(crate) fn block_send<D: Driver>(driver: &mut D, sock: Sock) -> OpId {
    let mut chain = Chain::new();
    chain.share(&std::rc::Rc::from(vec![7; 64 << 20]));
    let op = send_chain(driver, sock, chain);
    let mut none = Vec::new();
    let blocked = Instant::now() + Duration::from_millis(200);
    while Instant::now() < blocked {
        driver.wait(Some(Duration::from_millis(50)), &mut none).unwrap();
    }
    assert!(none.is_empty(), "{none:?}");
    op
}
