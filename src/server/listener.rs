//! Listening sockets: one per address and worker, so the kernel distributes connections.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::denial::Denial;

/// The backlog of each socket; the kernel limits it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// `CAP_NET_BIND_SERVICE` (`capabilities(7)`), as a bit.
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// Why an address cannot be listened on: the call that failed, its cause and a remedy.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    call: &'static str,
    error: io::Error,
    cause: Cause,
}

/// The cause of a failed call, found out when it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// Another process has the port.
    InUse,
    /// This server listens on an address that includes this one.
    Own(SocketAddr),
    /// The process may bind only ports from this one on.
    Privileged(u16),
    NoAddress,
    /// A link-local address without its interface.
    NoInterface,
    /// Sockets of this family cannot be created.
    NoFamily,
    Denied(Denial),
    /// The process has no descriptor left.
    Descriptors,
    /// The machine can open no more files.
    Files,
    Memory,
    Other,
}

impl Cause {
    /// Finds the cause of an error of `call`. `denial` says who denied it.
    fn find(
        call: &str,
        address: SocketAddr,
        error: &io::Error,
        denial: Option<Denial>,
        privileged: impl FnOnce() -> Option<u16>,
    ) -> Self {
        let local = matches!(address, SocketAddr::V6(six)
            if six.ip().is_unicast_link_local() && six.scope_id() == 0);
        match (error.raw_os_error(), denial) {
            (_, Some(Denial::Filter)) => Self::Denied(Denial::Filter),
            (Some(libc::EACCES), _) if call == "bind(2)" => match privileged() {
                Some(first) if address.port() < first => Self::Privileged(first),
                _ => Self::Denied(Denial::Policy),
            },
            (_, Some(denial)) => Self::Denied(denial),
            (Some(libc::EADDRINUSE), _) => Self::InUse,
            (Some(libc::EADDRNOTAVAIL), _) => Self::NoAddress,
            (Some(libc::EINVAL), _) if local => Self::NoInterface,
            (Some(libc::EAFNOSUPPORT), _) => Self::NoFamily,
            (Some(libc::EMFILE), _) => Self::Descriptors,
            (Some(libc::ENFILE), _) => Self::Files,
            (Some(libc::ENOMEM | libc::ENOBUFS), _) => Self::Memory,
            _ => Self::Other,
        }
    }
}

/// The first port that this process may bind; `None` if it may bind every port.
fn first_unprivileged_port() -> Option<u16> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    if bits & CAP_NET_BIND_SERVICE != 0 {
        return None;
    }
    // The kernel's default applies where the file cannot be read.
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    Some(first.ok().and_then(|first| first.trim().parse().ok()).unwrap_or(1024))
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, call, error, cause } = self;
        write!(f, "cannot listen on {address}: {call}: ")?;
        match cause {
            Cause::InUse => write!(
                f,
                "the port is in use; stop the other server (`ss -ltnp sport = :{}` shows it), or \
                 choose another port",
                address.port()
            ),
            Cause::Own(other) => write!(
                f,
                "this server listens on {other} already, which includes this address; leave out \
                 one of them, or choose another port"
            ),
            Cause::Privileged(first) => write!(
                f,
                "ports below {first} need root or CAP_NET_BIND_SERVICE, which the process does not \
                 have; choose a higher one"
            ),
            Cause::NoAddress => {
                write!(f, "this machine has no such address; `ip address` lists its addresses")
            }
            Cause::NoInterface => write!(
                f,
                "a link-local address needs the number of its interface, as in [{}%2]:{}; `ip \
                 link` lists the numbers",
                address.ip(),
                address.port()
            ),
            Cause::NoFamily => write!(
                f,
                "{error}; the kernel has no {}, or RestrictAddressFamilies of the unit leaves it \
                 out",
                if address.is_ipv6() { "IPv6" } else { "IPv4" }
            ),
            Cause::Denied(denial) => write!(f, "{error}; {}", denial.explain()),
            Cause::Descriptors => {
                write!(f, "{error}; raise the limit of descriptors with `ulimit -n`")
            }
            Cause::Files => write!(f, "{error}; raise the sysctl fs.file-max"),
            Cause::Memory => write!(f, "{error}; free memory, or raise the limit of the container"),
            Cause::Other => write!(f, "{error}; check the address"),
        }
    }
}

impl std::error::Error for ListenError {}

impl ListenError {
    /// Another address to try; `None` if another port would not help.
    #[must_use]
    pub fn alternative(&self) -> Option<SocketAddr> {
        let port = match self.cause {
            Cause::InUse | Cause::Own(_) if self.address.port() == 8080 => 8081,
            Cause::InUse | Cause::Own(_) => 8080,
            Cause::Privileged(first) => first.max(8080),
            _ => return None,
        };
        Some(SocketAddr::new(self.address.ip(), port))
    }

