//! Draining a listener that is being closed: the connections in its accept queue are delivered
//! first.
//!
//! Connections that the kernel has established wait in the accept queue of their listener
//! (`listen(2)`). When the descriptor is closed, the kernel resets them, although their clients are
//! connected and may have sent a request. So a driver accepts them before it closes the descriptor.
//!
//! No new connections may arrive meanwhile: draining a busy listener would never end, and a client
//! that came between the last accept and the close would still be reset. So a filter on the socket
//! ([`ListenerDrain::begin`]) drops the first segment (SYN) of each new connection. Its client
//! sends it again after a second (`tcp_syn_retries`, `tcp(7)`). By then the listener is gone, so
//! the client is refused, or another process listens on the port. The last segment of a handshake
//! passes the filter, so half-open connections are completed. The filter belongs to the socket: no
//! client can connect through duplicates of the descriptor either.
//!
//! Since 2026, a filter on a TCP socket needs `CAP_NET_ADMIN` (Linux commit 5d39580f68e6, which is
//! also in 6.1.192, 6.12.117 and 6.18.44). Without it, the listener demands the greatest TTL
//! instead (`IP_MINTTL`, `ip(7)`): that of a client is less, by the routers between and because
//! systems begin with 64 or 128. The kernel compares it for each segment that reaches the listener
//! itself, so for each SYN, and not for the last segment of a handshake. A connection whose
//! handshake ends now inherits the demand, so it is lifted from each connection that is accepted
//! ([`ListenerDrain::release`]). What the client has sent meanwhile, it sends again.
//!
//! The listener of a Unix socket is shut down (`shutdown(2)`): clients are refused from then on,
//! and those in the queue are still accepted. This ends the accepts on all duplicates, so the
//! workers that share it close it together. The number of accepts is bounded in any case.

use std::net::Shutdown;
use std::os::fd::BorrowedFd;

use socket2::{Protocol, SockFilter, SockRef};

use super::{DriverStats, sys};

#[cfg(test)]
pub(super) mod unprivileged;

/// The most connections in an accept queue: the kernel admits one more than the backlog, which
/// `net.core.somaxconn` limits to 4096 by default.
const QUEUE_MAX: u16 = 4096 + 1;

/// The most accepts of one drain: a full queue, and as many handshakes that complete meanwhile.
const ACCEPTS_MAX: u16 = 2 * QUEUE_MAX;

/// How many pauses in a row a drain makes for lack of descriptors, each of
/// [`ACCEPT_RETRY`](super::ACCEPT_RETRY).
const PAUSES_MAX: u8 = 10;

/// The greatest TTL (RFC 791, section 3.1) and hop limit (RFC 8200, section 3).
const HOPS_MAX: u8 = u8::MAX;

/// How much a drain may still do. Invariant: `accepts` never grows, and `pauses` grows only after
/// an accept that succeeded, so a drain ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerDrain {
    accepts: u16,
    pauses: u8,
    /// The value of `accepts` at the last pause.
    paused_at: u16,
    /// Whether the listener demands the greatest TTL, because it has no filter.
    demands_hops: bool,
}

impl ListenerDrain {
    /// The limits alone, for a listener that gets no new connections.
    pub(super) fn new() -> Self {
        Self {
            accepts: ACCEPTS_MAX,
            pauses: PAUSES_MAX,
            paused_at: ACCEPTS_MAX,
            demands_hops: false,
        }
    }

    /// Keeps new connections away from a listener, if the kernel can do that.
    pub(super) fn begin(listener: BorrowedFd<'_>, stats: &mut DriverStats) -> Self {
        let mut drain = Self::new();
        let socket = SockRef::from(&listener);
        stats.system_calls += 1;
        if matches!(socket.protocol(), Ok(Some(Protocol::TCP))) {
            stats.system_calls += 1;
            // It fails without privilege, without filters in the kernel, or for a locked filter.
            if socket.attach_filter(&NO_SYN).is_err() {
                stats.system_calls += 2;
                drain.demands_hops = sys::set_min_hops(listener, HOPS_MAX).is_ok();
            }
        } else if sys::is_unix(listener) {
            stats.system_calls += 2;
            // It fails if another worker was faster.
            let _ = sys::shutdown(listener, Shutdown::Both);
        }
        drain
    }

    /// Lets an accepted connection receive segments with any TTL.
    pub(super) fn release(&self, connection: BorrowedFd<'_>, stats: &mut DriverStats) {
        if self.demands_hops {
            stats.system_calls += 2;
            // Fails for no connection of a listener that took the demand.
            let _ = sys::set_min_hops(connection, 0);
        }
    }

    /// Whether one more accept may be tried; counts it.
    pub(super) fn may_accept(&mut self) -> bool {
        let may = self.accepts > 0;
        self.accepts = self.accepts.saturating_sub(1);
        may
    }

