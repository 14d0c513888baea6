//! What the steps do: ops on a driver, whose results are compared with the expected ones.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::setup::step_failed;
use super::super::trial::{TIME_MAX, no_answer, untried};
use super::super::{
    Chain, Completion, Driver, DriverKind, File, FileKind, Links, Op, OpId, Outcome, SendEnd, Sock,
    Token, is_cancelled, sys,
};
use super::step::ProbeStep;

const WORD: &[u8] = b"ping";

/// Size of a file, and of each piece of a chain with several: small enough for the buffers of a
/// socket that is not read yet, large enough not to be copied into one piece.
const PIECE_BYTES: usize = 12 * 1024;

/// The timeout of the wait in [`ProbeStep::Timeout`].
const SHORT_WAIT: Duration = Duration::from_millis(2);

/// A driver, and its completions that no step has used yet.
pub(super) struct Tester<D> {
    driver: D,
    kind: DriverKind,
    tokens: u64,
    seen: VecDeque<Completion>,
}

impl<D: Driver> Tester<D> {
    pub(super) fn new(driver: D, kind: DriverKind) -> Self {
        Self { driver, kind, tokens: 0, seen: VecDeque::new() }
    }

    /// Takes a step. If a step fails, its sockets stay with the driver until it is dropped.
    pub(super) fn take(&mut self, step: ProbeStep) -> io::Result<()> {
        let taken = match step {
            ProbeStep::Open => Ok(()),
            ProbeStep::Receive => self.receive(1),
            ProbeStep::Wake => self.wake(),
            ProbeStep::Send => self.send(&[WORD]),
            ProbeStep::Gather => self.send(&[&[1; PIECE_BYTES], &[2; PIECE_BYTES]]),
            ProbeStep::SendFile => self.send_file(),
            ProbeStep::ReadFile => self.read_file(),
            ProbeStep::OpenFile => self.open_file(),
            ProbeStep::Accept => self.accept(),
            ProbeStep::ReceiveMany => self.receive(2),
            ProbeStep::Cancel => self.cancel(),
            ProbeStep::Timeout => self.time_out(),
        };
        taken.map_err(|error| named(step.call(self.kind), error))
    }

    fn receive(&mut self, messages: usize) -> io::Result<()> {
        let (mut peer, sock) = self.pair()?;
        let (token, _) = self.submit(Op::RecvMany { sock });
        let mut submissions = None;
        for _ in 0..messages {
            peer.write_all(WORD).map_err(untried)?;
            match self.answer(token)?.outcome {
                Outcome::Received(lease) => {
                    let lease = lease?;
                    expect(lease.is_some_and(|lease| *lease == *WORD), "received wrong bytes")?;
                }
                _ => return Err(confused()),
            }
            self.submitted_once(&mut submissions)?;
        }
        self.close(sock)
    }

    fn wake(&mut self) -> io::Result<()> {
        self.driver.waker().wake();
        self.answer(Token::WAKE).map(drop)
    }

    fn send(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let (mut peer, sock) = self.pair()?;
        let mut chain = Chain::new();
        pieces.iter().for_each(|piece| chain.share(&Rc::from(*piece)));
        self.send_chain(sock, chain)?;
        expect_from(&mut peer, &pieces.concat())?;
        self.close(sock)
    }

    fn send_chain(&mut self, sock: Sock, chain: Chain) -> io::Result<()> {
        let (token, _) = self.submit(Op::Send { sock, chain: Box::new(chain), end: SendEnd::Open });
        match self.answer(token)?.outcome {
            Outcome::Sent(result, _) => result,
            _ => Err(confused()),
        }
    }

    /// Sends a file alone, then behind one piece of memory, then behind two, which need one more
    /// system call each.
    fn send_file(&mut self) -> io::Result<()> {
        let (file, content) = file()?;
        let file = Arc::new(file);
        let pieces = [vec![1; PIECE_BYTES], vec![2; PIECE_BYTES]];
        for (pieces, call) in
            [(&pieces[..0], "sendfile"), (&pieces[..1], "sendto"), (&pieces[..], "sendmsg")]
        {
            let (mut peer, sock) = self.connection()?;
            let mut chain = Chain::new();
            pieces.iter().for_each(|piece| chain.share(&Rc::from(&piece[..])));
            chain.file(&file, 0..content.len() as u64);
            self.send_chain(sock, chain).map_err(|error| named(Some(call), error))?;
            expect_from(&mut peer, &pieces.concat())?;
            expect_from(&mut peer, &content)?;
            self.close(sock)?;
        }
        Ok(())
    }

    /// A TCP connection that the driver has adopted.
    fn connection(&mut self) -> io::Result<(fs::File, Sock)> {
        let listener = listen()?;
        let peer = dial(&listener)?;
        peer.set_read_timeout(Some(TIME_MAX)).map_err(untried)?;
        let (socket, _) = listener.accept().map_err(untried)?;
        Ok((plain(peer), self.driver.adopt(socket.into())?))
    }

    fn read_file(&mut self) -> io::Result<()> {
        let (file, content) = file()?;
        let buffer = Vec::with_capacity(content.len());
        let (token, _) = self.submit(Op::ReadFile { file: Arc::new(file), offset: 0, buffer });
        match self.answer(token)?.outcome {
            Outcome::FileRead(result, buffer) => {
                result?;
                expect(buffer == content, "read wrong bytes")
            }
            _ => Err(confused()),
        }
    }

