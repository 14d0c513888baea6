//! Ending a connection at once.

#![allow(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::call_log::made;
use super::sys;

/// The bytes of an address that has a family and nothing else.
const FAMILY_BYTES: libc::socklen_t = size_of::<libc::sa_family_t>() as libc::socklen_t;

/// Ends a connection at once: discards unsent data and resets the connection, because a peer could
/// take an orderly end for the end of a complete answer (`connect(2)`: "dissolve the association").
/// Receives, sends and polls that wait end with an error.
pub(super) fn abort(socket: BorrowedFd<'_>) -> io::Result<()> {
    made("connect", || dissolve(socket))
        // A Unix socket, or one that is no longer connected: only a shutdown is possible. What a
        // Unix socket has sent is with the peer already, which finds a body that is too short.
        .or_else(|_| sys::shutdown(socket, Shutdown::Both))
}

/// `connect(2)` with an address of the family `AF_UNSPEC` and nothing else. By this length, a
/// filter of system calls knows that it connects to nobody. Landlock of older kernels wants the
/// length of an address of IPv4 (`EINVAL`).
fn dissolve(socket: BorrowedFd<'_>) -> io::Result<()> {
    match connect_unspecified(socket, FAMILY_BYTES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            connect_unspecified(socket, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        result => result,
    }
}

fn connect_unspecified(socket: BorrowedFd<'_>, bytes: libc::socklen_t) -> io::Result<()> {
    let family = libc::AF_UNSPEC as libc::sa_family_t;
    let address = libc::sockaddr_in {
        sin_family: family,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: 0 },
        sin_zero: [0; 8],
    };
    loop {
        // SAFETY: `address` is a live local of at least `bytes` bytes, which the call only reads.
        let result =
            unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), bytes) };
        match result {
            0 => return Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
