//! Listening sockets of TCP: one per address and worker, so the kernel distributes connections.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net;
use socket2::{Domain, Protocol, Socket, Type};

use super::endpoint::Endpoint;
use crate::denial::Denial;

/// The backlog of each socket; the kernel limits it to `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;

/// `CAP_NET_BIND_SERVICE` (`capabilities(7)`), as a bit.
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// Why an address cannot be listened on: the call that failed, its cause and a remedy.
#[derive(Debug)]
pub struct ListenError {
    place: TcpPlace,
    call: &'static str,
    error: io::Error,
    cause: Cause,
}

/// The address of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct TcpPlace {
    address: SocketAddr,
    /// The socket is one of IPv6, and takes connections of IPv4 as well.
    both_families: bool,
}

impl TcpPlace {
    /// The place of an endpoint; `None` for a Unix socket.
    fn of(endpoint: &Endpoint) -> Option<Self> {
        let both_families = matches!(endpoint, Endpoint::BothFamilies(_));
        Some(Self { address: endpoint.socket_addr()?, both_families })
    }

    fn endpoint(self) -> Endpoint {
        match self.both_families {
            true => Endpoint::BothFamilies(self.address.port()),
            false => Endpoint::Tcp(self.address),
        }
    }
}

/// The cause of a failed call, found out when it fails.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cause {
    /// Another process has the port.
    InUse,
    /// This server listens on an address that includes this one.
    Own(Box<Endpoint>),
    /// The process may bind only ports from this one on.
    Privileged(u16),
    NoAddress,
    /// A link-local address without its interface.
    NoInterface,
    /// There is no interface with this number.
    WrongInterface(u32),
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
        let interface = match address {
            SocketAddr::V6(six) if six.ip().is_unicast_link_local() => Some(six.scope_id()),
            _ => None,
        };
        match (error.raw_os_error(), denial) {
            (_, Some(Denial::Filter)) => Self::Denied(Denial::Filter),
            (Some(libc::EACCES), _) if call == "bind(2)" => match privileged() {
                Some(first) if address.port() < first => Self::Privileged(first),
                _ => Self::Denied(Denial::Policy),
            },
            (_, Some(denial)) => Self::Denied(denial),
            (Some(libc::EADDRINUSE), _) => Self::InUse,
            (Some(libc::EADDRNOTAVAIL), _) => Self::NoAddress,
            (Some(libc::EINVAL), _) if interface == Some(0) => Self::NoInterface,
            (Some(libc::ENODEV), _) if interface.is_some() => {
                Self::WrongInterface(interface.unwrap_or(0))
            }
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
        let Self { place, call, error, cause } = self;
        let address = place.address;
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
                "this server listens on {other} as well, and one of the two includes the other; \
                 leave out one of them, or choose another port"
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
                "a link-local address needs its interface, as in [{}%eth0]:{}; `ip link` lists the \
                 interfaces",
                address.ip(),
                address.port()
            ),
            Cause::WrongInterface(number) => write!(
                f,
                "this machine has no interface with the number {number}; `ip link` lists them"
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
    pub fn alternative(&self) -> Option<Endpoint> {
        let port = match self.cause {
            Cause::InUse | Cause::Own(_) if self.place.address.port() == 8080 => 8081,
            Cause::InUse | Cause::Own(_) => 8080,
            Cause::Privileged(first) => first.max(8080),
            _ => return None,
        };
        Some(self.place.endpoint().with_port(port))
    }

    /// The address, if another socket has it.
    pub(super) fn busy(&self) -> Option<Endpoint> {
        matches!(self.cause, Cause::InUse).then(|| self.place.endpoint())
    }
}

/// The sockets of an endpoint of TCP, one for each worker, that do not listen yet: clients are
/// refused.
#[derive(Debug)]
pub(super) struct BoundSockets {
    place: TcpPlace,
    sockets: Vec<Socket>,
}

/// Finds out whether an endpoint of TCP can be listened on. Nothing listens, so no client notices.
///
/// # Errors
///
/// When the address cannot be bound, for example because another server has it.
///
/// # Panics
///
/// If the endpoint is a Unix socket.
pub(super) fn check(endpoint: &Endpoint) -> Result<(), ListenError> {
    let place = TcpPlace::of(endpoint).expect("callers pass endpoints of TCP");
    socket(place, false).map(drop)
}

/// The error of an endpoint of TCP if `other`, on which this server listens, includes it or is
/// included in it.
///
/// # Panics
///
/// If the endpoint is a Unix socket.
pub(super) fn overlaps(endpoint: &Endpoint, other: &Endpoint) -> ListenError {
    ListenError {
        place: TcpPlace::of(endpoint).expect("callers pass endpoints of TCP"),
        call: "bind(2)",
        error: io::ErrorKind::AddrInUse.into(),
        cause: Cause::Own(Box::new(other.clone())),
    }
}