    fn open_file(&mut self) -> io::Result<()> {
        let root = Arc::new(File::open_root(Path::new("/"), Links::Beneath).map_err(untried)?);
        let (token, _) = self.submit(Op::OpenFile { root, path: c".".into() });
        match self.answer(token)?.outcome {
            Outcome::Opened(file) => {
                expect(file?.metadata().kind == FileKind::Directory, "opened the wrong file")
            }
            _ => Err(confused()),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let listener = listen()?;
        if self.kind != DriverKind::Uring {
            // An accept that fails may pause and try again, so this one shows the error.
            listener.set_nonblocking(true).map_err(untried)?;
            match sys::accept(listener.as_fd()) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        let ours = listener.try_clone().map_err(untried)?;
        let sock = self.driver.adopt(ours.into())?;
        let (token, _) = self.submit(Op::AcceptMany { listener: sock });
        let mut submissions = None;
        let mut accepted = Vec::new();
        for _ in 0..2 {
            let _peer = dial(&listener)?;
            match self.answer(token)?.outcome {
                Outcome::Accepted(sock) => accepted.push(sock?),
                _ => return Err(confused()),
            }
            self.submitted_once(&mut submissions)?;
        }
        accepted.push(sock);
        accepted.into_iter().try_for_each(|sock| self.close(sock))
    }

    fn cancel(&mut self) -> io::Result<()> {
        let (_peer, sock) = self.pair()?;
        let (token, op) = self.submit(Op::RecvMany { sock });
        self.driver.cancel(op);
        match self.answer(token)?.outcome {
            Outcome::Received(Err(error)) if is_cancelled(&error) => self.close(sock),
            Outcome::Received(Err(error)) => Err(error),
            _ => Err(confused()),
        }
    }

    fn time_out(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        let mut none = Vec::new();
        // A wait may return early with nothing.
        while begin.elapsed() < SHORT_WAIT {
            self.driver.wait(Some(SHORT_WAIT), &mut none)?;
        }
        expect(none.is_empty(), "got an unexpected completion")
    }

    // Helpers of the steps.

    fn submit(&mut self, op: Op) -> (Token, OpId) {
        self.tokens += 1;
        let token = Token(self.tokens);
        (token, self.driver.submit(token, op))
    }

    /// The next completion with this token.
    fn answer(&mut self, token: Token) -> io::Result<Completion> {
        let until = Instant::now() + TIME_MAX;
        let mut batch = Vec::new();
        loop {
            if let Some(place) = self.seen.iter().position(|seen| seen.token == token) {
                return self.seen.remove(place).ok_or_else(confused);
            }
            if Instant::now() > until {
                return Err(no_answer(TIME_MAX));
            }
            self.driver.wait(Some(Duration::from_millis(10)), &mut batch)?;
            self.seen.extend(batch.drain(..));
        }
    }

    /// Checks that the kernel keeps the op armed: a submission between two completions of the op
    /// would be the op again. Drivers without submissions pass.
    fn submitted_once(&self, before: &mut Option<u64>) -> io::Result<()> {
        let now = self.driver.stats().submissions;
        let same = before.is_none_or(|before| before == now);
        *before = Some(now);
        expect(same, "the kernel ends the op after its first completion")
    }

    fn pair(&mut self) -> io::Result<(fs::File, Sock)> {
        let (peer, ours) = UnixStream::pair().map_err(untried)?;
        peer.set_read_timeout(Some(TIME_MAX)).map_err(untried)?;
        Ok((plain(peer), self.driver.adopt(ours.into())?))
    }

    fn close(&mut self, sock: Sock) -> io::Result<()> {
        let (token, _) = self.submit(Op::Close { sock, reset: false });
        let closed = self.answer(token).map_err(|error| {
            let reason = format!("shutdown, or another call of a close: {error}");
            io::Error::new(error.kind(), reason)
        })?;
        match closed.outcome {
            Outcome::Closed => Ok(()),
            _ => Err(confused()),
        }
    }
}

/// Names the system call that an error of the kernel comes from, unless the driver has named it.
fn named(call: Option<&'static str>, error: io::Error) -> io::Error {
    match call {
        Some(call) if error.raw_os_error().is_some() => step_failed(call, &error),
        _ => error,
    }
}

/// A peer that uses `read(2)` and `write(2)`, because the calls for sockets may be denied.
fn plain(peer: impl Into<OwnedFd>) -> fs::File {
    fs::File::from(peer.into())
}

/// A file in memory, and its content.
fn file() -> io::Result<(File, Vec<u8>)> {
    let content: Vec<u8> = (0..PIECE_BYTES).map(|at| (at % 251) as u8).collect();
    let mut file = fs::File::from(sys::memory_file().map_err(untried)?);
    file.write_all(&content).map_err(untried)?;
    Ok((File::new(file.into())?, content))
}

fn listen() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(untried)
}

fn dial(listener: &TcpListener) -> io::Result<TcpStream> {
    let address = listener.local_addr().map_err(untried)?;
    TcpStream::connect_timeout(&address, TIME_MAX).map_err(untried)
}

fn expect_from(peer: &mut impl Read, bytes: &[u8]) -> io::Result<()> {
    let mut got = vec![0; bytes.len()];
    peer.read_exact(&mut got)?;
    expect(got == bytes, "sent wrong bytes")
}

fn expect(kept: bool, otherwise: &'static str) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::Error::other(otherwise)) }
}

fn confused() -> io::Error {
    io::Error::other("the completion has the wrong kind of outcome")
}
