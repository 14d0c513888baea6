//! Blocking jobs: the system calls that a thread makes, and their results.
//!
//! A job is one step of an op: one accept, one receive, one piece of a send, one open, a bounded
//! part of a read. It owns everything it uses, or shares it by an [`Arc`], so a stuck thread keeps
//! its socket, file and memory alive, and the driver need not wait for it.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::driver::call_log::made;
use crate::driver::chain::{Chain, NextPart};
use crate::driver::disk::{self, BufferRead};
use crate::driver::file_copy::{FileCopy, read_piece};
use crate::driver::name::FileOp;
use crate::driver::op::cancelled;
use crate::driver::slot_map::Handle;
use crate::driver::transfer::{PIECE_BYTES, turn_share};
use crate::driver::waker::{EventFd, Notifier};
use crate::driver::{File, Outcome, SendEnd, Sock, sys};

/// The interval at which a blocked send checks whether it was given up (`SO_SNDTIMEO`).
pub(super) const SEND_LOOKS: Duration = Duration::from_millis(100);

/// The memory of a piece is kept for the next piece if it is no larger than this.
const KEEP_BYTES: usize = 16 * 1024;

/// The part of a socket that threads share. Dropping the last reference closes the descriptor.
#[derive(Debug)]
pub(super) struct SharedSocket {
    descriptor: OwnedFd,
    /// Asks the send in progress to stop where it is.
    send_given_up: AtomicBool,
    /// Makes the thread in an accept leave it; only for listeners.
    leave: Option<EventFd>,
}

/// A step of an op, and its socket or file op.
#[derive(Debug)]
pub(super) enum BlockingJob {
    Socket(Handle<Sock>, SocketJob),
    File(Handle<FileOp>, FileJob),
}

/// A step of an op on a socket.
#[derive(Debug)]
pub(super) enum SocketJob {
    Accept(Arc<SharedSocket>),
    /// Wait for input, and receive what there is into the first `room` bytes of the buffer.
    Receive {
        shared: Arc<SharedSocket>,
        buffer: Vec<u8>,
        room: usize,
    },
    Send(Arc<SharedSocket>, ChainPiece),
}

/// A step of an op on a file.
#[derive(Debug)]
pub(super) enum FileJob {
    Open {
        root: Arc<File>,
        path: CString,
    },
    /// Continue a read by at most `bytes_max`.
    Read {
        read: BufferRead,
        bytes_max: usize,
    },
}

/// The result of a job, and its socket or file op.
#[derive(Debug)]
pub(super) enum JobResult {
    Socket(Handle<Sock>, SocketResult),
    File(Handle<FileOp>, FileResult),
}

/// Counts the system calls of a job.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Calls {
    /// System calls.
    pub(super) made: u64,
    /// Those that the kernel answered with "would block".
    pub(super) would_block: u64,
}

/// The result of a [`SocketJob`].
#[derive(Debug)]
pub(super) enum SocketResult {
    Accepted(io::Result<OwnedFd>),
    /// The number of bytes received, and the buffer, which begins with them.
    Received(io::Result<usize>, Vec<u8>),
    Sent(PieceSent),
}

/// The result of a [`FileJob`].
#[derive(Debug)]
pub(super) enum FileResult {
    Opened(io::Result<Arc<File>>),
    /// Whether the read is complete.
    Read(io::Result<bool>, BufferRead),
}

/// The result of a [`ChainPiece`]. A piece may be sent in part, and then fail.
#[derive(Debug)]
pub(super) struct PieceSent {
    pub(super) bytes: u64,
    pub(super) result: io::Result<()>,
    /// An empty vector, for the next piece.
    pub(super) memory: Vec<u8>,
}

/// A piece of a chain: some memory, then a range of a file, at most a turn's share ([`turn_share`])
/// of [`PIECE_BYTES`] together.
/// Either may be absent.
#[derive(Debug)]
pub(super) struct ChainPiece {
    memory: Vec<u8>,
    /// More bytes or the end of output follow at once, so the kernel may hold back a partial
    /// segment (`MSG_MORE`).
    more: bool,
    file: Option<(Arc<File>, Range<u64>)>,
}