    /// The same error, with a better cause if one of the addresses that this server listens on
    /// includes this one.
    pub(super) fn among(mut self, own: impl Iterator<Item = SocketAddr>) -> Self {
        let (ip, port) = (self.address.ip(), self.address.port());
        let includes = |other: &SocketAddr| {
            let covers = |one: IpAddr, other: IpAddr| one == other || one.is_unspecified();
            let family = other.is_ipv4() == ip.is_ipv4();
            family && other.port() == port && (covers(other.ip(), ip) || covers(ip, other.ip()))
        };
        if let (Cause::InUse, Some(other)) = (self.cause, { own }.find(includes)) {
            self.cause = Cause::Own(other);
        }
        self
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
    if address.port() != 0 {
        drop(socket(address, false)?);
    }
    let first = socket(address, true)?;
    let bound = first
        .local_addr()
        .and_then(|bound| bound.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
    let address = bound.map_err(|error| {
        let cause = Cause::Other;
        ListenError { address, call: "getsockname(2)", error, cause }
    })?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(address, true)?);
    }
    for socket in &sockets {
        call("listen(2)", address, socket, |socket| socket.listen(BACKLOG))?;
    }
    let sockets = sockets.into_iter().map(|socket| TcpListener::from(socket).into()).collect();
    Ok(Group { address, sockets })
}

/// Makes a call on a socket. If it fails, makes it again on another descriptor, to find the cause.
fn call(
    name: &'static str,
    address: SocketAddr,
    socket: &Socket,
    call: impl Fn(&Socket) -> io::Result<()>,
) -> Result<(), ListenError> {
    call(socket).map_err(|error| {
        let denial = Denial::of(&error, call);
        let cause = Cause::find(name, address, &error, denial, first_unprivileged_port);
        ListenError { address, call: name, error, cause }
    })
}

fn socket(address: SocketAddr, shared: bool) -> Result<Socket, ListenError> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(|error| {
        let (call, denial) = ("socket(2)", Denial::of_socket(&error, domain));
        let cause = Cause::find(call, address, &error, denial, || None);
        ListenError { address, call, error, cause }
    })?;
    let set =
        |option: fn(&Socket) -> io::Result<()>| call("setsockopt(2)", address, &socket, option);
    // Allow a restart while connections of the last run are in TIME_WAIT.
    set(|socket| socket.set_reuse_address(true))?;
    if shared {
        set(|socket| socket.set_reuse_port(true))?;
    }
    // Accepted connections inherit this. Answers are sent as a whole, so delaying a segment to
    // merge it with later data gains nothing.
    set(|socket| socket.set_tcp_nodelay(true))?;
    if address.is_ipv6() {
        // Allow listening on [::] and 0.0.0.0 with the same port.
        set(|socket| socket.set_only_v6(true))?;
    }
    call("bind(2)", address, &socket, |socket| socket.bind(&address.into()))?;
    if !shared {
        // `SO_REUSEADDR` lets two sockets bind the same port; a conflict shows when one listens.
        call("listen(2)", address, &socket, |socket| socket.listen(1))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::TcpStream;

    #[test]
    fn listeners_have_their_options_and_connections_inherit_them() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let address = address.parse().unwrap();
            let group = match bind(address, 2) {
                Err(error) if address.is_ipv6() => {
                    println!("skipped: {error}");
                    continue;
                }
                group => group.unwrap(),
            };
            assert_eq!(group.sockets.len(), 2);
            for socket in &group.sockets {
                let socket = SockRef::from(socket);
                assert!(socket.reuse_address().unwrap() && socket.reuse_port().unwrap());
                assert!(socket.tcp_nodelay().unwrap());
                assert!(address.is_ipv4() || socket.only_v6().unwrap());
            }
            let listeners = group.sockets.into_iter().map(TcpListener::from);
            let listeners: Vec<_> = listeners.collect();
            let client = TcpStream::connect(group.address).unwrap();
            // The kernel has put it into one of the queues.
            listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
            let accepted = listeners.iter().find_map(|listener| listener.accept().ok());
            assert!(accepted.expect("a connection").0.nodelay().unwrap());
            drop(client);
        }
    }

    #[test]
    fn the_cause_depends_on_the_situation() {
        let code = io::Error::from_raw_os_error;
        let (low, high) = ("127.0.0.1:80".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        let policy = Some(Denial::Policy);
        let denied = Cause::Denied(Denial::Policy);
        let filter = Cause::Denied(Denial::Filter);
        for (call, address, number, denial, first, cause) in [
            ("bind(2)", low, libc::EACCES, policy, Some(1024), Cause::Privileged(1024)),
            ("bind(2)", high, libc::EACCES, policy, Some(1024), denied),
            ("bind(2)", high, libc::EACCES, policy, Some(9000), Cause::Privileged(9000)),
            ("bind(2)", low, libc::EACCES, policy, Some(80), denied),
            ("bind(2)", low, libc::EACCES, policy, None, denied),
            ("bind(2)", low, libc::EPERM, policy, Some(1024), denied),
            ("bind(2)", low, libc::EACCES, Some(Denial::Filter), Some(1024), filter),
            ("setsockopt(2)", low, libc::EPERM, Some(Denial::Filter), Some(1024), filter),
            ("socket(2)", low, libc::EAFNOSUPPORT, None, None, Cause::NoFamily),
            ("socket(2)", low, libc::EMFILE, None, None, Cause::Descriptors),
            ("socket(2)", low, libc::ENFILE, None, None, Cause::Files),
            ("listen(2)", low, libc::EADDRINUSE, None, None, Cause::InUse),
        ] {
            let found = Cause::find(call, address, &code(number), denial, || first);
            assert_eq!(found, cause, "{call} {address} {number}");
        }
    }
}