    /// Whether the drain may pause once more, after an accept that found no descriptor; counts it.
    pub(super) fn may_pause(&mut self) -> bool {
        assert!(self.accepts < self.paused_at, "no accept was tried since the last pause");
        if self.paused_at - self.accepts > 1 {
            self.pauses = PAUSES_MAX;
        }
        self.paused_at = self.accepts;
        let may = self.pauses > 0;
        self.pauses = self.pauses.saturating_sub(1);
        may
    }
}

/// The byte of a TCP header that holds its flags (RFC 9293, 3.1).
const FLAGS_OFFSET: u32 = 13;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;

/// A classic BPF program (Documentation/networking/filter.rst of Linux) that drops segments with
/// SYN and without ACK. The packet that a filter on a TCP socket sees begins with the TCP header.
/// The result is the number of bytes of the packet to keep.
const NO_SYN: [SockFilter; 5] = [
    instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, FLAGS_OFFSET),
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, SYN | ACK),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, SYN),
    instruction(libc::BPF_RET | libc::BPF_K, 0, u32::MAX),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0),
];

/// An instruction. A jump that is taken skips `skip` others.
const fn instruction(code: u32, skip: u8, operand: u32) -> SockFilter {
    assert!(code <= u16::MAX as u32);
    SockFilter::new(code as u16, skip, 0, operand)
}

#[cfg(test)]
mod tests {
    use super::super::sys;
    use super::*;
    use std::io::{self, Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    /// Long enough for a connection on loopback, too short for a SYN to be sent again.
    const SHORT: Duration = Duration::from_millis(300);

    /// A client that is connected is accepted; one that comes later is not, and is refused after
    /// the close.
    #[test]
    fn a_drained_listener_accepts_no_new_clients() {
        for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()]
        {
            // Bound, and listening to nobody: it keeps the port from others after the close.
            let kept = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            kept.set_reuse_address(true).unwrap();
            if kept.bind(&address.into()).is_err() {
                println!("skipped: this machine has no address {address}");
                continue;
            }
            let address = kept.local_addr().unwrap().as_socket().unwrap();
            let listener = TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let mut early = TcpStream::connect(address).unwrap();
            let mut stats = DriverStats::default();
            ListenerDrain::begin(listener.as_fd(), &mut stats);
            assert_eq!(stats.system_calls, 2);
            let error = TcpStream::connect_timeout(&address, SHORT).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            // The client that is connected stays connected, and data passes the filter.
            let mut accepted = TcpStream::from(sys::accept(listener.as_fd()).unwrap());
            accepted.set_nonblocking(false).unwrap();
            early.write_all(b"question").unwrap();
            accepted.read_exact(&mut [0; 8]).unwrap();
            accepted.write_all(b"answer").unwrap();
            early.read_exact(&mut [0; 6]).unwrap();
            let none = sys::accept(listener.as_fd()).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            drop(listener);
            let error = TcpStream::connect_timeout(&address, SHORT).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    /// Without the privilege that a filter needs, the demand for hops does the same. A connection
    /// that has inherited it receives again once it is released.
    #[test]
    fn a_listener_without_privileges_demands_hops() {
        unprivileged::run(|| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.set_nonblocking(true).unwrap();
            let address = listener.local_addr().unwrap();
            let mut stats = DriverStats::default();
            let drain = ListenerDrain::begin(listener.as_fd(), &mut stats);
            assert!(drain.demands_hops);
            let error = TcpStream::connect_timeout(&address, SHORT).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            let _client = unprivileged::late_client(address, b"question");
            let mut accepted = TcpStream::from(sys::accept(listener.as_fd()).unwrap());
            accepted.set_nonblocking(false).unwrap();
            accepted.set_read_timeout(Some(SHORT)).unwrap();
            let error = accepted.read(&mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "the demand is inherited");
            drain.release(accepted.as_fd(), &mut stats);
            accepted.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            accepted.read_exact(&mut [0; 8]).unwrap();
        });
    }

    /// The filter reads TCP headers, so it is not attached to other sockets. A client that is
    /// connected is accepted, and one that comes later is refused.
    #[test]
    fn the_listener_of_a_unix_socket_is_shut_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        let drain = ListenerDrain::begin(listener.as_fd(), &mut DriverStats::default());
        assert!(!drain.demands_hops);
        let late = UnixStream::connect(&path).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::ConnectionRefused);
        listener.accept().unwrap();
        assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_drain_ends() {
        let mut drain = ListenerDrain::new();
        let in_vain = |drain: &mut ListenerDrain| drain.may_accept() && drain.may_pause();
        for _ in 0..3 {
            assert_eq!((0..20).filter(|_| in_vain(&mut drain)).count(), usize::from(PAUSES_MAX));
            assert!(drain.may_accept(), "an accept that succeeds");
        }
        let left = (0..u16::MAX).filter(|_| drain.may_accept()).count();
        assert_eq!(left, usize::from(ACCEPTS_MAX) - 3 * 21);
        assert!(!drain.may_accept());
    }

    #[test]
    #[should_panic = "no accept was tried"]
    fn a_pause_needs_an_accept_before_it() {
        ListenerDrain::new().may_pause();
    }
}
