//! The pace of a connection: how many bytes per second the kernel sends at most.

use std::io;
use std::num::NonZero;
use std::os::fd::BorrowedFd;

use rustix::net;

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

/// Whether TCP itself spreads what it sends over time: because the connection has a pace, or
/// because the congestion control BBR asks for it (`TCP_CONGESTION`, `tcp(7)`).
pub(super) fn is_paced(socket: BorrowedFd<'_>) -> bool {
    has_pace(socket) || {
        let name = done("getsockopt", || net::sockopt::tcp_congestion(socket));
        name.is_ok_and(|name| name.starts_with("bbr"))
    }
}

fn has_pace(socket: BorrowedFd<'_>) -> bool {
    let option = || sys::option(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE);
    done("getsockopt", option).is_ok_and(|rate| u32::from_ne_bytes(rate) != NO_PACE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn the_pace_of_a_socket_is_set_and_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        for rate in [NonZero::new(65_536), NonZero::new(u64::MAX), None] {
            set(stream.as_fd(), rate).unwrap();
            let is_limit = rate.is_some_and(|rate| rate.get() < u64::from(NO_PACE));
            assert_eq!(has_pace(stream.as_fd()), is_limit, "{rate:?}");
            assert!(!is_limit || is_paced(stream.as_fd()));
        }
    }
}