impl SharedSocket {
    pub(super) fn new(descriptor: OwnedFd) -> Arc<Self> {
        Arc::new(Self { descriptor, send_given_up: AtomicBool::new(false), leave: None })
    }

    /// A listener.
    pub(super) fn listening(descriptor: OwnedFd) -> io::Result<Arc<Self>> {
        let leave = Some(EventFd::new()?);
        Ok(Arc::new(Self { descriptor, send_given_up: AtomicBool::new(false), leave }))
    }

    /// Makes the thread in an accept leave it, and each later one.
    pub(super) fn leave_accept(&self) {
        self.leave.iter().for_each(EventFd::notify);
    }

    /// Sets whether the send in progress is to stop. It notices within [`SEND_LOOKS`].
    pub(super) fn give_up_send(&self, give_up: bool) {
        self.send_given_up.store(give_up, Ordering::Relaxed);
    }
}

impl AsFd for SharedSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl BlockingJob {
    /// Performs the job; blocks for as long as it takes. Before returning, drops everything that
    /// the job holds and that is not part of the result.
    pub(super) fn perform(self, calls: &mut Calls) -> JobResult {
        match self {
            Self::Socket(handle, job) => JobResult::Socket(handle, job.perform(calls)),
            Self::File(handle, job) => JobResult::File(handle, job.perform(calls)),
        }
    }
}

impl SocketJob {
    fn perform(self, calls: &mut Calls) -> SocketResult {
        match self {
            Self::Accept(listener) => SocketResult::Accepted(accept_waiting(&listener, calls)),
            Self::Receive { shared, mut buffer, room } => {
                SocketResult::Received(receive(&shared, &mut buffer[..room], calls), buffer)
            }
            Self::Send(shared, piece) => SocketResult::Sent(piece.send(&shared, calls)),
        }
    }
}

impl FileJob {
    fn perform(self, calls: &mut Calls) -> FileResult {
        match self {
            Self::Open { root, path } => {
                FileResult::Opened(disk::open(&root, &path, &mut calls.made))
            }
            Self::Read { mut read, bytes_max } => {
                let result = read.advance(bytes_max, |file, room, offset| {
                    calls.made += 1;
                    file.read_at(room, offset)
                });
                FileResult::Read(result, read)
            }
        }
    }

    /// The outcome of an op whose job no thread has begun.
    pub(super) fn end(self, error: io::Error) -> Outcome {
        match self {
            Self::Open { .. } => Outcome::Opened(Err(error)),
            Self::Read { read, .. } => read.end(Err(error)),
        }
    }
}

impl ChainPiece {
    /// The next piece of a chain: a turn's share ([`turn_share`]). Its memory is copied to
    /// `memory`, which is empty. Returns `None` if the chain is empty.
    pub(super) fn cut(
        chain: &Chain,
        end: SendEnd,
        turn_bytes_max: u64,
        mut memory: Vec<u8>,
    ) -> Option<Self> {
        let budget = turn_share(chain.remaining(), turn_bytes_max.min(PIECE_BYTES));
        let more = match chain.next() {
            NextPart::Nothing => return None,
            NextPart::Memory { more } => {
                chain.memory(budget as usize).for_each(|part| memory.extend_from_slice(part));
                more || end.follows()
            }
            NextPart::File { .. } => false,
        };
        let room = budget - memory.len() as u64;
        let file = chain.file_after(memory.len()).filter(|_| room > 0).map(|(file, range)| {
            let end = range.end.min(range.start + room);
            (Arc::clone(file), range.start..end)
        });
        Some(Self { memory, more, file })
    }

    fn send(self, shared: &SharedSocket, calls: &mut Calls) -> PieceSent {
        let Self { mut memory, more, file } = self;
        let mut bytes = 0;
        let all = memory.len() as u64;
        let mut result = push(shared, calls, &mut bytes, all, |sent| {
            sys::send_waiting(shared.as_fd(), &memory[sent as usize..], more)
        });
        if let (Ok(()), Some((file, range))) = (&result, file)
            && bytes == all
        {
            let mut sent = 0;
            result = send_file(shared, &file, &range, &mut sent, calls);
            bytes += sent;
        }
        memory.clear();
        memory.shrink_to(KEEP_BYTES);
        PieceSent { bytes, result, memory }
    }
}

