//! The pace of a connection: how many bytes per second the kernel sends at most.

use std::io;
use std::num::NonZero;
use std::os::fd::BorrowedFd;

use rustix::net;
use socket2::{SockAddr, SockRef};

use super::sys;
use crate::driver::call_log::done;

/// The value of `SO_MAX_PACING_RATE` that stands for no limit.
const NO_PACE: u32 = u32::MAX;

/// Sets the pace of a connection, or with `None` ends it (`SO_MAX_PACING_RATE`, `socket(7)`). TCP
/// keeps it by itself since Linux 4.13; on a Unix socket it has no effect.
pub(super) fn set(
    socket: BorrowedFd<'_>,
    bytes_per_second: Option<NonZero<u64>>,
) -> io::Result<()> {
    let rate =
        bytes_per_second.map_or(NO_PACE, |rate| u32::try_from(rate.get()).unwrap_or(NO_PACE));
    sys::set_option(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, rate.cast_signed())
}

/// Whether what TCP sends at a time should be short, because it sets timers for the rest: the
/// connection has a pace, or it stays on this machine and has the congestion control BBR
/// (`TCP_CONGESTION`, `tcp(7)`), for which loopback never has the queueing discipline `fq`. A
/// listener at a loopback address has no BBR (`server/listener.rs`), but one at all addresses may.
///
/// Adds the system calls that it makes to `calls`.
pub(super) fn is_paced(socket: BorrowedFd<'_>, calls: &mut u64) -> bool {
    has_pace(socket, calls) || is_bbr(socket, calls) && is_local(socket, calls)
}

fn has_pace(socket: BorrowedFd<'_>, calls: &mut u64) -> bool {
    let option = || sys::option(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE);
    *calls += 1;
    done("getsockopt", option).is_ok_and(|rate| u32::from_ne_bytes(rate) != NO_PACE)
}

fn is_bbr(socket: BorrowedFd<'_>, calls: &mut u64) -> bool {
    *calls += 1;
    let name = done("getsockopt", || net::sockopt::tcp_congestion(socket));
    name.is_ok_and(|name| name.starts_with("bbr"))
}

/// Whether both ends have the same address, or one that never leaves the machine.
fn is_local(socket: BorrowedFd<'_>, calls: &mut u64) -> bool {
    *calls += 2;
    let address = |name: io::Result<SockAddr>| Some(name.ok()?.as_socket()?.ip().to_canonical());
    let socket = SockRef::from(&socket);
    let own = address(done("getsockname", || socket.local_addr()));
    let peer = address(done("getpeername", || socket.peer_addr()));
    own.is_some_and(|own| own.is_loopback())
        || peer.is_some_and(|peer| peer.is_loopback() || own == Some(peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use socket2::{Domain, Socket, Type};

    #[test]
    fn the_pace_of_a_socket_is_set_and_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for rate in [NonZero::new(65_536), NonZero::new(u64::MAX), None] {
            set(stream.as_fd(), rate).unwrap();
            let is_limit = rate.is_some_and(|rate| rate.get() < u64::from(NO_PACE));
            let mut calls = 0;
            assert_eq!(has_pace(stream.as_fd(), &mut calls), is_limit, "{rate:?}");
            assert!(!is_limit || is_paced(stream.as_fd(), &mut calls));
            assert_eq!(calls, if is_limit { 2 } else { 1 });
        }
    }

    /// A connection within the machine, whichever address it uses. A port of both families has
    /// addresses of IPv4 in the form of IPv6.
    #[test]
    fn a_connection_within_the_machine_is_local() {
        for (own, peer) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:0", "127.0.0.2:0"),
            ("[::1]:0", "[::1]:0"),
            ("[::ffff:127.0.0.1]:0", "127.0.0.2:0"),
        ] {
            let listener = TcpListener::bind(own).unwrap();
            let port = listener.local_addr().unwrap().port();
            let family = if peer.starts_with('[') { Domain::IPV6 } else { Domain::IPV4 };
            let client = Socket::new(family, Type::STREAM, None).unwrap();
            client.bind(&peer.parse::<SocketAddr>().unwrap().into()).unwrap();
            let to = if own.starts_with("[::1]") { "[::1]" } else { "127.0.0.1" };
            let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
            client.connect(&to.into()).unwrap();
            let (served, _) = listener.accept().unwrap();
            assert!(is_local(served.as_fd(), &mut 0), "{own} {peer}");
        }
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!is_local(stream.as_fd(), &mut 0));
    }
}
