//! Listening sockets: one per address and worker, so the kernel distributes connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::driver::FileFailure;

/// The backlog of each socket; the kernel limits it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    error: io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "the port is in use; stop the other server, or choose another port")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher one")
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "this machine has no such address; `ip address` lists its addresses")
            }
            _ if FileFailure::of(&self.error) == FileFailure::Shortage => write!(
                f,
                "{}; raise the limit of descriptors with `ulimit -n`, or free memory",
                self.error
            ),
            _ => write!(f, "{}; check the address", self.error),
        }
    }
}

impl std::error::Error for ListenError {}

impl ListenError {
    /// Another address to try; `None` if another port would not help.
    #[must_use]
    pub fn alternative(&self) -> Option<SocketAddr> {
        let port = match self.error.kind() {
            io::ErrorKind::AddrInUse => 0,
            io::ErrorKind::PermissionDenied => 8080,
            _ => return None,
        };
        Some(SocketAddr::new(self.address.ip(), port))
    }
}

/// The sockets of one address, one per worker, all bound to the same port.
#[derive(Debug)]
pub struct Group {
    /// The address. If port 0 was requested, this has the port that the kernel picked.
    pub address: SocketAddr,
    /// One listening socket per worker.
    pub sockets: Vec<OwnedFd>,
}

/// Binds `workers` sockets to `address` and makes them listen.
///
/// # Errors
///
/// When the address cannot be bound, for example because another server has it. A first bind
/// without `SO_REUSEPORT` detects that: with the option alone, two servers of one user would share
/// the port unnoticed.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Group, ListenError> {
    let failed = |error| ListenError { address, error };
    if address.port() != 0 {
        drop(socket(address, false).map_err(failed)?);
    }
    let first = socket(address, true).map_err(failed)?;
    let address = first.local_addr().ok().and_then(|address| address.as_socket());
    let address = address.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(address, true).map_err(failed)?);
    }
    for socket in &sockets {
        socket.listen(BACKLOG).map_err(failed)?;
    }
    let sockets = sockets.into_iter().map(|socket| TcpListener::from(socket).into()).collect();
    Ok(Group { address, sockets })
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Allow a restart while connections of the last run are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted connections inherit this. Answers are sent as a whole, so delaying a segment to
    // merge it with later data gains nothing.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        // Allow listening on [::] and 0.0.0.0 with the same port.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    if !shared {
        // `SO_REUSEADDR` lets two sockets bind the same port; a conflict shows when one listens.
        socket.listen(1)?;
    }
    Ok(socket)
}