/// Sends a range of a file; if `sendfile(2)` does not send it, reads and sends it.
fn send_file(
    shared: &SharedSocket,
    file: &File,
    range: &Range<u64>,
    sent: &mut u64,
    calls: &mut Calls,
) -> io::Result<()> {
    let len = range.end - range.start;
    if file.may_sendfile() {
        let result = push(shared, calls, sent, len, |sent| {
            let left = (len - sent) as usize;
            match sys::sendfile(shared.as_fd(), file.as_fd(), range.start + sent, left) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                sent => sent,
            }
        });
        match result {
            Err(error) if file.refuses_sendfile(&error) => {}
            result => return result,
        }
    }
    while *sent < len && !shared.send_given_up.load(Ordering::Relaxed) {
        let piece = FileCopy::piece(&(range.start + *sent..range.end));
        let copy = read_piece(file, &piece, &mut calls.made)?;
        if copy.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        let result = push(shared, calls, &mut done, copy.len() as u64, |done| {
            sys::send_waiting(shared.as_fd(), &copy[done as usize..], false)
        });
        *sent += done;
        result?;
    }
    Ok(())
}

/// Waits for a connection, or until the accept is to be left, which is an error. The listener does
/// not block, because other holders of its socket may not want that, and could not be woken.
fn accept_waiting(listener: &SharedSocket, calls: &mut Calls) -> io::Result<OwnedFd> {
    loop {
        let entry = |fd: BorrowedFd<'_>| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let leave = listener.leave.as_ref().map_or(listener.as_fd(), EventFd::as_fd);
        let mut entries = [entry(listener.as_fd()), entry(leave)];
        calls.made += 1;
        match sys::poll(&mut entries, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        };
        if listener.leave.is_some() && entries[1].revents != 0 {
            return Err(cancelled());
        }
        match accept(listener, calls) {
            // A Unix socket that was shut down has an empty queue for ever, and says no more than
            // that if it does not block.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && entries[0].revents & libc::POLLHUP != 0 =>
            {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            accepted => return accepted,
        }
    }
}

/// Accepts a connection. Waits for one only if the listener blocks.
pub(super) fn accept(listener: &SharedSocket, calls: &mut Calls) -> io::Result<OwnedFd> {
    calls.made += 1;
    let accepted = sys::accept_waiting(listener.as_fd());
    let connection = accepted.inspect_err(|error| {
        calls.would_block += u64::from(error.kind() == io::ErrorKind::WouldBlock);
    })?;
    limit_sends(&connection, calls)?;
    Ok(connection)
}

/// Makes blocked sends on a socket return after [`SEND_LOOKS`]. Setting this on the listener would
/// not be enough: only TCP passes it on to connections, and only to those established afterwards.
pub(super) fn limit_sends(socket: &OwnedFd, calls: &mut Calls) -> io::Result<()> {
    calls.made += 1;
    made("setsockopt", || socket2::SockRef::from(socket).set_write_timeout(Some(SEND_LOOKS)))
}

/// Waits for something to receive.
fn receive(shared: &SharedSocket, room: &mut [u8], calls: &mut Calls) -> io::Result<usize> {
    loop {
        calls.made += 1;
        match sys::recv_waiting(shared.as_fd(), room) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                calls.would_block += 1;
                wait_ready(shared, libc::POLLIN, None, calls)?;
            }
            result => return result,
        }
    }
}

