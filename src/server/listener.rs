//! Listening sockets: for every address one per worker, so that the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, per socket; the kernel clamps it to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An address that cannot be listened on, and why.
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
                write!(f, "the port is in use; stop the other server, or choose a free port")
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose a higher one")
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "this machine has no such address; `ip address` lists those it has")
            }
            _ if matches!(self.error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                f.write_str("descriptors are short; raise the limit with `ulimit -n`")
            }
            _ => write!(f, "{}; check the address", self.error),
        }
    }
}

impl std::error::Error for ListenError {}

impl ListenError {
    /// An address and port in place of this one, if another port would mend it.
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

/// The sockets of one address: one per worker, all bound to the same port.
#[derive(Debug)]
pub struct Group {
    /// The address, with the real port when 0 was asked for.
    pub address: SocketAddr,
    /// One listening socket per worker.
    pub sockets: Vec<OwnedFd>,
}

/// Binds `workers` sockets to `address` and lets them listen.
///
/// # Errors
///
/// When the address cannot be bound, also when another ringd has it: `SO_REUSEPORT` alone would
/// let two servers of one user share a port without either knowing.
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
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Inherited by accepted connections: answers are whole when they are sent.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        // So that [::] and 0.0.0.0 can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    if !shared {
        // Two sockets that merely reuse an address collide when one listens.
        socket.listen(1)?;
    }
    Ok(socket)
}
