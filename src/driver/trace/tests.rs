//! The trace of a driver that follows a script.

use std::collections::VecDeque;
use std::ffi::CString;
use std::sync::Mutex;

use std::net::SocketAddr;

use super::*;
use crate::driver::slot_map::Handle;
use crate::driver::waker::EventFd;
use crate::driver::{Chain, File, Job, Limits, Links, SendEnd, SocketAddress};

/// A driver without a kernel: each wait returns the completions and adds the statistics that the
/// test has set.
#[derive(Default)]
struct Scripted {
    waits: VecDeque<(Vec<Completion>, DriverStats)>,
    ops: u64,
    stats: DriverStats,
}

impl Scripted {
    fn wait(mut self, completions: Vec<Completion>, did: DriverStats) -> Self {
        self.waits.push_back((completions, did));
        self
    }
}

impl crate::driver::sealed::Sealed for Scripted {}

impl Driver for Scripted {
    fn adopt(&mut self, _: OwnedFd) -> io::Result<Sock> {
        Ok(sock())
    }

    fn set_joint(&mut self, _: Sock, _: bool) {}

    fn submit(&mut self, _: Token, _: Op) -> OpId {
        self.ops += 1;
        OpId(self.ops)
    }

    fn cancel(&mut self, _: OpId) {}

    fn wait(&mut self, _: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let (completions, did) = self.waits.pop_front().ok_or(io::ErrorKind::BrokenPipe)?;
        self.stats.system_calls += did.system_calls;
        self.stats.submissions += did.submissions;
        self.stats.would_block += did.would_block;
        out.extend(completions);
        Ok(())
    }

    fn waker(&self) -> Waker {
        EventFd::new().unwrap().waker()
    }

    fn acknowledged(&self, _: Sock) -> io::Result<u64> {
        Ok(17)
    }

    fn peer(&self, _: Sock) -> io::Result<SocketAddress> {
        Ok(SocketAddr::from(([192, 0, 2, 1], 4711)).into())
    }

    fn has_input(&self, _: Sock) -> bool {
        false
    }

    fn local(&self, _: Sock) -> io::Result<SocketAddress> {
        Ok(SocketAddr::from(([192, 0, 2, 2], 80)).into())
    }

    fn set_pace(&self, _: Sock, _: Option<NonZero<u64>>) -> io::Result<()> {
        Ok(())
    }

    fn in_flight(&self) -> usize {
        3
    }

    fn leased(&self) -> usize {
        2
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }
}

fn sock() -> Sock {
    Sock(Handle::at(0))
}

fn completion(token: u64, more: bool, outcome: Outcome) -> Completion {
    Completion { token: Token(token), more, outcome }
}

fn chain(bytes: &[u8]) -> Box<Chain> {
    let mut chain = Box::new(Chain::new());
    chain.copy(bytes);
    chain
}