/// Waits until a socket is ready, for at most `timeout`; may return early after a signal. For
/// sockets that somebody has made non-blocking through a duplicate.
fn wait_ready(
    shared: &SharedSocket,
    events: i16,
    timeout: Option<Duration>,
    calls: &mut Calls,
) -> io::Result<()> {
    calls.made += 1;
    let fd = shared.as_fd().as_raw_fd();
    match sys::poll(&mut [libc::pollfd { fd, events, revents: 0 }], timeout) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// Repeats `call`, which receives the number of bytes sent so far, until all bytes are sent or the
/// send is given up.
fn push(
    shared: &SharedSocket,
    calls: &mut Calls,
    sent: &mut u64,
    all: u64,
    call: impl Fn(u64) -> io::Result<usize>,
) -> io::Result<()> {
    while *sent < all && !shared.send_given_up.load(Ordering::Relaxed) {
        let begun = Instant::now();
        calls.made += 1;
        match call(*sent) {
            Ok(count) => *sent += count as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                calls.would_block += 1;
                // Usually `SO_SNDTIMEO` has expired. If not, the socket is non-blocking: wait.
                if begun.elapsed() < SEND_LOOKS / 2 {
                    wait_ready(shared, libc::POLLOUT, Some(SEND_LOOKS), calls)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_send_that_would_block_is_counted_and_waits_before_the_next_attempt() {
        let (mut ours, _peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 4096]).is_ok() {}
        let shared = SharedSocket::new(ours.into());
        let attempts = std::cell::Cell::new(0);
        let mut calls = Calls::default();
        let begun = Instant::now();
        let result = push(&shared, &mut calls, &mut 0, 1, |_| {
            attempts.set(attempts.get() + 1);
            shared.give_up_send(attempts.get() == 3);
            Err(io::ErrorKind::WouldBlock.into())
        });
        assert!(result.is_ok());
        assert_eq!((calls.would_block, attempts.get()), (3, 3));
        assert!(begun.elapsed() >= 2 * SEND_LOOKS, "{:?}", begun.elapsed());
    }

    /// Otherwise one more thread would be woken for the last bytes.
    #[test]
    fn a_piece_takes_a_short_rest_along() {
        let on_disk = tempfile::tempfile().unwrap();
        on_disk.set_len(2 * PIECE_BYTES).unwrap();
        let file = Arc::new(File::new(on_disk.into()).unwrap());
        let head = [b'h'; 200];
        for (len, expected) in [(PIECE_BYTES, PIECE_BYTES), (2 * PIECE_BYTES, PIECE_BYTES - 200)] {
            let mut chain = Chain::new();
            chain.copy(&head);
            chain.file(&file, 0..len);
            let piece = ChainPiece::cut(&chain, SendEnd::Open, u64::MAX, Vec::new()).unwrap();
            assert_eq!(piece.memory, head);
            assert_eq!(piece.file.unwrap().1, 0..expected);
        }
    }

    /// What a send reports decides where the next one continues. A copy is given up in its middle.
    #[test]
    fn a_copy_that_is_given_up_reports_what_the_peer_can_read() {
        const FILE_BYTES: u64 = 200_000;
        let (ours, mut peer) = UnixStream::pair().unwrap();
        // Less than a copy.
        socket2::SockRef::from(&ours).set_send_buffer_size(8192).unwrap();
        let ours = ours.into();
        limit_sends(&ours, &mut Calls::default()).unwrap();
        let shared = SharedSocket::new(ours);
        let on_disk = tempfile::tempfile().unwrap();
        on_disk.set_len(FILE_BYTES).unwrap();
        let file = Arc::new(File::new(on_disk.into()).unwrap());
        assert!(file.refuses_sendfile(&io::Error::from_raw_os_error(libc::EINVAL)));
        let piece =
            ChainPiece { memory: Vec::new(), more: false, file: Some((file, 0..FILE_BYTES)) };
        let sender = Arc::clone(&shared);
        let sending = std::thread::spawn(move || piece.send(&sender, &mut Calls::default()));
        // The first call has sent a part, and waits for room.
        let readable = libc::pollfd { fd: peer.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        sys::poll(&mut [readable], None).unwrap();
        shared.give_up_send(true);
        let sent = sending.join().unwrap();
        sent.result.unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut got = Vec::new();
        let error = io::Read::read_to_end(&mut peer, &mut got).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(!got.is_empty() && got.len() < FILE_BYTES as usize);
        assert_eq!(sent.bytes, got.len() as u64);
    }
}