/// Binds `workers` sockets to an endpoint of TCP. If `is_own`, this server has sockets that listen
/// there, or at an address that includes this one or is included in it.
///
/// # Errors
///
/// When the address cannot be bound, for example because another server has it. Unless the server
/// itself has it, a first bind without `SO_REUSEPORT` detects that: with the option alone, two
/// servers of one user would share the port unnoticed.
///
/// # Panics
///
/// If the endpoint is a Unix socket.
pub(super) fn bind(
    endpoint: &Endpoint,
    workers: usize,
    is_own: bool,
) -> Result<BoundSockets, ListenError> {
    let place = TcpPlace::of(endpoint).expect("callers pass endpoints of TCP");
    if place.address.port() != 0 && !is_own {
        check(endpoint)?;
    }
    let first = socket(place, true)?;
    let bound = first
        .local_addr()
        .and_then(|bound| bound.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
    let address = bound.map_err(|error| {
        let cause = Cause::Other;
        ListenError { place, call: "getsockname(2)", error, cause }
    })?;
    let place = TcpPlace { address, ..place };
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(socket(place, true)?);
    }
    Ok(BoundSockets { place, sockets })
}

/// Binds `count` more sockets to an endpoint of TCP where sockets of this user listen that have
/// `SO_REUSEPORT` too.
///
/// # Errors
///
/// When the address cannot be bound, for example because another user has bound those sockets.
///
/// # Panics
///
/// If the endpoint is a Unix socket.
pub(super) fn join(endpoint: &Endpoint, count: usize) -> Result<BoundSockets, ListenError> {
    let place = TcpPlace::of(endpoint).expect("callers pass endpoints of TCP");
    let sockets = (0..count).map(|_| socket(place, true)).collect::<Result<_, _>>()?;
    Ok(BoundSockets { place, sockets })
}

impl BoundSockets {
    /// How many sockets there are.
    pub(super) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Lets clients connect. Returns the sockets and the endpoint: if port 0 was requested, with
    /// the port that the kernel picked.
    pub(super) fn listen(self) -> Result<(Endpoint, Vec<OwnedFd>), ListenError> {
        let Self { place, sockets } = self;
        for socket in &sockets {
            call("listen(2)", place, socket, |socket| socket.listen(BACKLOG))?;
        }
        Ok((place.endpoint(), sockets.into_iter().map(OwnedFd::from).collect()))
    }
}

/// Makes a call on a socket. If it fails, makes it again on another descriptor, to find the cause.
fn call(
    name: &'static str,
    place: TcpPlace,
    socket: &Socket,
    call: impl Fn(&Socket) -> io::Result<()>,
) -> Result<(), ListenError> {
    call(socket).map_err(|error| {
        let denial = Denial::of(&error, call);
        let cause = Cause::find(name, place.address, &error, denial, first_unprivileged_port);
        ListenError { place, call: name, error, cause }
    })
}

fn socket(place: TcpPlace, shared: bool) -> Result<Socket, ListenError> {
    let TcpPlace { address, both_families } = place;
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(|error| {
        let (call, denial) = ("socket(2)", Denial::of_socket(&error, domain));
        let cause = Cause::find(call, address, &error, denial, || None);
        ListenError { place, call, error, cause }
    })?;
    let set =
        |option: &dyn Fn(&Socket) -> io::Result<()>| call("setsockopt(2)", place, &socket, option);
    // Allow a restart while connections of the last run are in TIME_WAIT.
    set(&|socket| socket.set_reuse_address(true))?;
    if shared {
        set(&|socket| socket.set_reuse_port(true))?;
    }
    // Accepted connections inherit this. Answers are sent as a whole, so delaying a segment to
    // merge it with later data gains nothing.
    set(&|socket| socket.set_tcp_nodelay(true))?;
    if address.ip().is_loopback() {
        leave_bbr(&socket);
    }
    if address.is_ipv6() {
        // Allow listening on [::] and 0.0.0.0 with the same port.
        set(&|socket| socket.set_only_v6(!both_families))?;
    }
    // A socket that is not shared conflicts with each one that listens (`socket(7)`).
    call("bind(2)", place, &socket, |socket| socket.bind(&address.into()))?;
    Ok(socket)
}