fn did(system_calls: u64, submissions: u64, would_block: u64) -> DriverStats {
    DriverStats { system_calls, submissions, would_block, ..DriverStats::default() }
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that a trace writes, without the legend and the times.
fn trace_of(driver: Scripted, act: impl FnOnce(&mut Trace)) -> Vec<String> {
    let paper = Paper::default();
    let tracer = Tracer::to(paper.clone()).unwrap();
    let name = |token: Token| format!("thing {}", token.0);
    let mut traced = tracer.trace(driver, String::new(), name);
    act(&mut traced);
    drop((traced, tracer));
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    let lines = text.strip_prefix(LEGEND).expect("the legend comes first").lines();
    let words = |line: &str| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    lines.map(words).collect()
}

fn wait(traced: &mut Trace) -> Vec<Completion> {
    let mut out = Vec::new();
    traced.wait(None, &mut out).unwrap();
    out
}

/// The lines, without the durations of waits.
fn untimed(lines: &[String]) -> Vec<String> {
    let untime = |line: &String| match line.split_once(" ms ") {
        Some((before, rest)) => format!("{} {rest}", before.rsplit_once(' ').unwrap().0),
        None => line.clone(),
    };
    lines.iter().map(untime).collect()
}

#[test]
fn every_op_has_its_line() {
    let folder = Arc::new(File::open_root(std::path::Path::new("src"), Links::Beneath).unwrap());
    let lines = trace_of(Scripted::default(), |traced| {
        let sock = sock();
        traced.submit(Token(0), Op::AcceptMany { listener: sock });
        traced.submit(Token(1), Op::RecvMany { sock });
        traced.submit(Token(1), Op::Send { sock, chain: chain(b"x"), end: SendEnd::HalfClose });
        let mut mixed = chain(b"head");
        mixed.file(&folder, 0..100);
        traced.submit(Token(2), Op::Send { sock, chain: mixed, end: SendEnd::Open });
        let (file, buffer) = (Arc::clone(&folder), Vec::with_capacity(64));
        traced.submit(Token(3), Op::ReadFile { file, offset: 5, buffer });
        let path = CString::new("a\n\u{e4}").unwrap();
        traced.submit(Token(3), Op::OpenFile { root: folder, path });
        traced.submit(Token(4), Op::Run { job: Job::new(|| Ok(Vec::new())) });
        traced.submit(Token(1), Op::Close { sock, reset: true });
        traced.submit(Token(0), Op::Close { sock, reset: false });
    });
    let expected = [
        "-> thing 0 accept",
        "-> thing 1 recv",
        "-> thing 1 send 1 byte, then half-close",
        "-> thing 2 send 104 bytes, partly from a file",
        "-> thing 3 read up to 64 bytes from 5",
        "-> thing 3 open \"a\\n\u{e4}\"",
        "-> thing 4 run a job",
        "-> thing 1 close by reset",
        "-> thing 0 close",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn every_completion_has_its_line_after_that_of_its_wait() {
    let file =
        || Ok(Arc::new(File::open_root(std::path::Path::new("src"), Links::Beneath).unwrap()));
    let mut sent = chain(b"four");
    sent.advance(4);
    let mut torn = chain(b"four");
    torn.advance(1);
    let reset = || io::Error::from_raw_os_error(libc::ECONNRESET);
    let lease = crate::driver::pool::Pool::new(1, 16).take();
    let completions = vec![
        completion(0, true, Outcome::Accepted(Ok(sock()))),
        completion(1, true, Outcome::Received(Ok(lease))),
        completion(1, false, Outcome::Received(Ok(None))),
        completion(1, false, Outcome::Sent(Ok(()), sent)),
        completion(2, false, Outcome::Sent(Err(reset()), torn)),
        completion(3, false, Outcome::FileRead(Ok(9), Vec::new())),
        completion(3, false, Outcome::Opened(file())),
        completion(3, false, Outcome::Opened(Err(io::ErrorKind::UnexpectedEof.into()))),
        completion(4, false, Outcome::Ran(Ok(vec![7; 9]))),
        completion(4, false, Outcome::Ran(Err(crate::driver::op::cancelled()))),
        completion(1, false, Outcome::Closed),
        Completion { token: Token::WAKE, more: false, outcome: Outcome::Woken },
        completion(0, false, Outcome::Accepted(Err(crate::driver::op::cancelled()))),
    ];
    let driver = Scripted::default().wait(completions, did(1, 2, 3));
    let lines = trace_of(driver, |traced| {
        let out = wait(traced);
        assert_eq!(out.len(), 13, "the completions are passed on");
    });
    let expected = [
        "== wait completions 13 calls 1 submissions 2 would block 3",
        "<- thing 0 accept 192.0.2.1:4711, more",
        "<- thing 1 recv 16 bytes, more",
        "<- thing 1 recv end of input",
        "<- thing 1 send 4 bytes",
        "<- thing 2 send ECONNRESET after 1 byte",
        "<- thing 3 read 9 bytes",
        "<- thing 3 open a directory",
        "<- thing 3 open unexpected end of file",
        "<- thing 4 run 9 bytes",
        "<- thing 4 run ECANCELED",
        "<- thing 1 close",
        "<- wake",
        "<- thing 0 accept ECANCELED",
    ];
    assert_eq!(untimed(&lines), expected);
}

#[test]
fn waits_without_completions_share_one_line_when_something_follows() {
    let closed = || vec![completion(1, false, Outcome::Closed)];
    let driver = Scripted::default()
        .wait(Vec::new(), did(1, 0, 1))
        .wait(Vec::new(), did(2, 0, 0))
        .wait(closed(), did(4, 0, 0))
        .wait(Vec::new(), did(1, 0, 0));
    let lines = trace_of(driver, |traced| {
        for _ in 0..4 {
            wait(traced);
        }
        traced.submit(Token(1), Op::RecvMany { sock: sock() });
    });
    let expected = [
        "== 2 waits completions 0 calls 3 submissions 0 would block 1",
        "== wait completions 1 calls 4 submissions 0 would block 0",
        "<- thing 1 close",
        "== wait completions 0 calls 1 submissions 0 would block 0",
        "-> thing 1 recv",
    ];
    assert_eq!(untimed(&lines), expected);
}

#[test]
fn a_cancel_names_the_op_while_it_is_in_flight() {
    let over = vec![completion(1, true, Outcome::Received(Ok(None)))];
    let last = vec![completion(1, false, Outcome::Received(Ok(None)))];
    let driver =
        Scripted::default().wait(over, DriverStats::default()).wait(last, DriverStats::default());
    let lines = trace_of(driver, |traced| {
        let op = traced.submit(Token(1), Op::RecvMany { sock: sock() });
        wait(traced);
        traced.cancel(op);
        wait(traced);
        traced.cancel(op);
        assert!(traced.live.is_empty());
    });
    let cancels: Vec<_> = lines.iter().filter(|line| line.starts_with("-x")).collect();
    assert_eq!(cancels, ["-x thing 1 recv", "-x an op that has ended"]);
}

#[test]
fn a_wait_that_fails_is_logged_and_fails() {
    let lines = trace_of(Scripted::default(), |traced| {
        let error = traced.wait(None, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
    assert_eq!(lines.last().unwrap(), "== wait broken pipe");
}

#[test]
fn the_rest_of_the_contract_is_passed_on() {
    trace_of(Scripted::default(), |traced| {
        let (acknowledged, in_flight) = (traced.acknowledged(sock()).unwrap(), traced.in_flight());
        assert_eq!((acknowledged, in_flight, traced.leased()), (17, 3, 2));
        assert_eq!(traced.peer(sock()).unwrap().internet().unwrap().port(), 4711);
        assert_eq!(traced.local(sock()).unwrap().internet().unwrap().port(), 80);
        traced.waker().wake();
    });
}

/// With a real driver: a wake from another thread, and a chain that the driver really sends.
#[test]
fn a_real_driver_works_the_same_when_it_is_traced() {
    let paper = Paper::default();
    let tracer = Tracer::to(paper.clone()).unwrap();
    let driver = crate::driver::ready::Epoll::open(&Limits::default()).unwrap();
    let mut traced = tracer.trace(driver, "w7   ".into(), |token| format!("thing {}", token.0));
    let (socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let sock = traced.adopt(socket.into()).unwrap();
    traced.submit(Token(1), Op::Send { sock, chain: chain(b"hello"), end: SendEnd::Open });
    let waker = traced.waker();
    std::thread::spawn(move || waker.wake()).join().unwrap();
    let (mut woken, mut sent) = (false, false);
    while !(woken && sent) {
        let mut out = Vec::new();
        traced.wait(Some(Duration::from_secs(10)), &mut out).unwrap();
        assert!(!out.is_empty(), "neither the send nor the wake completed in time");
        woken |= out.iter().any(|completion| completion.token == Token::WAKE);
        sent |= out.iter().any(|completion| matches!(completion.outcome, Outcome::Sent(..)));
    }
    io::Read::read_exact(&mut peer, &mut [0; 5]).unwrap();
    drop((traced, tracer));
    let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    for line in ["w7   -> thing 1           send    5 bytes\n", "wake\n", "== wait  "] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    assert_eq!(text.matches("send    5 bytes\n").count(), 2, "{text}");
}
