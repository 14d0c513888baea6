//! Ports for tests that need a number before somebody listens on it, or after nobody does any more.
//!
//! A number that the kernel has just picked, and that nobody keeps, may be picked again a moment
//! later: for a listener of another test, or for a client anywhere on the machine. So a number is
//! kept by sockets that are bound to it on all addresses, and do not listen. The kernel picks such
//! a number for nobody else, in no process. It refuses clients there until somebody listens, and
//! whoever names the number and sets `SO_REUSEADDR`, as servers do, may listen on it (`socket(7)`).
//! A process that is started meanwhile may have copies of the sockets, which do no harm either.

#![allow(dead_code, reason = "no binary uses all of this")]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, Socket, Type};

/// How many numbers are tried. One that is free for IPv4 may be in use for IPv6.
const TRIES_MAX: usize = 100;

/// A port that is kept for the caller, until this is dropped.
#[derive(Debug)]
pub(crate) struct KeptPort {
    number: u16,
    _sockets: (Socket, Option<Socket>),
}

impl KeptPort {
    /// A port that no other socket has.
    pub(crate) fn new() -> Self {
        let kept = (0..TRIES_MAX).find_map(|_| Self::try_new().unwrap());
        kept.expect("a port is free for both families")
    }

    /// `None` if the port is not free for IPv6.
    fn try_new() -> io::Result<Option<Self>> {
        let first = bound((Ipv4Addr::UNSPECIFIED, 0).into())?;
        let number = first.local_addr()?.as_socket().expect("an address of IPv4").port();
        let second = match bound((Ipv6Addr::UNSPECIFIED, number).into()) {
            Ok(second) => Some(second),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            Err(error) => {
                println!("no IPv6: {error}");
                None
            }
        };
        Ok(Some(Self { number, _sockets: (first, second) }))
    }

    /// The port on the loopback address of IPv4.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// A socket that has an address, and lets others listen there.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// An address of the loopback interface, whose port is kept until the process ends.
pub(crate) fn free_address() -> SocketAddr {
    static KEPT: Mutex<Vec<KeptPort>> = Mutex::new(Vec::new());
    let port = KeptPort::new();
    let address = port.address();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(port);
    address
}