/// Replaces the congestion control BBR, which accepted connections inherit (`TCP_CONGESTION`,
/// `tcp(7)`), by Reno. BBR sends at a rate that it measures, and without the queueing discipline
/// `fq`, which loopback never has, TCP sets a timer for each pause. There is no network on loopback
/// to measure, and nothing is lost, so the timers only cost time. Every kernel has Reno, and
/// everybody may choose it.
fn leave_bbr(socket: &Socket) {
    let name = net::sockopt::tcp_congestion(socket);
    if name.is_ok_and(|name| name.starts_with("bbr")) {
        // If it fails, connections work as well.
        let _ = net::sockopt::set_tcp_congestion(socket, "reno");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    #[test]
    fn listeners_have_their_options_and_connections_inherit_them() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let address: SocketAddr = address.parse().unwrap();
            let (endpoint, sockets) =
                match bind(&Endpoint::Tcp(address), 2, false).and_then(BoundSockets::listen) {
                    Err(error) if address.is_ipv6() => {
                        println!("skipped: {error}");
                        continue;
                    }
                    bound => bound.unwrap(),
                };
            assert_eq!(sockets.len(), 2);
            for socket in &sockets {
                let socket = SockRef::from(socket);
                assert!(socket.reuse_address().unwrap() && socket.reuse_port().unwrap());
                assert!(socket.tcp_nodelay().unwrap());
                assert!(address.is_ipv4() || socket.only_v6().unwrap());
            }
            let listeners: Vec<_> = sockets.into_iter().map(TcpListener::from).collect();
            let client = TcpStream::connect(&endpoint).unwrap();
            // The kernel has put it into one of the queues.
            listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
            let accepted = listeners.iter().find_map(|listener| listener.accept().ok());
            let accepted = accepted.expect("a connection").0;
            assert!(accepted.nodelay().unwrap());
            let congestion = net::sockopt::tcp_congestion(&accepted).unwrap();
            assert!(!congestion.starts_with("bbr"), "{congestion} on loopback");
            drop(client);
        }
    }

    /// Whatever else the operator has chosen stays.
    #[test]
    fn only_bbr_is_replaced() {
        for (chosen, expected) in [("bbr", "reno"), ("reno", "reno"), ("cubic", "cubic")] {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            if let Err(error) = net::sockopt::set_tcp_congestion(&socket, chosen) {
                println!("skipped: {chosen}: {error}");
                continue;
            }
            leave_bbr(&socket);
            assert_eq!(net::sockopt::tcp_congestion(&socket).unwrap(), expected, "{chosen}");
        }
    }

    /// One socket takes the connections of both families.
    #[test]
    fn a_port_of_both_families_is_reached_through_either() {
        let (endpoint, sockets) =
            match bind(&Endpoint::BothFamilies(0), 1, false).and_then(BoundSockets::listen) {
                Err(error) => return println!("skipped: {error}"),
                Ok(bound) => bound,
            };
        let port = endpoint.socket_addr().unwrap().port();
        assert_eq!(endpoint, Endpoint::BothFamilies(port));
        let listener = TcpListener::from(sockets.into_iter().next().unwrap());
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert!(peer.ip().to_canonical().is_ipv4() && peer.is_ipv6(), "{peer}");
        match TcpStream::connect((Ipv6Addr::LOCALHOST, port)) {
            Ok(_client) => drop(listener.accept().unwrap()),
            Err(error) => println!("[::1] is not available: {error}"),
        }
    }

    #[test]
    fn the_cause_depends_on_the_situation() {
        let code = io::Error::from_raw_os_error;
        let zone = "[fe80::1%7]:80".parse().unwrap();
        let (low, high) = ("127.0.0.1:80".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        let policy = Some(Denial::Policy);
        let denied = || Cause::Denied(Denial::Policy);
        let filter = || Cause::Denied(Denial::Filter);
        for (call, address, number, denial, first, cause) in [
            ("bind(2)", low, libc::EACCES, policy, Some(1024), Cause::Privileged(1024)),
            ("bind(2)", high, libc::EACCES, policy, Some(1024), denied()),
            ("bind(2)", high, libc::EACCES, policy, Some(9000), Cause::Privileged(9000)),
            ("bind(2)", low, libc::EACCES, policy, Some(80), denied()),
            ("bind(2)", low, libc::EACCES, policy, None, denied()),
            ("bind(2)", low, libc::EPERM, policy, Some(1024), denied()),
            ("bind(2)", low, libc::EACCES, Some(Denial::Filter), Some(1024), filter()),
            ("setsockopt(2)", low, libc::EPERM, Some(Denial::Filter), Some(1024), filter()),
            ("socket(2)", low, libc::EAFNOSUPPORT, None, None, Cause::NoFamily),
            ("socket(2)", low, libc::EMFILE, None, None, Cause::Descriptors),
            ("socket(2)", low, libc::ENFILE, None, None, Cause::Files),
            ("listen(2)", low, libc::EADDRINUSE, None, None, Cause::InUse),
            ("bind(2)", zone, libc::ENODEV, None, None, Cause::WrongInterface(7)),
        ] {
            let found = Cause::find(call, address, &code(number), denial, || first);
            assert_eq!(found, cause, "{call} {address} {number}");
        }
    }
}
